// new.c: models in memory of their own: a new one that no file holds, and one that is about to be trained.
#include <stdlib.h>
#include <string.h>

#include "model/engine.h"
#include "model/weights.h"

// Everything but the weights' values.
static bool engine_fill(struct llm_engine *engine, const char *name, const struct llm_engine_options *options,
                        struct llm_error *err) {
    engine->path = strdup(name);
    if (engine->path == NULL) return error_memory(err, "engine");
    engine->ops = engine_ops(options, err);
    return engine->ops != NULL && param_block_init(&engine->own, &engine->config, NULL, engine->ops, err) &&
           weights_from_block(&engine->weights, &engine->own, &engine->config, err);
}

struct llm_engine *engine_new(const char *name, const struct config *config, struct llm_tokenizer *tokenizer,
                              const struct llm_engine_options *options, struct llm_error *err) {
    static const struct llm_engine_options default_options;
    if (options == NULL) options = &default_options;
    struct llm_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        llm_tokenizer_free(tokenizer);
        error_memory(err, "engine");
        return NULL;
    }
    engine->tokenizer = tokenizer;
    engine->config = *config;
    engine->dtype = DTYPE_F32;
    engine->n_nonfinite = -1;
    engine->callbacks = options->callbacks;
    if (config_check(config, err) && engine_fill(engine, name, options, err)) return engine;
    llm_engine_free(engine);
    return NULL;
}

// engine->labels, and the config's view of them.
static bool copy_labels(struct llm_engine *engine, const char *const *labels, struct llm_error *err) {
    const size_t n_labels = (size_t)engine->config.n_labels;
    engine->labels = calloc(n_labels, sizeof *engine->labels); // NOLINT(bugprone-sizeof-expression): pointers
    engine->config.labels = (const char *const *)engine->labels;
    if (engine->labels == NULL) return error_memory(err, "labels");
    for (size_t i = 0; i < n_labels; i++) {
        engine->labels[i] = strdup(labels[i]);
        if (engine->labels[i] == NULL) return error_memory(err, "labels");
    }
    return true;
}

// All numbers of a parameter as they are now, as F32 [rows, cols].
static bool copy_numbers(const struct llm_engine *engine, enum param param, int layer, float *to,
                         struct llm_error *err) {
    const struct param_view view = engine_stored(engine, param, layer);
    const enum dtype dtype = param_view_dtype(&view);
    const size_t n = (size_t)view.n_elements;
    void *narrow = dtype == DTYPE_F32 || view.data != NULL ? to : malloc(dtype_bytes(dtype, n));
    if (narrow == NULL) return error_memory(err, "weights");
    const void *numbers = param_view_rows(&view, 0, view.rows, narrow);
    if (numbers != to) dtype_to_f32(to, numbers, dtype, n);
    if (narrow != to) free(narrow);
    return true;
}

// Copies the parameters before `end` that the new model has from `base`.
static bool copy_params(struct llm_engine *engine, const struct llm_engine *base, enum param end,
                        struct llm_error *err) {
    for (int p = 0; p < (int)end; p++) {
        const enum param param = (enum param)p;
        const bool tied = param == PARAM_HEAD && base->config.tied_head;
        for (int layer = 0; layer < param_count(&engine->config, param); layer++) {
            float *to = param_block_at(&engine->own, param, layer);
            if (!copy_numbers(base, tied ? PARAM_WTE : param, layer, to, err)) return false;
        }
    }
    return true;
}

struct llm_engine *engine_untied(struct llm_engine *base, const struct llm_engine_options *options,
                                 struct llm_error *err) {
    struct config config = base->config;
    config.tied_head = false;
    struct llm_tokenizer *tokenizer = base->tokenizer;
    base->tokenizer = NULL;
    struct llm_engine *engine = engine_new(base->path, &config, tokenizer, options, err);
    if (engine == NULL || copy_params(engine, base, PARAM_COUNT, err)) return engine;
    llm_engine_free(engine);
    return NULL;
}

struct llm_engine *engine_classifier(struct llm_engine *base, const char *const *labels, int n_labels, int n_padded,
                                     const struct llm_engine_options *options, struct llm_error *err) {
    struct config config = base->config;
    config.n_labels = n_labels;
    config.labels = NULL;
    config.score_bias = true;
    config.n_padded = n_padded;
    config.pad = n_padded > 0 ? -1 : config.eos; // what is read at the last position has no token that does not count
    struct llm_tokenizer *tokenizer = base->tokenizer;
    base->tokenizer = NULL;
    struct llm_engine *engine = engine_new(base->path, &config, tokenizer, options, err);
    if (engine == NULL) return NULL;
    if (copy_params(engine, base, PARAM_SCORE, err) && copy_labels(engine, labels, err)) return engine;
    llm_engine_free(engine);
    return NULL;
}

// Numbers are written straight into what alloc() gave, which put() and get() hand through on the CPU.
bool engine_own_weights(struct llm_engine *engine, struct param_block *weights, struct llm_error *err) {
    if (engine->own.data != NULL) {
        *weights = engine->own;
        engine->own = (struct param_block){0};
        return true;
    }
    struct weights moved;
    if (!param_block_init(weights, &engine->config, NULL, engine->ops, err)) return false;
    if (!weights_from_block(&moved, weights, &engine->config, err)) {
        param_block_release(weights, engine->ops);
        return false;
    }
    bool ok = true;
    for (int p = 0; p < PARAM_COUNT; p++) {
        const enum param param = (enum param)p;
        for (int layer = 0; ok && layer < param_count(&engine->config, param); layer++) {
            ok = copy_numbers(engine, param, layer, param_block_at(weights, param, layer), err);
        }
    }
    if (!ok) {
        weights_release(&moved, &engine->config, engine->ops);
        param_block_release(weights, engine->ops);
        return false;
    }
    weights_release(&engine->weights, &engine->config, engine->ops);
    engine->weights = moved;
    engine->dtype = DTYPE_F32;
    engine->n_nonfinite = -1;
    return true;
}

struct param_view engine_stored(const struct llm_engine *engine, enum param param, int layer) {
    const bool present = param_present(&engine->config, param);
    if (present && !engine->weights.in_block && engine->container != NULL) return engine->map.views[param][layer];
    struct param_view view = {.dtype = engine->dtype, .n_elements = param_size(&engine->config, param)};
    param_shape(&engine->config, param, &view.rows, &view.cols);
    if (present) {
        const struct matrix *matrix = weights_get(&engine->weights, param, layer);
        view.dtype = matrix->dtype;
        view.data = matrix->data;
    }
    view.size = dtype_bytes(view.dtype, (size_t)view.n_elements);
    return view;
}
