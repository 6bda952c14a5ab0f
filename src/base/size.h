// size.h: sizes from strangers, multiplied and added without overflow.
#ifndef BASE_SIZE_H
#define BASE_SIZE_H

#include <stdbool.h>
#include <stdint.h>

// *result = a * b; false on overflow.
static inline bool size_mul(uint64_t a, uint64_t b, uint64_t *result) {
    return !__builtin_mul_overflow(a, b, result);
}

// *result = a + b; false on overflow.
static inline bool size_add(uint64_t a, uint64_t b, uint64_t *result) {
    return !__builtin_add_overflow(a, b, result);
}

#endif
