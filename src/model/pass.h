// pass.h: one training pass over a packed batch: forward, keeping what backward reads, then backward.
//
// Which parameters are trained is said once, by `struct trainable`; backward goes no lower than the lowest of them.
// Where nothing below is trained or random, the activations entering that layer may be computed once per example
// (pass_entering) and handed in again ever after.
#ifndef MODEL_PASS_H
#define MODEL_PASS_H

#include "base/random.h"
#include "model/batch.h"
#include "model/engine.h"

// ---- Which parameters -----------------------------------------------------------------------

struct trainable {
    int first_layer; // layers first_layer .. n_layer - 1 are trained; n_layer: none
    bool embeddings; // wte and wpe (with a tied head, the head too); only with first_layer 0
    bool final_norm;
    bool head; // an untied head
};

// Everything.
struct trainable trainable_all(void);
bool param_trainable(const struct trainable *trainable, const struct config *config, enum param param, int layer);

// Some parameters of a model in one array of F32: all of them, or the trained ones (gradients, moments).
struct param_block {
    float *data; // [size], from ops->alloc
    int64_t size;
    int64_t *offsets[PARAM_COUNT]; // [param_count] where an instance begins; -1: not in here
};

// Zeroed. trainable NULL: all parameters.
bool param_block_init(struct param_block *block, const struct config *config, const struct trainable *trainable,
                      struct ops *ops, struct llm_error *err);
void param_block_release(struct param_block *block, struct ops *ops);
// NULL when it is not in the block.
float *param_block_at(const struct param_block *block, enum param param, int layer);
// Bytes that param_block_init would take.
int64_t param_block_bytes(const struct config *config, const struct trainable *trainable);

// Copies the engine's weights into `weights` (all parameters, initialised here), as F32, and points the engine there:
// sessions and evaluation of this engine see what training does to them. The block must outlive the engine's use.
bool engine_own_weights(struct llm_engine *engine, struct param_block *weights, struct llm_error *err);

// ---- The pass -------------------------------------------------------------------------------

struct pass_options {
    struct trainable trainable;
    int max_tokens, max_rows, max_sequences;
    bool recompute;          // keep only what enters each layer, and run the layer again in backward: same bits
    float dropout_embedding; // probabilities of dropping; drawn from the generator in the order PyTorch draws them
    float dropout_attention; // in the book's model: embedding [n, n_embd]; per layer attention [n_head, T, T] per
    float dropout_residual;  // sequence, after attention [n, n_embd], after the feed-forward [n, n_embd]
};

struct pass;

struct pass *pass_new(struct llm_engine *engine, const struct pass_options *options, struct llm_error *err);
void pass_free(struct pass *pass);
// Bytes of operations' memory that pass_new would take.
int64_t pass_bytes(const struct config *config, const struct pass_options *options);

// The activations that enter layer trainable.first_layer: entering [n_tokens, n_embd].
bool pass_entering(struct pass *pass, const struct batch *batch, float *entering, struct llm_error *err);

// The final hidden state of batch.rows: *hidden [n_rows, n_embd], borrowed until the next call. `entering` NULL:
// computed. random NULL: no dropout.
bool pass_forward(struct pass *pass, const struct batch *batch, const float *entering, struct random *random,
                  const float **hidden, struct llm_error *err);

// After pass_forward: gradients add up from dhidden [n_rows, n_embd] down.
bool pass_backward(struct pass *pass, const float *dhidden, struct param_block *gradients, struct llm_error *err);

// Forward and backward of a language model: losses[i] of batch.rows[i] against targets[i]; gradients add those of
// the sum of scales[i] * losses[i].    targets, scales, losses [n_rows]
bool pass_language(struct pass *pass, const struct batch *batch, const float *entering, const int32_t *targets,
                   const float *scales, float *losses, struct param_block *gradients, struct random *random,
                   struct llm_error *err);

#endif
