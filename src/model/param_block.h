// param_block.h: which parameters are trained, and blocks of memory that hold parameters, or a number for each.
//
// Weights under training, their gradients and an optimizer's moments are all the same thing: one F32 array for
// some of the model's parameters, each instance beginning on a cache line. Two blocks made for the same
// `struct trainable` have the same layout.
#ifndef MODEL_PARAM_BLOCK_H
#define MODEL_PARAM_BLOCK_H

#include "model/params.h"

// ---- Which parameters -----------------------------------------------------------------------

struct trainable {
    int first_layer; // layers first_layer .. n_layer - 1 are trained; n_layer: none
    bool embeddings; // wte and wpe (with a tied head, the head too); only with first_layer 0
    bool final_norm;
    bool head;     // an untied head, or a classifier's
    bool adapters; // of all these none themselves, but the adapters beside layers and head (lora.h)
};

// Everything.
struct trainable trainable_all(void);
// False for a parameter that a model of this config does not have.
bool param_trainable(const struct trainable *trainable, const struct config *config, enum param param, int layer);

// ---- Blocks ---------------------------------------------------------------------------------

// Some parameters of a model in one array of F32: all of them, or the trained ones (gradients, moments).
struct param_block {
    float *data; // [size], from ops->alloc; what lies between two instances stays zero
    int64_t size;
    int64_t *offsets[PARAM_COUNT]; // [param_count] where an instance begins, -1: not in here; NULL: the model has none
};

// Zeroed. trainable NULL: all parameters.
bool param_block_init(struct param_block *block, const struct config *config, const struct trainable *trainable,
                      struct ops *ops, struct llm_error *err);
// A zeroed block may be released.
void param_block_release(struct param_block *block, struct ops *ops);
// NULL when it is not in the block, or not in the model.
float *param_block_at(const struct param_block *block, enum param param, int layer);
// Bytes that param_block_init would take.
int64_t param_block_bytes(const struct config *config, const struct trainable *trainable);

#endif
