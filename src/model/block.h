// block.h: the parts of GPT-2's network that running and training share: one transformer block, the final norm of
// some rows, the output head.
//
// A block is told where everything goes. Running a model, it works in place on one residual stream and keeps
// nothing; in training each layer has arrays of its own, which backward reads later.
#ifndef MODEL_BLOCK_H
#define MODEL_BLOCK_H

#include "model/batch.h"
#include "model/engine.h"

// A run of the batch's tokens.
struct span {
    int first, n;
};

// What a block drops in training. Scales are 1 / (1 - probability).
struct block_dropout {
    const uint8_t *attention; // per sequence [n_head, n, n], one after another; NULL: nothing dropped here
    const uint8_t *middle;    // [n_tokens, n_embd] of what attention adds to the residual stream; NULL likewise
    const uint8_t *out;       // [n_tokens, n_embd] of what the feed-forward adds
    float attention_scale, residual_scale;
};

// Where a block reads and writes, all [n_tokens, ...].
struct block {
    const float *in; // [n_embd] the residual stream as it enters
    float *normed;   // [n_embd] scratch
    float *qkv;      // [3 * n_embd]
    float *attn;     // [n_embd] the heads' output
    float *lse;      // per sequence [n_head, n], one after another: for attention_backward; NULL: not wanted
    float *middle;   // [n_embd] the residual stream after attention; may be `in`
    float *inner;    // [n_inner] the feed-forward before its activation
    float *active;   // [n_inner] and after it; NULL: `inner` receives this, and what was before is not kept
    float *out; // [n_embd] the residual stream as it leaves; may be `middle`; NULL: not wanted, only the others are
    struct attention_sequence *sequences; // [n_sequences] scratch
    const struct block_dropout *dropout;  // NULL: nothing dropped; else normed is overwritten
};

// Runs layer `layer` on all tokens of the batch; `wanted` are those whose output anybody will read. With a cache,
// keys and values are stored there, and attention sees what the slots already hold.
bool block_forward(const struct llm_engine *engine, const struct block *block, const struct batch *batch,
                   struct kv_cache *cache, int layer, struct span wanted, struct llm_error *err);

// What the operations are told about a layer's attention over the batch's own keys: fills in sequences
// [n_sequences] with query, key, value, out, lse and keep, and returns the rest.
struct attention block_attention(const struct config *config, const struct block *block, const struct batch *batch,
                                 int layer);

// The parameter `weight` and the bias behind it in the table, which may be absent.
struct linear block_linear(const struct llm_engine *engine, enum param weight, int layer);

// out[i] = layer_norm(x[span.first + i]) with `weight` and the bias behind it.
void block_norm(const struct llm_engine *engine, float *out, const float *x, enum param weight, int layer,
                struct span span);

// From the first wanted row to the last one.
struct span batch_wanted(const struct batch *batch);
// How many of the wanted rows from the i-th on are neighbours.
int batch_run(const struct batch *batch, int i);

// rows [n_rows, n_embd] = the final norm of the wanted rows of x [n_tokens, n_embd].
void final_norm(const struct llm_engine *engine, float *rows, const float *x, const struct batch *batch);

// The output head [vocab_size, n_embd]: a matrix of its own or the token embedding.
const struct matrix *head_weight(const struct llm_engine *engine);

// Tells the operations how large calls will be that this model makes with up to n_rows rows.
bool reserve_rows(const struct llm_engine *engine, int n_rows, struct llm_error *err);

// Where one layer's keys (and values) of a slot begin in a cache's arrays, and the floats they take there.
size_t kv_cache_offset(const struct config *config, const struct kv_cache *cache, int layer, int slot);
size_t kv_slot_size(const struct config *config);

#endif
