// attention_bf16.c: see attention_bf16.h; the equations are those of attention_tmpl.c and attention_backward_tmpl.c.
//
// The instruction is, per lane, sum += a[k] b[k] + a[k + 1] b[k + 1] on pairs of BF16 numbers, so every operand lies in
// pairs along what is summed over. One operand of a product is broadcast, a pair at a time, the other is a vector of 16
// pairs:
//
//     scores [key, query]   keys [key][pairs of d] broadcast, queries [pairs of d][query]
//     out [query, d]        weights [pairs of keys][query] broadcast, values [pairs of keys][d]; dQ likewise
//     dV [key, d]           weights [key][pairs of queries] broadcast, dO [pairs of queries][d]; dK likewise
#include "ops/cpu/attention_bf16.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "ops/cpu/attention_walk.h"
#include "ops/cpu/keep.h"
#include "ops/cpu/transpose.h"
#include "ops/cpu/vector.h"

enum {
    DEPTH = 64, // elements of a head at most, and queries and keys of a block
    PAIRS = DEPTH / 2,
    TILE_ROWS = 4 // times up to 4 vectors: 16 sums
};
_Static_assert((int)ATTEND_QUERIES == (int)DEPTH && (int)ATTEND_KEYS == (int)DEPTH, "one size for all");

typedef uint32_t along[DEPTH][PAIRS];  // [row][pairs of columns]
typedef uint32_t across[PAIRS][DEPTH]; // [pairs of rows][column], or [pairs of columns][row]

// ---- Packing ----------------------------------------------------------------------------------

// 16 pairs (low, high).
INLINE __m512i pairs_of(__m512 low, __m512 high) {
    const __m512i mixed = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(mixed, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// 32 numbers of a row as pairs; from `n_columns` on there are none.
INLINE __m512i pairs_along(const float *from, int n_columns) {
    const __m512 high = n_columns > 16 ? _mm512_loadu_ps(from + 16) : _mm512_setzero_ps();
    return (__m512i)_mm512_cvtne2ps_pbh(high, _mm512_loadu_ps(from));
}

// packed[r][c / 2] = (from[r][c], from[r][c + 1]); rows are filled up to whole tiles with zeros.
static void pack_along(along packed, const float *from, int64_t stride, int n_rows, int n_columns) {
    for (int r = 0; r < (n_rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS; r++) {
        for (int c = 0; c < n_columns; c += 32) {
            const __m512i pairs =
                r < n_rows ? pairs_along(from + r * stride + c, n_columns - c) : _mm512_setzero_si512();
            _mm512_storeu_si512(&packed[r][c / 2], pairs);
        }
    }
}

// packed[r / 2][c] = (from[r][c], from[r + 1][c]); an odd last row is paired with zeros.
static void pack_across(across packed, const float *from, int64_t stride, int n_rows, int n_columns) {
    for (int r = 0; r < n_rows; r += 2) {
        for (int c = 0; c < n_columns; c += 16) {
            const float *low = from + r * stride + c;
            const __m512 high = r + 1 < n_rows ? _mm512_loadu_ps(low + stride) : _mm512_setzero_ps();
            _mm512_storeu_si512(&packed[r / 2][c], pairs_of(_mm512_loadu_ps(low), high));
        }
    }
}

// packed[c / 2][r] = (from[r][c], from[r][c + 1]); up to a whole vector the lanes without a row are zero.
static void pack_transposed(across packed, const float *from, int64_t stride, int n_rows, int n_columns) {
    for (int first = 0; first < n_rows; first += 16) {
        for (int c = 0; c < n_columns; c += 32) {
            __m512i square[16];
            for (int i = 0; i < 16; i++) {
                const int r = first + i;
                square[i] = r < n_rows ? pairs_along(from + r * stride + c, n_columns - c) : _mm512_setzero_si512();
            }
            transpose(square);
            const int n_pairs = n_columns - c > 16 ? 16 : 8;
            for (int p = 0; p < n_pairs; p++) _mm512_storeu_si512(&packed[c / 2 + p][first], square[p]);
        }
    }
}

// ---- Products ---------------------------------------------------------------------------------

// A product's broadcast operand: element (row r, pair p) is at[r * row + p * pair].
struct broadcast {
    const uint32_t *at;
    int64_t row, pair;
};

// out[r][..] = factors[r] * out[r][..] + sum over n_pairs pairs p of a(r, p) . lanes[p][..]; factors NULL: no such sum
// is there before.
INLINE void tile(int n_rows, int n_vectors, float *out, int64_t out_stride, const float *factors,
                 const struct broadcast *a, const uint32_t *lanes, int n_pairs) {
    __m512 sum[TILE_ROWS][4];
    for (int r = 0; r < n_rows; r++) {
        for (int v = 0; v < n_vectors; v++) {
            const float *from = out + r * out_stride + 16 * v;
            sum[r][v] = factors == NULL ? _mm512_setzero_ps()
                                        : _mm512_mul_ps(_mm512_loadu_ps(from), _mm512_set1_ps(factors[r]));
        }
    }
    for (int p = 0; p < n_pairs; p++) {
        __m512i vectors[4];
        for (int v = 0; v < n_vectors; v++) vectors[v] = _mm512_loadu_si512(lanes + p * DEPTH + 16 * v);
        for (int r = 0; r < n_rows; r++) {
            const __m512i pair = _mm512_set1_epi32((int32_t)a->at[r * a->row + p * a->pair]);
            for (int v = 0; v < n_vectors; v++) {
                sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh)pair, (__m512bh)vectors[v]);
            }
        }
    }
    for (int r = 0; r < n_rows; r++) {
        for (int v = 0; v < n_vectors; v++) _mm512_storeu_ps(out + r * out_stride + 16 * v, sum[r][v]);
    }
}

INLINE void tile_of(int n_rows, int n_vectors, float *out, int64_t out_stride, const float *factors,
                    const struct broadcast *a, const uint32_t *lanes, int n_pairs) {
    switch (n_vectors) {
    case 4:
        tile(n_rows, 4, out, out_stride, factors, a, lanes, n_pairs);
        break;
    case 3:
        tile(n_rows, 3, out, out_stride, factors, a, lanes, n_pairs);
        break;
    case 2:
        tile(n_rows, 2, out, out_stride, factors, a, lanes, n_pairs);
        break;
    default:
        tile(n_rows, 1, out, out_stride, factors, a, lanes, n_pairs);
    }
}

static const float ones[TILE_ROWS] = {1, 1, 1, 1};

// scores[t][i] = row t of `keys` . lane i of `queries`, for the vectors of lanes of which some see a key of the tile:
// lane i sees the keys t <= reach + i.
static void score_block(float scores[DEPTH][DEPTH], along keys, int n_keys, across queries, int n, int n_pairs,
                        int reach) {
    const int n_vectors = (n + 15) / 16;
    for (int t = 0; t < n_keys; t += TILE_ROWS) {
        const int first = clamp(t - reach, 0, n) / 16;
        const struct broadcast a = {keys[t], PAIRS, 1};
        if (first < n_vectors) {
            tile_of(TILE_ROWS, n_vectors - first, &scores[t][16 * first], DEPTH, NULL, &a, &queries[0][16 * first],
                    n_pairs);
        }
    }
}

// out[i][..] = factors[i] * out[i][..] + the sum over the keys that query i sees of weights[t / 2][i] . lanes[t /
// 2][..].
static void sum_over_keys(float *out, int64_t out_stride, int n, const float *factors, across weights, across lanes,
                          int n_keys, int reach, int n_columns) {
    for (int i = 0; i < n;) {
        const int n_rows = i + TILE_ROWS <= n ? TILE_ROWS : 1;
        const int n_pairs = (clamp(reach + i + n_rows, 0, n_keys) + 1) / 2;
        const struct broadcast a = {&weights[0][i], 1, DEPTH};
        const float *factor = factors != NULL ? factors + i : ones;
        float *to = out + i * out_stride;
        if (n_rows == TILE_ROWS) {
            tile_of(TILE_ROWS, n_columns / 16, to, out_stride, factor, &a, lanes[0], n_pairs);
        } else {
            tile_of(1, n_columns / 16, to, 0, factor, &a, lanes[0], n_pairs);
        }
        i += n_rows;
    }
}

// out[t][..] += the sum over the queries that see key t of weights[t][i / 2] . lanes[i / 2][..].
static void sum_over_queries(float *out, int64_t out_stride, int n_keys, along weights, across lanes, int n, int reach,
                             int n_columns) {
    for (int t = 0; t < n_keys;) {
        const int n_rows = t + TILE_ROWS <= n_keys ? TILE_ROWS : 1;
        const int first = clamp(t - reach, 0, n) / 2;
        const int n_pairs = (n + 1) / 2 - first;
        const struct broadcast a = {&weights[t][first], PAIRS, 1};
        float *to = out + t * out_stride;
        if (n_rows == TILE_ROWS) {
            tile_of(TILE_ROWS, n_columns / 16, to, out_stride, ones, &a, lanes[first < PAIRS ? first : 0], n_pairs);
        } else {
            tile_of(1, n_columns / 16, to, 0, ones, &a, lanes[first < PAIRS ? first : 0], n_pairs);
        }
        t += n_rows;
    }
}

// ---- Forward ----------------------------------------------------------------------------------

struct attend {
    const struct attention *attention;
    const float *query, *key, *value; // row 0: the block's first query; the sequence's first key
    float *out;
    const uint8_t *keep; // [n, keep_stride] or NULL
    int64_t keep_stride;
    int n;        // queries
    int position; // of the last key that the first query sees; each sees one more, but none more than n_key
    int n_key;
    _Alignas(64) float largest[DEPTH];
    _Alignas(64) float sum[DEPTH];
    _Alignas(64) float correction[DEPTH];
    _Alignas(64) across queries; // [pairs of d][query]
    _Alignas(64) along keys;
    _Alignas(64) float scores[DEPTH][DEPTH]; // [key][query]
    _Alignas(64) across weights;             // [pairs of keys][query]
    _Alignas(64) across values;              // [pairs of keys][d]
    _Alignas(64) uint8_t kept[DEPTH * DEPTH];
};

// exp(scale * score - largest) of key t for LANES queries from i on, 0 for those that do not see it; adds it to *sum.
INLINE vf weight_of(const struct attend *a, int t, int i, vi reach, vf largest, vf *sum) {
    const vf p = vf_exp(vf_load(&a->scores[t][i]) * vf_splat(a->attention->scale) - largest);
    const vf seen = vf_select(vi_splat(t) < reach, p, vf_splat(0));
    *sum += seen;
    return a->keep == NULL ? seen : seen * keep_factors(&a->kept[t * DEPTH + i], a->attention->keep_scale);
}

// The softmax step of LANES queries from i on: weights of what they see.
static void softmax_lanes(struct attend *a, int n_keys, int reach_first, int i) {
    const vf scale = vf_splat(a->attention->scale);
    const int last = i + LANES < a->n ? i + LANES - 1 : a->n - 1;
    const int n_all = clamp(reach_first + i + 1, 0, n_keys);            // keys that every lane sees
    const int n_any = clamp(reach_first + last + 1, 0, n_keys);         // keys that some lane sees
    const vi reach = vi_splat(reach_first + i + 1) + vi_lane_numbers(); // lane sees keys below this
    const vf before = vf_load(&a->largest[i]);
    vf largest = before;
    for (int t = 0; t < n_all; t++) largest = vf_max(vf_load(&a->scores[t][i]) * scale, largest);
    for (int t = n_all; t < n_any; t++) {
        const vf score = vf_load(&a->scores[t][i]) * scale;
        largest = vf_max(vf_select(vi_splat(t) < reach, score, vf_splat(-INFINITY)), largest);
    }
    vf sum = {0};
    for (int t = 0; t < n_any; t += 2) {
        const vf low = weight_of(a, t, i, reach, largest, &sum);
        const vf high = t + 1 < n_any ? weight_of(a, t + 1, i, reach, largest, &sum) : vf_splat(0);
        _mm512_storeu_si512(&a->weights[t / 2][i], pairs_of((__m512)low, (__m512)high));
    }
    const vf correction = vf_exp(before - largest);
    vf_store(&a->sum[i], vf_load(&a->sum[i]) * correction + sum);
    vf_store(&a->largest[i], largest);
    vf_store(&a->correction[i], correction);
}

static void attend_blocks(struct attend *a) {
    const struct attention *attention = a->attention;
    const int head_size = attention->head_size;
    const int64_t stride = attention->row_stride;
    for (int i = 0; i < DEPTH; i++) {
        a->largest[i] = -INFINITY;
        a->sum[i] = 0;
    }
    if (a->keep != NULL) memset(a->kept, 0, sizeof a->kept); // lanes without a query are read as well
    pack_transposed(a->queries, a->query, attention->query_stride, a->n, head_size);
    for (int first = 0; first < a->n_key; first += DEPTH) {
        const int n_keys = a->n_key - first < DEPTH ? a->n_key - first : DEPTH;
        const int reach = a->position - first;
        pack_along(a->keys, a->key + first * stride, stride, n_keys, head_size);
        score_block(a->scores, a->keys, n_keys, a->queries, a->n, head_size / 2, reach);
        if (a->keep != NULL) pack_keep(a->kept, a->keep + first, a->keep_stride, a->n, n_keys);
        for (int i = 0; i < a->n; i += LANES) softmax_lanes(a, n_keys, reach, i);
        pack_across(a->values, a->value + first * stride, stride, n_keys, head_size);
        sum_over_keys(a->out, attention->out_stride, a->n, a->correction, a->weights, a->values, n_keys, reach,
                      head_size);
    }
}

static void scale_row(float *row, float factor, int n) {
    for (int d = 0; d < n; d++) row[d] *= factor;
}

void attend_bf16(const struct attention *attention, const struct attention_sequence *sequence, int head, int first,
                 int n) {
    struct attend a;
    const int64_t column = (int64_t)head * attention->head_size;
    const int64_t row = (int64_t)head * sequence->n_query + first;
    a.attention = attention;
    a.query = sequence->query + first * attention->query_stride + column;
    a.key = sequence->key + head * attention->head_stride;
    a.value = sequence->value + head * attention->head_stride;
    a.out = sequence->out + first * attention->out_stride + column;
    a.n = n;
    a.position = attention_seen(attention, sequence, first) - 1;
    a.n_key = attention_seen(attention, sequence, first + n - 1);
    a.keep = sequence->keep != NULL ? sequence->keep + row * sequence->n_key : NULL;
    a.keep_stride = sequence->n_key;
    const size_t row_bytes = (size_t)attention->head_size * sizeof(float);
    for (int i = 0; i < n; i++) memset(a.out + i * attention->out_stride, 0, row_bytes);
    attend_blocks(&a);
    for (int i = 0; i < n; i++) {
        scale_row(a.out + i * attention->out_stride, 1 / a.sum[i], attention->head_size);
        if (sequence->lse != NULL) sequence->lse[row + i] = a.largest[i] + logf(a.sum[i]);
    }
}

// ---- Backward ---------------------------------------------------------------------------------

struct backward {
    struct attention_walk walk;                  // first: backward_block() is handed this
    _Alignas(64) across queries, douts;          // [pairs of d][query]
    _Alignas(64) across query_pairs, dout_pairs; // [pairs of queries][d]
    _Alignas(64) along keys, values;
    _Alignas(64) across key_pairs; // [pairs of keys][d]
    _Alignas(64) float scores[DEPTH][DEPTH];
    _Alignas(64) float dweights[DEPTH][DEPTH]; // dO V^T
    _Alignas(64) along weights, slopes;        // [key][pairs of queries]: P M, dS
    _Alignas(64) across slope_pairs;           // [pairs of keys][query]: dS
};

INLINE void store_row(along rows, int t, int i, vf numbers) {
    _mm256_storeu_si256((__m256i *)&rows[t][i / 2], (__m256i)_mm512_cvtneps_pbh((__m512)numbers));
}

// dS of key t for LANES queries from i on, 0 for those that do not see it; stores it, and P M.
INLINE vf slope_of(struct backward *b, int t, int i, vi seeing) {
    const vf p = vf_exp(vf_load(&b->scores[t][i]) * vf_splat(b->walk.attention->scale) - vf_load(&b->walk.lse[i]));
    vf dp = vf_load(&b->dweights[t][i]);
    vf kept = p;
    if (b->walk.keep != NULL) {
        const vf factor = keep_factors(&b->walk.kept[t * DEPTH + i], b->walk.attention->keep_scale);
        kept *= factor;
        dp *= factor;
    }
    const vf slope = p * (dp - vf_load(&b->walk.delta[i])) * vf_splat(b->walk.attention->scale);
    store_row(b->weights, t, i, vf_select(seeing, kept, vf_splat(0)));
    const vf seen = vf_select(seeing, slope, vf_splat(0));
    store_row(b->slopes, t, i, seen);
    return seen;
}

// P M and dS of LANES queries from i on, zeros up to a whole tile of keys.
static void slopes_lanes(struct backward *b, int n_keys, int reach, int i) {
    const int last = i + LANES < b->walk.n ? i + LANES - 1 : b->walk.n - 1;
    const int n_any = clamp(reach + last + 1, 0, n_keys);
    const vi lane = vi_splat(i) + vi_lane_numbers();
    const vi there = lane < vi_splat(b->walk.n);
    for (int t = 0; t < n_any; t += TILE_ROWS) {
        vf slope[TILE_ROWS];
        for (int r = 0; r < TILE_ROWS; r++) {
            const vi sees = vi_splat(t + r) <= vi_splat(reach) + lane;
            slope[r] = slope_of(b, t + r, i, t + r < n_any ? there & sees : vi_splat(0));
        }
        for (int r = 0; r < TILE_ROWS; r += 2) {
            _mm512_storeu_si512(&b->slope_pairs[(t + r) / 2][i], pairs_of((__m512)slope[r], (__m512)slope[r + 1]));
        }
    }
}

static void take_queries(struct backward *b) {
    const struct attention *attention = b->walk.attention;
    const int head_size = attention->head_size;
    pack_transposed(b->queries, b->walk.query, attention->query_stride, b->walk.n, head_size);
    pack_transposed(b->douts, b->walk.dout, attention->out_stride, b->walk.n, head_size);
    pack_across(b->query_pairs, b->walk.query, attention->query_stride, b->walk.n, head_size);
    pack_across(b->dout_pairs, b->walk.dout, attention->out_stride, b->walk.n, head_size);
}

static void backward_block(struct attention_walk *walk, int first, int n_keys) {
    struct backward *b = (struct backward *)walk;
    const struct attention *attention = b->walk.attention;
    const int head_size = attention->head_size;
    const int64_t stride = attention->row_stride;
    const int64_t at = first * stride;
    const int reach = b->walk.position - first;
    if (first == 0) take_queries(b);
    pack_along(b->keys, b->walk.key + at, stride, n_keys, head_size);
    pack_along(b->values, b->walk.value + at, stride, n_keys, head_size);
    pack_across(b->key_pairs, b->walk.key + at, stride, n_keys, head_size);
    score_block(b->scores, b->keys, n_keys, b->queries, b->walk.n, head_size / 2, reach);
    score_block(b->dweights, b->values, n_keys, b->douts, b->walk.n, head_size / 2, reach);
    if (b->walk.keep != NULL) pack_keep(b->walk.kept, b->walk.keep + first, b->walk.keep_stride, b->walk.n, n_keys);
    for (int i = 0; i < b->walk.n; i += LANES) slopes_lanes(b, n_keys, reach, i);
    sum_over_queries(b->walk.dvalue + at, stride, n_keys, b->weights, b->dout_pairs, b->walk.n, reach, head_size);
    sum_over_queries(b->walk.dkey + at, stride, n_keys, b->slopes, b->query_pairs, b->walk.n, reach, head_size);
    sum_over_keys(b->walk.dquery, attention->query_stride, b->walk.n, NULL, b->slope_pairs, b->key_pairs, n_keys, reach,
                  head_size);
}

void attend_backward_bf16(const struct attention *attention, const struct attention_sequence *sequences,
                          const struct attention_gradient *gradients, int n, int head) {
    struct backward b;
    walk_attention(&b.walk, attention, sequences, gradients, n, head, backward_block);
}

#endif
