// gguf.h: the GGUF container, read and written.
//
// Layout (version 2 and 3, little-endian): "GGUF", u32 version, u64 tensors, u64 metadata entries; each entry a key, a
// u32 type and a value; each tensor a name, u32 dimensions (innermost first), a u32 type and a u64 offset into the
// data, which begins at the next multiple of general.alignment (32). Strings are a u64 size and bytes, arrays a u32
// type, a u64 count and the elements. Source: ggml/docs/gguf.md.
//
// Shapes are turned round: outermost first, as everywhere else in this program.
#ifndef FORMATS_GGUF_H
#define FORMATS_GGUF_H

#include "formats/container.h"

enum {
    GGUF_ALIGNMENT = 32, // of the data and its tensors, unless general.alignment says otherwise
    GGUF_MAX_RANK = 4,
    GGUF_NAME_MAX = 64 // bytes of a tensor's name: the format's own limit
};

// Whether a file's name ends in .gguf.
bool gguf_named(const char *path);
bool gguf_probe(const char *path);
struct container *gguf_open(const char *path, struct llm_error *err);
// One file in memory. `bytes` must outlive the container.
struct container *gguf_parse(const uint8_t *bytes, size_t size, struct llm_error *err);

// ---- Metadata -------------------------------------------------------------------------------

// The types of values, as the file numbers them.
enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPES
};

// One entry. Everything is borrowed from the container; bytes have no alignment and strings no NUL.
struct gguf_value {
    enum gguf_type type;
    int64_t integer;     // U8 .. I32, BOOL, U64, I64
    double real;         // F32, F64
    const uint8_t *data; // [size] STRING: its bytes; ARRAY: its elements, as the file has them
    size_t size;
    enum gguf_type element; // of an ARRAY; never an ARRAY
    uint64_t n;             // its elements
};

// The entry of this key; NULL when there is none, or when the container is no GGUF file.
const struct gguf_value *gguf_find(const struct container *container, const char *key);

// ---- Tensors --------------------------------------------------------------------------------

// The number of a dtype in the file; false when there is none.
bool gguf_type_of(enum dtype dtype, uint32_t *number);
// As tensor_set_shape(), for tensor->dtype; rows must be whole blocks.
bool gguf_set_shape(struct tensor_view *tensor, const int64_t *shape, int rank, struct llm_error *err);

// ---- Writing --------------------------------------------------------------------------------

// Version 3. Give the metadata and declare every tensor first, then give each one's data in the same order, in as many
// pieces as is convenient. The file appears when it is whole. The same calls give the same bytes.
struct gguf_writer;

struct gguf_writer *gguf_writer_new(const char *path, struct llm_error *err);
// When memory is out, the first data or finish() says so. A key is given once.
void gguf_writer_u32(struct gguf_writer *writer, const char *key, uint32_t number);
void gguf_writer_f32(struct gguf_writer *writer, const char *key, float number);
void gguf_writer_string(struct gguf_writer *writer, const char *key, const char *text);
// `bytes` are the elements as the file has them: little-endian numbers; strings each behind their u64 size.
void gguf_writer_array(struct gguf_writer *writer, const char *key, enum gguf_type element, uint64_t n,
                       const void *bytes, size_t size);
bool gguf_writer_declare(struct gguf_writer *writer, const char *name, enum dtype dtype, int rank, const int64_t *shape,
                         struct llm_error *err);
bool gguf_writer_data(struct gguf_writer *writer, const void *bytes, size_t size, struct llm_error *err);
// Checks that all data was given, puts the file in its place and frees the writer, also on failure.
bool gguf_writer_finish(struct gguf_writer *writer, struct llm_error *err);
// NULL is allowed.
void gguf_writer_free(struct gguf_writer *writer);

#endif
