// forward.c: see forward.h. GPT-2 (Radford et al. 2019) from ids to logits or losses, top to bottom:
//
//     x = wte[ids] + wpe[positions]
//     per layer:  x = block(x)                  (block.c)
//     hidden = ln_f(x),  logits = hidden head^T
//
// All of it works on the packed tokens of a batch [n_tokens, ...]; only attention looks at sequences.
// Nothing is computed that nobody reads: the last layer goes on after its keys and values are stored only with the
// wanted rows, unless these are nearly all (batch_leaving()), and so do the final norm and the head.
//
// Only operations of `struct ops` touch the numbers; here there is nothing but pointers and shapes.
#include "model/forward.h"

#include <stdlib.h>

#include "base/size.h"
#include "model/block.h"

// ---- Memory ---------------------------------------------------------------------------------

enum {
    ALIGNMENT = 16, // floats: each array begins on a 64-byte line
    ARRAYS = 7
};

static size_t round_up(size_t n) {
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

// The one list of what a forward pass keeps: floats in each array, in the order of `struct activations`.
// Returns their sum.
static size_t activations_layout(const struct config *config, int max_tokens, int max_rows, bool with_logits,
                                 size_t sizes[ARRAYS]) {
    const size_t tokens = (size_t)max_tokens;
    const size_t rows = (size_t)max_rows;
    const size_t n_embd = (size_t)config->n_embd;
    sizes[0] = round_up(tokens * n_embd);                                     // residual
    sizes[1] = round_up(tokens * n_embd);                                     // normed
    sizes[2] = round_up(tokens * 3 * n_embd);                                 // qkv
    sizes[3] = round_up(tokens * n_embd);                                     // attn
    sizes[4] = round_up(tokens * (size_t)config->n_inner);                    // inner
    sizes[5] = round_up(rows * n_embd);                                       // rows
    sizes[6] = with_logits ? round_up(rows * (size_t)config->vocab_size) : 0; // logits
    size_t total = 0;
    for (int i = 0; i < ARRAYS; i++) total += sizes[i];
    return total;
}

int64_t activations_bytes(const struct config *config, int max_tokens, int max_rows, bool with_logits) {
    size_t sizes[ARRAYS];
    return (int64_t)(activations_layout(config, max_tokens, max_rows, with_logits, sizes) * sizeof(float));
}

bool activations_init(struct activations *activations, const struct llm_engine *engine, int max_tokens, int max_rows,
                      int max_sequences, bool with_logits, struct llm_error *err) {
    const struct config *config = &engine->config;
    *activations = (struct activations){.max_tokens = max_tokens, .max_rows = max_rows, .max_sequences = max_sequences};
    size_t sizes[ARRAYS];
    const size_t total = activations_layout(config, max_tokens, max_rows, with_logits, sizes);
    float *block = engine->ops->alloc(engine->ops, total * sizeof(float));
    activations->block = block;
    activations->sequences = calloc((size_t)block_sequences(max_sequences, max_rows), sizeof *activations->sequences);
    if (block == NULL || activations->sequences == NULL) {
        activations_release(activations, engine);
        return error_memory(err, "activations");
    }
    float **const arrays[ARRAYS] = {&activations->residual, &activations->normed, &activations->qkv,
                                    &activations->attn,     &activations->inner,  &activations->rows,
                                    &activations->logits};
    for (int i = 0; i < ARRAYS; i++) {
        *arrays[i] = sizes[i] > 0 ? block : NULL;
        block += sizes[i];
    }
    const int n_rows = max_tokens > max_rows ? max_tokens : max_rows;
    if (!reserve_rows(engine, n_rows, err)) {
        activations_release(activations, engine);
        return false;
    }
    return true;
}

void activations_release(struct activations *activations, const struct llm_engine *engine) {
    if (activations->block != NULL) engine->ops->free(engine->ops, activations->block);
    free(activations->sequences);
    *activations = (struct activations){0};
}

int64_t kv_cache_bytes(const struct config *config, int n_slots) {
    uint64_t bytes;
    const uint64_t slots = (uint64_t)config->n_layer * (uint64_t)n_slots;
    if (!size_mul(slots, 2 * sizeof(float) * kv_slot_size(config), &bytes) || bytes > INT64_MAX) return INT64_MAX;
    return (int64_t)bytes;
}

bool kv_cache_init(struct kv_cache *cache, const struct llm_engine *engine, int n_slots, struct llm_error *err) {
    const size_t bytes = (size_t)kv_cache_bytes(&engine->config, n_slots) / 2;
    cache->n_slots = n_slots;
    cache->n_ctx = engine->config.n_ctx;
    cache->key = engine->ops->alloc(engine->ops, bytes);
    cache->value = engine->ops->alloc(engine->ops, bytes);
    if (cache->key == NULL || cache->value == NULL) {
        kv_cache_release(cache, engine);
        return error_memory(err, "KV cache");
    }
    return true;
}

void kv_cache_release(struct kv_cache *cache, const struct llm_engine *engine) {
    if (cache->key != NULL) engine->ops->free(engine->ops, cache->key);
    if (cache->value != NULL) engine->ops->free(engine->ops, cache->value);
    *cache = (struct kv_cache){0};
}

// ---- The network ----------------------------------------------------------------------------

bool forward_hidden(const struct llm_engine *engine, struct activations *activations, const struct batch *batch,
                    struct kv_cache *cache, struct llm_error *err) {
    const int n_layer = engine->config.n_layer;
    const enum leaving last = batch_leaving(batch);
    const struct block block = {
        .in = activations->residual,
        .normed = activations->normed,
        .qkv = activations->qkv,
        .attn = activations->attn,
        .middle = activations->residual,
        .inner = activations->inner,
        .out = activations->residual,
        .sequences = activations->sequences,
    };
    engine->ops->embed(engine->ops, activations->residual, weights_get(&engine->weights, PARAM_WTE, 0),
                       weights_get(&engine->weights, PARAM_WPE, 0), batch->ids, batch->positions, batch->n_tokens);
    for (int layer = 0; layer < n_layer; layer++) {
        const enum leaving leaving = layer == n_layer - 1 ? last : LEAVING_ALL;
        if (!block_forward(engine, &block, batch, cache, layer, leaving, err)) return false;
    }
    final_norm(engine, activations->rows, activations->residual, batch, last);
    return true;
}

bool forward_logits(const struct llm_engine *engine, struct activations *activations, const struct batch *batch,
                    struct kv_cache *cache, struct llm_error *err) {
    if (!forward_hidden(engine, activations, batch, cache, err)) return false;
    if (batch->n_rows == 0) return true;
    const struct linear head = {.weight = *head_weight(engine), .transposed = true};
    return engine->ops->linear(engine->ops, activations->logits, activations->rows, &head, NULL, batch->n_rows, err);
}

bool forward_losses(const struct llm_engine *engine, struct activations *activations, const struct batch *batch,
                    const int32_t *targets, float *losses, struct llm_error *err) {
    if (!forward_hidden(engine, activations, batch, NULL, err)) return false;
    if (batch->n_rows == 0) return true;
    return engine->ops->head_loss(engine->ops, losses, activations->rows, head_weight(engine), targets, batch->n_rows,
                                  err);
}
