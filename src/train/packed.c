// packed.c: see packed.h.
#include "train/packed.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHARED_LEAST = 4 // tokens: the rows of the others' keys and values are copied
};

void packed_release(struct packed *packed) {
    free(packed->targets);
    free(packed->examples);
    free(packed->weights);
    free(packed->ids);
    free(packed->positions);
    free(packed->starts);
    free(packed->rows);
    *packed = (struct packed){0};
}

void packed_clear(struct packed *packed) {
    packed->starts[0] = 0;
    packed->n_tokens = packed->n_targets = packed->n_common = packed->n_shared_rows = 0;
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
        .weights = malloc((size_t)max_examples * sizeof *packed->weights),
        .ids = malloc(n * sizeof *packed->ids),
        .positions = malloc(n * sizeof *packed->positions),
        .starts = malloc(((size_t)max_examples + 2) * sizeof *packed->starts),
        .rows = malloc(n * sizeof *packed->rows),
    };
    if (packed->targets == NULL || packed->examples == NULL || packed->weights == NULL || packed->ids == NULL ||
        packed->positions == NULL || packed->starts == NULL || packed->rows == NULL) {
        packed_release(packed);
        return error_memory(err, "batch");
    }
    packed_clear(packed);
    return true;
}

// How many tokens from the first on the example has in common with the first of the batch, all but one at most.
static int count_common(const struct packed *packed, const struct train_example *example) {
    const int most = packed->n_common < example->n ? packed->n_common : example->n - 1;
    int row = 0;
    for (int t = 0; t < most; t++) {
        const bool has_row = row < packed->batch.n_rows && packed->rows[row] == t;
        const int32_t target = has_row ? packed->targets[row++] : NO_TARGET;
        if (packed->ids[t] != example->ids[t] || target != example->targets[t]) return t;
    }
    return most > 0 ? most : 0;
}

void packed_add(struct packed *packed, int64_t number, const struct train_example *example, double weight) {
    struct batch *batch = &packed->batch;
    packed->n_common = batch->n_sequences == 0 ? example->n - 1 : count_common(packed, example);
    for (int i = 0; i < example->n; i++) {
        const int at = batch->n_tokens + i;
        packed->ids[at] = example->ids[i];
        packed->positions[at] = i;
        if (example->targets[i] == NO_TARGET) continue;
        packed->rows[batch->n_rows] = at;
        packed->targets[batch->n_rows++] = example->targets[i];
    }
    packed->weights[batch->n_sequences] = weight;
    packed->examples[batch->n_sequences++] = number;
    batch->n_tokens += example->n;
    packed->starts[batch->n_sequences] = batch->n_tokens;
    packed->n_tokens = batch->n_tokens;
    packed->n_targets = batch->n_rows;
}

// How many tokens will be shared; 0: none.
static int n_shared(const struct packed *packed) {
    return packed->batch.n_sequences < 2 || packed->n_common < SHARED_LEAST ? 0 : packed->n_common;
}

int packed_shared_tokens(const struct packed *packed) {
    return packed->n_tokens - (packed->batch.n_sequences - 1) * n_shared(packed);
}

int packed_unshared_keys(const struct packed *packed) {
    return packed->n_tokens + n_shared(packed);
}

void packed_share(struct packed *packed) {
    struct batch *batch = &packed->batch;
    const int n_common = n_shared(packed), n_examples = batch->n_sequences;
    if (n_common == 0) return;
    int n_shared_rows = 0;
    while (n_shared_rows < batch->n_rows && packed->rows[n_shared_rows] < n_common) n_shared_rows++;
    int row = n_shared_rows, n_rows = n_shared_rows, n_tokens = n_common;
    for (int s = 0; s < n_examples; s++) {
        const int first = packed->starts[s], end = packed->starts[s + 1], n = end - first - n_common;
        memmove(packed->ids + n_tokens, packed->ids + first + n_common, (size_t)n * sizeof *packed->ids);
        memmove(packed->positions + n_tokens, packed->positions + first + n_common,
                (size_t)n * sizeof *packed->positions);
        if (s > 0) row += n_shared_rows;
        for (; row < batch->n_rows && packed->rows[row] < end; row++, n_rows++) {
            packed->targets[n_rows] = packed->targets[row];
            packed->rows[n_rows] = packed->rows[row] - first - n_common + n_tokens;
        }
        packed->starts[s] = n_tokens; // the next round reads the old starts[s + 1]
        n_tokens += n;
    }
    memmove(packed->starts + 1, packed->starts, (size_t)n_examples * sizeof *packed->starts);
    packed->starts[0] = 0;
    packed->starts[n_examples + 1] = n_tokens;
    batch->n_sequences = n_examples + 1;
    batch->n_prefix = n_common;
    batch->n_tokens = n_tokens;
    batch->n_rows = n_rows;
    packed->n_shared_rows = n_shared_rows;
}

double packed_weight(const struct packed *packed, int row, int *sequence) {
    const int first = packed->batch.n_prefix > 0 ? 1 : 0; // the sequence of the first example
    if (row >= packed->n_shared_rows) {
        while (packed->starts[*sequence + 1] <= packed->rows[row]) (*sequence)++;
        return packed->weights[*sequence - first];
    }
    double sum = 0;
    for (int i = 0; i < packed->batch.n_sequences - first; i++) sum += packed->weights[i];
    return sum;
}
