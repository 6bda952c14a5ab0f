// block.c: see block.h. One transformer block of GPT-2 (Radford et al. 2019), forward:
//
//     middle = in + attn_proj(attention(qkv(ln_1(in))))
//     out = middle + mlp_proj(activation(mlp_fc(ln_2(middle))))
//
// In the last layer a token that nobody reads is a key and a value to the others, and nothing else: where these are
// many, queries are computed for the wanted rows alone, gathered, and so is all that follows.
//
// Only operations of `struct ops` touch the numbers; here there is nothing but pointers and shapes.
#include "model/block.h"

#include <math.h>

#include "model/few_rows.h"

// ---- Weights --------------------------------------------------------------------------------

struct linear block_linear(const struct llm_engine *engine, enum param weight, int layer) {
    const enum param bias = weight + 1;
    return (struct linear){
        .weight = *weights_get(&engine->weights, weight, layer),
        .transposed = engine->weights.transposed[weight],
        .bias = param_present(&engine->config, bias) ? weights_get(&engine->weights, bias, layer)->data : NULL,
    };
}

struct linear block_qkv_columns(const struct llm_engine *engine, int layer, int first, int n) {
    struct linear linear = block_linear(engine, PARAM_ATTN_QKV_WEIGHT, layer);
    const struct matrix whole = linear.weight;
    if (linear.transposed) {
        linear.weight.data = (const char *)whole.data + dtype_bytes(whole.dtype, (size_t)first * (size_t)whole.cols);
        linear.weight.rows = n;
    } else {
        linear.weight.data = (const char *)whole.data + dtype_bytes(whole.dtype, (size_t)first);
        linear.weight.cols = n;
        linear.stride = whole.cols;
    }
    if (linear.bias != NULL) linear.bias += first;
    return linear;
}

void block_norm(const struct llm_engine *engine, float *out, const float *x, enum param weight, int layer, int n) {
    const struct config *config = &engine->config;
    engine->ops->layer_norm(engine->ops, out, x, weights_get(&engine->weights, weight, layer)->data,
                            weights_get(&engine->weights, weight + 1, layer)->data, config->layer_norm_epsilon, n,
                            config->n_embd);
}

const struct matrix *head_weight(const struct llm_engine *engine) {
    return weights_get(&engine->weights, engine->config.tied_head ? PARAM_WTE : PARAM_HEAD, 0);
}

// out = activation(x W + bias) + residual, n rows
static bool apply_linear(const struct llm_engine *engine, float *out, const float *x, enum param weight, int layer,
                         enum activation activation, const float *residual, int n, struct llm_error *err) {
    struct linear linear = block_linear(engine, weight, layer);
    linear.activation = activation;
    return engine->ops->linear(engine->ops, out, x, &linear, residual, n, err);
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

float attention_scale(const struct config *config, int layer) {
    const int head_size = config->n_embd / config->n_head;
    float scale = 1;
    if (config->scale_attn_weights) scale /= sqrtf((float)head_size);
    if (config->scale_attn_by_layer) scale /= (float)(layer + 1);
    return scale;
}

size_t kv_slot_size(const struct config *config) {
    return (size_t)config->n_ctx * (size_t)config->n_embd;
}

size_t kv_cache_offset(const struct config *config, const struct kv_cache *cache, int layer, int slot) {
    return ((size_t)layer * (size_t)cache->n_slots + (size_t)slot) * kv_slot_size(config);
}

// Where an array of queries, keys and values has them.
struct qkv_layout {
    int64_t query, key, value; // the first row of each
    int64_t query_stride, key_stride;
};

static struct qkv_layout qkv_layout(const struct config *config, const struct batch *batch, enum leaving leaving) {
    const int64_t n_embd = config->n_embd;
    if (leaving == LEAVING_ALL) return (struct qkv_layout){0, n_embd, 2 * n_embd, 3 * n_embd, 3 * n_embd};
    return (struct qkv_layout){batch->n_tokens * 2 * n_embd, 0, n_embd, n_embd, 2 * n_embd};
}

int block_key_width(const struct config *config, enum leaving leaving) {
    return (leaving == LEAVING_ALL ? 3 : 2) * config->n_embd;
}

// Which queries an entry of block.sequences has: tokens `token` on of a sequence, n rows of the arrays from `row` on.
struct queries {
    int sequence, token, row, n;
};

// The next entry's, after those of an entry or, from zeros, the first; false: there is none.
static bool next_queries(struct queries *queries, const struct batch *batch, enum leaving leaving) {
    const bool all = leaving == LEAVING_ALL;
    queries->row += queries->n;
    if (queries->row == (all ? batch->n_tokens : batch->n_rows)) return false;
    queries->token = all ? queries->row : batch->rows[queries->row];
    while (batch->starts[queries->sequence + 1] <= queries->token) queries->sequence++;
    const int end = batch->starts[queries->sequence + 1];
    queries->n = all ? end - queries->token : batch_run(batch, queries->row, end);
    return true;
}

static struct attention_sequence attention_entry(const struct config *config, const struct block *block,
                                                 const struct batch *batch, const struct kv_cache *cache, int layer,
                                                 const struct qkv_layout *layout, const struct queries *queries) {
    const int start = batch->starts[queries->sequence];
    const int n_before = queries->sequence > 0 ? batch->n_prefix : 0;
    const float *keys = batch->n_prefix > 0
                            ? block->keys + (start + (queries->sequence - 1) * n_before) * layout->key_stride
                            : block->qkv + start * layout->key_stride;
    struct attention_sequence entry = {
        .query = block->qkv + layout->query + queries->row * layout->query_stride,
        .key = keys + layout->key,
        .value = keys + layout->value,
        .out = block->attn + (int64_t)queries->row * config->n_embd,
        .n_query = queries->n,
        .n_key = n_before + queries->token + queries->n - start,
        .lse = block->lse == NULL ? NULL : block->lse + (int64_t)queries->row * config->n_head,
    };
    if (cache != NULL) {
        const size_t at = kv_cache_offset(config, cache, layer, batch->slots[queries->sequence]);
        entry.key = cache->key + at;
        entry.value = cache->value + at;
        entry.n_key += batch->positions[start];
    }
    return entry;
}

void block_spread_keys(const struct llm_engine *engine, const struct block *block, const struct batch *batch,
                       enum leaving leaving) {
    int n = 0;
    for (int s = 0; s < batch->n_sequences; s++) {
        for (int t = 0; t < batch->n_prefix && s > 0; t++) block->unshared[n++] = t;
        for (int t = batch->starts[s]; t < batch->starts[s + 1]; t++) block->unshared[n++] = t;
    }
    const struct matrix table = {block->qkv, DTYPE_F32, batch->n_tokens, block_key_width(&engine->config, leaving)};
    engine->ops->embed(engine->ops, block->keys, &table, NULL, block->unshared, NULL, n);
}

struct attention block_attention(const struct config *config, const struct block *block, const struct batch *batch,
                                 const struct kv_cache *cache, int layer, enum leaving leaving, int *n_sequences) {
    const struct qkv_layout layout = qkv_layout(config, batch, leaving);
    const int head_size = config->n_embd / config->n_head;
    const uint8_t *keep = block->dropout != NULL ? block->dropout->attention : NULL;
    int n = 0;
    for (struct queries queries = {0}; next_queries(&queries, batch, leaving); n++) {
        block->sequences[n] = attention_entry(config, block, batch, cache, layer, &layout, &queries);
        block->sequences[n].keep = keep;
        if (keep != NULL) keep += (int64_t)config->n_head * queries.n * queries.n;
    }
    *n_sequences = n;
    return (struct attention){
        .n_head = config->n_head,
        .head_size = head_size,
        .scale = attention_scale(config, layer),
        .query_stride = layout.query_stride,
        .out_stride = config->n_embd,
        .head_stride = cache != NULL ? (int64_t)cache->n_ctx * head_size : head_size,
        .row_stride = cache != NULL ? head_size : layout.key_stride,
        .keep_scale = keep != NULL ? block->dropout->attention_scale : 1,
    };
}

// Puts the batch's keys and values, fresh in `qkv`, where later batches will find them.
static void store_kv(const struct llm_engine *engine, const float *qkv, const struct batch *batch,
                     struct kv_cache *cache, int layer, enum leaving leaving) {
    const struct config *config = &engine->config;
    const struct qkv_layout layout = qkv_layout(config, batch, leaving);
    for (int s = 0; s < batch->n_sequences; s++) {
        const int start = batch->starts[s];
        for (int copy = 0; copy < (batch->fan_out > 1 ? batch->fan_out : 1); copy++) {
            const size_t at = kv_cache_offset(config, cache, layer, batch->slots[s] + copy);
            engine->ops->store_kv(engine->ops, cache->key + at, cache->value + at,
                                  qkv + layout.key + start * layout.key_stride, layout.key_stride,
                                  batch->starts[s + 1] - start, batch->positions[start], config->n_ctx, config->n_head,
                                  config->n_embd / config->n_head);
        }
    }
}

// ---- The block ------------------------------------------------------------------------------

// to = residual + what the layer adds to it, x W + bias, of which `keep` says what is dropped; n rows.
static bool add_linear(const struct llm_engine *engine, const struct block *block, float *to, const float *x,
                       enum param weight, int layer, const uint8_t *keep, const float *residual, int n,
                       struct llm_error *err) {
    if (keep == NULL) return apply_linear(engine, to, x, weight, layer, ACTIVATION_NONE, residual, n, err);
    if (!apply_linear(engine, block->normed, x, weight, layer, ACTIVATION_NONE, NULL, n, err)) return false;
    engine->ops->dropout(engine->ops, to, block->normed, keep, block->dropout->residual_scale, residual,
                         (int64_t)n * engine->config.n_embd);
    return true;
}

// block->inner, and block->active where that is apart.
static bool feed_forward(const struct llm_engine *engine, const struct block *block, int layer, int n,
                         struct llm_error *err) {
    const enum activation activation = engine->config.activation;
    const bool fused = block->active == NULL;
    if (!apply_linear(engine, block->inner, block->normed, PARAM_MLP_FC_WEIGHT, layer,
                      fused ? activation : ACTIVATION_NONE, NULL, n, err)) {
        return false;
    }
    if (fused || block->out == NULL) return true;
    engine->ops->activate(engine->ops, block->active, block->inner, activation, (int64_t)n * engine->config.n_inner);
    return true;
}

// block->qkv; of tokens that do not leave, without the queries. The heads' output is scratch here.
static bool project_qkv(const struct llm_engine *engine, const struct block *b, const struct batch *batch, int layer,
                        enum leaving leaving, struct llm_error *err) {
    const int n_embd = engine->config.n_embd;
    block_norm(engine, b->normed, b->in, PARAM_LN_1_WEIGHT, layer, batch->n_tokens);
    if (leaving == LEAVING_ALL) {
        return apply_linear(engine, b->qkv, b->normed, PARAM_ATTN_QKV_WEIGHT, layer, ACTIVATION_NONE, NULL,
                            batch->n_tokens, err);
    }
    const struct linear key_value = block_qkv_columns(engine, layer, n_embd, 2 * n_embd);
    const struct linear query = block_qkv_columns(engine, layer, 0, n_embd);
    if (!engine->ops->linear(engine->ops, b->qkv, b->normed, &key_value, NULL, batch->n_tokens, err)) return false;
    if (batch->n_rows == 0) return true;
    gather_rows(engine, b->attn, b->normed, batch);
    return engine->ops->linear(engine->ops, b->qkv + qkv_layout(&engine->config, batch, leaving).query, b->attn, &query,
                               NULL, batch->n_rows, err);
}

bool block_forward(const struct llm_engine *engine, const struct block *b, const struct batch *batch,
                   struct kv_cache *cache, int layer, enum leaving leaving, struct llm_error *err) {
    const int n = leaving == LEAVING_ALL ? batch->n_tokens : batch->n_rows;
    if (b->few != NULL) {
        if (!few_rows_forward(engine, b, batch, layer, err)) return false;
    } else {
        if (!project_qkv(engine, b, batch, layer, leaving, err)) return false;
        if (cache != NULL) store_kv(engine, b->qkv, batch, cache, layer, leaving);
        if (n == 0) return true;
        int n_sequences;
        if (batch->n_prefix > 0) block_spread_keys(engine, b, batch, leaving);
        const struct attention attention =
            block_attention(&engine->config, b, batch, cache, layer, leaving, &n_sequences);
        engine->ops->attention(engine->ops, &attention, b->sequences, n_sequences);
    }
    const float *in = b->in;
    if (leaving == LEAVING_ROWS) {
        gather_rows(engine, b->normed, b->in, batch);
        in = b->normed;
    }
    const uint8_t *keep = b->dropout != NULL ? b->dropout->middle : NULL;
    if (!add_linear(engine, b, b->middle, b->attn, PARAM_ATTN_PROJ_WEIGHT, layer, keep, in, n, err)) return false;
    block_norm(engine, b->normed, b->middle, PARAM_LN_2_WEIGHT, layer, n);
    if (!feed_forward(engine, b, layer, n, err)) return false;
    if (b->out == NULL) return true;
    keep = b->dropout != NULL ? b->dropout->out : NULL;
    return add_linear(engine, b, b->out, b->active != NULL ? b->active : b->inner, PARAM_MLP_PROJ_WEIGHT, layer, keep,
                      b->middle, n, err);
}

// ---- Rows -----------------------------------------------------------------------------------

int batch_run(const struct batch *batch, int i, int end) {
    int n = 1;
    while (i + n < batch->n_rows && batch->rows[i + n] == batch->rows[i] + n && batch->rows[i + n] < end) n++;
    return n;
}

// Gathering pays where clearly fewer rows leave. The gradient of attention takes 16 queries at a time: a run of one
// costs as much as two or three tokens that leave, at 1024 keys.
enum leaving batch_leaving(const struct batch *batch) {
    int n_runs = 0;
    for (int i = 0; i < batch->n_rows; i += batch_run(batch, i, batch->n_tokens)) n_runs++;
    const int64_t cost = (int64_t)batch->n_rows + 2 * (int64_t)n_runs + batch->n_tokens / 8;
    return cost <= batch->n_tokens ? LEAVING_ROWS : LEAVING_ALL;
}

// A table's rows are looked up by token; here the table is x.
void gather_rows(const struct llm_engine *engine, float *out, const float *x, const struct batch *batch) {
    const struct matrix table = {x, DTYPE_F32, batch->n_tokens, engine->config.n_embd};
    engine->ops->embed(engine->ops, out, &table, NULL, batch->rows, NULL, batch->n_rows);
}

void final_norm(const struct llm_engine *engine, float *rows, const float *x, const struct batch *batch,
                enum leaving leaving) {
    if (leaving == LEAVING_ROWS) {
        block_norm(engine, rows, x, PARAM_LN_F_WEIGHT, 0, batch->n_rows);
        return;
    }
    const size_t n_embd = (size_t)engine->config.n_embd;
    for (int i = 0, n = 0; i < batch->n_rows; i += n) {
        n = batch_run(batch, i, batch->n_tokens);
        block_norm(engine, rows + (size_t)i * n_embd, x + (size_t)batch->rows[i] * n_embd, PARAM_LN_F_WEIGHT, 0, n);
    }
}
