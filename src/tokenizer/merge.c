// merge.c: see merge.h.
#include "tokenizer/merge.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"

void merge_scratch_release(struct merge_scratch *scratch) {
    free(scratch->memory);
    *scratch = (struct merge_scratch){0};
}

size_t merge_short(const struct llm_tokenizer *tokenizer, struct merge_scratch *scratch, const uint8_t *piece,
                   size_t size, int32_t *ids) {
    uint32_t ranks[MERGE_SHORT]; // of the pair that begins at each id
    for (size_t i = 0; i < size; i++) ids[i] = tokenizer->byte_ids[piece[i]];
    for (size_t i = 0; i + 1 < size; i++) ranks[i] = tokenizer_rank(tokenizer, ids[i], ids[i + 1]);
    scratch->steps += size;

    size_t n = size;
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            if (ranks[i] < ranks[best]) best = i;
        }
        scratch->steps += n;
        if (ranks[best] == NO_RANK) break;
        ids[best] = tokenizer->joined[ranks[best]];
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        if (best + 1 < n) {
            memmove(ranks + best + 1, ranks + best + 2, (n - best - 2) * sizeof *ranks);
            ranks[best] = tokenizer_rank(tokenizer, ids[best], ids[best + 1]);
        }
        if (best > 0) ranks[best - 1] = tokenizer_rank(tokenizer, ids[best - 1], ids[best]);
    }
    return n;
}

// ---- Long pieces ----------------------------------------------------------------------------
//
// Symbols are named by the byte they begin at; next and previous make them a list. The heap holds candidates, rank in
// the high bits and position in the low ones, so that comparing two numbers compares rank first, then position. A
// candidate whose pair has changed since is recognised by its rank and skipped.

enum {
    POSITION_BITS = 64 - RANK_BITS
};

struct symbol {
    size_t previous, next; // SIZE_MAX at the ends
    int32_t id;
    uint32_t rank; // of the pair with the next symbol; NO_RANK: none, or no longer a symbol
};

struct heap {
    uint64_t *items; // items[0] is the smallest; children of i are 2i + 1 and 2i + 2
    size_t n;
    uint64_t steps;
};

static void heap_push(struct heap *heap, uint64_t item) {
    size_t at = heap->n++;
    while (at > 0 && heap->items[(at - 1) / 2] > item) {
        heap->items[at] = heap->items[(at - 1) / 2];
        at = (at - 1) / 2;
        heap->steps++;
    }
    heap->items[at] = item;
}

static uint64_t heap_pop(struct heap *heap) {
    const uint64_t top = heap->items[0];
    const uint64_t item = heap->items[--heap->n];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->n) break;
        if (child + 1 < heap->n && heap->items[child + 1] < heap->items[child]) child++;
        if (heap->items[child] >= item) break;
        heap->items[at] = heap->items[child];
        at = child;
        heap->steps++;
    }
    heap->items[at] = item;
    return top;
}

// Looks up the pair that begins at `at` and makes it a candidate.
static void pair_update(const struct llm_tokenizer *tokenizer, struct symbol *symbols, size_t at, struct heap *heap) {
    struct symbol *symbol = &symbols[at];
    symbol->rank = symbol->next == SIZE_MAX ? NO_RANK : tokenizer_rank(tokenizer, symbol->id, symbols[symbol->next].id);
    if (symbol->rank != NO_RANK) heap_push(heap, (uint64_t)symbol->rank << POSITION_BITS | at);
    heap->steps++;
}

// Memory for `size` symbols and their candidates: at most one a symbol at first, and one more with each merge, which
// takes one out and puts two in.
static bool scratch_reserve(struct merge_scratch *scratch, size_t size, struct symbol **symbols, struct heap *heap,
                            struct llm_error *err) {
    uint64_t bytes = 0;
    if (size >> POSITION_BITS != 0 || !size_mul(size, sizeof **symbols + 2 * sizeof *heap->items, &bytes)) {
        error_memory(err, "one very long word");
        return false;
    }
    if (scratch->size < bytes) {
        free(scratch->memory);
        scratch->memory = malloc(bytes);
        scratch->size = bytes;
    }
    if (scratch->memory == NULL) {
        scratch->size = 0;
        error_memory(err, "one very long word");
        return false;
    }
    *symbols = scratch->memory;
    *heap = (struct heap){.items = (uint64_t *)(*symbols + size)};
    return true;
}

static void join_with_next(const struct llm_tokenizer *tokenizer, struct symbol *symbols, size_t at,
                           struct heap *heap) {
    struct symbol *left = &symbols[at];
    struct symbol *right = &symbols[left->next];
    left->id = tokenizer->joined[left->rank];
    left->next = right->next;
    right->rank = NO_RANK;
    if (left->next != SIZE_MAX) symbols[left->next].previous = at;
    pair_update(tokenizer, symbols, at, heap);
    if (left->previous != SIZE_MAX) pair_update(tokenizer, symbols, left->previous, heap);
}

bool merge_long(const struct llm_tokenizer *tokenizer, struct merge_scratch *scratch, const uint8_t *piece, size_t size,
                int32_t *ids, size_t *n_ids, struct llm_error *err) {
    struct symbol *symbols = NULL;
    struct heap heap = {0};
    if (!scratch_reserve(scratch, size, &symbols, &heap, err)) return false;
    for (size_t i = 0; i < size; i++) {
        symbols[i].previous = i == 0 ? SIZE_MAX : i - 1;
        symbols[i].next = i + 1 == size ? SIZE_MAX : i + 1;
        symbols[i].id = tokenizer->byte_ids[piece[i]];
    }
    for (size_t i = 0; i < size; i++) pair_update(tokenizer, symbols, i, &heap);

    while (heap.n > 0) {
        const uint64_t item = heap_pop(&heap);
        const size_t at = (size_t)(item & (UINT64_MAX >> RANK_BITS));
        heap.steps++;
        if (symbols[at].rank == item >> POSITION_BITS) join_with_next(tokenizer, symbols, at, &heap);
    }
    size_t n = 0;
    for (size_t at = 0; at != SIZE_MAX; at = symbols[at].next) ids[n++] = symbols[at].id;
    scratch->steps += heap.steps;
    *n_ids = n;
    return true;
}

bool merge_piece(const struct llm_tokenizer *tokenizer, struct merge_scratch *scratch, const uint8_t *piece,
                 size_t size, int32_t *ids, size_t *n_ids, struct llm_error *err) {
    if (size > MERGE_SHORT) return merge_long(tokenizer, scratch, piece, size, ids, n_ids, err);
    *n_ids = merge_short(tokenizer, scratch, piece, size, ids);
    return true;
}
