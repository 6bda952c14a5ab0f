// rows_tmpl.c: kernels that walk over rows once: widening, embedding, layer norm, log-sum-exp.
#include <math.h>

#include "ops/cpu/kernels.h"
#include "ops/cpu/vector.h"

INLINE void widen_as(float *to, const void *from, enum dtype dtype, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) vf_store(to + i, vf_widen(from, dtype, (size_t)i));
    for (; i < n; i++) to[i] = f_widen(from, dtype, (size_t)i);
}

static void widen(float *to, const void *from, enum dtype dtype, int64_t n) {
    switch (dtype) {
    case DTYPE_F16:
        widen_as(to, from, DTYPE_F16, n);
        break;
    case DTYPE_BF16:
        widen_as(to, from, DTYPE_BF16, n);
        break;
    case DTYPE_Q8_0:
        widen_as(to, from, DTYPE_Q8_0, n);
        break;
    case DTYPE_Q4_0:
        widen_as(to, from, DTYPE_Q4_0, n);
        break;
    default:
        memcpy(to, from, (size_t)n * sizeof *to);
    }
}

static void embed(float *out, const void *token, enum dtype token_dtype, const void *position,
                  enum dtype position_dtype, int n_embd) {
    int i = 0;
    for (; i + LANES <= n_embd; i += LANES) {
        vf_store(out + i, vf_widen(token, token_dtype, (size_t)i) + vf_widen(position, position_dtype, (size_t)i));
    }
    for (; i < n_embd; i++) {
        out[i] = f_widen(token, token_dtype, (size_t)i) + f_widen(position, position_dtype, (size_t)i);
    }
}

// The sum over a row of (x - center)^power, power 1 or 2, in four vectors of partial sums.
INLINE float row_sum(const float *x, float center, int power, int n) {
    vf sums[4] = {0};
    int i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        for (int j = 0; j < 4; j++) {
            const vf d = vf_load(x + i + j * LANES) - vf_splat(center);
            sums[j] = power == 1 ? sums[j] + d : d * d + sums[j];
        }
    }
    float rest = 0;
    for (; i < n; i++) {
        const float d = x[i] - center;
        rest += power == 1 ? d : d * d;
    }
    return vf_sum((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest;
}

// Two passes, mean first: the one-pass form E[x^2] - E[x]^2 cancels where the mean is large.
static void layer_norm(float *out, const float *x, const float *weight, const float *bias, float epsilon, int n_embd) {
    const float mean = row_sum(x, 0, 1, n_embd) / (float)n_embd;
    const float variance = row_sum(x, mean, 2, n_embd) / (float)n_embd;
    const float scale = 1 / sqrtf(variance + epsilon);
    int i = 0;
    for (; i + LANES <= n_embd; i += LANES) {
        const vf normal = (vf_load(x + i) - vf_splat(mean)) * vf_splat(scale);
        vf_store(out + i, normal * vf_load(weight + i) + vf_load(bias + i));
    }
    for (; i < n_embd; i++) out[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

// dx, and this row's part of dweight and dbias. Equations in ops/ref/layer_norm.c.
//
//     dx_j += scale (g_j - (a + n_j b)),  a = mean(g),  b = mean(g n)
static void layer_norm_backward(float *dx, float *dweight, float *dbias, const float *dout, const float *x,
                                const float *weight, float epsilon, int n_embd) {
    const float mean = row_sum(x, 0, 1, n_embd) / (float)n_embd;
    const float variance = row_sum(x, mean, 2, n_embd) / (float)n_embd;
    const float scale = 1 / sqrtf(variance + epsilon);
    vf sums[2] = {0};   // of g
    vf alongs[2] = {0}; // of g n
    float sum = 0;
    float along = 0;
    int i = 0;
    for (; i + 2 * LANES <= n_embd; i += 2 * LANES) {
        for (int j = 0; j < 2; j++) {
            const int at = i + j * LANES;
            const vf d = vf_load(dout + at);
            const vf g = d * vf_load(weight + at);
            const vf normal = (vf_load(x + at) - vf_splat(mean)) * vf_splat(scale);
            sums[j] += g;
            alongs[j] = g * normal + alongs[j];
            vf_store(dweight + at, d * normal + vf_load(dweight + at));
            vf_store(dbias + at, d + vf_load(dbias + at));
        }
    }
    for (; i < n_embd; i++) {
        const float normal = (x[i] - mean) * scale;
        sum += dout[i] * weight[i];
        along += dout[i] * weight[i] * normal;
        dweight[i] += dout[i] * normal;
        dbias[i] += dout[i];
    }
    if (dx == NULL) return;
    const float a = (vf_sum(sums[0] + sums[1]) + sum) / (float)n_embd;
    const float b = (vf_sum(alongs[0] + alongs[1]) + along) / (float)n_embd;
    for (i = 0; i + LANES <= n_embd; i += LANES) {
        const vf normal = (vf_load(x + i) - vf_splat(mean)) * vf_splat(scale);
        const vf g = vf_load(dout + i) * vf_load(weight + i);
        vf_store(dx + i, (g - vf_splat(a) - normal * vf_splat(b)) * vf_splat(scale) + vf_load(dx + i));
    }
    for (; i < n_embd; i++) {
        const float normal = (x[i] - mean) * scale;
        dx[i] += (dout[i] * weight[i] - a - normal * b) * scale;
    }
}

static void log_sum_exp(float *largest, float *sum, const float *logits, int n) {
    vf greatest = vf_splat(*largest);
    int i = 0;
    for (; i + LANES <= n; i += LANES) greatest = vf_max(vf_load(logits + i), greatest);
    float next = vf_largest(greatest);
    for (; i < n; i++) next = logits[i] > next ? logits[i] : next;

    // exp(-inf - -inf) would be NaN: a row that has seen nothing has nothing to scale.
    const float before = *sum == 0 ? 0 : *sum * expf(*largest - next);
    vf sums = {0};
    for (i = 0; i + LANES <= n; i += LANES) sums += vf_exp(vf_load(logits + i) - vf_splat(next));
    float rest = 0;
    for (; i < n; i++) rest += expf(logits[i] - next);
    *largest = next;
    *sum = before + vf_sum(sums) + rest;
}

// The table of the level that includes the templates; this one comes last.
#define KERNELS                                                                                                        \
    {                                                                                                                  \
        .product_transposed = product_transposed, .product_part = product_part,                                        \
        .blocks = {round_blocks, product_blocks}, .finish = product_finish, .widen = widen, .embed = embed,            \
        .layer_norm = layer_norm, .attend = attend, .attend_backward = attend_backward, .log_sum_exp = log_sum_exp,    \
        .add_rows = add_rows, .exponentials = exponentials, .scale = scale, .read = machine_read,                      \
        .multiply_add = machine_multiply_add, .layer_norm_backward = layer_norm_backward, .activate = activate,        \
        .activation_backward = activation_backward, .dropout = dropout, .adamw = adamw,                                \
        .sum_of_squares = sum_of_squares                                                                               \
    }
