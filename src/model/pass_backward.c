// pass_backward.c: the backward pass, from the gradient of the final hidden state down to the lowest trained
// parameter; see pass.h. With d for "gradient of the loss by", a block (block.c) reads backwards
//
//     dmiddle = dout + ln_2'(mlp_fc'(activation'(mlp_proj'(dout))))
//     din = dmiddle + ln_1'(qkv'(attention'(attn_proj'(dmiddle))))
//
// and adds to the gradients of its parameters on the way. The gradient of the residual stream lies in one array,
// pass->dstream, from the top of the network to the bottom.
#include "model/few_rows.h"
#include "model/pass_state.h"

bool back_adapter(const struct pass *pass, enum param weight, int layer, int first, int n_columns, const float *dout,
                  const float *x, int n, struct llm_error *err) {
    const struct lora *lora = pass->options.lora;
    return lora == NULL || lora_backward(lora, weight, layer, first, n_columns, dout, x, n, err);
}

// What linear_backward is called with for n rows.
static bool back_linear(const struct pass *pass, const struct param_block *gradients, float *dx, const float *dout,
                        const float *x, enum param weight, int layer, int n, struct llm_error *err) {
    const struct linear linear = block_linear(pass->engine, weight, layer);
    if (!back_adapter(pass, weight, layer, 0, linear.weight.cols, dout, x, n, err)) return false;
    return pass->engine->ops->linear_backward(pass->engine->ops, dx, param_block_at(gradients, weight, layer),
                                              param_block_at(gradients, weight + 1, layer), dout, x, &linear, n, err);
}

// dstream += the gradient through a norm of x whose output has gradient dout, n rows of each; not with dstream NULL,
// where nobody below wants it.
static void back_norm(const struct pass *pass, const struct param_block *gradients, float *dstream, const float *dout,
                      const float *x, enum param weight, int layer, int n) {
    const struct config *config = &pass->engine->config;
    pass->engine->ops->layer_norm_backward(pass->engine->ops, dstream, param_block_at(gradients, weight, layer),
                                           param_block_at(gradients, weight + 1, layer), dout, x,
                                           weights_get(&pass->engine->weights, weight, layer)->data,
                                           config->layer_norm_epsilon, n, config->n_embd);
}

// The gradient of what was added to the stream under `keep`: dstream itself, or in pass->normed what dropout leaves.
static const float *back_dropout(const struct pass *pass, const uint8_t *keep, float scale, int n) {
    if (keep == NULL) return pass->dstream;
    pass->engine->ops->dropout(pass->engine->ops, pass->normed, pass->dstream, keep, scale, NULL,
                               (int64_t)n * pass->engine->config.n_embd);
    return pass->normed;
}

static bool back_feed_forward(const struct pass *pass, const struct param_block *gradients, const struct block *block,
                              int layer, int n, struct llm_error *err) {
    const struct config *config = &pass->engine->config;
    struct ops *ops = pass->engine->ops;
    const int64_t size = (int64_t)n * config->n_inner;
    const struct block_dropout *dropout = block->dropout;
    const float *dout = dropout == NULL ? pass->dstream : back_dropout(pass, dropout->out, dropout->residual_scale, n);
    ops->activate(ops, pass->active, block->inner, config->activation, size);
    if (!back_linear(pass, gradients, pass->dwide, dout, pass->active, PARAM_MLP_PROJ_WEIGHT, layer, n, err)) {
        return false;
    }
    ops->activation_backward(ops, pass->dwide, pass->dwide, block->inner, config->activation, size);
    block_norm(pass->engine, pass->normed, block->middle, PARAM_LN_2_WEIGHT, layer, n);
    if (!back_linear(pass, gradients, pass->dnarrow, pass->dwide, pass->normed, PARAM_MLP_FC_WEIGHT, layer, n, err)) {
        return false;
    }
    back_norm(pass, gradients, pass->dstream, pass->dnarrow, block->middle, PARAM_LN_2_WEIGHT, layer, n);
    return true;
}

// dwide = the gradient of qkv, laid out as qkv is, from that of the heads' output in dnarrow.
static void back_attention(const struct pass *pass, const struct block *block, int layer, enum leaving leaving) {
    const struct config *config = &pass->engine->config;
    const struct batch *batch = &pass->batch;
    struct ops *ops = pass->engine->ops;
    const bool prefix = batch->n_prefix > 0; // keys and values lie apart then
    const int width = block_key_width(config, leaving);
    if (prefix) block_spread_keys(pass->engine, block, batch, leaving);
    const float *keys = prefix ? block->keys : block->qkv;
    float *dkeys = prefix ? pass->dkeys : pass->dwide;
    int n;
    const struct attention attention = block_attention(config, block, batch, NULL, layer, leaving, &n);
    for (int s = 0; s < n; s++) {
        const struct attention_sequence *sequence = &block->sequences[s];
        pass->gradients[s] = (struct attention_gradient){
            .dout = pass->dnarrow + (sequence->out - block->attn),
            .dquery = pass->dwide + (sequence->query - block->qkv),
            .dkey = dkeys + (sequence->key - keys),
            .dvalue = dkeys + (sequence->value - keys),
        };
    }
    // Keys that no wanted row sees have no part in this.
    if (leaving == LEAVING_ROWS || prefix) ops->zero(ops, pass->dwide, (int64_t)batch->n_tokens * width);
    if (prefix) ops->zero(ops, dkeys, (int64_t)batch_unshared(batch) * width);
    ops->attention_backward(ops, &attention, block->sequences, pass->gradients, n);
    if (!prefix) return;
    ops->embed_backward(ops, pass->dwide, NULL, dkeys, block->unshared, NULL, batch_unshared(batch), width);
}

bool back_qkv_columns(const struct pass *pass, const struct param_block *gradients, float *dx, const float *dout,
                      const float *x, int layer, int first, int n_columns, int n, struct llm_error *err) {
    const struct linear linear = block_qkv_columns(pass->engine, layer, first, n_columns);
    float *dweight = param_block_at(gradients, PARAM_ATTN_QKV_WEIGHT, layer);
    float *dbias = param_block_at(gradients, PARAM_ATTN_QKV_BIAS, layer);
    if (!back_adapter(pass, PARAM_ATTN_QKV_WEIGHT, layer, first, n_columns, dout, x, n, err)) return false;
    return pass->engine->ops->linear_backward(pass->engine->ops, dx, dweight != NULL ? dweight + first : NULL,
                                              dbias != NULL ? dbias + first : NULL, dout, x, &linear, n, err);
}

// dnarrow = the gradient of ln_1's output, of all tokens, from that of qkv in dwide; normed is that output.
static bool back_qkv(const struct pass *pass, const struct param_block *gradients, int layer, enum leaving leaving,
                     struct llm_error *err) {
    const struct batch *batch = &pass->batch;
    const int n_embd = pass->engine->config.n_embd;
    struct ops *ops = pass->engine->ops;
    if (leaving == LEAVING_ALL) {
        return back_linear(pass, gradients, pass->dnarrow, pass->dwide, pass->normed, PARAM_ATTN_QKV_WEIGHT, layer,
                           batch->n_tokens, err);
    }
    const float *dquery = pass->dwide + (int64_t)batch->n_tokens * 2 * n_embd;
    gather_rows(pass->engine, pass->drows, pass->normed, batch);
    if (!back_qkv_columns(pass, gradients, pass->dnarrow, pass->dwide, pass->normed, layer, n_embd, 2 * n_embd,
                          batch->n_tokens, err) ||
        !back_qkv_columns(pass, gradients, pass->normed, dquery, pass->drows, layer, 0, n_embd, batch->n_rows, err)) {
        return false;
    }
    ops->embed_backward(ops, pass->dnarrow, NULL, pass->normed, batch->rows, NULL, batch->n_rows, n_embd);
    return true;
}

// The stream's gradient has a row for each wanted one: now one for each token.
static void spread_stream(const struct pass *pass) {
    const struct batch *batch = &pass->batch;
    const int n_embd = pass->engine->config.n_embd;
    struct ops *ops = pass->engine->ops;
    ops->activate(ops, pass->normed, pass->dstream, ACTIVATION_NONE, (int64_t)batch->n_rows * n_embd);
    ops->zero(ops, pass->dstream, (int64_t)batch->n_tokens * n_embd);
    ops->embed_backward(ops, pass->dstream, NULL, pass->normed, batch->rows, NULL, batch->n_rows, n_embd);
}

// `stop`: nobody below wants the gradient of the stream.
static bool back_self_attention(const struct pass *pass, const struct param_block *gradients, const struct block *block,
                                int layer, enum leaving leaving, bool stop, struct llm_error *err) {
    const int n_tokens = pass->batch.n_tokens;
    const int n = leaving == LEAVING_ALL ? n_tokens : pass->batch.n_rows;
    const struct block_dropout *dropout = block->dropout;
    const float *dout =
        dropout == NULL ? pass->dstream : back_dropout(pass, dropout->middle, dropout->residual_scale, n);
    if (!back_linear(pass, gradients, pass->dnarrow, dout, block->attn, PARAM_ATTN_PROJ_WEIGHT, layer, n, err)) {
        return false;
    }
    if (block->few == NULL) back_attention(pass, block, layer, leaving);
    block_norm(pass->engine, pass->normed, block->in, PARAM_LN_1_WEIGHT, layer, n_tokens);
    if (!(block->few != NULL ? few_rows_backward(pass, gradients, block, layer, err)
                             : back_qkv(pass, gradients, layer, leaving, err))) {
        return false;
    }
    if (leaving == LEAVING_ROWS && !stop) spread_stream(pass);
    back_norm(pass, gradients, stop ? NULL : pass->dstream, pass->dnarrow, block->in, PARAM_LN_1_WEIGHT, layer,
              n_tokens);
    return true;
}

// Runs a layer again whose arrays have been used by the ones above, from the same generator.
static bool run_again(const struct pass *pass, const struct pass_layer *kept, const struct block *block, int layer,
                      struct llm_error *err) {
    if (pass->is_random) {
        struct random random = kept->random;
        pass_draw(pass, kept, &pass->batch, &random);
    }
    struct block again = *block;
    again.out = NULL;
    return block_forward(pass->engine, &again, &pass->batch, NULL, layer, LEAVING_ALL, err);
}

static bool back_layer(const struct pass *pass, const struct param_block *gradients, int i, struct llm_error *err) {
    const int layer = pass->options.trainable.first_layer + i;
    const enum leaving leaving = pass_leaving(pass, layer);
    const bool stop = i == 0 && !pass->options.trainable.embeddings;
    struct block_dropout dropout;
    struct block block = pass_block(pass, &pass->layers[i], &dropout);
    block.few = pass_few(pass, layer);
    // What the last layer left is still there.
    if (pass->options.recompute && i < pass->n_trained - 1 && !run_again(pass, &pass->layers[i], &block, layer, err)) {
        return false;
    }
    const int n = leaving == LEAVING_ALL ? pass->batch.n_tokens : pass->batch.n_rows;
    return back_feed_forward(pass, gradients, &block, layer, n, err) &&
           back_self_attention(pass, gradients, &block, layer, leaving, stop, err);
}

static void back_embedding(const struct pass *pass, const struct param_block *gradients) {
    const struct batch *batch = &pass->batch;
    struct ops *ops = pass->engine->ops;
    const int n_embd = pass->engine->config.n_embd;
    if (pass->is_random && pass->keep_embedding != NULL) {
        ops->dropout(ops, pass->dstream, pass->dstream, pass->keep_embedding,
                     dropout_scale(pass->options.dropout_embedding), NULL, (int64_t)batch->n_tokens * n_embd);
    }
    ops->embed_backward(ops, param_block_at(gradients, PARAM_WTE, 0), param_block_at(gradients, PARAM_WPE, 0),
                        pass->dstream, batch->ids, batch->positions, batch->n_tokens, n_embd);
}

// dstream = the gradient of what left the last layer.
static void back_final_norm(const struct pass *pass, const struct param_block *gradients, const float *dhidden) {
    const struct batch *batch = &pass->batch;
    const int64_t n_embd = pass->engine->config.n_embd;
    struct ops *ops = pass->engine->ops;
    float *dstream = pass->n_trained > 0 ? pass->dstream : NULL;
    if (pass->last_leaving == LEAVING_ROWS) {
        ops->zero(ops, pass->dstream, batch->n_rows * n_embd);
        back_norm(pass, gradients, dstream, dhidden, pass->last_out, PARAM_LN_F_WEIGHT, 0, batch->n_rows);
        return;
    }
    ops->zero(ops, pass->dstream, batch->n_tokens * n_embd);
    for (int i = 0, n = 0; i < batch->n_rows; i += n) {
        n = batch_run(batch, i, batch->n_tokens);
        const int64_t at = batch->rows[i] * n_embd;
        back_norm(pass, gradients, dstream != NULL ? dstream + at : NULL, dhidden + i * n_embd, pass->last_out + at,
                  PARAM_LN_F_WEIGHT, 0, n);
    }
}

bool pass_backward(struct pass *pass, const float *dhidden, struct param_block *gradients, struct llm_error *err) {
    if (pass->batch.n_rows == 0) return true;
    back_final_norm(pass, gradients, dhidden);
    for (int i = pass->n_trained - 1; i >= 0; i--) {
        if (!back_layer(pass, gradients, i, err)) return false;
    }
    if (pass->options.trainable.embeddings) back_embedding(pass, gradients);
    return true;
}

bool pass_language(struct pass *pass, const struct batch *batch, const float *entering, const int32_t *targets,
                   const float *scales, float *losses, struct param_block *gradients, struct random *random,
                   struct llm_error *err) {
    const struct llm_engine *engine = pass->engine;
    const float *hidden;
    if (!pass_forward(pass, batch, entering, random, true, &hidden, err)) return false;
    if (batch->n_rows == 0) return true;
    const enum param head = engine->config.tied_head ? PARAM_WTE : PARAM_HEAD;
    const bool is_head_alone = pass->n_trained == 0 && !pass->options.trainable.final_norm;
    float *drows = is_head_alone ? NULL : pass->drows;
    return engine->ops->head_loss_backward(engine->ops, losses, drows, param_block_at(gradients, head, 0), hidden,
                                           head_weight(engine), targets, scales, batch->n_rows, err) &&
           (is_head_alone || pass_backward(pass, drows, gradients, err));
}
