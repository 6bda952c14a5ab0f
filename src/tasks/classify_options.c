// classify_options.c: the settings of classification: defaults, the book's, limits.
#include <string.h>

#include "tasks/classify.h"
#include "train/settings.h"

void llm_classify_options_init(struct llm_classify_options *options) {
    *options = (struct llm_classify_options){
        .data.path = "sms-spam",
        .pooling = LLM_POOL_LAST_TOKEN,
        .split_by_label = true,
        .train_share = 0.7,
        .validation_share = 0.1,
        .train_layers = 1,
        .cache_memory = -1,
    };
    struct llm_train_options *train = &options->train;
    train_options_init(train);
    train->epochs = 5;
    train->lr = 5e-5;
    train->schedule = LLM_SCHEDULE_CONSTANT;
    train->warmup = 0;
    train->batch_size = 8;
    train->weight_decay = 0.1;
    train->clip = 0;
    train->eval_freq = 50;
    train->eval_iter = 5;
    train->save_every = 500;
}

// Chapter 6 of Raschka, "Build a Large Language Model From Scratch" (2024).
bool llm_classify_options_preset(struct llm_classify_options *options, const char *preset, struct llm_error *err) {
    if (strcmp(preset, "book") != 0) {
        return error_set(err, LLM_ERROR_ARGUMENT, "there is no preset \"%.40s\"; \"book\" was expected", preset);
    }
    options->pooling = LLM_POOL_LAST_POSITION;
    options->balance = true;
    options->split_by_label = false;
    return true;
}

bool classify_options_check(const struct llm_classify_options *options, struct llm_error *err) {
    const double train = options->train_share, validation = options->validation_share;
    if (!(train > 0 && train <= 1 && validation >= 0 && train + validation <= 1 + 1e-12)) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "train-share is %g and val-share %g, shares of together at most 1 were expected", train,
                         validation);
    }
    if (options->train_layers < LLM_LAYERS_ALL || options->max_length < 0 || options->pooling < LLM_POOL_LAST_TOKEN ||
        options->pooling > LLM_POOL_LAST_POSITION) {
        return error_set(err, LLM_ERROR_ARGUMENT, "train-layers %d, max-length %d, pooling %d: one is out of range",
                         options->train_layers, options->max_length, options->pooling);
    }
    return options->data.path != NULL || error_set(err, LLM_ERROR_ARGUMENT, "there is no data to learn from");
}
