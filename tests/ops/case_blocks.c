// case_blocks.c: operations on weights in blocks of 32 (Q8_0, Q4_0). Included by test_ops.c.
#include "subjects.h"

static const enum dtype block_dtypes[] = {DTYPE_Q8_0, DTYPE_Q4_0};

// Blocks of random bits, every number of the format: scales of either sign, -128 and -8 too.
static struct matrix input_blocks(struct subjects *s, enum dtype dtype, int rows, int cols) {
    const size_t bytes = dtype_bytes(dtype, (size_t)rows * (size_t)cols);
    const size_t block = dtype_info(dtype)->block_bytes;
    uint8_t *data = input_bytes(s, bytes, 2);
    for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)random_u32(&s->random);
    for (size_t i = 0; i < bytes; i += block) {
        const uint16_t scale = f32_to_f16((2 * random_float(&s->random) - 1) / (dtype == DTYPE_Q8_0 ? 128 : 8));
        memcpy(data + i, &scale, sizeof scale);
    }
    return (struct matrix){data, dtype, rows, cols};
}

// A product's error in theory. Sums of integers are exact, so there is a rounding of each block's two scales, its
// product and its sum, of magnitudes of 1/4 a pair; and each x, of which up to 1/65534 of the largest in its block
// (here up to 1) is lost or won, times weights of mean magnitude 1/4, or 1/2 where all are large.
static double blocks_bound(int n_in) {
    return 8 * 0x1p-24 * (0.25 * n_in + 4) + 0.5 * n_in / 65534;
}

static void blocks_linear(struct subjects *s, enum dtype dtype, int n_in, int n_out, int n) {
    const struct linear linear = {
        .weight = input_blocks(s, dtype, n_out, n_in),
        .transposed = true,
        .bias = n % 2 == 0 ? NULL : input_f32(s, (size_t)n_out, 1),
        .activation = (enum activation)(n % 4),
    };
    const float *residual = n % 3 == 0 ? NULL : input_f32(s, (size_t)n * (size_t)n_out, 1);
    char what[100];
    snprintf(what, sizeof what, "linear %s [%d, %d] x [%d]", dtype_info(dtype)->name, n, n_in, n_out);
    const float *x = input_f32(s, (size_t)n * (size_t)n_in, 1);
    linear_compare(s, what, &linear, x, residual, n, blocks_bound(n_in));
    subjects_clear(s);
}

// Rows in one call have the bits they have alone.
static void blocks_batch(struct subjects *s, enum dtype dtype) {
    enum {
        N = 8,
        N_IN = 800,
        N_OUT = 77
    };
    const struct linear linear = {.weight = input_blocks(s, dtype, N_OUT, N_IN), .transposed = true};
    const float *x = input_f32(s, N * N_IN, 1);
    for (int i = 0; i < s->n; i++) {
        struct ops *ops = s->list[i].ops[1];
        float *together = output_new(N * N_OUT);
        float *alone = output_new(N * N_OUT);
        assert_true(ops->linear(ops, together, x, &linear, NULL, N, NULL));
        for (int row = 0; row < N; row++) {
            assert_true(ops->linear(ops, alone + (size_t)row * N_OUT, x + (size_t)row * N_IN, &linear, NULL, 1, NULL));
        }
        assert_memory_equal(together, alone, N * N_OUT * sizeof *alone);
        output_free(together);
        output_free(alone);
    }
    subjects_clear(s);
}

// A NaN or an infinity spoils its row alone; what is tiny, huge or zero comes through.
static void blocks_hostile(struct subjects *s, enum dtype dtype) {
    enum {
        N = 4,
        N_IN = 64,
        N_OUT = 21
    };
    const struct linear linear = {.weight = input_blocks(s, dtype, N_OUT, N_IN), .transposed = true};
    float *x = input_f32(s, N * N_IN, 1);
    x[33] = NAN;
    x[2 * N_IN + 5] = -INFINITY;
    for (int i = 0; i < s->n; i++) {
        struct ops *ops = s->list[i].ops[0];
        float *out = output_new(N * N_OUT);
        assert_true(ops->linear(ops, out, x, &linear, NULL, N, NULL));
        for (int j = 0; j < N * N_OUT; j++) assert_int_equal(isfinite(out[j]) != 0, j / N_OUT % 2);
        output_free(out);
    }
    const float scales[] = {1e30F, 1e-20F, 1e-42F, 0};
    for (int i = 0; i < 4; i++) {
        const float *hostile = input_f32(s, N * N_IN, scales[i]);
        linear_compare(s, "linear with large or tiny numbers", &linear, hostile, NULL, N,
                       (double)scales[i] * blocks_bound(N_IN) + N_IN * 0x1p-100);
    }
    subjects_clear(s);
}

static void blocks_embed(struct subjects *s, enum dtype dtype, int width) {
    enum {
        ROWS = 30,
        N = 40
    };
    const struct matrix wte = input_blocks(s, dtype, ROWS, width);
    const struct matrix wpe = input_matrix(s, DTYPE_F32, ROWS, width, 1);
    int32_t ids[N];
    for (int i = 0; i < N; i++) ids[i] = i == 0 ? ROWS - 1 : (int32_t)(random_u32(&s->random) % ROWS);
    for (int i = 0; i <= s->n; i++) {
        struct ops *ops = i < s->n ? s->list[i].ops[1] : s->ref;
        float *got = output_new((size_t)N * (size_t)width);
        ops->embed(ops, got, &wte, &wpe, ids, ids, N);
        output_check(got, (size_t)N * (size_t)width);
        for (int j = 0; j < N * width; j++) {
            const double want =
                (double)matrix_at(&wte, ids[j / width], j % width) + matrix_at(&wpe, ids[j / width], j % width);
            assert_true(fabs(got[j] - want) <= 2 * 0x1p-24);
        }
        output_free(got);
    }
    for (int i = 0; i <= s->n; i++) embed_gather(i < s->n ? s->list[i].ops[1] : s->ref, &wte, ids, N);
    subjects_clear(s);
}

// Logits of up to `n_embd` / 4 or so: what rounding x is worth in them is worth as much in the loss.
static void blocks_head_loss(struct subjects *s, enum dtype dtype, int n, int n_embd, int vocab_size) {
    const struct matrix weight = input_blocks(s, dtype, vocab_size, n_embd);
    const float *x = input_f32(s, (size_t)n * (size_t)n_embd, 1);
    int32_t targets[64];
    for (int i = 0; i < n; i++) targets[i] = (int32_t)(random_u32(&s->random) % (uint32_t)vocab_size);
    float *want = output_new((size_t)n);
    assert_true(s->ref->head_loss(s->ref, want, x, &weight, targets, n, NULL));
    for (int i = 0; i < s->n; i++) {
        for (int t = 0; t < THREADS; t++) {
            struct ops *ops = s->list[i].ops[t];
            float *got = output_new((size_t)n);
            assert_true(ops->head_loss(ops, got, x, &weight, targets, n, NULL));
            output_check(got, (size_t)n);
            check_close("head_loss in blocks", s->list[i].name, got, want, (size_t)n, 4e-6 + 2 * blocks_bound(n_embd));
            output_free(got);
        }
    }
    output_free(want);
    subjects_clear(s);
}

static void blocks_of(struct subjects *s, enum dtype dtype) {
    static const int widths[] = {768, 1024, 1280, 1600, 32, 96, 288, 3072};
    for (int i = 0; i < 8; i++) {
        for (int n = 1; n <= 9; n++) blocks_linear(s, dtype, widths[i], 37 + 3 * i, n);
        blocks_linear(s, dtype, widths[i], 50, 16);
        blocks_linear(s, dtype, widths[i], 50, 17);
    }
    blocks_linear(s, dtype, 768, 2304, 1);
    blocks_linear(s, dtype, 64, 5000, 2); // more columns than a tile has
    blocks_linear(s, dtype, 64, 1, 3);
    blocks_linear(s, dtype, 1600, 40, 70);
    blocks_linear(s, dtype, 416, 200, 300); // two blocks of depth, tiles
    blocks_batch(s, dtype);
    blocks_hostile(s, dtype);
    blocks_embed(s, dtype, 768);
    blocks_embed(s, dtype, 32);
    blocks_head_loss(s, dtype, 1, 96, 5000);
    blocks_head_loss(s, dtype, 5, 768, 1501);
    blocks_head_loss(s, dtype, 10, 32, 50257);
}

static void case_blocks(struct subjects *s) {
    for (size_t i = 0; i < sizeof block_dtypes / sizeof block_dtypes[0]; i++) blocks_of(s, block_dtypes[i]);
#if defined(__x86_64__)
    // AVX-512 without VNNI.
    if (!ops_level_available(OPS_AVX512)) return;
    for (int i = 0; i < s->n; i++) {
        for (int t = 0; t < THREADS; t++) {
            struct cpu *cpu = cpu_of(s->list[i].ops[t]);
            cpu->block_kernels = &cpu->kernels->blocks;
        }
    }
    for (size_t i = 0; i < sizeof block_dtypes / sizeof block_dtypes[0]; i++) {
        blocks_linear(s, block_dtypes[i], 1600, 50, 3);
        blocks_linear(s, block_dtypes[i], 96, 50, 8);
        blocks_batch(s, block_dtypes[i]);
    }
#endif
}
