// train_pairs.h: the pairs of neighbours while a vocabulary is learnt: how often each occurs, in a hash table, and
// which is the commonest, in a heap.
//
// The heap is lazy: an entry keeps the count it was pushed with, and whoever finds another count in the table puts it
// back with that one (pair_heap_sink_top).
#ifndef TOKENIZER_TRAIN_PAIRS_H
#define TOKENIZER_TRAIN_PAIRS_H

#include "base/error.h"

// A pair of ids in one word, ordered as (left, right).
static inline uint64_t pair_of(uint32_t left, uint32_t right) {
    return (uint64_t)left << 32 | right;
}

static inline uint32_t pair_left(uint64_t pair) {
    return (uint32_t)(pair >> 32);
}

static inline uint32_t pair_right(uint64_t pair) {
    return (uint32_t)pair;
}

#define NO_PAIR UINT64_MAX

struct pair_slot {
    uint64_t pair; // NO_PAIR: free
    int64_t count;
};

// Starts zeroed; pair_table_reserve() comes before the first look-up.
struct pair_table {
    struct pair_slot *slots; // [2^bits], at most half of them in use
    int bits;
    size_t n;
};

void pair_table_release(struct pair_table *table);
// Makes room for `extra` more pairs.
bool pair_table_reserve(struct pair_table *table, size_t extra, struct llm_error *err);
// The pair's slot, or the free one where it belongs.
struct pair_slot *pair_table_find(const struct pair_table *table, uint64_t pair);
// Adds to a pair's count, entering it if it is new; returns the count. There must be room.
int64_t pair_table_add(struct pair_table *table, uint64_t pair, int64_t count);

struct pair_entry {
    int64_t count; // when it was pushed
    uint64_t pair;
    size_t words; // where the list of words begins in which the pair arose
    size_t n_words;
};

// Starts zeroed. entries[0] is the pair with the highest count, with the lowest ids among equals.
struct pair_heap {
    struct pair_entry *entries; // [capacity]
    size_t n, capacity;
};

void pair_heap_release(struct pair_heap *heap);
bool pair_heap_push(struct pair_heap *heap, struct pair_entry entry, struct llm_error *err);
void pair_heap_drop_top(struct pair_heap *heap);
// Gives the top entry the count that its pair has now, and its new place.
void pair_heap_sink_top(struct pair_heap *heap, int64_t count);

// Makes room for `extra` more items behind n in *items [*capacity] of `size` bytes each.
bool array_reserve(void **items, size_t *capacity, size_t n, size_t extra, size_t size, struct llm_error *err);

#endif
