// frozen.h: the activations that enter the lowest trained layer, computed once per example and kept.
//
// Where nothing below that layer is trained or random, an example gives the same numbers there in every epoch and
// evaluation. They are kept as long as they fit into the memory given; what does not fit is computed each time.
#ifndef TRAIN_FROZEN_H
#define TRAIN_FROZEN_H

#include "model/pass.h"
#include "train/packed.h"

enum {
    FROZEN_SIDES = 3
};

struct frozen {
    float **examples[FROZEN_SIDES]; // [n_examples] of each side: [n tokens, n_embd], or NULL
    int64_t n_examples[FROZEN_SIDES];
    float *entering;       // [max_tokens, n_embd] of one batch
    struct packed missing; // of a batch, what is not kept
    int n_embd;
    int64_t room; // bytes that may still be taken
};

// n_examples: of the sides (training, validation, test). max_tokens, max_examples: of a batch. Keeps at most `room`
// bytes.
bool frozen_init(struct frozen *frozen, const int64_t n_examples[FROZEN_SIDES], int max_tokens, int max_examples,
                 int n_embd, int64_t room, struct llm_error *err);
void frozen_release(struct frozen *frozen);

// The activations entering the first trained layer for this batch, borrowed until the next call.
const float *frozen_entering(struct frozen *frozen, struct pass *pass, const struct packed *packed, int side,
                             struct llm_error *err);

#endif
