// packed.h: a packed batch under construction: examples one after another, with a target where a loss is wanted.
#ifndef TRAIN_PACKED_H
#define TRAIN_PACKED_H

#include "base/error.h"
#include "model/batch.h"

enum {
    NO_TARGET = -1
};

// One example as a task gives it. A target is what the model is to predict at that place; NO_TARGET: nothing.
struct train_example {
    const int32_t *ids;     // [n]
    const int32_t *targets; // [n]
    int n;
};

struct packed {
    struct batch batch; // in the arrays below
    int32_t *targets;   // [max_tokens] of batch.rows
    int64_t *examples;  // [max_examples] their numbers
    double *weights;    // [max_examples] of each one's losses
    int max_tokens, max_examples;
    int n_tokens, n_targets; // of all examples, whatever they share
    int n_common;            // tokens that all examples begin with, targets included; each has more than these
    int n_shared_rows;       // the first rows stand for those of all examples
    int32_t *ids, *positions, *starts, *rows;
};

bool packed_init(struct packed *packed, int max_tokens, int max_examples, struct llm_error *err);
void packed_release(struct packed *packed);

void packed_clear(struct packed *packed);
// The caller keeps within the sizes.
void packed_add(struct packed *packed, int64_t number, const struct train_example *example, double weight);
// After the last example: what all begin with becomes one sequence that they continue (batch.n_prefix), if it is long
// enough to be worth it.
void packed_share(struct packed *packed);
// How many tokens there would be then, and how many keys all sequences would have.
int packed_shared_tokens(const struct packed *packed);
int packed_unshared_keys(const struct packed *packed);
// The weight of a row's loss: its example's, or the sum over those it stands for. *sequence is 0 for row 0, and goes on
// from row to row.
double packed_weight(const struct packed *packed, int row, int *sequence);

#endif
