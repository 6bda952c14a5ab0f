// case_rows.c: ops->embed, ops->layer_norm and ops->head_loss. Included by test_ops.c.
#include "subjects.h"

// Without positions: the rows as they are, widened.
static void embed_gather(struct ops *ops, const struct matrix *wte, const int32_t *ids, int n) {
    const size_t size = (size_t)n * (size_t)wte->cols;
    float *got = output_new(size);
    ops->embed(ops, got, wte, NULL, ids, NULL, n);
    output_check(got, size);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < wte->cols; j++) {
            assert_true(got[(size_t)i * (size_t)wte->cols + (size_t)j] == matrix_at(wte, ids[i], j));
        }
    }
    output_free(got);
}

static void case_embed(struct subjects *s) {
    static const int widths[] = {768, 48, 33, 1, 1600};
    enum {
        VOCABULARY = 30,
        N_CTX = 70,
        N = 64
    };
    for (int i = 0; i < 5; i++) {
        for (int dtype = 0; dtype <= DTYPE_BF16; dtype++) {
            const int n = i == 1 ? 1 : N;
            const size_t size = (size_t)n * (size_t)widths[i];
            const struct matrix wte = input_matrix(s, (enum dtype)dtype, VOCABULARY, widths[i], 1);
            const struct matrix wpe = input_matrix(s, (enum dtype)(dtype == 1 ? 0 : dtype), N_CTX, widths[i], 1);
            int32_t ids[N];
            int32_t positions[N];
            for (int j = 0; j < N; j++) {
                ids[j] = (int32_t)(random_u32(&s->random) % VOCABULARY);
                positions[j] = j + 6;
            }
            ids[0] = VOCABULARY - 1;
            float *want = output_new(size);
            s->ref->embed(s->ref, want, &wte, &wpe, ids, positions, n);
            assert_true(want[0] == matrix_at(&wte, ids[0], 0) + matrix_at(&wpe, 6, 0));
            for (int j = 0; j < s->n; j++) {
                for (int t = 0; t < THREADS; t++) {
                    float *got = output_new(size);
                    s->list[j].ops[t]->embed(s->list[j].ops[t], got, &wte, &wpe, ids, positions, n);
                    output_check(got, size);
                    assert_memory_equal(got, want, size * sizeof *got);
                    output_free(got);
                }
            }
            output_free(want);
            for (int j = 0; j <= s->n; j++) embed_gather(j < s->n ? s->list[j].ops[1] : s->ref, &wte, ids, n);
            subjects_clear(s);
        }
    }
}

// center and spread: the row is center + spread * uniform(-1, 1).
static void layer_norm_compare(struct subjects *s, int n, int width, float center, float spread) {
    const size_t size = (size_t)n * (size_t)width;
    float *x = input_f32(s, size, spread);
    for (size_t i = 0; i < size; i++) x[i] += center;
    const float *weight = input_f32(s, (size_t)width, 2);
    const float *bias = input_f32(s, (size_t)width, 2);
    float *want = output_new(size);
    s->ref->layer_norm(s->ref, want, x, weight, bias, 1e-5F, n, width);
    // The mean is off by a rounding of the numbers it is taken of, which the scale magnifies.
    const double scale = 1 / sqrt((double)spread * spread / 3 + 1e-5);
    const double bound = 2e-6 + 4e-7 * (fabs((double)center) + (double)spread) * scale;
    char what[80];
    snprintf(what, sizeof what, "layer_norm [%d, %d] about %g +- %g", n, width, (double)center, (double)spread);
    for (int i = 0; i < s->n; i++) {
        for (int t = 0; t < THREADS; t++) {
            struct ops *ops = s->list[i].ops[t];
            float *got = output_new(size);
            ops->layer_norm(ops, got, x, weight, bias, 1e-5F, n, width);
            output_check(got, size);
            check_close(what, s->list[i].name, got, want, size, width < 4 ? 1e-3 : bound);
            // In place.
            float *place = output_new(size);
            memcpy(place, x, size * sizeof *place);
            ops->layer_norm(ops, place, place, weight, bias, 1e-5F, n, width);
            check_same_bits(what, s->list[i].name, t + 1, place, got, size);
            output_free(place);
            output_free(got);
        }
    }
    output_free(want);
    subjects_clear(s);
}

static void case_layer_norm(struct subjects *s) {
    enum {
        N = 4,
        WIDTH = 48
    };
    float *data = fixture_read("layer_norm", 2 * N * WIDTH + 2 * WIDTH);
    for (int i = 0; i <= s->n; i++) {
        struct ops *ops = i < s->n ? s->list[i].ops[1] : s->ref;
        float out[N * WIDTH];
        ops->layer_norm(ops, out, data, data + N * WIDTH, data + N * WIDTH + WIDTH, 1e-5F, N, WIDTH);
        check_close("layer_norm against PyTorch", ops_level_name(ops->level), out, data + N * WIDTH + 2 * WIDTH,
                    N * WIDTH, 3e-6);
    }
    free(data);

    static const int widths[] = {768, 1024, 1280, 1600, 48, 33, 7};
    for (int i = 0; i < 7; i++) {
        for (int n = 1; n <= 64; n = n < 5 ? n + 1 : n * 2) layer_norm_compare(s, n, widths[i], 0, 1);
        layer_norm_compare(s, 3, widths[i], 1000, 1);
        layer_norm_compare(s, 3, widths[i], 0, 1e4F);
        layer_norm_compare(s, 3, widths[i], 0, 1e-4F);
        layer_norm_compare(s, 3, widths[i], 5, 0);
    }
}

static void head_loss_compare(struct subjects *s, enum dtype dtype, int n, int n_embd, int vocab_size, float scale) {
    const struct matrix weight = input_matrix(s, dtype, vocab_size, n_embd, scale);
    const float *x = input_f32(s, (size_t)n * (size_t)n_embd, scale);
    int32_t *targets = input_bytes(s, (size_t)n * sizeof *targets, sizeof *targets);
    for (int i = 0; i < n; i++) targets[i] = (int32_t)(random_u32(&s->random) % (uint32_t)vocab_size);
    targets[0] = vocab_size - 1;
    if (n > 1) targets[1] = 0;
    float *want = output_new((size_t)n);
    assert_true(s->ref->head_loss(s->ref, want, x, &weight, targets, n, NULL));
    // A logit's rounding, and the rounding of the numbers whose difference the loss is.
    const double bound = 4e-6 + 1e-6 * n_embd * (double)scale * (double)scale;
    char what[80];
    snprintf(what, sizeof what, "head_loss %s [%d, %d] x [%d]", dtype_info(dtype)->name, n, n_embd, vocab_size);
    float *first = output_new((size_t)n);
    for (int i = 0; i < s->n; i++) {
        for (int t = 0; t < THREADS; t++) {
            struct ops *ops = s->list[i].ops[t];
            float *got = output_new((size_t)n);
            assert_true(ops->head_loss(ops, got, x, &weight, targets, n, NULL));
            output_check(got, (size_t)n);
            check_close(what, s->list[i].name, got, want, (size_t)n, bound);
            if (t == 0) memcpy(first, got, (size_t)n * sizeof *got);
            check_same_bits(what, s->list[i].name, t + 1, got, first, (size_t)n);
            output_free(got);
        }
    }
    output_free(first);
    output_free(want);
    subjects_clear(s);
}

// A row with a NaN has a NaN loss; its neighbours keep theirs.
static void head_loss_nan(struct subjects *s) {
    enum {
        N = 3,
        N_EMBD = 24,
        VOCABULARY = 1000
    };
    const struct matrix weight = input_matrix(s, DTYPE_F32, VOCABULARY, N_EMBD, 1);
    float *x = input_f32(s, N * N_EMBD, 1);
    x[N_EMBD + 5] = NAN;
    const int32_t targets[N] = {1, 2, 3};
    for (int i = 0; i <= s->n; i++) {
        struct ops *ops = i < s->n ? s->list[i].ops[1] : s->ref;
        float loss[N];
        assert_true(ops->head_loss(ops, loss, x, &weight, targets, N, NULL));
        assert_true(isfinite(loss[0]) && isnan(loss[1]) && isfinite(loss[2]));
    }
    subjects_clear(s);
}

static void case_head_loss(struct subjects *s) {
    enum {
        N = 6,
        N_EMBD = 16,
        VOCABULARY = 50
    };
    float *data = fixture_read("head_loss", N * N_EMBD + VOCABULARY * N_EMBD + 2 * N);
    const struct matrix weight = {data + N * N_EMBD, DTYPE_F32, VOCABULARY, N_EMBD};
    const float *numbers = data + N * N_EMBD + VOCABULARY * N_EMBD;
    int32_t targets[N];
    for (int i = 0; i < N; i++) targets[i] = (int32_t)numbers[i];
    for (int i = 0; i <= s->n; i++) {
        struct ops *ops = i < s->n ? s->list[i].ops[1] : s->ref;
        float loss[N];
        assert_true(ops->head_loss(ops, loss, data, &weight, targets, N, NULL));
        check_close("head_loss against PyTorch", ops_level_name(ops->level), loss, numbers + N, N, 3e-6);
    }
    free(data);

    for (int dtype = 0; dtype <= DTYPE_BF16; dtype++) {
        for (int n = 1; n <= 17; n += 4) head_loss_compare(s, (enum dtype)dtype, n, 33, 50257 / n, 1);
        head_loss_compare(s, (enum dtype)dtype, 600, 16, 3001, 1);
        head_loss_compare(s, (enum dtype)dtype, 20, 64, 5000, 30); // logits of the order of 10^4
        head_loss_compare(s, (enum dtype)dtype, 3, 8, 1, 1);
    }
    head_loss_nan(s);
}
