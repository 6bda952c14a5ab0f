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
#include "ops/cpu/attention_walk.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/tiles.h"
#include "ops/cpu/vector.h"

struct backward {
    struct attention_walk walk;                               // first: backward_block() is handed this
    _Alignas(64) float packed_query[DEPTH * ATTEND_QUERIES];  // [head_size, queries]
    _Alignas(64) float packed_dout[DEPTH * ATTEND_QUERIES];   // likewise
    _Alignas(64) float query_rows[ATTEND_QUERIES * DEPTH];    // [queries, head_size]
    _Alignas(64) float dout_rows[ATTEND_QUERIES * DEPTH];     // likewise
    _Alignas(64) float key_rows[ATTEND_KEYS * DEPTH];         // [keys, head_size]
    _Alignas(64) float weights[ATTEND_KEYS * ATTEND_QUERIES]; // [keys, queries]: scores, then P M
    _Alignas(64) float slopes[ATTEND_KEYS * ATTEND_QUERIES];  // [keys, queries]: dO V^T, then dS
};

// Elements depth .. depth + n_depth - 1 of the block's queries and output gradients, in both layouts.
static void take_queries(struct backward *b, int depth, int n_depth) {
    const int64_t query_stride = b->walk.attention->query_stride;
    const int64_t out_stride = b->walk.attention->out_stride;
    const int n_lanes = (b->walk.n + LANES - 1) / LANES * LANES;
    pack_transposed(b->packed_query, b->walk.query + depth, query_stride, b->walk.n, n_depth, n_lanes);
    pack_transposed(b->packed_dout, b->walk.dout + depth, out_stride, b->walk.n, n_depth, n_lanes);
    pack_rows(b->query_rows, b->walk.query + depth, query_stride, b->walk.n, n_depth);
    pack_rows(b->dout_rows, b->walk.dout + depth, out_stride, b->walk.n, n_depth);
}

// Turns scores into P M and dO V^T into dS, for the vectors of lanes of which some see the key.
// reach: lane i sees the block's keys t <= reach + i.
INLINE void slopes_as(struct backward *b, int n_keys, int reach, bool dropout) {
    const vf scale = vf_splat(b->walk.attention->scale);
    for (int t = 0; t < n_keys; t++) {
        for (int i = clamp(t - reach, 0, b->walk.n) / LANES * LANES; i < b->walk.n; i += LANES) {
            float *weight = &b->weights[t * ATTEND_QUERIES + i];
            float *slope = &b->slopes[t * ATTEND_QUERIES + i];
            const vf p = vf_exp(vf_load(weight) * scale - vf_load(&b->walk.lse[i]));
            vf dp = vf_load(slope);
            vf kept = p;
            if (dropout) {
                const vf factor = keep_factors(&b->walk.kept[t * ATTEND_QUERIES + i], b->walk.attention->keep_scale);
                kept *= factor;
                dp *= factor;
            }
            vf_store(weight, kept);
            vf_store(slope, p * (dp - vf_load(&b->walk.delta[i])) * scale);
        }
    }
}

static void add_gradients(struct backward *b, int first_key, int n_keys, int reach, int depth, int n_depth) {
    const int64_t stride = b->walk.attention->row_stride;
    const int64_t query_stride = b->walk.attention->query_stride;
    const int64_t at = first_key * stride + depth;
    pack_rows(b->key_rows, b->walk.key + at, stride, n_keys, n_depth);
    sum_over_queries(b->walk.dvalue + at, stride, n_keys, b->weights, b->dout_rows, b->walk.n, reach, n_depth);
    sum_over_queries(b->walk.dkey + at, stride, n_keys, b->slopes, b->query_rows, b->walk.n, reach, n_depth);
    sum_over_keys(b->walk.dquery + depth, query_stride, b->walk.n, b->slopes, b->key_rows, n_keys, reach, n_depth);
}

// All that a block of keys has to do with the block of queries. Heads of more than DEPTH elements are taken in pieces,
// each packed anew for every block of keys.
static void backward_block(struct attention_walk *walk, int first_key, int n_keys) {
    struct backward *b = (struct backward *)walk;
    const int head_size = b->walk.attention->head_size;
    const int64_t stride = b->walk.attention->row_stride;
    const int reach = b->walk.position - first_key;
    for (int depth = 0; depth < head_size; depth += DEPTH) {
        const int n_depth = head_size - depth < DEPTH ? head_size - depth : DEPTH;
        const int64_t at = first_key * stride + depth;
        if (first_key == 0 || head_size > DEPTH) take_queries(b, depth, n_depth);
        dot_block(b->weights, b->walk.key + at, stride, n_keys, b->packed_query, b->walk.n, n_depth, reach, depth > 0);
        dot_block(b->slopes, b->walk.value + at, stride, n_keys, b->packed_dout, b->walk.n, n_depth, reach, depth > 0);
    }
    if (b->walk.keep != NULL) {
        pack_keep(b->walk.kept, b->walk.keep + first_key, b->walk.keep_stride, b->walk.n, n_keys);
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

static void attend_backward(const struct attention *attention, const struct attention_sequence *sequences,
                            const struct attention_gradient *gradients, int n, int head) {
    struct backward b;
    walk_attention(&b.walk, attention, sequences, gradients, n, head, backward_block);
}
