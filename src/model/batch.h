// batch.h: a packed batch. Padding does not exist: sequences lie one after another.
//
// Everything but attention works on [n_tokens, ...]; attention works per sequence. Prompts, decoding,
// evaluation, training and a server's continuous batching all use this one struct.
#ifndef MODEL_BATCH_H
#define MODEL_BATCH_H

#include "model/config.h"

struct batch {
    int n_tokens;
    const int32_t *ids;       // [n_tokens]
    const int32_t *positions; // [n_tokens] consecutive within a sequence
    int n_sequences;
    const int32_t *starts; // [n_sequences + 1] sequence s is tokens starts[s] .. starts[s + 1] - 1
    int n_prefix;          // training: sequence 0, of so many tokens, is what all others continue, which have it before
                           // theirs; 0: sequences have nothing to do with each other
    const int32_t *slots;  // [n_sequences] KV-cache slot of each; NULL: no cache, keys are the batch's own
    int fan_out;           // with slots: keys and values go to slots[s] and the fan_out - 1 slots after it, so
                           // that a prompt computed once is there for every sample; 0 means 1
    int n_rows;
    const int32_t *rows; // [n_rows] token indices where logits or a loss are wanted, ascending
};

// The KV cache. A slot holds one timeline; its rows are valid up to the position last stored.
struct kv_cache {
    float *key, *value; // [n_layer, n_slots, n_head, n_ctx, head_size]
    int n_slots;
    int n_ctx; // positions a slot can hold
};

#endif
