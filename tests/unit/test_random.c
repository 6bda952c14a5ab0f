// test_random.c: every draw of base/random.h against PyTorch, NumPy and pandas, bit for bit.
//
// tests/fixtures/random/random.json (made by tools/make_random_fixtures.py) has sequences of draws from one
// generator each; a row of `draws` below knows how to make each kind. A draw that takes a word too many or
// too few spoils the draws behind it.
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/random.h"

enum type {
    F32,
    F64,
    I64,
    U8
};

// One array for all: a draw writes n elements of its type.
union values {
    float *f32;
    double *f64;
    int64_t *i64;
    uint8_t *u8;
};

static double number(const json_t *draw, const char *key) {
    const json_t *value = json_object_get(draw, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void draw_rand(struct random *random, const json_t *draw, union values to, size_t n) {
    (void)draw;
    for (size_t i = 0; i < n; i++) to.f32[i] = random_float(random);
}

static void draw_rand64(struct random *random, const json_t *draw, union values to, size_t n) {
    (void)draw;
    for (size_t i = 0; i < n; i++) to.f64[i] = random_torch_double(random);
}

static void draw_uniform(struct random *random, const json_t *draw, union values to, size_t n) {
    random_fill_uniform(random, to.f32, n, number(draw, "low"), number(draw, "high"));
}

static void draw_normal(struct random *random, const json_t *draw, union values to, size_t n) {
    random_fill_normal(random, to.f32, n, number(draw, "mean"), number(draw, "std"));
}

static void draw_linear(struct random *random, const json_t *draw, union values to, size_t n) {
    const size_t fan_in = (size_t)number(draw, "fan_in");
    const size_t fan_out = (size_t)number(draw, "fan_out");
    random_fill_linear_weight(random, to.f32, fan_in * fan_out, fan_in);
    if (!json_is_true(json_object_get(draw, "bias"))) return;
    assert_int_equal(n, fan_in * fan_out + fan_out);
    random_fill_linear_bias(random, to.f32 + fan_in * fan_out, fan_out, fan_in);
}

static void draw_randperm(struct random *random, const json_t *draw, union values to, size_t n) {
    (void)draw;
    random_torch_permutation(random, to.i64, n);
}

static void draw_loader(struct random *random, const json_t *draw, union values to, size_t n) {
    random_loader_order(random, to.i64, n, json_is_true(json_object_get(draw, "shuffle")));
}

static void draw_bernoulli(struct random *random, const json_t *draw, union values to, size_t n) {
    const size_t half = n / 2; // in two pieces: the mask must not depend on how it is cut
    random_fill_bernoulli(random, to.u8, half, number(draw, "p"));
    random_fill_bernoulli(random, to.u8 + half, n - half, number(draw, "p"));
}

static void draw_word(struct random *random, const json_t *draw, union values to, size_t n) {
    (void)draw;
    for (size_t i = 0; i < n; i++) to.i64[i] = random_u32(random) & 0x7fffffff;
}

static void draw_random_sample(struct random *random, const json_t *draw, union values to, size_t n) {
    (void)draw;
    for (size_t i = 0; i < n; i++) to.f64[i] = random_double(random);
}

static void draw_numpy_permutation(struct random *random, const json_t *draw, union values to, size_t n) {
    (void)draw;
    random_numpy_permutation(random, to.i64, n);
}

static void draw_pandas_sample(struct random *random, const json_t *draw, union values to, size_t n) {
    const size_t rows = (size_t)number(draw, "rows");
    int64_t *all = malloc(rows * sizeof *all);
    assert_non_null(all);
    random_numpy_permutation(random, all, rows);
    memcpy(to.i64, all, n * sizeof *all);
    free(all);
}

static const struct {
    const char *name;
    enum type type;
    void (*make)(struct random *random, const json_t *draw, union values to, size_t n);
} draws[] = {
    {"torch.rand", F32, draw_rand},
    {"torch.rand64", F64, draw_rand64},
    {"torch.uniform_", F32, draw_uniform},
    {"torch.normal_", F32, draw_normal},
    {"nn.Linear", F32, draw_linear},
    {"torch.randperm", I64, draw_randperm},
    {"DataLoader", I64, draw_loader},
    {"torch.bernoulli_", U8, draw_bernoulli},
    {"word", I64, draw_word},
    {"numpy.random_sample", F64, draw_random_sample},
    {"numpy.permutation", I64, draw_numpy_permutation},
    {"pandas.sample", I64, draw_pandas_sample},
};

static const size_t type_size[] = {[F32] = 4, [F64] = 8, [I64] = 8, [U8] = 1};

static uint64_t fnv(const uint8_t *bytes, size_t size) {
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash;
}

// Compares the elements that the fixture shows (integers, or floats as their bits), then the hash of all.
static void compare(const json_t *draw, enum type type, const uint8_t *made, size_t n) {
    const char *name = json_string_value(json_object_get(draw, "draw"));
    const json_t *first = json_object_get(draw, "first");
    for (size_t i = 0; i < json_array_size(first); i++) {
        uint64_t bits = 0;
        memcpy(&bits, made + i * type_size[type], type_size[type]); // little-endian, as the hash is
        char text[32];
        snprintf(text, sizeof text, "%" PRIu64, bits);
        const char *expected = json_string_value(json_array_get(first, i));
        if (strcmp(text, expected) != 0) fail_msg("%s of %zu: element %zu is %s, not %s", name, n, i, text, expected);
    }
    char text[32];
    snprintf(text, sizeof text, "%016" PRIx64, fnv(made, n * type_size[type]));
    const char *expected = json_string_value(json_object_get(draw, "hash"));
    if (strcmp(text, expected) != 0) fail_msg("%s of %zu: hash %s, not %s", name, n, text, expected);
}

static void replay(struct random *random, const json_t *draw) {
    const char *name = json_string_value(json_object_get(draw, "draw"));
    const size_t n = (size_t)number(draw, "n");
    for (size_t i = 0; i < sizeof draws / sizeof draws[0]; i++) {
        if (strcmp(draws[i].name, name) != 0) continue;
        uint8_t *made = malloc(n * type_size[draws[i].type]);
        assert_non_null(made);
        draws[i].make(random, draw, (union values){.u8 = made}, n);
        compare(draw, draws[i].type, made, n);
        free(made);
        return;
    }
    fail_msg("no draw named %s", name);
}

static void test_sequences_of_other_libraries(void **state) {
    (void)state;
    struct llm_error err = {0};
    json_t *sequences = json_parse_file(MY_LLM_SOURCE_DIR "/tests/fixtures/random/random.json", 1 << 20, &err);
    if (sequences == NULL) fail_msg("%s", err.text);
    assert_true(json_array_size(sequences) > 0);
    size_t i, j;
    json_t *sequence, *draw;
    json_array_foreach(sequences, i, sequence) {
        struct random random;
        random_init(&random, (uint64_t)json_integer_value(json_object_get(sequence, "seed")));
        const json_t *list = json_object_get(sequence, "draws");
        assert_true(json_array_size(list) > 0);
        json_array_foreach(list, j, draw) replay(&random, draw);
    }
    json_decref(sequences);
}

// The first outputs of the authors' mt19937ar.c for its init_genrand(5489).
static void test_reference_words(void **state) {
    (void)state;
    struct random random;
    random_init(&random, 5489);
    assert_int_equal(random_u32(&random), 3499211612u);
    assert_int_equal(random_u32(&random), 581869302u);
    for (int i = 2; i < 9999; i++) random_u32(&random);
    assert_int_equal(random_u32(&random), 4123659995u); // the 10,000th, as ISO C++ demands of std::mt19937
}

// A copy taken at any point, also between the two of a pair of normal numbers, goes on as the original.
static void test_copy_continues(void **state) {
    (void)state;
    struct random random;
    random_init(&random, 9);
    float a[33], b[33];
    for (int round = 0; round < 700; round++) {
        random_fill_normal(&random, a, 1 + (size_t)round % 33, 0, 1);
        struct random copy = random;
        const size_t n = 1 + (size_t)(round * 7) % 33;
        random_fill_normal(&random, a, n, 0, 1);
        random_fill_normal(&copy, b, n, 0, 1);
        assert_memory_equal(a, b, n * sizeof a[0]);
        assert_int_equal(random_u32(&random), random_u32(&copy));
    }
}

static void test_empty_draws_take_nothing(void **state) {
    (void)state;
    struct random random, untouched;
    random_init(&random, 1);
    random_init(&untouched, 1);
    random_fill_uniform(&random, NULL, 0, 0, 1);
    random_fill_normal(&random, NULL, 0, 0, 1);
    random_fill_bernoulli(&random, NULL, 0, 0.5);
    random_torch_permutation(&random, NULL, 0);
    random_numpy_permutation(&random, NULL, 0);
    assert_int_equal(random_numpy_interval(&random, 0), 0);
    assert_int_equal(random_u32(&random), random_u32(&untouched));
}

// Intervals wider than 32 bits take two words a try; values stay within and reach both halves.
static void test_wide_interval(void **state) {
    (void)state;
    struct random random;
    random_init(&random, 3);
    const uint64_t max = (UINT64_C(1) << 40) + 12345;
    bool high = false, low = false;
    for (int i = 0; i < 1000; i++) {
        const uint64_t value = random_numpy_interval(&random, max);
        assert_true(value <= max);
        high = high || value > max / 2;
        low = low || value < max / 2;
    }
    assert_true(high && low);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_words), cmocka_unit_test(test_sequences_of_other_libraries),
        cmocka_unit_test(test_copy_continues),  cmocka_unit_test(test_empty_draws_take_nothing),
        cmocka_unit_test(test_wide_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
