// test_trainer.c: the loop with a task that is no text: frozen layers, tensors of the task's own, stopping by the
// callback, a loss that turns bad.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/init.h"
#include "train/settings.h"
#include "train/trainer.h"

enum {
    N_LEARN = 21,
    N_VALIDATE = 5,
    LENGTH = 6, // of the longest example
    VOCAB = 11,
    N_EXTRA = 3
};

// A model, a task of its own kind, and the directory it writes to.
struct school {
    struct llm_engine *engine;
    struct param_block weights;
    struct random random;
    json_t *identity;
    struct llm_train_options options;
    char folder[32];
    char out[64];
    int32_t ids[LENGTH], targets[LENGTH];
    float extra[4][N_EXTRA]; // weight, gradient, m, v of a tensor of the task's own
    int64_t calls;           // of the task's loss, with gradients
    int64_t bad_call;        // that gives NaN; 0: none
    int64_t stop_after;      // steps; 0: never
    int64_t n_events[LLM_TRAIN_CHECKPOINT + 1];
    double last_loss;
};

static bool on_event(void *user, const struct llm_train_event *event) {
    struct school *school = user;
    school->n_events[event->kind]++;
    if (event->kind == LLM_TRAIN_STEP) school->last_loss = event->loss;
    return school->stop_after == 0 || event->step + 1 < school->stop_after;
}

static struct school *school_new(void) {
    struct school *school = calloc(1, sizeof *school);
    struct llm_error err = {0};
    const struct config config = {
        .n_layer = 3,
        .n_head = 2,
        .n_embd = 8,
        .n_inner = 16,
        .n_ctx = LENGTH,
        .vocab_size = VOCAB,
        .activation = ACTIVATION_GELU_TANH,
        .layer_norm_epsilon = 1e-5F,
        .scale_attn_weights = true,
        .qkv_bias = true,
        .tied_head = true,
        .eos = -1,
    };
    const struct llm_engine_options opening = {.n_threads = 1};
    random_init(&school->random, 123);
    school->engine = engine_new("school", &config, NULL, &opening, &err);
    assert_non_null(school->engine);
    assert_true(engine_own_weights(school->engine, &school->weights, &err));
    init_gpt2(&config, &school->weights, &school->random);
    school->identity = json_pack("{s:s}", "data", "school");
    train_options_init(&school->options);
    school->options.epochs = 3;
    school->options.batch_size = 4;
    school->options.lr = 1e-2;
    school->options.eval_freq = 4;
    school->options.save_every = 5;
    school->options.event = on_event;
    school->options.callbacks.user = school;
    strcpy(school->folder, "/tmp/my-llm-school-XXXXXX");
    assert_non_null(mkdtemp(school->folder));
    snprintf(school->out, sizeof school->out, "%s/run", school->folder);
    return school;
}

static void school_free(struct school *school) {
    param_block_release(&school->weights, school->engine->ops);
    llm_engine_free(school->engine);
    json_decref(school->identity);
    directory_remove(school->folder);
    free(school);
}

// Examples of different lengths: counting up by a step that depends on the number, predicted only in the second half.
static bool give_example(void *user, enum train_side side, int64_t number, struct train_example *example,
                         struct llm_error *err) {
    (void)err;
    struct school *school = user;
    const int n = LENGTH - (int)(number % 3);
    for (int i = 0; i < n; i++) {
        school->ids[i] = (int32_t)((number + (side == TRAIN_VALIDATE) + i * (1 + number % 2)) % VOCAB);
        school->targets[i] = i < n / 2 ? NO_TARGET : (int32_t)((school->ids[i] + 1 + number % 2) % VOCAB);
    }
    *example = (struct train_example){school->ids, school->targets, n};
    return true;
}

// (w - 1)^2 / 2 of the task's own tensor in every row, and nothing for the model.
static bool own_loss(void *user, const struct train_call *call, struct llm_error *err) {
    (void)err;
    struct school *school = user;
    if (call->gradients != NULL) school->calls++;
    for (int i = 0; i < call->packed->batch.n_rows; i++) {
        call->losses[i] = 0;
        for (int k = 0; k < N_EXTRA; k++) {
            const float off = school->extra[0][k] - 1;
            call->losses[i] += off * off / 2;
            if (call->gradients != NULL) school->extra[1][k] += call->scales[i] * off;
        }
    }
    if (school->bad_call > 0 && school->calls == school->bad_call) call->losses[0] = NAN;
    return true;
}

static bool run(struct school *school, struct trainable trainable, bool own, struct llm_train_result *result,
                struct llm_error *err) {
    const struct train_task task = {
        .user = school,
        .n_examples = {N_LEARN, N_VALIDATE},
        .max_tokens = LENGTH,
        .trainable = trainable,
        .cache_memory = -1,
        .random = school->random,
        .identity = school->identity,
        .details = school->identity,
        .example = give_example,
        .loss = own ? own_loss : NULL,
    };
    const struct train_tensor extra = {school->extra[0], school->extra[1], school->extra[2],
                                       school->extra[3], N_EXTRA,          false};
    return train_begin(school->out, &school->options, err) &&
           train_run(school->engine, &school->weights, &task, &extra, own ? 1 : 0, school->out, &school->options,
                     result, err);
}

static const struct trainable last_layer = {.first_layer = 2, .final_norm = true};

// ---- Frozen layers --------------------------------------------------------------------------

static float *copy_weights(const struct school *school) {
    const size_t bytes = (size_t)school->weights.size * sizeof(float);
    float *copy = malloc(bytes);
    memcpy(copy, school->weights.data, bytes);
    return copy;
}

// Kept activations give the same bits as those computed each time, and what is frozen stays what it was.
static void frozen_layers(void **state) {
    (void)state;
    struct school *kept = school_new(), *computed = school_new();
    float *before = copy_weights(kept);
    struct llm_error err = {0};
    struct llm_train_result result;
    assert_true(run(kept, last_layer, false, &result, &err));
    assert_true(result.finished && result.steps == 15);
    // So little that the activations of no example are kept, or only of some.
    computed->options.memory = 60000;
    while (!run(computed, last_layer, false, &result, &err)) {
        assert_int_equal(err.code, LLM_ERROR_MEMORY);
        err = (struct llm_error){0};
        computed->options.memory += 500;
    }
    assert_memory_equal(kept->weights.data, computed->weights.data, (size_t)kept->weights.size * sizeof(float));

    const struct config *config = &kept->engine->config;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            const float *now = param_block_at(&kept->weights, (enum param)p, layer);
            const bool same = memcmp(now, before + (now - kept->weights.data),
                                     (size_t)param_size(config, (enum param)p) * sizeof *now) == 0;
            assert_int_equal(same, !param_trainable(&last_layer, config, (enum param)p, layer));
        }
    }
    free(before);
    school_free(kept);
    school_free(computed);
}

// ---- The task's own tensor and loss ---------------------------------------------------------

static void own_tensors_are_trained(void **state) {
    (void)state;
    struct school *school = school_new();
    school->options.lr = 0.2;
    school->options.epochs = 8;
    struct llm_error err = {0};
    struct llm_train_result result;
    assert_true(run(school, last_layer, true, &result, &err));
    for (int k = 0; k < N_EXTRA; k++) assert_float_equal(school->extra[0][k], 1, 0.3);
    assert_true(result.val_loss < 0.15);
    assert_int_equal(school->calls, result.steps + 2); // two to see how long a step takes
    school_free(school);
}

static void stopped_and_resumed(void **state) {
    (void)state;
    struct school *whole = school_new(), *parts = school_new();
    struct llm_error err = {0};
    struct llm_train_result result;
    assert_true(run(whole, last_layer, true, &result, &err));
    assert_int_equal(whole->n_events[LLM_TRAIN_PLAN], 1);
    assert_int_equal(whole->n_events[LLM_TRAIN_STEP], 15);
    assert_int_equal(whole->n_events[LLM_TRAIN_EVALUATION], 1 + 4 + 1); // before; steps 0, 4, 8, 12; the last
    assert_int_equal(whole->n_events[LLM_TRAIN_EPOCH], 3);
    assert_int_equal(whole->n_events[LLM_TRAIN_CHECKPOINT], 2); // after 5 and 10; the last step needs none

    for (int64_t stop = 2; stop < 15; stop += 3) {
        parts->stop_after = stop;
        assert_false(run(parts, last_layer, true, &result, &err));
        assert_int_equal(err.code, LLM_ERROR_CANCELLED);
        char sentence[64];
        snprintf(sentence, sizeof sentence, "stopped after step %lld of 15", (long long)stop - 1);
        assert_non_null(strstr(err.text, sentence));
        err = (struct llm_error){0};
        // What a new process would not have.
        memset(parts->extra, 0x55, sizeof parts->extra);
        memset(parts->extra[1], 0, sizeof parts->extra[1]);
        parts->options.resume = true;
        // The frozen and the trained weights of another process are the initial ones until the checkpoint is read.
        struct random random;
        random_init(&random, 123);
        init_gpt2(&parts->engine->config, &parts->weights, &random);
    }
    parts->stop_after = 0;
    assert_true(run(parts, last_layer, true, &result, &err));
    assert_memory_equal(whole->weights.data, parts->weights.data, (size_t)whole->weights.size * sizeof(float));
    assert_memory_equal(whole->extra, parts->extra, sizeof whole->extra);
    school_free(whole);
    school_free(parts);
}

// A run at a constant rate becomes longer, then is told to cool down: the same as if it had been known at first.
static void the_end_is_chosen_later(void **state) {
    (void)state;
    struct school *whole = school_new(), *parts = school_new();
    struct llm_error err = {0};
    struct llm_train_result result;
    whole->options.schedule = parts->options.schedule = LLM_SCHEDULE_CONSTANT;
    whole->options.warmup = parts->options.warmup = 3;
    whole->options.steps = 20;
    whole->options.cooldown = 8;
    assert_true(run(whole, trainable_all(), false, &result, &err));

    parts->stop_after = 6;
    assert_false(run(parts, trainable_all(), false, &result, &err));
    parts->options.resume = true;
    parts->options.epochs = 1000; // 5 steps each
    parts->stop_after = 12;
    err = (struct llm_error){0};
    assert_false(run(parts, trainable_all(), false, &result, &err));
    assert_non_null(strstr(err.text, "stopped after step 11 of 5000"));

    static const struct {
        int64_t steps;
        double cooldown, warmup;
        const char *sentence;
    } refused[] = {
        {20, 12, 3, "the run was begun with epochs 1000, now it is 3; a run's length may change"}, // has begun by now
        {11, 0, 3, "the learning rates of the 12 steps done stay what they were"},                 // is over
        {20, 8, 4, "the run was begun with epochs 1000, now it is 3; a run's length may change"},
    };
    parts->options.epochs = 3;
    parts->stop_after = 0;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        err = (struct llm_error){0};
        parts->options.steps = refused[i].steps;
        parts->options.cooldown = refused[i].cooldown;
        parts->options.warmup = refused[i].warmup;
        assert_false(run(parts, trainable_all(), false, &result, &err));
        if (strstr(err.text, refused[i].sentence) == NULL) fail_msg("%s", err.text);
    }
    parts->options.steps = 20;
    parts->options.cooldown = 8;
    parts->options.warmup = 3;
    err = (struct llm_error){0};
    assert_true(run(parts, trainable_all(), false, &result, &err));
    assert_memory_equal(whole->weights.data, parts->weights.data, (size_t)whole->weights.size * sizeof(float));
    school_free(whole);
    school_free(parts);
}

static void a_bad_loss_keeps_the_checkpoint(void **state) {
    (void)state;
    struct school *school = school_new();
    school->bad_call = 2 + 8; // after two that only measure: step 7
    struct llm_error err = {0};
    struct llm_train_result result;
    assert_false(run(school, last_layer, true, &result, &err));
    assert_non_null(strstr(err.text, "step 7: the loss is nan"));
    assert_true(directory_holds(school->out, "checkpoint"));
    assert_false(directory_holds(school->out, "model"));
    err = (struct llm_error){0};
    school->bad_call = 0;
    school->options.resume = true;
    assert_true(run(school, last_layer, true, &result, &err));
    assert_true(result.finished);
    school_free(school);
}

static void only_a_plan(void **state) {
    (void)state;
    struct school *school = school_new();
    float *before = copy_weights(school);
    school->options.dry_run = true;
    struct llm_error err = {0};
    struct llm_train_result result;
    assert_true(run(school, trainable_all(), false, &result, &err));
    assert_true(!result.finished && result.steps == 0);
    assert_int_equal(school->n_events[LLM_TRAIN_PLAN], 1);
    assert_int_equal(school->n_events[LLM_TRAIN_STEP], 0);
    assert_memory_equal(before, school->weights.data, (size_t)school->weights.size * sizeof *before);
    assert_false(path_exists(school->out));
    free(before);
    school_free(school);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frozen_layers),
        cmocka_unit_test(own_tensors_are_trained),
        cmocka_unit_test(stopped_and_resumed),
        cmocka_unit_test(the_end_is_chosen_later),
        cmocka_unit_test(a_bad_loss_keeps_the_checkpoint),
        cmocka_unit_test(only_a_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
