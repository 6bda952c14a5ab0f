// pass_state.h: what a training pass keeps between forward (pass.c) and backward (pass_backward.c).
#ifndef MODEL_PASS_STATE_H
#define MODEL_PASS_STATE_H

#include "model/block.h"
#include "model/pass.h"

// One trained layer. With recompute, all layers share every array but `in` and `out`.
struct pass_layer {
    const float *in;                                  // [n_tokens, n_embd] what enters: the layer before's `out`
    float *qkv;                                       // [n_tokens, 3 * n_embd]
    float *attn;                                      // [n_tokens, n_embd] the heads' output
    float *lse;                                       // per sequence [n_head, n]
    float *middle;                                    // [n_tokens, n_embd] the residual stream after attention
    float *inner;                                     // [n_tokens, n_inner] before the activation
    float *out;                                       // [n_tokens, n_embd]
    uint8_t *keep_attention, *keep_middle, *keep_out; // what dropout keeps, as in struct block_dropout
    struct random random;                             // with recompute: the generator as it was before these were drawn
};

struct pass {
    const struct llm_engine *engine;
    struct pass_options options;
    int n_trained;                        // layers from options.trainable.first_layer on
    struct pass_layer *layers;            // [n_trained], one at least: the frozen layers work in the first
    struct attention_sequence *sequences; // [block_sequences()]
    struct attention_gradient *gradients; // likewise
    int32_t *few;                         // [max_tokens / 2] scratch of few_rows.h
    int32_t *unshared;                    // [options.max_unshared] scratch: block.unshared
    void *memory;                         // all arrays of numbers, those of `layers` too
    float *entry;                         // [n_tokens, n_embd] what enters the first trained layer, when computed here
    uint8_t *keep_embedding;              // [n_tokens, n_embd]
    float *rows, *drows;                  // [max_rows, n_embd] final hidden state, and its gradient, then scratch
    float *normed;                        // [n_tokens, n_embd] scratch
    float *active;                        // [n_tokens, n_inner] scratch: the feed-forward after its activation
    float *dstream;                       // [n_tokens, n_embd] gradient of the residual stream
    float *dnarrow;                       // [n_tokens, n_embd] scratch: gradient of a norm's output or of attention's
    float *keys, *dkeys;                  // [options.max_unshared, 3 * n_embd] scratch: block.keys, their gradient
    float *dwide;                         // [n_tokens, n_inner or 3 * n_embd] scratch: gradient of inner or of qkv
    // The last forward, for backward.
    struct batch batch;        // its arrays are the caller's
    const float *last_out;     // [n_tokens or n_rows, n_embd] what left the last layer
    enum leaving last_leaving; // which of these it is
    bool is_few;               // the last layer's attention was that of few_rows.h
    bool is_random;            // something was dropped
};

// The block of a trained layer, reading and writing pass->layers[i]; *dropout is filled in for it.
struct block pass_block(const struct pass *pass, const struct pass_layer *layer, struct block_dropout *dropout);
// Which tokens leave a layer in the last forward.
enum leaving pass_leaving(const struct pass *pass, int layer);
// Its block.few.
int32_t *pass_few(const struct pass *pass, int layer);
// linear_backward(), with an adapter's gradients, for columns first .. first + n_columns - 1 of the projection to
// queries, keys and values.
bool back_qkv_columns(const struct pass *pass, const struct param_block *gradients, float *dx, const float *dout,
                      const float *x, int layer, int first, int n_columns, int n, struct llm_error *err);
// The gradients of the adapter beside columns first .. first + n_columns - 1 of a weight, if there is one.
bool back_adapter(const struct pass *pass, enum param weight, int layer, int first, int n_columns, const float *dout,
                  const float *x, int n, struct llm_error *err);
// PyTorch multiplies what it keeps by this.
float dropout_scale(double probability);
// Draws what a layer drops, for every sequence of the batch.
void pass_draw(const struct pass *pass, const struct pass_layer *layer, const struct batch *batch,
               struct random *random);

#endif
