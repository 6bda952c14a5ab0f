// attention_tmpl.c: causal attention of one head over a block of queries, with online softmax.
//
//     m' = max(m, max s)    l' = l exp(m - m') + sum exp(s - m')    o' = o exp(m - m') + sum exp(s - m') v
//
// over blocks of keys (Milakov, Gimelshein 2018; Rabe, Staats 2021; Dao et al. 2022), so that a block of
// scores [keys, queries] is all that ever exists. o is kept in the output rows, m and l per query.
//
// Many queries: they lie transposed, [head_size, queries], one query a lane. Keys are then broadcast as
// they lie, the softmax runs down the lanes without a horizontal step, and the queries are packed once
// for all keys. Few queries (decoding): dot products with the keys as they lie; the cache is read once.
//
// A key that a query may not see is never multiplied by a zero weight, it is left out: what later
// tokens hold, NaN included, cannot reach an earlier one.
#include <math.h>

#include "ops/cpu/kernels.h"
#include "ops/cpu/vector.h"

enum {
    KEYS = 64,        // keys a block, many queries
    KEYS_FEW = 256,   // keys a block, few queries
    FEW = 3,          // up to so many queries take the dot products
    DEPTH = 64,       // elements of head_size that are packed at once
    TILE_KEYS = 4,    // scores tile: TILE_KEYS keys by TILE_VECTORS vectors of queries
    TILE_VECTORS = 3, // 12 sums, 3 vectors and a broadcast: the 16 registers of AVX2
    TILE_QUERIES = 4  // values tile: TILE_QUERIES queries by up to TILE_VECTORS vectors of head_size
};

struct attend {
    const struct attention *attention;
    const float *query; // row 0 is query `first`, at its head
    const float *key, *value;
    float *out;
    int n;        // queries
    int position; // of the first query
    _Alignas(64) float largest[ATTEND_QUERIES];
    _Alignas(64) float sum[ATTEND_QUERIES];
    _Alignas(64) float correction[ATTEND_QUERIES];
    _Alignas(64) float packed[DEPTH * ATTEND_QUERIES]; // [head_size, queries]
    _Alignas(64) float scores[KEYS * ATTEND_QUERIES];  // [keys, queries], then exp(scores - largest)
};

static int clamp(int x, int low, int high) {
    return x < low ? low : x > high ? high : x;
}

// How many of the n_keys keys from first_key on query i may see.
static int seen(const struct attend *a, int i, int first_key, int n_keys) {
    return clamp(a->position + i + 1 - first_key, 0, n_keys);
}

// packed[d][i] = query[i][depth + d]; lanes without a query are zero.
static void pack_queries(struct attend *a, int depth, int n_depth) {
    const int lanes = (a->n + LANES - 1) / LANES * LANES;
    for (int i = 0; i < lanes; i++) {
        const float *query = a->query + i * a->attention->query_stride + depth;
        for (int d = 0; d < n_depth; d++) a->packed[d * ATTEND_QUERIES + i] = i < a->n ? query[d] : 0;
    }
}

// scores[t][i] (+)= sum over d of key[t][depth + d] * packed[d][i]: n_keys keys from t, n_vectors vectors from lane i.
INLINE void score_tile(struct attend *a, int n_keys, int n_vectors, const float *key, int n_depth, bool add, int t,
                       int i) {
    const int64_t stride = a->attention->row_stride;
    vf sum[TILE_KEYS][TILE_VECTORS] = {{{0}}};
    for (int d = 0; d < n_depth; d++) {
        vf query[TILE_VECTORS];
        for (int v = 0; v < n_vectors; v++) query[v] = vf_load(&a->packed[d * ATTEND_QUERIES + i + v * LANES]);
        for (int k = 0; k < n_keys; k++) {
            const vf element = vf_splat(key[k * stride + d]);
            for (int v = 0; v < n_vectors; v++) sum[k][v] += element * query[v];
        }
    }
    for (int k = 0; k < n_keys; k++) {
        for (int v = 0; v < n_vectors; v++) {
            float *to = &a->scores[(t + k) * ATTEND_QUERIES + i + v * LANES];
            vf_store(to, add ? vf_load(to) + sum[k][v] : sum[k][v]);
        }
    }
}

INLINE void score_lanes(struct attend *a, int n_vectors, const float *key, int n_keys, int n_depth, bool add, int i) {
    const int64_t stride = a->attention->row_stride;
    int t = 0;
    for (; t + TILE_KEYS <= n_keys; t += TILE_KEYS) {
        score_tile(a, TILE_KEYS, n_vectors, key + t * stride, n_depth, add, t, i);
    }
    for (; t < n_keys; t++) score_tile(a, 1, n_vectors, key + t * stride, n_depth, add, t, i);
}

// scores [n_keys, n] of the keys from first_key on, those that nobody in a tile may see left out.
static void score_block(struct attend *a, int first_key, int n_keys) {
    const int head_size = a->attention->head_size;
    for (int depth = 0; depth < head_size; depth += DEPTH) {
        const int n_depth = head_size - depth < DEPTH ? head_size - depth : DEPTH;
        if (first_key == 0 || head_size > DEPTH) pack_queries(a, depth, n_depth);
        const float *key = a->key + first_key * a->attention->row_stride + depth;
        for (int i = 0; i < a->n; i += TILE_VECTORS * LANES) {
            const int n_vectors = clamp((a->n - i + LANES - 1) / LANES, 1, TILE_VECTORS);
            const int n = seen(a, clamp(i + n_vectors * LANES, 0, a->n) - 1, first_key, n_keys);
            if (n_vectors == 3) {
                score_lanes(a, 3, key, n, n_depth, depth > 0, i);
            } else if (n_vectors == 2) {
                score_lanes(a, 2, key, n, n_depth, depth > 0, i);
            } else {
                score_lanes(a, 1, key, n, n_depth, depth > 0, i);
            }
        }
    }
}

// The softmax step of LANES queries from lane i on; scores become exp(scale * scores - largest).
static void softmax_lanes(struct attend *a, int first_key, int n_keys, int i) {
    const vf scale = vf_splat(a->attention->scale);
    const int n_all = seen(a, i, first_key, n_keys);                                // keys that every lane sees
    const int n_any = seen(a, clamp(i + LANES, 0, a->n) - 1, first_key, n_keys);    // keys that some lane sees
    const vi reach = vi_splat(a->position + i + 1 - first_key) + vi_lane_numbers(); // lane sees keys below this
    float *scores = &a->scores[i];

    const vf before = vf_load(&a->largest[i]);
    vf largest = before;
    for (int t = 0; t < n_all; t++) largest = vf_max(vf_load(scores + t * ATTEND_QUERIES) * scale, largest);
    for (int t = n_all; t < n_any; t++) {
        const vf score = vf_load(scores + t * ATTEND_QUERIES) * scale;
        largest = vf_max(vf_select(vi_splat(t) < reach, score, vf_splat(-INFINITY)), largest);
    }

    vf sum = {0};
    for (int t = 0; t < n_any; t++) {
        float *score = scores + t * ATTEND_QUERIES;
        const vf p = vf_exp(vf_load(score) * scale - largest);
        sum += t < n_all ? p : vf_select(vi_splat(t) < reach, p, vf_splat(0));
        vf_store(score, p);
    }
    const vf correction = vf_exp(before - largest);
    vf_store(&a->sum[i], vf_load(&a->sum[i]) * correction + sum);
    vf_store(&a->largest[i], largest);
    vf_store(&a->correction[i], correction);
}

// out[r][c ..] += sum over t of p[t][r] * value[t][c ..] for n_rows rows and n_vectors vectors.
INLINE void value_tile(int n_rows, int n_vectors, float *out, int64_t out_stride, const float *p, int p_stride,
                       const float *value, int64_t value_stride, int n_keys) {
    enum {
        MOST = 8
    };
    vf sum[TILE_QUERIES][MOST];
    for (int r = 0; r < n_rows; r++) {
        for (int v = 0; v < n_vectors; v++) sum[r][v] = vf_load(out + r * out_stride + v * LANES);
    }
    for (int t = 0; t < n_keys; t++) {
        vf row[MOST];
        for (int v = 0; v < n_vectors; v++) row[v] = vf_load(value + t * value_stride + v * LANES);
        for (int r = 0; r < n_rows; r++) {
            const vf weight = vf_splat(p[(int64_t)t * p_stride + r]);
            for (int v = 0; v < n_vectors; v++) sum[r][v] += weight * row[v];
        }
    }
    for (int r = 0; r < n_rows; r++) {
        for (int v = 0; v < n_vectors; v++) vf_store(out + r * out_stride + v * LANES, sum[r][v]);
    }
}

// The last columns, fewer than a vector of them.
static void value_rest(int n_rows, int n_columns, float *out, int64_t out_stride, const float *p, int p_stride,
                       const float *value, int64_t value_stride, int n_keys) {
    for (int r = 0; r < n_rows; r++) {
        for (int t = 0; t < n_keys; t++) {
            for (int c = 0; c < n_columns; c++) {
                out[r * out_stride + c] += p[(int64_t)t * p_stride + r] * value[t * value_stride + c];
            }
        }
    }
}

// Adds n_keys weighted value rows to n_rows output rows. n_rows is a constant, most vectors a tile too.
INLINE void add_values(int n_rows, int most, int head_size, float *out, int64_t out_stride, const float *p,
                       int p_stride, const float *value, int64_t value_stride, int n_keys) {
    if (n_keys <= 0) return;
    int c = 0;
    for (; c + most * LANES <= head_size; c += most * LANES) {
        value_tile(n_rows, most, out + c, out_stride, p, p_stride, value + c, value_stride, n_keys);
    }
    if (most > 4 && c + 4 * LANES <= head_size) {
        value_tile(n_rows, 4, out + c, out_stride, p, p_stride, value + c, value_stride, n_keys);
        c += 4 * LANES;
    }
    if (c + 2 * LANES <= head_size) {
        value_tile(n_rows, 2, out + c, out_stride, p, p_stride, value + c, value_stride, n_keys);
        c += 2 * LANES;
    }
    if (c + LANES <= head_size) {
        value_tile(n_rows, 1, out + c, out_stride, p, p_stride, value + c, value_stride, n_keys);
        c += LANES;
    }
    if (c < head_size) {
        value_rest(n_rows, head_size - c, out + c, out_stride, p, p_stride, value + c, value_stride, n_keys);
    }
}

static void add_values_four(const struct attend *a, int i, const float *value, int n_keys) {
    add_values(TILE_QUERIES, TILE_VECTORS, a->attention->head_size, a->out + i * a->attention->out_stride,
               a->attention->out_stride, &a->scores[i], ATTEND_QUERIES, value, a->attention->row_stride, n_keys);
}

static void add_values_one(const struct attend *a, float *out, const float *p, int p_stride, const float *value,
                           int n_keys) {
    add_values(1, 8, a->attention->head_size, out, 0, p, p_stride, value, a->attention->row_stride, n_keys);
}

static void scale_row(float *row, float factor, int n) {
    for (int d = 0; d < n; d++) row[d] *= factor;
}

static void value_block(struct attend *a, int first_key, int n_keys) {
    const struct attention *attention = a->attention;
    const float *value = a->value + first_key * attention->row_stride;
    for (int i = 0; i < a->n; i++) {
        if (a->correction[i] != 1)
            scale_row(a->out + i * attention->out_stride, a->correction[i], attention->head_size);
    }
    int i = 0;
    while (i < a->n) {
        const int n_rows = a->n - i >= TILE_QUERIES ? TILE_QUERIES : 1;
        const int n_all = n_rows == 1 ? 0 : seen(a, i, first_key, n_keys);
        if (n_rows > 1) add_values_four(a, i, value, n_all);
        for (int r = 0; r < n_rows; r++) {
            const int n_left = seen(a, i + r, first_key, n_keys) - n_all;
            if (n_left == 0) continue; // and no score to point at
            add_values_one(a, a->out + (i + r) * attention->out_stride, &a->scores[n_all * ATTEND_QUERIES + i + r],
                           ATTEND_QUERIES, value + n_all * attention->row_stride, n_left);
        }
        i += n_rows;
    }
}

static void attend_many(struct attend *a) {
    for (int i = 0; i < ATTEND_QUERIES; i++) {
        a->largest[i] = -INFINITY;
        a->sum[i] = 0;
    }
    const int n_key = a->position + a->n;
    for (int first = 0; first < n_key; first += KEYS) {
        const int n_keys = n_key - first < KEYS ? n_key - first : KEYS;
        score_block(a, first, n_keys);
        for (int i = 0; i < a->n; i += LANES) softmax_lanes(a, first, n_keys, i);
        value_block(a, first, n_keys);
    }
}

// p[t] = query . key[t] for n_rows keys.
INLINE void dot_keys(float *p, int n_rows, const float *query, const float *key, int64_t stride, int head_size) {
    vf sum[TILE_KEYS] = {{0}};
    int d = 0;
    for (; d + LANES <= head_size; d += LANES) {
        const vf q = vf_load(query + d);
        for (int t = 0; t < n_rows; t++) sum[t] += q * vf_load(key + t * stride + d);
    }
    for (int t = 0; t < n_rows; t++) p[t] = vf_sum(sum[t]);
    for (; d < head_size; d++) {
        for (int t = 0; t < n_rows; t++) p[t] += query[d] * key[t * stride + d];
    }
}

// One query of `attend_few`. scores is used as [KEYS_FEW].
static void attend_one(struct attend *a, int i) {
    const struct attention *attention = a->attention;
    const int64_t stride = attention->row_stride;
    const float *query = a->query + i * attention->query_stride;
    float *out = a->out + i * attention->out_stride;
    float *p = a->scores;
    float largest = -INFINITY;
    float sum = 0;
    const int n_key = a->position + i + 1;
    for (int first = 0; first < n_key; first += KEYS_FEW) {
        const int n = n_key - first < KEYS_FEW ? n_key - first : KEYS_FEW;
        const float *key = a->key + first * stride;
        int t = 0;
        for (; t + TILE_KEYS <= n; t += TILE_KEYS) {
            dot_keys(p + t, TILE_KEYS, query, key + t * stride, stride, attention->head_size);
        }
        for (; t < n; t++) dot_keys(p + t, 1, query, key + t * stride, stride, attention->head_size);

        const float before = largest;
        for (t = 0; t < n; t++) {
            p[t] *= attention->scale;
            largest = p[t] > largest ? p[t] : largest;
        }
        for (t = n; t % LANES != 0; t++) p[t] = -INFINITY; // fills the last vector; exp makes zeros of it
        vf sums = {0};
        for (t = 0; t < n; t += LANES) {
            const vf e = vf_exp(vf_load(p + t) - vf_splat(largest));
            vf_store(p + t, e);
            sums += e;
        }
        if (first > 0 && before != largest) {
            const float correction = expf(before - largest);
            sum *= correction;
            scale_row(out, correction, attention->head_size);
        }
        sum += vf_sum(sums);
        add_values_one(a, out, p, 1, a->value + first * stride, n);
    }
    a->sum[i] = sum;
}

static void attend(const struct attention *attention, const struct attention_sequence *sequence, int head, int first,
                   int n) {
    struct attend a;
    const int64_t column = (int64_t)head * attention->head_size;
    a.attention = attention;
    a.query = sequence->query + first * attention->query_stride + column;
    a.key = sequence->key + head * attention->head_stride;
    a.value = sequence->value + head * attention->head_stride;
    a.out = sequence->out + first * attention->out_stride + column;
    a.n = n;
    a.position = sequence->n_key - sequence->n_query + first;

    const size_t row_bytes = (size_t)attention->head_size * sizeof(float);
    for (int i = 0; i < n; i++) memset(a.out + i * attention->out_stride, 0, row_bytes);
    if (n <= FEW) {
        for (int i = 0; i < n; i++) attend_one(&a, i);
    } else {
        attend_many(&a);
    }
    for (int i = 0; i < n; i++) scale_row(a.out + i * attention->out_stride, 1 / a.sum[i], attention->head_size);
}
