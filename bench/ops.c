// ops.c: how close the operations come to the machine, at GPT-2 shapes, as shares taken in one run.
//
//     decode      all products of one token, 12 layers and head, against plainly reading the same bytes
//     prompt      products of a layer against oneDNN's own threaded sgemm
//     attention   attention of a layer against its products, at T = 1024 and a full KV cache; forward and backward in
//                 training against sgemm
//
//     backward    the products of a training step against sgemm (backward.c)
//
//     ninja -C build bench-ops && GOMP_SPINCOUNT=0 build/bench-ops [f32|f16|bf16|q8|q4|backward|backward-bf16]
//     [threads]
//
// Each figure is the best of several rounds, the things compared taking turns. Weights are random.
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/backward.h"
#include "ops/ops.h"

enum {
    N_LAYER = 12,
    N_EMBD = 768,
    N_HEAD = 12,
    VOCABULARY = 50257,
    N_CTX = 1024,
    MATRICES = 4,
    ROUNDS = 9
};

static const int shapes[MATRICES][2] = {
    {N_EMBD, 3 * N_EMBD}, {N_EMBD, N_EMBD}, {N_EMBD, 4 * N_EMBD}, {4 * N_EMBD, N_EMBD}};
static const char *const names[MATRICES] = {"c_attn", "c_proj", "c_fc", "mlp.c_proj"};

struct bench {
    struct ops *ops;
    enum dtype dtype;
    char *weights; // every matrix of the model, one after another
    size_t bytes;
    struct linear layers[N_LAYER][MATRICES];
    struct linear head;
    float *x, *y, *logits; // [N_CTX, 4 * N_EMBD] twice, [VOCABULARY]
    float *qkv;            // [N_CTX, 3 * N_EMBD]
};

// With one thread its CPU time, so that a busy machine disturbs the shares less.
static double now(void) {
    struct timespec time;
    clock_gettime(omp_get_max_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void least(double *best, double start) {
    const double seconds = now() - start;
    if (*best == 0 || seconds < *best) *best = seconds;
}

static void fill(void *to, enum dtype dtype, size_t n) {
    const float values[] = {0.01F, -0.02F, 0.03F, -0.015F, 0.025F, -0.005F, 0.0125F};
    float row[7 * 64];
    for (size_t i = 0; i < 7 * 64; i++) row[i] = values[i % 7] * (float)(1 + i % 5);
    for (size_t i = 0; i < n; i += 7 * 64) {
        const size_t rest = n - i < 7 * 64 ? n - i : 7 * 64;
        dtype_from_f32((char *)to + dtype_bytes(dtype, i), dtype, row, rest);
    }
}

static float *floats(size_t n) {
    float *data = aligned_alloc(64, (n * sizeof *data + 63) / 64 * 64);
    if (data == NULL) abort();
    fill(data, DTYPE_F32, n);
    return data;
}

static void bench_init(struct bench *b, enum dtype dtype, int threads) {
    struct llm_error err = {0};
    b->ops = ops_new(-1, threads, &err);
    if (b->ops == NULL || !b->ops->reserve(b->ops, N_CTX, 4 * N_EMBD, (int64_t)VOCABULARY * N_EMBD, &err)) {
        fprintf(stderr, "bench-ops: %s\n", err.text);
        exit(1);
    }
    omp_set_num_threads(b->ops->n_threads);
    b->dtype = dtype;
    size_t n = (size_t)VOCABULARY * N_EMBD;
    for (int m = 0; m < MATRICES; m++) n += (size_t)N_LAYER * (size_t)shapes[m][0] * (size_t)shapes[m][1];
    b->bytes = dtype_bytes(dtype, n);
    b->weights = aligned_alloc(64, (b->bytes + 63) / 64 * 64);
    if (b->weights == NULL) abort();
    fill(b->weights, dtype, n);
    char *next = b->weights;
    static float bias[4 * N_EMBD];
    for (int l = 0; l < N_LAYER; l++) {
        for (int m = 0; m < MATRICES; m++) {
            const bool blocks = dtype_info(dtype)->block > 1;
            const struct matrix matrix = {next, dtype, shapes[m][blocks], shapes[m][!blocks]};
            b->layers[l][m] = (struct linear){matrix, blocks, bias, m == 2 ? ACTIVATION_GELU_TANH : ACTIVATION_NONE, 0};
            next += dtype_bytes(dtype, (size_t)matrix.rows * (size_t)matrix.cols);
        }
    }
    b->head = (struct linear){{next, dtype, VOCABULARY, N_EMBD}, true, NULL, ACTIVATION_NONE, 0};
    b->x = floats((size_t)N_CTX * 4 * N_EMBD);
    b->y = floats((size_t)N_CTX * 4 * N_EMBD);
    b->qkv = floats((size_t)N_CTX * 3 * N_EMBD);
    b->logits = floats((size_t)VOCABULARY * 16);
}

// Sums up the weights' bytes as numbers, eight cache lines a step.
static double read_all(const struct bench *b) {
    typedef int64_t vector __attribute__((vector_size(64)));
    const vector *data = (const void *)b->weights;
    const size_t n = b->bytes / sizeof *data / 8 * 8;
    int64_t total = 0;
#pragma omp parallel for schedule(static) reduction(+ : total)
    for (size_t i = 0; i < n; i += 8) {
        vector sum = {0};
        for (size_t j = 0; j < 8; j++) sum ^= data[i + j];
        total += sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
    }
    return (double)total;
}

static void decode_all(struct bench *b, int n) {
    for (int l = 0; l < N_LAYER; l++) {
        for (int m = 0; m < MATRICES; m++) {
            b->ops->linear(b->ops, b->y, b->x, &b->layers[l][m], m % 2 == 1 ? b->y : NULL, n, NULL);
        }
    }
    b->ops->linear(b->ops, b->logits, b->x, &b->head, NULL, n, NULL);
}

static void decode(struct bench *b) {
    static const int rows[] = {1, 2, 4, 8, 16};
    double best_read = 0;
    double best[5] = {0};
    double best_layers = 0;
    volatile double sink = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        sink = sink + read_all(b);
        least(&best_read, start);
        for (int i = 0; i < 5; i++) {
            start = now();
            decode_all(b, rows[i]);
            least(&best[i], start);
        }
        start = now();
        b->ops->linear(b->ops, b->logits, b->x, &b->head, NULL, 1, NULL);
        least(&best_layers, start);
    }
    const double gb = 1e-9 * (double)b->bytes;
    printf("decode %s, %.0f MB: reading %.1f GB/s, one row %.1f GB/s (%.0f %%; head alone %.1f GB/s)\n",
           dtype_info(b->dtype)->name, 1e3 * gb, gb / best_read, gb / best[0], 100 * best_read / best[0],
           1e-9 * (double)dtype_bytes(b->dtype, (size_t)VOCABULARY * N_EMBD) / best_layers);
    for (int i = 1; i < 5; i++) printf("  %2d rows: %.2f times one row\n", rows[i], best[i] / best[0]);
}

static void prompt(struct bench *b) {
    static const int rows[] = {8, 12, 16, 17, 24, 32, 64, 256, 1024};
    float *w = floats((size_t)4 * N_EMBD * N_EMBD);
    for (int i = 0; i < 9; i++) {
        const int n = rows[i];
        printf("prompt %4d rows:", n);
        for (int m = 0; m < MATRICES; m++) {
            const int n_in = shapes[m][0];
            const int n_out = shapes[m][1];
            double best = 0;
            double best_raw = 0;
            for (int round = 0; round < ROUNDS; round++) {
                double start = now();
                b->ops->linear(b->ops, b->y, b->x, &b->layers[round][m], NULL, n, NULL);
                least(&best, start);
                start = now();
                // Weights as cold as ours: another layer's, where they are F32.
                const float *raw = b->dtype == DTYPE_F32 ? b->layers[(round + 6) % N_LAYER][m].weight.data : w;
                dnnl_sgemm('N', 'N', n, n_out, n_in, 1, b->x, n_in, raw, n_out, 0, b->y, n_out);
                least(&best_raw, start);
            }
            const double gflop = 2e-9 * n * n_in * n_out;
            printf("  %s %.0f/%.0f", names[m], gflop / best, gflop / best_raw);
        }
        printf("  GFLOP/s, ours/sgemm\n");
    }
    free(w);
}

// Queries, keys and values as the fused rows [n, 3 * n_embd] have them.
static struct attention fused_rows(int n_head, int head_size) {
    const int64_t n_embd = (int64_t)n_head * head_size;
    return (struct attention){.n_head = n_head,
                              .head_size = head_size,
                              .scale = 0.125F,
                              .query_stride = 3 * n_embd,
                              .out_stride = n_embd,
                              .head_stride = head_size,
                              .row_stride = 3 * n_embd};
}

static struct attention_sequence fused_sequence(const float *qkv, int n_embd, float *out, int n) {
    return (struct attention_sequence){
        .query = qkv, .key = qkv + n_embd, .value = qkv + 2 * (ptrdiff_t)n_embd, .out = out, .n_query = n, .n_key = n};
}

static void attention(struct bench *b, int n_query) {
    const struct attention attention = fused_rows(N_HEAD, 64);
    struct attention cached = attention;
    cached.head_stride = (int64_t)64 * N_CTX;
    cached.row_stride = 64;
    float *cache = floats((size_t)2 * N_LAYER * N_CTX * N_EMBD);
    double best = 0;
    double best_products = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        for (int l = 0; l < N_LAYER; l++) {
            const float *key = cache + (size_t)2 * (size_t)l * N_CTX * N_EMBD;
            const struct attention_sequence prompt_rows = fused_sequence(b->qkv, N_EMBD, b->y, N_CTX);
            const struct attention_sequence token = {.query = b->qkv,
                                                     .key = key,
                                                     .value = key + (size_t)N_CTX * N_EMBD,
                                                     .out = b->y,
                                                     .n_query = 1,
                                                     .n_key = N_CTX};
            b->ops->attention(b->ops, n_query == 1 ? &cached : &attention, n_query == 1 ? &token : &prompt_rows, 1);
        }
        least(&best, start);
        start = now();
        for (int l = 0; l < N_LAYER; l++) {
            for (int m = 0; m < MATRICES; m++)
                b->ops->linear(b->ops, b->y, b->x, &b->layers[l][m], NULL, n_query, NULL);
        }
        least(&best_products, start);
    }
    printf("attention, %d %s, %d keys: %.1f ms, products of the layers %.1f ms; attention is %.0f %% of both", n_query,
           n_query == 1 ? "query" : "queries", N_CTX, 1e3 * best, 1e3 * best_products,
           100 * best / (best + best_products));
    if (n_query == 1) {
        printf("; %.1f GB/s\n", 1e-9 * 2 * N_LAYER * N_CTX * N_EMBD * 4 / best);
    } else {
        printf("; %.0f GFLOP/s\n", 1e-9 * N_LAYER * 4.0 * N_CTX * (N_CTX + 1) / 2 * N_EMBD / best);
    }
    free(cache);
}

// Training: attention with the log-sum-exp kept, and its gradient, against sgemm of [T * B, n_embd] x [n_embd, n_embd].
// Only the causal half is counted: 2 products forward, 5 backward.
static void attention_training(struct bench *b, int n, int n_batch, int n_head, int head_size) {
    const struct attention attention = fused_rows(n_head, head_size);
    const int n_embd = n_head * head_size;
    const size_t size = (size_t)n * (size_t)n_embd;
    float *dqkv = floats((size_t)n_batch * 3 * size);
    float *lse = floats((size_t)n_batch * (size_t)n_head * (size_t)n);
    struct attention_sequence sequences[4];
    struct attention_gradient gradients[4];
    for (int s = 0; s < n_batch; s++) {
        const size_t at = (size_t)s * size;
        float *to = dqkv + 3 * at;
        sequences[s] = fused_sequence(b->qkv + 3 * at, n_embd, b->y + at, n);
        sequences[s].lse = lse + (size_t)s * (size_t)n_head * (size_t)n;
        gradients[s] = (struct attention_gradient){b->x + at, to, to + n_embd, to + 2 * (ptrdiff_t)n_embd};
    }
    float *square = floats((size_t)n_embd * (size_t)n_embd);
    float *product_out = floats((size_t)n_batch * size);
    double best[3] = {0};
    for (int round = 0; round < 5 * ROUNDS; round++) {
        double start = now();
        b->ops->attention(b->ops, &attention, sequences, n_batch);
        least(&best[0], start);
        start = now();
        b->ops->attention_backward(b->ops, &attention, sequences, gradients, n_batch);
        least(&best[1], start);
        start = now();
        dnnl_sgemm('N', 'N', (int64_t)n * n_batch, n_embd, n_embd, 1, b->x, n_embd, square, n_embd, 0, product_out,
                   n_embd);
        least(&best[2], start);
    }
    const double product = 1e-9 * n_batch * n_head * ((double)n * (n + 1) / 2) * 2 * head_size;
    const double sgemm = 2e-9 * n * n_batch * n_embd * n_embd / best[2];
    printf("attention in training, T=%d B=%d, %d heads of %d: forward %.1f GFLOP/s (%.0f %% of sgemm's %.1f), "
           "backward %.1f (%.0f %%)\n",
           n, n_batch, n_head, head_size, 2 * product / best[0], 200 * product / best[0] / sgemm, sgemm,
           5 * product / best[1], 500 * product / best[1] / sgemm);
    free(dqkv);
    free(lse);
    free(square);
    free(product_out);
}

int main(int argc, char **argv) {
    static const char *const dtypes[] = {"f32", "f16", "bf16", "q8", "q4"};
    struct bench b = {0};
    enum dtype dtype = DTYPE_F32;
    if (argc > 1 && strncmp(argv[1], "backward", 8) == 0) {
        struct llm_error err = {0};
        struct ops *ops = ops_new(-1, argc > 2 ? atoi(argv[2]) : 0, &err);
        if (ops == NULL) {
            fprintf(stderr, "bench-ops: %s\n", err.text);
            return 1;
        }
        printf("%s, %d threads\n", ops_level_name(ops->level), ops->n_threads);
        bench_backward(ops, strcmp(argv[1], "backward-bf16") == 0);
        ops_free(ops);
        return 0;
    }
    for (int i = 0; argc > 1 && i < 5; i++) {
        if (strcmp(argv[1], dtypes[i]) == 0) dtype = (enum dtype)i;
    }
    bench_init(&b, dtype, argc > 2 ? atoi(argv[2]) : 0);
    printf("%s, %d threads\n", ops_level_name(b.ops->level), b.ops->n_threads);
    decode(&b);
    attention(&b, 1);
    attention(&b, N_CTX);
    attention_training(&b, 64, 4, N_HEAD, 64);
    attention_training(&b, 256, 4, N_HEAD, 64);
    attention_training(&b, 1024, 1, N_HEAD, 64);
    attention_training(&b, 512, 1, 8, 32);
    prompt(&b);
    ops_free(b.ops);
    return 0;
}
