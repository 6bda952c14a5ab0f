// random_torch.c: draws as PyTorch's CPU generator makes them; see random.h.
//
// Distributions: PyTorch's aten/src/ATen/native/cpu/DistributionTemplates.h and TransformationHelper.h;
// shuffling: torch/utils/data; initial weights: torch/nn/init.py. Where PyTorch's compiler contracted a
// product and a sum into one rounding, fmaf() says so here; elsewhere nothing may be contracted (GCC does
// not in ISO mode, Clang is told so below), or the last digits would depend on our compiler.
#include <math.h>
#include <string.h>

#include "base/random.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

double random_torch_double(struct random *random) {
    return (double)(random_u64(random) & 0x1fffffffffffff) * 0x1p-53;
}

void random_fill_uniform(struct random *random, float *to, size_t n, double low, double high) {
    const float from = (float)low;
    const float end = (float)high;
    for (size_t i = 0; i < n; i++) {
        const float value = fmaf(random_float(random), end - from, from);
        to[i] = value == end ? from : value; // rounding may reach the end, which is excluded
    }
}

// One double from the standard normal distribution, by Box and Muller (1958) in double precision.
static double normal_scalar(struct random *random) {
    if (random->has_normal) {
        random->has_normal = false;
        return random->normal;
    }
    const double u1 = random_torch_double(random);
    const double u2 = random_torch_double(random);
    const double radius = sqrt(-2 * log1p(-u2));
    const double theta = 2 * M_PI * u1;
    random->normal = radius * sin(theta);
    random->has_normal = true;
    return radius * cos(theta);
}

static inline uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// The natural logarithm of a normal number x > 0 as the Cephes library computes it (S. Moshier): x = 2^e m
// with m in [sqrt(1/2), sqrt(2)), a polynomial in m - 1, and e ln 2 added in two parts.
static inline float cephes_log(float x) {
    float m = float_from_bits((float_bits(x) & 0x007fffffu) | 0x3f000000u);
    float e = (float)((int32_t)(float_bits(x) >> 23) - 126);
    const bool low = m < 0.707106781186547524f;
    e -= low ? 1.0f : 0.0f;
    m = (m - 1.0f) + (low ? m : 0.0f);
    const float z = m * m;
    float y = 7.0376836292e-2f;
    y = fmaf(y, m, -1.1514610310e-1f);
    y = fmaf(y, m, 1.1676998740e-1f);
    y = fmaf(y, m, -1.2420140846e-1f);
    y = fmaf(y, m, 1.4249322787e-1f);
    y = fmaf(y, m, -1.6668057665e-1f);
    y = fmaf(y, m, 2.0000714765e-1f);
    y = fmaf(y, m, -2.4999993993e-1f);
    y = fmaf(y, m, 3.3333331174e-1f);
    y = fmaf(y * m, z, e * -2.12194440e-4f);
    y = y - z * 0.5f;
    return (m + y) + e * 0.693359375f;
}

// Sine and cosine of x in [0, 2 pi], Cephes again: the octant j, the rest within pi/4 by a pi/4 in three
// parts, one polynomial for each, exchanged and negated by octant.
static inline void cephes_sincos(float x, float *sine, float *cosine) {
    const uint32_t j = ((uint32_t)(int32_t)(x * 1.27323954473516f) + 1) & ~1u;
    const float n = (float)(int32_t)j;
    float r = fmaf(n, -0.78515625f, x);
    r = fmaf(n, -2.4187564849853515625e-4f, r);
    r = fmaf(n, -3.77489497744594108e-8f, r);
    const float z = r * r;
    float c = fmaf(2.443315711809948e-5f, z, -1.388731625493765e-3f);
    c = fmaf(c, z, 4.166664568298827e-2f);
    c = fmaf(c * z, z, z * -0.5f) + 1.0f;
    float s = fmaf(-1.9515295891e-4f, z, 8.3321608736e-3f);
    s = fmaf(s, z, -1.6666654611e-1f);
    s = fmaf(s * z, r, r);
    const bool exchange = (j & 2) != 0;
    *sine = float_from_bits(float_bits(exchange ? c : s) ^ (j & 4) << 29);
    *cosine = float_from_bits(float_bits(exchange ? s : c) ^ (~(j - 2) & 4) << 29);
}

// Box and Muller in blocks of 16, in place: uniform numbers u[0..8) give the radii, u[8..16) the angles,
// cosines go to the first half and sines to the second.
static inline __attribute__((always_inline)) void normal_blocks(float *x, size_t n_blocks, float mean, float std) {
    for (size_t block = 0; block < n_blocks; block++, x += 16) {
        for (int i = 0; i < 8; i++) {
            const float radius = sqrtf(-2.0f * cephes_log(1.0f - x[i]));
            float sine, cosine;
            cephes_sincos((float)(2 * M_PI) * x[i + 8], &sine, &cosine);
            x[i] = fmaf(radius * cosine, std, mean);
            x[i + 8] = fmaf(radius * sine, std, mean);
        }
    }
}

// The same bits either way: without the instruction, fmaf() is exact in software, and slow.
#ifdef __x86_64__
__attribute__((target("avx2,fma"))) static void normal_blocks_fma(float *x, size_t n_blocks, float mean, float std) {
    normal_blocks(x, n_blocks, mean, std);
}
#endif

static void normal_transform(float *x, size_t n_blocks, float mean, float std) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        normal_blocks_fma(x, n_blocks, mean, std);
        return;
    }
#endif
    normal_blocks(x, n_blocks, mean, std);
}

void random_fill_normal(struct random *random, float *to, size_t n, double mean, double std) {
    if (n < 16) {
        for (size_t i = 0; i < n; i++) to[i] = (float)fma(normal_scalar(random), std, mean);
        return;
    }
    for (size_t i = 0; i < n; i++) to[i] = random_float(random);
    normal_transform(to, n / 16, (float)mean, (float)std);
    if (n % 16 != 0) { // the last 16 anew, over what was there
        float *last = to + n - 16;
        for (int i = 0; i < 16; i++) last[i] = random_float(random);
        normal_transform(last, 1, (float)mean, (float)std);
    }
}

void random_fill_linear_weight(struct random *random, float *weight, size_t n, size_t fan_in) {
    const double gain = sqrt(2.0 / (1 + sqrt(5.0) * sqrt(5.0)));
    const double bound = sqrt(3.0) * (gain / sqrt((double)fan_in));
    random_fill_uniform(random, weight, n, -bound, bound);
}

void random_fill_linear_bias(struct random *random, float *bias, size_t n, size_t fan_in) {
    const double bound = 1 / sqrt((double)fan_in);
    random_fill_uniform(random, bias, n, -bound, bound);
}

void random_fill_bernoulli(struct random *random, uint8_t *to, size_t n, double probability) {
    for (size_t i = 0; i < n; i++) to[i] = random_torch_double(random) < probability;
}

// Beyond this many elements PyTorch draws 64 bits for each, as the remainder of 32 would be uneven.
static const size_t randperm_large = UINT32_MAX / 20;

void random_torch_permutation(struct random *random, int64_t *to, size_t n) {
    if (n >= randperm_large) {
        for (size_t i = 0; i < n; i++) {
            const size_t j = random_u64(random) % (i + 1);
            to[i] = to[j];
            to[j] = (int64_t)i;
        }
        return;
    }
    for (size_t i = 0; i < n; i++) to[i] = (int64_t)i;
    for (size_t i = 0; i + 1 < n; i++) {
        const size_t j = i + random_u32(random) % (n - i);
        const int64_t swapped = to[i];
        to[i] = to[j];
        to[j] = swapped;
    }
}

void random_loader_order(struct random *random, int64_t *order, size_t n, bool shuffle) {
    random_u64(random); // the iterator's _base_seed
    if (!shuffle) {
        for (size_t i = 0; i < n; i++) order[i] = (int64_t)i;
        return;
    }
    // RandomSampler: int64.random_() keeps 63 bits; seeding keeps the low 32 of them.
    struct random own;
    random_init(&own, random_u64(random));
    random_torch_permutation(&own, order, n);
}
