// tokens_encode.c: see tokens_encode.h.
#include "data/tokens_encode.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

void encoded_block_release(struct encoded_block *encoded) {
    free(encoded->block.text);
    free(encoded->ids);
    free(encoded->pieces);
    *encoded = (struct encoded_block){0};
}

static bool add_ids(struct encoded_block *encoded, const int32_t *ids, size_t n) {
    if (encoded->ids_capacity - encoded->n_ids < n) {
        const size_t capacity = encoded->ids_capacity + encoded->ids_capacity / 2 + n + 64;
        int32_t *grown = reallocarray(encoded->ids, capacity, sizeof *grown);
        if (grown == NULL) return error_memory(&encoded->error, "ids");
        encoded->ids = grown;
        encoded->ids_capacity = capacity;
    }
    if (n > 0) memcpy(encoded->ids + encoded->n_ids, ids, n * sizeof *ids);
    encoded->n_ids += n;
    return true;
}

static bool add_piece(struct encoded_block *encoded, struct encoded_piece piece) {
    if (encoded->n_pieces == encoded->pieces_capacity) {
        const size_t capacity = encoded->pieces_capacity * 2 + 16;
        struct encoded_piece *grown = reallocarray(encoded->pieces, capacity, sizeof *grown);
        if (grown == NULL) return error_memory(&encoded->error, "list of documents");
        encoded->pieces = grown;
        encoded->pieces_capacity = capacity;
    }
    encoded->pieces[encoded->n_pieces++] = piece;
    return true;
}

// Appends the ids of text [size].
static bool encode(struct encoded_block *encoded, const struct llm_tokenizer *tokenizer, const char *text, size_t size,
                   bool allow_special) {
    int32_t *ids = NULL;
    size_t n = 0;
    if (!llm_tokenizer_encode(tokenizer, text, size, allow_special, &ids, &n, &encoded->error)) return false;
    const bool ok = add_ids(encoded, ids, n);
    llm_free(ids);
    return ok;
}

// ---- The text as it is ----------------------------------------------------------------------

static void encode_whole(struct encoded_block *encoded, const struct llm_tokenizer *tokenizer) {
    const struct text_block *block = &encoded->block;
    if (!encode(encoded, tokenizer, block->text, block->size, true)) return;
    const int32_t eot = llm_tokenizer_eot(tokenizer);
    bool begins = !block->within;
    for (size_t first = 0, i = 0; i < encoded->n_ids; i++) {
        const bool ends = encoded->ids[i] == eot;
        if (!ends && i + 1 < encoded->n_ids) continue;
        const size_t n_bytes = first == 0 ? block->size : 0; // how they fall to the documents does not matter
        if (!add_piece(encoded, (struct encoded_piece){first, i + 1 - first, n_bytes, begins})) return;
        first = i + 1;
        begins = true;
    }
}

// ---- Documents ------------------------------------------------------------------------------

static bool only_space(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (text[i] != ' ' && (text[i] < '\t' || text[i] > '\r')) return false;
    }
    return true;
}

// What lies between two marks, or between a mark and an end of the block.
static bool encode_part(struct encoded_block *encoded, const struct llm_tokenizer *tokenizer, const char *text,
                        size_t size, bool begins, bool ends) {
    if (begins && only_space(text, size)) return true;
    const int32_t eot = llm_tokenizer_eot(tokenizer);
    struct encoded_piece piece = {.first = encoded->n_ids, .n_bytes = size, .begins = begins};
    if (!encode(encoded, tokenizer, text, size, false)) return false;
    if (ends && eot >= 0 && !add_ids(encoded, &eot, 1)) return false;
    piece.n = encoded->n_ids - piece.first;
    return add_piece(encoded, piece);
}

static void encode_documents(struct encoded_block *encoded, const struct llm_tokenizer *tokenizer) {
    const size_t mark_size = strlen(TEXT_DOCUMENT_END);
    const struct text_block *block = &encoded->block;
    const char *at = block->text;
    bool begins = !block->within;
    for (size_t left = block->size;;) {
        const char *mark = left == 0 ? NULL : memmem(at, left, TEXT_DOCUMENT_END, mark_size);
        const size_t size = mark == NULL ? left : (size_t)(mark - at);
        if (!encode_part(encoded, tokenizer, at, size, begins, mark != NULL || block->last)) return;
        if (mark == NULL) return;
        at = mark + mark_size;
        left -= size + mark_size;
        begins = true;
    }
}

void encoded_block_encode(struct encoded_block *encoded, const struct llm_tokenizer *tokenizer, bool by_documents) {
    if (by_documents) {
        encode_documents(encoded, tokenizer);
    } else {
        encode_whole(encoded, tokenizer);
    }
}
