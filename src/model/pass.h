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
#include "model/lora.h"
#include "model/param_block.h"

struct pass_options {
    struct trainable trainable;
    int max_tokens, max_rows, max_sequences;
    int max_length;   // tokens of the longest sequence; 0: the model's context
    int max_unshared; // batches may have a prefix, and so many keys then (batch_unshared()); 0: they have none, as
                      // with dropout and frozen layers
    bool recompute;   // keep only what enters each layer, and run the layer again in backward: same bits
    double dropout_embedding; // probabilities of dropping; drawn from the generator in the order PyTorch draws them
    double dropout_attention; // in the book's model: embedding [n, n_embd]; per layer attention [n_head, T, T] per
    double dropout_residual;  // sequence, after attention [n, n_embd], after the feed-forward [n, n_embd]
    const struct lora *lora;  // adapters whose gradients are wanted too; NULL: none
};

struct pass;

struct pass *pass_new(struct llm_engine *engine, const struct pass_options *options, struct llm_error *err);
void pass_free(struct pass *pass);
// Bytes of operations' memory that pass_new would take; INT64_MAX when that does not fit.
int64_t pass_bytes(const struct config *config, const struct pass_options *options);

// The activations that enter layer trainable.first_layer: entering [n_tokens, n_embd].
bool pass_entering(struct pass *pass, const struct batch *batch, float *entering, struct llm_error *err);

// The final hidden state of batch.rows: *hidden [n_rows, n_embd], borrowed until the next call. `entering` NULL:
// computed. random NULL: no dropout. keep: for pass_backward, which reads the arrays of the batch, and `entering`,
// again; else the layers run in place.
bool pass_forward(struct pass *pass, const struct batch *batch, const float *entering, struct random *random, bool keep,
                  const float **hidden, struct llm_error *err);

// After pass_forward: gradients add up from dhidden [n_rows, n_embd] down. Without wanted rows nothing happens.
bool pass_backward(struct pass *pass, const float *dhidden, struct param_block *gradients, struct llm_error *err);

// Forward and backward of a language model: losses[i] of batch.rows[i] against targets[i]; gradients add those of
// the sum of scales[i] * losses[i].    targets, scales, losses [n_rows]
bool pass_language(struct pass *pass, const struct batch *batch, const float *entering, const int32_t *targets,
                   const float *scales, float *losses, struct param_block *gradients, struct random *random,
                   struct llm_error *err);

#endif
