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
    int max_tokens, max_examples;
    int32_t *ids, *positions, *starts, *rows;
};

bool packed_init(struct packed *packed, int max_tokens, int max_examples, struct llm_error *err);
void packed_release(struct packed *packed);

void packed_clear(struct packed *packed);
// The caller keeps within the sizes.
void packed_add(struct packed *packed, int64_t number, const struct train_example *example);

#endif
