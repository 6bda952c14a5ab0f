// test_params.c: the parameter table against the published sizes, and the dialects over it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "model/dialect.h"
#include "model/param_block.h"

// Parameters as transformers counts them (model.num_parameters(), a tied head once).
static void test_sizes(void **state) {
    (void)state;
    static const struct {
        int n_layer, n_head, n_embd;
        int64_t n_params;
    } sizes[] = {
        {12, 12, 768, 124439808},   // gpt2
        {24, 16, 1024, 354823168},  // gpt2-medium
        {36, 20, 1280, 774030080},  // gpt2-large
        {48, 25, 1600, 1557611200}, // gpt2-xl
        {6, 12, 768, 81912576},     // distilgpt2
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct config config = {.n_layer = sizes[i].n_layer,
                                .n_head = sizes[i].n_head,
                                .n_embd = sizes[i].n_embd,
                                .n_inner = 4 * sizes[i].n_embd,
                                .n_ctx = 1024,
                                .vocab_size = 50257,
                                .layer_norm_epsilon = 1e-5F,
                                .qkv_bias = true,
                                .tied_head = true};
        struct llm_error err = {0};
        assert_true(config_check(&config, &err));
        int64_t n = 0;
        for (int p = 0; p < PARAM_COUNT; p++)
            n += param_count(&config, (enum param)p) * param_size(&config, (enum param)p);
        assert_int_equal(n, sizes[i].n_params);
        config.tied_head = false;
        assert_int_equal(param_count(&config, PARAM_HEAD), 1);
        assert_int_equal(param_size(&config, PARAM_HEAD), (int64_t)50257 * config.n_embd);
    }
}

static void test_table(void **state) {
    (void)state;
    for (int p = 0; p < PARAM_COUNT; p++) {
        assert_non_null(params[p].name);
        assert_int_equal(params[p].per_layer, p >= PARAM_LN_1_WEIGHT && p <= PARAM_MLP_PROJ_BIAS);
        assert_int_equal(params[p].has_decay, params[p].is_matrix);
        assert_true((int)params[p].part < PART_COUNT);
    }
    for (int part = 0; part < PART_COUNT; part++) assert_non_null(param_part_name((enum param_part)part));
}

// Every name that a dialect writes, it reads as the same parameter and layer.
static void test_names(void **state) {
    (void)state;
    static const struct dialect *const dialects[] = {&dialect_hf, &dialect_openai, &dialect_book};
    for (size_t d = 0; d < 3; d++) {
        for (int p = 0; p < PARAM_COUNT; p++) {
            char name[64];
            const int layer = params[p].per_layer ? 120 : 0;
            if (!dialect_tensor_name(dialects[d], (enum param)p, layer, name, sizeof name)) {
                assert_true(dialects[d] == &dialect_openai && params[p].part == PART_HEAD);
                continue;
            }
            int found = -1;
            // In the book one name is two parameters; what the model does tells which.
            const struct config config = {.n_labels = p == PARAM_SCORE || p == PARAM_SCORE_BIAS ? 2 : 0};
            const struct dialect_row *row = dialect_match(dialects[d], &config, name, &found);
            assert_non_null(row);
            assert_int_equal(row->param, p);
            assert_int_equal(found, layer);
            assert_false(dialect_tensor_name(dialects[d], (enum param)p, layer, name, strlen(name)));
        }
    }
}

static void test_matching(void **state) {
    (void)state;
    int layer;
    assert_int_equal(dialect_match(&dialect_hf, NULL, "transformer.h.7.mlp.c_fc.weight", &layer)->param,
                     PARAM_MLP_FC_WEIGHT);
    assert_int_equal(layer, 7);
    assert_int_equal(dialect_match(&dialect_hf, NULL, "h.0.attn.bias", &layer)->param, PARAM_COUNT);
    assert_int_equal(dialect_match(&dialect_hf, NULL, "transformer.h.0.attn.masked_bias", &layer)->param, PARAM_COUNT);
    static const char *const unknown[] = {
        "",
        "wte",
        "wte.weight.",
        "transformer.transformer.wte.weight",
        "h..ln_1.weight",
        "h.00.ln_1.weight",
        "h.01.ln_1.weight",
        "h.-1.ln_1.weight",
        "h.+1.ln_1.weight",
        "h. 1.ln_1.weight",
        "h.x.ln_1.weight",
        "h.99999999999999999999.ln_1.weight",
        "h.1.ln_1.weight2",
        "h.%d.ln_1.weight",
        "h.1",
    };
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_null(dialect_match(&dialect_hf, NULL, unknown[i], &layer));
    }
    assert_null(dialect_match(&dialect_openai, NULL, "transformer.model/wte", &layer));
    assert_null(dialect_match(&dialect_openai, NULL, "model/h0/attn/c_attn/w/Adam", &layer));
}

// Instances lie one after another, each on a cache line, and only those asked for.
static void test_blocks(void **state) {
    (void)state;
    struct ops *ops = ops_new(OPS_REF, 1, NULL);
    for (int choice = 0; choice < 32; choice++) {
        const struct config config = {.n_layer = 3,
                                      .n_head = 1,
                                      .n_embd = 7,
                                      .n_inner = 11,
                                      .n_ctx = 5,
                                      .vocab_size = 13,
                                      .qkv_bias = (choice & 1) != 0,
                                      .tied_head = (choice & 2) != 0};
        const struct trainable trainable = {.first_layer = (choice & 4) != 0 ? 2 : 0,
                                            .embeddings = (choice & 4) == 0,
                                            .final_norm = (choice & 8) != 0,
                                            .head = (choice & 16) != 0};
        struct param_block block;
        struct llm_error err = {0};
        assert_true(param_block_init(&block, &config, &trainable, ops, &err));
        int64_t end = 0;
        for (int p = 0; p < PARAM_COUNT; p++) {
            const int count = param_count(&config, (enum param)p);
            if (count == 0) assert_null(param_block_at(&block, (enum param)p, 0));
            for (int layer = 0; layer < count; layer++) {
                const float *at = param_block_at(&block, (enum param)p, layer);
                bool expected = layer >= trainable.first_layer;
                if (p == PARAM_WTE || p == PARAM_WPE) expected = trainable.embeddings;
                if (p == PARAM_LN_F_WEIGHT || p == PARAM_LN_F_BIAS) expected = trainable.final_norm;
                if (p == PARAM_HEAD) expected = trainable.head;
                assert_int_equal(at != NULL, expected);
                assert_int_equal(param_trainable(&trainable, &config, (enum param)p, layer), expected);
                if (at == NULL) continue;
                assert_int_equal((uintptr_t)at % 64, 0);
                assert_int_equal(at - block.data, end);
                end += (param_size(&config, (enum param)p) + 15) / 16 * 16;
            }
        }
        assert_int_equal(block.size, end);
        assert_int_equal(param_block_bytes(&config, &trainable), 4 * end);
        param_block_release(&block, ops);
    }
    ops_free(ops);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),    cmocka_unit_test(test_table),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_matching), cmocka_unit_test(test_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
