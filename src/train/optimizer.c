// optimizer.c: see optimizer.h.
#include "train/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/torch_norm.h"

bool optimizer_add(struct optimizer *optimizer, const struct train_tensor *tensor, struct llm_error *err) {
    if (optimizer->n_tensors == optimizer->capacity) {
        const int capacity = optimizer->capacity == 0 ? 64 : 2 * optimizer->capacity;
        struct train_tensor *tensors = realloc(optimizer->tensors, (size_t)capacity * sizeof *tensors);
        if (tensors == NULL) return error_memory(err, "optimizer");
        optimizer->tensors = tensors;
        optimizer->capacity = capacity;
    }
    optimizer->tensors[optimizer->n_tensors++] = *tensor;
    return true;
}

// Lists the trained instances, in the order of the table of parameters.
static bool add_block(struct optimizer *optimizer, const struct config *config, const struct param_block *weights,
                      struct llm_error *err) {
    for (int p = 0; p < PARAM_COUNT; p++) {
        const enum param param = (enum param)p;
        for (int layer = 0; layer < param_count(config, param); layer++) {
            float *gradient = param_block_at(&optimizer->gradients, param, layer);
            if (gradient == NULL) continue;
            const struct train_tensor tensor = {
                .weight = param_block_at(weights, param, layer),
                .gradient = gradient,
                .m = param_block_at(&optimizer->m, param, layer),
                .v = param_block_at(&optimizer->v, param, layer),
                .n = param_size(config, param),
                .decay = optimizer->decay_all || params[param].has_decay,
            };
            if (!optimizer_add(optimizer, &tensor, err)) return false;
        }
    }
    optimizer->n_of_block = optimizer->n_tensors;
    return true;
}

bool optimizer_init(struct optimizer *optimizer, const struct llm_engine *engine, const struct trainable *trainable,
                    const struct param_block *weights, const struct llm_train_options *options, struct llm_error *err) {
    *optimizer = (struct optimizer){
        .ops = engine->ops,
        .beta1 = options->beta1,
        .beta2 = options->beta2,
        .epsilon = options->epsilon,
        .weight_decay = options->weight_decay,
        .clip = options->clip,
        .decay_all = options->decay == LLM_DECAY_ALL,
    };
    const struct config *config = &engine->config;
    if (options->torch_norm && (optimizer->torch_norm = torch_norm_new(config, err)) == NULL) return false;
    return param_block_init(&optimizer->gradients, config, trainable, engine->ops, err) &&
           param_block_init(&optimizer->m, config, trainable, engine->ops, err) &&
           param_block_init(&optimizer->v, config, trainable, engine->ops, err) &&
           add_block(optimizer, config, weights, err);
}

void optimizer_release(struct optimizer *optimizer) {
    if (optimizer->ops == NULL) return;
    param_block_release(&optimizer->gradients, optimizer->ops);
    param_block_release(&optimizer->m, optimizer->ops);
    param_block_release(&optimizer->v, optimizer->ops);
    free(optimizer->tensors);
    free(optimizer->torch_norm);
    *optimizer = (struct optimizer){0};
}

int64_t optimizer_size(const struct optimizer *optimizer) {
    int64_t n = 0;
    for (int i = 0; i < optimizer->n_tensors; i++) n += optimizer->tensors[i].n;
    return n;
}

double optimizer_norm(const struct optimizer *optimizer) {
    if (optimizer->torch_norm != NULL) return torch_norm(optimizer->torch_norm, optimizer);
    double sum = 0;
    for (int i = 0; i < optimizer->n_tensors; i++) {
        const struct train_tensor *tensor = &optimizer->tensors[i];
        sum += optimizer->ops->sum_of_squares(optimizer->ops, tensor->gradient, tensor->n);
    }
    return sqrt(sum);
}

float clip_coefficient(double max_norm, double norm) {
    if (max_norm == 0) return 1.0F;
    const float coefficient = (float)max_norm / ((float)norm + 1e-6F);
    return coefficient < 1.0F ? coefficient : 1.0F;
}

void optimizer_step(const struct optimizer *optimizer, int64_t step, double lr, float scale) {
    for (int i = 0; i < optimizer->n_tensors; i++) {
        const struct train_tensor *tensor = &optimizer->tensors[i];
        const struct adamw settings = {
            .lr = lr,
            .beta1 = optimizer->beta1,
            .beta2 = optimizer->beta2,
            .epsilon = optimizer->epsilon,
            .weight_decay = tensor->decay ? optimizer->weight_decay : 0,
            .step = step,
            .grad_scale = scale,
        };
        optimizer->ops->adamw(optimizer->ops, tensor->weight, tensor->m, tensor->v, tensor->gradient, &settings,
                              tensor->n);
    }
}

void optimizer_clear(const struct optimizer *optimizer) {
    for (int i = 0; i < optimizer->n_tensors; i++) {
        const struct train_tensor *tensor = &optimizer->tensors[i];
        const size_t bytes = (size_t)tensor->n * sizeof *tensor->m;
        memset(tensor->m, 0, bytes);
        memset(tensor->v, 0, bytes);
        memset(tensor->gradient, 0, bytes);
    }
}
