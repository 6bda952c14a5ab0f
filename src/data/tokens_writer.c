// tokens_writer.c: writing a .tokens file as a stream; see tokens_file.h.
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "data/tokens_file.h"

enum {
    CHUNK = 1 << 16 // ids narrowed at once
};

struct token_writer {
    struct file_writer *file;
    int vocab_size;
    int32_t eot;
    size_t token_size;
    uint32_t crc; // of all that was written
    uint64_t n_tokens, n_bytes;
    uint64_t *starts; // [capacity]
    size_t n_documents, capacity;
    uint16_t narrow[CHUNK];
};

static bool put(struct token_writer *writer, const void *bytes, size_t size, struct llm_error *err) {
    writer->crc = crc32c(writer->crc, bytes, size);
    return file_writer_write(writer->file, bytes, size, err);
}

struct token_writer *token_writer_open(const char *path, const struct llm_tokenizer *tokenizer, struct llm_error *err) {
    struct token_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        error_memory(err, "writer of ids");
        return NULL;
    }
    writer->vocab_size = llm_tokenizer_vocab_size(tokenizer);
    writer->eot = llm_tokenizer_eot(tokenizer);
    writer->token_size = writer->vocab_size <= TOKENS_SMALL_VOCABULARY ? 2 : 4;
    writer->file = file_writer_open(path, err);
    if (writer->file != NULL && put(writer, TOKENS_MAGIC, TOKENS_MAGIC_SIZE, err)) return writer;
    token_writer_abort(writer);
    return NULL;
}

void token_writer_abort(struct token_writer *writer) {
    if (writer == NULL) return;
    file_writer_abort(writer->file);
    free(writer->starts);
    free(writer);
}

int64_t token_writer_documents(const struct token_writer *writer) {
    return (int64_t)writer->n_documents;
}

bool token_writer_begin(struct token_writer *writer, struct llm_error *err) {
    if (writer->n_documents == writer->capacity) {
        const size_t capacity = writer->capacity * 2 + 64;
        uint64_t *starts = reallocarray(writer->starts, capacity, sizeof *starts);
        if (starts == NULL) return error_memory(err, "list of documents");
        writer->starts = starts;
        writer->capacity = capacity;
    }
    writer->starts[writer->n_documents++] = writer->n_tokens;
    return true;
}

bool token_writer_write(struct token_writer *writer, const int32_t *ids, size_t n_ids, size_t n_bytes,
                        struct llm_error *err) {
    writer->n_tokens += n_ids;
    writer->n_bytes += n_bytes;
    if (writer->token_size == 4) return put(writer, ids, n_ids * sizeof *ids, err);
    for (size_t at = 0; at < n_ids; at += CHUNK) {
        const size_t n = n_ids - at < CHUNK ? n_ids - at : CHUNK;
        for (size_t i = 0; i < n; i++) writer->narrow[i] = (uint16_t)ids[at + i];
        if (!put(writer, writer->narrow, n * sizeof *writer->narrow, err)) return false;
    }
    return true;
}

static void store(uint8_t **at, uint64_t value, int size) {
    for (int i = 0; i < size; i++) *(*at)++ = (uint8_t)(value >> (8 * i));
}

// token_file_parse() reads the same fields in the same order.
static bool write_trailer(struct token_writer *writer, const char key[CHECKSUM_TEXT], bool split_by_documents,
                          struct llm_error *err) {
    uint8_t trailer[TOKENS_TRAILER_SIZE] = {0};
    uint8_t *at = trailer;
    memcpy(at, key, CHECKSUM_TEXT - 1);
    at += CHECKSUM_TEXT - 1;
    store(&at, writer->n_tokens, 8);
    store(&at, writer->n_documents, 8);
    store(&at, writer->n_bytes, 8);
    store(&at, (uint64_t)writer->vocab_size, 4);
    store(&at, (uint32_t)writer->eot, 4);
    store(&at, split_by_documents, 4);
    store(&at, writer->crc, 4);
    at = trailer + TOKENS_TRAILER_SIZE - 4;
    store(&at, crc32c(0, trailer, TOKENS_TRAILER_SIZE - 4), 4);
    return file_writer_write(writer->file, trailer, sizeof trailer, err);
}

bool token_writer_commit(struct token_writer *writer, const char key[CHECKSUM_TEXT], bool split_by_documents,
                         struct llm_error *err) {
    static const uint8_t zeros[8] = {0};
    const size_t over = writer->n_tokens * writer->token_size % 8;
    bool ok = put(writer, zeros, over == 0 ? 0 : 8 - over, err) &&
              put(writer, writer->starts, writer->n_documents * sizeof *writer->starts, err) &&
              write_trailer(writer, key, split_by_documents, err);
    if (ok) {
        ok = file_writer_commit(writer->file, err);
        writer->file = NULL;
    }
    token_writer_abort(writer);
    return ok;
}
