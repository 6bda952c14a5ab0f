// forward.h: the network, from ids to logits or losses.
#ifndef MODEL_FORWARD_H
#define MODEL_FORWARD_H

#include "model/batch.h"
#include "model/engine.h"

// Scratch for one forward pass of up to max_tokens tokens and max_rows rows with logits; one block.
struct activations {
    int max_tokens, max_rows;
    float *residual;                      // [max_tokens, n_embd] the residual stream
    float *normed;                        // [max_tokens, n_embd]
    float *qkv;                           // [max_tokens, 3 * n_embd]
    float *attn;                          // [max_tokens, n_embd]
    float *inner;                         // [max_tokens, n_inner]
    float *rows;                          // [max_rows, n_embd] final hidden state where it is wanted
    float *logits;                        // [max_rows, vocab_size]; NULL when only losses are wanted
    struct attention_sequence *sequences; // [block_sequences()]
    int max_sequences;
    void *block;
};

bool activations_init(struct activations *activations, const struct llm_engine *engine, int max_tokens, int max_rows,
                      int max_sequences, bool with_logits, struct llm_error *err);
void activations_release(struct activations *activations, const struct llm_engine *engine);
// Bytes of operations' memory that activations_init would take.
int64_t activations_bytes(const struct config *config, int max_tokens, int max_rows, bool with_logits);

bool kv_cache_init(struct kv_cache *cache, const struct llm_engine *engine, int n_slots, struct llm_error *err);
void kv_cache_release(struct kv_cache *cache, const struct llm_engine *engine);
// Bytes that kv_cache_init would take; INT64_MAX when that does not fit.
int64_t kv_cache_bytes(const struct config *config, int n_slots);

// Embeds the batch, runs layers 0 .. n_layer - 1 and the final norm; activations.rows receives the hidden
// state of batch.rows. With a cache, keys and values of the batch are stored at their positions and
// attention sees what the slots already hold. A batch without wanted rows only fills the cache.
// Ids, positions, slots and the sizes that activations were made for are the caller's to keep within.
bool forward_hidden(const struct llm_engine *engine, struct activations *activations, const struct batch *batch,
                    struct kv_cache *cache, struct llm_error *err);

// forward_hidden, then activations.logits [n_rows, vocab_size].
bool forward_logits(const struct llm_engine *engine, struct activations *activations, const struct batch *batch,
                    struct kv_cache *cache, struct llm_error *err);

// forward_hidden, then the cross-entropy of each wanted row: losses [n_rows], targets [n_rows].
bool forward_losses(const struct llm_engine *engine, struct activations *activations, const struct batch *batch,
                    const int32_t *targets, float *losses, struct llm_error *err);

#endif
