// case_attention_backward.c: ops->attention as training calls it, and ops->attention_backward. Included by test_ops.c.
#include "calls.h"

static void attention_backward_fixture(struct subjects *s) {
    enum {
        N = 9,
        N_HEAD = 3,
        HEAD_SIZE = 8,
        N_EMBD = N_HEAD * HEAD_SIZE,
        ROWS = N * N_EMBD,
        WEIGHTS = N_HEAD * N * N
    };
    float *qkv = fixture_read("attention_backward", 3 * ROWS + ROWS + WEIGHTS + N_HEAD * N + 2 * (ROWS + 3 * ROWS));
    const float *dout = qkv + 3 * ROWS;
    const float *want_lse = dout + ROWS + WEIGHTS;
    uint8_t keep[WEIGHTS];
    for (int i = 0; i < WEIGHTS; i++) keep[i] = dout[ROWS + i] != 0;
    const struct attention attention = {
        N_HEAD, HEAD_SIZE, 1 / sqrtf(HEAD_SIZE), 3 * N_EMBD, N_EMBD, HEAD_SIZE, 3 * N_EMBD, 1.5F, false};
    for (int i = 0; i < 2 * (s->n + 1); i++) {
        struct ops *ops = i / 2 < s->n ? s->list[i / 2].ops[1] : s->ref;
        const char *name = i / 2 < s->n ? s->list[i / 2].name : "ref";
        const float *want = want_lse + N_HEAD * N + (i % 2 == 1 ? 4 * ROWS : 0);
        float out[ROWS];
        float lse[N_HEAD * N];
        float dqkv[3 * ROWS];
        const struct attention_sequence sequence = {qkv, qkv + N_EMBD, qkv + 2 * N_EMBD,        out, N,
                                                    N,   lse,          i % 2 == 1 ? keep : NULL};
        const struct attention_gradient gradient = {dout, dqkv, dqkv + N_EMBD, dqkv + 2 * N_EMBD};
        ops->attention(ops, &attention, &sequence, 1);
        check_close("attention in training against PyTorch", name, out, want, ROWS, 3e-6);
        check_close("log-sum-exp against PyTorch", name, lse, want_lse, (size_t)N_HEAD * N, 3e-6);
        ops->attention_backward(ops, &attention, &sequence, &gradient, 1);
        check_close("attention_backward against PyTorch", name, dqkv, want + ROWS, (size_t)3 * ROWS, 1e-5);
    }
    free(qkv);
}

// ---- A call with all sequences of a batch ---------------------------------------------------

enum {
    BACKWARD_SEQUENCES = 5,
    BACKWARD_CONTEXT = 301 // batch_make's
};

struct attention_call {
    struct attention_batch batch;
    bool cached;
    const float *dout;
    float *out;                     // of the forward pass, as batch.out_at
    float *lse[BACKWARD_SEQUENCES]; // likewise
};

// Forward: out, then lse of each sequence.
static void training_call(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct attention_call *a = arguments;
    struct attention_batch b = a->batch;
    for (int i = 0; i < b.n_sequences; i++) b.sequences[i].lse = outputs[1 + i];
    batch_run(&b, ops, outputs[0]);
}

// Three arrays a sequence: rows of [query, key, value] gradients; keys and values when they are in a cache.
static void attention_backward_call(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct attention_call *a = arguments;
    struct attention_batch b = a->batch;
    struct attention_gradient gradients[BACKWARD_SEQUENCES];
    const int64_t n_embd = b.attention.out_stride;
    for (int i = 0; i < b.n_sequences; i++) {
        float *const *made = outputs + (size_t)3 * (size_t)i;
        b.sequences[i].out = a->out + b.out_at[i];
        b.sequences[i].lse = a->lse[i];
        gradients[i] =
            (struct attention_gradient){a->dout + b.out_at[i], made[0], a->cached ? made[1] : made[0] + n_embd,
                                        a->cached ? made[2] : made[0] + 2 * n_embd};
    }
    ops->attention_backward(ops, &b.attention, b.sequences, gradients, b.n_sequences);
}

static uint8_t *keep_make(struct subjects *s, const struct attention_batch *b, int i) {
    const size_t n = (size_t)b->attention.n_head * (size_t)b->sequences[i].n_query * (size_t)b->sequences[i].n_key;
    uint8_t *keep = input_bytes(s, n, 1);
    for (size_t j = 0; j < n; j++) keep[j] = random_u32(&s->random) % 5 > 0;
    return keep;
}

// Forward with log-sum-exp and dropout, then backward from ref's results.
static void attention_backward_compare(struct subjects *s, int head_size, bool cached, bool dropout, float scale) {
    static const int whole[][2] = {{1, 1}, {5, 5}, {40, 40}, {97, 97}, {130, 130}};
    static const int parts[][2] = {{1, 70}, {5, 5}, {17, 40}, {97, 97}, {30, 130}};
    const int n_head = 2;
    struct attention_call a = {.cached = cached};
    a.batch = batch_make(s, cached ? parts : whole, BACKWARD_SEQUENCES, n_head, head_size, cached, scale);
    a.batch.attention.keep_scale = 1.25F;
    a.dout = input_f32(s, a.batch.out_size, 1);
    a.out = input_f32(s, a.batch.out_size, 1);
    const size_t n_embd = (size_t)n_head * (size_t)head_size;
    const double wide = (double)scale * (double)scale;
    struct output forward[1 + BACKWARD_SEQUENCES] = {{a.batch.out_size, NULL, 3e-6 * wide}};
    struct output backward[3 * BACKWARD_SEQUENCES] = {{0}};
    float *results[1 + BACKWARD_SEQUENCES] = {a.out};
    for (int i = 0; i < BACKWARD_SEQUENCES; i++) {
        struct attention_sequence *sequence = &a.batch.sequences[i];
        const size_t n_query = (size_t)sequence->n_query;
        if (dropout) sequence->keep = keep_make(s, &a.batch, i);
        results[1 + i] = a.lse[i] = input_f32(s, (size_t)n_head * n_query, 1);
        forward[1 + i] = (struct output){(size_t)n_head * n_query, NULL, 3e-6 * wide};
        backward[3 * i] = (struct output){n_query * 3 * n_embd, NULL, 2e-5 * wide};
        for (int j = 1; j < 3 && cached; j++) {
            backward[3 * i + j] = (struct output){BACKWARD_CONTEXT * n_embd, NULL, 2e-5 * wide};
        }
    }
    char what[100];
    snprintf(what, sizeof what, "attention in training, head size %d, %s%s", head_size, cached ? "cache" : "fused rows",
             dropout ? ", dropout" : "");
    call_compare(s, what, training_call, &a, forward, 1 + BACKWARD_SEQUENCES);
    training_call(s->ref, &a, results);
    snprintf(what, sizeof what, "attention_backward, head size %d, %s%s", head_size, cached ? "cache" : "fused rows",
             dropout ? ", dropout" : "");
    call_compare(s, what, attention_backward_call, &a, backward, 3 * BACKWARD_SEQUENCES);
    subjects_clear(s);
}

// ---- Queries that are not neighbours ---------------------------------------------------------

// Runs of queries of two sequences as entries that share their keys, against whole sequences in which the gradient of
// all other rows is zero: gathered queries [n, n_embd], and rows of [key, value].
static void attention_backward_shared(struct subjects *s, int head_size) {
    static const int lengths[] = {150, 40};
    static const int runs[][3] = {{0, 3, 1}, {0, 60, 50}, {0, 120, 2}, {1, 0, 2}, {1, 37, 1}}; // sequence, first, n
    enum {
        N_RUNS = sizeof runs / sizeof *runs,
        N_HEAD = 2,
        N_TOKENS = 150 + 40,
        N_ROWS = 56
    };
    const int n_embd = N_HEAD * head_size;
    const size_t rows = (size_t)N_ROWS * (size_t)n_embd;
    const size_t keys = (size_t)N_TOKENS * 2 * (size_t)n_embd;
    const struct attention attention = {
        N_HEAD, head_size, 1 / sqrtf((float)head_size), n_embd, n_embd, head_size, 2 * n_embd, 1, false};
    const float *kv = input_f32(s, keys, 1);
    const float *queries = input_f32(s, (size_t)N_TOKENS * (size_t)n_embd, 1);
    float *query = input_f32(s, rows, 1);
    const float *dout = input_f32(s, rows, 1);
    float *zeros_but = input_f32(s, (size_t)N_TOKENS * (size_t)n_embd, 0);
    struct attention_sequence entries[N_RUNS];
    for (int r = 0, row = 0; r < N_RUNS; row += runs[r++][2]) {
        const int start = runs[r][0] * lengths[0];
        const int64_t at = (int64_t)(start + runs[r][1]) * n_embd;
        const size_t bytes = (size_t)runs[r][2] * (size_t)n_embd * sizeof(float);
        memcpy(query + row * n_embd, queries + at, bytes);
        memcpy(zeros_but + at, dout + row * n_embd, bytes);
        const float *key = kv + (int64_t)start * 2 * n_embd;
        entries[r] = (struct attention_sequence){.query = query + row * n_embd,
                                                 .key = key,
                                                 .value = key + n_embd,
                                                 .n_query = runs[r][2],
                                                 .n_key = runs[r][1] + runs[r][2]};
    }

    // All rows, by ref.
    float *out = output_new((size_t)N_TOKENS * (size_t)n_embd);
    float *lse = output_new((size_t)N_TOKENS * N_HEAD);
    float *dquery = output_new((size_t)N_TOKENS * (size_t)n_embd);
    float *want = output_new(keys);
    for (int i = 0; i < 2; i++) {
        const int64_t at = (int64_t)i * lengths[0] * n_embd;
        const struct attention_sequence whole = {
            queries + at, kv + 2 * at, kv + 2 * at + n_embd, out + at, lengths[i], lengths[i], lse, NULL};
        const struct attention_gradient gradient = {zeros_but + at, dquery + at, want + 2 * at, want + 2 * at + n_embd};
        s->ref->attention(s->ref, &attention, &whole, 1);
        s->ref->attention_backward(s->ref, &attention, &whole, &gradient, 1);
    }
    float *got_out = output_new(rows);
    float *got_lse = output_new((size_t)N_ROWS * N_HEAD);
    float *got_dquery = output_new(rows);
    float *got = output_new(keys);
    float *first = output_new(keys);
    for (int i = 0; i < (s->n + 1) * THREADS; i++) {
        struct ops *ops = i / THREADS < s->n ? s->list[i / THREADS].ops[i % THREADS] : s->ref;
        const char *name = i / THREADS < s->n ? s->list[i / THREADS].name : "ref";
        memset(got, 0xff, keys * sizeof *got);
        struct attention_gradient gradients[N_RUNS];
        for (int r = 0, row = 0; r < N_RUNS; row += runs[r++][2]) {
            float *dkey = got + (entries[r].key - kv);
            entries[r].out = got_out + row * n_embd;
            entries[r].lse = got_lse + row * N_HEAD;
            gradients[r] =
                (struct attention_gradient){dout + row * n_embd, got_dquery + row * n_embd, dkey, dkey + n_embd};
        }
        ops->attention(ops, &attention, entries, N_RUNS);
        ops->attention_backward(ops, &attention, entries, gradients, N_RUNS);
        output_check(got_dquery, rows);
        output_check(got, keys);
        for (int r = 0, row = 0; r < N_RUNS; row += runs[r++][2]) {
            const int64_t at = (int64_t)(runs[r][0] * lengths[0] + runs[r][1]) * n_embd;
            const size_t n = (size_t)runs[r][2] * (size_t)n_embd;
            check_close("attention of some queries", name, got_out + row * n_embd, out + at, n, 3e-6);
            check_close("attention_backward of some queries", name, got_dquery + row * n_embd, dquery + at, n, 2e-5);
        }
        // Of the first sequence the last 28 keys are seen by nobody: they are not written.
        const size_t seen = (size_t)(122 * 2 * n_embd);
        const size_t other = (size_t)(lengths[0] * 2 * n_embd);
        check_close("attention_backward with shared keys", name, got, want, seen, 2e-5);
        check_close("attention_backward with shared keys", name, got + other, want + other, (size_t)(38 * 2 * n_embd),
                    2e-5);
        for (size_t j = seen; j < other; j++) assert_true(isnan(got[j]));
        if (i % THREADS == 0) memcpy(first, got, keys * sizeof *got);
        check_same_bits("attention_backward with shared keys", name, i % THREADS + 1, got, first, keys);
    }
    float *const outputs[] = {out, lse, dquery, want, got_out, got_lse, got_dquery, got, first};
    outputs_free(outputs, 9);
    subjects_clear(s);
}

// ---- Keys that are their own values ---------------------------------------------------------

// Single queries of one sequence over rows that are key and value: one gradient, of both.
static void attention_backward_own_values(struct subjects *s, int width) {
    enum {
        N_KEYS = 75
    };
    static const int seen[] = {30, 30, 75, 71};
    const size_t size = (size_t)N_KEYS * (size_t)width, rows = 4 * (size_t)width;
    const float *x = input_f32(s, size, 1), *query = input_f32(s, rows, 1), *dout = input_f32(s, rows, 1);
    const struct attention attention = {1, width, 0.1F, width, width, 0, width, 1, false};
    float *out = output_new(rows), *dquery = output_new(rows), *dkey = output_new(size), *dvalue = output_new(size);
    float *got = output_new(size);
    float lse[4];
    struct attention_sequence entries[4];
    struct attention_gradient apart[4], together[4];
    for (int i = 0; i < 4; i++) {
        const size_t at = (size_t)i * (size_t)width;
        entries[i] = (struct attention_sequence){query + at, x, x, out + at, 1, seen[i], lse + i, NULL};
        apart[i] = (struct attention_gradient){dout + at, dquery + at, dkey, dvalue};
        together[i] = (struct attention_gradient){dout + at, dquery + at, got, got};
    }
    s->ref->attention(s->ref, &attention, entries, 4);
    s->ref->attention_backward(s->ref, &attention, entries, apart, 4);
    for (size_t i = 0; i < size; i++) dkey[i] += dvalue[i];
    for (int i = 0; i <= s->n; i++) {
        struct ops *ops = i < s->n ? s->list[i].ops[0] : s->ref;
        memset(got, 0xff, size * sizeof *got);
        ops->attention_backward(ops, &attention, entries, together, 4);
        check_close("attention_backward, keys their own values", i < s->n ? s->list[i].name : "ref", got, dkey, size,
                    2e-5);
    }
    float *const outputs[] = {out, dquery, dkey, dvalue, got};
    outputs_free(outputs, 5);
    subjects_clear(s);
}

// ---- No mask --------------------------------------------------------------------------------

// Queries of one sequence that all see all keys, against as many entries of one query each.
static void attention_unmasked(struct subjects *s, int head_size, int n_query, bool dropout) {
    enum {
        N_KEYS = 75,
        N_HEAD = 2
    };
    const int n_embd = N_HEAD * head_size, apart = n_embd + 3; // rows of queries and of what belongs to them
    const size_t rows = (size_t)n_query * (size_t)apart, keys = (size_t)N_KEYS * (size_t)n_embd;
    const size_t n_lse = (size_t)n_query * N_HEAD;
    const float *query = input_f32(s, rows, 1), *dout = input_f32(s, rows, 1);
    const float *key = input_f32(s, keys, 1), *value = input_f32(s, keys, 1);
    uint8_t *keep = input_bytes(s, n_lse * N_KEYS, 1); // [query, head, key], and as it should be for all at once
    uint8_t *keep_all = input_bytes(s, n_lse * N_KEYS, 1);
    for (int i = 0; i < n_query * N_HEAD * N_KEYS; i++) {
        const int t = i % N_KEYS, h = i / N_KEYS % N_HEAD, q = i / N_KEYS / N_HEAD;
        keep[i] = keep_all[(h * n_query + q) * N_KEYS + t] = random_u32(&s->random) % 4 > 0;
    }
    struct attention attention = {N_HEAD, head_size, 0.3F, apart, apart, head_size, n_embd, 4 / 3.0F, false};

    float *out = output_new(rows), *lse = output_new(n_lse), *dquery = output_new(rows);
    float *dkey = output_new(keys), *dvalue = output_new(keys);
    struct attention_sequence *entries = calloc((size_t)n_query, sizeof *entries);
    struct attention_gradient *gradients = calloc((size_t)n_query, sizeof *gradients);
    assert_true(entries != NULL && gradients != NULL);
    for (int i = 0; i < n_query; i++) {
        const int64_t at = (int64_t)i * apart;
        entries[i] = (struct attention_sequence){
            query + at, key, value, out + at, 1, N_KEYS, lse + i * N_HEAD, dropout ? keep + i * N_HEAD * N_KEYS : NULL};
        gradients[i] = (struct attention_gradient){dout + at, dquery + at, dkey, dvalue};
    }
    s->ref->attention(s->ref, &attention, entries, n_query);
    s->ref->attention_backward(s->ref, &attention, entries, gradients, n_query);

    attention.unmasked = true;
    float *got_out = output_new(rows), *got_lse = output_new(n_lse), *got_dquery = output_new(rows);
    float *got_dkey = output_new(keys), *got_dvalue = output_new(keys);
    const struct attention_sequence all = {query,   key,    value,   got_out,
                                           n_query, N_KEYS, got_lse, dropout ? keep_all : NULL};
    const struct attention_gradient gradient = {dout, got_dquery, got_dkey, got_dvalue};
    for (int i = 0; i < (s->n + 1) * THREADS; i++) {
        struct ops *ops = i / THREADS < s->n ? s->list[i / THREADS].ops[i % THREADS] : s->ref;
        const char *name = i / THREADS < s->n ? s->list[i / THREADS].name : "ref";
        memset(got_dkey, 0xff, keys * sizeof *got_dkey);
        memset(got_dvalue, 0xff, keys * sizeof *got_dvalue);
        ops->attention(ops, &attention, &all, 1);
        ops->attention_backward(ops, &attention, &all, &gradient, 1);
        for (int q = 0; q < n_query; q++) {
            const int64_t at = (int64_t)q * apart;
            check_close("attention without a mask", name, got_out + at, out + at, (size_t)n_embd, 3e-6);
            check_close("its backward: queries", name, got_dquery + at, dquery + at, (size_t)n_embd, 2e-5);
            for (int h = 0; h < N_HEAD; h++) {
                check_close("its log-sum-exp", name, got_lse + h * n_query + q, lse + q * N_HEAD + h, 1, 3e-6);
            }
        }
        check_close("its backward: keys", name, got_dkey, dkey, keys, 2e-5);
        check_close("its backward: values", name, got_dvalue, dvalue, keys, 2e-5);
    }
    free(entries);
    free(gradients);
    float *const outputs[] = {out, lse, dquery, dkey, dvalue, got_out, got_lse, got_dquery, got_dkey, got_dvalue};
    outputs_free(outputs, 10);
    subjects_clear(s);
}

// ---- Ref by differences ---------------------------------------------------------------------

struct attention_loss {
    struct attention attention;
    struct attention_sequence sequence;
    const float *dout;
};

static double attention_loss(struct ops *ref, const void *arguments) {
    const struct attention_loss *a = arguments;
    float out[256];
    const size_t size = (size_t)a->sequence.n_query * (size_t)a->attention.out_stride;
    assert_true(size <= 256);
    struct attention_sequence sequence = a->sequence;
    sequence.out = out;
    ref->attention(ref, &a->attention, &sequence, 1);
    return dot(out, a->dout, size);
}

static void attention_backward_differences(struct subjects *s, bool dropout) {
    enum {
        N = 7,
        N_HEAD = 2,
        HEAD_SIZE = 5,
        N_EMBD = N_HEAD * HEAD_SIZE
    };
    float *qkv = input_f32(s, N * 3 * N_EMBD, 1);
    uint8_t keep[N_HEAD * N * N];
    for (size_t i = 0; i < sizeof keep; i++) keep[i] = i % 4 != 1;
    float out[N * N_EMBD];
    float lse[N_HEAD * N];
    float dqkv[N * 3 * N_EMBD];
    const struct attention_loss a = {
        {N_HEAD, HEAD_SIZE, 0.45F, 3 * N_EMBD, N_EMBD, HEAD_SIZE, 3 * N_EMBD, 1.25F, false},
        {qkv, qkv + N_EMBD, qkv + 2 * N_EMBD, out, N, N, lse, dropout ? keep : NULL},
        input_f32(s, N * N_EMBD, 1),
    };
    const struct attention_gradient gradient = {a.dout, dqkv, dqkv + N_EMBD, dqkv + 2 * N_EMBD};
    s->ref->attention(s->ref, &a.attention, &a.sequence, 1);
    s->ref->attention_backward(s->ref, &a.attention, &a.sequence, &gradient, 1);
    check_differences("attention", s->ref, attention_loss, &a, qkv, dqkv, N * 3 * N_EMBD, 1, 1e-2F, 1e-4);
    subjects_clear(s);
}

// ---- Causality ------------------------------------------------------------------------------

// A NaN in one query's dout stays out of other queries' gradients, and out of keys that it does not see.
static void attention_backward_causal(struct subjects *s, int n, int poisoned) {
    enum {
        N_HEAD = 2,
        HEAD_SIZE = 20,
        N_EMBD = N_HEAD * HEAD_SIZE
    };
    const int lengths[][2] = {{n, n}};
    const size_t size = (size_t)n * 3 * N_EMBD;
    struct attention_call a = {.batch = batch_make(s, lengths, 1, N_HEAD, HEAD_SIZE, false, 1)};
    float *dout = input_f32(s, a.batch.out_size, 1);
    a.dout = dout;
    a.out = input_f32(s, a.batch.out_size, 1);
    a.lse[0] = input_f32(s, (size_t)n * N_HEAD, 1);
    training_call(s->ref, &a, (float *const[]){a.out, a.lse[0]});
    for (int i = 0; i < s->n; i++) {
        float *clean[3] = {output_new(size)};
        float *dirty[3] = {output_new(size)};
        const size_t at = (size_t)poisoned * N_EMBD;
        const float kept = dout[at];
        attention_backward_call(s->list[i].ops[1], &a, clean);
        dout[at] = NAN;
        attention_backward_call(s->list[i].ops[1], &a, dirty);
        dout[at] = kept;
        for (int row = 0; row < n; row++) {
            const size_t start = (size_t)row * 3 * N_EMBD;
            const bool query = row != poisoned; // and so on: whether the first head's gradient is to be clean
            const bool key = row > poisoned;
            for (size_t part = 0; part < 3; part++) {
                const size_t first = start + part * N_EMBD;
                if (part == 0 ? query : key) {
                    check_same_bits("attention_backward beside a NaN", s->list[i].name, 2, dirty[0] + first,
                                    clean[0] + first, HEAD_SIZE);
                } else {
                    assert_true(isnan(dirty[0][first]));
                }
            }
        }
        output_free(clean[0]);
        output_free(dirty[0]);
    }
    subjects_clear(s);
}

static void case_attention_backward(struct subjects *s) {
    static const int head_sizes[] = {16, 25, 64, 130, 1, 40, 80};
    attention_backward_fixture(s);
    attention_backward_differences(s, false);
    attention_backward_differences(s, true);
    for (int i = 0; i < 7; i++) {
        for (int mode = 0; mode < 4; mode++) {
            attention_backward_compare(s, head_sizes[i], mode % 2 == 1, mode / 2 == 1, mode == 1 ? 10 : 1);
        }
    }
    attention_backward_shared(s, 16);
    attention_backward_shared(s, 25);
    attention_backward_shared(s, 130);
    attention_backward_own_values(s, 16);
    attention_backward_own_values(s, 130);
    for (int i = 0; i < 4; i++) {
        attention_unmasked(s, i % 2 == 0 ? 16 : 130, 12, i / 2 == 0);
        attention_unmasked(s, i % 2 == 0 ? 16 : 130, 2, i / 2 == 0);
    }
    attention_unmasked(s, 25, 70, true);
    attention_backward_causal(s, 5, 2);
    attention_backward_causal(s, 100, 97);
    attention_backward_causal(s, 150, 70);
}
