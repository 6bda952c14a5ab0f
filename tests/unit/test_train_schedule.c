// test_train_schedule.c: learning rates against those of the book's appendix D, computed by hand in double precision.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "train/schedule.h"
#include "train/settings.h"

static struct schedule schedule_of(const struct llm_train_options *options, int64_t n_steps) {
    struct schedule schedule;
    schedule_init(&schedule, options, n_steps);
    return schedule;
}

static void assert_rate(const struct schedule *schedule, int64_t step, double expected) {
    const double rate = schedule_rate(schedule, step);
    if (!(fabs(rate - expected) <= 1e-15 * fabs(expected))) {
        fail_msg("step %lld: %.17g, %.17g was expected", (long long)step, rate, expected);
    }
}

// initial_lr 1e-5, peak 1e-3, min 1e-5, 15 epochs of 9 steps, int(0.2 * 135) = 27 steps of warm-up: what the book's
// appendix_d.train_model tracked (Python, printed with 17 digits).
static void appendix_d(void **state) {
    (void)state;
    struct llm_train_options options;
    train_options_init(&options);
    options.lr = 1e-3;
    options.initial_lr = options.min_lr = 1e-5;
    options.warmup = 0.2;
    const struct schedule schedule = schedule_of(&options, 135);
    assert_int_equal(schedule.warmup, 27);
    assert_rate(&schedule, 0, 1e-5);
    assert_rate(&schedule, 1, 4.6666666666666665e-05);
    assert_rate(&schedule, 26, 0.00096333333333333329);
    assert_rate(&schedule, 27, 1e-3);
    assert_rate(&schedule, 81, 0.00050500000000000002);
    assert_rate(&schedule, 134, 1.0209409709310705e-05);
}

static void constant_after_warmup(void **state) {
    (void)state;
    struct llm_train_options options;
    train_options_init(&options);
    options.lr = 4e-4;
    options.schedule = LLM_SCHEDULE_CONSTANT;
    options.warmup = 4;
    const struct schedule schedule = schedule_of(&options, 10);
    assert_rate(&schedule, 0, 1e-4); // lr / 4: no step is lost
    assert_rate(&schedule, 1, 1e-4 + 3e-4 / 4);
    for (int64_t step = 4; step < 10; step++) assert_rate(&schedule, step, 4e-4);
}

// The rates are transformers' get_wsd_schedule(num_stable_steps=6, num_decay_steps=4, min_lr_ratio=0.1,
// decay_type="linear").
static void constant_with_a_cooldown(void **state) {
    (void)state;
    struct llm_train_options options;
    train_options_init(&options);
    options.lr = 4e-4;
    options.schedule = LLM_SCHEDULE_CONSTANT;
    options.warmup = 0;
    options.cooldown = 4;
    struct schedule schedule = schedule_of(&options, 10);
    for (int64_t step = 0; step < 7; step++) assert_rate(&schedule, step, 4e-4);
    assert_rate(&schedule, 7, 0.00031);
    assert_rate(&schedule, 8, 0.00022);
    assert_rate(&schedule, 9, 0.00013);

    options.cooldown = 0.3;
    assert_int_equal(schedule_of(&options, 10).cooldown, 3);
    options.warmup = 2;
    options.cooldown = 50; // more than there are: all that warm-up leaves
    schedule = schedule_of(&options, 10);
    assert_int_equal(schedule.cooldown, 8);
    assert_rate(&schedule, 2, 4e-4);
    assert_true(schedule_rate(&schedule, 3) < 4e-4);
}

static void the_same_so_far(void **state) {
    (void)state;
    struct llm_train_options options;
    train_options_init(&options);
    options.schedule = LLM_SCHEDULE_CONSTANT;
    options.warmup = 5;
    const struct schedule plain = schedule_of(&options, 100);
    options.cooldown = 10;
    const struct schedule shorter = schedule_of(&options, 50), longer = schedule_of(&options, 1000);
    assert_true(schedule_same(&plain, &shorter, 41)); // the cooldown's first step is still at the peak
    assert_false(schedule_same(&plain, &shorter, 42));
    assert_true(schedule_same(&plain, &longer, 100));
    assert_false(schedule_same(&plain, &longer, 101));
    options.warmup = 6;
    const struct schedule warmer = schedule_of(&options, 1000);
    assert_false(schedule_same(&plain, &warmer, 1));
    options.warmup = 5;
    options.schedule = LLM_SCHEDULE_COSINE;
    const struct schedule cosine = schedule_of(&options, 100), longer_cosine = schedule_of(&options, 101);
    assert_true(schedule_same(&cosine, &longer_cosine, 6));
    assert_false(schedule_same(&cosine, &longer_cosine, 7));
}

static void a_tenth_is_where_the_cosine_ends(void **state) {
    (void)state;
    struct llm_train_options options;
    train_options_init(&options);
    options.lr = 1;
    options.warmup = 0;
    const struct schedule schedule = schedule_of(&options, 1000000);
    assert_rate(&schedule, 0, 1);
    assert_true(schedule_rate(&schedule, 999999) > 0.1 && schedule_rate(&schedule, 999999) < 0.1000001);
    for (int64_t step = 1; step < 1000000; step += 997) {
        assert_true(schedule_rate(&schedule, step) < schedule_rate(&schedule, step - 1));
    }
}

// More steps of warm-up than there are: it never ends.
static void warmup_longer_than_the_run(void **state) {
    (void)state;
    struct llm_train_options options;
    train_options_init(&options);
    options.lr = 1;
    options.warmup = 50;
    const struct schedule schedule = schedule_of(&options, 10);
    assert_int_equal(schedule.warmup, 10);
    assert_rate(&schedule, 0, 0.1);
    assert_true(schedule_rate(&schedule, 9) < 1);
}

static void everything_is_warmup_of_one_step(void **state) {
    (void)state;
    struct llm_train_options options;
    train_options_init(&options);
    const struct schedule schedule = schedule_of(&options, 1); // 5 % of one step are none
    assert_int_equal(schedule.warmup, 0);
    assert_rate(&schedule, 0, options.lr);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appendix_d),
        cmocka_unit_test(constant_with_a_cooldown),
        cmocka_unit_test(the_same_so_far),
        cmocka_unit_test(constant_after_warmup),
        cmocka_unit_test(a_tenth_is_where_the_cosine_ends),
        cmocka_unit_test(warmup_longer_than_the_run),
        cmocka_unit_test(everything_is_warmup_of_one_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
