// backward.c: the products of a training step, as shares of the machine's sgemm rate measured beside them.
#include "bench/backward.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    ROUNDS = 5,
    MATRICES = 4
};

struct shape {
    const char *name;
    int n_embd, vocab_size, n;
};

static const struct shape shapes[] = {
    {"124M, B4xT64", 768, 50257, 256},
    {"124M, B4xT256", 768, 50257, 1024},
    {"256 wide, vocabulary 4096, B16xT256", 256, 4096, 4096},
};

// One way of measuring: forward, dx, dweight and dbias, or all of linear_backward.
enum {
    FORWARD,
    INPUT,
    WEIGHT,
    BACKWARD,
    WAYS
};
static const char *const ways[WAYS] = {"forward", "dx", "dweight, dbias", "backward"};

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

static float *floats(size_t n) {
    float *data = aligned_alloc(64, (n * sizeof *data + 63) / 64 * 64);
    if (data == NULL) abort();
    for (size_t i = 0; i < n; i++) data[i] = 0.001F * (float)(i * 2654435761U % 101) - 0.05F;
    return data;
}

static void check(bool ok, const struct llm_error *err) {
    if (ok) return;
    fprintf(stderr, "bench-ops: %s\n", err->text);
    exit(1);
}

// What oneDNN's sgemm does now, GFLOP/s: the better of two of GPT-2's shapes, each with memory of its own.
static double sgemm_rate(void) {
    static const int sizes[][2] = {{768, 2304}, {3072, 768}};
    const int n = 1024;
    double rate = 0;
    for (int i = 0; i < 2; i++) {
        const int n_in = sizes[i][0];
        const int n_out = sizes[i][1];
        float *x = floats((size_t)n * (size_t)n_in), *w = floats((size_t)n_in * (size_t)n_out);
        float *out = floats((size_t)n * (size_t)n_out);
        double best = 0;
        for (int round = 0; round < ROUNDS + 2; round++) {
            const double start = now();
            dnnl_sgemm('N', 'N', n, n_out, n_in, 1, x, n_in, w, n_out, 0, out, n_out);
            least(&best, start);
        }
        const double done = 2e-9 * n * n_in * n_out / best;
        rate = done > rate ? done : rate;
        free(x);
        free(w);
        free(out);
    }
    return rate;
}

static void linear_once(struct ops *ops, int way, const struct linear *linear, float *const *memory, int n) {
    float *weight_gradient = memory[0], *x = memory[1], *out = memory[2], *dx = memory[3], *dbias = memory[4];
    struct llm_error err = {0};
    if (way == FORWARD) {
        check(ops->linear(ops, out, x, linear, NULL, n, &err), &err);
        return;
    }
    check(ops->linear_backward(ops, way == WEIGHT ? NULL : dx, way == INPUT ? NULL : weight_gradient,
                               way == INPUT ? NULL : dbias, out, x, linear, n, &err),
          &err);
}

static void bench_linear(struct ops *ops, const struct shape *shape, double rate) {
    static const int in[MATRICES] = {1, 1, 1, 4}; // in n_embd
    static const int out[MATRICES] = {3, 1, 4, 1};
    const size_t n_embd = (size_t)shape->n_embd;
    const size_t n_wide = 4 * n_embd * (size_t)shape->n;
    // Of as many layers as would be between two uses of the same weights.
    float *weights[6];
    float *gradients[6];
    for (int i = 0; i < 6; i++) weights[i] = floats(4 * n_embd * n_embd);
    for (int i = 0; i < 6; i++) gradients[i] = floats(4 * n_embd * n_embd);
    float *memory[5] = {NULL, floats(n_wide), floats(n_wide), floats(n_wide), floats(4 * n_embd)};
    double sum[WAYS] = {0};
    double all_flops = 0;
    for (int m = 0; m < MATRICES; m++) {
        const int n_in = in[m] * shape->n_embd;
        const int n_out = out[m] * shape->n_embd;
        const double flops = 2e-9 * shape->n * n_in * n_out;
        all_flops += flops;
        printf("  [%d, %d] x [%d]:", shape->n, n_in, n_out);
        for (int way = 0; way < WAYS; way++) {
            double best = 0;
            for (int round = 0; round < ROUNDS; round++) {
                const struct linear linear = {.weight = {weights[round % 6], DTYPE_F32, n_in, n_out}};
                memory[0] = gradients[round % 6];
                const double start = now();
                linear_once(ops, way, &linear, memory, shape->n);
                least(&best, start);
            }
            sum[way] += best;
            printf("  %s %.0f", ways[way], flops * (way == BACKWARD ? 2 : 1) / best);
        }
        printf("\n");
    }
    printf("  all:");
    for (int way = 0; way < WAYS; way++) {
        const double done = all_flops * (way == BACKWARD ? 2 : 1) / sum[way];
        printf("  %s %.0f (%.0f %%)", ways[way], done, 100 * done / rate);
    }
    printf("\n");
    for (int i = 0; i < 6; i++) {
        free(weights[i]);
        free(gradients[i]);
    }
    for (int i = 1; i < 5; i++) free(memory[i]);
}

static void bench_head(struct ops *ops, const struct shape *shape, double rate) {
    const size_t n = (size_t)shape->n;
    const size_t size = (size_t)shape->vocab_size * (size_t)shape->n_embd;
    float *weight = floats(size), *dweight = floats(size), *x = floats(n * (size_t)shape->n_embd);
    float *dx = floats(n * (size_t)shape->n_embd), *loss = floats(n), *scales = floats(n);
    int32_t *targets = calloc(n, sizeof *targets);
    if (targets == NULL) abort();
    for (size_t i = 0; i < n; i++) targets[i] = (int32_t)(i * 7919 % (size_t)shape->vocab_size);
    const struct matrix head = {weight, DTYPE_F32, shape->vocab_size, shape->n_embd};
    struct llm_error err = {0};
    double forward = 0;
    double backward = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        check(ops->head_loss(ops, loss, x, &head, targets, shape->n, &err), &err);
        least(&forward, start);
        start = now();
        check(ops->head_loss_backward(ops, loss, dx, dweight, x, &head, targets, scales, shape->n, &err), &err);
        least(&backward, start);
    }
    const double flops = 2e-9 * shape->n * (double)size;
    printf("  head_loss %.0f (%.0f %%), head_loss_backward %.0f (%.0f %%), %.0f ms\n", flops / forward,
           100 * flops / forward / rate, 3 * flops / backward, 300 * flops / backward / rate, 1e3 * backward);
    free(weight);
    free(dweight);
    free(x);
    free(dx);
    free(loss);
    free(scales);
    free(targets);
}

void bench_backward(struct ops *ops, bool bf16) {
    omp_set_num_threads(ops->n_threads);
    struct llm_error err = {0};
    if (bf16) check(ops_use_bf16(ops, &err), &err);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const double rate = sgemm_rate();
        printf("%s: GFLOP/s (of sgemm's %.0f)\n", shapes[i].name, rate);
        bench_linear(ops, &shapes[i], rate);
        bench_head(ops, &shapes[i], rate);
    }
}
