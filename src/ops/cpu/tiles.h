// tiles.h: what attention forward and backward are made of: small blocks, multiplied in registers.
//
// A block of queries lies transposed, [head_size, queries], one query a lane: rows of keys are then broadcast as they
// lie, scores [keys, queries] come out with softmax running down the lanes, and neither needs a horizontal step.
// What is summed up over keys or over queries reads those scores as broadcast weights of whole rows.
#ifndef OPS_CPU_TILES_H
#define OPS_CPU_TILES_H

#include "ops/cpu/keep.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/vector.h"

enum {
    DEPTH = 64,    // elements of head_size, and rows of a block, that are packed at once
    TILE_ROWS = 4, // rows a tile, times TILE_VECTORS vectors: 16 sums of 32 registers, or 12 of 16
    TILE_VECTORS = LANES == 16 ? 4 : 3
};

// ---- Packing ----------------------------------------------------------------------------------

// to[c][r] = from[r][c], 4 by 4.
INLINE void transpose_four(float *to, int64_t to_stride, const float *from, int64_t from_stride) {
#if defined(__SSE2__)
    __m128 row[4];
    for (int r = 0; r < 4; r++) row[r] = _mm_loadu_ps(from + r * from_stride);
    _MM_TRANSPOSE4_PS(row[0], row[1], row[2], row[3]);
    for (int c = 0; c < 4; c++) _mm_storeu_ps(to + c * to_stride, row[c]);
#else
    for (int r = 0; r < 4; r++) {
        for (int c = 0; c < 4; c++) to[c * to_stride + r] = from[r * from_stride + c];
    }
#endif
}

// packed[c][r] = from[r][c] for n_rows rows of n_columns; up to n_lanes the lanes without a row become zero.
static void pack_transposed(float *packed, const float *from, int64_t stride, int n_rows, int n_columns, int n_lanes) {
    int r = 0;
    for (; r + 4 <= n_rows; r += 4) {
        int c = 0;
        for (; c + 4 <= n_columns; c += 4) {
            transpose_four(packed + c * ATTEND_QUERIES + r, ATTEND_QUERIES, from + r * stride + c, stride);
        }
        for (; c < n_columns; c++) {
            for (int i = r; i < r + 4; i++) packed[c * ATTEND_QUERIES + i] = from[i * stride + c];
        }
    }
    for (; r < n_lanes; r++) {
        for (int c = 0; c < n_columns; c++) packed[c * ATTEND_QUERIES + r] = r < n_rows ? from[r * stride + c] : 0;
    }
}

// Rows DEPTH apart, filled up to a whole vector with zeros: rows that lie a power of two apart evict each other from
// the first-level cache.
static void pack_rows(float *packed, const float *from, int64_t stride, int n_rows, int n_columns) {
    for (int r = 0; r < n_rows; r++) {
        int c = 0;
        for (; c + LANES <= n_columns; c += LANES) vf_store(packed + r * DEPTH + c, vf_load(from + r * stride + c));
        if (c < n_columns) vf_store(packed + r * DEPTH + c, vf_load_part(from + r * stride + c, n_columns - c));
    }
}

// ---- Products ---------------------------------------------------------------------------------

// scores[r][i] (+)= sum over d of row[r][d] * packed[d][i] for n_rows rows and n_vectors vectors of lanes.
INLINE void dot_tile(int n_rows, int n_vectors, float *scores, const float *row, int64_t stride, const float *packed,
                     int n_depth, bool add) {
    vf sum[TILE_ROWS][TILE_VECTORS] = {{{0}}};
    for (int d = 0; d < n_depth; d++) {
        vf lanes[TILE_VECTORS];
        for (int v = 0; v < n_vectors; v++) lanes[v] = vf_load(packed + d * ATTEND_QUERIES + v * LANES);
        for (int r = 0; r < n_rows; r++) {
            const vf element = vf_splat(row[r * stride + d]);
            for (int v = 0; v < n_vectors; v++) sum[r][v] += element * lanes[v];
        }
    }
    for (int r = 0; r < n_rows; r++) {
        for (int v = 0; v < n_vectors; v++) {
            float *to = scores + r * ATTEND_QUERIES + v * LANES;
            vf_store(to, add ? vf_load(to) + sum[r][v] : sum[r][v]);
        }
    }
}

INLINE void dot_vectors(int n_rows, int n_vectors, float *scores, const float *row, int64_t stride, const float *packed,
                        int n_depth, bool add) {
    int v = 0;
    for (; v + TILE_VECTORS <= n_vectors; v += TILE_VECTORS) {
        dot_tile(n_rows, TILE_VECTORS, scores + v * LANES, row, stride, packed + v * LANES, n_depth, add);
    }
    const int rest = n_vectors - v;
    scores += v * LANES;
    packed += v * LANES;
    if (rest == 3) {
        dot_tile(n_rows, 3, scores, row, stride, packed, n_depth, add);
    } else if (rest == 2) {
        dot_tile(n_rows, 2, scores, row, stride, packed, n_depth, add);
    } else if (rest == 1) {
        dot_tile(n_rows, 1, scores, row, stride, packed, n_depth, add);
    }
}

// scores[t][i] (+)= row[t] . packed[.][i] for n_rows rows (keys) and n_lanes lanes (queries). Lane i sees the rows
// t <= reach + i; vectors of lanes none of which sees any of a tile's rows are left out.
static void dot_block(float *scores, const float *row, int64_t stride, int n_rows, const float *packed, int n_lanes,
                      int n_depth, int reach, bool add) {
    const int n_vectors = (n_lanes + LANES - 1) / LANES;
    for (int t = 0; t < n_rows;) {
        const int first = clamp(t - reach, 0, n_lanes) / LANES; // the first vector that sees row t
        const float *from = row + t * stride;
        float *to = scores + t * ATTEND_QUERIES + first * LANES;
        if (t + TILE_ROWS <= n_rows) {
            dot_vectors(TILE_ROWS, n_vectors - first, to, from, stride, packed + first * LANES, n_depth, add);
            t += TILE_ROWS;
        } else {
            dot_vectors(1, n_vectors - first, to, from, stride, packed + first * LANES, n_depth, add);
            t++;
        }
    }
}

// out[r][..] += sum over t of weight[t * step + r * next] * row[t][..] for n_rows rows and n_vectors vectors, the last
// of which has `part` elements in out (0: all). Then, for t = n .. n + n_more - 1, to the rows r > t - n alone.
INLINE void sum_tile(int n_rows, int n_vectors, int part, float *out, int64_t out_stride, const float *weight,
                     int64_t step, int64_t next, const float *row, int64_t stride, int n, int n_more) {
    vf sum[TILE_ROWS][TILE_VECTORS];
    for (int r = 0; r < n_rows; r++) {
        const float *from = out + r * out_stride;
        for (int v = 0; v < n_vectors; v++) {
            sum[r][v] = part > 0 ? vf_load_part(from + v * LANES, part) : vf_load(from + v * LANES);
        }
    }
    for (int t = 0; t < n; t++) {
        vf lanes[TILE_VECTORS];
        for (int v = 0; v < n_vectors; v++) lanes[v] = vf_load(row + t * stride + v * LANES);
        for (int r = 0; r < n_rows; r++) {
            const vf w = vf_splat(weight[t * step + r * next]);
            for (int v = 0; v < n_vectors; v++) sum[r][v] += w * lanes[v];
        }
    }
    for (int j = 0; j < n_rows - 1; j++) {
        if (j >= n_more) break;
        const int64_t t = n + j;
        for (int r = j + 1; r < n_rows; r++) {
            const vf w = vf_splat(weight[t * step + r * next]);
            for (int v = 0; v < n_vectors; v++) sum[r][v] += w * vf_load(row + t * stride + v * LANES);
        }
    }
    for (int r = 0; r < n_rows; r++) {
        float *to = out + r * out_stride;
        for (int v = 0; v < n_vectors; v++) {
            if (part > 0) {
                vf_store_part(to + v * LANES, sum[r][v], part);
            } else {
                vf_store(to + v * LANES, sum[r][v]);
            }
        }
    }
}

// out[r][c] += sum over t < n of weight[t * step + r * next] * row[t][c] for n_rows rows and n_columns columns, and
// n_more as in sum_tile. Rows may be read to a whole vector.
INLINE void sum_rows(int n_rows, float *out, int64_t out_stride, const float *weight, int64_t step, int64_t next,
                     const float *row, int64_t stride, int n, int n_more, int n_columns) {
    int c = 0;
    for (; c + TILE_VECTORS * LANES <= n_columns; c += TILE_VECTORS * LANES) {
        sum_tile(n_rows, TILE_VECTORS, 0, out + c, out_stride, weight, step, next, row + c, stride, n, n_more);
    }
    if (c + 2 * LANES <= n_columns) {
        sum_tile(n_rows, 2, 0, out + c, out_stride, weight, step, next, row + c, stride, n, n_more);
        c += 2 * LANES;
    }
    if (c + LANES <= n_columns) {
        sum_tile(n_rows, 1, 0, out + c, out_stride, weight, step, next, row + c, stride, n, n_more);
        c += LANES;
    }
    if (c < n_columns) {
        sum_tile(n_rows, 1, n_columns - c, out + c, out_stride, weight, step, next, row + c, stride, n, n_more);
    }
}

// out[i][c] += sum over the keys t that query i sees of weight[t][i] * row[t][c], for n queries. Query i sees the keys
// t <= reach + i of n_keys. A tile of queries takes the keys that all of them see together, then those of the diagonal,
// one more a query: a key that is not seen is left out, as zero times NaN is not zero.
static void sum_over_keys(float *out, int64_t out_stride, int n, const float *weight, const float *row, int n_keys,
                          int reach, int n_columns) {
    for (int i = 0; i < n;) {
        const int n_seen = clamp(reach + i + 1, 0, n_keys);
        float *to = out + i * out_stride;
        if (i + TILE_ROWS <= n && reach + i + 1 >= 0) {
            const int n_more = clamp(n_keys - n_seen, 0, TILE_ROWS - 1);
            sum_rows(TILE_ROWS, to, out_stride, weight + i, ATTEND_QUERIES, 1, row, DEPTH, n_seen, n_more, n_columns);
            i += TILE_ROWS;
        } else {
            sum_rows(1, to, 0, weight + i, ATTEND_QUERIES, 1, row, DEPTH, n_seen, 0, n_columns);
            i++;
        }
    }
}

// out[t][c] += sum over the queries i that see key t of weight[t][i] * row[i][c], for n_keys keys, of which the last
// query sees all. From the last query backwards, so that the diagonal comes last, as above.
static void sum_over_queries(float *out, int64_t out_stride, int n_keys, const float *weight, const float *row, int n,
                             int reach, int n_columns) {
    const float *last_row = row + (n - 1) * DEPTH;
    for (int t = 0; t < n_keys;) {
        const int n_rows = t + TILE_ROWS <= n_keys ? TILE_ROWS : 1;
        const int last = t + n_rows - 1;
        const int n_all = n - clamp(last - reach, 0, n); // see the last key, and so all of them
        const float *from = weight + last * ATTEND_QUERIES + n - 1;
        float *to = out + last * out_stride;
        if (n_rows == TILE_ROWS) {
            const int n_more = clamp(last - reach, 0, TILE_ROWS - 1);
            sum_rows(TILE_ROWS, to, -out_stride, from, -1, -ATTEND_QUERIES, last_row, -DEPTH, n_all, n_more, n_columns);
        } else {
            sum_rows(1, to, 0, from, -1, 0, last_row, -DEPTH, n_all, 0, n_columns);
        }
        t += n_rows;
    }
}

#endif
