// test_train_optimizer.c: AdamW in two groups and clipping, ten steps against PyTorch (tools/make_train_fixtures.py).
#include "train_support.h"

#include <math.h>
#include <stdio.h>

#include "base/file.h"

// The next number of the fixture.
static float next_number(char **at) {
    char *end = NULL;
    const float number = strtof(*at, &end);
    assert_ptr_not_equal(end, *at);
    *at = end;
    return number;
}

static void assert_near(float is, float expected, float relative, const char *what, int step) {
    if (!(fabsf(is - expected) <= relative * fmaxf(1e-3F, fabsf(expected)))) {
        fail_msg("%s of step %d is %.9g, %.9g was expected", what, step, (double)is, (double)expected);
    }
}

static void ten_steps_are_pytorchs(void **state) {
    (void)state;
    enum {
        N = SMALL_MATRIX + SMALL_VECTOR
    };
    char *text = NULL;
    size_t size = 0;
    struct llm_error err = {0};
    assert_true(file_read(MY_LLM_SOURCE_DIR "/tests/fixtures/optimizer/steps.txt", 1 << 20, &text, &size, &err));
    char *at = text;
    struct small_optimizer small;
    small_optimizer_init(&small);
    for (int i = 0; i < N; i++) small.numbers[0][i] = next_number(&at);
    for (int step = 0; step < 10; step++) {
        const float lr = next_number(&at);
        const float norm = next_number(&at);
        for (int i = 0; i < N; i++) small.numbers[1][i] = next_number(&at);
        const double is = optimizer_norm(&small.optimizer);
        assert_near((float)is, norm, 1e-6F, "norm", step);
        optimizer_step(&small.optimizer, step + 1, (double)lr, clip_coefficient(1, is));
        for (int i = 0; i < N; i++) assert_near(small.numbers[0][i], next_number(&at), 1e-6F, "weight", step);
        for (int i = 0; i < N; i++) assert_true(small.numbers[1][i] == 0);
    }
    small_optimizer_release(&small);
    free(text);
}

static void clipping(void **state) {
    (void)state;
    assert_true(clip_coefficient(1, 0.5) == 1);
    assert_true(clip_coefficient(1, 0) == 1);
    assert_true(clip_coefficient(0, 1e9) == 1); // not clipped
    assert_true(clip_coefficient(1, 4) == 1 / (4.0F + 1e-6F));
    assert_true(clip_coefficient(1, 1) < 1); // as PyTorch: by the 1e-6
}

static void a_gradient_that_is_not_finite_shows_in_the_norm(void **state) {
    (void)state;
    struct small_optimizer small;
    small_optimizer_init(&small);
    small.numbers[1][3] = 1;
    small.numbers[1][SMALL_MATRIX + 1] = 1;
    assert_float_equal(optimizer_norm(&small.optimizer), sqrt(2), 1e-12);
    small.numbers[1][SMALL_MATRIX + 4] = INFINITY;
    assert_false(isfinite(optimizer_norm(&small.optimizer)));
    small.numbers[1][SMALL_MATRIX + 4] = NAN;
    assert_false(isfinite(optimizer_norm(&small.optimizer)));
    small_optimizer_release(&small);
}

static void clear_forgets_moments_not_weights(void **state) {
    (void)state;
    struct small_optimizer small;
    small_optimizer_init(&small);
    for (int i = 0; i < SMALL_PARTS; i++) small.numbers[i][7] = 3;
    optimizer_clear(&small.optimizer);
    assert_true(small.numbers[0][7] == 3);
    for (int i = 1; i < SMALL_PARTS; i++) assert_true(small.numbers[i][7] == 0);
    assert_int_equal(optimizer_size(&small.optimizer), SMALL_MATRIX + SMALL_VECTOR);
    small_optimizer_release(&small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_steps_are_pytorchs),
        cmocka_unit_test(clipping),
        cmocka_unit_test(a_gradient_that_is_not_finite_shows_in_the_norm),
        cmocka_unit_test(clear_forgets_moments_not_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
