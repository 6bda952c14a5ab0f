// rows.c: operations on one row after another: embedding, layer norm, filling the KV cache.
//
// A single row (decoding) stays on the calling thread: it is done sooner than a region is opened.
#include "ops/cpu/cpu.h"

#include <omp.h>
#include <string.h>

static bool worth_threads(int n, int width) {
    return n > 1 && (int64_t)n * width >= CPU_PARALLEL_WORK;
}

static const void *matrix_row(const struct matrix *matrix, int row) {
    return (const char *)matrix->data + dtype_bytes(matrix->dtype, (size_t)row * (size_t)matrix->cols);
}

void cpu_embed(struct ops *ops, float *out, const struct matrix *wte, const struct matrix *wpe, const int32_t *ids,
               const int32_t *positions, int n) {
    const struct kernels *kernels = cpu_of(ops)->kernels;
    const int n_embd = wte->cols;
#pragma omp parallel for num_threads(ops->n_threads) if (worth_threads(n, n_embd))
    for (int i = 0; i < n; i++) {
        kernels->embed(out + (int64_t)i * n_embd, matrix_row(wte, ids[i]), wte->dtype, matrix_row(wpe, positions[i]),
                       wpe->dtype, n_embd);
    }
}

void cpu_layer_norm(struct ops *ops, float *out, const float *x, const float *weight, const float *bias, float epsilon,
                    int n, int n_embd) {
    const struct kernels *kernels = cpu_of(ops)->kernels;
#pragma omp parallel for num_threads(ops->n_threads) if (worth_threads(n, n_embd))
    for (int i = 0; i < n; i++) {
        const int64_t at = (int64_t)i * n_embd;
        kernels->layer_norm(out + at, x + at, weight, bias, epsilon, n_embd);
    }
}

void cpu_store_kv(struct ops *ops, float *key, float *value, const float *qkv, int n, int position, int n_ctx,
                  int n_head, int head_size) {
    const int64_t n_embd = (int64_t)n_head * head_size;
    const size_t bytes = (size_t)head_size * sizeof *key;
#pragma omp parallel for collapse(2) num_threads(ops->n_threads) if (worth_threads(n, (int)n_embd))
    for (int h = 0; h < n_head; h++) {
        for (int i = 0; i < n; i++) {
            const float *from = qkv + i * 3 * n_embd + (int64_t)h * head_size;
            const int64_t to = ((int64_t)h * n_ctx + position + i) * head_size;
            memcpy(key + to, from + n_embd, bytes);
            memcpy(value + to, from + 2 * n_embd, bytes);
        }
    }
}
