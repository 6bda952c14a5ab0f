// tokens_file.c: reading a .tokens file, which may be anyone's and damaged; and examples from it. See tokens.h.
#include "data/tokens_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/cursor.h"
#include "base/size.h"

static bool damaged(struct llm_error *err, const char *what) {
    return error_set(err, LLM_ERROR_FORMAT, "%s", what);
}

// The trailer's fields, and whether they can be true of one another.
static bool parse_trailer(struct token_file *file, const uint8_t *bytes, uint32_t *crc, struct llm_error *err) {
    struct cursor cursor;
    cursor_init(&cursor, bytes, TOKENS_TRAILER_SIZE, err);
    const uint8_t *key = cursor_take(&cursor, CHECKSUM_TEXT - 1, "key");
    const uint64_t n_tokens = cursor_u64(&cursor, "number of tokens");
    const uint64_t n_documents = cursor_u64(&cursor, "number of documents");
    const uint64_t n_bytes = cursor_u64(&cursor, "bytes of text");
    const uint32_t vocab_size = cursor_u32(&cursor, "vocabulary size");
    const uint32_t eot = cursor_u32(&cursor, "end of text");
    const uint32_t split = cursor_u32(&cursor, "split");
    *crc = cursor_u32(&cursor, "checksum");
    cursor.offset = TOKENS_TRAILER_SIZE - 4;
    const uint32_t trailer_crc = cursor_u32(&cursor, "checksum");
    if (!cursor_ok(&cursor)) return false;
    if (crc32c(0, bytes, TOKENS_TRAILER_SIZE - 4) != trailer_crc) return damaged(err, "the trailer is damaged");
    memcpy(file->key, key, CHECKSUM_TEXT - 1);
    file->key[CHECKSUM_TEXT - 1] = '\0';
    if (!checksum_valid(file->key)) return damaged(err, "the trailer's key is not a SHA-256");
    if (n_tokens > INT64_MAX / 8 || n_documents > n_tokens || n_bytes > INT64_MAX) {
        return damaged(err, "the trailer's numbers of tokens and documents cannot be");
    }
    if (vocab_size < 1 || vocab_size > INT32_MAX || (eot != UINT32_MAX && eot >= vocab_size) || split > 1) {
        return damaged(err, "the trailer's vocabulary or split cannot be");
    }
    file->n_tokens = (int64_t)n_tokens;
    file->n_documents = (int64_t)n_documents;
    file->n_bytes = (int64_t)n_bytes;
    file->vocab_size = (int)vocab_size;
    file->eot = eot == UINT32_MAX ? -1 : (int32_t)eot;
    file->split_by_documents = split == 1;
    return true;
}

// Every id below vocab_size. In blocks, so that the compiler makes vectors of it.
static bool ids_in_range(const struct token_file *file) {
    const int64_t n = file->n_tokens;
    uint32_t largest = 0;
    if (file->ids16 != NULL) {
        for (int64_t i = 0; i < n; i++) largest = file->ids16[i] > largest ? file->ids16[i] : largest;
    } else {
        for (int64_t i = 0; i < n; i++) {
            largest = (uint32_t)file->ids32[i] > largest ? (uint32_t)file->ids32[i] : largest;
        }
    }
    return n == 0 || largest < (uint32_t)file->vocab_size;
}

static bool starts_ascend(const struct token_file *file) {
    for (int64_t i = 0; i < file->n_documents; i++) {
        const uint64_t least = i == 0 ? 0 : file->starts[i - 1] + 1;
        if (file->starts[i] < least || file->starts[i] >= (uint64_t)file->n_tokens) return false;
    }
    return true;
}

bool token_file_parse(struct token_file *file, const uint8_t *bytes, size_t size, struct llm_error *err) {
    if (size < TOKENS_MAGIC_SIZE || memcmp(bytes, TOKENS_MAGIC, TOKENS_MAGIC_SIZE) != 0) {
        return damaged(err, "does not begin as a file of ids of this version does");
    }
    if (size < TOKENS_MAGIC_SIZE + TOKENS_TRAILER_SIZE) return damaged(err, "is cut short");
    const size_t body = size - TOKENS_TRAILER_SIZE;
    uint32_t crc = 0;
    if (!parse_trailer(file, bytes + body, &crc, err)) return false;
    const bool small = file->vocab_size <= TOKENS_SMALL_VOCABULARY;
    // n_tokens and n_documents are at most 2^60, so only the sum can overflow.
    const uint64_t ids_end = TOKENS_MAGIC_SIZE + ((uint64_t)file->n_tokens * (small ? 2 : 4) + 7) / 8 * 8;
    uint64_t end = 0;
    if (!size_add(ids_end, (uint64_t)file->n_documents * sizeof *file->starts, &end) || end != body) {
        return error_set(err, LLM_ERROR_FORMAT, "has %zu bytes, which does not suit %lld tokens and %lld documents",
                         size, (long long)file->n_tokens, (long long)file->n_documents);
    }
    if (crc32c(0, bytes, body) != crc) return damaged(err, "is damaged: its checksum is not right");
    file->ids16 = small ? (const uint16_t *)(const void *)(bytes + TOKENS_MAGIC_SIZE) : NULL;
    file->ids32 = small ? NULL : (const int32_t *)(const void *)(bytes + TOKENS_MAGIC_SIZE);
    file->starts = (const uint64_t *)(const void *)(bytes + ids_end);
    if (!ids_in_range(file)) return damaged(err, "holds an id that the vocabulary does not have");
    if (!starts_ascend(file)) return damaged(err, "its documents do not begin one behind another");
    return true;
}

bool token_file_open(struct token_file *file, const char *path, struct llm_error *err) {
    *file = (struct token_file){.path = strdup(path)};
    if (file->path == NULL) return error_memory(err, path);
    if (file_map_open(&file->map, path, err)) {
        if (token_file_parse(file, file->map.bytes, file->map.size, err)) return true;
        error_prefix(err, "%s", path);
    }
    token_file_close(file);
    return false;
}

void token_file_close(struct token_file *file) {
    file_map_close(&file->map);
    free(file->path);
    *file = (struct token_file){0};
}

bool token_file_read(const struct token_file *file, int64_t at, int64_t n, int32_t *ids, struct llm_error *err) {
    uint32_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t id = file->ids16 != NULL ? file->ids16[at + i] : (uint32_t)file->ids32[at + i];
        largest = id > largest ? id : largest;
        ids[i] = (int32_t)id;
    }
    if (largest < (uint32_t)file->vocab_size) return true;
    return error_set(err, LLM_ERROR_FORMAT, "%s: was changed while it was in use: no token has id %u", file->path,
                     largest);
}

// ---- Examples -------------------------------------------------------------------------------

struct token_windows token_windows(const struct token_file *file, int context, int64_t stride) {
    struct token_windows windows = {.file = file, .context = context, .stride = stride};
    const int64_t places = file->n_tokens - context; // where an example may begin
    if (places > 0) windows.n = (places - 1) / stride + 1;
    return windows;
}

bool token_windows_read(const struct token_windows *windows, int64_t example, int32_t *ids, struct llm_error *err) {
    return token_file_read(windows->file, example * windows->stride, windows->context + 1, ids, err);
}
