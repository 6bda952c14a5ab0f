// block.h: the parts of GPT-2's network that running and training share: one transformer block, the final norm of
// some rows, the output head.
//
// A block is told where everything goes. Running a model, it works in place on one residual stream and keeps
// nothing; in training each layer has arrays of its own, which backward reads later.
#ifndef MODEL_BLOCK_H
#define MODEL_BLOCK_H

#include "model/batch.h"
#include "model/engine.h"

// What a block drops in training. Scales are 1 / (1 - probability).
struct block_dropout {
    const uint8_t *attention; // per sequence [n_head, n, n], one after another; NULL: nothing dropped here
    const uint8_t *middle;    // [n_tokens, n_embd] of what attention adds to the residual stream; NULL likewise
    const uint8_t *out;       // [n_tokens, n_embd] of what the feed-forward adds
    float attention_scale, residual_scale;
};

// Which tokens of the batch leave a block. Of those that do not, only keys and values are computed.
enum leaving {
    LEAVING_ALL,
    LEAVING_ROWS // batch.rows, gathered: from the heads' output on, arrays have a row for each of these
};

// Where a block reads and writes, all [n_tokens, ...].
struct block {
    const float *in; // [n_embd] the residual stream as it enters
    float *normed;   // [n_embd] scratch
    float *qkv;      // [3 * n_embd]; LEAVING_ROWS: [2 * n_embd] key and value, and behind these of all tokens
                     // queries [n_rows, n_embd]
    float *keys; // with batch.n_prefix: [batch_unshared(), as in qkv] scratch: for each sequence the rows of qkv that
                 // are its keys and values, the prefix's before its own
    int32_t *unshared; // with it: [batch_unshared()] scratch: their tokens
    float *attn;       // [n_embd] the heads' output
    float *lse;        // per entry of `sequences` [n_head, n_query], one after another: for attention_backward; NULL:
                       // not wanted
    float *middle;     // [n_embd] the residual stream after attention; may be `in`
    float *inner;      // [n_inner] the feed-forward before its activation
    float *active;     // [n_inner] and after it; NULL: `inner` receives this, and what was before is not kept
    float *out; // [n_embd] the residual stream as it leaves; may be `middle`; NULL: not wanted, only the others are
    struct attention_sequence *sequences; // [block_sequences()] scratch
    int32_t *few;                         // not NULL: the wanted rows' attention as in few_rows.h, which lays out qkv;
                                          // [n_rows * n_head] scratch
    const struct block_dropout *dropout;  // NULL: nothing dropped; else normed is overwritten, and ALL leave
};

// How many keys all sequences have, with a prefix.
static inline int batch_unshared(const struct batch *batch) {
    return batch->n_tokens + (batch->n_sequences - 1) * batch->n_prefix;
}

// Room for block.sequences: a sequence has an entry, or each run of wanted rows in it.
static inline int block_sequences(int max_sequences, int max_rows) {
    return max_sequences > max_rows ? max_sequences : max_rows;
}

// Runs layer `layer` on all tokens of the batch. With a cache, keys and values are stored there, and attention sees
// what the slots already hold.
bool block_forward(const struct llm_engine *engine, const struct block *block, const struct batch *batch,
                   struct kv_cache *cache, int layer, enum leaving leaving, struct llm_error *err);

// What the operations are told about a layer's attention: fills in block.sequences, *n_sequences of them, with query,
// key, value, out, lse and keep, and returns the rest. Without a cache keys are the batch's own.
struct attention block_attention(const struct config *config, const struct block *block, const struct batch *batch,
                                 const struct kv_cache *cache, int layer, enum leaving leaving, int *n_sequences);

// With batch.n_prefix: fills block->keys and block->unshared.
void block_spread_keys(const struct llm_engine *engine, const struct block *block, const struct batch *batch,
                       enum leaving leaving);
// How many numbers a row of qkv has where keys and values are.
int block_key_width(const struct config *config, enum leaving leaving);
// The factor on the attention scores of a layer.
float attention_scale(const struct config *config, int layer);

// The parameter `weight` and the bias behind it in the table, which may be absent.
struct linear block_linear(const struct llm_engine *engine, enum param weight, int layer);
// The same of the attention's projection to queries, keys and values: columns first .. first + n - 1 of it.
struct linear block_qkv_columns(const struct llm_engine *engine, int layer, int first, int n);

// out[i] = layer_norm(x[i]) with `weight` and the bias behind it, n rows.
void block_norm(const struct llm_engine *engine, float *out, const float *x, enum param weight, int layer, int n);

// out [n_rows, n_embd] = the wanted rows of x [n_tokens, n_embd].
void gather_rows(const struct llm_engine *engine, float *out, const float *x, const struct batch *batch);

// What had better leave the last layer, of which nothing but the wanted rows is read.
enum leaving batch_leaving(const struct batch *batch);
// How many of the wanted rows from the i-th on are neighbours, before token `end`.
int batch_run(const struct batch *batch, int i, int end);

// rows [n_rows, n_embd] = the final norm of the wanted rows of x, what has left the last layer.
void final_norm(const struct llm_engine *engine, float *rows, const float *x, const struct batch *batch,
                enum leaving leaving);

// The output head [vocab_size, n_embd]: a matrix of its own or the token embedding.
const struct matrix *head_weight(const struct llm_engine *engine);

// Tells the operations how large calls will be that this model makes with up to n_rows rows.
bool reserve_rows(const struct llm_engine *engine, int n_rows, struct llm_error *err);

// Where one layer's keys (and values) of a slot begin in a cache's arrays, and the floats they take there.
size_t kv_cache_offset(const struct config *config, const struct kv_cache *cache, int layer, int slot);
size_t kv_slot_size(const struct config *config);

#endif
