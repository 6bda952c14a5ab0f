// test_init.c: initial weights bit for bit as PyTorch draws them; fingerprints by tools/make_training_fixtures.py.
#include <inttypes.h>

#include "pass_fixture.h"

struct fingerprint {
    int64_t n;
    uint64_t sum, hash;
};

// Count, sum and FNV-1a (Fowler, Noll, Vo) of the bits, as 32-bit words.
static struct fingerprint fingerprint(const float *numbers, int64_t n) {
    struct fingerprint result = {.n = n, .hash = UINT64_C(0xcbf29ce484222325)};
    for (int64_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, &numbers[i], sizeof word);
        result.sum += word;
        result.hash = (result.hash ^ word) * UINT64_C(0x100000001b3);
    }
    return result;
}

static void init_as_the_book(const struct config *config, struct param_block *weights, struct random *random) {
    struct llm_error err = {0};
    check(init_book(config, weights, random, &err), &err);
}

// Every line of initial.txt that begins with `name`: they are all parameters that PyTorch draws.
static void compare(const char *name, const struct config *config,
                    void (*init)(const struct config *, struct param_block *, struct random *), int n_expected) {
    struct student student = student_new(config, "ref", 1);
    struct random random;
    random_init(&random, 123);
    memset(student.weights.data, 0xff, (size_t)student.weights.size * sizeof(float)); // NaN
    init(config, &student.weights, &random);
    FILE *file = fixture_open("training", "initial", ".txt");
    char which[32], parameter[64];
    struct fingerprint expected;
    int n_compared = 0;
    while (fscanf(file, "%31s %63s %" SCNd64 " %" SCNu64 " %" SCNx64, which, parameter, &expected.n, &expected.sum,
                  &expected.hash) == 5) {
        if (strcmp(which, name) != 0) continue;
        int layer;
        const struct dialect_row *row = dialect_match(&dialect_hf, config, parameter, &layer);
        assert_non_null(row);
        assert_int_equal(param_size(config, row->param), expected.n);
        const struct fingerprint found = fingerprint(param_block_at(&student.weights, row->param, layer), expected.n);
        if (found.sum != expected.sum || found.hash != expected.hash) fail_msg("%s: %s differs", name, parameter);
        n_compared++;
    }
    fclose(file);
    assert_int_equal(n_compared, n_expected);
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            const float *numbers = param_block_at(&student.weights, (enum param)p, layer);
            for (int64_t i = 0; i < param_size(config, (enum param)p); i++) {
                assert_true(isfinite(numbers[i]));
                if (params[p].init == INIT_ONE) assert_true(numbers[i] == 1);
            }
        }
    }
    student_free(&student);
}

static void the_books_weights(void **state) {
    (void)state;
    struct config config = book_config();
    compare("book", &config, init_as_the_book, 5 + 2 * 11);
    config.qkv_bias = true;
    compare("book-qkv-bias", &config, init_as_the_book, 5 + 2 * 12);
}

static void gpt2s_weights(void **state) {
    (void)state;
    struct config config = base_config();
    config.tied_head = false;
    compare("gpt2", &config, init_gpt2, 3 + 2 * 4);
}

// A tied head leaves everything else as it is: it is drawn last.
static void a_tied_head_is_not_drawn(void **state) {
    (void)state;
    struct config config = book_config();
    struct student untied = student_new(&config, "ref", 1);
    config.tied_head = true;
    struct student tied = student_new(&config, "ref", 1);
    struct random random;
    for (int i = 0; i < 2; i++) {
        random_init(&random, 5);
        struct student *student = i == 0 ? &tied : &untied;
        init_as_the_book(&student->engine->config, &student->weights, &random);
    }
    assert_memory_equal(tied.weights.data, untied.weights.data, (size_t)tied.weights.size * sizeof(float));
    student_free(&tied);
    student_free(&untied);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_books_weights),
        cmocka_unit_test(gpt2s_weights),
        cmocka_unit_test(a_tied_head_is_not_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
