// param_block.c: see param_block.h.
#include "model/param_block.h"

#include <stdlib.h>

enum {
    ALIGNMENT = 16 // floats: each instance begins on a 64-byte line
};

struct trainable trainable_all(void) {
    return (struct trainable){.first_layer = 0, .embeddings = true, .final_norm = true, .head = true};
}

bool param_trainable(const struct trainable *trainable, const struct config *config, enum param param, int layer) {
    if (!param_present(config, param) || trainable->adapters) return false;
    switch (param) {
    case PARAM_WTE:
    case PARAM_WPE:
        return trainable->embeddings;
    case PARAM_LN_F_WEIGHT:
    case PARAM_LN_F_BIAS:
        return trainable->final_norm;
    case PARAM_HEAD:
    case PARAM_SCORE:
    case PARAM_SCORE_BIAS:
        return trainable->head;
    default:
        return layer >= trainable->first_layer;
    }
}

// Lays the instances out one after another: writes where each begins, unless `offsets` is NULL. Returns the floats
// they take.
static int64_t layout(const struct config *config, const struct trainable *trainable, int64_t *offsets) {
    int64_t size = 0;
    for (int p = 0; p < PARAM_COUNT; p++) {
        const enum param param = (enum param)p;
        const int64_t step = (param_size(config, param) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        for (int layer = 0; layer < param_count(config, param); layer++) {
            const bool wanted = trainable == NULL || param_trainable(trainable, config, param, layer);
            if (offsets != NULL) *offsets++ = wanted ? size : -1;
            if (wanted) size += step;
        }
    }
    return size;
}

int64_t param_block_bytes(const struct config *config, const struct trainable *trainable) {
    return layout(config, trainable, NULL) * (int64_t)sizeof(float);
}

bool param_block_init(struct param_block *block, const struct config *config, const struct trainable *trainable,
                      struct ops *ops, struct llm_error *err) {
    *block = (struct param_block){0};
    size_t n_instances = 0;
    for (int p = 0; p < PARAM_COUNT; p++) n_instances += (size_t)param_count(config, (enum param)p);
    int64_t *offsets = calloc(n_instances, sizeof *offsets);
    if (offsets == NULL) return error_memory(err, "parameters");
    block->size = layout(config, trainable, offsets);
    for (int p = 0; p < PARAM_COUNT; p++) {
        const int count = param_count(config, (enum param)p);
        block->offsets[p] = count > 0 ? offsets : NULL; // that of wte, which every model has, is the array's first
        offsets += count;
    }
    block->data = ops->alloc(ops, (size_t)block->size * sizeof *block->data);
    if (block->data != NULL) {
        // Written before it is read: else the system maps a common page of zeros first, and has to interrupt every
        // thread when that is replaced, which takes a second for each 500 MB.
        ops->zero(ops, block->data, block->size);
        return true;
    }
    param_block_release(block, ops);
    return error_memory(err, "parameters");
}

void param_block_release(struct param_block *block, struct ops *ops) {
    if (block->data != NULL) ops->free(ops, block->data);
    free(block->offsets[PARAM_WTE]);
    *block = (struct param_block){0};
}

float *param_block_at(const struct param_block *block, enum param param, int layer) {
    if (block->offsets[param] == NULL || block->offsets[param][layer] < 0) return NULL;
    return block->data + block->offsets[param][layer];
}
