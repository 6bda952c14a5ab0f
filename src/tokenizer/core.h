// core.h: what a tokenizer is inside, for the files of this folder (and the tests of it).
//
// Three arrays say everything: the bytes of every id, the merges, and a table from a pair of ids to the rank of its
// merge. All are read-only once built, so one tokenizer serves any number of threads.
#ifndef TOKENIZER_CORE_H
#define TOKENIZER_CORE_H

#include "tokenizer/tokenizer.h"

// Limits that let a merge live in one 64-bit slot of the pair table.
enum {
    RANK_BITS = 22,
    ID_BITS = 21,
    MAX_MERGES = (1 << RANK_BITS) - 1,
    MAX_TOKENS = (1 << ID_BITS) - 1,
};

#define NO_RANK UINT32_MAX

// The one special token: how it is written in text and in vocabularies.
#define EOT_TEXT "<|endoftext|>"

struct llm_tokenizer {
    int n_tokens;
    char *bytes;      // [starts[n_tokens]] the tokens' bytes, one after another
    uint32_t *starts; // [n_tokens + 1]
    int n_merges;
    int32_t (*merges)[3]; // [n_merges] left, right, joined
    int32_t eot;
    int32_t byte_ids[256]; // id of each single byte
    uint64_t *pairs;       // [2^(64 - pair_shift)] open addressing: left, right and rank in one word; UINT64_MAX: free
    int pair_shift;        // the hash is the top bits of a product
};

// A tokenizer with its arrays allocated and not yet filled.
struct llm_tokenizer *tokenizer_alloc(int n_tokens, size_t n_bytes, int n_merges, struct llm_error *err);

// gpt2/pack.c writes these at build time: GPT-2's merges as pairs of ids, lowest rank first, and how many bytes its
// tokens have together.
enum {
    GPT2_MERGES = 50000
};
extern const uint16_t gpt2_merges[GPT2_MERGES][2];
extern const uint32_t gpt2_n_bytes;

// Builds byte_ids and pairs from the other arrays. Fails when a byte has no token or two merges join the same pair.
bool tokenizer_index(struct llm_tokenizer *tokenizer, struct llm_error *err);

// Rank of the merge of two neighbours, or NO_RANK.
static inline uint32_t tokenizer_rank(const struct llm_tokenizer *tokenizer, int32_t left, int32_t right) {
    const uint64_t key = (uint64_t)left << ID_BITS | (uint64_t)right;
    const uint64_t mask = UINT64_MAX >> tokenizer->pair_shift;
    uint64_t at = (key * 0x9e3779b97f4a7c15u) >> tokenizer->pair_shift; // 2^64 / golden ratio: Fibonacci hashing
    for (;;) {
        const uint64_t slot = tokenizer->pairs[at];
        if (slot >> RANK_BITS == key) return (uint32_t)(slot & MAX_MERGES);
        if (slot == UINT64_MAX) return NO_RANK;
        at = (at + 1) & mask;
    }
}

#endif
