// elements_tmpl.c: kernels that treat each element alone: activations, dropout, the optimizer's step; and the sum of
// squares.
//
// The last elements go through the same vector arithmetic as the others, so that where a part ends changes no result.
#include "ops/cpu/activation.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/vector.h"
#include "ops/ref/ref.h"

INLINE void activate_as(float *out, const float *x, enum activation activation, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) vf_store(out + i, vf_activation(vf_load(x + i), activation));
    const int rest = (int)(n - i);
    if (rest > 0) vf_store_part(out + i, vf_activation(vf_load_part(x + i, rest), activation), rest);
}

static void activate(float *out, const float *x, enum activation activation, int64_t n) {
    switch (activation) {
    case ACTIVATION_GELU_TANH:
        activate_as(out, x, ACTIVATION_GELU_TANH, n);
        break;
    case ACTIVATION_GELU_ERF:
        activate_as(out, x, ACTIVATION_GELU_ERF, n);
        break;
    case ACTIVATION_RELU:
        activate_as(out, x, ACTIVATION_RELU, n);
        break;
    case ACTIVATION_NONE:
        activate_as(out, x, ACTIVATION_NONE, n);
        break;
    }
}

INLINE void activation_backward_as(float *dx, const float *dout, const float *x, enum activation activation,
                                   int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf_store(dx + i, vf_load(dout + i) * vf_activation_derivative(vf_load(x + i), activation));
    }
    const int rest = (int)(n - i);
    if (rest == 0) return;
    const vf derivative = vf_activation_derivative(vf_load_part(x + i, rest), activation);
    vf_store_part(dx + i, vf_load_part(dout + i, rest) * derivative, rest);
}

static void activation_backward(float *dx, const float *dout, const float *x, enum activation activation, int64_t n) {
    switch (activation) {
    case ACTIVATION_GELU_TANH:
        activation_backward_as(dx, dout, x, ACTIVATION_GELU_TANH, n);
        break;
    case ACTIVATION_GELU_ERF:
        activation_backward_as(dx, dout, x, ACTIVATION_GELU_ERF, n);
        break;
    case ACTIVATION_RELU:
        activation_backward_as(dx, dout, x, ACTIVATION_RELU, n);
        break;
    case ACTIVATION_NONE:
        activation_backward_as(dx, dout, x, ACTIVATION_NONE, n);
        break;
    }
}

INLINE vf dropped(vf x, const uint8_t *keep, int n, float scale) {
    vb bytes = {0};
    memcpy(&bytes, keep, (size_t)n);
    return vf_select(__builtin_convertvector(bytes, vi) != 0, x * vf_splat(scale), vf_splat(0));
}

static void dropout(float *out, const float *x, const uint8_t *keep, float scale, const float *residual, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const vf y = dropped(vf_load(x + i), keep + i, LANES, scale);
        vf_store(out + i, residual != NULL ? vf_load(residual + i) + y : y);
    }
    const int rest = (int)(n - i);
    if (rest == 0) return;
    const vf y = dropped(vf_load_part(x + i, rest), keep + i, rest, scale);
    vf_store_part(out + i, residual != NULL ? vf_load_part(residual + i, rest) + y : y, rest);
}

// LANES weights: ref_adamw() has the lines one by one, with the same roundings.
INLINE vf adamw_step(vf w, vf *m, vf *v, vf gradient, const struct adamw_factors *f) {
    const vf g = vf_product(gradient, vf_splat(f->grad_scale));
    *m = vf_multiply_add(vf_splat(f->rate1), g - *m, *m);
    *v = vf_multiply_add(vf_splat(f->rate2) * g, g, *v * vf_splat(f->beta2));
    const vf denominator = vf_sqrt(*v) / vf_splat(f->deviation) + vf_splat(f->epsilon);
    return vf_product(w, vf_splat(f->decay)) - vf_splat(f->step_size) * *m / denominator;
}

static void adamw(float *weight, float *m, float *v, float *gradient, const struct adamw_factors *factors, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf next_m = vf_load(m + i);
        vf next_v = vf_load(v + i);
        vf_store(weight + i, adamw_step(vf_load(weight + i), &next_m, &next_v, vf_load(gradient + i), factors));
        vf_store(m + i, next_m);
        vf_store(v + i, next_v);
        vf_store(gradient + i, vf_splat(0));
    }
    const int rest = (int)(n - i);
    if (rest == 0) return;
    vf next_m = vf_load_part(m + i, rest);
    vf next_v = vf_load_part(v + i, rest);
    const vf w =
        adamw_step(vf_load_part(weight + i, rest), &next_m, &next_v, vf_load_part(gradient + i, rest), factors);
    vf_store_part(weight + i, w, rest);
    vf_store_part(m + i, next_m, rest);
    vf_store_part(v + i, next_v, rest);
    vf_store_part(gradient + i, vf_splat(0), rest);
}

// In double, where no square of an F32 overflows: eight vectors of half as many lanes.
typedef double vd __attribute__((vector_size(4 * LANES)));
typedef float vf_half __attribute__((vector_size(2 * LANES)));
typedef float vf_half_memory __attribute__((vector_size(2 * LANES), aligned(4), may_alias));

static double sum_of_squares(const float *x, int64_t n) {
    enum {
        HALF = LANES / 2,
        SUMS = 8
    };
    vd sums[SUMS] = {{0}};
    int64_t i = 0;
    for (; i + SUMS * HALF <= n; i += SUMS * HALF) {
        for (int j = 0; j < SUMS; j++) {
            const vf_half half = *(const vf_half_memory *)(x + i + j * HALF);
            const vd wide = __builtin_convertvector(half, vd);
            sums[j] = wide * wide + sums[j];
        }
    }
    double rest = 0;
    for (; i < n; i++) rest += (double)x[i] * x[i];
    for (int j = 1; j < SUMS; j++) sums[0] += sums[j];
    for (int lane = 0; lane < HALF; lane++) rest += sums[0][lane];
    return rest;
}
