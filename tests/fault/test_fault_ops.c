// test_fault_ops.c: tables of operations, and the products of training, when memory fails.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault.h"
#include "ops/ops.h"

enum {
    N = 20,
    N_EMBD = 24,
    VOCABULARY = 500
};

static bool backward_body(void *user, struct llm_error *err) {
    const enum ops_level *level = user;
    struct ops *ops = ops_new((int)*level, 1, err); // one thread: calls come in the same order every time
    if (ops == NULL) return false;
    static float x[N * N_EMBD], dx[N * N_EMBD], weight[VOCABULARY * N_EMBD], dweight[VOCABULARY * N_EMBD];
    static float loss[N], scales[N];
    static const int32_t targets[N];
    const struct matrix head = {weight, DTYPE_F32, VOCABULARY, N_EMBD};
    const struct linear linear = {.weight = {weight, DTYPE_F16, N_EMBD, N_EMBD}};
    const bool ok = ops->linear(ops, dx, x, &linear, NULL, N, err) &&
                    ops->linear_backward(ops, dx, dweight, NULL, x, x, &linear, N, err) &&
                    ops->head_loss(ops, loss, x, &head, targets, N, err) &&
                    ops->head_loss_backward(ops, loss, dx, dweight, x, &head, targets, scales, N, err);
    ops_free(ops);
    return ok;
}

static void products_of_training(void **state) {
    (void)state;
    for (enum ops_level level = OPS_BASELINE; level < OPS_LEVELS; level++) {
        if (ops_level_available(level)) assert_true(fault_loop(FAULT_MEMORY, backward_body, NULL, &level) > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
