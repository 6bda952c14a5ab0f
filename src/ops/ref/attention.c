// attention.c: multi-head attention (Vaswani et al. 2017, section 3.2), causal or not, and filling the KV cache.
//
//     s_t = scale * q . k_t                          for the keys t that the query sees: up to its own position, or all
//     out = sum_t exp(s_t - max s) v_t / sum_t exp(s_t - max s)
//
// Subtracting the maximum changes nothing but keeps exp() from overflowing. The scores are computed
// anew where they are needed: no array of them exists.
//
// Dropout multiplies the weights p_t = exp(s_t - lse), lse = max s + log sum_t exp(s_t - max s), after the softmax by
// c_t, 0 or 1 / (1 - p). Backward needs lse alone to have p again (Dao et al. 2022, appendix B.2, algorithm 4), and
// sum_t p_t dp_t is dout . out:
//
//     dv_t += p_t c_t dout    dp_t = c_t dout . v_t    ds_t = p_t (dp_t - dout . out)
//     dq += scale ds_t k_t    dk_t += scale ds_t q
#include <math.h>

#include "ops/ref/ref.h"

// A row is [k, v], each n_embd wide with head h at h * head_size.
void ref_store_kv(struct ops *ops, float *key, float *value, const float *kv, int64_t row_stride, int n, int position,
                  int n_ctx, int n_head, int head_size) {
    (void)ops;
    const size_t n_embd = (size_t)n_head * (size_t)head_size;
    for (int i = 0; i < n; i++) {
        for (int h = 0; h < n_head; h++) {
            const float *from = kv + i * row_stride + (size_t)h * (size_t)head_size;
            const size_t to = ((size_t)h * (size_t)n_ctx + (size_t)(position + i)) * (size_t)head_size;
            for (int d = 0; d < head_size; d++) {
                key[to + (size_t)d] = from[(size_t)d];
                value[to + (size_t)d] = from[n_embd + (size_t)d];
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

// The factor c_t of dropout for head h, query i.
static double kept(const struct attention *attention, const struct attention_sequence *sequence, int h, int i, int t) {
    if (sequence->keep == NULL) return 1;
    const size_t row = (size_t)h * (size_t)sequence->n_query + (size_t)i;
    return sequence->keep[row * (size_t)sequence->n_key + (size_t)t] != 0 ? attention->keep_scale : 0;
}

// One query of one head.
static void attend(const struct attention *attention, const struct attention_sequence *sequence, int h, int i) {
    const int head_size = attention->head_size;
    const int n_seen = attention_seen(attention, sequence, i);
    const int64_t column = (int64_t)h * head_size;
    const float *query = sequence->query + i * attention->query_stride + column;
    const float *key = sequence->key + h * attention->head_stride;
    const float *value = sequence->value + h * attention->head_stride;
    float *out = sequence->out + i * attention->out_stride + column;

    double max = -INFINITY;
    for (int t = 0; t < n_seen; t++) {
        max = fmax(max, score(query, key + t * attention->row_stride, head_size, attention->scale));
    }
    double total = 0;
    for (int first = 0; first < head_size; first += TILE) {
        const int width = head_size - first < TILE ? head_size - first : TILE;
        double sum[TILE] = {0};
        total = 0;
        for (int t = 0; t < n_seen; t++) {
            const double p = exp(score(query, key + t * attention->row_stride, head_size, attention->scale) - max);
            const double c = kept(attention, sequence, h, i, t);
            total += p;
            if (c == 0) continue; // dropped: not even an infinite value comes through
            for (int d = 0; d < width; d++) sum[d] += p * c * value[t * attention->row_stride + first + d];
        }
        for (int d = 0; d < width; d++) out[first + d] = (float)(sum[d] / total);
    }
    if (sequence->lse != NULL)
        sequence->lse[(size_t)h * (size_t)sequence->n_query + (size_t)i] = (float)(max + log(total));
}

void ref_attention(struct ops *ops, const struct attention *attention, const struct attention_sequence *sequences,
                   int n_sequences) {
    (void)ops;
    for (int s = 0; s < n_sequences; s++) {
        for (int i = 0; i < sequences[s].n_query; i++) {
            for (int h = 0; h < attention->n_head; h++) attend(attention, &sequences[s], h, i);
        }
    }
}

// One head of one sequence in backward: everything at its first row.
struct head {
    const struct attention *attention;
    const struct attention_sequence *sequence;
    int h;
    const float *query, *key, *value, *out, *dout;
};

// What backward wants of query i and key t.
struct pair {
    double weight; // p_t c_t
    double dscore; // scale ds_t
};

static struct pair pair_of(const struct head *head, int i, int t) {
    const struct attention *attention = head->attention;
    const int head_size = attention->head_size;
    const float *query = head->query + i * attention->query_stride;
    const float *dout = head->dout + i * attention->out_stride;
    const float lse = head->sequence->lse[(size_t)head->h * (size_t)head->sequence->n_query + (size_t)i];
    const double p = exp(score(query, head->key + t * attention->row_stride, head_size, attention->scale) - lse);
    const double c = kept(attention, head->sequence, head->h, i, t);
    const double dp = c == 0 ? 0 : c * score(dout, head->value + t * attention->row_stride, head_size, 1);
    const double along = score(dout, head->out + i * attention->out_stride, head_size, 1);
    return (struct pair){p * c, attention->scale * p * (dp - along)};
}

static void query_backward(const struct head *head, float *dquery, int i) {
    const struct attention *attention = head->attention;
    for (int first = 0; first < attention->head_size; first += TILE) {
        const int width = attention->head_size - first < TILE ? attention->head_size - first : TILE;
        double sum[TILE] = {0};
        for (int t = 0; t < attention_seen(attention, head->sequence, i); t++) {
            const double dscore = pair_of(head, i, t).dscore;
            const float *key = head->key + t * attention->row_stride + first;
            for (int d = 0; d < width; d++) sum[d] += dscore * key[d];
        }
        for (int d = 0; d < width; d++) dquery[first + d] = (float)sum[d];
    }
}

// Key and value t: adds the sums over the queries that see them.
static void key_backward(const struct head *head, float *dkey, float *dvalue, int t) {
    const struct attention *attention = head->attention;
    for (int first = 0; first < attention->head_size; first += TILE) {
        const int width = attention->head_size - first < TILE ? attention->head_size - first : TILE;
        double key_sum[TILE] = {0};
        double value_sum[TILE] = {0};
        for (int i = 0; i < head->sequence->n_query; i++) {
            if (t >= attention_seen(attention, head->sequence, i)) continue;
            const struct pair pair = pair_of(head, i, t);
            const float *query = head->query + i * attention->query_stride + first;
            const float *dout = head->dout + i * attention->out_stride + first;
            for (int d = 0; d < width; d++) {
                key_sum[d] += pair.dscore * query[d];
                value_sum[d] += pair.weight * dout[d];
            }
        }
        for (int d = 0; d < width; d++) {
            dkey[first + d] += (float)key_sum[d];
            dvalue[first + d] += (float)value_sum[d];
        }
    }
}

// Zeroes the gradients of the keys that entry s and those after it share, unless those before it did.
static void zero_keys(const struct attention *attention, const struct attention_sequence *sequences,
                      const struct attention_gradient *gradients, int n_sequences, int s) {
    if (s > 0 && gradients[s - 1].dkey == gradients[s].dkey) return;
    int n_key = 0;
    for (int i = s; i < n_sequences && gradients[i].dkey == gradients[s].dkey; i++) {
        if (sequences[i].n_key > n_key) n_key = sequences[i].n_key;
    }
    for (int h = 0; h < attention->n_head; h++) {
        for (int t = 0; t < n_key; t++) {
            const int64_t at = h * attention->head_stride + t * attention->row_stride;
            for (int d = 0; d < attention->head_size; d++) gradients[s].dkey[at + d] = gradients[s].dvalue[at + d] = 0;
        }
    }
}

void ref_attention_backward(struct ops *ops, const struct attention *attention,
                            const struct attention_sequence *sequences, const struct attention_gradient *gradients,
                            int n_sequences) {
    (void)ops;
    for (int s = 0; s < n_sequences; s++) {
        const struct attention_sequence *sequence = &sequences[s];
        const struct attention_gradient *gradient = &gradients[s];
        zero_keys(attention, sequences, gradients, n_sequences, s);
        for (int h = 0; h < attention->n_head; h++) {
            const int64_t column = (int64_t)h * attention->head_size;
            const int64_t start = h * attention->head_stride;
            const struct head head = {attention,
                                      sequence,
                                      h,
                                      sequence->query + column,
                                      sequence->key + start,
                                      sequence->value + start,
                                      sequence->out + column,
                                      gradient->dout + column};
            for (int i = 0; i < sequence->n_query; i++) {
                query_backward(&head, gradient->dquery + i * attention->query_stride + column, i);
            }
            for (int t = 0; t < sequence->n_key; t++) {
                const int64_t at = start + t * attention->row_stride;
                key_backward(&head, gradient->dkey + at, gradient->dvalue + at, t);
            }
        }
    }
}
