// vector.h: the vectors that the kernels are written in.
//
// A kernel is one source in the compilers' own vector arithmetic (+ - * / on vectors), compiled once
// per level with that level's flags; LANES is what fits a register there. Only what that arithmetic
// cannot say (maximum, half precision) names an instruction, and always beside the same in plain C.
// LANES can be set from outside: wide vectors on a narrow machine are how the 16-lane kernels are
// tested where there is no AVX-512.
//
// a * b + c is one rounding where the level has FMA (the kernels are compiled with -ffp-contract=fast).
#ifndef OPS_CPU_VECTOR_H
#define OPS_CPU_VECTOR_H

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <math.h>

#include "base/dtype.h"

#ifndef LANES
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif
#endif

#define INLINE static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef uint16_t vh __attribute__((vector_size(2 * LANES)));
typedef uint8_t vb __attribute__((vector_size(LANES)));
typedef int8_t vc __attribute__((vector_size(LANES)));
typedef int16_t vs __attribute__((vector_size(2 * LANES)));

// The same where they lie in memory, at the alignment of one element.
typedef float vf_memory __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t vh_memory __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

INLINE int clamp(int x, int low, int high) {
    return x < low ? low : x > high ? high : x;
}

INLINE vf vf_load(const float *p) {
    return *(const vf_memory *)p;
}

INLINE void vf_store(float *p, vf v) {
    *(vf_memory *)p = v;
}

// The first n < LANES floats; the rest is zero.
INLINE vf vf_load_part(const float *p, int n) {
    vf v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

INLINE void vf_store_part(float *p, vf v, int n) {
    memcpy(p, &v, (size_t)n * sizeof *p);
}

// The line at this address will be read soon: to the second-level cache, since fetching to the first takes up the
// buffers that loads wait in. An address past the end of anything is harmless.
INLINE void fetch(const void *base, size_t bytes) {
    __builtin_prefetch((const char *)base + bytes, 0, 2);
}

INLINE vf vf_splat(float x) {
#if LANES == 16
    return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif LANES == 8
    return (vf){x, x, x, x, x, x, x, x};
#else
    return (vf){x, x, x, x};
#endif
}

INLINE vi vi_splat(int32_t x) {
    return (vi){0} + x;
}

// 0, 1, 2, ...
INLINE vi vi_lane_numbers(void) {
#if LANES == 16
    return (vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif LANES == 8
    return (vi){0, 1, 2, 3, 4, 5, 6, 7};
#else
    return (vi){0, 1, 2, 3};
#endif
}

// a where the mask is -1, b where it is 0.
INLINE vf vf_select(vi mask, vf a, vf b) {
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

// a * b + c, by name where it matters which product is the fused one, or that every copy of an expression rounds alike:
// left to itself a compiler may fuse it in one loop and not in the other.
INLINE vf vf_multiply_add(vf a, vf b, vf c) {
#if LANES == 16 && defined(__AVX512F__)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif LANES == 8 && defined(__FMA__)
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

// a > b ? a : b: the second when either is NaN.
INLINE vf vf_max(vf a, vf b) {
#if LANES == 16 && defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif LANES == 8 && defined(__AVX__)
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#elif LANES == 4 && defined(__SSE2__)
    return (vf)_mm_max_ps((__m128)a, (__m128)b);
#else
    return vf_select(a > b, a, b);
#endif
}

// a < b ? a : b: the second when either is NaN.
INLINE vf vf_min(vf a, vf b) {
#if LANES == 16 && defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif LANES == 8 && defined(__AVX__)
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#elif LANES == 4 && defined(__SSE2__)
    return (vf)_mm_min_ps((__m128)a, (__m128)b);
#else
    return vf_select(a < b, a, b);
#endif
}

// a * b with a rounding of its own, which the compiler does not fuse with what is added next.
INLINE vf vf_product(vf a, vf b) {
    return vf_multiply_add(a, b, vf_splat(-0.0f));
}

INLINE vf vf_sqrt(vf x) {
#if LANES == 16 && defined(__AVX512F__)
    return (vf)_mm512_sqrt_ps((__m512)x);
#elif LANES == 8 && defined(__AVX__)
    return (vf)_mm256_sqrt_ps((__m256)x);
#elif LANES == 4 && defined(__SSE2__)
    return (vf)_mm_sqrt_ps((__m128)x);
#else
    float lanes[LANES];
    memcpy(lanes, &x, sizeof x);
    for (int i = 0; i < LANES; i++) lanes[i] = sqrtf(lanes[i]);
    return vf_load(lanes);
#endif
}

// The sum of the lanes, halves added to each other until one is left.
INLINE float vf_sum(vf v) {
    typedef float quarter __attribute__((vector_size(16)));
    quarter part[LANES / 4];
    memcpy(part, &v, sizeof v);
#if LANES == 16
    part[0] = (part[0] + part[2]) + (part[1] + part[3]);
#elif LANES == 8
    part[0] = part[0] + part[1];
#endif
    return (part[0][0] + part[0][2]) + (part[0][1] + part[0][3]);
}

// sums[i] = vf_sum(v[i]), of four at once.
INLINE void vf_sum_four(float *sums, const vf *v) {
#if defined(__SSE2__)
    __m128 row[4];
    for (int i = 0; i < 4; i++) {
        __m128 part[LANES / 4];
        memcpy(part, &v[i], sizeof v[i]);
#if LANES == 16
        part[0] = (part[0] + part[2]) + (part[1] + part[3]);
#elif LANES == 8
        part[0] = part[0] + part[1];
#endif
        row[i] = part[0];
    }
    _MM_TRANSPOSE4_PS(row[0], row[1], row[2], row[3]);
    _mm_storeu_ps(sums, (row[0] + row[2]) + (row[1] + row[3]));
#else
    for (int i = 0; i < 4; i++) sums[i] = vf_sum(v[i]);
#endif
}

// The largest lane; NaN lanes may be passed over.
INLINE float vf_largest(vf v) {
    float lanes[LANES];
    memcpy(lanes, &v, sizeof v);
    float largest = lanes[0];
    for (int i = 1; i < LANES; i++) largest = lanes[i] > largest ? lanes[i] : largest;
    return largest;
}

INLINE vf vf_from_bf16(vh bits) {
#if LANES == 16 && defined(__AVX512F__)
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)bits), 16);
#elif LANES == 8 && defined(__AVX2__)
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)bits), 16);
#else
    return (vf)(__builtin_convertvector(bits, vu) << 16);
#endif
}

// IEEE binary16: its exponent and mantissa, put where F32 has them, are the number times 2^-112 (exact,
// subnormals too); infinities and NaN keep an exponent of all ones.
INLINE vf vf_from_f16(vh bits) {
#if LANES == 16 && defined(__AVX512F__)
    return (vf)_mm512_cvtph_ps((__m256i)bits);
#elif LANES == 8 && defined(__F16C__)
    return (vf)_mm256_cvtph_ps((__m128i)bits);
#else
    const vu wide = __builtin_convertvector(bits, vu);
    const vu sign = (wide & 0x8000) << 16;
    const vu magnitude = (wide & 0x7fff) << 13;
    const vf value = (vf)magnitude * vf_splat(0x1p112f);
    const vu special = (vu)(magnitude >= (vu)vi_splat(0x0f800000)) & 0x7f800000;
    return (vf)((vu)value | special | sign);
#endif
}

// One number in half precision.
INLINE float f_from_f16(const void *bits) {
    uint16_t half;
    memcpy(&half, bits, sizeof half);
#if defined(__F16C__)
    return _cvtsh_ss(half);
#else
    return f16_to_f32(half);
#endif
}

// Element i on of a row in blocks of 32 (dtype.h); i is a multiple of LANES, so all are in one half of a block.
INLINE vf vf_from_block(const void *row, enum dtype dtype, size_t i) {
    const uint8_t *block = (const uint8_t *)row + i / 32 * (dtype == DTYPE_Q8_0 ? 34 : 18);
    const vf scale = vf_splat(f_from_f16(block));
    vb bytes;
    if (dtype == DTYPE_Q8_0) {
        memcpy(&bytes, block + 2 + i % 32, sizeof bytes);
        return scale * __builtin_convertvector(__builtin_convertvector((vc)bytes, vi), vf);
    }
    memcpy(&bytes, block + 2 + i % 16, sizeof bytes);
    const vi nibbles = (__builtin_convertvector(bytes, vi) >> (i % 32 < 16 ? 0 : 4)) & 15;
    return scale * __builtin_convertvector(nibbles - 8, vf);
}

// LANES elements from element i of a row of weights, widened; with blocks, i is a multiple of LANES.
INLINE vf vf_widen(const void *row, enum dtype dtype, size_t i) {
    switch (dtype) {
    case DTYPE_Q8_0:
    case DTYPE_Q4_0:
        return vf_from_block(row, dtype, i);
    case DTYPE_F16:
        return vf_from_f16(*(const vh_memory *)((const uint16_t *)row + i));
    case DTYPE_BF16:
        return vf_from_bf16(*(const vh_memory *)((const uint16_t *)row + i));
    default:
        return vf_load((const float *)row + i);
    }
}

// One element of a row of weights.
INLINE float f_widen(const void *row, enum dtype dtype, size_t i) {
    switch (dtype) {
    case DTYPE_F16:
        return f16_to_f32(((const uint16_t *)row)[i]);
    case DTYPE_BF16:
        return bf16_to_f32(((const uint16_t *)row)[i]);
    default:
        return ((const float *)row)[i];
    }
}

// The first n < LANES elements from element i; the rest is zero.
INLINE vf vf_widen_part(const void *row, enum dtype dtype, size_t i, int n) {
    float lanes[LANES] = {0};
    for (int j = 0; j < n; j++) lanes[j] = f_widen(row, dtype, i + (size_t)j);
    return vf_load(lanes);
}

// exp(x), about 1 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, ln 2 in two parts so that r is exact;
// exp(r) = 1 + r + r^2 q(r), q fitted at the Chebyshev nodes (relative error 1.1e-8).
// 2^n is applied in two halves, which reaches infinity above and the subnormals below.
INLINE vf vf_exp(vf x) {
    const vf clamped = vf_min(vf_splat(89.0f), vf_max(vf_splat(-104.0f), x)); // NaN stays: it is the second
    const vf magic = vf_splat(0x1.8p23f);                                     // adding it rounds to an integer
    const vf shifted = clamped * vf_splat(0x1.715476p0f) + magic;             // log2(e)
    const vf n = shifted - magic;
    const vf r = (clamped - n * vf_splat(0x1.62e400p-1f)) - n * vf_splat(0x1.7f7d1cp-20f);
    vf q = vf_splat(0.00139345445f);
    q = q * r + vf_splat(0.00836377647f);
    q = q * r + vf_splat(0.0416664568f);
    q = q * r + vf_splat(0.166665734f);
    q = q * r + vf_splat(0.500000001f);
    const vf p = (r * r) * q + r + vf_splat(1.0f);
#if LANES == 16 && defined(__AVX512F__)
    return (vf)_mm512_scalef_ps((__m512)p, (__m512)n); // the same bits in one instruction
#else
    const vi exponent = (vi)shifted - vi_splat(0x4b400000);
    const vi half = exponent >> 1;
    const vf low = (vf)((vu)(half + 127) << 23);
    const vf high = (vf)((vu)(exponent - half + 127) << 23);
    return p * low * high;
#endif
}

#endif
