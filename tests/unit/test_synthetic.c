// test_synthetic.c: models of random weights: they run, the seed decides, the sizes are GPT-2's.
#include "infer_fixture.h"
#include "model/engine.h"

static const struct config tiny = {
    .n_layer = 2,
    .n_head = 3,
    .n_embd = 24,
    .n_inner = 96,
    .n_ctx = 32,
    .vocab_size = 101,
    .activation = ACTIVATION_GELU_TANH,
    .layer_norm_epsilon = 1e-5F,
    .scale_attn_weights = true,
    .qkv_bias = true,
    .tied_head = true,
    .eos = 100,
};

static struct llm_engine *synthesize(const struct config *config, uint64_t seed) {
    struct llm_error err = {0};
    struct llm_engine_options options;
    llm_engine_options_init(&options);
    options.n_threads = 1;
    struct llm_engine *engine = engine_synthesize("tiny", config, seed, &options, &err);
    if (engine == NULL) fail_msg("%s", err.text);
    return engine;
}

static struct llm_generation continue_one(struct llm_engine *engine) {
    struct llm_session *session = fixture_session(engine, 1);
    const struct llm_generate_options options = greedy_options(20);
    const struct llm_generation generation = generate(session, (int32_t[]){1, 2, 3}, 3, &options);
    llm_session_free(session);
    return generation;
}

static void it_generates(void **state) {
    (void)state;
    struct llm_engine *engine = synthesize(&tiny, 1);
    struct llm_generation generation = continue_one(engine);
    assert_int_equal(generation.samples[0].n_ids, 20);
    assert_null(generation.samples[0].text); // no vocabulary
    assert_null(llm_engine_tokenizer(engine));
    llm_generation_release(&generation);
    llm_engine_free(engine);
}

static void its_logits_are_finite_and_differ(void **state) {
    (void)state;
    struct llm_engine *engine = synthesize(&tiny, 1);
    struct llm_session *session = fixture_session(engine, 1);
    struct llm_error err = {0};
    float logits[2 * 101];
    check(llm_session_logits(session, (int32_t[]){5, 6}, 2, logits, &err), &err);
    for (int i = 0; i < 2 * 101; i++) assert_true(isfinite(logits[i]));
    assert_true(largest_difference(logits, logits + 101, 101) > 1e-3F);
    llm_session_free(session);
    llm_engine_free(engine);
}

static void the_seed_decides(void **state) {
    (void)state;
    const uint64_t seeds[] = {7, 7, 8};
    float first[3][24];
    for (int i = 0; i < 3; i++) {
        struct llm_engine *engine = synthesize(&tiny, seeds[i]);
        memcpy(first[i], weights_get(&engine->weights, PARAM_ATTN_PROJ_WEIGHT, 1)->data, sizeof first[i]);
        llm_engine_free(engine);
    }
    assert_memory_equal(first[0], first[1], sizeof first[0]);
    assert_memory_not_equal(first[0], first[2], sizeof first[0]);
}

// The seed of which the generator's state would be zero, where xorshift stays.
static void no_seed_makes_zeros(void **state) {
    (void)state;
    struct llm_engine *engine = synthesize(&tiny, UINT64_MAX);
    const float *wte = weights_get(&engine->weights, PARAM_WTE, 0)->data;
    assert_true(wte[0] != wte[1] && wte[1] != wte[2]);
    llm_engine_free(engine);
}

// As GPT-2 begins its training.
static void weights_have_their_distribution(void **state) {
    (void)state;
    struct llm_engine *engine = synthesize(&tiny, 3);
    const struct {
        enum param param;
        double deviation;
    } rows[] = {{PARAM_WTE, 0.02}, {PARAM_MLP_FC_WEIGHT, 0.02}, {PARAM_MLP_PROJ_WEIGHT, 0.01}};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        const struct matrix *matrix = weights_get(&engine->weights, rows[r].param, 0);
        const int n = matrix->rows * matrix->cols;
        double sum = 0, squares = 0;
        for (int i = 0; i < n; i++) {
            const double x = ((const float *)matrix->data)[i];
            sum += x;
            squares += x * x;
        }
        assert_true(fabs(sum / n) < 0.1 * rows[r].deviation);
        assert_true(fabs(sqrt(squares / n) / rows[r].deviation - 1) < 0.05);
    }
    assert_true(((const float *)weights_get(&engine->weights, PARAM_LN_1_WEIGHT, 1)->data)[23] == 1.0F);
    assert_true(((const float *)weights_get(&engine->weights, PARAM_ATTN_QKV_BIAS, 1)->data)[71] == 0.0F);
    llm_engine_free(engine);
}

static void info_knows_it(void **state) {
    (void)state;
    struct config untied = tiny;
    untied.tied_head = false;
    const struct config *configs[] = {&tiny, &untied};
    for (int i = 0; i < 2; i++) {
        struct llm_engine *engine = synthesize(configs[i], 1);
        struct llm_model_info info;
        assert_int_equal(llm_engine_check(engine), 0);
        llm_engine_info(engine, &info);
        assert_string_equal(info.path, "tiny");
        assert_string_equal(info.format, "memory");
        assert_string_equal(info.dtype, "F32");
        assert_int_equal(info.n_files, 0);
        assert_int_equal(info.n_params, 18456 - (64 - 32) * 24 + i * 101 * 24); // the fixtures' model, half its context
        assert_int_equal(info.bytes_weights, 4 * info.n_params);
        // A step reads the head and not the positions, and an embedding of its own neither.
        assert_int_equal(info.bytes_step, info.bytes_weights - INT64_C(4) * 32 * 24 - i * INT64_C(4) * 101 * 24);
        llm_engine_free(engine);
    }
}

static void nonsense_is_refused(void **state) {
    (void)state;
    struct llm_error err = {0};
    assert_null(llm_engine_synthetic("125M", 1, NULL, &err));
    assert_int_equal(err.code, LLM_ERROR_ARGUMENT);
    assert_string_equal(err.text, "there is no GPT-2 of size \"125M\"; 124M, 355M, 774M or 1558M was expected");
    err = (struct llm_error){0};
    assert_null(llm_engine_synthetic("124M", 1, &(struct llm_engine_options){.isa = "mmx"}, &err));
    assert_int_equal(err.code, LLM_ERROR_ARGUMENT);
    struct config wrong = tiny;
    wrong.n_head = 5;
    err = (struct llm_error){0};
    assert_null(engine_synthesize("wrong", &wrong, 1, NULL, &err));
    assert_string_equal(err.text, "n_head is 5, which does not divide n_embd, 24");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_generates),
        cmocka_unit_test(its_logits_are_finite_and_differ),
        cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(no_seed_makes_zeros),
        cmocka_unit_test(weights_have_their_distribution),
        cmocka_unit_test(info_knows_it),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
