// merge.h: BPE of one piece of text: its bytes become ids, then the neighbours whose merge has the lowest rank are
// joined, leftmost first among equals, until no two neighbours merge.
//
// Short pieces scan their ranks for the lowest; long ones keep a heap over a linked list, so that the time for n bytes
// is n log n at most, whatever the text. Both give the same ids.
#ifndef TOKENIZER_MERGE_H
#define TOKENIZER_MERGE_H

#include "tokenizer/core.h"

enum {
    MERGE_SHORT = 64 // bytes up to which the scan is used: below, it is faster than the heap
};

// What merging needs besides the tokenizer; one for each call of encode, so that tokenizers can be shared. Starts
// zeroed.
struct merge_scratch {
    void *memory; // for long pieces
    size_t size;
    // Steps taken so far: ranks looked up or compared, heap levels walked. Tests of linear time read it.
    uint64_t steps;
};

void merge_scratch_release(struct merge_scratch *scratch);

// Writes the ids of `piece` [size >= 1] to `ids`, which has room for `size` of them, and their number.
// Fails only for lack of memory.
bool merge_piece(const struct llm_tokenizer *tokenizer, struct merge_scratch *scratch, const uint8_t *piece,
                 size_t size, int32_t *ids, size_t *n_ids, struct llm_error *err);

// The two ways, for tests; merge_short needs 1 <= size <= MERGE_SHORT.
size_t merge_short(const struct llm_tokenizer *tokenizer, struct merge_scratch *scratch, const uint8_t *piece,
                   size_t size, int32_t *ids);
bool merge_long(const struct llm_tokenizer *tokenizer, struct merge_scratch *scratch, const uint8_t *piece, size_t size,
                int32_t *ids, size_t *n_ids, struct llm_error *err);

#endif
