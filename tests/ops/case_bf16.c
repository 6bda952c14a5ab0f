// case_bf16.c: products in BF16, against ref with operands that are rounded beforehand: what is left is the rounding of
// F32 sums. Included by test_ops.c.
#include "calls.h"

static void round_bf16(float *to, const float *from, size_t n) {
    uint16_t *half = malloc(n * sizeof *half);
    assert_non_null(half);
    dtype_from_f32(half, DTYPE_BF16, from, n);
    for (size_t i = 0; i < n; i++) to[i] = bf16_to_f32(half[i]);
    free(half);
}

static const float *rounded(struct subjects *s, const float *from, size_t n) {
    float *to = input_f32(s, n, 1);
    round_bf16(to, from, n);
    return to;
}

static struct matrix rounded_matrix(struct subjects *s, const struct matrix *matrix) {
    const size_t n = (size_t)matrix->rows * (size_t)matrix->cols;
    float *to = input_f32(s, n, 1);
    for (int row = 0; row < matrix->rows; row++) {
        for (int col = 0; col < matrix->cols; col++) {
            to[(size_t)row * (size_t)matrix->cols + (size_t)col] = matrix_at(matrix, row, col);
        }
    }
    round_bf16(to, to, n);
    return (struct matrix){to, DTYPE_F32, matrix->rows, matrix->cols};
}

// `call` with `arguments` in BF16 on every number of threads, against ref with rounded ones.
static void bf16_compare(struct subjects *s, const char *what, call_fn *call, const void *arguments,
                         const void *rounded_arguments, const struct output *outputs, int n_outputs) {
    float *want[MOST_OUTPUTS];
    float *first[MOST_OUTPUTS];
    float *other[MOST_OUTPUTS];
    outputs_make(want, outputs, n_outputs);
    call(s->ref, rounded_arguments, want);
    for (int t = 0; t < THREADS; t++) {
        float **got = t == 0 ? first : other;
        outputs_make(got, outputs, n_outputs);
        call(s->list[0].ops[t], arguments, got);
        for (int o = 0; o < n_outputs; o++) {
            if (got[o] == NULL) continue;
            output_check(got[o], outputs[o].n);
            check_close(what, "bf16", got[o], want[o], outputs[o].n, outputs[o].bound);
            check_same_bits(what, "bf16", t + 1, got[o], first[o], outputs[o].n);
        }
        if (t > 0) outputs_free(other, n_outputs);
    }
    outputs_free(first, n_outputs);
    outputs_free(want, n_outputs);
}

static void bf16_linear_call(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct linear_backward *a = arguments;
    assert_true(ops->linear(ops, outputs[0], a->x, &a->linear, a->residual, a->n, NULL));
}

static void bf16_linear(struct subjects *s, enum dtype dtype, bool transposed, int n_in, int n_out, int n) {
    const size_t in = (size_t)n * (size_t)n_in;
    const size_t out = (size_t)n * (size_t)n_out;
    const size_t size = (size_t)n_in * (size_t)n_out;
    const struct matrix weight =
        transposed ? input_matrix(s, dtype, n_out, n_in, 1) : input_matrix(s, dtype, n_in, n_out, 1);
    const struct linear linear = {weight, transposed, input_f32(s, (size_t)n_out, 1), ACTIVATION_NONE, 0};
    struct linear rounded_linear = linear;
    rounded_linear.weight = rounded_matrix(s, &weight);
    const float *residual = n % 2 == 0 ? input_f32(s, out, 1) : NULL;
    const struct linear_backward a = {input_f32(s, out, 1), input_f32(s, in, 1), residual, linear, n};
    const struct linear_backward b = {rounded(s, a.dout, out), rounded(s, a.x, in), residual, rounded_linear, n};
    char what[100];
    snprintf(what, sizeof what, "%s%s [%d, %d] x [%d]", dtype_info(dtype)->name, transposed ? " transposed" : "", n,
             n_in, n_out);

    const struct output forward = {out, NULL, linear_bound(n_in)};
    bf16_compare(s, what, bf16_linear_call, &a, &b, &forward, 1);
    // The bias's gradient sums up numbers that are not rounded.
    const struct output backward[] = {{in, NULL, linear_bound(n_out)}, {size, input_f32(s, size, 1), linear_bound(n)}};
    bf16_compare(s, what, linear_backward_call, &a, &b, (struct output[]){backward[0], backward[1], {0}}, 3);
    const struct output bias = {(size_t)n_out, input_f32(s, (size_t)n_out, 1), linear_bound(2 * n)};
    bf16_compare(s, what, linear_backward_call, &a, &a, (struct output[]){{0}, {0}, bias}, 3);
    subjects_clear(s);
}

static void bf16_head_loss_call(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct head_backward *a = arguments;
    assert_true(ops->head_loss(ops, outputs[0], a->x, &a->weight, a->targets, a->n, NULL));
}

static void bf16_head(struct subjects *s, enum dtype dtype, int n, int n_embd, int vocab_size) {
    const size_t size = (size_t)n * (size_t)n_embd;
    const size_t weights = (size_t)vocab_size * (size_t)n_embd;
    int32_t *targets = input_bytes(s, (size_t)n * sizeof *targets, sizeof *targets);
    for (int i = 0; i < n; i++) targets[i] = (int32_t)(random_u32(&s->random) % (uint32_t)vocab_size);
    const struct matrix weight = input_matrix(s, dtype, vocab_size, n_embd, 1);
    const struct head_backward a = {input_f32(s, size, 1), weight, targets, input_f32(s, (size_t)n, 1), n};
    const struct head_backward b = {rounded(s, a.x, size), rounded_matrix(s, &weight), targets, a.scales, n};
    const double logit = 4e-6 + 1e-6 * n_embd;
    char what[80];
    snprintf(what, sizeof what, "head %s [%d, %d] x [%d]", dtype_info(dtype)->name, n, n_embd, vocab_size);
    const struct output loss = {(size_t)n, NULL, logit};
    bf16_compare(s, what, bf16_head_loss_call, &a, &b, &loss, 1);
    // The logits' gradients are rounded in between, by 2^-9 of themselves at most; a row's sum up to 2 in magnitude, a
    // column's to sums over the rows that have it as a target.
    const double step = 0x1p-9;
    const struct output outputs[] = {
        loss, {size, NULL, logit + 2 * step}, {weights, input_f32(s, weights, 1), 2 * (logit + step) * sqrt(n)}};
    bf16_compare(s, what, head_backward_call, &a, &b, outputs, 3);
    subjects_clear(s);
}

// Attention of operands that are rounded beforehand. Its weights are rounded in between, by 2^-9 of themselves at most:
// of a query they sum up to 1, and what a key gathers from many queries to the logarithm of their number, some 5. So
// are the slopes, scale * weight * (a difference of the order of 4).
static void bf16_attention(struct subjects *s, int head_size, bool cached, bool dropout, bool unmasked) {
    static const int whole[][2] = {{1, 1}, {5, 5}, {40, 40}, {97, 97}, {130, 130}};
    static const int parts[][2] = {{1, 70}, {5, 5}, {17, 40}, {97, 97}, {30, 131}};
    const double step = head_size % 16 == 0 && head_size <= 64 ? 0x1p-9 : 0; // others are not rounded
    const int n_head = 2;
    struct attention_call a = {.cached = cached};
    a.batch = batch_make(s, cached ? parts : whole, BACKWARD_SEQUENCES, n_head, head_size, cached, 1);
    a.batch.attention.keep_scale = 1.25F;
    a.batch.attention.unmasked = unmasked;
    a.dout = rounded(s, input_f32(s, a.batch.out_size, 1), a.batch.out_size);
    a.out = input_f32(s, a.batch.out_size, 1);
    const size_t n_embd = (size_t)n_head * (size_t)head_size;
    struct output forward[1 + BACKWARD_SEQUENCES] = {{a.batch.out_size, NULL, 3e-6 + 1.25 * step}};
    struct output backward[3 * BACKWARD_SEQUENCES] = {{0}};
    float *results[1 + BACKWARD_SEQUENCES] = {a.out};
    for (int i = 0; i < BACKWARD_SEQUENCES; i++) {
        struct attention_sequence *sequence = &a.batch.sequences[i];
        const size_t n_query = (size_t)sequence->n_query;
        float *rows = (float *)(uintptr_t)(sequence->query - (cached ? 0 : (sequence->n_key - sequence->n_query)) *
                                                                 a.batch.attention.query_stride);
        round_bf16(rows, rows, (size_t)(cached ? sequence->n_query : sequence->n_key) * 3 * n_embd);
        if (cached) {
            round_bf16((float *)(uintptr_t)sequence->key, sequence->key, BACKWARD_CONTEXT * n_embd);
            round_bf16((float *)(uintptr_t)sequence->value, sequence->value, BACKWARD_CONTEXT * n_embd);
        }
        if (dropout) sequence->keep = keep_make(s, &a.batch, i);
        results[1 + i] = a.lse[i] = input_f32(s, (size_t)n_head * n_query, 1);
        forward[1 + i] = (struct output){(size_t)n_head * n_query, NULL, 3e-6};
        backward[3 * i] = (struct output){n_query * 3 * n_embd, NULL, 2e-5 + 6 * step};
        for (int j = 1; j < 3 && cached; j++) {
            backward[3 * i + j] = (struct output){BACKWARD_CONTEXT * n_embd, NULL, 2e-5 + 6 * step};
        }
    }
    char what[100];
    snprintf(what, sizeof what, "attention, head size %d, %s%s%s", head_size, cached ? "cache" : "fused rows",
             dropout ? ", dropout" : "", unmasked ? ", no mask" : "");
    bf16_compare(s, what, training_call, &a, &a, forward, 1 + BACKWARD_SEQUENCES);
    training_call(s->ref, &a, results);
    bf16_compare(s, what, attention_backward_call, &a, &a, backward, 3 * BACKWARD_SEQUENCES);
    subjects_clear(s);
}

static void test_bf16_products(void **state) {
    (void)state;
    struct subjects s = {.n = 1, .ref = ops_new(OPS_REF, 1, NULL)};
    random_init(&s.random, 1);
    bool available = ops_level_available(OPS_AVX512);
    for (int t = 0; t < THREADS && available; t++) {
        s.list[0].ops[t] = ops_new(OPS_AVX512, t + 1, NULL);
        assert_non_null(s.list[0].ops[t]);
        available = ops_use_bf16(s.list[0].ops[t], NULL);
    }
    if (available) {
        static const int shapes[][3] = {{768, 96, 40}, {64, 400, 17}, {48, 192, 64},  {33, 35, 20},
                                        {1, 1, 30},    {7, 450, 270}, {801, 403, 24}, {1030, 16, 19}};
        for (int dtype = 0; dtype <= DTYPE_BF16; dtype++) {
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
                bf16_linear(&s, (enum dtype)dtype, false, shapes[i][0], shapes[i][1], shapes[i][2]);
                bf16_linear(&s, (enum dtype)dtype, true, shapes[i][0], shapes[i][1], shapes[i][2]);
            }
            bf16_head(&s, (enum dtype)dtype, 20, 33, 1000);
            bf16_head(&s, (enum dtype)dtype, 600, 16, 301);
        }
        bf16_head(&s, DTYPE_F32, 19, 8, 6500);
        static const int head_sizes[] = {64, 16, 48, 25};
        for (int i = 0; i < 4; i++) {
            for (int mode = 0; mode < 8; mode++) {
                bf16_attention(&s, head_sizes[i], mode % 2 == 1, mode / 2 % 2 == 1, mode / 4 == 1);
            }
        }
    }
    for (int t = 0; t < THREADS; t++) ops_free(s.list[0].ops[t]);
    ops_free(s.ref);
    if (available) return;
    print_message("skipped: this machine has no AVX512_BF16\n");
    skip();
}
