// core.h: what a tokenizer is inside, for the files of this folder (and the tests of it).
//
// Three arrays say everything: the bytes of every id, the merges, and a table from a pair of ids to the rank of its
// merge. All are read-only once built, so one tokenizer serves any number of threads. (What encoding remembers of words
// it has met lies elsewhere, and belongs to one call at a time.)
#ifndef TOKENIZER_CORE_H
#define TOKENIZER_CORE_H

#include "tokenizer/tokenizer.h"

// Limits that let a merge live in one 64-bit slot of the pair table.
enum {
    RANK_BITS = 22,
    ID_BITS = 21,
    MAX_MERGES = (1 << RANK_BITS) - 1, // ranks are stored plus one
    MAX_TOKENS = (1 << ID_BITS) - 1,
    // Slots a look-up may have to walk. GPT-2 needs 18, and the half-empty table of any vocabulary not many more; one
    // made to collide would turn every look-up into a walk through the whole table.
    MAX_PROBES = 500,
};

#define NO_RANK UINT32_MAX

// The one special token: how it is written in text and in vocabularies.
#define EOT_TEXT "<|endoftext|>"

struct llm_tokenizer {
    int n_tokens;
    char *bytes;      // [starts[n_tokens]] the tokens' bytes, one after another
    uint32_t *starts; // [n_tokens + 1]
    int n_merges;
    int32_t *joined; // [n_merges] what each merge gives; what it joins stands in `pairs`
    int32_t eot;
    int32_t byte_ids[256]; // id of each single byte
    uint64_t *pairs;       // [2^(64 - pair_shift)] open addressing; a slot is left, right, rank + 1; 0: free
    int pair_shift;        // the hash is the top bits of a product
    struct encode_shelf *shelf;
};

// encode.c: where a call of llm_tokenizer_encode() leaves its cache for the next.
struct encode_shelf;
struct encode_shelf *encode_shelf_new(void);
void encode_shelf_free(struct encode_shelf *shelf);

// gpt2/pack.c writes these at build time: GPT-2's merges as pairs of ids, lowest rank first, and how many bytes its
// tokens have together.
enum {
    GPT2_MERGES = 50000
};
extern const uint16_t gpt2_merges[GPT2_MERGES][2];
extern const uint32_t gpt2_n_bytes;

// A tokenizer with its arrays allocated, `pairs` free, the others not yet filled. `bytes` has room for TOKEN_SLACK
// more.
enum {
    TOKEN_SLACK = 16
};
struct llm_tokenizer *tokenizer_alloc(int n_tokens, size_t n_bytes, int n_merges, struct llm_error *err);

// Enters the merge with this rank. Fails when an earlier one has the same pair.
bool tokenizer_add_merge(struct llm_tokenizer *tokenizer, int rank, int32_t left, int32_t right, int32_t joined,
                         struct llm_error *err);

// Fills byte_ids from bytes and starts. Fails when a byte has no token.
bool tokenizer_index_bytes(struct llm_tokenizer *tokenizer, struct llm_error *err);

// Lists the merges by rank: [n_merges][2] left and right, allocated.
int32_t (*tokenizer_list_merges(const struct llm_tokenizer *tokenizer, struct llm_error *err))[2];

static inline uint64_t pair_key(int32_t left, int32_t right) {
    return (uint64_t)left << ID_BITS | (uint64_t)right;
}

// Where the search for a pair begins: Fibonacci hashing, by 2^64 / golden ratio.
static inline uint64_t pair_home(const struct llm_tokenizer *tokenizer, uint64_t key) {
    return (key * 0x9e3779b97f4a7c15u) >> tokenizer->pair_shift;
}

// Rank of the merge of two neighbours, or NO_RANK.
static inline uint32_t tokenizer_rank(const struct llm_tokenizer *tokenizer, int32_t left, int32_t right) {
    const uint64_t key = pair_key(left, right);
    const uint64_t mask = UINT64_MAX >> tokenizer->pair_shift;
    for (uint64_t at = pair_home(tokenizer, key);; at = (at + 1) & mask) {
        const uint64_t slot = tokenizer->pairs[at];
        // A free slot may look like the pair (0, 0), but its rank becomes NO_RANK.
        if (slot == 0 || slot >> RANK_BITS == key) return (uint32_t)(slot & MAX_MERGES) - 1;
    }
}

#endif
