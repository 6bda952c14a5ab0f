// block.c: see block.h. One transformer block of GPT-2 (Radford et al. 2019), forward:
//
//     middle = in + attn_proj(attention(qkv(ln_1(in))))
//     out = middle + mlp_proj(activation(mlp_fc(ln_2(middle))))
//
// Only operations of `struct ops` touch the numbers; here there is nothing but pointers and shapes.
#include "model/block.h"

#include <math.h>

// ---- Weights --------------------------------------------------------------------------------

struct linear block_linear(const struct llm_engine *engine, enum param weight, int layer) {
    const enum param bias = weight + 1;
    return (struct linear){
        .weight = *weights_get(&engine->weights, weight, layer),
        .bias = param_present(&engine->config, bias) ? weights_get(&engine->weights, bias, layer)->data : NULL,
    };
}

void block_norm(const struct llm_engine *engine, float *out, const float *x, enum param weight, int layer,
                struct span span) {
    const struct config *config = &engine->config;
    engine->ops->layer_norm(engine->ops, out, x + (size_t)span.first * (size_t)config->n_embd,
                            weights_get(&engine->weights, weight, layer)->data,
                            weights_get(&engine->weights, weight + 1, layer)->data, config->layer_norm_epsilon, span.n,
                            config->n_embd);
}

const struct matrix *head_weight(const struct llm_engine *engine) {
    return weights_get(&engine->weights, engine->config.tied_head ? PARAM_WTE : PARAM_HEAD, 0);
}

// out[span] = activation(x[span] W + bias) + residual[span]
static bool apply_linear(const struct llm_engine *engine, float *out, const float *x, enum param weight, int layer,
                         enum activation activation, const float *residual, struct span span, struct llm_error *err) {
    struct linear linear = block_linear(engine, weight, layer);
    linear.activation = activation;
    const size_t in = (size_t)span.first * (size_t)linear.weight.rows;
    const size_t at = (size_t)span.first * (size_t)linear.weight.cols;
    return engine->ops->linear(engine->ops, out + at, x + in, &linear, residual != NULL ? residual + at : NULL, span.n,
                               err);
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

bool reserve_rows(const struct llm_engine *engine, int n_rows, struct llm_error *err) {
    const struct config *config = &engine->config;
    const int n_wide = config->n_inner > 3 * config->n_embd ? config->n_inner : 3 * config->n_embd;
    return engine->ops->reserve(engine->ops, n_rows, n_wide, largest_matrix(config), err);
}

// ---- Attention ------------------------------------------------------------------------------

// The factor on the attention scores of a layer.
static float attention_scale(const struct config *config, int layer) {
    const int head_size = config->n_embd / config->n_head;
    float scale = 1;
    if (config->scale_attn_weights) scale /= sqrtf((float)head_size);
    if (config->scale_attn_by_layer) scale /= (float)(layer + 1);
    return scale;
}

struct attention block_attention(const struct config *config, const struct block *block, const struct batch *batch,
                                 int layer) {
    const int64_t n_embd = config->n_embd;
    const uint8_t *keep = block->dropout != NULL ? block->dropout->attention : NULL;
    for (int s = 0; s < batch->n_sequences; s++) {
        const int64_t start = batch->starts[s];
        const int n = batch->starts[s + 1] - batch->starts[s];
        const float *qkv = block->qkv + start * 3 * n_embd;
        block->sequences[s] = (struct attention_sequence){
            .query = qkv,
            .key = qkv + n_embd,
            .value = qkv + 2 * n_embd,
            .out = block->attn + start * n_embd,
            .n_query = n,
            .n_key = n,
            .lse = block->lse == NULL ? NULL : block->lse + start * config->n_head,
            .keep = keep,
        };
        if (keep != NULL) keep += (int64_t)config->n_head * n * n;
    }
    const int head_size = config->n_embd / config->n_head;
    return (struct attention){
        .n_head = config->n_head,
        .head_size = head_size,
        .scale = attention_scale(config, layer),
        .query_stride = 3 * n_embd,
        .out_stride = n_embd,
        .head_stride = head_size,
        .row_stride = 3 * n_embd,
        .keep_scale = keep != NULL ? block->dropout->attention_scale : 1,
    };
}

size_t kv_slot_size(const struct config *config) {
    return (size_t)config->n_ctx * (size_t)config->n_embd;
}

size_t kv_cache_offset(const struct config *config, const struct kv_cache *cache, int layer, int slot) {
    return ((size_t)layer * (size_t)cache->n_slots + (size_t)slot) * kv_slot_size(config);
}

// Puts the batch's keys and values, fresh in `qkv`, where later batches will find them.
static void store_kv(const struct llm_engine *engine, const float *qkv, const struct batch *batch,
                     struct kv_cache *cache, int layer) {
    const struct config *config = &engine->config;
    for (int s = 0; s < batch->n_sequences; s++) {
        const int start = batch->starts[s];
        for (int copy = 0; copy < (batch->fan_out > 1 ? batch->fan_out : 1); copy++) {
            const size_t at = kv_cache_offset(config, cache, layer, batch->slots[s] + copy);
            engine->ops->store_kv(engine->ops, cache->key + at, cache->value + at,
                                  qkv + (size_t)start * 3 * (size_t)config->n_embd, batch->starts[s + 1] - start,
                                  batch->positions[start], config->n_ctx, config->n_head,
                                  config->n_embd / config->n_head);
        }
    }
}

// The keys are the cache's in place of the batch's own.
static void attend_cache(const struct config *config, struct attention *attention, const struct block *block,
                         const struct batch *batch, const struct kv_cache *cache, int layer) {
    attention->head_stride = (int64_t)cache->n_ctx * attention->head_size;
    attention->row_stride = attention->head_size;
    for (int s = 0; s < batch->n_sequences; s++) {
        const size_t at = kv_cache_offset(config, cache, layer, batch->slots[s]);
        block->sequences[s].key = cache->key + at;
        block->sequences[s].value = cache->value + at;
        block->sequences[s].n_key += batch->positions[batch->starts[s]];
    }
}

// ---- The block ------------------------------------------------------------------------------

// to[wanted] = residual[wanted] + what the layer adds to it, x W + bias, of which `keep` says what is dropped.
static bool add_linear(const struct llm_engine *engine, const struct block *block, float *to, const float *x,
                       enum param weight, int layer, const uint8_t *keep, const float *residual, struct span wanted,
                       struct llm_error *err) {
    if (keep == NULL) return apply_linear(engine, to, x, weight, layer, ACTIVATION_NONE, residual, wanted, err);
    const size_t at = (size_t)wanted.first * (size_t)engine->config.n_embd;
    if (!apply_linear(engine, block->normed, x, weight, layer, ACTIVATION_NONE, NULL, wanted, err)) return false;
    engine->ops->dropout(engine->ops, to + at, block->normed + at, keep + at, block->dropout->residual_scale,
                         residual + at, (int64_t)wanted.n * engine->config.n_embd);
    return true;
}

// block->inner, and block->active where that is apart.
static bool feed_forward(const struct llm_engine *engine, const struct block *block, int layer, struct span wanted,
                         struct llm_error *err) {
    const enum activation activation = engine->config.activation;
    const bool fused = block->active == NULL;
    if (!apply_linear(engine, block->inner, block->normed, PARAM_MLP_FC_WEIGHT, layer,
                      fused ? activation : ACTIVATION_NONE, NULL, wanted, err)) {
        return false;
    }
    if (fused || block->out == NULL) return true;
    const size_t at = (size_t)wanted.first * (size_t)engine->config.n_inner;
    engine->ops->activate(engine->ops, block->active + at, block->inner + at, activation,
                          (int64_t)wanted.n * engine->config.n_inner);
    return true;
}

bool block_forward(const struct llm_engine *engine, const struct block *b, const struct batch *batch,
                   struct kv_cache *cache, int layer, struct span wanted, struct llm_error *err) {
    const struct span all = {0, batch->n_tokens};
    block_norm(engine, b->normed, b->in, PARAM_LN_1_WEIGHT, layer, all);
    if (!apply_linear(engine, b->qkv, b->normed, PARAM_ATTN_QKV_WEIGHT, layer, ACTIVATION_NONE, NULL, all, err)) {
        return false;
    }
    if (cache != NULL) store_kv(engine, b->qkv, batch, cache, layer);
    if (wanted.n == 0) return true;

    struct attention attention = block_attention(&engine->config, b, batch, layer);
    if (cache != NULL) attend_cache(&engine->config, &attention, b, batch, cache, layer);
    engine->ops->attention(engine->ops, &attention, b->sequences, batch->n_sequences);
    const uint8_t *keep = b->dropout != NULL ? b->dropout->middle : NULL;
    if (!add_linear(engine, b, b->middle, b->attn, PARAM_ATTN_PROJ_WEIGHT, layer, keep, b->in, wanted, err)) {
        return false;
    }
    block_norm(engine, b->normed + (size_t)wanted.first * (size_t)engine->config.n_embd, b->middle, PARAM_LN_2_WEIGHT,
               layer, wanted);
    if (!feed_forward(engine, b, layer, wanted, err)) return false;
    if (b->out == NULL) return true;
    keep = b->dropout != NULL ? b->dropout->out : NULL;
    return add_linear(engine, b, b->out, b->active != NULL ? b->active : b->inner, PARAM_MLP_PROJ_WEIGHT, layer, keep,
                      b->middle, wanted, err);
}

// ---- Rows -----------------------------------------------------------------------------------

struct span batch_wanted(const struct batch *batch) {
    if (batch->n_rows == 0) return (struct span){0, 0};
    return (struct span){batch->rows[0], batch->rows[batch->n_rows - 1] + 1 - batch->rows[0]};
}

int batch_run(const struct batch *batch, int i) {
    int n = 1;
    while (i + n < batch->n_rows && batch->rows[i + n] == batch->rows[i] + n) n++;
    return n;
}

void final_norm(const struct llm_engine *engine, float *rows, const float *x, const struct batch *batch) {
    for (int i = 0, n = 0; i < batch->n_rows; i += n) {
        n = batch_run(batch, i);
        block_norm(engine, rows + (size_t)i * (size_t)engine->config.n_embd, x, PARAM_LN_F_WEIGHT, 0,
                   (struct span){batch->rows[i], n});
    }
}
