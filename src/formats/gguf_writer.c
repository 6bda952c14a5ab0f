// gguf_writer.c: writing; see gguf.h. The reader is in gguf.c.
//
// Metadata and the descriptions of the tensors are gathered in memory, so that the header, with the offsets in it, is
// whole before the first byte of data comes; data streams straight through.
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "base/str.h"
#include "formats/builder.h"
#include "formats/gguf.h"
#include "formats/writer.h"

enum {
    VERSION = 3,
    HEADER_MAX = 1 << 30 // bytes; far more than any vocabulary that could be read
};

struct gguf_writer {
    char *path;
    struct strbuf metadata, descriptions;
    uint64_t n_entries, n_tensors;
    uint64_t *ends; // [n_tensors] bytes of data up to the end of each tensor, padding before it included
    uint64_t given; // bytes of data so far, padding included
    uint64_t n_ended;
    struct file_writer *file; // NULL before the first data
    bool failed;
};

struct gguf_writer *gguf_writer_new(const char *path, struct llm_error *err) {
    struct gguf_writer *writer = calloc(1, sizeof *writer);
    if (writer != NULL) {
        strbuf_init(&writer->metadata, HEADER_MAX);
        strbuf_init(&writer->descriptions, HEADER_MAX);
        writer->path = strdup(path);
        if (writer->path != NULL) return writer;
        gguf_writer_free(writer);
    }
    error_memory(err, "GGUF writer");
    return NULL;
}

void gguf_writer_free(struct gguf_writer *writer) {
    if (writer == NULL) return;
    file_writer_abort(writer->file);
    strbuf_release(&writer->metadata);
    strbuf_release(&writer->descriptions);
    free(writer->ends);
    free(writer->path);
    free(writer);
}

// ---- Metadata -------------------------------------------------------------------------------

static void put_string(struct strbuf *out, const char *text) {
    writer_put_number(out, strlen(text), sizeof(uint64_t));
    strbuf_puts(out, text);
}

static void put_key(struct gguf_writer *writer, const char *key, enum gguf_type type) {
    put_string(&writer->metadata, key);
    writer_put_number(&writer->metadata, type, sizeof(uint32_t));
    writer->n_entries++;
}

void gguf_writer_u32(struct gguf_writer *writer, const char *key, uint32_t number) {
    put_key(writer, key, GGUF_U32);
    writer_put_number(&writer->metadata, number, sizeof number);
}

void gguf_writer_f32(struct gguf_writer *writer, const char *key, float number) {
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_key(writer, key, GGUF_F32);
    writer_put_number(&writer->metadata, bits, sizeof bits);
}

void gguf_writer_string(struct gguf_writer *writer, const char *key, const char *text) {
    put_key(writer, key, GGUF_STRING);
    put_string(&writer->metadata, text);
}

void gguf_writer_array(struct gguf_writer *writer, const char *key, enum gguf_type element, uint64_t n,
                       const void *bytes, size_t size) {
    put_key(writer, key, GGUF_ARRAY);
    writer_put_number(&writer->metadata, element, sizeof(uint32_t));
    writer_put_number(&writer->metadata, n, sizeof n);
    strbuf_append(&writer->metadata, bytes, size);
}

// ---- Tensors --------------------------------------------------------------------------------

static uint64_t padded(uint64_t size) {
    return (size + GGUF_ALIGNMENT - 1) / GGUF_ALIGNMENT * GGUF_ALIGNMENT;
}

static bool declare(struct gguf_writer *writer, const char *name, enum dtype dtype, int rank, const int64_t *shape,
                    struct llm_error *err) {
    uint32_t type;
    if (writer->file != NULL) return error_set(err, LLM_ERROR_ARGUMENT, "is declared after the first data");
    if (!gguf_type_of(dtype, &type) || rank < 1 || rank > GGUF_MAX_RANK || strlen(name) > GGUF_NAME_MAX) {
        return error_set(err, LLM_ERROR_ARGUMENT, "has a dtype, rank or name that cannot be written");
    }
    struct tensor_view tensor = {.dtype = dtype};
    if (!gguf_set_shape(&tensor, shape, rank, err)) return false;
    const uint64_t begin = writer->n_tensors == 0 ? 0 : padded(writer->ends[writer->n_tensors - 1]);
    uint64_t end;
    if (!size_add(begin, tensor.size, &end) || end > INT64_MAX) {
        return error_set(err, LLM_ERROR_ARGUMENT, "makes the file larger than 64-bit sizes can count");
    }
    uint64_t *ends = realloc(writer->ends, (writer->n_tensors + 1) * sizeof *ends);
    if (ends == NULL) return error_memory(err, "tensors to write");
    writer->ends = ends;
    ends[writer->n_tensors++] = end;
    put_string(&writer->descriptions, name);
    writer_put_number(&writer->descriptions, (uint64_t)rank, sizeof(uint32_t));
    for (int i = rank - 1; i >= 0; i--) writer_put_number(&writer->descriptions, (uint64_t)shape[i], sizeof(uint64_t));
    writer_put_number(&writer->descriptions, type, sizeof type);
    writer_put_number(&writer->descriptions, begin, sizeof begin);
    return true;
}

bool gguf_writer_declare(struct gguf_writer *writer, const char *name, enum dtype dtype, int rank, const int64_t *shape,
                         struct llm_error *err) {
    if (declare(writer, name, dtype, rank, shape, err)) return true;
    char quoted[STR_QUOTE_SIZE];
    error_prefix(err, "tensor %s", str_quote(name, quoted));
    writer->failed = true;
    return false;
}

// ---- The file -------------------------------------------------------------------------------

static bool write_padding(struct gguf_writer *writer, uint64_t size, struct llm_error *err) {
    static const uint8_t zeros[GGUF_ALIGNMENT];
    return file_writer_write(writer->file, zeros, padded(size) - size, err);
}

static bool write_header(struct gguf_writer *writer, struct llm_error *err) {
    struct strbuf front;
    strbuf_init(&front, 64);
    strbuf_puts(&front, "GGUF");
    writer_put_number(&front, VERSION, sizeof(uint32_t));
    writer_put_number(&front, writer->n_tensors, sizeof(uint64_t));
    writer_put_number(&front, writer->n_entries, sizeof(uint64_t));
    bool ok = strbuf_ok(&front) && strbuf_ok(&writer->metadata) && strbuf_ok(&writer->descriptions);
    if (!ok) error_memory(err, "GGUF header");
    if (ok) {
        writer->file = file_writer_open(writer->path, err);
        ok = writer->file != NULL && file_writer_write(writer->file, front.bytes, front.size, err) &&
             file_writer_write(writer->file, writer->metadata.bytes, writer->metadata.size, err) &&
             file_writer_write(writer->file, writer->descriptions.bytes, writer->descriptions.size, err) &&
             write_padding(writer, front.size + writer->metadata.size + writer->descriptions.size, err);
    }
    strbuf_release(&front);
    return ok;
}

static bool write_data(struct gguf_writer *writer, const uint8_t *bytes, size_t size, struct llm_error *err) {
    if (writer->file == NULL && !write_header(writer, err)) return false;
    while (size > 0) {
        if (writer->n_ended == writer->n_tensors) {
            return error_set(err, LLM_ERROR_ARGUMENT, "more tensor data was given than was declared");
        }
        const uint64_t left = writer->ends[writer->n_ended] - writer->given;
        const size_t n = size < left ? size : (size_t)left;
        if (!file_writer_write(writer->file, bytes, n, err)) return false;
        bytes += n;
        size -= n;
        writer->given += n;
        if (n < left) continue;
        if (!write_padding(writer, writer->given, err)) return false;
        writer->given = padded(writer->given);
        writer->n_ended++;
    }
    return true;
}

bool gguf_writer_data(struct gguf_writer *writer, const void *bytes, size_t size, struct llm_error *err) {
    if (!writer->failed && !write_data(writer, bytes, size, err)) writer->failed = true;
    return !writer->failed || error_set(err, LLM_ERROR_IO, "writing failed before");
}

bool gguf_writer_finish(struct gguf_writer *writer, struct llm_error *err) {
    bool ok = gguf_writer_data(writer, "", 0, err); // a file without data has a header, too
    if (ok && writer->n_ended != writer->n_tensors) {
        ok = error_set(err, LLM_ERROR_ARGUMENT, "the data of %llu of %llu declared tensors was given",
                       (unsigned long long)writer->n_ended, (unsigned long long)writer->n_tensors);
    }
    if (ok) {
        struct file_writer *file = writer->file;
        writer->file = NULL;
        ok = file_writer_commit(file, err);
    }
    gguf_writer_free(writer);
    return ok;
}
