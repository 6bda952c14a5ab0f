// forward.c: see forward.h. GPT-2 (Radford et al. 2019) from ids to logits or losses, top to bottom:
//
//     x = wte[ids] + wpe[positions]
//     per layer:  x = x + attn_proj(attention(qkv(ln_1(x))))
//                 x = x + mlp_proj(activation(mlp_fc(ln_2(x))))
//     hidden = ln_f(x),  logits = hidden head^T
//
// All of it works on the packed tokens of a batch [n_tokens, ...]; only attention looks at sequences.
// Nothing is computed that nobody reads: the last layer goes on after its keys and values are stored
// only with the tokens from the first wanted row to the last one, the final norm and the head only with
// the wanted rows themselves.
//
// Only operations of `struct ops` touch the numbers; here there is nothing but pointers and shapes.
#include "model/forward.h"

#include <math.h>
#include <stdlib.h>

#include "base/size.h"

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

// Elements of the largest matrix a product may meet.
static int64_t largest_matrix(const struct config *config) {
    int64_t largest = 0;
    for (int p = 0; p < PARAM_COUNT; p++) {
        if (!params[p].is_matrix || !param_present(config, (enum param)p)) continue;
        const int64_t size = param_size(config, (enum param)p);
        if (size > largest) largest = size;
    }
    return largest;
}

bool activations_init(struct activations *activations, const struct llm_engine *engine, int max_tokens, int max_rows,
                      int max_sequences, bool with_logits, struct llm_error *err) {
    const struct config *config = &engine->config;
    *activations = (struct activations){.max_tokens = max_tokens, .max_rows = max_rows, .max_sequences = max_sequences};
    size_t sizes[ARRAYS];
    const size_t total = activations_layout(config, max_tokens, max_rows, with_logits, sizes);
    float *block = engine->ops->alloc(engine->ops, total * sizeof(float));
    activations->block = block;
    activations->sequences = calloc((size_t)max_sequences, sizeof *activations->sequences);
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
    const int n_wide = config->n_inner > 3 * config->n_embd ? config->n_inner : 3 * config->n_embd;
    if (!engine->ops->reserve(engine->ops, n_rows, n_wide, largest_matrix(config), err)) {
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

// Floats of one layer's keys (or values) in one slot: [n_head, n_ctx, head_size].
static size_t kv_slot_size(const struct config *config) {
    return (size_t)config->n_ctx * (size_t)config->n_embd;
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

// A run of the batch's tokens.
struct span {
    int first, n;
};

// out[span] = activation(x[span] W + bias) + residual[span], W and bias being `weight` and the parameter after it.
static bool apply_linear(const struct llm_engine *engine, float *out, const float *x, enum param weight, int layer,
                         enum activation activation, const float *residual, struct span span, struct llm_error *err) {
    const struct matrix *matrix = weights_get(&engine->weights, weight, layer);
    const struct linear linear = {
        .weight = *matrix,
        .bias = weights_get(&engine->weights, weight + 1, layer)->data,
        .activation = activation,
    };
    const size_t in = (size_t)span.first * (size_t)matrix->rows;
    const size_t at = (size_t)span.first * (size_t)matrix->cols;
    return engine->ops->linear(engine->ops, out + at, x + in, &linear, residual != NULL ? residual + at : NULL, span.n,
                               err);
}

// out[i] = layer_norm(x[span.first + i]); weight and bias as above.
static void apply_norm(const struct llm_engine *engine, float *out, const float *x, enum param weight, int layer,
                       struct span span) {
    const struct config *config = &engine->config;
    engine->ops->layer_norm(engine->ops, out, x + (size_t)span.first * (size_t)config->n_embd,
                            weights_get(&engine->weights, weight, layer)->data,
                            weights_get(&engine->weights, weight + 1, layer)->data, config->layer_norm_epsilon, span.n,
                            config->n_embd);
}

// The factor on the attention scores of a layer.
static float attention_scale(const struct config *config, int layer) {
    const int head_size = config->n_embd / config->n_head;
    float scale = 1;
    if (config->scale_attn_weights) scale /= sqrtf((float)head_size);
    if (config->scale_attn_by_layer) scale /= (float)(layer + 1);
    return scale;
}

// Where one layer's keys (and values) of a slot begin in the cache.
static size_t kv_offset(const struct config *config, const struct kv_cache *cache, int layer, int slot) {
    return ((size_t)layer * (size_t)cache->n_slots + (size_t)slot) * kv_slot_size(config);
}

// Puts the batch's keys and values, fresh in `qkv`, where later batches will find them.
static void store_kv(const struct llm_engine *engine, const struct activations *activations, const struct batch *batch,
                     struct kv_cache *cache, int layer) {
    const struct config *config = &engine->config;
    for (int s = 0; s < batch->n_sequences; s++) {
        const int start = batch->starts[s];
        const float *qkv = activations->qkv + (size_t)start * 3 * (size_t)config->n_embd;
        for (int copy = 0; copy < (batch->fan_out > 1 ? batch->fan_out : 1); copy++) {
            const size_t at = kv_offset(config, cache, layer, batch->slots[s] + copy);
            engine->ops->store_kv(engine->ops, cache->key + at, cache->value + at, qkv, batch->starts[s + 1] - start,
                                  batch->positions[start], config->n_ctx, config->n_head,
                                  config->n_embd / config->n_head);
        }
    }
}

// activations.attn = attention of the batch's queries over its own keys, or over what the cache holds.
static void attend(const struct llm_engine *engine, struct activations *activations, const struct batch *batch,
                   const struct kv_cache *cache, int layer) {
    const struct config *config = &engine->config;
    const int64_t n_embd = config->n_embd;
    const int head_size = config->n_embd / config->n_head;
    const struct attention attention = {
        .n_head = config->n_head,
        .head_size = head_size,
        .scale = attention_scale(config, layer),
        .query_stride = 3 * n_embd,
        .out_stride = n_embd,
        .head_stride = cache != NULL ? (int64_t)cache->n_ctx * head_size : head_size,
        .row_stride = cache != NULL ? head_size : 3 * n_embd,
    };
    for (int s = 0; s < batch->n_sequences; s++) {
        const int start = batch->starts[s];
        const float *qkv = activations->qkv + start * 3 * n_embd;
        struct attention_sequence *sequence = &activations->sequences[s];
        sequence->query = qkv;
        sequence->out = activations->attn + start * n_embd;
        sequence->n_query = batch->starts[s + 1] - start;
        if (cache != NULL) {
            const size_t at = kv_offset(config, cache, layer, batch->slots[s]);
            sequence->key = cache->key + at;
            sequence->value = cache->value + at;
            sequence->n_key = batch->positions[start] + sequence->n_query;
        } else {
            sequence->key = qkv + n_embd;
            sequence->value = qkv + 2 * n_embd;
            sequence->n_key = sequence->n_query;
        }
    }
    engine->ops->attention(engine->ops, &attention, activations->sequences, batch->n_sequences);
}

// One transformer block on all tokens; `wanted` are those whose output anybody will read.
static bool forward_layer(const struct llm_engine *engine, struct activations *a, const struct batch *batch,
                          struct kv_cache *cache, int layer, struct span wanted, struct llm_error *err) {
    const struct span all = {0, batch->n_tokens};
    apply_norm(engine, a->normed, a->residual, PARAM_LN_1_WEIGHT, layer, all);
    if (!apply_linear(engine, a->qkv, a->normed, PARAM_ATTN_QKV_WEIGHT, layer, ACTIVATION_NONE, NULL, all, err)) {
        return false;
    }
    if (cache != NULL) store_kv(engine, a, batch, cache, layer);
    if (wanted.n == 0) return true;

    attend(engine, a, batch, cache, layer);
    float *normed = a->normed + (size_t)wanted.first * (size_t)engine->config.n_embd;
    if (!apply_linear(engine, a->residual, a->attn, PARAM_ATTN_PROJ_WEIGHT, layer, ACTIVATION_NONE, a->residual, wanted,
                      err)) {
        return false;
    }
    apply_norm(engine, normed, a->residual, PARAM_LN_2_WEIGHT, layer, wanted);
    return apply_linear(engine, a->inner, a->normed, PARAM_MLP_FC_WEIGHT, layer, engine->config.activation, NULL,
                        wanted, err) &&
           apply_linear(engine, a->residual, a->inner, PARAM_MLP_PROJ_WEIGHT, layer, ACTIVATION_NONE, a->residual,
                        wanted, err);
}

// activations.rows = ln_f of the wanted rows, one call for each run of neighbours.
static void gather_rows(const struct llm_engine *engine, struct activations *activations, const struct batch *batch) {
    for (int i = 0; i < batch->n_rows;) {
        int n = 1;
        while (i + n < batch->n_rows && batch->rows[i + n] == batch->rows[i] + n) n++;
        apply_norm(engine, activations->rows + (size_t)i * (size_t)engine->config.n_embd, activations->residual,
                   PARAM_LN_F_WEIGHT, 0, (struct span){batch->rows[i], n});
        i += n;
    }
}

bool forward_hidden(const struct llm_engine *engine, struct activations *activations, const struct batch *batch,
                    struct kv_cache *cache, struct llm_error *err) {
    const int n_layer = engine->config.n_layer;
    const struct span all = {0, batch->n_tokens};
    struct span wanted = {0, 0};
    if (batch->n_rows > 0) {
        wanted = (struct span){batch->rows[0], batch->rows[batch->n_rows - 1] + 1 - batch->rows[0]};
    }
    engine->ops->embed(engine->ops, activations->residual, weights_get(&engine->weights, PARAM_WTE, 0),
                       weights_get(&engine->weights, PARAM_WPE, 0), batch->ids, batch->positions, batch->n_tokens);
    for (int layer = 0; layer < n_layer; layer++) {
        const struct span out = layer == n_layer - 1 ? wanted : all;
        if (!forward_layer(engine, activations, batch, cache, layer, out, err)) return false;
    }
    gather_rows(engine, activations, batch);
    return true;
}

// The output head [vocab_size, n_embd]: a matrix of its own or the token embedding.
static const struct matrix *head_weight(const struct llm_engine *engine) {
    return weights_get(&engine->weights, engine->config.tied_head ? PARAM_WTE : PARAM_HEAD, 0);
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
