// test_fault_pass.c: making, training and saving a model when memory, calls or the disk fail: a sentence, nothing
// left over, and an engine that still holds its weights.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fault.h"
#include "model/init.h"
#include "model/pass.h"
#include "model/save.h"

#define MODELS MY_LLM_SOURCE_DIR "/tests/fixtures/models/"

enum {
    N_TOKENS = 6
};

static const struct llm_engine_options reference_options = {.isa = "ref", .n_threads = 1, .offline = true};

// One pass and its gradients, of everything there is to allocate.
static bool train(struct llm_engine *engine, bool recompute, struct llm_error *err) {
    static const int32_t ids[N_TOKENS] = {1, 2, 3, 4, 5, 6}, positions[N_TOKENS] = {0, 1, 2, 0, 1, 2};
    static const int32_t starts[] = {0, 3, 6}, rows[] = {1, 2, 5}, targets[] = {7, 8, 9};
    static const float scales[] = {0.5F, 0.25F, 0.25F};
    const struct batch batch = {.n_tokens = N_TOKENS,
                                .ids = ids,
                                .positions = positions,
                                .n_sequences = 2,
                                .starts = starts,
                                .n_rows = 3,
                                .rows = rows};
    const struct pass_options options = {.trainable = trainable_all(),
                                         .max_tokens = N_TOKENS,
                                         .max_rows = 3,
                                         .max_sequences = 2,
                                         .recompute = recompute,
                                         .dropout_embedding = 0.1,
                                         .dropout_attention = 0.1,
                                         .dropout_residual = 0.1};
    struct random random;
    random_init(&random, 1);
    struct param_block gradients;
    if (!param_block_init(&gradients, &engine->config, NULL, engine->ops, err)) return false;
    struct pass *pass = pass_new(engine, &options, err);
    float losses[3];
    const bool ok =
        pass != NULL && pass_language(pass, &batch, NULL, targets, scales, losses, &gradients, &random, err);
    pass_free(pass);
    param_block_release(&gradients, engine->ops);
    return ok;
}

static bool open_body(void *user, struct llm_error *err) {
    struct llm_engine *engine = llm_engine_open(user, &reference_options, err);
    struct param_block weights = {0};
    bool ok = engine != NULL && engine_own_weights(engine, &weights, err);
    // Owned or not, the weights are there.
    if (engine != NULL && llm_engine_check(engine) != 0) ok = error_set(err, LLM_ERROR_FORMAT, "weights are lost");
    ok = ok && train(engine, false, err);
    if (engine != NULL && weights.data != NULL) param_block_release(&weights, engine->ops);
    llm_engine_free(engine);
    return ok;
}

static void training_a_model_from_a_file(void **state) {
    (void)state;
    char paths[][200] = {MODELS "noqkvbias", MODELS "f16"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_true(fault_loop(FAULT_MEMORY, open_body, NULL, paths[i]) > 60);
    }
}

struct place {
    char directory[64], out[128];
};

static bool new_body(void *user, struct llm_error *err) {
    static const struct config config = {
        .n_layer = 2,
        .n_head = 3,
        .n_embd = 24,
        .n_inner = 96,
        .n_ctx = 32,
        .vocab_size = 300,
        .activation = ACTIVATION_GELU_TANH,
        .layer_norm_epsilon = 1e-5F,
        .scale_attn_weights = true,
        .eos = -1,
    };
    const struct place *place = user;
    struct llm_tokenizer *tokenizer = tokenizer_open_directory(MODELS "text", err);
    if (tokenizer == NULL) return false;
    struct llm_engine *engine = engine_new("new", &config, tokenizer, &reference_options, err);
    if (engine == NULL) return false;
    struct random random;
    random_init(&random, 1);
    struct param_block weights = {0};
    const bool ok = engine_own_weights(engine, &weights, err) && init_book(&engine->config, &weights, &random, err) &&
                    train(engine, true, err) && model_save(engine, place->out, DTYPE_BF16, true, err);
    if (weights.data != NULL) param_block_release(&weights, engine->ops);
    llm_engine_free(engine);
    return ok;
}

static void new_check(void *user, bool succeeded) {
    const struct place *place = user;
    assert_int_equal(directory_exists(place->out), succeeded);
    if (!succeeded) return;
    struct llm_error err = {0};
    struct llm_engine *engine = llm_engine_open(place->out, &reference_options, &err);
    if (engine == NULL) fail_msg("%s", err.text);
    assert_int_equal(llm_engine_check(engine), 0);
    assert_non_null(llm_engine_tokenizer(engine));
    llm_engine_free(engine);
    directory_remove(place->out);
}

static void training_and_saving_a_new_model(void **state) {
    (void)state;
    struct place place = {.directory = "/tmp/my-llm-fault-XXXXXX"};
    assert_non_null(mkdtemp(place.directory));
    snprintf(place.out, sizeof place.out, "%s/out", place.directory);
    fault_loop(FAULT_MEMORY, new_body, new_check, &place);
    fault_loop(FAULT_DISK, new_body, new_check, &place);
    directory_remove(place.directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_a_model_from_a_file),
        cmocka_unit_test(training_and_saving_a_new_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
