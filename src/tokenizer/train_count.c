// train_count.c: see train_count.h.
//
// Open addressing, at most half full. Nearly all pieces have at most 15 bytes: they are compared as two words
// and touch one cache line. Common pieces are met early and are few, so their slots stay in the cache.
#include "tokenizer/train_count.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/split.h"

enum {
    SHORT_PIECE = 15, // bytes
    FIRST_BITS = 12,
    BATCH = 256 // pieces split at once
};

#define LONG_PIECE (UINT64_C(1) << 63)

void piece_table_release(struct piece_table *table) {
    free(table->slots);
    free(table->bytes);
    *table = (struct piece_table){0};
}

const uint8_t *piece_bytes(const struct piece_table *table, const struct piece_slot *slot, size_t *size) {
    if ((slot->key[1] & LONG_PIECE) == 0) {
        *size = slot->key[1] >> 56;
        return (const uint8_t *)slot->key; // little-endian, as everywhere in this project
    }
    *size = slot->key[1] & ~LONG_PIECE;
    return (const uint8_t *)table->bytes + slot->key[0];
}

static uint64_t hash_words(uint64_t a, uint64_t b) {
    const uint64_t mixed = (a ^ (b * 0x9e3779b97f4a7c15u)) * 0xd6e8feb86659fd93u;
    return mixed ^ mixed << 32;
}

static uint64_t hash_bytes(const uint8_t *bytes, size_t size) {
    uint64_t hash = size;
    for (; size >= 8; bytes += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = hash_words(hash ^ hash >> 29, word);
    }
    uint64_t word = 0;
    memcpy(&word, bytes, size);
    return hash_words(hash ^ hash >> 29, word);
}

static uint64_t slot_hash(const struct piece_table *table, const struct piece_slot *slot) {
    if ((slot->key[1] & LONG_PIECE) == 0) return hash_words(slot->key[0], slot->key[1]);
    size_t size = 0;
    const uint8_t *bytes = piece_bytes(table, slot, &size);
    return hash_bytes(bytes, size);
}

// Makes room for one more piece.
static bool table_reserve(struct piece_table *table, struct llm_error *err) {
    const size_t old_slots = table->slots == NULL ? 0 : (size_t)1 << table->bits;
    if (table->n < old_slots / 2) return true;
    const int bits = table->slots == NULL ? FIRST_BITS : table->bits + 1;
    struct piece_slot *slots = calloc((size_t)1 << bits, sizeof *slots);
    if (slots == NULL) return error_memory(err, "table of pieces");
    const size_t mask = ((size_t)1 << bits) - 1;
    for (size_t i = 0; i < old_slots; i++) {
        if (table->slots[i].key[1] == 0) continue;
        size_t at = slot_hash(table, &table->slots[i]) >> (64 - bits);
        while (slots[at].key[1] != 0) at = (at + 1) & mask;
        slots[at] = table->slots[i];
    }
    free(table->slots);
    table->slots = slots;
    table->bits = bits;
    return true;
}

// Finds a piece by key, or enters it.
static struct piece_slot *find_short(struct piece_table *table, const uint64_t key[2]) {
    const size_t mask = ((size_t)1 << table->bits) - 1;
    size_t at = hash_words(key[0], key[1]) >> (64 - table->bits);
    for (;; at = (at + 1) & mask) {
        struct piece_slot *slot = &table->slots[at];
        if (slot->key[0] == key[0] && slot->key[1] == key[1]) return slot;
        if (slot->key[1] != 0) continue;
        slot->key[0] = key[0];
        slot->key[1] = key[1];
        table->n++;
        return slot;
    }
}

// Appends a long piece's bytes.
static bool table_keep(struct piece_table *table, const uint8_t *piece, size_t size, struct llm_error *err) {
    if (table->capacity - table->n_bytes < size) {
        size_t capacity = table->capacity / 2 * 3 + 4096;
        if (capacity < table->n_bytes + size) capacity = table->n_bytes + size;
        char *bytes = realloc(table->bytes, capacity);
        if (bytes == NULL) return error_memory(err, "long pieces");
        table->bytes = bytes;
        table->capacity = capacity;
    }
    memcpy(table->bytes + table->n_bytes, piece, size);
    table->n_bytes += size;
    return true;
}

static struct piece_slot *find_long(struct piece_table *table, const uint8_t *piece, size_t size,
                                    struct llm_error *err) {
    const uint64_t tag = LONG_PIECE | size;
    const size_t mask = ((size_t)1 << table->bits) - 1;
    size_t at = hash_bytes(piece, size) >> (64 - table->bits);
    for (;; at = (at + 1) & mask) {
        struct piece_slot *slot = &table->slots[at];
        if (slot->key[1] == tag && memcmp(table->bytes + slot->key[0], piece, size) == 0) return slot;
        if (slot->key[1] != 0) continue;
        const size_t begin = table->n_bytes;
        if (!table_keep(table, piece, size, err)) return NULL;
        slot->key[0] = begin;
        slot->key[1] = tag;
        table->n++;
        return slot;
    }
}

// Key of a piece of 1 to SHORT_PIECE bytes of which `readable` (at least its size) may be read.
static void short_key(const uint8_t *piece, size_t size, size_t readable, uint64_t key[2]) {
    if (readable >= 16) {
        memcpy(key, piece, 16);
        const uint64_t keep = UINT64_MAX >> (64 - 8 * (size & 7)) % 64;
        key[0] &= size >= 8 ? UINT64_MAX : keep;
        key[1] &= size > 8 ? keep : 0;
    } else {
        key[0] = key[1] = 0;
        memcpy(key, piece, size);
    }
    key[1] |= (uint64_t)size << 56;
}

// Adds `count` occurrences of a piece.
static bool table_bump(struct piece_table *table, const uint8_t *piece, size_t size, size_t readable, int64_t count,
                       struct llm_error *err) {
    if (!table_reserve(table, err)) return false;
    struct piece_slot *slot;
    if (size <= SHORT_PIECE) {
        uint64_t key[2];
        short_key(piece, size, readable, key);
        slot = find_short(table, key);
    } else {
        slot = find_long(table, piece, size, err);
        if (slot == NULL) return false;
    }
    slot->count += count;
    return true;
}

bool piece_table_count(struct piece_table *table, const uint8_t *text, size_t size, struct llm_error *err) {
    struct splitter splitter = {.text = text, .size = size};
    size_t ends[BATCH];
    size_t at = 0;
    for (;;) {
        const size_t n = split_next(&splitter, ends, BATCH);
        if (n == 0) return true;
        for (size_t i = 0; i < n; i++) {
            if (!table_bump(table, text + at, ends[i] - at, size - at, 1, err)) return false;
            at = ends[i];
        }
    }
}

bool piece_table_add(struct piece_table *table, const struct piece_table *from, struct llm_error *err) {
    if (from->slots == NULL) return true;
    for (size_t i = 0; i < (size_t)1 << from->bits; i++) {
        const struct piece_slot *slot = &from->slots[i];
        if (slot->key[1] == 0) continue;
        size_t size = 0;
        const uint8_t *piece = piece_bytes(from, slot, &size);
        if (!table_bump(table, piece, size, size, slot->count, err)) return false;
    }
    return true;
}
