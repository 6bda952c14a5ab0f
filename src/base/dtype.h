// dtype.h: the number formats that tensors come in, one row each.
#ifndef BASE_DTYPE_H
#define BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_Q8_0,  // blocks of 32: F16 scale d, 32 int8 q; the number is d * q        (ggml's block_q8_0)
    DTYPE_Q4_0,  // blocks of 32: F16 scale d, 16 bytes; number i is d * (low nibble of byte i - 8) for i < 16, then the
                 // high nibbles                                                     (ggml's block_q4_0)
    DTYPE_Q6_K,  // blocks of 256, in halves of 128 numbers: 64 bytes of low nibbles each, 32 bytes of two high bits
                 // each; 16 int8 scales s, F16 scale d: the number is d * s * (its six bits - 32); read only
                 //                                                                  (ggml's block_q6_K)
    DTYPE_OTHER, // known by name to a container, not computed with (integer mask buffers)
    DTYPE_COUNT
};

enum {
    DTYPE_MAX_BLOCK = 256 // numbers of a block
};

struct dtype_info {
    const char *name;   // "F32", as safetensors spells it
    size_t block;       // elements a block (1 unless quantised)
    size_t block_bytes; // bytes a block
};

const struct dtype_info *dtype_info(enum dtype dtype);
// false when no dtype we compute with has this (safetensors) name.
bool dtype_from_name(const char *name, enum dtype *dtype);
// Bytes of n elements. n must be a multiple of the block.
size_t dtype_bytes(enum dtype dtype, size_t n);

// Widens or rounds (to nearest, ties to even) n numbers. `from` and `to` need no alignment. Nothing is rounded to Q6_K.
void dtype_to_f32(float *to, const void *from, enum dtype dtype, size_t n);
void dtype_from_f32(void *to, enum dtype dtype, const float *from, size_t n);

static inline float bf16_to_f32(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

// IEEE binary16 by integer arithmetic: exact, subnormals, infinities and NaN included.
static inline float f16_to_f32(uint16_t bits) {
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1f;
    uint32_t mantissa = bits & 0x3ff;
    uint32_t wide;
    if (exponent == 0x1f) {
        wide = sign | 0x7f800000 | mantissa << 13;
    } else if (exponent != 0) {
        wide = sign | (exponent + 112) << 23 | mantissa << 13;
    } else if (mantissa == 0) {
        wide = sign;
    } else {
        uint32_t e = 113;
        while ((mantissa & 0x400) == 0) {
            mantissa <<= 1;
            e--;
        }
        wide = sign | e << 23 | (mantissa & 0x3ff) << 13;
    }
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

uint16_t f32_to_f16(float value);
uint16_t f32_to_bf16(float value);

#endif
