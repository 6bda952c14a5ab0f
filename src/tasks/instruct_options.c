// instruct_options.c: the settings of instruction tuning: defaults, the two projects', limits.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tasks/instruct.h"
#include "train/settings.h"

void llm_instruct_options_init(struct llm_instruct_options *options) {
    *options = (struct llm_instruct_options){
        .data = "instructions",
        .loss = LLM_LOSS_RESPONSE,
        .head = LLM_HEAD_OWN,
        .train_share = 0.85,
        .test_share = 0.1,
        .sample_tokens = 50,
        .book_file = true,
        .respond = true,
    };
    llm_respond_options_init(&options->answers);
    struct llm_train_options *train = &options->train;
    train_options_init(train);
    train->epochs = 2;
    train->lr = 5e-5;
    train->schedule = LLM_SCHEDULE_CONSTANT;
    train->warmup = 0;
    train->batch_size = 8;
    train->weight_decay = 0.1;
    train->clip = 0;
    train->eval_freq = 5;
    train->eval_iter = 5;
    train->save_every = 50;
}

// Chapter 7 of Raschka, "Build a Large Language Model From Scratch" (2024), and the EPFL project's run after it.
bool llm_instruct_options_preset(struct llm_instruct_options *options, const char *preset, struct llm_error *err) {
    if (strcmp(preset, "book") == 0) {
        options->loss = LLM_LOSS_ALL;
    } else if (strcmp(preset, "epfl") == 0) {
        options->loss = LLM_LOSS_RESPONSE;
    } else {
        return error_set(err, LLM_ERROR_ARGUMENT, "there is no preset \"%.40s\"; book or epfl was expected", preset);
    }
    options->head = LLM_HEAD_UNTIED;
    return true;
}

bool instruct_options_check(const struct llm_instruct_options *options, struct llm_error *err) {
    const double train = options->train_share, test = options->test_share;
    if (!(train > 0 && train <= 1 && test >= 0 && train + test <= 1 + 1e-12)) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "train-share is %g and test-share %g, shares of together at most 1 were expected", train,
                         test);
    }
    const struct {
        const char *name;
        int value, max;
    } limits[] = {
        {"loss", options->loss, LLM_LOSS_ALL},
        {"head", options->head, LLM_HEAD_UNTIED},
        {"max-length", options->max_length, 1 << 20},
        {"sample-tokens", options->sample_tokens, 1 << 20},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (limits[i].value >= 0 && limits[i].value <= limits[i].max) continue;
        return error_set(err, LLM_ERROR_ARGUMENT, "%s is %d, a whole number from 0 to %d was expected", limits[i].name,
                         limits[i].value, limits[i].max);
    }
    return options->data != NULL || error_set(err, LLM_ERROR_ARGUMENT, "there is no data to learn from");
}

char *instruct_book_name(const char *model) {
    static const struct {
        const char *name, *book;
    } known[] = {
        {"gpt2", "gpt2-small124M"},
        {"gpt2-medium", "gpt2-medium355M"},
        {"gpt2-large", "gpt2-large774M"},
        {"gpt2-xl", "gpt2-xl1558M"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(model, known[i].name) == 0) model = known[i].book;
    }
    size_t size = strlen(model);
    while (size > 0 && model[size - 1] == '/') size--;
    const char *begin = model + size;
    while (begin > model && begin[-1] != '/') begin--;
    size -= (size_t)(begin - model);
    static const char *const endings[] = {".safetensors", ".pth", ".pt", ".bin"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        const size_t n = strlen(endings[i]);
        if (size > n && strncmp(begin + size - n, endings[i], n) == 0) size -= n;
    }
    if (size == 0 || begin[0] == '.') begin = "model", size = 5;
    const size_t room = size + sizeof "-sft.pth";
    char *name = malloc(room);
    if (name != NULL) snprintf(name, room, "%.*s-sft.pth", (int)size, begin);
    return name;
}
