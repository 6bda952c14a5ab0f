// settings.c: see settings.h.
#include "train/settings.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/schedule.h"

enum {
    MAX_RANK = 4096
};

#define MAX_STEPS 1e15

void train_options_init(struct llm_train_options *options) {
    *options = (struct llm_train_options){
        .epochs = 1,
        .lr = 5e-4,
        .schedule = LLM_SCHEDULE_COSINE,
        .min_lr = -1,
        .warmup = 0.05,
        .initial_lr = -1,
        .batch_size = 8,
        .grad_accum = 1,
        .weight_decay = 0.1,
        .decay = LLM_DECAY_ALL,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .epsilon = 1e-8,
        .clip = 1,
        .seed = 123,
        .eval_freq = 100,
        .eval_iter = 5,
        .save_every = 1000,
        .compute = LLM_COMPUTE_F32,
        .lora_alpha = 16,
    };
}

// ---- Limits ---------------------------------------------------------------------------------

struct real_limit {
    const char *name;
    size_t offset;
    double min, max;
};

struct whole_limit {
    const char *name;
    double value, min, max;
};

#define REAL(name, field, min, max)                                                                                    \
    { name, offsetof(struct llm_train_options, field), min, max }

static const struct real_limit real_limits[] = {
    REAL("max-minutes", max_minutes, 0, 1e9), REAL("lr", lr, 0, 100),
    REAL("min-lr", min_lr, -1, 100),          REAL("warmup", warmup, 0, 1e12),
    REAL("initial-lr", initial_lr, -1, 100),  REAL("weight-decay", weight_decay, 0, 100),
    REAL("beta1", beta1, 0, 0.999999),        REAL("beta2", beta2, 0, 0.999999),
    REAL("epsilon", epsilon, 1e-30, 1),       REAL("clip", clip, 0, 1e9),
    REAL("dropout", dropout, 0, 0.99),        REAL("lora-alpha", lora_alpha, 1e-6, 1e6),
    REAL("cooldown", cooldown, 0, 1e12),
};

static bool check_reals(const struct llm_train_options *options, struct llm_error *err) {
    for (size_t i = 0; i < sizeof real_limits / sizeof real_limits[0]; i++) {
        const struct real_limit *limit = &real_limits[i];
        double value;
        memcpy(&value, (const char *)options + limit->offset, sizeof value);
        if (value >= limit->min && value <= limit->max) continue;
        return error_set(err, LLM_ERROR_ARGUMENT, "%s is %g, a number from %g to %g was expected", limit->name, value,
                         limit->min, limit->max);
    }
    return true;
}

bool train_options_check(const struct llm_train_options *options, struct llm_error *err) {
    const struct whole_limit wholes[] = {
        {"epochs", options->epochs, 1, 1e9},
        {"steps", (double)options->steps, 0, MAX_STEPS},
        {"schedule", options->schedule, 0, LLM_SCHEDULE_COSINE},
        {"batch-size", options->batch_size, 1, 65536},
        {"grad-accum", options->grad_accum, 1, 65536},
        {"decay", options->decay, 0, LLM_DECAY_MATRICES},
        {"eval-freq", (double)options->eval_freq, 0, 1e15},
        {"eval-iter", options->eval_iter, 0, 1e9},
        {"patience", (double)options->patience, 0, 1e9},
        {"save-every", (double)options->save_every, 0, 1e15},
        {"compute", options->compute, 0, LLM_COMPUTE_BF16},
        {"memory", (double)options->memory, 0, 9e18},
        {"lora-rank", options->lora_rank, 0, MAX_RANK},
    };
    for (size_t i = 0; i < sizeof wholes / sizeof wholes[0]; i++) {
        if (wholes[i].value >= wholes[i].min && wholes[i].value <= wholes[i].max) continue;
        return error_set(err, LLM_ERROR_ARGUMENT, "%s is %.0f, a whole number from %.0f to %.0f was expected",
                         wholes[i].name, wholes[i].value, wholes[i].min, wholes[i].max);
    }
    if (!check_reals(options, err)) return false;
    if (options->adapter && options->lora_rank == 0) {
        return error_set(err, LLM_ERROR_ARGUMENT, "there are no adapters to write: lora-rank is 0");
    }
    if (options->cooldown > 0 && options->schedule != LLM_SCHEDULE_CONSTANT) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "cooldown is how a constant rate ends: set schedule to constant, or leave it out");
    }
    if (options->min_lr > options->lr) {
        return error_set(err, LLM_ERROR_ARGUMENT, "min-lr is %g, higher than lr, which is %g", options->min_lr,
                         options->lr);
    }
    if (options->initial_lr > options->lr) {
        return error_set(err, LLM_ERROR_ARGUMENT, "initial-lr is %g, higher than lr, which is %g", options->initial_lr,
                         options->lr);
    }
    return true;
}

// ---- JSON -----------------------------------------------------------------------------------

static const char *const schedules[] = {"constant", "cosine"};

json_t *train_settings_json(const struct llm_train_options *options) {
    static const char *const decays[] = {"all", "matrices"};
    static const char *const computes[] = {"f32", "bf16"};
    json_t *lora = NULL;
    if (options->lora_rank > 0) {
        lora = json_pack("{s:i, s:f, s:b}", "lora_rank", options->lora_rank, "lora_alpha", options->lora_alpha,
                         "adapter", options->adapter);
        if (lora == NULL) return NULL;
    }
    json_t *cooldown = options->cooldown > 0 ? json_real(options->cooldown) : NULL;
    json_t *torch_norm = options->torch_norm ? json_true() : NULL;
    return json_pack("{s:i, s:I, s:f, s:s, s:f, s:f, s:f, s:i, s:i, s:f, s:s, s:f, s:f, s:f, s:f, s:b, s:f, s:I, s:I, "
                     "s:i, s:I, s:s, s:o*, s:o*, s:o*}",
                     "epochs", options->epochs, "steps", (json_int_t)options->steps, "lr", options->lr, "schedule",
                     schedules[options->schedule], "min_lr", options->min_lr, "warmup", options->warmup, "initial_lr",
                     options->initial_lr, "batch_size", options->batch_size, "grad_accum", options->grad_accum,
                     "weight_decay", options->weight_decay, "decay", decays[options->decay], "beta1", options->beta1,
                     "beta2", options->beta2, "epsilon", options->epsilon, "clip", options->clip, "clip_after_warmup",
                     options->clip_after_warmup, "dropout", options->dropout, "seed", (json_int_t)options->seed,
                     "eval_freq", (json_int_t)options->eval_freq, "eval_iter", options->eval_iter, "patience",
                     (json_int_t)options->patience, "compute", computes[options->compute], "lora", lora, "cooldown",
                     cooldown, "torch_norm", torch_norm);
}

// A value as a person writes it; "nothing" for what is not there.
static void value_text(const char *name, const json_t *value, char *text, size_t size) {
    const bool derived = strcmp(name, "min_lr") == 0 || strcmp(name, "initial_lr") == 0;
    char *dumped = NULL;
    if (derived && json_number_value(value) < 0) {
        snprintf(text, size, "not given");
    } else if (json_is_string(value)) {
        snprintf(text, size, "%.200s", json_string_value(value));
    } else if (json_is_real(value)) {
        snprintf(text, size, "%g", json_real_value(value));
    } else if (value != NULL && (dumped = json_dump(value, JSON_ENCODE_ANY | JSON_COMPACT)) != NULL) {
        snprintf(text, size, "%.200s", dumped);
    } else {
        snprintf(text, size, "nothing");
    }
    free(dumped);
}

// What a checksum stands for; its digits would tell nobody anything.
static const char *meaning_of(const char *name) {
    if (strcmp(name, "data") == 0) return "other texts, another vocabulary or another split";
    if (strcmp(name, "vocabulary") == 0) return "another vocabulary";
    if (strcmp(name, "initial_weights_crc32c") == 0) return "other initial weights";
    return NULL;
}

static bool compare_values(const char *name, const json_t *saved, const json_t *present, struct llm_error *err) {
    if (json_is_object(saved) && json_is_object(present)) return train_identity_check(saved, present, err);
    if (json_equal(saved, present)) return true;
    const char *meaning = meaning_of(name);
    if (meaning != NULL) return error_set(err, LLM_ERROR_ARGUMENT, "the run was begun with %s", meaning);
    char was[256], is[256], option[64];
    value_text(name, saved, was, sizeof was);
    value_text(name, present, is, sizeof is);
    snprintf(option, sizeof option, "%s", name);
    for (char *c = option; *c != '\0'; c++) *c = *c == '_' ? '-' : *c; // as the program spells it
    return error_set(err, LLM_ERROR_ARGUMENT, "the run was begun with %s %s, now it is %s", option, was, is);
}

// The parts tell which of them it was, where both have them: older checkpoints do not.
static bool compare_data(const json_t *saved, const json_t *present, struct llm_error *err) {
    const json_t *was = json_object_get(saved, "data_parts"), *is = json_object_get(present, "data_parts");
    if (json_equal(json_object_get(saved, "data"), json_object_get(present, "data"))) return true;
    if (was != NULL && is != NULL) {
        if (!train_identity_check(was, is, err)) return false;
        return error_set(err, LLM_ERROR_ARGUMENT, "the run was begun with other texts");
    }
    return compare_values("data", json_object_get(saved, "data"), json_object_get(present, "data"), err);
}

bool train_identity_check(const json_t *saved, const json_t *present, struct llm_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)present, key, value) {
        if (strcmp(key, "data_parts") == 0) continue;
        if (strcmp(key, "data") == 0 ? !compare_data(saved, present, err)
                                     : !compare_values(key, json_object_get(saved, key), value, err)) {
            return false;
        }
    }
    json_object_foreach((json_t *)saved, key, value) {
        if (strcmp(key, "data_parts") == 0) continue;
        if (json_object_get(present, key) == NULL && !compare_values(key, value, NULL, err)) return false;
    }
    return true;
}

// ---- Going on for longer ----------------------------------------------------------------------

// Settings of a run that decide how long it is, and so when its learning rate falls, and where to.
static const char *const lengths[] = {"epochs", "steps", "warmup", "cooldown", "min_lr"};

static double number_of(const json_t *settings, const char *key) {
    return json_number_value(json_object_get(settings, key));
}

// The learning rates of a run with these settings; false: no run of ours has them.
static bool schedule_of(const json_t *settings, int64_t steps_an_epoch, struct schedule *schedule) {
    const char *name = json_string_value(json_object_get(settings, "schedule"));
    struct llm_train_options options;
    train_options_init(&options);
    const double epochs = number_of(settings, "epochs"), steps = number_of(settings, "steps");
    options.schedule = name != NULL && strcmp(name, schedules[LLM_SCHEDULE_CONSTANT]) == 0 ? LLM_SCHEDULE_CONSTANT
                                                                                           : LLM_SCHEDULE_COSINE;
    options.lr = number_of(settings, "lr");
    options.min_lr = number_of(settings, "min_lr");
    options.warmup = number_of(settings, "warmup");
    options.initial_lr = number_of(settings, "initial_lr");
    options.cooldown = number_of(settings, "cooldown");
    const double n_steps = steps > 0 ? steps : epochs * (double)steps_an_epoch;
    if (!(n_steps >= 1 && n_steps <= MAX_STEPS) || !train_options_check(&options, NULL)) return false;
    schedule_init(schedule, &options, (int64_t)n_steps);
    return true;
}

// `saved` with the length that `present` has; NULL when out of memory.
static json_t *as_long_as(const json_t *saved, const json_t *present) {
    const json_t *now = json_object_get(present, "settings");
    json_t *copy = json_deep_copy(saved);
    json_t *settings = json_object_get(copy, "settings");
    bool ok = copy != NULL;
    for (size_t i = 0; ok && i < sizeof lengths / sizeof lengths[0]; i++) {
        json_t *value = json_object_get(now, lengths[i]);
        json_object_del(settings, lengths[i]);
        ok = value == NULL || json_object_set(settings, lengths[i], value) == 0;
    }
    if (ok) return copy;
    json_decref(copy);
    return NULL;
}

bool train_differs_in_length(const json_t *saved, const json_t *present) {
    json_t *copy = as_long_as(saved, present);
    const bool same = copy != NULL && train_identity_check(copy, present, NULL);
    json_decref(copy);
    return same && !train_identity_check(saved, present, NULL);
}

bool train_resume_check(const json_t *saved, const json_t *present, int64_t steps_an_epoch, int64_t done,
                        struct llm_error *err) {
    const json_t *now = json_object_get(present, "settings");
    json_t *copy = as_long_as(saved, present);
    const bool ok = copy != NULL ? train_identity_check(copy, present, err) : error_memory(err, "settings");
    json_decref(copy);
    struct llm_error first = {0};
    if (!ok || train_identity_check(saved, present, &first)) return ok;

    struct schedule before, after;
    if (schedule_of(json_object_get(saved, "settings"), steps_an_epoch, &before) &&
        schedule_of(now, steps_an_epoch, &after) && schedule_same(&before, &after, done)) {
        return true;
    }
    return error_set(err, first.code,
                     "%s; a run's length may change as long as the learning rates of the %" PRId64
                     " steps done stay what they were, and they would not",
                     first.text, done);
}
