// test_torch_norm.c: the norm of a model's gradients against clip_grad_norm_'s on the book's GPTModel
// (tools/make_train_fixtures.py), to the bit.
#include "train_support.h"

#include <math.h>
#include <stdio.h>

#include "base/file.h"
#include "model/engine.h"
#include "train/settings.h"

// The fixture's gradients: numbers of one sequence, through the parameters of GPTModel as it has them.
struct filling {
    const struct optimizer *optimizer;
    const struct config *config;
    uint64_t next;
};

static float next_number(struct filling *filling) {
    const uint32_t hash = (uint32_t)(filling->next++ * 2654435761U) >> 8;
    return (float)((double)hash / (1 << 24) - 0.5);
}

// Columns [first, first + n): row by row, or those of a torch.nn.Linear.
static void fill(struct filling *filling, enum param param, int layer, int first, int n, bool is_linear) {
    float *gradient = param_block_at(&filling->optimizer->gradients, param, layer);
    int rows, cols;
    param_shape(filling->config, param, &rows, &cols);
    if (gradient == NULL) return;
    const int outer = is_linear ? n : rows, inner = is_linear ? rows : n;
    for (int i = 0; i < outer; i++) {
        for (int j = 0; j < inner; j++) {
            const int row = is_linear ? j : i, col = is_linear ? i : j;
            gradient[(int64_t)row * cols + first + col] = next_number(filling);
        }
    }
}

static void fill_linear(struct filling *filling, enum param weight, enum param bias, int layer, int first, int n) {
    fill(filling, weight, layer, first, n, true);
    fill(filling, bias, layer, first, n, false);
}

static void fill_model(struct filling *filling) {
    const int n = filling->config->n_embd;
    fill(filling, PARAM_WTE, 0, 0, n, false);
    fill(filling, PARAM_WPE, 0, 0, n, false);
    for (int layer = 0; layer < filling->config->n_layer; layer++) {
        for (int i = 0; i < 3; i++) {
            fill_linear(filling, PARAM_ATTN_QKV_WEIGHT, PARAM_ATTN_QKV_BIAS, layer, i * n, n);
        }
        fill_linear(filling, PARAM_ATTN_PROJ_WEIGHT, PARAM_ATTN_PROJ_BIAS, layer, 0, n);
        fill_linear(filling, PARAM_MLP_FC_WEIGHT, PARAM_MLP_FC_BIAS, layer, 0, 4 * n);
        fill_linear(filling, PARAM_MLP_PROJ_WEIGHT, PARAM_MLP_PROJ_BIAS, layer, 0, n);
        for (enum param param = PARAM_LN_1_WEIGHT; param <= PARAM_LN_1_BIAS; param++) {
            fill(filling, param, layer, 0, n, false);
        }
        for (enum param param = PARAM_LN_2_WEIGHT; param <= PARAM_LN_2_BIAS; param++) {
            fill(filling, param, layer, 0, n, false);
        }
    }
    for (enum param param = PARAM_LN_F_WEIGHT; param <= PARAM_HEAD; param++) fill(filling, param, 0, 0, n, false);
}

// A model of which there are gradients and nothing else.
static void optimizer_begin(struct optimizer *optimizer, struct llm_engine *engine, struct param_block *weights,
                            bool torch_norm) {
    struct llm_error err = {0};
    struct llm_train_options options;
    train_options_init(&options);
    options.torch_norm = torch_norm;
    const struct trainable all = trainable_all();
    engine->ops = ops_new(OPS_REF, 1, &err);
    assert_non_null(engine->ops);
    assert_true(param_block_init(weights, &engine->config, NULL, engine->ops, &err));
    assert_true(optimizer_init(optimizer, engine, &all, weights, &options, &err));
}

static void optimizer_end(struct optimizer *optimizer, struct llm_engine *engine, struct param_block *weights) {
    optimizer_release(optimizer);
    param_block_release(weights, engine->ops);
    ops_free(engine->ops);
}

static void is_pytorchs_to_the_bit(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    struct llm_error err = {0};
    assert_true(file_read(MY_LLM_SOURCE_DIR "/tests/fixtures/optimizer/norms.txt", 1 << 20, &text, &size, &err));
    int n_lines = 0;
    for (char *line = text; *line != '\0'; line = strchr(line, '\n') + 1, n_lines++) {
        struct llm_engine engine = {0};
        struct config *config = &engine.config;
        int has_bias = 0, at = 0;
        assert_int_equal(sscanf(line, "%d %d %d %d %d %d %n", &config->n_layer, &config->n_head, &config->n_embd,
                                &config->n_ctx, &config->vocab_size, &has_bias, &at),
                         6);
        config->n_inner = 4 * config->n_embd;
        config->qkv_bias = has_bias != 0;
        char *end = NULL;
        const double expected = strtod(line + at, &end);
        const double in_double = strtod(end, NULL);
        assert_true(expected > in_double * 0.99 && in_double > 1);
        for (int torch_norm = 0; torch_norm < 2; torch_norm++) {
            struct optimizer optimizer;
            struct param_block weights;
            optimizer_begin(&optimizer, &engine, &weights, torch_norm == 1);
            struct filling filling = {&optimizer, config, 0};
            fill_model(&filling);
            assert_true(filling.next == (uint64_t)optimizer_size(&optimizer));
            const double is = optimizer_norm(&optimizer);
            if (torch_norm == 1) {
                assert_true(is == expected);
            } else {
                assert_float_equal(is, in_double, 1e-12 * in_double);
            }
            optimizer_end(&optimizer, &engine, &weights);
        }
    }
    assert_int_equal(n_lines, 5);
    free(text);
}

// Adapters and a classifier's head are not in the block.
static void other_tensors_count(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct llm_engine engine = {
        .config = {.n_layer = 1, .n_head = 1, .n_embd = 4, .n_inner = 16, .n_ctx = 2, .vocab_size = 3}};
    struct optimizer optimizer;
    struct param_block weights;
    optimizer_begin(&optimizer, &engine, &weights, true);
    param_block_at(&optimizer.gradients, PARAM_HEAD, 0)[11] = 3;
    float numbers[4][9] = {{0}};
    const struct train_tensor other = {numbers[0], numbers[1], numbers[2], numbers[3], 9, false};
    assert_true(optimizer_add(&optimizer, &other, &err));
    assert_true(optimizer_norm(&optimizer) == 3);
    numbers[1][8] = 4;
    assert_true(optimizer_norm(&optimizer) == 5);
    numbers[1][0] = NAN;
    assert_false(isfinite(optimizer_norm(&optimizer)));
    optimizer_end(&optimizer, &engine, &weights);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_pytorchs_to_the_bit),
        cmocka_unit_test(other_tensors_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
