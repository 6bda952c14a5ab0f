// case_linear_backward.c: ops->linear_backward. Included by test_ops.c.
#include "calls.h"

struct linear_backward {
    const float *dout, *x, *residual;
    struct linear linear;
    int n;
};

static void linear_backward_call(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct linear_backward *a = arguments;
    assert_true(ops->linear_backward(ops, outputs[0], outputs[1], outputs[2], a->dout, a->x, &a->linear, a->n, NULL));
}

static void linear_backward_fixture(struct subjects *s) {
    enum {
        N = 5,
        N_IN = 24,
        N_OUT = 20
    };
    float *data = fixture_read("linear_backward", 2 * (N * N_IN + N_IN * N_OUT) + N * N_OUT + N_OUT);
    const float *weight = data + N * N_IN;
    const float *dout = weight + N_IN * N_OUT;
    const float *dx = dout + N * N_OUT;
    const float *dweight = dx + N * N_IN;
    const float *const want[] = {dx, dweight, dweight + N_IN * N_OUT};
    const float zeros[N_IN * N_OUT] = {0};
    const struct output outputs[] = {{N * N_IN, NULL, 2e-6}, {N_IN * N_OUT, zeros, 2e-6}, {N_OUT, zeros, 2e-6}};
    const struct linear_backward arguments = {
        dout, data, NULL, {{weight, DTYPE_F32, N_IN, N_OUT}, false, NULL, ACTIVATION_NONE, 0}, N};
    call_expect(s, "linear_backward against PyTorch", linear_backward_call, &arguments, outputs, want, 3);
    free(data);
}

static double linear_loss(struct ops *ref, const void *arguments) {
    const struct linear_backward *a = arguments;
    float out[256];
    const size_t size = (size_t)a->n * (size_t)linear_n_out(&a->linear);
    assert_true(size <= 256);
    assert_true(ref->linear(ref, out, a->x, &a->linear, NULL, a->n, NULL));
    return dot(out, a->dout, size);
}

static void linear_backward_differences(struct subjects *s, bool transposed) {
    enum {
        N = 4,
        N_IN = 19,
        N_OUT = 23
    };
    float *x = input_f32(s, N * N_IN, 1);
    float *weight = input_f32(s, N_IN * N_OUT, 1);
    float *bias = input_f32(s, N_OUT, 1);
    const struct matrix matrix = {weight, DTYPE_F32, transposed ? N_OUT : N_IN, transposed ? N_IN : N_OUT};
    const struct linear_backward a = {
        input_f32(s, N * N_OUT, 1), x, NULL, {matrix, transposed, bias, ACTIVATION_NONE, 0}, N};
    float dx[N * N_IN];
    float dweight[N_IN * N_OUT] = {0};
    float dbias[N_OUT] = {0};
    linear_backward_call(s->ref, &a, (float *const[]){dx, dweight, dbias});
    check_differences("linear dx", s->ref, linear_loss, &a, x, dx, N * N_IN, 1, 0.5F, 1e-5);
    check_differences("linear dweight", s->ref, linear_loss, &a, weight, dweight, N_IN * N_OUT, 1, 0.5F, 1e-5);
    check_differences("linear dbias", s->ref, linear_loss, &a, bias, dbias, N_OUT, 1, 0.5F, 1e-5);
    subjects_clear(s);
}

static void linear_backward_shape(struct subjects *s, enum dtype dtype, bool transposed, int n_in, int n_out, int n) {
    const size_t in = (size_t)n * (size_t)n_in;
    const size_t out = (size_t)n * (size_t)n_out;
    const size_t size = (size_t)n_in * (size_t)n_out;
    const struct matrix weight =
        transposed ? input_matrix(s, dtype, n_out, n_in, 1) : input_matrix(s, dtype, n_in, n_out, 1);
    // An activation that is not looked at.
    const struct linear_backward arguments = {
        input_f32(s, out, 1), input_f32(s, in, 1), NULL, {weight, transposed, NULL, ACTIVATION_RELU, 0}, n};
    const struct output outputs[] = {{in, NULL, linear_bound(n_out)},
                                     {size, input_f32(s, size, 1), linear_bound(n)},
                                     {(size_t)n_out, input_f32(s, (size_t)n_out, 1), linear_bound(2 * n)}};
    char what[100];
    snprintf(what, sizeof what, "linear_backward %s%s [%d, %d] x [%d]", dtype_info(dtype)->name,
             transposed ? " transposed" : "", n, n_in, n_out);
    call_compare(s, what, linear_backward_call, &arguments, outputs, 3);
    if (n % 3 != 0) {
        subjects_clear(s);
        return;
    }
    for (int only = 0; only < 3; only++) {
        struct output one[3] = {{0}};
        one[only] = outputs[only];
        call_compare(s, what, linear_backward_call, &arguments, one, 3);
    }
    subjects_clear(s);
}

// The gradient of columns of a matrix: that of a matrix of their own, and nothing around it is touched.
static void linear_backward_columns(struct subjects *s, enum dtype dtype, bool transposed, const int *range, int n) {
    const int n_other = 130;
    const struct linear linear = {
        .weight = linear_range(s, dtype, n_other, range[0], range[1], range[2]),
        .transposed = transposed,
        .stride = range[0],
    };
    struct linear dense = linear;
    dense.weight = linear_dense(s, &linear);
    dense.stride = 0;
    const int n_in = transposed ? range[2] : n_other;
    const int n_out = transposed ? n_other : range[2];
    const size_t in = (size_t)n * (size_t)n_in;
    const size_t size = (size_t)n_other * (size_t)range[2];
    const struct linear_backward a = {input_f32(s, (size_t)n * (size_t)n_out, 1), input_f32(s, in, 1), NULL, dense, n};
    float *dx[2] = {output_new(in), output_new(in)};
    float *dweight[2] = {output_new(size), output_new((size_t)n_other * (size_t)range[0])};
    const float *around = input_f32(s, (size_t)n_other * (size_t)range[0], 1);
    for (int i = 0; i < n_other; i++) {
        memcpy(dweight[0] + i * range[2], around + i * range[0] + range[1], (size_t)range[2] * sizeof(float));
    }
    assert_true(s->ref->linear_backward(s->ref, dx[0], dweight[0], NULL, a.dout, a.x, &a.linear, n, NULL));
    for (int i = 0; i <= s->n; i++) {
        struct ops *ops = i < s->n ? s->list[i].ops[1] : s->ref;
        const char *name = i < s->n ? s->list[i].name : "ref";
        memcpy(dweight[1], around, (size_t)n_other * (size_t)range[0] * sizeof(float));
        assert_true(ops->linear_backward(ops, dx[1], dweight[1] + range[1], NULL, a.dout, a.x, &linear, n, NULL));
        output_check(dx[1], in);
        output_check(dweight[1], (size_t)n_other * (size_t)range[0]);
        check_close("linear_backward, columns: dx", name, dx[1], dx[0], in, linear_bound(n_out));
        for (int row = 0; row < n_other; row++) {
            const float *got = dweight[1] + row * range[0];
            const float *before = around + row * range[0];
            const int end = range[1] + range[2];
            check_close("linear_backward, columns: dweight", name, got + range[1], dweight[0] + row * range[2],
                        (size_t)range[2], linear_bound(n));
            assert_memory_equal(got, before, (size_t)range[1] * sizeof *got);
            assert_memory_equal(got + end, before + end, (size_t)(range[0] - end) * sizeof *got);
        }
    }
    for (int i = 0; i < 2; i++) {
        output_free(dx[i]);
        output_free(dweight[i]);
    }
    subjects_clear(s);
}

static void case_linear_backward(struct subjects *s) {
    static const int shapes[][3] = {{768, 96, 17}, {64, 1024, 9}, {48, 192, 64},  {33, 35, 3},
                                    {1, 1, 1},     {7, 450, 2},   {130, 18, 300}, {801, 403, 24}};
    linear_backward_fixture(s);
    for (int i = 0; i < 24; i++) {
        static const int rows[] = {1, 17, 300};
        for (int j = 0; j < 3; j++) {
            linear_backward_columns(s, (enum dtype)(i % 3), i / 3 % 2 == 1, linear_ranges[i / 6], rows[j]);
        }
    }
    for (int transposed = 0; transposed < 2; transposed++) {
        linear_backward_differences(s, transposed);
        for (int dtype = 0; dtype <= DTYPE_BF16; dtype++) {
            for (int i = 0; i < 8; i++) {
                linear_backward_shape(s, (enum dtype)dtype, transposed, shapes[i][0], shapes[i][1], shapes[i][2]);
            }
        }
    }
}
