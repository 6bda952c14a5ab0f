// test_signals.c: a host's signals, with a handler on the stack it interrupts, harm no matrix product.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#include "base/signals.h"
#include "ops/ops.h"

enum {
    N_ROWS = 200,
    N_IN = 768,
    N_OUT = 384,
    TICKS = 200
};

static uintptr_t stack_begin, stack_end;
static volatile sig_atomic_t n_ticks, n_elsewhere;

// Where its frame lies is where the interrupted code's stack pointer pointed.
static void on_tick(int number) {
    (void)number;
    const uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    n_ticks++;
    n_elsewhere += here < stack_begin || here >= stack_end;
}

static void tick(int microseconds) {
    const struct itimerval times = {{0, microseconds}, {0, microseconds}};
    assert_int_equal(setitimer(ITIMER_REAL, &times, NULL), 0);
}

static void find_stack(void) {
    pthread_attr_t attributes;
    void *address;
    size_t size;
    assert_int_equal(pthread_getattr_np(pthread_self(), &attributes), 0);
    assert_int_equal(pthread_attr_getstack(&attributes, &address, &size), 0);
    pthread_attr_destroy(&attributes);
    stack_begin = (uintptr_t)address;
    stack_end = stack_begin + size;
}

static void multiply_under_ticks(int level, int n_threads, const float *numbers) {
    struct llm_error err = {0};
    struct ops *ops = ops_new(level, n_threads, &err);
    assert_non_null(ops);
    float *out = ops->alloc(ops, sizeof *out * N_ROWS * N_OUT), *first = ops->alloc(ops, sizeof *out * N_ROWS * N_OUT);
    assert_true(out != NULL && first != NULL);
    for (int transposed = 0; transposed < 2; transposed++) {
        const struct linear linear = {
            .weight = {numbers, DTYPE_F32, transposed ? N_OUT : N_IN, transposed ? N_IN : N_OUT},
            .transposed = transposed,
        };
        assert_true(ops->linear(ops, first, numbers, &linear, NULL, N_ROWS, &err));
        n_ticks = 0;
        while (n_ticks < TICKS) {
            assert_true(ops->linear(ops, out, numbers, &linear, NULL, N_ROWS, &err));
            assert_memory_equal(out, first, sizeof *out * N_ROWS * N_OUT);
        }
    }
    ops_free(ops);
}

static void signals_harm_no_product(void **state) {
    (void)state;
    find_stack();
    float *numbers = malloc(sizeof *numbers * N_IN * N_OUT);
    assert_non_null(numbers);
    for (int i = 0; i < N_IN * N_OUT; i++) numbers[i] = 0.01F * (float)(i % 97) - 0.5F;
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART}, before;
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    tick(500);
    for (int level = 0; level < OPS_LEVELS; level++) {
        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            if (ops_level_available((enum ops_level)level)) multiply_under_ticks(level, n_threads, numbers);
        }
    }
    tick(0);
    sigaction(SIGALRM, &before, NULL);
    free(numbers);
    assert_int_equal(n_elsewhere, 0);
}

static void what_is_held_comes_afterwards(void **state) {
    (void)state;
    find_stack();
    struct sigaction action = {.sa_handler = on_tick}, before;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    sigset_t mask;
    n_ticks = 0;
    signals_hold(&mask);
    raise(SIGUSR1);
    assert_int_equal(n_ticks, 0);
    signals_release(&mask);
    assert_int_equal(n_ticks, 1);
    sigaction(SIGUSR1, &before, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_harm_no_product),
        cmocka_unit_test(what_is_held_comes_afterwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
