// case_attention.c: ops->attention and ops->store_kv. Included by test_ops.c.
#include "subjects.h"

// A batch of sequences with everything attention needs, in one of two layouts.
struct attention_batch {
    struct attention attention;
    struct attention_sequence sequences[12];
    int n_sequences;
    size_t out_size;
    size_t out_at[12]; // where each sequence's output begins
};

// cached: keys and values in [n_head, n_ctx, head_size] per sequence, as the KV cache has them; else fused rows.
static struct attention_batch batch_make(struct subjects *s, const int (*lengths)[2], int n_sequences, int n_head,
                                         int head_size, bool cached, float scale) {
    const int n_ctx = 301;
    const int n_embd = n_head * head_size;
    struct attention_batch b = {.n_sequences = n_sequences};
    b.attention.n_head = n_head;
    b.attention.head_size = head_size;
    b.attention.scale = 1 / sqrtf((float)head_size);
    b.attention.query_stride = 3 * n_embd;
    b.attention.out_stride = n_embd;
    b.attention.head_stride = cached ? (int64_t)n_ctx * head_size : head_size;
    b.attention.row_stride = cached ? head_size : 3 * n_embd;
    for (int i = 0; i < n_sequences; i++) {
        struct attention_sequence *sequence = &b.sequences[i];
        sequence->n_query = lengths[i][0];
        sequence->n_key = lengths[i][1];
        const size_t rows = (size_t)(cached ? lengths[i][0] : lengths[i][1]);
        const float *qkv = input_f32(s, rows * 3 * (size_t)n_embd, scale);
        // Without a cache the queries are the last of the rows.
        sequence->query = qkv + (rows - (size_t)lengths[i][0]) * 3 * (size_t)n_embd;
        sequence->key = cached ? input_f32(s, (size_t)n_ctx * (size_t)n_embd, scale) : qkv + n_embd;
        sequence->value = cached ? input_f32(s, (size_t)n_ctx * (size_t)n_embd, 1) : qkv + 2 * n_embd;
        b.out_at[i] = b.out_size;
        b.out_size += (size_t)lengths[i][0] * (size_t)n_embd;
    }
    return b;
}

static void batch_run(struct attention_batch *b, struct ops *ops, float *out) {
    for (int i = 0; i < b->n_sequences; i++) b->sequences[i].out = out + b->out_at[i];
    ops->attention(ops, &b->attention, b->sequences, b->n_sequences);
}

static void attention_compare(struct subjects *s, const char *what, struct attention_batch *b, double bound) {
    float *want = output_new(b->out_size);
    batch_run(b, s->ref, want);
    float *first = output_new(b->out_size);
    float *other = output_new(b->out_size);
    for (int i = 0; i < s->n; i++) {
        batch_run(b, s->list[i].ops[0], first);
        output_check(first, b->out_size);
        check_close(what, s->list[i].name, first, want, b->out_size, bound);
        for (int t = 1; t < THREADS; t++) {
            batch_run(b, s->list[i].ops[t], other);
            output_check(other, b->out_size);
            check_same_bits(what, s->list[i].name, t + 1, other, first, b->out_size);
        }
    }
    output_free(want);
    output_free(first);
    output_free(other);
}

static void attention_fixture(struct subjects *s) {
    enum {
        N = 9,
        N_HEAD = 3,
        HEAD_SIZE = 8,
        N_EMBD = N_HEAD * HEAD_SIZE
    };
    float *qkv = fixture_read("attention", N * 3 * N_EMBD + N * N_EMBD);
    const struct attention attention = {
        N_HEAD, HEAD_SIZE, 1 / sqrtf(HEAD_SIZE), 3 * N_EMBD, N_EMBD, HEAD_SIZE, 3 * N_EMBD, 1, false};
    for (int i = 0; i <= s->n; i++) {
        struct ops *ops = i < s->n ? s->list[i].ops[1] : s->ref;
        float out[N * N_EMBD];
        const struct attention_sequence sequence = {qkv, qkv + N_EMBD, qkv + 2 * N_EMBD, out, N, N, NULL, NULL};
        ops->attention(ops, &attention, &sequence, 1);
        check_close("attention against PyTorch", ops_level_name(ops->level), out, qkv + N * 3 * N_EMBD, N * N_EMBD,
                    2e-6);
    }
    free(qkv);
}

// What a token holds cannot reach an earlier one, not even as a NaN times zero.
static void attention_causal(struct subjects *s, int n, int poisoned) {
    enum {
        N_HEAD = 2,
        HEAD_SIZE = 20,
        N_EMBD = N_HEAD * HEAD_SIZE
    };
    const int lengths[][2] = {{n, n}};
    struct attention_batch b = batch_make(s, lengths, 1, N_HEAD, HEAD_SIZE, false, 1);
    float *clean = output_new(b.out_size);
    float *dirty = output_new(b.out_size);
    const size_t before = (size_t)poisoned * N_EMBD;
    for (int i = 0; i < s->n; i++) {
        batch_run(&b, s->list[i].ops[1], clean);
        // The whole row: query, key and value.
        float *row = (float *)(uintptr_t)b.sequences[0].query + (size_t)poisoned * 3 * N_EMBD;
        float kept[3 * N_EMBD];
        memcpy(kept, row, sizeof kept);
        for (int j = 0; j < 3 * N_EMBD; j++) row[j] = NAN;
        batch_run(&b, s->list[i].ops[1], dirty);
        memcpy(row, kept, sizeof kept);
        check_same_bits("attention before a NaN", s->list[i].name, 2, dirty, clean, before);
        for (size_t j = before; j < b.out_size; j++) assert_true(isnan(dirty[j]));
    }
    output_free(clean);
    output_free(dirty);
    subjects_clear(s);
}

static void case_attention(struct subjects *s) {
    static const int head_sizes[] = {16, 25, 64, 80, 130, 1};
    static const int lengths[][2] = {{1, 1},  {5, 5}, {1, 300},   {17, 40}, {97, 97}, {200, 260},
                                     {3, 70}, {4, 4}, {129, 129}, {2, 257}, {96, 96}, {1, 64}};
    attention_fixture(s);
    for (int i = 0; i < 6; i++) {
        for (int cached = 0; cached < 2; cached++) {
            char what[80];
            snprintf(what, sizeof what, "attention, head size %d, %s", head_sizes[i], cached ? "cache" : "fused rows");
            struct attention_batch b = batch_make(s, lengths, 12, 3, head_sizes[i], cached, 1);
            attention_compare(s, what, &b, 2e-6);
            subjects_clear(s);
            // Scores of the order of 10^4: exp() would overflow without the maximum, and the rounding of a score
            // (10^4 * 2^-23) is what the weights are off by.
            b = batch_make(s, lengths, 12, 3, head_sizes[i], cached, 100);
            attention_compare(s, what, &b, 2e-2 * (cached ? 1 : 100));
            subjects_clear(s);
        }
    }
    const int n[] = {3, 4, 60, 100, 200};
    for (int i = 0; i < 5; i++) {
        attention_causal(s, n[i], n[i] - 1);
        attention_causal(s, n[i], n[i] / 2);
        attention_causal(s, n[i], 1);
    }
}

static void case_store_kv(struct subjects *s) {
    enum {
        N_CTX = 40
    };
    static const int shapes[][4] = {
        {1, 0, 12, 64}, {7, 33, 3, 25}, {40, 0, 2, 16}, {30, 5, 12, 64}}; // n, position, ...
    for (int i = 0; i < 4; i++) {
        const int *shape = shapes[i];
        const size_t n_embd = (size_t)(shape[2] * shape[3]);
        const size_t size = n_embd * N_CTX;
        // Rows of keys and values alone, and with the next row's query between them.
        const int64_t row_stride = (int64_t)n_embd * (2 + i % 2);
        const size_t n = ((size_t)shape[0] - 1) * (size_t)row_stride + 2 * n_embd;
        const float *kv = input_f32(s, n, 1);
        float *want[2] = {output_new(size), output_new(size)};
        s->ref->store_kv(s->ref, want[0], want[1], kv, row_stride, shape[0], shape[1], N_CTX, shape[2], shape[3]);
        // By hand: the last head's last element of the last row.
        const float *last = kv + n;
        const size_t at = ((size_t)(shape[2] - 1) * N_CTX + (size_t)(shape[1] + shape[0] - 1)) * (size_t)shape[3];
        assert_true(want[1][at + (size_t)shape[3] - 1] == last[-1]);
        assert_true(want[0][at + (size_t)shape[3] - 1] == last[-1 - (ptrdiff_t)n_embd]);
        for (int j = 0; j < s->n; j++) {
            for (int t = 0; t < THREADS; t++) {
                float *got[2] = {output_new(size), output_new(size)};
                struct ops *ops = s->list[j].ops[t];
                ops->store_kv(ops, got[0], got[1], kv, row_stride, shape[0], shape[1], N_CTX, shape[2], shape[3]);
                for (int k = 0; k < 2; k++) {
                    output_check(got[k], size);
                    assert_memory_equal(got[k], want[k], size * sizeof(float));
                    output_free(got[k]);
                }
            }
        }
        output_free(want[0]);
        output_free(want[1]);
        subjects_clear(s);
    }
}
