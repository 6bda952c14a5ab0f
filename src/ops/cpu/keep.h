// keep.h: what is kept of attention's weights under dropout, laid out as the scores are: [keys, queries].
#ifndef OPS_CPU_KEEP_H
#define OPS_CPU_KEEP_H

#include "ops/cpu/kernels.h"
#include "ops/cpu/vector.h"

// to[c][r] = from[r][c], bytes, 8 by 8: halves, quarters and eighths of the square change places (Warren, Hacker's
// Delight, section 7-3).
static void transpose_eight_bytes(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t from_stride) {
    static const uint64_t masks[] = {0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff};
    uint64_t row[8];
    for (int r = 0; r < 8; r++) memcpy(&row[r], from + r * from_stride, 8);
    for (int step = 2; step >= 0; step--) {
        const int half = 1 << step;
        for (int r = 0; r < 8; r++) {
            if ((r & half) != 0) continue;
            const uint64_t change = ((row[r] >> (8 * half)) ^ row[r + half]) & masks[step];
            row[r + half] ^= change;
            row[r] ^= change << (8 * half);
        }
    }
    for (int c = 0; c < 8; c++) memcpy(to + c * to_stride, &row[c], 8);
}

// keep[c][r] = from[r][c] for n_rows rows of n_columns bytes.
static void pack_keep(uint8_t *keep, const uint8_t *from, int64_t stride, int n_rows, int n_columns) {
    int r = 0;
    for (; r + 8 <= n_rows; r += 8) {
        int c = 0;
        for (; c + 8 <= n_columns; c += 8) {
            transpose_eight_bytes(keep + c * ATTEND_QUERIES + r, ATTEND_QUERIES, from + r * stride + c, stride);
        }
        for (; c < n_columns; c++) {
            for (int i = r; i < r + 8; i++) keep[c * ATTEND_QUERIES + i] = from[i * stride + c];
        }
    }
    for (; r < n_rows; r++) {
        for (int c = 0; c < n_columns; c++) keep[c * ATTEND_QUERIES + r] = from[r * stride + c];
    }
}

// What weights with these bytes of `keep` are multiplied by.
INLINE vf keep_factors(const uint8_t *keep, float scale) {
    vb bytes;
    memcpy(&bytes, keep, sizeof bytes);
    return vf_select(__builtin_convertvector(bytes, vi) != vi_splat(0), vf_splat(scale), vf_splat(0));
}

#endif
