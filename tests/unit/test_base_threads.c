// test_base_threads.c: MY_LLM_THREADS, and that affinity is respected. What a cgroup allows depends on
// where the test runs, so it is only bounded from above.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdlib.h>

#include "base/threads.h"

static void the_environment_wins_if_it_is_a_number(void **state) {
    (void)state;
    unsetenv("MY_LLM_THREADS");
    const int otherwise = threads_available();
    assert_true(otherwise >= 1);
    static const struct {
        const char *text;
        int n; // 0: not taken
    } cases[] = {{"1", 1},  {"7", 7},   {"1024", 1024}, {"1025", 0}, {"0", 0},
                 {"-2", 0}, {"two", 0}, {"3x", 0},      {"", 0},     {"99999999999999999999", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("MY_LLM_THREADS", cases[i].text, 1);
        assert_int_equal(threads_available(), cases[i].n != 0 ? cases[i].n : otherwise);
    }
    unsetenv("MY_LLM_THREADS");
}

static void affinity_is_respected(void **state) {
    (void)state;
    unsetenv("MY_LLM_THREADS");
    cpu_set_t before;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_true(threads_available() <= CPU_COUNT(&before));
    int first = 0;
    while (!CPU_ISSET(first, &before)) first++;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(threads_available(), 1);
    sched_setaffinity(0, sizeof before, &before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_wins_if_it_is_a_number),
        cmocka_unit_test(affinity_is_respected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
