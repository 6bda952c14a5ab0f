// pass.c: see pass.h. Memory and the forward pass.
//
// Kept for backward are, per token and trained layer, 6 n_embd + n_inner floats (what enters, qkv, the heads' output,
// the stream after attention; the feed-forward before its activation) and n_head log-sum-exps. What the norms and the
// activation make of these is computed again: reading them would cost nearly as much.
//
// Layers below the first trained one run in place, in arrays that are overwritten by it.
#include "model/pass.h"

#include <stdlib.h>

#include "base/size.h"
#include "model/few_rows.h"
#include "model/pass_state.h"

// ---- Memory ---------------------------------------------------------------------------------

enum {
    ALIGNMENT = 64 // bytes: each array begins on a cache line
};

// Hands out arrays of one block one after another; without a block it only counts.
struct carver {
    char *base;
    uint64_t used; // bytes
    bool overflow;
};

// The next array, of a * b * size bytes.
static void *carve(struct carver *carver, uint64_t a, uint64_t b, size_t size) {
    uint64_t bytes, padded, end;
    if (!size_mul(a, b, &bytes) || !size_mul(bytes, size, &bytes) || !size_add(bytes, ALIGNMENT - 1, &padded) ||
        !size_add(carver->used, padded / ALIGNMENT * ALIGNMENT, &end) || end > INT64_MAX) {
        carver->overflow = true;
        return NULL;
    }
    char *array = carver->base == NULL ? NULL : carver->base + carver->used;
    carver->used = end;
    return array;
}

static int n_trained(const struct config *config, const struct pass_options *options) {
    return config->n_layer - options->trainable.first_layer;
}

// The arrays of a layer that recomputing layers share.
static void carve_layer(struct carver *carver, const struct config *config, const struct pass_options *options,
                        struct pass_layer *layer) {
    const uint64_t n = (uint64_t)options->max_tokens;
    const uint64_t n_embd = (uint64_t)config->n_embd;
    layer->qkv = carve(carver, n, 3 * n_embd, sizeof(float));
    layer->attn = carve(carver, n, n_embd, sizeof(float));
    layer->lse = carve(carver, n, (uint64_t)config->n_head, sizeof(float));
    layer->middle = carve(carver, n, n_embd, sizeof(float));
    layer->inner = carve(carver, n, (uint64_t)config->n_inner, sizeof(float));
    if (options->dropout_attention > 0) {
        // Sequences of up to max_length tokens, max_tokens in all: a row of at most max_length weights a token.
        int length = options->max_length > 0 ? options->max_length : config->n_ctx;
        if (length > options->max_tokens) length = options->max_tokens;
        layer->keep_attention = carve(carver, n * (uint64_t)config->n_head, (uint64_t)length, 1);
    }
    if (options->dropout_residual > 0) {
        layer->keep_middle = carve(carver, n, n_embd, 1);
        layer->keep_out = carve(carver, n, n_embd, 1);
    }
}

// The one list of what a pass keeps. Without pass->layers it only counts.
static void carve_all(struct carver *carver, const struct config *config, struct pass *pass) {
    const struct pass_options *options = &pass->options;
    const uint64_t n = (uint64_t)options->max_tokens, n_rows = (uint64_t)options->max_rows;
    const uint64_t n_embd = (uint64_t)config->n_embd;
    const int wide = config->n_inner > 3 * config->n_embd ? config->n_inner : 3 * config->n_embd;
    const float *in = pass->entry = carve(carver, n, n_embd, sizeof(float));
    struct pass_layer layer = {0};
    for (int i = 0; i < n_trained(config, options) || i == 0; i++) {
        if (i == 0 || !options->recompute) carve_layer(carver, config, options, &layer);
        layer.in = in;
        in = layer.out = i < n_trained(config, options) ? carve(carver, n, n_embd, sizeof(float)) : NULL;
        if (pass->layers != NULL) pass->layers[i] = layer;
    }
    if (options->dropout_embedding > 0) pass->keep_embedding = carve(carver, n, n_embd, 1);
    pass->rows = carve(carver, n_rows, n_embd, sizeof(float));
    pass->drows = carve(carver, n_rows, n_embd, sizeof(float));
    pass->normed = carve(carver, n, n_embd, sizeof(float));
    pass->active = carve(carver, n, (uint64_t)config->n_inner, sizeof(float));
    pass->dstream = carve(carver, n, n_embd, sizeof(float));
    pass->dnarrow = carve(carver, n, n_embd, sizeof(float));
    pass->dwide = carve(carver, n, (uint64_t)wide, sizeof(float));
    if (options->max_unshared > 0) {
        pass->keys = carve(carver, (uint64_t)options->max_unshared, 3 * n_embd, sizeof(float));
        pass->dkeys = carve(carver, (uint64_t)options->max_unshared, 3 * n_embd, sizeof(float));
    }
}

int64_t pass_bytes(const struct config *config, const struct pass_options *options) {
    struct carver carver = {0};
    struct pass pass = {.options = *options};
    carve_all(&carver, config, &pass);
    return carver.overflow ? INT64_MAX : (int64_t)carver.used;
}

static bool check_probability(const char *what, double probability, struct llm_error *err) {
    if (probability >= 0 && probability < 1) return true;
    return error_set(err, LLM_ERROR_ARGUMENT, "the dropout of %s is %g, a number from 0 to below 1 was expected", what,
                     probability);
}

static bool check_options(const struct config *config, const struct pass_options *options, struct llm_error *err) {
    const struct trainable *trainable = &options->trainable;
    if (trainable->first_layer < 0 || trainable->first_layer > config->n_layer) {
        return error_set(err, LLM_ERROR_ARGUMENT, "the first trained layer is %d, 0 to %d was expected",
                         trainable->first_layer, config->n_layer);
    }
    if (trainable->embeddings && trainable->first_layer > 0) {
        return error_set(
            err, LLM_ERROR_ARGUMENT,
            "the embeddings cannot be trained while layers above them are frozen (the first trained one is "
            "%d)",
            trainable->first_layer);
    }
    return check_probability("embeddings", options->dropout_embedding, err) &&
           check_probability("attention", options->dropout_attention, err) &&
           check_probability("the residual stream", options->dropout_residual, err);
}

static bool allocate(struct pass *pass, struct llm_error *err) {
    const struct config *config = &pass->engine->config;
    struct ops *ops = pass->engine->ops;
    const int n_few = pass->options.max_tokens / 2 + 1; // few_rows_pay()
    const size_t n_sequences = (size_t)block_sequences(pass->options.max_sequences, pass->options.max_rows);
    const int64_t bytes = pass_bytes(config, &pass->options);
    pass->layers = calloc((size_t)(pass->n_trained > 0 ? pass->n_trained : 1), sizeof *pass->layers);
    pass->sequences = calloc(n_sequences, sizeof *pass->sequences);
    pass->gradients = calloc(n_sequences, sizeof *pass->gradients);
    pass->few = calloc((size_t)n_few, sizeof *pass->few);
    pass->unshared = calloc((size_t)pass->options.max_unshared + 1, sizeof *pass->unshared);
    if (bytes < INT64_MAX) pass->memory = ops->alloc(ops, (size_t)bytes);
    if (pass->layers == NULL || pass->sequences == NULL || pass->gradients == NULL || pass->few == NULL ||
        pass->unshared == NULL || pass->memory == NULL) {
        return error_memory(err, "activations for training");
    }
    struct carver carver = {.base = pass->memory};
    carve_all(&carver, config, pass);
    const int n_rows = pass->options.max_tokens;
    return reserve_rows(pass->engine, n_rows > pass->options.max_rows ? n_rows : pass->options.max_rows, err);
}

struct pass *pass_new(struct llm_engine *engine, const struct pass_options *options, struct llm_error *err) {
    if (!check_options(&engine->config, options, err)) return NULL;
    struct pass *pass = calloc(1, sizeof *pass);
    if (pass == NULL) {
        error_memory(err, "activations for training");
        return NULL;
    }
    pass->engine = engine;
    pass->options = *options;
    pass->n_trained = n_trained(&engine->config, options);
    if (allocate(pass, err)) return pass;
    pass_free(pass);
    return NULL;
}

void pass_free(struct pass *pass) {
    if (pass == NULL) return;
    struct ops *ops = pass->engine->ops;
    if (pass->memory != NULL) ops->free(ops, pass->memory);
    free(pass->few);
    free(pass->unshared);
    free(pass->gradients);
    free(pass->sequences);
    free(pass->layers);
    free(pass);
}

// ---- Dropout --------------------------------------------------------------------------------

float dropout_scale(double probability) {
    return 1.0F / (float)(1 - probability);
}

// Nothing is drawn where nothing is dropped.
static void draw(struct random *random, uint8_t *keep, int64_t n, double probability) {
    if (probability > 0) random_fill_bernoulli(random, keep, (size_t)n, 1 - probability);
}

void pass_draw(const struct pass *pass, const struct pass_layer *layer, const struct batch *batch,
               struct random *random) {
    const struct pass_options *options = &pass->options;
    const struct config *config = &pass->engine->config;
    const int64_t n = (int64_t)batch->n_tokens * config->n_embd;
    uint8_t *keep = layer->keep_attention;
    for (int s = 0; s < batch->n_sequences && options->dropout_attention > 0; s++) {
        const int64_t length = batch->starts[s + 1] - batch->starts[s];
        draw(random, keep, config->n_head * length * length, options->dropout_attention);
        keep += config->n_head * length * length;
    }
    draw(random, layer->keep_middle, n, options->dropout_residual);
    draw(random, layer->keep_out, n, options->dropout_residual);
}

struct block pass_block(const struct pass *pass, const struct pass_layer *layer, struct block_dropout *dropout) {
    *dropout = (struct block_dropout){
        .attention = layer->keep_attention,
        .middle = layer->keep_middle,
        .out = layer->keep_out,
        .attention_scale = dropout_scale(pass->options.dropout_attention),
        .residual_scale = dropout_scale(pass->options.dropout_residual),
    };
    return (struct block){
        .in = layer->in,
        .normed = pass->normed,
        .qkv = layer->qkv,
        .keys = pass->keys,
        .unshared = pass->unshared,
        .attn = layer->attn,
        .lse = layer->lse,
        .middle = layer->middle,
        .inner = layer->inner,
        .active = pass->active,
        .out = layer->out,
        .sequences = pass->sequences,
        .dropout = pass->is_random ? dropout : NULL,
    };
}

// ---- Forward --------------------------------------------------------------------------------

enum leaving pass_leaving(const struct pass *pass, int layer) {
    return layer == pass->engine->config.n_layer - 1 ? pass->last_leaving : LEAVING_ALL;
}

int32_t *pass_few(const struct pass *pass, int layer) {
    return pass->is_few && layer == pass->engine->config.n_layer - 1 ? pass->few : NULL;
}

static bool drops(const struct pass_options *options) {
    return options->dropout_embedding > 0 || options->dropout_attention > 0 || options->dropout_residual > 0;
}

// stream [n_tokens, n_embd] = wte[ids] + wpe[positions], some of it dropped.
static void embed(struct pass *pass, const struct batch *batch, float *stream, struct random *random) {
    const struct llm_engine *engine = pass->engine;
    struct ops *ops = engine->ops;
    ops->embed(ops, stream, weights_get(&engine->weights, PARAM_WTE, 0), weights_get(&engine->weights, PARAM_WPE, 0),
               batch->ids, batch->positions, batch->n_tokens);
    const double probability = pass->options.dropout_embedding;
    if (random == NULL || probability == 0) return;
    const int64_t n = (int64_t)batch->n_tokens * engine->config.n_embd;
    draw(random, pass->keep_embedding, n, probability);
    ops->dropout(ops, stream, stream, pass->keep_embedding, dropout_scale(probability), NULL, n);
}

// Runs layers first .. end - 1 in place on `stream`, the first of them from `in`, which may be `stream`; keeps nothing.
static bool run_in_place(struct pass *pass, const struct batch *batch, const float *in, float *stream, int first,
                         int end, struct random *random, struct llm_error *err) {
    const struct pass_layer *scratch = &pass->layers[0];
    struct block_dropout dropout;
    struct block block = pass_block(pass, scratch, &dropout);
    block.middle = block.out = stream;
    block.lse = NULL;
    block.active = NULL;
    for (int layer = first; layer < end; layer++) {
        block.in = layer == first ? in : stream;
        block.few = pass_few(pass, layer);
        if (random != NULL) pass_draw(pass, scratch, batch, random);
        if (!block_forward(pass->engine, &block, batch, NULL, layer, pass_leaving(pass, layer), err)) return false;
    }
    return true;
}

// Embeds the batch and runs the frozen layers.
static bool run_frozen(struct pass *pass, const struct batch *batch, float *stream, struct random *random,
                       struct llm_error *err) {
    embed(pass, batch, stream, random);
    return run_in_place(pass, batch, stream, stream, 0, pass->options.trainable.first_layer, random, err);
}

bool pass_entering(struct pass *pass, const struct batch *batch, float *entering, struct llm_error *err) {
    pass->is_random = pass->is_few = false;
    pass->last_leaving = LEAVING_ALL;
    return run_frozen(pass, batch, entering, NULL, err);
}

// Runs the trained layers, each in its own arrays.
static bool run_trained(struct pass *pass, const struct batch *batch, const float *entering, struct random *random,
                        struct llm_error *err) {
    pass->last_out = pass->layers[0].in = entering;
    for (int i = 0; i < pass->n_trained; i++) {
        const int number = pass->options.trainable.first_layer + i;
        struct pass_layer *layer = &pass->layers[i];
        struct block_dropout dropout;
        struct block block = pass_block(pass, layer, &dropout);
        block.few = pass_few(pass, number);
        if (random != NULL) {
            layer->random = *random;
            pass_draw(pass, layer, batch, random);
        }
        if (!block_forward(pass->engine, &block, batch, NULL, number, pass_leaving(pass, number), err)) return false;
        pass->last_out = layer->out;
    }
    return true;
}

bool pass_forward(struct pass *pass, const struct batch *batch, const float *entering, struct random *random, bool keep,
                  const float **hidden, struct llm_error *err) {
    pass->batch = *batch;
    pass->is_random = random != NULL && drops(&pass->options);
    // Masks lie as the tokens do; and what the caller kept of the last layer's output is all of it.
    const bool all = pass->is_random || (entering != NULL && pass->n_trained == 0);
    pass->last_leaving = all ? LEAVING_ALL : batch_leaving(batch);
    pass->is_few = pass->n_trained > 0 && pass->last_leaving == LEAVING_ROWS && batch->n_prefix == 0 &&
                   few_rows_pay(&pass->engine->config, batch);
    if (entering == NULL && !run_frozen(pass, batch, pass->entry, random, err)) return false;
    if (entering == NULL) entering = pass->entry;
    if (keep || pass->n_trained == 0) {
        if (!run_trained(pass, batch, entering, random, err)) return false;
    } else {
        const int first = pass->options.trainable.first_layer;
        if (!run_in_place(pass, batch, entering, pass->entry, first, pass->engine->config.n_layer, random, err)) {
            return false;
        }
        pass->last_out = pass->entry;
    }
    final_norm(pass->engine, pass->rows, pass->last_out, batch, pass->last_leaving);
    *hidden = pass->rows;
    return true;
}
