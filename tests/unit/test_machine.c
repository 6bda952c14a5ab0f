// test_machine.c: the machine's rates are numbers, and the kernels that measure do what is counted. No time is
// asserted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "my_llm.h"
#include "ops/cpu/cpu.h"

static void assert_rate(const struct llm_machine_rate *rate) {
    assert_true(isfinite(rate->one) && rate->one > 0);
    assert_true(isfinite(rate->all) && rate->all > 0);
}

static void rates_are_positive_and_finite(void **state) {
    (void)state;
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct llm_machine_options options;
        llm_machine_options_init(&options);
        options.n_threads = n_threads;
        options.seconds = 0;
        options.read_bytes = 1000000; // no multiple of anything
        struct llm_machine machine;
        struct llm_error err = {0};
        if (!llm_machine_measure(&options, &machine, &err)) fail_msg("%s", err.text);
        assert_int_equal(machine.n_threads, n_threads);
        assert_rate(&machine.read);
        assert_rate(&machine.sgemm);
        assert_true(machine.n_levels >= 1);
        assert_string_equal(machine.levels[0].isa, "baseline");
        for (int i = 0; i < machine.n_levels; i++) assert_rate(&machine.levels[i].multiply_add);
        if (n_threads == 1) assert_true(machine.read.one == machine.read.all);
    }
}

static void reading_alone(void **state) {
    (void)state;
    const struct llm_machine_options options = {.n_threads = 2, .seconds = 0, .read_bytes = 1 << 20, .read_only = true};
    struct llm_machine machine;
    struct llm_error err = {0};
    if (!llm_machine_measure(&options, &machine, &err)) fail_msg("%s", err.text);
    assert_rate(&machine.read);
    assert_true(machine.sgemm.all == 0 && machine.n_levels == 0);
}

static void too_few_bytes_are_refused(void **state) {
    (void)state;
    const int64_t few[] = {8191, 0, -1, INT64_MIN};
    for (size_t i = 0; i < sizeof few / sizeof few[0]; i++) {
        struct llm_machine machine;
        struct llm_error err = {0};
        const struct llm_machine_options options = {.n_threads = 2, .seconds = 0, .read_bytes = few[i]};
        assert_false(llm_machine_measure(&options, &machine, &err));
        assert_int_equal(err.code, LLM_ERROR_ARGUMENT);
    }
}

// The bits of all numbers, combined lane by lane: every number must count, whatever the streams.
static void reading_reads_every_number(void **state) {
    (void)state;
    enum {
        N = 2 * READ_FLOATS
    };
    float *numbers = aligned_alloc(64, N * sizeof *numbers);
    assert_non_null(numbers);
    for (int level = OPS_BASELINE; level < OPS_LEVELS; level++) {
        if (!ops_level_available((enum ops_level)level)) continue;
        const struct kernels *kernels = cpu_kernels((enum ops_level)level);
        for (int n_streams = 1; n_streams <= 8; n_streams *= 2) {
            memset(numbers, 0, N * sizeof *numbers);
            assert_true(kernels->read(numbers, N, n_streams) == 0.0F);
            for (int i = 0; i < N; i++) {
                const int32_t bits = 3;
                memcpy(&numbers[i], &bits, sizeof bits);
                assert_true(kernels->read(numbers, N, n_streams) == 3.0F);
                numbers[i] = 0;
            }
        }
    }
    free(numbers);
}

static void multiply_adds_are_counted(void **state) {
    (void)state;
    for (int level = OPS_BASELINE; level < OPS_LEVELS; level++) {
        if (!ops_level_available((enum ops_level)level)) continue;
        const struct kernels *kernels = cpu_kernels((enum ops_level)level);
        float sum = 0;
        const int64_t each = kernels->multiply_add(1, 0.5F, &sum);
        // Chain i of 12 begins at i and becomes (i + 1) / 2: 39 over all of them, in each lane.
        assert_true(each > 0 && each % 12 == 0);
        assert_true(sum == 39.0F * (float)(each / 12));
        assert_int_equal(kernels->multiply_add(100, 0.5F, &sum), 100 * each);
        assert_true(sum == (float)each); // all have become 1
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_positive_and_finite), cmocka_unit_test(reading_alone),
        cmocka_unit_test(too_few_bytes_are_refused),     cmocka_unit_test(reading_reads_every_number),
        cmocka_unit_test(multiply_adds_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
