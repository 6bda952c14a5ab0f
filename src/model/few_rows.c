// few_rows.c: see few_rows.h.
//
// A product with one head's columns takes rows of that head alone, so these lie head after head: [n_head, n_rows, ...].
// To attention the heads of a wanted row are queries that see the same keys, of one head that is n_embd wide, and x is
// its keys and values.
#include "model/few_rows.h"

bool few_rows_pay(const struct config *config, const struct batch *batch) {
    return batch->n_rows > 0 && 2 * (int64_t)batch->n_rows * config->n_head <= batch->n_tokens;
}

// What lies in an array that has room for queries, keys and values of all tokens.
struct few_rows {
    float *rows;   // [n_rows, n_embd] the queries, row by row
    float *query;  // [n_head, n_rows, head_size] and head by head
    float *search; // [n_head, n_rows, n_embd] q W_k^T
    float *found;  // [n_head, n_rows, n_embd] sum_j p_j x_j
    float *heads;  // [n_head, n_rows, head_size] the heads' output
};

static struct few_rows few_rows_in(float *memory, const struct config *config, int n_rows) {
    const int64_t size = (int64_t)n_rows * config->n_embd;
    float *search = memory + 2 * size, *found = search + size * config->n_head;
    return (struct few_rows){memory, memory + size, search, found, found + size * config->n_head};
}

// The part of head h in arrays [n_head, n_rows, width].
static int64_t head_at(int h, int n_rows, int width) {
    return (int64_t)h * n_rows * width;
}

// out [n_b, n_a, head_size] = x [n_a, n_b, head_size]
static void swap_order(const struct llm_engine *engine, int32_t *order, float *out, const float *x, int n_a, int n_b) {
    const int n = n_a * n_b;
    for (int i = 0; i < n; i++) order[i] = i % n_a * n_b + i / n_a;
    const struct matrix table = {x, DTYPE_F32, n, engine->config.n_embd / engine->config.n_head};
    engine->ops->embed(engine->ops, out, &table, NULL, order, NULL, n);
}

// The columns of head h in a part of the projection: 0 queries, 1 keys, 2 values.
static int head_column(const struct config *config, int part, int h) {
    return part * config->n_embd + h * (config->n_embd / config->n_head);
}

// search = query W_k^T of one head
static struct linear search_linear(const struct llm_engine *engine, int layer, int h) {
    const struct config *config = &engine->config;
    struct linear linear = block_qkv_columns(engine, layer, head_column(config, 1, h), config->n_embd / config->n_head);
    linear.transposed = !linear.transposed;
    linear.bias = NULL;
    return linear;
}

// An entry of block->sequences for each wanted row; all entries of a sequence follow one another.
static struct attention entries(const struct config *config, const struct block *block, const struct batch *batch,
                                int layer) {
    const int64_t n_embd = config->n_embd;
    const struct few_rows few = few_rows_in(block->qkv, config, batch->n_rows);
    int sequence = 0;
    for (int row = 0; row < batch->n_rows; row++) {
        while (batch->starts[sequence + 1] <= batch->rows[row]) sequence++;
        const int start = batch->starts[sequence];
        block->sequences[row] = (struct attention_sequence){
            .query = few.search + row * n_embd,
            .key = block->normed + start * n_embd,
            .value = block->normed + start * n_embd,
            .out = few.found + row * n_embd,
            .n_query = config->n_head,
            .n_key = batch->rows[row] + 1 - start,
            .lse = block->lse != NULL ? block->lse + (int64_t)row * config->n_head : NULL,
        };
    }
    const int64_t head_stride = head_at(1, batch->n_rows, config->n_embd);
    return (struct attention){
        .n_head = 1,
        .head_size = config->n_embd,
        .scale = attention_scale(config, layer),
        .query_stride = head_stride,
        .out_stride = head_stride,
        .row_stride = n_embd,
        .keep_scale = 1,
        .unmasked = true,
    };
}

bool few_rows_forward(const struct llm_engine *engine, const struct block *b, const struct batch *batch, int layer,
                      struct llm_error *err) {
    const struct config *config = &engine->config;
    struct ops *ops = engine->ops;
    const int n = batch->n_rows, n_head = config->n_head, n_embd = config->n_embd, head_size = n_embd / n_head;
    const struct few_rows few = few_rows_in(b->qkv, config, n);
    const struct linear query = block_qkv_columns(engine, layer, 0, n_embd);
    block_norm(engine, b->normed, b->in, PARAM_LN_1_WEIGHT, layer, batch->n_tokens);
    gather_rows(engine, b->attn, b->normed, batch);
    if (!ops->linear(ops, few.rows, b->attn, &query, NULL, n, err)) return false;
    swap_order(engine, b->few, few.query, few.rows, n, n_head);
    for (int h = 0; h < n_head; h++) {
        const struct linear search = search_linear(engine, layer, h);
        if (!ops->linear(ops, few.search + head_at(h, n, n_embd), few.query + head_at(h, n, head_size), &search, NULL,
                         n, err)) {
            return false;
        }
    }
    const struct attention attention = entries(config, b, batch, layer);
    ops->attention(ops, &attention, b->sequences, n);
    for (int h = 0; h < n_head; h++) {
        const struct linear value = block_qkv_columns(engine, layer, head_column(config, 2, h), head_size);
        if (!ops->linear(ops, few.heads + head_at(h, n, head_size), few.found + head_at(h, n, n_embd), &value, NULL, n,
                         err)) {
            return false;
        }
    }
    swap_order(engine, b->few, b->attn, few.heads, n_head, n);
    return true;
}

// The gradients of search_linear(), from that of its output: dquery [n_rows, head_size], and that of W_k.
static bool back_search(const struct pass *pass, const struct param_block *gradients, float *dquery,
                        const float *dsearch, const float *query, int layer, int h, struct llm_error *err) {
    const struct config *config = &pass->engine->config;
    const int n = pass->batch.n_rows, head_size = config->n_embd / config->n_head;
    const int column = head_column(config, 1, h);
    const struct linear search = search_linear(pass->engine, layer, h);
    float *dweight = param_block_at(gradients, PARAM_ATTN_QKV_WEIGHT, layer);
    // W_k's own gradient is dsearch^T query, as if dsearch had been multiplied with it and query come back.
    if (!back_adapter(pass, PARAM_ATTN_QKV_WEIGHT, layer, column, head_size, query, dsearch, n, err)) return false;
    return pass->engine->ops->linear_backward(pass->engine->ops, dquery, dweight != NULL ? dweight + column : NULL,
                                              NULL, dsearch, query, &search, n, err);
}

bool few_rows_backward(const struct pass *pass, const struct param_block *gradients, const struct block *block,
                       int layer, struct llm_error *err) {
    const struct llm_engine *engine = pass->engine;
    const struct config *config = &engine->config;
    const struct batch *batch = &pass->batch;
    struct ops *ops = engine->ops;
    const int n = batch->n_rows, n_head = config->n_head, n_embd = config->n_embd, head_size = n_embd / n_head;
    const struct few_rows few = few_rows_in(block->qkv, config, n), d = few_rows_in(pass->dwide, config, n);
    swap_order(engine, block->few, d.heads, pass->dnarrow, n, n_head);
    for (int h = 0; h < n_head; h++) {
        if (!back_qkv_columns(pass, gradients, d.found + head_at(h, n, n_embd), d.heads + head_at(h, n, head_size),
                              few.found + head_at(h, n, n_embd), layer, head_column(config, 2, h), head_size, n, err)) {
            return false;
        }
    }

    const struct attention attention = entries(config, block, batch, layer);
    for (int i = 0; i < n; i++) {
        const struct attention_sequence *entry = &block->sequences[i];
        float *dx = pass->dnarrow + (entry->key - block->normed);
        pass->gradients[i] = (struct attention_gradient){.dout = d.found + (entry->out - few.found),
                                                         .dquery = d.search + (entry->query - few.search),
                                                         .dkey = dx,
                                                         .dvalue = dx};
    }
    ops->zero(ops, pass->dnarrow, (int64_t)batch->n_tokens * n_embd); // no wanted row sees what is behind the last one
    ops->attention_backward(ops, &attention, block->sequences, pass->gradients, n);

    for (int h = 0; h < n_head; h++) {
        if (!back_search(pass, gradients, d.query + head_at(h, n, head_size), d.search + head_at(h, n, n_embd),
                         few.query + head_at(h, n, head_size), layer, h, err)) {
            return false;
        }
    }
    swap_order(engine, block->few, d.rows, d.query, n_head, n);
    gather_rows(engine, pass->drows, pass->normed, batch);
    float *dnormed = d.query;
    if (!back_qkv_columns(pass, gradients, dnormed, d.rows, pass->drows, layer, 0, n_embd, n, err)) return false;
    ops->embed_backward(ops, pass->dnarrow, NULL, dnormed, batch->rows, NULL, n, n_embd);
    return true;
}
