// case_optimizer.c: ops->adamw and ops->sum_of_squares, and that BF16 is refused where it would be slower.
// Included by test_ops.c.
#include "calls.h"

enum {
    ADAMW_STEPS = 10
};

// Ten steps against torch.optim.AdamW: decay on everything, then on the first half and with scaled gradients. The plain
// loop is PyTorch's fused step bit for bit.
static void adamw_fixture(struct subjects *s) {
    enum {
        N = 64,
        HALF = N / 2
    };
    float *data = fixture_read("adamw", N + ADAMW_STEPS * (N + 2) + 8 * N);
    const float *gradients = data + N;
    const float *rates = gradients + ADAMW_STEPS * N;
    const float *scales = rates + ADAMW_STEPS;
    for (int i = 0; i < 2 * (s->n + 1); i++) {
        struct ops *ops = i / 2 < s->n ? s->list[i / 2].ops[1] : s->ref;
        const char *name = i / 2 < s->n ? s->list[i / 2].name : "ref";
        const bool half = i % 2 == 1;
        float weight[N];
        float m[N] = {0};
        float v[N] = {0};
        memcpy(weight, data, sizeof weight);
        for (int step = 0; step < ADAMW_STEPS; step++) {
            float gradient[N];
            memcpy(gradient, gradients + (size_t)step * N, sizeof gradient);
            // The rate as Python had it: 1e-3 in quarters, while the array is F32.
            const double lr = 1e-3 * (step < 4 ? (step + 1) / 4.0 : 1);
            assert_true((float)lr == rates[step]);
            struct adamw settings = {lr, 0.9, 0.95, 1e-8, 0.1, step + 1, half ? scales[step] : 1};
            ops->adamw(ops, weight, m, v, gradient, &settings, HALF);
            if (half) settings.weight_decay = 0;
            ops->adamw(ops, weight + HALF, m + HALF, v + HALF, gradient + HALF, &settings, HALF);
            for (int j = 0; j < N; j++) assert_true(gradient[j] == 0);
        }
        const float *want = scales + ADAMW_STEPS + (half ? 4 * N : 0);
        const bool exact = ops == s->ref;
        check_close("adamw weights against PyTorch", name, weight, want, N, 1e-6);
        check_close("adamw weights against PyTorch, fused", name, weight, want + N, N, exact ? 0 : 1e-6);
        check_close("adamw m against PyTorch", name, m, want + 2 * N, N, exact ? 0 : 1e-8);
        check_close("adamw v against PyTorch", name, v, want + 3 * N, N, exact ? 0 : 1e-9);
    }
    free(data);
}

struct adamw_call {
    struct adamw settings;
    int64_t n;
};

static void adamw_call(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct adamw_call *a = arguments;
    ops->adamw(ops, outputs[0], outputs[1], outputs[2], outputs[3], &a->settings, a->n);
}

static void adamw_shape(struct subjects *s, size_t n, int64_t step, float scale, bool nan) {
    const struct adamw_call arguments = {{1e-2, 0.9, 0.999, 1e-8, 0.01, step, 0.7F}, (int64_t)n};
    float *gradient = input_f32(s, n, scale);
    float *v = input_f32(s, n, scale * scale);
    for (size_t i = 0; i < n; i++) v[i] = fabsf(v[i]);
    if (nan) gradient[n / 2] = NAN;
    const double rounding = 0x1p-22;
    const double most = (double)scale;
    const struct output outputs[] = {{n, input_f32(s, n, 1), 4 * rounding},
                                     {n, input_f32(s, n, scale), rounding * most},
                                     {n, v, rounding * most * most},
                                     {n, gradient, 0}};
    char what[80];
    snprintf(what, sizeof what, "adamw of %zu, step %d, gradients up to %g", n, (int)step, (double)scale);
    call_compare(s, what, adamw_call, &arguments, outputs, 4);
    subjects_clear(s);
}

static void case_adamw(struct subjects *s) {
    static const size_t lengths[] = {1, 15, 16, 17, 100, 70001};
    adamw_fixture(s);
    for (int i = 0; i < 6; i++) {
        adamw_shape(s, lengths[i], 1, 1, false);
        adamw_shape(s, lengths[i], 1000, 1e-3F, true);
        adamw_shape(s, lengths[i], 1, 1e12F, false);
    }
}

static void case_sum_of_squares(struct subjects *s) {
    static const size_t lengths[] = {1, 15, 16, 17, 100, 70001, 1000000};
    assert_true(s->ref->sum_of_squares(s->ref, (const float[]){3, -4, 1e20F}, 2) == 25);
    for (int i = 0; i < 7; i++) {
        const double bound = (double)lengths[i] * 0x1p-53;           // what so many roundings come to at most
        float *x = input_f32(s, lengths[i], i % 2 == 0 ? 1 : 1e30F); // whose squares are beyond F32
        for (int special = 0; special < 3; special++) {
            if (special > 0) x[lengths[i] - 1] = special == 1 ? INFINITY : NAN;
            const double want = s->ref->sum_of_squares(s->ref, x, (int64_t)lengths[i]);
            assert_true(special == 0 ? isfinite(want) : special == 1 ? isinf(want) : isnan(want));
            for (int j = 0; j < s->n; j++) {
                double first = 0;
                for (int t = 0; t < THREADS; t++) {
                    struct ops *ops = s->list[j].ops[t];
                    const double got = ops->sum_of_squares(ops, x, (int64_t)lengths[i]);
                    assert_true(isnan(want) ? isnan(got) : fabs(got - want) <= bound * want || got == want);
                    if (t == 0) first = got;
                    assert_memory_equal(&got, &first, sizeof got);
                }
            }
        }
        subjects_clear(s);
    }
}

static void test_bf16(void **state) {
    (void)state;
    for (int level = OPS_REF; level < OPS_LEVELS; level++) {
        if (!ops_level_available((enum ops_level)level)) continue;
        struct llm_error err = {0};
        struct ops *ops = ops_new(level, 1, NULL);
        assert_non_null(ops);
        assert_int_equal(ops->compute, OPS_COMPUTE_F32);
        const bool ok = ops_use_bf16(ops, &err);
        assert_int_equal(ops->compute, ok ? OPS_COMPUTE_BF16 : OPS_COMPUTE_F32);
        assert_true(level == OPS_AVX512 || !ok);
        if (!ok) {
            assert_int_equal(err.code, LLM_ERROR_UNSUPPORTED);
            char at_level[80];
            snprintf(at_level, sizeof at_level, "BF16 products need level avx512; this is level %s",
                     ops_level_name((enum ops_level)level));
            if (strstr(err.text, "AVX512_BF16") == NULL) assert_string_equal(err.text, at_level);
        }
        ops_free(ops);
    }
}
