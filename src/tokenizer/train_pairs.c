// train_pairs.c: see train_pairs.h.
#include "tokenizer/train_pairs.h"

#include <stdlib.h>

enum {
    FIRST_BITS = 12
};

bool array_reserve(void **items, size_t *capacity, size_t n, size_t extra, size_t size, struct llm_error *err) {
    if (*capacity - n >= extra) return true;
    size_t wanted = *capacity + *capacity / 2 + 64;
    if (wanted < n + extra) wanted = n + extra;
    void *grown = wanted <= SIZE_MAX / size ? realloc(*items, wanted * size) : NULL;
    if (grown == NULL) return error_memory(err, "tokenizer training");
    *items = grown;
    *capacity = wanted;
    return true;
}

// ---- Table ----------------------------------------------------------------------------------

void pair_table_release(struct pair_table *table) {
    free(table->slots);
    *table = (struct pair_table){0};
}

struct pair_slot *pair_table_find(const struct pair_table *table, uint64_t pair) {
    const size_t mask = ((size_t)1 << table->bits) - 1;
    size_t at = (pair * 0x9e3779b97f4a7c15u) >> (64 - table->bits);
    while (table->slots[at].pair != pair && table->slots[at].pair != NO_PAIR) at = (at + 1) & mask;
    return &table->slots[at];
}

bool pair_table_reserve(struct pair_table *table, size_t extra, struct llm_error *err) {
    const struct pair_table old = *table;
    const size_t n_slots = old.slots == NULL ? 0 : (size_t)1 << old.bits;
    if (old.n + extra <= n_slots / 2 && n_slots > 0) return true;
    int bits = n_slots == 0 ? FIRST_BITS : old.bits;
    while (old.n + extra > ((size_t)1 << bits) / 2) bits++;
    struct pair_slot *slots = malloc(sizeof *slots << bits);
    if (slots == NULL) return error_memory(err, "table of pairs");
    for (size_t i = 0; i < (size_t)1 << bits; i++) slots[i] = (struct pair_slot){NO_PAIR, 0};
    *table = (struct pair_table){slots, bits, old.n};
    for (size_t i = 0; i < n_slots; i++) {
        if (old.slots[i].pair != NO_PAIR) *pair_table_find(table, old.slots[i].pair) = old.slots[i];
    }
    free(old.slots);
    return true;
}

int64_t pair_table_add(struct pair_table *table, uint64_t pair, int64_t count) {
    struct pair_slot *slot = pair_table_find(table, pair);
    if (slot->pair == NO_PAIR) {
        slot->pair = pair;
        table->n++;
    }
    slot->count += count;
    return slot->count;
}

// ---- Heap -----------------------------------------------------------------------------------

void pair_heap_release(struct pair_heap *heap) {
    free(heap->entries);
    *heap = (struct pair_heap){0};
}

static bool comes_first(const struct pair_entry *a, const struct pair_entry *b) {
    return a->count != b->count ? a->count > b->count : a->pair < b->pair;
}

// Puts `entry` where it belongs, from the top down; the present top is forgotten.
static void sink(struct pair_heap *heap, struct pair_entry entry) {
    struct pair_entry *entries = heap->entries;
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->n) break;
        if (child + 1 < heap->n && comes_first(&entries[child + 1], &entries[child])) child++;
        if (!comes_first(&entries[child], &entry)) break;
        entries[at] = entries[child];
        at = child;
    }
    entries[at] = entry;
}

bool pair_heap_push(struct pair_heap *heap, struct pair_entry entry, struct llm_error *err) {
    if (!array_reserve((void **)&heap->entries, &heap->capacity, heap->n, 1, sizeof entry, err)) return false;
    size_t at = heap->n++;
    while (at > 0 && comes_first(&entry, &heap->entries[(at - 1) / 2])) {
        heap->entries[at] = heap->entries[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->entries[at] = entry;
    return true;
}

void pair_heap_drop_top(struct pair_heap *heap) {
    heap->n--;
    if (heap->n > 0) sink(heap, heap->entries[heap->n]);
}

void pair_heap_sink_top(struct pair_heap *heap, int64_t count) {
    struct pair_entry top = heap->entries[0];
    top.count = count;
    sink(heap, top);
}
