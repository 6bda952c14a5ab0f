// transpose.h: squares of 16 by 16 in registers of AVX-512.
#ifndef OPS_CPU_TRANSPOSE_H
#define OPS_CPU_TRANSPOSE_H

#include <immintrin.h>

#include "ops/cpu/vector.h"

// [16][16] numbers of 32 bits become their transpose.
INLINE void transpose(__m512i r[16]) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) { // r[i + c]: columns c, c + 4, c + 8, c + 12 of rows i .. i + 3
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int c = 0; c < 4; c++) {
        const __m512i even = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
        const __m512i even_below = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        const __m512i odd = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
        const __m512i odd_below = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
        t[c] = _mm512_shuffle_i32x4(even, even_below, 0x88);
        t[4 + c] = _mm512_shuffle_i32x4(odd, odd_below, 0x88);
        t[8 + c] = _mm512_shuffle_i32x4(even, even_below, 0xdd);
        t[12 + c] = _mm512_shuffle_i32x4(odd, odd_below, 0xdd);
    }
    for (int i = 0; i < 16; i++) r[i] = t[i];
}

#endif
