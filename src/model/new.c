// new.c: models in memory of their own: a new one that no file holds, and one that is about to be trained.
#include <stdlib.h>
#include <string.h>

#include "model/engine.h"
#include "model/weights.h"

// Everything but the weights' values.
static bool engine_fill(struct llm_engine *engine, const char *name, int level,
                        const struct llm_engine_options *options, struct llm_error *err) {
    engine->path = strdup(name);
    if (engine->path == NULL) return error_memory(err, "engine");
    engine->ops = ops_new(level, options->n_threads, err);
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
    const int level = engine_level(options, err);
    if (level != ENGINE_NO_LEVEL && config_check(config, err) && engine_fill(engine, name, level, options, err)) {
        return engine;
    }
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
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(&engine->config, (enum param)p); layer++) {
            const struct matrix *from = weights_get(&engine->weights, (enum param)p, layer);
            dtype_to_f32(param_block_at(weights, (enum param)p, layer), from->data, from->dtype,
                         (size_t)param_size(&engine->config, (enum param)p));
        }
    }
    weights_release(&engine->weights, &engine->config, engine->ops);
    engine->weights = moved;
    engine->dtype = DTYPE_F32;
    engine->n_nonfinite = -1;
    return true;
}

struct param_view engine_stored(const struct llm_engine *engine, enum param param, int layer) {
    const bool present = param_present(&engine->config, param);
    if (present && !engine->weights.in_block) return engine->map.views[param][layer];
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
