// pretrain_options.c: the settings of pretraining: defaults, the sizes of GPT-2, the book's runs.
#include <string.h>

#include "base/error.h"
#include "model/config.h"
#include "train/settings.h"

void llm_pretrain_options_init(struct llm_pretrain_options *options) {
    *options = (struct llm_pretrain_options){
        .n_layer = 12,
        .n_head = 12,
        .n_embd = 768,
        .initialiser = LLM_INIT_GPT2,
        .val_split = 0.1,
        .split = LLM_SPLIT_DOCUMENTS,
        .prompt = "Every effort moves you",
        .sample_tokens = 50,
    };
    train_options_init(&options->train);
}

bool llm_pretrain_options_size(struct llm_pretrain_options *options, const char *size, struct llm_error *err) {
    struct config config;
    if (!config_gpt2(&config, size, err)) return false;
    options->n_layer = config.n_layer;
    options->n_head = config.n_head;
    options->n_embd = config.n_embd;
    return true;
}

// Chapter 5 of Raschka, "Build a Large Language Model From Scratch" (2024), as its notebook has it: GPT-2 124M with
// a shorter context, its own initialisation, an untied head and no bias of query, key and value.
static void preset_chapter_5(struct llm_pretrain_options *options) {
    options->n_layer = 12;
    options->n_head = 12;
    options->n_embd = 768;
    options->context = 256;
    options->initialiser = LLM_INIT_BOOK;
    options->untied_head = true;
    options->no_qkv_bias = true;
    options->val_split = 0.1;
    options->split = LLM_SPLIT_CHARACTERS;
    struct llm_train_options *train = &options->train;
    train->epochs = 10;
    train->lr = 4e-4;
    train->schedule = LLM_SCHEDULE_CONSTANT;
    train->warmup = 0;
    train->batch_size = 2;
    train->weight_decay = 0.1;
    train->decay = LLM_DECAY_ALL;
    train->clip = 0;
    train->dropout = 0.1;
    train->eval_freq = 5;
    train->eval_iter = 5;
}

// Its appendix D: warm-up, cosine, clipping after warm-up.
static void preset_appendix_d(struct llm_pretrain_options *options) {
    preset_chapter_5(options);
    struct llm_train_options *train = &options->train;
    train->epochs = 15;
    train->lr = 1e-3;
    train->initial_lr = 1e-5;
    train->min_lr = 1e-5;
    train->schedule = LLM_SCHEDULE_COSINE;
    train->warmup = 0.2;
    train->clip = 1;
    train->clip_after_warmup = true;
    train->torch_norm = true;
    train->eval_iter = 1;
}

bool llm_pretrain_options_preset(struct llm_pretrain_options *options, const char *preset, struct llm_error *err) {
    if (strcmp(preset, "book-ch5") == 0) {
        preset_chapter_5(options);
    } else if (strcmp(preset, "book-appendix-d") == 0) {
        preset_appendix_d(options);
    } else {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "there is no preset \"%.40s\"; book-ch5 or book-appendix-d was expected", preset);
    }
    return true;
}
