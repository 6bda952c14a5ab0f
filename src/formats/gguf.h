// gguf.h: the GGUF container, read.
//
// Layout (version 2 and 3, little-endian): "GGUF", u32 version, u64 tensors, u64 metadata entries; each entry a key, a
// u32 type and a value; each tensor a name, u32 dimensions (innermost first), a u32 type and a u64 offset into the
// data, which begins at the next multiple of general.alignment (32). Strings are a u64 size and bytes, arrays a u32
// type, a u64 count and the elements. Source: ggml/docs/gguf.md.
//
// Shapes are turned round while reading: outermost first, as everywhere else in this program.
#ifndef FORMATS_GGUF_H
#define FORMATS_GGUF_H

#include "formats/container.h"

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

// The next string of an array of strings: *at begins at 0 and moves on. The array was checked when it was read, so
// this is to be called value->n times and cannot fail.
const char *gguf_next_string(const struct gguf_value *value, size_t *at, size_t *size);

#endif
