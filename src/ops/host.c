// host.c: see host.h.
#include "ops/host.h"

#include <stdlib.h>
#include <string.h>

#include "ops/cpu/cpu.h"

enum {
    ALIGNMENT = 64
}; // a cache line, and the widest vector register

// In front of each allocation; as large as the alignment, so that the numbers behind it are aligned.
struct host_block {
    _Alignas(64) struct host_block *next;
    void *base; // what calloc returned
};

// By calloc: a large block then consists of pages that the system hands out zeroed when they are first touched, so
// that a KV cache takes memory as it fills.
static void *host_alloc(struct ops *ops, size_t bytes) {
    struct host_state *state = host_state(ops);
    if (bytes > SIZE_MAX - sizeof(struct host_block) - ALIGNMENT) return NULL;
    char *base = calloc(1, bytes + sizeof(struct host_block) + ALIGNMENT);
    if (base == NULL) return NULL;
    struct host_block *block = (void *)(base + (ALIGNMENT - (uintptr_t)base % ALIGNMENT));
    block->base = base;
    pthread_mutex_lock(&state->lock);
    block->next = state->allocations;
    state->allocations = block;
    pthread_mutex_unlock(&state->lock);
    return block + 1;
}

static void host_free(struct ops *ops, void *memory) {
    if (memory == NULL) return;
    struct host_state *state = host_state(ops);
    pthread_mutex_lock(&state->lock);
    struct host_block **link = &state->allocations;
    while (*link != NULL && (void *)(*link + 1) != memory) link = &(*link)->next;
    struct host_block *block = *link;
    if (block != NULL) *link = block->next;
    pthread_mutex_unlock(&state->lock);
    if (block != NULL) free(block->base);
}

static const void *host_put(struct ops *ops, const void *host, size_t bytes) {
    (void)ops;
    (void)bytes;
    return host;
}

static const float *host_get(struct ops *ops, const float *memory, size_t n) {
    (void)ops;
    (void)n;
    return memory;
}

static void host_zero(struct ops *ops, float *memory, int64_t n) {
    (void)ops;
    memset(memory, 0, (size_t)n * sizeof *memory);
}

static void host_state_free(struct ops *ops) {
    struct host_state *state = host_state(ops);
    while (state->allocations != NULL) {
        struct host_block *next = state->allocations->next;
        free(state->allocations->base);
        state->allocations = next;
    }
    if (state->cpu != NULL) {
        free(state->cpu->scratch);
        free(state->cpu->packs);
    }
    free(state->cpu);
    team_free(state->team);
    pthread_mutex_destroy(&state->lock);
    free(state);
}

bool host_init(struct ops *ops, struct llm_error *err) {
    struct host_state *state = calloc(1, sizeof *state);
    if (state == NULL) return error_memory(err, "operations");
    state->team = team_new(ops->n_threads, err);
    if (state->team == NULL) {
        free(state);
        return false;
    }
    pthread_mutex_init(&state->lock, NULL);
    ops->state = state;
    ops->state_free = host_state_free;
    ops->alloc = host_alloc;
    ops->free = host_free;
    ops->put = host_put;
    ops->get = host_get;
    ops->zero = host_zero;
    return true;
}
