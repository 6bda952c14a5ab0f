// attention_tmpl.c: attention of one head over a block of queries, with online softmax.
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
#include "ops/cpu/tiles.h"
#include "ops/cpu/vector.h"

enum {
    KEYS_FEW = 1024,  // keys a block, few queries
    FEW_AHEAD = 1024, // bytes of fetching
    DOT_KEYS = 4,     // keys whose products with a query run side by side
    FEW = 3           // up to so many queries take the dot products
};

struct attend {
    const struct attention *attention;
    const float *query; // row 0 is query `first`, at its head
    const float *key, *value;
    float *out;
    const uint8_t *keep; // [n, keep_stride] or NULL
    int64_t keep_stride;
    int n;        // queries
    int position; // of the last key that the first query sees; each sees one more, but none more than n_key
    int n_key;
    _Alignas(64) float largest[ATTEND_QUERIES];
    _Alignas(64) float sum[ATTEND_QUERIES];
    _Alignas(64) float correction[ATTEND_QUERIES];
    _Alignas(64) float packed[DEPTH * ATTEND_QUERIES];       // [head_size, queries]
    _Alignas(64) float scores[ATTEND_KEYS * ATTEND_QUERIES]; // [keys, queries], then exp(scores - largest)
    _Alignas(64) float values[ATTEND_KEYS * DEPTH];          // [keys, head_size]
    _Alignas(64) uint8_t kept[ATTEND_KEYS * ATTEND_QUERIES]; // [keys, queries]
};

// How many of the n_keys keys from first_key on query i may see.
static int seen(const struct attend *a, int i, int first_key, int n_keys) {
    return clamp(a->position + i + 1 - first_key, 0, n_keys);
}

// scores [n_keys, n] of the keys from first_key on.
static void score_block(struct attend *a, int first_key, int n_keys) {
    const int head_size = a->attention->head_size;
    const int64_t stride = a->attention->row_stride;
    for (int depth = 0; depth < head_size; depth += DEPTH) {
        const int n_depth = head_size - depth < DEPTH ? head_size - depth : DEPTH;
        if (first_key == 0 || head_size > DEPTH) {
            const int n_lanes = (a->n + LANES - 1) / LANES * LANES;
            pack_transposed(a->packed, a->query + depth, a->attention->query_stride, a->n, n_depth, n_lanes);
        }
        dot_block(a->scores, a->key + first_key * stride + depth, stride, n_keys, a->packed, a->n, n_depth,
                  a->position - first_key, depth > 0);
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

static void scale_row(float *row, float factor, int n) {
    for (int d = 0; d < n; d++) row[d] *= factor;
}

static void value_block(struct attend *a, int first_key, int n_keys) {
    const struct attention *attention = a->attention;
    for (int i = 0; i < a->n; i++) {
        if (a->correction[i] != 1) {
            scale_row(a->out + i * attention->out_stride, a->correction[i], attention->head_size);
        }
    }
    const int64_t stride = attention->row_stride;
    for (int depth = 0; depth < attention->head_size; depth += DEPTH) {
        const int n_depth = attention->head_size - depth < DEPTH ? attention->head_size - depth : DEPTH;
        pack_rows(a->values, a->value + first_key * stride + depth, stride, n_keys, n_depth);
        sum_over_keys(a->out + depth, attention->out_stride, a->n, a->scores, a->values, n_keys,
                      a->position - first_key, n_depth);
    }
}

// Dropout of LANES queries from lane i on.
static void drop_lanes(struct attend *a, int first_key, int n_keys, int i) {
    const int n_any = seen(a, clamp(i + LANES, 0, a->n) - 1, first_key, n_keys);
    for (int t = 0; t < n_any; t++) {
        float *p = &a->scores[t * ATTEND_QUERIES + i];
        vf_store(p, vf_load(p) * keep_factors(&a->kept[t * ATTEND_QUERIES + i], a->attention->keep_scale));
    }
}

static void attend_many(struct attend *a) {
    for (int i = 0; i < ATTEND_QUERIES; i++) {
        a->largest[i] = -INFINITY;
        a->sum[i] = 0;
    }
    if (a->keep != NULL) memset(a->kept, 0, sizeof a->kept); // lanes without a query are read as well
    for (int first = 0; first < a->n_key; first += ATTEND_KEYS) {
        const int n_keys = a->n_key - first < ATTEND_KEYS ? a->n_key - first : ATTEND_KEYS;
        score_block(a, first, n_keys);
        for (int i = 0; i < a->n; i += LANES) softmax_lanes(a, first, n_keys, i);
        if (a->keep != NULL) {
            pack_keep(a->kept, a->keep + first, a->keep_stride, a->n, n_keys);
            for (int i = 0; i < a->n; i += LANES) drop_lanes(a, first, n_keys, i);
        }
        value_block(a, first, n_keys);
    }
}

// ---- Few queries ------------------------------------------------------------------------------
//
// Keys and values are read once, where they lie, DOT_KEYS rows of a block side by side: its quarters, as streams far
// apart come nearest to the speed of memory (docs/performance.md).

// Vector v of a row will be read soon in the row AHEAD bytes further on.
INLINE void fetch_vector(const float *row, int v) {
    if (v * LANES % 16 == 0) fetch(row + v * LANES, FEW_AHEAD);
}

// out[c ..] += sum over n_rows rows of p[r * apart] * value[r * apart][c ..] for n_vectors vectors, n times.
INLINE void value_tile(int n_vectors, int n_rows, float *out, const float *p, const float *value, int64_t stride, int n,
                       int apart) {
    vf sum[8];
    for (int v = 0; v < n_vectors; v++) sum[v] = vf_load(out + v * LANES);
    for (int t = 0; t < n; t++) {
        for (int r = 0; r < n_rows; r++) {
            const float *row = value + (t + r * apart) * stride;
            const vf weight = vf_splat(p[t + r * apart]);
            for (int v = 0; v < n_vectors; v++) {
                fetch_vector(row, v);
                sum[v] += weight * vf_load(row + v * LANES);
            }
        }
    }
    for (int v = 0; v < n_vectors; v++) vf_store(out + v * LANES, sum[v]);
}

INLINE void value_rows(int n_rows, int head_size, float *out, const float *p, const float *value, int64_t stride, int n,
                       int apart) {
    int c = 0;
    for (; c + 8 * LANES <= head_size; c += 8 * LANES) {
        value_tile(8, n_rows, out + c, p, value + c, stride, n, apart);
    }
    for (; c + 4 * LANES <= head_size; c += 4 * LANES) {
        value_tile(4, n_rows, out + c, p, value + c, stride, n, apart);
    }
    for (; c + LANES <= head_size; c += LANES) value_tile(1, n_rows, out + c, p, value + c, stride, n, apart);
    for (int t = 0; t < n; t++) {
        for (int r = 0; r < n_rows; r++) {
            const int at = t + r * apart;
            for (int d = c; d < head_size; d++) out[d] += p[at] * value[at * stride + d];
        }
    }
}

// out += the weighted values of n_keys keys.
static void add_values_one(const struct attention *attention, float *out, const float *p, const float *value,
                           int n_keys) {
    const int64_t stride = attention->row_stride;
    const int apart = n_keys / DOT_KEYS;
    const int rest = n_keys - DOT_KEYS * apart;
    value_rows(DOT_KEYS, attention->head_size, out, p, value, stride, apart, apart);
    if (rest > 0) {
        value_rows(1, attention->head_size, out, p + n_keys - rest, value + (n_keys - rest) * stride, stride, rest, 0);
    }
}

// p[r * apart] = query . key[r * apart] for n_rows keys.
INLINE void dot_keys(float *p, int n_rows, const float *query, const float *key, int64_t stride, int apart,
                     int head_size) {
    vf sum[DOT_KEYS] = {{0}};
    const float *row[DOT_KEYS];
    for (int r = 0; r < n_rows; r++) row[r] = key + r * apart * stride;
    int d = 0;
    for (; d + LANES <= head_size; d += LANES) {
        const vf q = vf_load(query + d);
        for (int r = 0; r < n_rows; r++) {
            fetch_vector(row[r], d / LANES);
            sum[r] += q * vf_load(row[r] + d);
        }
    }
    float dots[DOT_KEYS];
    if (n_rows == 4) {
        vf_sum_four(dots, sum);
    } else {
        for (int r = 0; r < n_rows; r++) dots[r] = vf_sum(sum[r]);
    }
    for (; d < head_size; d++) {
        for (int r = 0; r < n_rows; r++) dots[r] += query[d] * row[r][d];
    }
    for (int r = 0; r < n_rows; r++) p[r * apart] = dots[r];
}

// p[t] = query . key[t] for n keys.
static void dot_keys_all(float *p, const float *query, const float *key, int64_t stride, int n, int head_size) {
    const int apart = n / DOT_KEYS;
    for (int t = 0; t < apart; t++) dot_keys(p + t, DOT_KEYS, query, key + t * stride, stride, apart, head_size);
    for (int t = DOT_KEYS * apart; t < n; t++) dot_keys(p + t, 1, query, key + t * stride, stride, 0, head_size);
}

// p[t] = exp(scale * p[t] - *largest) for n keys, after *largest has grown to what it is with them; returns their sum.
static float softmax_few(float *p, int n, float scale, float *largest) {
    for (int t = 0; t < n; t++) p[t] *= scale;
    for (int t = n; t % LANES != 0; t++) p[t] = -INFINITY; // fills the last vector; exp makes zeros of it
    vf most = vf_splat(*largest);
    for (int t = 0; t < n; t += LANES) most = vf_max(vf_load(p + t), most);
    *largest = vf_largest(most);
    vf sums = {0};
    for (int t = 0; t < n; t += LANES) {
        const vf e = vf_exp(vf_load(p + t) - vf_splat(*largest));
        vf_store(p + t, e);
        sums += e;
    }
    return vf_sum(sums);
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
    const int n_key = clamp(a->position + i + 1, 0, a->n_key);
    for (int first = 0; first < n_key; first += KEYS_FEW) {
        const int n = n_key - first < KEYS_FEW ? n_key - first : KEYS_FEW;
        const float *value = a->value + first * stride;
        dot_keys_all(p, query, a->key + first * stride, stride, n, attention->head_size);
        const float before = largest;
        const float added = softmax_few(p, n, attention->scale, &largest);
        if (first > 0 && before != largest) {
            const float correction = expf(before - largest);
            sum *= correction;
            scale_row(out, correction, attention->head_size);
        }
        sum += added;
        if (a->keep != NULL) {
            const uint8_t *keep = a->keep + i * a->keep_stride + first;
            for (int t = 0; t < n; t++) p[t] = keep[t] != 0 ? p[t] * attention->keep_scale : 0;
        }
        add_values_one(attention, out, p, value, n);
    }
    a->sum[i] = sum;
    a->largest[i] = largest;
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
    a.position = attention_seen(attention, sequence, first) - 1;
    a.n_key = attention_seen(attention, sequence, first + n - 1);
    const int64_t row = (int64_t)head * sequence->n_query + first;
    a.keep = sequence->keep != NULL ? sequence->keep + row * sequence->n_key : NULL;
    a.keep_stride = sequence->n_key;

    const size_t row_bytes = (size_t)attention->head_size * sizeof(float);
    for (int i = 0; i < n; i++) memset(a.out + i * attention->out_stride, 0, row_bytes);
    if (n <= FEW) {
        for (int i = 0; i < n; i++) attend_one(&a, i);
    } else {
        attend_many(&a);
    }
    for (int i = 0; i < n; i++) {
        scale_row(a.out + i * attention->out_stride, 1 / a.sum[i], attention->head_size);
        if (sequence->lse != NULL) sequence->lse[row + i] = a.largest[i] + logf(a.sum[i]);
    }
}
