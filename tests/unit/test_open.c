// test_open.c: what may be called MODEL, what the engine then holds, and what is said when it cannot be.
// Wrong files driven through the program are in tests/e2e/test_bad_models.py; here is every damage to one byte.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "formats/safetensors.h"
#include "model/engine.h"

#define MODELS MY_LLM_SOURCE_DIR "/tests/fixtures/models/"

// ---- Helpers --------------------------------------------------------------------------------

// The sentences that a call gave as notices, one a line.
struct heard {
    char text[2048];
};

static void hear(void *user, const char *sentence) {
    struct heard *heard = user;
    const size_t used = strlen(heard->text);
    snprintf(heard->text + used, sizeof heard->text - used, "%s\n", sentence);
}

static struct llm_engine_options listening(struct heard *heard) {
    struct llm_engine_options options;
    llm_engine_options_init(&options);
    options.isa = "ref";
    options.n_threads = 1;
    options.callbacks = (struct llm_callbacks){.notice = hear, .user = heard};
    *heard = (struct heard){{0}};
    return options;
}

static struct llm_engine *open_fixture(const char *name) {
    char path[512];
    snprintf(path, sizeof path, MODELS "%s", name);
    struct llm_error err = {0};
    struct llm_engine *engine = llm_engine_open(path, NULL, &err);
    if (engine == NULL) fail_msg("%s: %s", name, err.text);
    return engine;
}

// A directory of its own for each test; the program's home lies in it, and nothing can be downloaded.
struct place {
    char directory[64];
};

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) return -1;
    strcpy(place->directory, "/tmp/my-llm-open-XXXXXX");
    if (mkdtemp(place->directory) == NULL) return -1;
    setenv("MY_LLM_HOME", place->directory, 1);
    setenv("MY_LLM_MIRROR", "file:///nowhere-at-all", 1);
    setenv("MY_LLM_BUNDLED", MODELS "text", 1);
    *state = place;
    return 0;
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->directory);
    free(place);
    return 0;
}

static void put_file(const char *directory, const char *name, const void *bytes, size_t size) {
    char *path = path_join(directory, name);
    struct llm_error err = {0};
    if (!file_write(path, bytes, size, &err)) fail_msg("%s", err.text);
    free(path);
}

static void copy_file(const char *from, const char *directory, const char *name) {
    char *bytes = NULL;
    size_t size = 0;
    struct llm_error err = {0};
    if (!file_read(from, 1 << 24, &bytes, &size, &err)) fail_msg("%s", err.text);
    put_file(directory, name, bytes, size);
    free(bytes);
}

static void expect_refusal(const char *model, const char *sentence) {
    struct heard heard;
    const struct llm_engine_options options = listening(&heard);
    struct llm_error err = {0};
    assert_null(llm_engine_open(model, &options, &err));
    assert_string_equal(err.text, sentence);
}

// ---- What the engine holds -------------------------------------------------------------------

static const char *const fixtures[] = {"prefix", "plain", "shards",    "stored",  "headonly", "padded",
                                       "f16",    "bf16",  "openai",    "untied",  "inner",    "untiedflag",
                                       "relu",   "gelu",  "epsilon",   "noscale", "bylayer",  "head64",
                                       "distil", "text",  "noqkvbias", "book"};

// Parameters and the dtype of the whole, for every fixture.
static void test_every_fixture(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof fixtures / sizeof fixtures[0]; i++) {
        struct llm_engine *engine = open_fixture(fixtures[i]);
        struct llm_model_info info;
        llm_engine_info(engine, &info);
        assert_int_equal(info.n_nonfinite, -1);
        assert_int_equal(llm_engine_check(engine), 0);
        llm_engine_info(engine, &info);
        assert_int_equal(info.n_nonfinite, 0);
        const int64_t c = info.n_embd, inner = info.n_inner;
        const bool qkv_bias = strcmp(fixtures[i], "noqkvbias") != 0;
        assert_int_equal(info.qkv_bias, qkv_bias);
        const int64_t layer =
            4 * c + (c * 3 * c + (qkv_bias ? 3 * c : 0)) + (c * c + c) + (c * inner + inner) + (inner * c + c);
        const int64_t heads = info.tied_head ? 1 : 2;
        const int64_t expected = heads * info.vocab_size * c + info.n_ctx * c + info.n_layer * layer + 2 * c;
        assert_int_equal(info.n_params, expected);
        int64_t sum = 0;
        for (int part = 0; part < info.n_parts; part++) sum += info.parts[part].n_params;
        assert_int_equal(sum, expected);
        assert_true(info.bytes_inference > info.bytes_weights + info.bytes_kv_cache);
        assert_true(info.bytes_training > 16 * expected);
        assert_int_equal(info.has_tokenizer, strcmp(fixtures[i], "text") == 0);
        const bool own_head = strcmp(fixtures[i], "untied") == 0 || strcmp(fixtures[i], "untiedflag") == 0 || !qkv_bias;
        assert_int_equal(info.tied_head, !own_head);
        llm_engine_free(engine);
    }
}

static void test_info(void **state) {
    (void)state;
    struct llm_engine *engine = open_fixture("bylayer");
    struct llm_model_info info;
    llm_engine_info(engine, &info);
    assert_string_equal(info.path, MODELS "bylayer");
    assert_string_equal(info.format, "safetensors");
    assert_string_equal(info.dtype, "F32");
    assert_string_equal(info.activation, "gelu_new");
    assert_int_equal(info.n_layer, 3);
    assert_int_equal(info.n_head, 3);
    assert_true(info.scale_attn_weights && info.scale_attn_by_layer);
    assert_true(info.layer_norm_epsilon == 1e-5);
    assert_int_equal(info.bytes_kv_cache, 2 * 4 * 3 * 64 * 24);
    assert_int_equal(info.n_files, 2);
    assert_string_equal(info.files[0].path, MODELS "bylayer/config.json");
    assert_string_equal(info.files[1].path, MODELS "bylayer/model.safetensors");
    llm_engine_free(engine);

    engine = open_fixture("shards");
    llm_engine_info(engine, &info);
    assert_int_equal(info.n_files, 5);
    llm_engine_free(engine);

    engine = open_fixture("openai");
    llm_engine_info(engine, &info);
    assert_string_equal(info.format, "TensorFlow checkpoint");
    assert_string_equal(info.files[0].path, MODELS "openai/hparams.json");
    llm_engine_free(engine);
}

// Nothing is copied that can be used where it lies.
static void test_weights_stay_mapped(void **state) {
    (void)state;
    struct llm_engine *engine = open_fixture("prefix");
    assert_int_equal(engine->weights.bytes_owned, 0);
    assert_null(engine->weights.owned);
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(&engine->config, (enum param)p); layer++) {
            assert_ptr_equal(weights_get(&engine->weights, (enum param)p, layer)->data,
                             engine->map.views[p][layer].data);
        }
    }
    llm_engine_free(engine);

    engine = open_fixture("f16"); // vectors are widened, matrices stay
    const struct matrix *matrix = weights_get(&engine->weights, PARAM_MLP_FC_WEIGHT, 1);
    assert_int_equal(matrix->dtype, DTYPE_F16);
    assert_ptr_equal(matrix->data, engine->map.views[PARAM_MLP_FC_WEIGHT][1].data);
    const struct matrix *vector = weights_get(&engine->weights, PARAM_MLP_FC_BIAS, 1);
    assert_int_equal(vector->dtype, DTYPE_F32);
    assert_true(engine->weights.bytes_owned > 0 && engine->weights.bytes_owned < 16384);
    llm_engine_free(engine);
}

// The same weights in every clothing are the same numbers.
static void test_same_numbers(void **state) {
    (void)state;
    static const char *const names[] = {"plain", "shards", "stored", "headonly", "padded", "openai"};
    struct llm_engine *base = open_fixture("prefix");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct llm_engine *engine = open_fixture(names[i]);
        for (int p = 0; p < PARAM_COUNT; p++) {
            assert_int_equal(param_count(&engine->config, (enum param)p), param_count(&base->config, (enum param)p));
            for (int layer = 0; layer < param_count(&base->config, (enum param)p); layer++) {
                const struct matrix *a = weights_get(&base->weights, (enum param)p, layer);
                const struct matrix *b = weights_get(&engine->weights, (enum param)p, layer);
                assert_int_equal(a->rows, b->rows);
                assert_int_equal(a->cols, b->cols);
                assert_int_equal((uintptr_t)b->data % sizeof(float), 0);
                assert_memory_equal(a->data, b->data, 4 * (size_t)a->rows * (size_t)a->cols);
            }
        }
        llm_engine_free(engine);
    }
    llm_engine_free(base);
}

static bool cancel(void *user, const struct llm_progress *progress) {
    (void)user;
    (void)progress;
    return false;
}

static void test_check_cancelled(void **state) {
    (void)state;
    struct llm_engine_options options;
    llm_engine_options_init(&options);
    options.callbacks.progress = cancel;
    struct llm_engine *engine = llm_engine_open(MODELS "prefix", &options, NULL);
    assert_non_null(engine);
    assert_int_equal(llm_engine_check(engine), -1);
    llm_engine_free(engine);
}

static void test_count_nonfinite(void **state) {
    (void)state;
    const float wide[] = {0, NAN, -INFINITY, 3.4e38F, 1e-45F, INFINITY, -NAN};
    uint8_t shifted[sizeof wide + 1];
    memcpy(shifted + 1, wide, sizeof wide);
    assert_int_equal(count_nonfinite(shifted + 1, DTYPE_F32, 7), 4);
    uint16_t half[7];
    dtype_from_f32(half, DTYPE_BF16, wide, 7);
    assert_int_equal(count_nonfinite(half, DTYPE_BF16, 7), 5); // 3.4e38 rounds up to infinity
    dtype_from_f32(half, DTYPE_F16, wide, 7);
    assert_int_equal(count_nonfinite(half, DTYPE_F16, 7), 5);
}

// ---- What may be called MODEL ----------------------------------------------------------------

static void expect_path(const char *model, const char *path, const char *notices) {
    struct heard heard;
    const struct llm_engine_options options = listening(&heard);
    struct llm_error err = {0};
    char *found = model_resolve(model, &options, &err);
    if (found == NULL) fail_msg("%s", err.text);
    assert_string_equal(found, path);
    assert_string_equal(heard.text, notices);
    free(found);
}

static void test_resolve(void **state) {
    struct place *place = *state;
    expect_path(NULL, MODELS "text", "no model named; using the bundled one\n");
    expect_path("bundled", MODELS "text", "");
    expect_path(MODELS "prefix", MODELS "prefix", "");
    expect_path(MODELS "prefix/model.safetensors", MODELS "prefix/model.safetensors", "");

    // A training run's directory.
    char run[128], inner[160];
    snprintf(run, sizeof run, "%s/run", place->directory);
    snprintf(inner, sizeof inner, "%s/model", run);
    assert_int_equal(mkdir(run, 0777), 0);
    assert_int_equal(mkdir(inner, 0777), 0);
    copy_file(MODELS "prefix/config.json", inner, "config.json");
    copy_file(MODELS "prefix/model.safetensors", inner, "model.safetensors");
    expect_path(run, inner, "");
    struct llm_engine *engine = llm_engine_open(run, NULL, NULL);
    assert_non_null(engine);
    llm_engine_free(engine);

    // One file, its config and vocabulary beside it.
    engine = llm_engine_open(MODELS "text/model.safetensors", NULL, NULL);
    assert_non_null(engine);
    assert_non_null(llm_engine_tokenizer(engine));
    llm_engine_free(engine);
}

// A model in a directory here goes before a download of the same name; any other directory does not.
static void test_known_name_here(void **state) {
    struct place *place = *state;
    char here[4096];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(place->directory), 0);
    assert_int_equal(mkdir("gpt2", 0777), 0);
    struct heard heard;
    struct llm_engine_options options = listening(&heard);
    options.offline = true;
    struct llm_error err = {0};
    assert_null(model_resolve("gpt2", &options, &err));
    assert_string_equal(err.text, "gpt2 has not been downloaded, and downloading is switched off; \"-m bundled\" runs "
                                  "the model that comes with my-llm");
    copy_file(MODELS "prefix/config.json", "gpt2", "config.json");
    expect_path("gpt2", "gpt2", "");
    assert_int_equal(chdir(here), 0);
}

static void test_download_fails(void **state) {
    (void)state;
    struct heard heard;
    const struct llm_engine_options options = listening(&heard);
    struct llm_error err = {0};
    assert_null(llm_engine_open("gpt2-medium", &options, &err));
    static const char front[] = "gpt2-medium is not here and could not be downloaded: ";
    static const char back[] = "; \"-m bundled\" runs the model that comes with my-llm";
    assert_memory_equal(err.text, front, sizeof front - 1);
    assert_true(strlen(err.text) > sizeof front + sizeof back);
    assert_string_equal(err.text + strlen(err.text) - (sizeof back - 1), back);
    assert_string_equal(heard.text, "gpt2-medium is not here yet; downloading it\n");
}

static void test_no_such_model(void **state) {
    struct place *place = *state;
    expect_refusal("", "the model's name is empty");
    expect_refusal("gpt3",
                   "gpt3: there is no such model; a directory, a .safetensors, .pth or .gguf file, or one of gpt2, "
                   "gpt2-medium, gpt2-large, gpt2-xl, bundled was expected");
    expect_refusal("/dev/null", "/dev/null: is not a model; a directory with config.json or hparams.json, or one "
                                ".safetensors, .pth or .gguf file was expected");
    char sentence[512], path[128];
    snprintf(sentence, sizeof sentence,
             "%s: holds neither config.json nor hparams.json, so what model this is cannot be told", place->directory);
    expect_refusal(place->directory, sentence);
    copy_file(MODELS "prefix/model.safetensors", place->directory, "alone.safetensors");
    snprintf(path, sizeof path, "%s/alone.safetensors", place->directory);
    expect_refusal(path, sentence);
    put_file(place->directory, "pytorch_model.bin", "x", 1);
    copy_file(MODELS "prefix/config.json", place->directory, "config.json");
    snprintf(sentence, sizeof sentence, "%s/pytorch_model.bin: is not a zip archive, as PyTorch's files are",
             place->directory);
    expect_refusal(place->directory, sentence);
    setenv("MY_LLM_BUNDLED", "/nowhere", 1);
    struct llm_error err = {0};
    assert_null(llm_engine_open(NULL, NULL, &err));
    assert_int_equal(err.code, LLM_ERROR_NOT_FOUND);
}

static void test_isa(void **state) {
    (void)state;
    struct llm_engine_options options;
    llm_engine_options_init(&options);
    options.isa = "mmx";
    struct llm_error err = {0};
    assert_null(llm_engine_open(MODELS "prefix", &options, &err));
    assert_string_equal(err.text, "isa is \"mmx\"; auto, ref, baseline, avx2 or avx512 was expected");
    options.isa = "ref";
    struct llm_engine *engine = llm_engine_open(MODELS "prefix", &options, NULL);
    struct llm_model_info info;
    llm_engine_info(engine, &info);
    assert_string_equal(info.isa, "ref");
    llm_engine_free(engine);
}

// ---- Vocabularies ---------------------------------------------------------------------------

static void test_tokenizers(void **state) {
    struct place *place = *state;
    struct llm_error err = {0};
    struct llm_tokenizer *tokenizer = llm_tokenizer_open(NULL, NULL, &err);
    assert_int_equal(llm_tokenizer_vocab_size(tokenizer), 50257);
    llm_tokenizer_free(tokenizer);
    tokenizer = llm_tokenizer_open(MODELS "text", NULL, &err);
    assert_int_equal(llm_tokenizer_vocab_size(tokenizer), 300);
    llm_tokenizer_free(tokenizer);
    tokenizer = llm_tokenizer_open(MODELS "text/model.safetensors", NULL, &err);
    assert_int_equal(llm_tokenizer_vocab_size(tokenizer), 300);
    llm_tokenizer_free(tokenizer);
    assert_null(llm_tokenizer_open(MODELS "prefix", NULL, &err));
    assert_int_equal(err.code, LLM_ERROR_NOT_FOUND);

    // A vocabulary's own file; of two that belong together, one is not enough to be meant.
    tokenizer = llm_tokenizer_open(MY_LLM_SOURCE_DIR "/tests/fixtures/tokenizer/small/tokenizer.json", NULL, &err);
    assert_non_null(tokenizer);
    llm_tokenizer_free(tokenizer);
    err = (struct llm_error){0};
    assert_null(llm_tokenizer_open(MODELS "text/vocab.json", NULL, &err));
    assert_string_equal(err.text, MODELS "text/vocab.json: is one of a vocabulary's two files; name the directory they "
                                         "are in");
    err = (struct llm_error){0};
    assert_null(llm_tokenizer_open(MODELS "text/config.json", NULL, &err));
    assert_non_null(strstr(err.text, "text/config.json: is not a model"));
    err = (struct llm_error){0};

    // More ids than the model has rows: said, not refused.
    copy_file(MODELS "prefix/config.json", place->directory, "config.json");
    copy_file(MODELS "prefix/model.safetensors", place->directory, "model.safetensors");
    copy_file(MODELS "text/vocab.json", place->directory, "vocab.json");
    copy_file(MODELS "text/merges.txt", place->directory, "merges.txt");
    struct heard heard;
    const struct llm_engine_options options = listening(&heard);
    struct llm_engine *engine = llm_engine_open(place->directory, &options, NULL);
    assert_non_null(engine);
    char notice[256];
    snprintf(notice, sizeof notice, "%s: the vocabulary has 300 ids and the model 101; those above cannot be used\n",
             place->directory);
    assert_string_equal(heard.text, notice);
    llm_engine_free(engine);

    // A vocabulary that is there and damaged is not the same as none.
    put_file(place->directory, "vocab.json", "{", 1);
    err = (struct llm_error){0};
    assert_null(llm_engine_open(place->directory, &options, &err));
    assert_int_equal(err.code, LLM_ERROR_FORMAT);
    assert_non_null(strstr(err.text, "/vocab.json: "));
}

// ---- Damage ---------------------------------------------------------------------------------

// A model from bytes in memory: mapped whole, or refused with a sentence.
static void try_model(const uint8_t *bytes, size_t size) {
    uint8_t *exact = malloc(size > 0 ? size : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    struct llm_error err = {0};
    struct container *container = safetensors_parse(exact, size, &err);
    if (container != NULL) {
        struct config config = {.n_layer = 2,
                                .n_head = 3,
                                .n_embd = 24,
                                .n_inner = 50,
                                .n_ctx = 64,
                                .vocab_size = 101,
                                .activation = ACTIVATION_GELU_TANH,
                                .layer_norm_epsilon = 1e-5F,
                                .qkv_bias = true,
                                .tied_head = true};
        struct tensor_map map;
        if (tensor_map_init(&map, container, &config, "model.safetensors", &err)) {
            for (int p = 0; p < PARAM_COUNT; p++) {
                for (int layer = 0; layer < param_count(&config, (enum param)p); layer++) {
                    const struct param_view *view = &map.views[p][layer];
                    assert_true(view->size == dtype_bytes(view->dtype, (size_t)param_size(&config, (enum param)p)));
                    count_nonfinite(view->data, view->dtype, (size_t)view->n_elements);
                }
            }
            tensor_map_release(&map);
        } else {
            assert_true(err.code != LLM_OK && err.text[0] != '\0');
        }
        container_free(container);
    } else {
        assert_true(err.code != LLM_OK && err.text[0] != '\0');
    }
    free(exact);
}

static void test_damage(void **state) {
    (void)state;
    char *file = NULL;
    size_t size = 0;
    struct llm_error err = {0};
    assert_true(file_read(MODELS "inner/model.safetensors", 1 << 20, &file, &size, &err));
    uint8_t *bytes = (uint8_t *)file;
    const size_t header = 8 + (bytes[0] | (size_t)bytes[1] << 8);
    for (size_t cut = 0; cut < size; cut += cut < header + 64 ? 1 : 997) try_model(bytes, cut);
    try_model(bytes, size - 1);
    for (size_t at = 0; at < header; at++) {
        const uint8_t kept = bytes[at];
        for (int bit = 0; bit < 8; bit++) {
            bytes[at] = kept ^ (uint8_t)(1 << bit);
            try_model(bytes, size);
        }
        bytes[at] = kept;
    }
    free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_fixture),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_weights_stay_mapped),
        cmocka_unit_test(test_same_numbers),
        cmocka_unit_test(test_check_cancelled),
        cmocka_unit_test(test_count_nonfinite),
        cmocka_unit_test_setup_teardown(test_resolve, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_known_name_here, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_download_fails, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_no_such_model, place_setup, place_teardown),
        cmocka_unit_test(test_isa),
        cmocka_unit_test_setup_teardown(test_tokenizers, place_setup, place_teardown),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
