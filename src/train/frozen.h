// frozen.h: the activations that enter the lowest trained layer, computed once per text and kept.
//
// Where nothing below that layer is trained or random, a text gives the same numbers there in every epoch and
// evaluation, and wherever it occurs again. They are kept as long as they fit into the memory given; what does not fit
// is computed each time.
#ifndef TRAIN_FROZEN_H
#define TRAIN_FROZEN_H

#include "model/pass.h"
#include "train/packed.h"

struct frozen {
    struct frozen_text **buckets; // [n_buckets] lists of what is kept, by a hash of the ids
    size_t n_buckets;             // a power of two
    float *entering;              // [max_tokens, n_embd] of one batch
    struct packed missing;        // of a batch, what is not kept
    int n_embd;
    int64_t room; // bytes that may still be taken
};

// n_examples: how many there are in all. max_tokens, max_examples: of a batch. Keeps at most `room` bytes.
bool frozen_init(struct frozen *frozen, int64_t n_examples, int max_tokens, int max_examples, int n_embd, int64_t room,
                 struct llm_error *err);
void frozen_release(struct frozen *frozen);

// The activations entering the first trained layer for this batch, borrowed until the next call.
const float *frozen_entering(struct frozen *frozen, struct pass *pass, const struct packed *packed,
                             struct llm_error *err);

#endif
