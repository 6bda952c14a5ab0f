// test_convert.c: every fixture written as Hugging Face layout and read back: the same numbers where the
// dtype stays, correctly rounded ones where not; the places that are refused; cancelling; a full disk.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "formats/safetensors.h"
#include "model/engine.h"

#define MODELS MY_LLM_SOURCE_DIR "/tests/fixtures/models/"

struct place {
    char directory[64], out[96];
    char notices[1024];
};

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) return -1;
    strcpy(place->directory, "/tmp/my-llm-convert-XXXXXX");
    if (mkdtemp(place->directory) == NULL) return -1;
    snprintf(place->out, sizeof place->out, "%s/out", place->directory);
    *state = place;
    return 0;
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->directory);
    free(place);
    return 0;
}

static void hear(void *user, const char *sentence) {
    struct place *place = user;
    const size_t used = strlen(place->notices);
    snprintf(place->notices + used, sizeof place->notices - used, "%s\n", sentence);
}

static struct llm_convert_options options_new(struct place *place, int dtype) {
    struct llm_convert_options options;
    llm_convert_options_init(&options);
    options.dtype = dtype;
    options.callbacks = (struct llm_callbacks){.notice = hear, .user = place};
    place->notices[0] = '\0';
    return options;
}

static struct llm_engine *open_model(const char *path) {
    struct llm_error err = {0};
    struct llm_engine *engine = llm_engine_open(path, NULL, &err);
    if (engine == NULL) fail_msg("%s", err.text);
    return engine;
}

static bool is_file(const char *directory, const char *name) {
    char *path = path_join(directory, name);
    const bool there = file_exists(path);
    free(path);
    return there;
}

// Every number of `out` is that of `in`, rounded to `dtype` (DTYPE_OTHER: as stored).
static void compare(const struct llm_engine *in, const struct llm_engine *out, enum dtype dtype) {
    assert_string_equal(out->container->format, "safetensors");
    assert_int_equal(in->config.tied_head, out->config.tied_head);
    assert_int_equal(in->config.qkv_bias, out->config.qkv_bias);
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(&in->config, (enum param)p); layer++) {
            const struct param_view *a = &in->map.views[p][layer], *b = &out->map.views[p][layer];
            const size_t n = (size_t)a->n_elements;
            assert_int_equal(b->dtype, dtype == DTYPE_OTHER ? a->dtype : dtype);
            assert_int_equal(b->n_elements, a->n_elements);
            float *wide = malloc(n * sizeof *wide);
            void *rounded = malloc(n * sizeof *wide);
            assert_true(wide != NULL && rounded != NULL);
            dtype_to_f32(wide, a->data, a->dtype, n);
            dtype_from_f32(rounded, b->dtype, wide, n);
            assert_memory_equal(rounded, b->data, b->size);
            free(wide);
            free(rounded);
        }
    }
}

static void test_every_fixture(void **state) {
    struct place *place = *state;
    static const char *const names[] = {"prefix",     "plain", "shards",  "stored", "headonly",
                                        "padded",     "f16",   "bf16",    "openai", "untied",
                                        "untiedflag", "inner", "bylayer", "distil", "noqkvbias"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[512];
        snprintf(path, sizeof path, MODELS "%s", names[i]);
        struct llm_engine *in = open_model(path);
        for (int dtype = -1; dtype <= LLM_BF16; dtype++) {
            struct llm_convert_options options = options_new(place, dtype);
            options.overwrite = true;
            options.shard_size = dtype == LLM_F32 ? 20000 : 0;
            struct llm_error err = {0};
            if (!llm_convert(path, place->out, &options, &err)) fail_msg("%s: %s", names[i], err.text);
            assert_string_equal(place->notices, "");
            assert_int_equal(is_file(place->out, "model.safetensors.index.json"), dtype == LLM_F32);
            assert_int_equal(is_file(place->out, "model.safetensors"), dtype != LLM_F32);
            struct llm_engine *out = open_model(place->out);
            compare(in, out, dtype < 0 ? DTYPE_OTHER : (enum dtype)dtype);
            assert_int_equal(out->weights.bytes_owned > 0, out->dtype != DTYPE_F32);
            assert_memory_equal(&in->config.n_layer, &out->config.n_layer, 6 * sizeof(int));
            assert_int_equal(in->config.activation, out->config.activation);
            assert_true(in->config.layer_norm_epsilon == out->config.layer_norm_epsilon);
            assert_int_equal(in->config.scale_attn_weights, out->config.scale_attn_weights);
            assert_int_equal(in->config.scale_attn_by_layer, out->config.scale_attn_by_layer);
            assert_int_equal(in->config.eos, out->config.eos);
            llm_engine_free(out);
        }
        llm_engine_free(in);
    }
}

static void test_vocabulary(void **state) {
    struct place *place = *state;
    struct llm_error err = {0};
    assert_true(llm_convert(MODELS "text/model.safetensors", place->out, NULL, &err));
    struct llm_engine *in = open_model(MODELS "text"), *out = open_model(place->out);
    const struct llm_tokenizer *a = llm_engine_tokenizer(in), *b = llm_engine_tokenizer(out);
    assert_non_null(b);
    assert_int_equal(llm_tokenizer_vocab_size(a), llm_tokenizer_vocab_size(b));
    assert_int_equal(llm_tokenizer_eot(b), 299);
    static const char text[] = "the cat sat on the mat; and that was that. \xc3\xa9\xff\n";
    int32_t *ids_a = NULL, *ids_b = NULL;
    size_t n_a = 0, n_b = 0;
    assert_true(llm_tokenizer_encode(a, text, sizeof text - 1, false, &ids_a, &n_a, &err));
    assert_true(llm_tokenizer_encode(b, text, sizeof text - 1, false, &ids_b, &n_b, &err));
    assert_int_equal(n_a, n_b);
    assert_memory_equal(ids_a, ids_b, n_a * sizeof *ids_a);
    llm_free(ids_a);
    llm_free(ids_b);
    llm_engine_free(in);
    llm_engine_free(out);
}

// A model whose tensors are all zero but for a few: NaN, infinity, and numbers that F16 cannot hold.
static void write_extreme(const char *directory) {
    static const float extremes[] = {65519.0F, 65520.0F, -1e30F, NAN, -INFINITY, 3.4e38F};
    const struct config config = {.n_layer = 1,
                                  .n_head = 1,
                                  .n_embd = 2,
                                  .n_inner = 8,
                                  .n_ctx = 2,
                                  .vocab_size = 5,
                                  .activation = ACTIVATION_RELU,
                                  .layer_norm_epsilon = 1e-5F,
                                  .scale_attn_weights = true,
                                  .qkv_bias = true,
                                  .tied_head = true,
                                  .eos = -1};
    struct llm_error err = {0};
    char *text = config_json(&config, DTYPE_F32);
    char *path = path_join(directory, "config.json");
    assert_true(file_write(path, text, strlen(text), &err));
    free(path);
    free(text);
    struct safetensors_writer *writer = safetensors_writer_new(directory, 0, &err);
    char name[64];
    for (int pass = 0; pass < 2; pass++) {
        for (int p = 0; p < PARAM_HEAD; p++) {
            int rows, cols;
            param_shape(&config, (enum param)p, &rows, &cols);
            const int64_t shape[] = {rows, cols};
            float data[64] = {0};
            if (p == PARAM_WTE) memcpy(data, extremes, sizeof extremes);
            assert_true(dialect_tensor_name(&dialect_hf, (enum param)p, 0, name, sizeof name));
            const bool matrix = params[p].is_matrix;
            const bool ok = pass == 0 ? safetensors_writer_declare(writer, name, DTYPE_F32, matrix ? 2 : 1,
                                                                   matrix ? shape : shape + 1, &err)
                                      : safetensors_writer_data(writer, data, 4 * (size_t)rows * (size_t)cols, &err);
            assert_true(ok);
        }
    }
    assert_true(safetensors_writer_finish(writer, &err));
}

static void test_overflow_is_said(void **state) {
    struct place *place = *state;
    char source[128];
    snprintf(source, sizeof source, "%s/extreme", place->directory);
    assert_int_equal(mkdir(source, 0777), 0);
    write_extreme(source);
    struct llm_engine *engine = open_model(source);
    assert_int_equal(llm_engine_check(engine), 2);
    llm_engine_free(engine);
    static const struct {
        int dtype;
        const char *notices;
    } cases[] = {
        {-1, "2 weights of the source are NaN or infinite\n"},
        {LLM_F32, "2 weights of the source are NaN or infinite\n"},
        {LLM_F16, "2 weights of the source are NaN or infinite\n"
                  "3 weights are too large for F16 and became infinite; BF16 has their range\n"},
        {LLM_BF16, "2 weights of the source are NaN or infinite\n"
                   "1 weight is too large for BF16 and became infinite\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct llm_convert_options options = options_new(place, cases[i].dtype);
        options.overwrite = true;
        assert_true(llm_convert(source, place->out, &options, NULL));
        assert_string_equal(place->notices, cases[i].notices);
    }
}

static void expect_refusal(const char *source, const char *destination, bool overwrite, const char *sentence) {
    struct llm_convert_options options;
    llm_convert_options_init(&options);
    options.overwrite = overwrite;
    struct llm_error err = {0};
    assert_false(llm_convert(source, destination, &options, &err));
    assert_string_equal(err.text, sentence);
}

static void test_places(void **state) {
    struct place *place = *state;
    struct llm_error err = {0};
    assert_true(llm_convert(MODELS "prefix", place->out, NULL, &err));
    char sentence[512], inside[160];

    snprintf(sentence, sizeof sentence, "%s: is there already; name another place, or allow it to be replaced",
             place->out);
    expect_refusal(MODELS "prefix", place->out, false, sentence);
    snprintf(sentence, sizeof sentence, "%s: is the source itself; another place was expected", place->out);
    expect_refusal(place->out, place->out, true, sentence);
    snprintf(inside, sizeof inside, "%s/inside/", place->out);
    snprintf(sentence, sizeof sentence, "%s: lies in the source, %s; another place was expected", inside, place->out);
    expect_refusal(place->out, inside, true, sentence);
    snprintf(sentence, sizeof sentence, "%s: holds the source, %s; another place was expected", place->directory,
             place->out);
    expect_refusal(place->out, place->directory, true, sentence);
    snprintf(inside, sizeof inside, "%s/model.safetensors", place->out);
    snprintf(sentence, sizeof sentence, "%s: holds the source, %s; another place was expected", place->out, inside);
    expect_refusal(inside, place->out, true, sentence);

    // Only a model is replaced: not somebody's home, not a file.
    snprintf(sentence, sizeof sentence, "%s: is there and holds no model, so it is not replaced", place->directory);
    expect_refusal(MODELS "prefix", place->directory, true, sentence);
    snprintf(inside, sizeof inside, "%s/config.json", place->out);
    snprintf(sentence, sizeof sentence, "%s: is not a directory, so it is not replaced by one", inside);
    expect_refusal(MODELS "prefix", inside, true, sentence);
    snprintf(inside, sizeof inside, "%s/missing/out", place->directory);
    snprintf(sentence, sizeof sentence, "%s: the folder %s/missing does not exist; create it first", inside,
             place->directory);
    expect_refusal(MODELS "prefix", inside, false, sentence);

    struct llm_convert_options options = options_new(place, 7);
    assert_false(llm_convert(MODELS "prefix", place->out, &options, &err));
    assert_string_equal(err.text, "dtype is 7; LLM_F32, LLM_F16, LLM_BF16 or -1 was expected");
}

static bool cancel_late(void *user, const struct llm_progress *progress) {
    (void)user;
    return progress->done < progress->total;
}

// Whatever stops a conversion: the old model is whole, and nothing else is there.
static void expect_untouched(const struct place *place) {
    struct llm_engine *engine = open_model(place->out);
    assert_int_equal(engine->config.n_layer, 2);
    llm_engine_free(engine);
    char command[256];
    snprintf(command, sizeof command, "test $(ls -A %s | wc -l) -eq 1", place->directory);
    assert_int_equal(system(command), 0);
}

static void test_cancelled(void **state) {
    struct place *place = *state;
    struct llm_error err = {0};
    assert_true(llm_convert(MODELS "prefix", place->out, NULL, &err));
    struct llm_convert_options options = options_new(place, LLM_F16);
    options.overwrite = true;
    options.callbacks.progress = cancel_late;
    assert_false(llm_convert(MODELS "distil", place->out, &options, &err));
    assert_int_equal(err.code, LLM_ERROR_CANCELLED);
    expect_untouched(place);
}

static void test_full_disk(void **state) {
    struct place *place = *state;
    struct llm_error err = {0};
    assert_true(llm_convert(MODELS "prefix", place->out, NULL, &err));
    // RLIMIT_FSIZE stands in for a disk that fills up half-way.
    struct rlimit old, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    signal(SIGXFSZ, SIG_IGN);
    static const rlim_t sizes[] = {0, 100, 4096, 50000, 150000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct llm_convert_options options = options_new(place, -1);
        options.overwrite = true;
        limit.rlim_cur = sizes[i];
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        err = (struct llm_error){0};
        const bool ok = llm_convert(MODELS "distil", place->out, &options, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_false(ok);
        char sentence[256];
        snprintf(sentence, sizeof sentence, "%s/model.safetensors: cannot write: File too large", place->out);
        assert_string_equal(err.text, sentence);
        expect_untouched(place);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_fixture, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_vocabulary, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_overflow_is_said, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_places, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_cancelled, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
