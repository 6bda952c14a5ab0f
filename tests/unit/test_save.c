// test_save.c: a model in memory, saved and opened again; the qkv bias that the book's model does not have.
#include <sys/stat.h>

#include "base/file.h"
#include "model/save.h"
#include "pass_fixture.h"

struct place {
    char directory[64], out[128];
};

static int setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    snprintf(place->directory, sizeof place->directory, "/tmp/my-llm-save-XXXXXX");
    if (mkdtemp(place->directory) == NULL) return -1;
    snprintf(place->out, sizeof place->out, "%s/out", place->directory);
    *state = place;
    return 0;
}

static int teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->directory);
    free(place);
    return 0;
}

static struct student drawn_student(const struct config *config) {
    struct student student = student_new(config, "ref", 1);
    struct random random;
    struct llm_error err = {0};
    random_init(&random, 123);
    check(init_book(config, &student.weights, &random, &err), &err);
    return student;
}

static struct llm_engine *open_model(const char *path) {
    struct llm_error err = {0};
    struct llm_engine *engine = llm_engine_open(path, NULL, &err);
    if (engine == NULL) fail_msg("%s", err.text);
    return engine;
}

static void compare(const struct student *student, const struct llm_engine *read, enum dtype dtype) {
    const struct config *config = &student->engine->config;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            const struct param_view *view = &read->map.views[p][layer];
            const size_t n = (size_t)param_size(config, (enum param)p);
            uint8_t expected[4 * 18 * 72];
            assert_int_equal(view->dtype, dtype);
            assert_int_equal(view->size, dtype_bytes(dtype, n));
            dtype_from_f32(expected, dtype, param_block_at(&student->weights, (enum param)p, layer), n);
            assert_memory_equal(view->data, expected, view->size);
        }
    }
}

static void what_is_saved_is_read_again(void **state) {
    const struct place *place = *state;
    for (int choice = 0; choice < 4; choice++) {
        struct config config = book_config();
        config.qkv_bias = (choice & 1) != 0;
        config.tied_head = (choice & 2) != 0;
        struct student student = drawn_student(&config);
        for (int dtype = DTYPE_F32; dtype <= DTYPE_BF16; dtype++) {
            struct llm_error err = {0};
            check(model_save(student.engine, place->out, (enum dtype)dtype, true, &err), &err);
            struct llm_engine *read = open_model(place->out);
            assert_int_equal(read->config.qkv_bias, config.qkv_bias);
            assert_int_equal(read->config.tied_head, config.tied_head);
            compare(&student, read, (enum dtype)dtype);
            // transformers wants the bias in any case.
            const struct tensor_view *bias = container_find(read->container, "transformer.h.1.attn.c_attn.bias");
            assert_non_null(bias);
            assert_int_equal(bias->n_elements, 3 * 18);
            static const uint8_t zeros[4 * 3 * 18];
            assert_int_equal(memcmp(bias->data, zeros, bias->size) == 0, !config.qkv_bias);
            llm_engine_free(read);
        }
        student_free(&student);
    }
}

// The book's names: matrices turned, query, key and value apart, and put together again.
static void what_is_saved_for_the_book_is_read_again(void **state) {
    const struct place *place = *state;
    const struct config config = book_config();
    struct student student = drawn_student(&config);
    struct llm_convert_options options;
    llm_convert_options_init(&options);
    struct save_counts counts = {0};
    struct llm_error err = {0};
    char path[160];
    snprintf(path, sizeof path, "%s/model.pth", place->directory);
    check(save_torch(student.engine, path, &options, &counts, &err), &err);
    options.n_head = config.n_head; // which such a file does not say
    check(llm_convert(path, place->out, &options, &err), &err);
    struct llm_engine *read = open_model(place->out);
    compare(&student, read, DTYPE_F32);
    llm_engine_free(read);
    student_free(&student);
}

// What the engine's file says no longer counts once training has the weights.
static void saving_writes_the_weights_as_they_are_now(void **state) {
    const struct place *place = *state;
    struct llm_error err = {0};
    struct llm_engine *engine = fixture_engine("text", "ref", 1);
    struct param_block weights;
    check(engine_own_weights(engine, &weights, &err), &err);
    assert_int_equal(llm_engine_check(engine), 0);
    param_block_at(&weights, PARAM_LN_F_BIAS, 0)[3] = 42;
    param_block_at(&weights, PARAM_WTE, 0)[5] = NAN;
    engine->n_nonfinite = -1;
    assert_int_equal(llm_engine_check(engine), 1);
    check(model_save(engine, place->out, DTYPE_F32, false, &err), &err);
    struct llm_engine *read = open_model(place->out);
    float number;
    memcpy(&number, read->map.views[PARAM_LN_F_BIAS][0].data + 3 * sizeof number, sizeof number);
    assert_true(number == 42);
    assert_int_equal(llm_engine_check(read), 1);
    assert_non_null(llm_engine_tokenizer(read)); // the vocabulary came along
    llm_engine_free(read);
    param_block_release(&weights, engine->ops);
    llm_engine_free(engine);
}

static void what_is_there_is_not_lost(void **state) {
    const struct place *place = *state;
    const struct config config = book_config();
    struct student student = drawn_student(&config);
    struct llm_error err = {0};
    char sentence[512];
    check(model_save(student.engine, place->out, DTYPE_F32, false, &err), &err);
    assert_false(model_save(student.engine, place->out, DTYPE_F32, false, &err));
    snprintf(sentence, sizeof sentence, "%s: is there already; name another place, or allow it to be replaced",
             place->out);
    assert_string_equal(err.text, sentence);
    err = (struct llm_error){0};
    check(model_save(student.engine, place->out, DTYPE_BF16, true, &err), &err);
    student_free(&student);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_saved_is_read_again, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_saved_for_the_book_is_read_again, setup, teardown),
        cmocka_unit_test_setup_teardown(saving_writes_the_weights_as_they_are_now, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_there_is_not_lost, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
