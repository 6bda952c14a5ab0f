// packed.c: see packed.h.
#include "train/packed.h"

#include <stdlib.h>

void packed_release(struct packed *packed) {
    free(packed->targets);
    free(packed->examples);
    free(packed->ids);
    free(packed->positions);
    free(packed->starts);
    free(packed->rows);
    *packed = (struct packed){0};
}

void packed_clear(struct packed *packed) {
    packed->starts[0] = 0;
    packed->batch = (struct batch){
        .ids = packed->ids,
        .positions = packed->positions,
        .starts = packed->starts,
        .rows = packed->rows,
    };
}

bool packed_init(struct packed *packed, int max_tokens, int max_examples, struct llm_error *err) {
    const size_t n = (size_t)max_tokens;
    *packed = (struct packed){
        .max_tokens = max_tokens,
        .max_examples = max_examples,
        .targets = malloc(n * sizeof *packed->targets),
        .examples = malloc((size_t)max_examples * sizeof *packed->examples),
        .ids = malloc(n * sizeof *packed->ids),
        .positions = malloc(n * sizeof *packed->positions),
        .starts = malloc(((size_t)max_examples + 1) * sizeof *packed->starts),
        .rows = malloc(n * sizeof *packed->rows),
    };
    if (packed->targets == NULL || packed->examples == NULL || packed->ids == NULL || packed->positions == NULL ||
        packed->starts == NULL || packed->rows == NULL) {
        packed_release(packed);
        return error_memory(err, "batch");
    }
    packed_clear(packed);
    return true;
}

void packed_add(struct packed *packed, int64_t number, const struct train_example *example) {
    struct batch *batch = &packed->batch;
    for (int i = 0; i < example->n; i++) {
        const int at = batch->n_tokens + i;
        packed->ids[at] = example->ids[i];
        packed->positions[at] = i;
        if (example->targets[i] == NO_TARGET) continue;
        packed->rows[batch->n_rows] = at;
        packed->targets[batch->n_rows++] = example->targets[i];
    }
    packed->examples[batch->n_sequences++] = number;
    batch->n_tokens += example->n;
    packed->starts[batch->n_sequences] = batch->n_tokens;
}
