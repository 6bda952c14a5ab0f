// pass_backward.c: the backward pass, from the gradient of the final hidden state down to the lowest trained
// parameter; see pass.h. With d for "gradient of the loss by", a block (block.c) reads backwards
//
//     dmiddle = dout + ln_2'(mlp_fc'(activation'(mlp_proj'(dout))))
//     din = dmiddle + ln_1'(qkv'(attention'(attn_proj'(dmiddle))))
//
// and adds to the gradients of its parameters on the way. The gradient of the residual stream lies in one array,
// pass->dstream, from the top of the network to the bottom.
#include "model/pass_state.h"

// What linear_backward is called with for a span of rows.
static bool back_linear(const struct pass *pass, const struct param_block *gradients, float *dx, const float *dout,
                        const float *x, enum param weight, int layer, struct span span, struct llm_error *err) {
    const struct linear linear = block_linear(pass->engine, weight, layer);
    const size_t in = (size_t)span.first * (size_t)linear.weight.rows;
    const size_t out = (size_t)span.first * (size_t)linear.weight.cols;
    return pass->engine->ops->linear_backward(pass->engine->ops, dx + in, param_block_at(gradients, weight, layer),
                                              param_block_at(gradients, weight + 1, layer), dout + out, x + in, &linear,
                                              span.n, err);
}

// dstream[span] += the gradient through a norm of x[span] whose output has gradient dout [span.n, n_embd]; not with
// `stop`, where nobody below wants it.
static void back_norm(const struct pass *pass, const struct param_block *gradients, const float *dout, const float *x,
                      enum param weight, int layer, struct span span, bool stop) {
    const struct config *config = &pass->engine->config;
    const size_t at = (size_t)span.first * (size_t)config->n_embd;
    pass->engine->ops->layer_norm_backward(
        pass->engine->ops, stop ? NULL : pass->dstream + at, param_block_at(gradients, weight, layer),
        param_block_at(gradients, weight + 1, layer), dout, x + at,
        weights_get(&pass->engine->weights, weight, layer)->data, config->layer_norm_epsilon, span.n, config->n_embd);
}

// The gradient of what was added to the stream under `keep`: dstream itself, or in pass->normed what dropout leaves.
static const float *back_dropout(const struct pass *pass, const uint8_t *keep, float scale, struct span span) {
    if (keep == NULL) return pass->dstream;
    const size_t at = (size_t)span.first * (size_t)pass->engine->config.n_embd;
    pass->engine->ops->dropout(pass->engine->ops, pass->normed + at, pass->dstream + at, keep + at, scale, NULL,
                               (int64_t)span.n * pass->engine->config.n_embd);
    return pass->normed;
}

static bool back_feed_forward(const struct pass *pass, const struct param_block *gradients, const struct block *block,
                              int layer, struct span span, struct llm_error *err) {
    const struct config *config = &pass->engine->config;
    struct ops *ops = pass->engine->ops;
    const int64_t n = (int64_t)span.n * config->n_inner;
    const size_t at = (size_t)span.first * (size_t)config->n_inner;
    const struct block_dropout *dropout = block->dropout;
    const float *dout =
        dropout == NULL ? pass->dstream : back_dropout(pass, dropout->out, dropout->residual_scale, span);
    ops->activate(ops, pass->active + at, block->inner + at, config->activation, n);
    if (!back_linear(pass, gradients, pass->dwide, dout, pass->active, PARAM_MLP_PROJ_WEIGHT, layer, span, err)) {
        return false;
    }
    ops->activation_backward(ops, pass->dwide + at, pass->dwide + at, block->inner + at, config->activation, n);
    const size_t row = (size_t)span.first * (size_t)config->n_embd;
    block_norm(pass->engine, pass->normed + row, block->middle, PARAM_LN_2_WEIGHT, layer, span);
    if (!back_linear(pass, gradients, pass->dnarrow, pass->dwide, pass->normed, PARAM_MLP_FC_WEIGHT, layer, span,
                     err)) {
        return false;
    }
    back_norm(pass, gradients, pass->dnarrow + row, block->middle, PARAM_LN_2_WEIGHT, layer, span, false);
    return true;
}

// dwide = the gradient of qkv, from that of the heads' output in dnarrow, which is zero outside `span`.
static void back_attention(const struct pass *pass, const struct block *block, int layer, struct span span) {
    const struct batch *batch = &pass->batch;
    const int64_t n_embd = pass->engine->config.n_embd;
    struct ops *ops = pass->engine->ops;
    const int64_t end = span.first + span.n;
    ops->zero(ops, pass->dnarrow, span.first * n_embd);
    ops->zero(ops, pass->dnarrow + end * n_embd, (batch->n_tokens - end) * n_embd);
    const struct attention attention = block_attention(&pass->engine->config, block, batch, layer);
    for (int s = 0; s < batch->n_sequences; s++) {
        float *dqkv = pass->dwide + batch->starts[s] * 3 * n_embd;
        pass->gradients[s] = (struct attention_gradient){
            .dout = pass->dnarrow + batch->starts[s] * n_embd,
            .dquery = dqkv,
            .dkey = dqkv + n_embd,
            .dvalue = dqkv + 2 * n_embd,
        };
    }
    ops->attention_backward(ops, &attention, block->sequences, pass->gradients, batch->n_sequences);
}

static bool back_self_attention(const struct pass *pass, const struct param_block *gradients, const struct block *block,
                                int layer, struct span span, bool stop, struct llm_error *err) {
    const struct span all = {0, pass->batch.n_tokens};
    const struct block_dropout *dropout = block->dropout;
    const float *dout =
        dropout == NULL ? pass->dstream : back_dropout(pass, dropout->middle, dropout->residual_scale, span);
    if (!back_linear(pass, gradients, pass->dnarrow, dout, block->attn, PARAM_ATTN_PROJ_WEIGHT, layer, span, err)) {
        return false;
    }
    back_attention(pass, block, layer, span);
    block_norm(pass->engine, pass->normed, block->in, PARAM_LN_1_WEIGHT, layer, all);
    if (!back_linear(pass, gradients, pass->dnarrow, pass->dwide, pass->normed, PARAM_ATTN_QKV_WEIGHT, layer, all,
                     err)) {
        return false;
    }
    back_norm(pass, gradients, pass->dnarrow, block->in, PARAM_LN_1_WEIGHT, layer, all, stop);
    return true;
}

// Runs a layer again whose arrays have been used by the ones above, from the same generator.
static bool run_again(const struct pass *pass, const struct pass_layer *kept, const struct block *block, int layer,
                      struct span wanted, struct llm_error *err) {
    if (pass->is_random) {
        struct random random = kept->random;
        pass_draw(pass, kept, &pass->batch, &random);
    }
    struct block again = *block;
    again.out = NULL;
    return block_forward(pass->engine, &again, &pass->batch, NULL, layer, wanted, err);
}

static bool back_layer(const struct pass *pass, const struct param_block *gradients, int i, struct llm_error *err) {
    const int layer = pass->options.trainable.first_layer + i;
    const struct span wanted = pass_wanted(pass, &pass->batch, layer);
    const bool stop = i == 0 && !pass->options.trainable.embeddings;
    struct block_dropout dropout;
    const struct block block = pass_block(pass, &pass->layers[i], &dropout);
    // What the last layer left is still there.
    if (pass->options.recompute && i < pass->n_trained - 1 &&
        !run_again(pass, &pass->layers[i], &block, layer, wanted, err)) {
        return false;
    }
    return back_feed_forward(pass, gradients, &block, layer, wanted, err) &&
           back_self_attention(pass, gradients, &block, layer, wanted, stop, err);
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

bool pass_backward(struct pass *pass, const float *dhidden, struct param_block *gradients, struct llm_error *err) {
    const struct batch *batch = &pass->batch;
    const int n_embd = pass->engine->config.n_embd;
    struct ops *ops = pass->engine->ops;
    if (batch->n_rows == 0) return true;
    ops->zero(ops, pass->dstream, (int64_t)batch->n_tokens * n_embd);
    for (int i = 0, n = 0; i < batch->n_rows; i += n) {
        n = batch_run(batch, i);
        back_norm(pass, gradients, dhidden + (int64_t)i * n_embd, pass->leaving, PARAM_LN_F_WEIGHT, 0,
                  (struct span){batch->rows[i], n}, pass->n_trained == 0);
    }
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
    if (!pass_forward(pass, batch, entering, random, &hidden, err)) return false;
    if (batch->n_rows == 0) return true;
    const enum param head = engine->config.tied_head ? PARAM_WTE : PARAM_HEAD;
    const bool is_head_alone = pass->n_trained == 0 && !pass->options.trainable.final_norm;
    float *drows = is_head_alone ? NULL : pass->drows;
    return engine->ops->head_loss_backward(engine->ops, losses, drows, param_block_at(gradients, head, 0), hidden,
                                           head_weight(engine), targets, scales, batch->n_rows, err) &&
           (is_head_alone || pass_backward(pass, drows, gradients, err));
}
