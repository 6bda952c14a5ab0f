// test_config.c: config.json and hparams.json: defaults, every key we use, every refusal with its sentence,
// damage at every byte, and config.json as we write it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config.h"

static bool parse(struct config *config, const char *text, struct llm_error *err) {
    return config_parse(config, text, strlen(text), err);
}

static void test_defaults(void **state) {
    (void)state;
    struct config config;
    struct llm_error err = {0};
    assert_true(parse(&config, "{}", &err));
    assert_int_equal(config.n_layer, 12);
    assert_int_equal(config.n_head, 12);
    assert_int_equal(config.n_embd, 768);
    assert_int_equal(config.n_inner, 3072);
    assert_int_equal(config.n_ctx, 1024);
    assert_int_equal(config.vocab_size, 50257);
    assert_int_equal(config.activation, ACTIVATION_GELU_TANH);
    assert_true(config.layer_norm_epsilon == 1e-5F);
    assert_true(config.scale_attn_weights);
    assert_false(config.scale_attn_by_layer);
    assert_true(config.tied_head);
    assert_true(config.qkv_bias);
    assert_int_equal(config.eos, 50256);
}

static void test_every_key(void **state) {
    (void)state;
    struct config config;
    struct llm_error err = {0};
    assert_true(parse(&config,
                      "{\"model_type\": \"gpt2\", \"architectures\": [\"GPT2LMHeadModel\"], \"n_layer\": 3, "
                      "\"n_head\": 4, \"n_embd\": 32, \"n_inner\": 50, \"n_positions\": 64, \"n_ctx\": 128, "
                      "\"vocab_size\": 101, \"activation_function\": \"relu\", \"layer_norm_epsilon\": 0.03, "
                      "\"scale_attn_weights\": false, \"scale_attn_by_inverse_layer_idx\": true, "
                      "\"reorder_and_upcast_attn\": true, \"qkv_bias\": false, \"tie_word_embeddings\": false, "
                      "\"eos_token_id\": 100, "
                      "\"add_cross_attention\": false, \"quantization_config\": null, \"pruned_heads\": {}, "
                      "\"summary_type\": \"cls_index\", \"something_else\": [1, 2]}",
                      &err));
    assert_int_equal(config.n_layer, 3);
    assert_int_equal(config.n_head, 4);
    assert_int_equal(config.n_embd, 32);
    assert_int_equal(config.n_inner, 50);
    assert_int_equal(config.n_ctx, 64); // n_positions goes before n_ctx
    assert_int_equal(config.vocab_size, 101);
    assert_int_equal(config.activation, ACTIVATION_RELU);
    assert_true(config.layer_norm_epsilon == 0.03F);
    assert_false(config.scale_attn_weights);
    assert_true(config.scale_attn_by_layer);
    assert_false(config.tied_head);
    assert_false(config.qkv_bias);
    assert_int_equal(config.eos, 100);
}

static void test_other_spellings(void **state) {
    (void)state;
    struct config config;
    struct llm_error err = {0};
    assert_true(parse(&config,
                      "{\"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"hidden_size\": 8, "
                      "\"max_position_embeddings\": 16, \"n_inner\": null}",
                      &err));
    assert_int_equal(config.n_layer, 2);
    assert_int_equal(config.n_head, 2);
    assert_int_equal(config.n_embd, 8);
    assert_int_equal(config.n_inner, 32);
    assert_int_equal(config.n_ctx, 16);
    assert_true(parse(&config, "{\"n_ctx\": 77}", &err));
    assert_int_equal(config.n_ctx, 77);

    static const struct {
        const char *name;
        enum activation activation;
    } names[] = {{"gelu_new", ACTIVATION_GELU_TANH},      {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH},
                 {"gelu_fast", ACTIVATION_GELU_TANH},     {"gelu_python_tanh", ACTIVATION_GELU_TANH},
                 {"gelu_accurate", ACTIVATION_GELU_TANH}, {"gelu", ACTIVATION_GELU_ERF},
                 {"gelu_python", ACTIVATION_GELU_ERF},    {"relu", ACTIVATION_RELU}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"activation_function\": \"%s\"}", names[i].name);
        assert_true(parse(&config, text, &err));
        assert_int_equal(config.activation, names[i].activation);
    }
}

static void test_end_of_text(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int32_t eos;
    } cases[] = {
        {"{\"vocab_size\": 100}", -1}, // the default of 50256 is not in this vocabulary
        {"{\"vocab_size\": 100, \"eos_token_id\": 99}", 99},
        {"{\"vocab_size\": 100, \"eos_token_id\": 100}", -1},
        {"{\"vocab_size\": 100, \"eos_token_id\": -1}", -1},
        {"{\"eos_token_id\": null}", -1},
        {"{\"eos_token_id\": []}", -1},
        {"{\"eos_token_id\": [7, 8]}", 7},
        {"{\"eos_token_id\": 9223372036854775807}", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config config;
        struct llm_error err = {0};
        assert_true(parse(&config, cases[i].text, &err));
        assert_int_equal(config.eos, cases[i].eos);
    }
}

// What is refused, and the sentence.
static const struct {
    const char *text, *sentence;
} refusals[] = {
    {"", "not valid JSON: line 1, column 0: unexpected token near end of file"},
    {"[]", "is not a JSON object, which was expected"},
    {"12", "is not a JSON object, which was expected"},
    {"{\"n_layer\": 12", "not valid JSON: line 1, column 14: '}' expected near end of file"},
    {"{\"n_layer\": 1, \"n_layer\": 2}", "not valid JSON: line 1, column 24: duplicate object key near '\"n_layer\"'"},
    {"\xef\xbb\xbf{}", "begins with a byte order mark, which JSON does not allow; save it as plain UTF-8"},
    {"{\"model_type\": \"llama\"}", "model_type is \"llama\"; gpt2 is supported"},
    {"{\"model_type\": 2}", "model_type is 2, a string was expected"},
    {"{\"architectures\": [\"GPT2DoubleHeadsModel\"]}", "the model is a GPT2DoubleHeadsModel; GPT2LMHeadModel, which "
                                                        "generates text, and GPT2ForSequenceClassification are "
                                                        "supported"},
    {"{\"architectures\": [\"GPT2ForSequenceClassification\"], \"num_labels\": 0}",
     "num_labels is 0, a number from 1 to 1048576 was expected"},
    {"{\"architectures\": [\"GPT2ForSequenceClassification\"], \"id2label\": [\"ham\"]}",
     "id2label is not an object that names the labels"},
    {"{\"architectures\": [\"GPT2ForSequenceClassification\"], \"id2label\": {}}",
     "id2label names 0 labels, 1 to 1048576 were expected"},
    {"{\"pad_token_id\": true}", "pad_token_id is neither an integer nor a list of integers"},
    {"{\"architectures\": \"GPT2LMHeadModel\"}", "architectures is not a list of strings"},
    {"{\"architectures\": [1]}", "architectures is not a list of strings"},
    {"{\"add_cross_attention\": true}", "asks for add_cross_attention, which is not supported"},
    {"{\"is_encoder_decoder\": true}", "asks for is_encoder_decoder, which is not supported"},
    {"{\"quantization_config\": {\"bits\": 4}}", "asks for quantization_config, which is not supported"},
    {"{\"pruned_heads\": {\"0\": [1]}}", "asks for pruned_heads, which is not supported"},
    {"{\"activation_function\": \"swish\"}",
     "activation_function is \"swish\"; gelu_new, gelu, relu and their aliases are supported"},
    {"{\"activation_function\": []}", "activation_function is [], a string was expected"},
    {"{\"n_layer\": 1000000000}", "n_layer is 1000000000, a number from 1 to 16384 was expected"},
    {"{\"n_layer\": 0}", "n_layer is 0, a number from 1 to 16384 was expected"},
    {"{\"n_layer\": -1}", "n_layer is -1, a number from 1 to 16384 was expected"},
    {"{\"n_layer\": \"12\"}", "n_layer is \"12\", an integer was expected"},
    {"{\"n_layer\": 12.5}", "n_layer is 12.5, an integer was expected"},
    {"{\"n_layer\": true}", "n_layer is true, an integer was expected"},
    {"{\"n_layer\": 1e400}", "not valid JSON: line 1, column 17: real number overflow near '1e400'"},
    {"{\"n_layer\": NaN}", "not valid JSON: line 1, column 15: invalid token near 'NaN'"},
    {"{\"n_head\": 5}", "n_head is 5, which does not divide n_embd, 768"},
    {"{\"n_head\": 0}", "n_head is 0, a number from 1 to 16384 was expected"},
    {"{\"n_embd\": 0}", "n_embd is 0, a number from 1 to 262144 was expected"},
    {"{\"n_embd\": 9223372036854775807}", "n_embd is 9223372036854775807, a number from 1 to 262144 was expected"},
    {"{\"n_inner\": 0}", "n_inner is 0, a number from 1 to 1048576 was expected"},
    {"{\"n_positions\": 0}", "n_positions is 0, a number from 1 to 1048576 was expected"},
    {"{\"n_ctx\": -5}", "n_ctx is -5, a number from 1 to 1048576 was expected"},
    {"{\"vocab_size\": 0}", "vocab_size is 0, a number from 1 to 16777216 was expected"},
    {"{\"vocab_size\": 99999999999}", "vocab_size is 99999999999, a number from 1 to 16777216 was expected"},
    {"{\"layer_norm_epsilon\": 0}", "layer_norm_epsilon is 0, a number between 0 and 1 was expected"},
    {"{\"layer_norm_epsilon\": -1e-5}", "layer_norm_epsilon is -1e-05, a number between 0 and 1 was expected"},
    {"{\"layer_norm_epsilon\": \"1e-5\"}", "layer_norm_epsilon is \"1e-5\", a number was expected"},
    {"{\"scale_attn_weights\": 1}", "scale_attn_weights is 1, true or false was expected"},
    {"{\"tie_word_embeddings\": \"no\"}", "tie_word_embeddings is \"no\", true or false was expected"},
    {"{\"eos_token_id\": \"x\"}", "eos_token_id is neither an integer nor a list of integers"},
};

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct config config;
        struct llm_error err = {0};
        assert_false(parse(&config, refusals[i].text, &err));
        assert_string_equal(err.text, refusals[i].sentence);
    }
}

static void test_deep_nesting(void **state) {
    (void)state;
    char text[10001];
    memset(text, '[', 10000);
    text[10000] = '\0';
    struct config config;
    struct llm_error err = {0};
    assert_false(parse(&config, text, &err));
    assert_int_equal(err.code, LLM_ERROR_FORMAT);
}

static const char hparams[] =
    "{\"n_vocab\": 50257, \"n_ctx\": 1024, \"n_embd\": 1600, \"n_head\": 25, \"n_layer\": 48}";

static void test_hparams(void **state) {
    (void)state;
    struct config config;
    struct llm_error err = {0};
    assert_true(config_parse_hparams(&config, hparams, strlen(hparams), &err));
    assert_int_equal(config.n_layer, 48);
    assert_int_equal(config.n_head, 25);
    assert_int_equal(config.n_embd, 1600);
    assert_int_equal(config.n_inner, 6400);
    assert_int_equal(config.n_ctx, 1024);
    assert_int_equal(config.vocab_size, 50257);
    assert_int_equal(config.activation, ACTIVATION_GELU_TANH);
    assert_true(config.scale_attn_weights);
    assert_true(config.tied_head);
    assert_int_equal(config.eos, 50256);

    static const struct {
        const char *text, *sentence;
    } bad[] = {
        {"{}", "n_vocab is missing"},
        {"{\"n_vocab\": 10, \"n_ctx\": null}", "n_ctx is missing"},
        {"{\"n_vocab\": \"50257\"}", "n_vocab is \"50257\", an integer was expected"},
        {"{\"n_vocab\": [50257]}", "n_vocab is [50257], an integer was expected"},
        {"{\"n_vocab\": 10, \"n_ctx\": 8, \"n_embd\": 8, \"n_head\": 3, \"n_layer\": 1}",
         "n_head is 3, which does not divide n_embd, 8"},
        {"null", "is not a JSON object, which was expected"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (struct llm_error){0};
        assert_false(config_parse_hparams(&config, bad[i].text, strlen(bad[i].text), &err));
        assert_string_equal(err.text, bad[i].sentence);
    }
}

// Whatever happens to one byte of a file, or wherever it ends: a config that config_check() accepts, or a
// sentence. Each text lies in a block of exactly its size, so that the sanitizer sees one byte too far.
static void try_both(const char *bytes, size_t size) {
    char *exact = malloc(size > 0 ? size : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    for (int kind = 0; kind < 2; kind++) {
        struct config config;
        struct llm_error err = {0};
        const bool ok =
            kind == 0 ? config_parse(&config, exact, size, &err) : config_parse_hparams(&config, exact, size, &err);
        if (ok) {
            assert_true(config_check(&config, &err));
        } else {
            assert_true(err.code != LLM_OK && err.text[0] != '\0');
        }
    }
    free(exact);
}

static void test_damage(void **state) {
    (void)state;
    struct config config;
    struct llm_error err = {0};
    assert_true(parse(&config, "{\"n_layer\": 2, \"n_inner\": 70, \"activation_function\": \"relu\"}", &err));
    char *text = config_json(&config, DTYPE_F32);
    assert_non_null(text);
    for (int file = 0; file < 2; file++) {
        char copy[1024];
        const size_t size = strlen(file == 0 ? text : hparams);
        assert_true(size < sizeof copy);
        memcpy(copy, file == 0 ? text : hparams, size);
        for (size_t cut = 0; cut <= size; cut++) try_both(copy, cut);
        static const unsigned char flips[] = {0x01, 0x02, 0x10, 0x20, 0x80, 0xff};
        for (size_t at = 0; at < size; at++) {
            for (size_t flip = 0; flip < sizeof flips; flip++) {
                copy[at] = (char)(copy[at] ^ flips[flip]);
                try_both(copy, size);
                copy[at] = (char)(copy[at] ^ flips[flip]);
            }
        }
    }
    free(text);
}

// What we write, we read back the same; numbers are written as a person would.
static void test_round_trip(void **state) {
    (void)state;
    struct config config;
    struct llm_error err = {0};
    assert_true(parse(&config,
                      "{\"n_layer\": 3, \"n_head\": 4, \"n_embd\": 32, \"n_inner\": 50, \"n_positions\": 64, "
                      "\"vocab_size\": 101, \"activation_function\": \"gelu\", \"layer_norm_epsilon\": 1e-6, "
                      "\"scale_attn_weights\": false, \"scale_attn_by_inverse_layer_idx\": true, "
                      "\"tie_word_embeddings\": false, \"eos_token_id\": 100}",
                      &err));
    char *text = config_json(&config, DTYPE_BF16);
    assert_non_null(text);
    assert_non_null(strstr(text, "\"layer_norm_epsilon\": 1e-6"));
    assert_non_null(strstr(text, "\"torch_dtype\": \"bfloat16\""));
    assert_non_null(strstr(text, "\"n_inner\": 50"));
    struct config again;
    assert_true(parse(&again, text, &err));
    assert_int_equal(again.n_layer, config.n_layer);
    assert_int_equal(again.n_inner, config.n_inner);
    assert_int_equal(again.activation, config.activation);
    assert_true(again.layer_norm_epsilon == config.layer_norm_epsilon);
    assert_int_equal(again.scale_attn_weights, config.scale_attn_weights);
    assert_int_equal(again.scale_attn_by_layer, config.scale_attn_by_layer);
    assert_int_equal(again.tied_head, config.tied_head);
    assert_int_equal(again.eos, config.eos);
    assert_true(again.qkv_bias);
    assert_null(strstr(text, "qkv_bias")); // a word that only this program knows, where it says something
    free(text);

    config.qkv_bias = false;
    text = config_json(&config, DTYPE_F32);
    assert_non_null(text);
    assert_true(parse(&again, text, &err));
    assert_false(again.qkv_bias);
    free(text);

    config.n_inner = 128;
    config.eos = -1;
    text = config_json(&config, DTYPE_F32);
    assert_non_null(text);
    assert_non_null(strstr(text, "\"n_inner\": null"));
    assert_non_null(strstr(text, "\"eos_token_id\": null"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_every_key), cmocka_unit_test(test_other_spellings),
        cmocka_unit_test(test_end_of_text), cmocka_unit_test(test_refusals),  cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_hparams),     cmocka_unit_test(test_damage),    cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
