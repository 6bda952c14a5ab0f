// rows.c: operations on one row after another: embedding, layer norm, filling the KV cache.
//
// A single row (decoding) stays on the calling thread: it is done sooner than other threads are called.
#include "ops/cpu/cpu.h"

#include <string.h>

static bool worth_threads(int n, int width) {
    return n > 1 && (int64_t)n * width >= CPU_PARALLEL_WORK;
}

static const void *matrix_row(const struct matrix *matrix, int row) {
    return (const char *)matrix->data + dtype_bytes(matrix->dtype, (size_t)row * (size_t)matrix->cols);
}

struct embed_job {
    const struct kernels *kernels;
    float *out;
    const struct matrix *wte, *wpe;
    const int32_t *ids, *positions;
    int n;
};

static void embed_work(void *memory, int thread, int n_threads) {
    const struct embed_job *job = memory;
    const int64_t n_embd = job->wte->cols;
    const int64_t last = cpu_share(job->n, thread + 1, n_threads);
    for (int64_t i = cpu_share(job->n, thread, n_threads); i < last; i++) {
        float *out = job->out + i * n_embd;
        const void *token = matrix_row(job->wte, job->ids[i]);
        if (job->wpe == NULL) {
            job->kernels->widen(out, token, job->wte->dtype, n_embd);
            continue;
        }
        job->kernels->embed(out, token, job->wte->dtype, matrix_row(job->wpe, job->positions[i]), job->wpe->dtype,
                            (int)n_embd);
    }
}

void cpu_embed(struct ops *ops, float *out, const struct matrix *wte, const struct matrix *wpe, const int32_t *ids,
               const int32_t *positions, int n) {
    struct embed_job job = {cpu_of(ops)->kernels, out, wte, wpe, ids, positions, n};
    cpu_run(ops, worth_threads(n, wte->cols), embed_work, &job);
}

struct layer_norm_job {
    const struct kernels *kernels;
    float *out;
    const float *x, *weight, *bias;
    float epsilon;
    int n, n_embd;
};

static void layer_norm_work(void *memory, int thread, int n_threads) {
    const struct layer_norm_job *job = memory;
    const int64_t last = cpu_share(job->n, thread + 1, n_threads);
    for (int64_t i = cpu_share(job->n, thread, n_threads); i < last; i++) {
        const int64_t at = i * job->n_embd;
        job->kernels->layer_norm(job->out + at, job->x + at, job->weight, job->bias, job->epsilon, job->n_embd);
    }
}

void cpu_layer_norm(struct ops *ops, float *out, const float *x, const float *weight, const float *bias, float epsilon,
                    int n, int n_embd) {
    struct layer_norm_job job = {cpu_of(ops)->kernels, out, x, weight, bias, epsilon, n, n_embd};
    cpu_run(ops, worth_threads(n, n_embd), layer_norm_work, &job);
}

struct store_kv_job {
    float *key, *value;
    const float *kv;
    int64_t row_stride;
    int n, position, n_ctx, n_head, head_size;
};

// Shared out by head and row, heads first.
static void store_kv_work(void *memory, int thread, int n_threads) {
    const struct store_kv_job *job = memory;
    const int64_t n_embd = (int64_t)job->n_head * job->head_size;
    const int64_t n_parts = (int64_t)job->n_head * job->n;
    const size_t bytes = (size_t)job->head_size * sizeof *job->key;
    const int64_t last = cpu_share(n_parts, thread + 1, n_threads);
    for (int64_t part = cpu_share(n_parts, thread, n_threads); part < last; part++) {
        const int64_t h = part / job->n;
        const int64_t i = part % job->n;
        const float *from = job->kv + i * job->row_stride + h * job->head_size;
        const int64_t to = (h * job->n_ctx + job->position + i) * job->head_size;
        memcpy(job->key + to, from, bytes);
        memcpy(job->value + to, from + n_embd, bytes);
    }
}

void cpu_store_kv(struct ops *ops, float *key, float *value, const float *kv, int64_t row_stride, int n, int position,
                  int n_ctx, int n_head, int head_size) {
    struct store_kv_job job = {key, value, kv, row_stride, n, position, n_ctx, n_head, head_size};
    cpu_run(ops, worth_threads(n, n_head * head_size), store_kv_work, &job);
}
