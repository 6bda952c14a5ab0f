// attention.c: causal multi-head attention (Vaswani et al. 2017, section 3.2), and filling the KV cache.
//
//     s_t = scale * q . k_t                          for the keys t = 0 .. the query's own position
//     out = sum_t exp(s_t - max s) v_t / sum_t exp(s_t - max s)
//
// Subtracting the maximum changes nothing but keeps exp() from overflowing. The scores are computed
// anew where they are needed: no array of them exists.
#include <math.h>

#include "ops/ref/ref.h"

// The fused row is [q, k, v], each n_embd wide with head h at h * head_size.
void ref_store_kv(struct ops *ops, float *key, float *value, const float *qkv, int n, int position, int n_ctx,
                  int n_head, int head_size) {
    (void)ops;
    const size_t n_embd = (size_t)n_head * (size_t)head_size;
    for (int i = 0; i < n; i++) {
        for (int h = 0; h < n_head; h++) {
            const float *from = qkv + (size_t)i * 3 * n_embd + (size_t)h * (size_t)head_size;
            const size_t to = ((size_t)h * (size_t)n_ctx + (size_t)(position + i)) * (size_t)head_size;
            for (int d = 0; d < head_size; d++) {
                key[to + (size_t)d] = from[n_embd + (size_t)d];
                value[to + (size_t)d] = from[2 * n_embd + (size_t)d];
            }
        }
    }
}

static double score(const float *query, const float *key, int head_size, float scale) {
    double sum = 0;
    for (int d = 0; d < head_size; d++) sum += (double)query[d] * key[d];
    return sum * scale;
}

// Elements of a value row that one pass over the keys sums up.
enum {
    TILE = 64
};

// One query of one head over its first n_key keys.
static void attend(float *out, const float *query, const float *key, const float *value, int64_t row_stride, int n_key,
                   int head_size, float scale) {
    double max = -INFINITY;
    for (int t = 0; t < n_key; t++) max = fmax(max, score(query, key + t * row_stride, head_size, scale));

    for (int first = 0; first < head_size; first += TILE) {
        const int width = head_size - first < TILE ? head_size - first : TILE;
        double sum[TILE] = {0};
        double total = 0;
        for (int t = 0; t < n_key; t++) {
            const double p = exp(score(query, key + t * row_stride, head_size, scale) - max);
            total += p;
            for (int d = 0; d < width; d++) sum[d] += p * value[t * row_stride + first + d];
        }
        for (int d = 0; d < width; d++) out[first + d] = (float)(sum[d] / total);
    }
}

void ref_attention(struct ops *ops, const struct attention *attention, const struct attention_sequence *sequences,
                   int n_sequences) {
    (void)ops;
    for (int s = 0; s < n_sequences; s++) {
        const struct attention_sequence *sequence = &sequences[s];
        for (int i = 0; i < sequence->n_query; i++) {
            const int n_seen = sequence->n_key - sequence->n_query + i + 1;
            for (int h = 0; h < attention->n_head; h++) {
                const int64_t column = (int64_t)h * attention->head_size;
                attend(sequence->out + i * attention->out_stride + column,
                       sequence->query + i * attention->query_stride + column,
                       sequence->key + h * attention->head_stride, sequence->value + h * attention->head_stride,
                       attention->row_stride, n_seen, attention->head_size, attention->scale);
            }
        }
    }
}
