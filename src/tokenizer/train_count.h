// train_count.h: how often each piece occurs: a hash table from pieces to counts, one for each thread.
#ifndef TOKENIZER_TRAIN_COUNT_H
#define TOKENIZER_TRAIN_COUNT_H

#include "base/error.h"

// A piece of up to 15 bytes is its own key: zero-padded, its length in the last byte. A longer one has
// bit 63 of key[1] set above its length, and key[0] is where it begins in `bytes`.
struct piece_slot {
    uint64_t key[2]; // key[1] is 0 in a free slot
    int64_t count;
};

struct piece_table {
    struct piece_slot *slots; // [2^bits]; NULL while empty
    int bits;
    size_t n; // slots in use
    char *bytes;
    size_t n_bytes, capacity;
};

void piece_table_release(struct piece_table *table);

// Counts the pieces of one document.
bool piece_table_count(struct piece_table *table, const uint8_t *text, size_t size, struct llm_error *err);

// Adds all counts of `from`.
bool piece_table_add(struct piece_table *table, const struct piece_table *from, struct llm_error *err);

// The bytes of a slot's piece and their number; short pieces lie in the slot itself.
const uint8_t *piece_bytes(const struct piece_table *table, const struct piece_slot *slot, size_t *size);

#endif
