// case_head_loss_backward.c: ops->head_loss_backward. Included by test_ops.c.
#include "calls.h"

struct head_backward {
    const float *x;
    struct matrix weight;
    const int32_t *targets;
    const float *scales;
    int n;
};

static void head_backward_call(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct head_backward *a = arguments;
    assert_true(ops->head_loss_backward(ops, outputs[0], outputs[1], outputs[2], a->x, &a->weight, a->targets,
                                        a->scales, a->n, NULL));
}

static void head_backward_fixture(struct subjects *s) {
    enum {
        N = 6,
        N_EMBD = 16,
        VOCABULARY = 50
    };
    float *data = fixture_read("head_loss_backward", 2 * (N + VOCABULARY) * N_EMBD + 3 * N);
    const float *weight = data + N * N_EMBD;
    const float *numbers = weight + VOCABULARY * N_EMBD;
    int32_t targets[N];
    for (int i = 0; i < N; i++) targets[i] = (int32_t)numbers[i];
    const struct head_backward arguments = {data, {weight, DTYPE_F32, VOCABULARY, N_EMBD}, targets, numbers + N, N};
    const float *dx = numbers + 3 * N;
    const float *const want[] = {numbers + 2 * N, dx, dx + N * N_EMBD};
    const float zeros[VOCABULARY * N_EMBD] = {0};
    const struct output outputs[] = {{N, NULL, 3e-6}, {N * N_EMBD, NULL, 2e-6}, {VOCABULARY * N_EMBD, zeros, 2e-6}};
    call_expect(s, "head_loss_backward against PyTorch", head_backward_call, &arguments, outputs, want, 3);
    free(data);
}

static double head_backward_loss(struct ops *ref, const void *arguments) {
    const struct head_backward *a = arguments;
    float loss[8];
    assert_true(a->n <= 8);
    assert_true(ref->head_loss(ref, loss, a->x, &a->weight, a->targets, a->n, NULL));
    return dot(loss, a->scales, (size_t)a->n);
}

static void head_backward_differences(struct subjects *s) {
    enum {
        N = 3,
        N_EMBD = 11,
        VOCABULARY = 29
    };
    float *x = input_f32(s, N * N_EMBD, 1);
    float *weight = input_f32(s, VOCABULARY * N_EMBD, 1);
    const int32_t targets[N] = {28, 0, 5};
    const float scales[N] = {0.5F, -1, 2};
    const struct head_backward a = {x, {weight, DTYPE_F32, VOCABULARY, N_EMBD}, targets, scales, N};
    float loss[N];
    float dx[N * N_EMBD];
    float dweight[VOCABULARY * N_EMBD] = {0};
    head_backward_call(s->ref, &a, (float *const[]){loss, dx, dweight});
    check_differences("head_loss dx", s->ref, head_backward_loss, &a, x, dx, N * N_EMBD, 1, 2e-2F, 3e-4);
    check_differences("head_loss dweight", s->ref, head_backward_loss, &a, weight, dweight, VOCABULARY * N_EMBD, 1,
                      2e-2F, 3e-4);
    subjects_clear(s);
}

static void head_backward_shape(struct subjects *s, enum dtype dtype, int n, int n_embd, int vocab_size, float scale) {
    const size_t size = (size_t)n * (size_t)n_embd;
    const size_t weights = (size_t)vocab_size * (size_t)n_embd;
    int32_t *targets = input_bytes(s, (size_t)n * sizeof *targets, sizeof *targets);
    for (int i = 0; i < n; i++) targets[i] = (int32_t)(random_u32(&s->random) % (uint32_t)vocab_size);
    targets[0] = vocab_size - 1;
    if (n > 1) targets[1] = 0;
    float *scales = input_f32(s, (size_t)n, 1);
    if (n > 2) scales[2] = 0; // a row whose loss is not counted
    const struct head_backward arguments = {input_f32(s, size, scale),
                                            input_matrix(s, dtype, vocab_size, n_embd, scale), targets, scales, n};
    // A logit's rounding is what a probability is off by; dx takes it from weights up to `scale`, dweight from n rows.
    const double logit = 4e-6 + 1e-6 * n_embd * (double)scale * (double)scale;
    const struct output outputs[] = {{(size_t)n, NULL, logit},
                                     {size, NULL, logit * (double)scale},
                                     {weights, input_f32(s, weights, 1), logit * (double)scale * sqrt(n)}};
    char what[80];
    snprintf(what, sizeof what, "head_loss_backward %s [%d, %d] x [%d]", dtype_info(dtype)->name, n, n_embd,
             vocab_size);
    call_compare(s, what, head_backward_call, &arguments, outputs, 3);
    if (n == 5) {
        const struct output only_dx[] = {outputs[0], outputs[1], {0}};
        call_compare(s, what, head_backward_call, &arguments, only_dx, 3);
        const struct output only_dweight[] = {outputs[0], {0}, outputs[2]};
        call_compare(s, what, head_backward_call, &arguments, only_dweight, 3);
    }
    subjects_clear(s);
}

// A row with a NaN has a NaN loss and a NaN gradient; its neighbours keep theirs.
static void head_backward_nan(struct subjects *s) {
    enum {
        N = 3,
        N_EMBD = 24,
        VOCABULARY = 1000
    };
    float *x = input_f32(s, N * N_EMBD, 1);
    x[N_EMBD + 5] = NAN;
    const int32_t targets[N] = {1, 2, 3};
    const float scales[N] = {1, 1, 1};
    const struct head_backward a = {x, input_matrix(s, DTYPE_F32, VOCABULARY, N_EMBD, 1), targets, scales, N};
    for (int i = 0; i <= s->n; i++) {
        float loss[N];
        float dx[N * N_EMBD];
        head_backward_call(i < s->n ? s->list[i].ops[1] : s->ref, &a, (float *const[]){loss, dx, NULL});
        for (int row = 0; row < N; row++) {
            assert_int_equal(isnan(loss[row]) != 0, row == 1);
            for (int j = 0; j < N_EMBD; j++) assert_int_equal(isnan(dx[row * N_EMBD + j]) != 0, row == 1);
        }
    }
    subjects_clear(s);
}

static void case_head_loss_backward(struct subjects *s) {
    head_backward_fixture(s);
    head_backward_differences(s);
    for (int dtype = 0; dtype <= DTYPE_BF16; dtype++) {
        for (int n = 1; n <= 17; n += 4) head_backward_shape(s, (enum dtype)dtype, n, 33, 5003 / n, 1);
        head_backward_shape(s, (enum dtype)dtype, 600, 16, 301, 1);
        head_backward_shape(s, (enum dtype)dtype, 20, 64, 500, 5);
        head_backward_shape(s, (enum dtype)dtype, 3, 8, 1, 1);
    }
    head_backward_shape(s, DTYPE_F32, 2, 24, 50257, 1);
    head_backward_shape(s, DTYPE_F32, 520, 8, 6500, 1); // two chunks of rows, two slices a group
    head_backward_nan(s);
}
