// test_base_threads.c: MY_LLM_THREADS, and that affinity is respected. What a cgroup allows depends on
// where the test runs, so it is only bounded from above.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/threads.h"

static int chosen(int wanted) {
    int n = 0;
    struct llm_error err = {0};
    assert_true(threads_choose(wanted, &n, &err));
    return n;
}

static void the_environment_wins_over_the_cores(void **state) {
    (void)state;
    unsetenv("MY_LLM_THREADS");
    const int otherwise = chosen(0);
    assert_true(otherwise >= 1);
    setenv("MY_LLM_THREADS", "", 1); // as unset
    assert_int_equal(chosen(0), otherwise);
    setenv("MY_LLM_THREADS", "7", 1);
    assert_int_equal(chosen(0), 7);
    assert_int_equal(chosen(3), 3); // what is asked for wins over both
    setenv("MY_LLM_THREADS", "1024", 1);
    assert_int_equal(chosen(0), 1024);
    unsetenv("MY_LLM_THREADS");
}

static void what_is_no_number_is_refused(void **state) {
    (void)state;
    static const char *const cases[] = {"1025", "0", "-2", "two", "3x", " ", "99999999999999999999"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("MY_LLM_THREADS", cases[i], 1);
        int n = 0;
        char sentence[128];
        struct llm_error err = {0};
        assert_false(threads_choose(0, &n, &err));
        snprintf(sentence, sizeof sentence, "MY_LLM_THREADS is '%s'; a number from 1 to 1024 was expected", cases[i]);
        assert_string_equal(err.text, sentence);
        assert_int_equal(chosen(5), 5);
    }
    unsetenv("MY_LLM_THREADS");
}

static void affinity_is_respected(void **state) {
    (void)state;
    unsetenv("MY_LLM_THREADS");
    cpu_set_t before;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_true(chosen(0) <= CPU_COUNT(&before));
    int first = 0;
    while (!CPU_ISSET(first, &before)) first++;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(chosen(0), 1);
    sched_setaffinity(0, sizeof before, &before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_wins_over_the_cores),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(affinity_is_respected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
