// attention_walk.h: the way of attention's gradient through one head: blocks of queries and, for each, of the keys that
// they see. What a pair of blocks has to do with each other is the caller's.
#ifndef OPS_CPU_ATTENTION_WALK_H
#define OPS_CPU_ATTENTION_WALK_H

#include "ops/cpu/kernels.h"
#include "ops/cpu/vector.h"

// Where the walk is: the block of queries.
struct attention_walk {
    const struct attention *attention;
    const float *query, *dout; // row 0 is the block's first query, at its head
    const float *key, *value;  // row 0 is the sequence's first key
    float *dquery, *dkey, *dvalue;
    const uint8_t *keep; // [n, keep_stride] or NULL
    int64_t keep_stride;
    int n;        // queries of the block
    int position; // of the last key that the first query sees; each sees one more, but none more than n_key
    int n_key;
    _Alignas(64) float lse[ATTEND_QUERIES];
    _Alignas(64) float delta[ATTEND_QUERIES];                // dO_i . O_i
    _Alignas(64) uint8_t kept[ATTEND_KEYS * ATTEND_QUERIES]; // [keys, queries]: room for a block of `keep`
};

// Keys first_key to first_key + n_keys with the block of queries; key 0 comes first for each of those.
typedef void attention_walk_fn(struct attention_walk *walk, int first_key, int n_keys);

static float dot_row(const float *a, const float *b, int n) {
    vf sum = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES) sum += vf_load(a + i) * vf_load(b + i);
    if (i < n) sum += vf_load_part(a + i, n - i) * vf_load_part(b + i, n - i);
    return vf_sum(sum);
}

static void zero_rows(float *rows, int64_t stride, int n, int n_columns) {
    for (int r = 0; r < n; r++) memset(rows + r * stride, 0, (size_t)n_columns * sizeof *rows);
}

// Goes to the block of queries that begins with `first`.
static void go_to_queries(struct attention_walk *walk, const struct attention_sequence *sequence,
                          const struct attention_gradient *gradient, int head, int first) {
    const struct attention *attention = walk->attention;
    const int64_t column = (int64_t)head * attention->head_size;
    const int64_t row = (int64_t)head * sequence->n_query + first;
    const int n_left = sequence->n_query - first;
    walk->n = n_left < ATTEND_QUERIES ? n_left : ATTEND_QUERIES;
    walk->position = attention_seen(attention, sequence, first) - 1;
    walk->n_key = attention_seen(attention, sequence, first + walk->n - 1);
    walk->query = sequence->query + first * attention->query_stride + column;
    walk->dquery = gradient->dquery + first * attention->query_stride + column;
    walk->dout = gradient->dout + first * attention->out_stride + column;
    walk->keep = sequence->keep != NULL ? sequence->keep + row * sequence->n_key : NULL;
    walk->keep_stride = sequence->n_key;
    const float *out = sequence->out + first * attention->out_stride + column;
    for (int i = 0; i < ATTEND_QUERIES; i++) {
        const int64_t at = i * attention->out_stride;
        walk->lse[i] = i < walk->n ? sequence->lse[row + i] : 0;
        walk->delta[i] = i < walk->n ? dot_row(walk->dout + at, out + at, attention->head_size) : 0;
    }
}

// All entries that share a head's keys. Their dquery, dkey and dvalue are zeroed first; `block` adds to them.
static void walk_attention(struct attention_walk *walk, const struct attention *attention,
                           const struct attention_sequence *sequences, const struct attention_gradient *gradients,
                           int n, int head, attention_walk_fn *block) {
    const int64_t at_key = head * attention->head_stride;
    walk->attention = attention;
    walk->key = sequences->key + at_key;
    walk->value = sequences->value + at_key;
    walk->dkey = gradients->dkey + at_key;
    walk->dvalue = gradients->dvalue + at_key;
    memset(walk->kept, 0, sizeof walk->kept); // the lanes behind the last query are read as well
    int n_key = 0;
    for (int i = 0; i < n; i++) n_key = sequences[i].n_key > n_key ? sequences[i].n_key : n_key;
    zero_rows(walk->dkey, attention->row_stride, n_key, attention->head_size);
    zero_rows(walk->dvalue, attention->row_stride, n_key, attention->head_size);
    for (int i = 0; i < n; i++) {
        for (int first = 0; first < sequences[i].n_query; first += ATTEND_QUERIES) {
            go_to_queries(walk, &sequences[i], &gradients[i], head, first);
            zero_rows(walk->dquery, attention->query_stride, walk->n, attention->head_size);
            for (int key = 0; key < walk->n_key; key += ATTEND_KEYS) {
                block(walk, key, walk->n_key - key < ATTEND_KEYS ? walk->n_key - key : ATTEND_KEYS);
            }
        }
    }
}

#endif
