// attention_backward_tmpl.c: the gradient of causal attention, one head of one sequence (Dao et al. 2022, appendix B).
//
//     P = exp(scale Q K^T - lse)      D_i = dO_i . O_i      M = keep * keep_scale, or 1 without dropout
//     dV = (P M)^T dO      dP = (dO V^T) M      dS = scale P (dP - D)      dQ = dS K      dK = dS^T Q
//
// over blocks of queries and, for each, of the keys that they see: a block of P and one of dS, [keys, queries], are all
// that ever exists. With the log-sum-exp kept from the forward pass a row of P needs no other block of it. dK and dV
// gather in the output rows, dQ does so too, block after block of keys.
//
// What the mask forbids is left out, not multiplied by zero: a NaN stays with the queries and keys it belongs to.
#include "ops/cpu/kernels.h"
#include "ops/cpu/tiles.h"
#include "ops/cpu/vector.h"

struct backward {
    const struct attention *attention;
    const float *query, *dout; // row 0 is the block's first query, at its head
    const float *key, *value;  // row 0 is the sequence's first key
    float *dquery, *dkey, *dvalue;
    const uint8_t *keep; // [n, keep_stride] or NULL
    int64_t keep_stride;
    int n;        // queries of the block
    int position; // of the first query
    _Alignas(64) float lse[ATTEND_QUERIES];
    _Alignas(64) float delta[ATTEND_QUERIES];                 // D
    _Alignas(64) float packed_query[DEPTH * ATTEND_QUERIES];  // [head_size, queries]
    _Alignas(64) float packed_dout[DEPTH * ATTEND_QUERIES];   // likewise
    _Alignas(64) float query_rows[ATTEND_QUERIES * DEPTH];    // [queries, head_size]
    _Alignas(64) float dout_rows[ATTEND_QUERIES * DEPTH];     // likewise
    _Alignas(64) float key_rows[ATTEND_KEYS * DEPTH];         // [keys, head_size]
    _Alignas(64) float weights[ATTEND_KEYS * ATTEND_QUERIES]; // [keys, queries]: scores, then P M
    _Alignas(64) float slopes[ATTEND_KEYS * ATTEND_QUERIES];  // [keys, queries]: dO V^T, then dS
    _Alignas(64) uint8_t kept[ATTEND_KEYS * ATTEND_QUERIES];  // [keys, queries]
};

static float dot_row(const float *a, const float *b, int n) {
    vf sum = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES) sum += vf_load(a + i) * vf_load(b + i);
    if (i < n) sum += vf_load_part(a + i, n - i) * vf_load_part(b + i, n - i);
    return vf_sum(sum);
}

// Elements depth .. depth + n_depth - 1 of the block's queries and output gradients, in both layouts.
static void take_queries(struct backward *b, int depth, int n_depth) {
    const int64_t query_stride = b->attention->query_stride;
    const int64_t out_stride = b->attention->out_stride;
    const int n_lanes = (b->n + LANES - 1) / LANES * LANES;
    pack_transposed(b->packed_query, b->query + depth, query_stride, b->n, n_depth, n_lanes);
    pack_transposed(b->packed_dout, b->dout + depth, out_stride, b->n, n_depth, n_lanes);
    pack_rows(b->query_rows, b->query + depth, query_stride, b->n, n_depth);
    pack_rows(b->dout_rows, b->dout + depth, out_stride, b->n, n_depth);
}

// Turns scores into P M and dO V^T into dS, for the vectors of lanes of which some see the key.
// reach: lane i sees the block's keys t <= reach + i.
INLINE void slopes_as(struct backward *b, int n_keys, int reach, bool dropout) {
    const vf scale = vf_splat(b->attention->scale);
    for (int t = 0; t < n_keys; t++) {
        for (int i = clamp(t - reach, 0, b->n) / LANES * LANES; i < b->n; i += LANES) {
            float *weight = &b->weights[t * ATTEND_QUERIES + i];
            float *slope = &b->slopes[t * ATTEND_QUERIES + i];
            const vf p = vf_exp(vf_load(weight) * scale - vf_load(&b->lse[i]));
            vf dp = vf_load(slope);
            vf kept = p;
            if (dropout) {
                const vf factor = keep_factors(&b->kept[t * ATTEND_QUERIES + i], b->attention->keep_scale);
                kept *= factor;
                dp *= factor;
            }
            vf_store(weight, kept);
            vf_store(slope, p * (dp - vf_load(&b->delta[i])) * scale);
        }
    }
}

static void add_gradients(struct backward *b, int first_key, int n_keys, int reach, int depth, int n_depth) {
    const int64_t stride = b->attention->row_stride;
    const int64_t query_stride = b->attention->query_stride;
    const int64_t at = first_key * stride + depth;
    pack_rows(b->key_rows, b->key + at, stride, n_keys, n_depth);
    sum_over_queries(b->dvalue + at, stride, n_keys, b->weights, b->dout_rows, b->n, reach, n_depth);
    sum_over_queries(b->dkey + at, stride, n_keys, b->slopes, b->query_rows, b->n, reach, n_depth);
    sum_over_keys(b->dquery + depth, query_stride, b->n, b->slopes, b->key_rows, n_keys, reach, n_depth);
}

// All that a block of keys has to do with the block of queries. Heads of more than DEPTH elements are taken in pieces,
// each packed anew for every block of keys.
static void backward_block(struct backward *b, int first_key, int n_keys) {
    const int head_size = b->attention->head_size;
    const int64_t stride = b->attention->row_stride;
    const int reach = b->position - first_key;
    for (int depth = 0; depth < head_size; depth += DEPTH) {
        const int n_depth = head_size - depth < DEPTH ? head_size - depth : DEPTH;
        const int64_t at = first_key * stride + depth;
        if (first_key == 0 || head_size > DEPTH) take_queries(b, depth, n_depth);
        dot_block(b->weights, b->key + at, stride, n_keys, b->packed_query, b->n, n_depth, reach, depth > 0);
        dot_block(b->slopes, b->value + at, stride, n_keys, b->packed_dout, b->n, n_depth, reach, depth > 0);
    }
    if (b->keep != NULL) {
        pack_keep(b->kept, b->keep + first_key, b->keep_stride, b->n, n_keys);
        slopes_as(b, n_keys, reach, true);
    } else {
        slopes_as(b, n_keys, reach, false);
    }
    for (int depth = 0; depth < head_size; depth += DEPTH) {
        const int n_depth = head_size - depth < DEPTH ? head_size - depth : DEPTH;
        if (head_size > DEPTH) take_queries(b, depth, n_depth);
        add_gradients(b, first_key, n_keys, reach, depth, n_depth);
    }
}

static void zero_rows(float *rows, int64_t stride, int n, int n_columns) {
    for (int r = 0; r < n; r++) memset(rows + r * stride, 0, (size_t)n_columns * sizeof *rows);
}

// The queries of one entry, block after block; what they add to dkey and dvalue gathers there.
static void backward_queries(struct backward *b, const struct attention_sequence *sequence,
                             const struct attention_gradient *gradient, int head) {
    const struct attention *attention = b->attention;
    const int n_query = sequence->n_query;
    const int n_key = sequence->n_key;
    const int64_t column = (int64_t)head * attention->head_size;
    b->keep_stride = n_key;
    for (int first = 0; first < n_query; first += ATTEND_QUERIES) {
        b->n = n_query - first < ATTEND_QUERIES ? n_query - first : ATTEND_QUERIES;
        b->position = n_key - n_query + first;
        b->query = sequence->query + first * attention->query_stride + column;
        b->dquery = gradient->dquery + first * attention->query_stride + column;
        b->dout = gradient->dout + first * attention->out_stride + column;
        const int64_t row = (int64_t)head * n_query + first;
        b->keep = sequence->keep != NULL ? sequence->keep + row * n_key : NULL;
        const float *out = sequence->out + first * attention->out_stride + column;
        for (int i = 0; i < ATTEND_QUERIES; i++) {
            b->lse[i] = i < b->n ? sequence->lse[row + i] : 0;
            const int64_t at = i * attention->out_stride;
            b->delta[i] = i < b->n ? dot_row(b->dout + at, out + at, attention->head_size) : 0;
        }
        zero_rows(b->dquery, attention->query_stride, b->n, attention->head_size);
        const int n_seen = b->position + b->n;
        for (int key = 0; key < n_seen; key += ATTEND_KEYS) {
            backward_block(b, key, n_seen - key < ATTEND_KEYS ? n_seen - key : ATTEND_KEYS);
        }
    }
}

static void attend_backward(const struct attention *attention, const struct attention_sequence *sequences,
                            const struct attention_gradient *gradients, int n, int head) {
    const int64_t at_key = head * attention->head_stride;
    struct backward b;
    b.attention = attention;
    b.key = sequences->key + at_key;
    b.value = sequences->value + at_key;
    b.dkey = gradients->dkey + at_key;
    b.dvalue = gradients->dvalue + at_key;
    memset(b.kept, 0, sizeof b.kept); // the lanes behind the last query are read as well
    int n_key = 0;
    for (int i = 0; i < n; i++) n_key = sequences[i].n_key > n_key ? sequences[i].n_key : n_key;
    zero_rows(b.dkey, attention->row_stride, n_key, attention->head_size);
    zero_rows(b.dvalue, attention->row_stride, n_key, attention->head_size);
    for (int i = 0; i < n; i++) backward_queries(&b, &sequences[i], &gradients[i], head);
}
