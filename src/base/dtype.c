// dtype.c: see dtype.h.
#include "base/dtype.h"

#include <math.h>

enum {
    Q_BLOCK = 32,               // numbers of a quantised block
    Q6_BLOCK = DTYPE_MAX_BLOCK, // of one of Q6_K
    Q6_HALF = Q6_BLOCK / 2,
    Q6_HIGH = Q6_BLOCK / 2,              // where in it the high bits begin,
    Q6_SCALES = Q6_HIGH + Q6_BLOCK / 4,  // the scales of 16 numbers each,
    Q6_SCALE = Q6_SCALES + Q6_BLOCK / 16 // and the block's
};

static const struct dtype_info infos[DTYPE_COUNT] = {
    [DTYPE_F32] = {"F32", 1, 4},
    [DTYPE_F16] = {"F16", 1, 2},
    [DTYPE_BF16] = {"BF16", 1, 2},
    [DTYPE_Q8_0] = {"Q8_0", Q_BLOCK, 2 + Q_BLOCK},
    [DTYPE_Q4_0] = {"Q4_0", Q_BLOCK, 2 + Q_BLOCK / 2},
    [DTYPE_Q6_K] = {"Q6_K", Q6_BLOCK, Q6_SCALE + 2},
    [DTYPE_OTHER] = {"other", 1, 1},
};

const struct dtype_info *dtype_info(enum dtype dtype) {
    return &infos[dtype];
}

bool dtype_from_name(const char *name, enum dtype *dtype) {
    for (int i = 0; i < DTYPE_OTHER; i++) {
        if (strcmp(infos[i].name, name) == 0) {
            *dtype = (enum dtype)i;
            return true;
        }
    }
    return false;
}

size_t dtype_bytes(enum dtype dtype, size_t n) {
    return n / infos[dtype].block * infos[dtype].block_bytes;
}

static uint32_t f32_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

uint16_t f32_to_bf16(float value) {
    const uint32_t bits = f32_bits(value);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40); // a NaN stays one
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

uint16_t f32_to_f16(float value) {
    const uint32_t bits = f32_bits(value);
    const uint32_t sign = bits >> 16 & 0x8000;
    const uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);  // NaN
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00); // rounds to 2^16 or more: infinity
    if (magnitude < 0x33000000) return (uint16_t)sign;             // below half the smallest subnormal
    const uint32_t exponent = magnitude >> 23;
    uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
    // A normal half keeps 10 of 23 mantissa bits, a subnormal one fewer.
    const uint32_t shift = exponent >= 113 ? 13 : 126 - exponent;
    const uint32_t rest = mantissa & ((1u << shift) - 1);
    const uint32_t half = 1u << (shift - 1);
    mantissa >>= shift;
    if (rest > half || (rest == half && (mantissa & 1))) mantissa++;
    // The hidden bit, and a carry out of the mantissa, move the exponent up by themselves.
    const uint32_t base = exponent >= 113 ? (exponent - 113) << 10 : 0;
    return (uint16_t)(sign | (base + mantissa));
}

// ---- Blocks ---------------------------------------------------------------------------------

static float read_scale(const uint8_t *block) {
    uint16_t bits;
    memcpy(&bits, block, sizeof bits);
    return f16_to_f32(bits);
}

static void write_scale(uint8_t *block, float scale) {
    const uint16_t bits = f32_to_f16(scale);
    memcpy(block, &bits, sizeof bits);
}

static void q8_0_to_f32(float *to, const uint8_t *block) {
    const float scale = read_scale(block);
    for (int i = 0; i < Q_BLOCK; i++) to[i] = scale * (float)(int8_t)block[2 + i];
}

static void q4_0_to_f32(float *to, const uint8_t *block) {
    const float scale = read_scale(block);
    for (int i = 0; i < Q_BLOCK / 2; i++) {
        to[i] = scale * (float)((block[2 + i] & 15) - 8);
        to[i + Q_BLOCK / 2] = scale * (float)((block[2 + i] >> 4) - 8);
    }
}

// Numbers l, l + 32, l + 64 and l + 96 of a half share a byte of high bits; the first two and the last two of them lie
// in the low and high nibbles of two bytes.
static void q6_k_to_f32(float *to, const uint8_t *block) {
    const float scale = read_scale(block + Q6_SCALE);
    for (int i = 0; i < Q6_BLOCK; i++) {
        const int half = i / Q6_HALF, quarter = i % Q6_HALF / 32, l = i % 32;
        const unsigned low = block[half * 64 + quarter % 2 * 32 + l] >> (quarter / 2 * 4) & 15;
        const unsigned high = block[Q6_HIGH + half * 32 + l] >> (2 * quarter) & 3;
        const int8_t fine = (int8_t)block[Q6_SCALES + i / 16];
        to[i] = scale * (float)fine * (float)((int)(low | high << 4) - 32);
    }
}

// The number of the largest magnitude, with its sign.
static float largest_of(const float *from) {
    float largest = 0;
    for (int i = 0; i < Q_BLOCK; i++) {
        if (fabsf(from[i]) > fabsf(largest)) largest = from[i];
    }
    return largest;
}

// To the nearest whole number, halves away from zero, within [low, high]; a NaN becomes `low`.
static int clamped(float number, int low, int high) {
    if (!(number > (float)low)) return low;
    return number < (float)high ? (int)roundf(number) : high;
}

// Both as ggml has them (quantize_row_q8_0_ref, quantize_row_q4_0_ref in ggml-quants.c), to the bit: the same weights
// give the same file. Here the largest magnitude becomes 127 ...
static void f32_to_q8_0(uint8_t *block, const float *from) {
    const float scale = fabsf(largest_of(from)) / 127;
    const float inverse = scale > 0 ? 1 / scale : 0;
    write_scale(block, scale);
    for (int i = 0; i < Q_BLOCK; i++) block[2 + i] = (uint8_t)(int8_t)clamped(from[i] * inverse, -127, 127);
}

// ggml adds 8.5 and cuts off the rest.
static unsigned nibble(float number) {
    const float shifted = number + 8.5F;
    if (!(shifted > 0)) return 0;
    return shifted < 16 ? (unsigned)shifted : 15;
}

// ... and here, with its sign, -8.
static void f32_to_q4_0(uint8_t *block, const float *from) {
    const float scale = largest_of(from) / -8;
    const float inverse = scale != 0 ? 1 / scale : 0;
    write_scale(block, scale);
    for (int i = 0; i < Q_BLOCK / 2; i++) {
        const float low = from[i] * inverse, high = from[i + Q_BLOCK / 2] * inverse;
        block[2 + i] = (uint8_t)(nibble(low) | nibble(high) << 4);
    }
}

// ---- Arrays ---------------------------------------------------------------------------------

void dtype_to_f32(float *to, const void *from, enum dtype dtype, size_t n) {
    const uint8_t *bytes = from;
    if (dtype == DTYPE_F32) {
        if (n > 0) memcpy(to, from, n * sizeof *to);
        return;
    }
    if (infos[dtype].block > 1) {
        for (size_t i = 0; i < n; i += infos[dtype].block, bytes += infos[dtype].block_bytes) {
            if (dtype == DTYPE_Q8_0) {
                q8_0_to_f32(to + i, bytes);
            } else if (dtype == DTYPE_Q4_0) {
                q4_0_to_f32(to + i, bytes);
            } else {
                q6_k_to_f32(to + i, bytes);
            }
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, bytes + 2 * i, sizeof bits);
        to[i] = dtype == DTYPE_BF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
    }
}

void dtype_from_f32(void *to, enum dtype dtype, const float *from, size_t n) {
    uint8_t *bytes = to;
    if (dtype == DTYPE_F32) {
        if (n > 0) memcpy(to, from, n * sizeof *from);
        return;
    }
    if (infos[dtype].block > 1) {
        for (size_t i = 0; i < n; i += Q_BLOCK, bytes += infos[dtype].block_bytes) {
            if (dtype == DTYPE_Q8_0) {
                f32_to_q8_0(bytes, from + i);
            } else {
                f32_to_q4_0(bytes, from + i);
            }
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const uint16_t bits = dtype == DTYPE_BF16 ? f32_to_bf16(from[i]) : f32_to_f16(from[i]);
        memcpy(bytes + 2 * i, &bits, sizeof bits);
    }
}
