// test_fault_ops.c: operations when memory fails: the products of training say so; one that cannot say it failed, asked
// for without ops->reserve, is done by the plain loops, which need none.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault.h"
#include "ops/ops.h"

enum {
    N = 40,
    WIDTH = 30,
    N_ROWS = 20,
    N_EMBD = 24,
    VOCABULARY = 500
};

struct norm {
    float x[N * WIDTH], dout[N * WIDTH], weight[WIDTH];
    float dx[N * WIDTH], dweight[WIDTH], dbias[WIDTH]; // what is expected
};

static bool norm_backward(int level, const struct norm *norm, float *dx, float *dweight, float *dbias,
                          struct llm_error *err) {
    struct ops *ops = ops_new(level, 1, err);
    if (ops == NULL) return false;
    ops->layer_norm_backward(ops, dx, dweight, dbias, norm->dout, norm->x, norm->weight, 1e-5F, N, WIDTH);
    ops_free(ops);
    return true;
}

static bool compare(void *user, struct llm_error *err) {
    const struct norm *norm = user;
    float dx[N * WIDTH] = {0};
    float dweight[WIDTH] = {0};
    float dbias[WIDTH] = {0};
    if (!norm_backward(OPS_BASELINE, norm, dx, dweight, dbias, err)) return false;
    for (int i = 0; i < N * WIDTH; i++) assert_true(fabsf(dx[i] - norm->dx[i]) < 1e-5F);
    for (int i = 0; i < WIDTH; i++) {
        assert_true(fabsf(dweight[i] - norm->dweight[i]) < 1e-5F);
        assert_true(fabsf(dbias[i] - norm->dbias[i]) < 1e-5F);
    }
    return true;
}

static void layer_norm_backward_needs_no_memory(void **state) {
    (void)state;
    static struct norm norm;
    for (int i = 0; i < N * WIDTH; i++) {
        norm.x[i] = sinf((float)i);
        norm.dout[i] = cosf((float)(3 * i));
    }
    for (int i = 0; i < WIDTH; i++) norm.weight[i] = 1 + 0.1F * (float)i;
    assert_true(norm_backward(OPS_REF, &norm, norm.dx, norm.dweight, norm.dbias, NULL));
    assert_true(fault_loop(FAULT_MEMORY, compare, NULL, &norm) > 4);
}

static bool backward_body(void *user, struct llm_error *err) {
    const enum ops_level *level = user;
    struct ops *ops = ops_new((int)*level, 1, err); // one thread: calls come in the same order every time
    if (ops == NULL) return false;
    static float x[N_ROWS * N_EMBD], dx[N_ROWS * N_EMBD], weight[VOCABULARY * N_EMBD], dweight[VOCABULARY * N_EMBD];
    static float loss[N_ROWS], scales[N_ROWS];
    static const int32_t targets[N_ROWS];
    const struct matrix head = {weight, DTYPE_F32, VOCABULARY, N_EMBD};
    const struct linear linear = {.weight = {weight, DTYPE_F16, N_EMBD, N_EMBD}};
    const bool ok = ops->linear(ops, dx, x, &linear, NULL, N_ROWS, err) &&
                    ops->linear_backward(ops, dx, dweight, NULL, x, x, &linear, N_ROWS, err) &&
                    ops->head_loss(ops, loss, x, &head, targets, N_ROWS, err) &&
                    ops->head_loss_backward(ops, loss, dx, dweight, x, &head, targets, scales, N_ROWS, err);
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
        cmocka_unit_test(layer_norm_backward_needs_no_memory),
        cmocka_unit_test(products_of_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
