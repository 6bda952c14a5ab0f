// elements.c: operations on one element after another, shared out in pieces of whole cache lines.
#include "ops/cpu/cpu.h"
#include "ops/ref/ref.h"

enum {
    LINE = 16,       // floats in a cache line: no two threads write to the same
    SUM_PARTS = 256, // sums that sum_of_squares adds up, of at least SUM_LEAST elements
    SUM_LEAST = 1 << 12
};

// Elements *first .. *last - 1 are this thread's; false when none are.
static bool share(int64_t n, int thread, int n_threads, int64_t *first, int64_t *last) {
    const int64_t lines = (n + LINE - 1) / LINE;
    *first = cpu_share(lines, thread, n_threads) * LINE;
    *last = cpu_share(lines, thread + 1, n_threads) * LINE;
    if (*last > n) *last = n;
    return *first < *last;
}

struct activation_job {
    const struct kernels *kernels;
    float *out;
    const float *dout; // NULL: forward
    const float *x;
    enum activation activation;
    int64_t n;
};

static void activation_work(void *memory, int thread, int n_threads) {
    const struct activation_job *job = memory;
    int64_t first;
    int64_t last;
    if (!share(job->n, thread, n_threads, &first, &last)) return;
    if (job->dout == NULL) {
        job->kernels->activate(job->out + first, job->x + first, job->activation, last - first);
    } else {
        job->kernels->activation_backward(job->out + first, job->dout + first, job->x + first, job->activation,
                                          last - first);
    }
}

void cpu_activate(struct ops *ops, float *out, const float *x, enum activation activation, int64_t n) {
    struct activation_job job = {cpu_of(ops)->kernels, out, NULL, x, activation, n};
    cpu_run(ops, n >= CPU_PARALLEL_WORK, activation_work, &job);
}

void cpu_activation_backward(struct ops *ops, float *dx, const float *dout, const float *x, enum activation activation,
                             int64_t n) {
    struct activation_job job = {cpu_of(ops)->kernels, dx, dout, x, activation, n};
    cpu_run(ops, n >= CPU_PARALLEL_WORK, activation_work, &job);
}

struct dropout_job {
    const struct kernels *kernels;
    float *out;
    const float *x;
    const uint8_t *keep;
    float scale;
    const float *residual;
    int64_t n;
};

static void dropout_work(void *memory, int thread, int n_threads) {
    const struct dropout_job *job = memory;
    int64_t first;
    int64_t last;
    if (!share(job->n, thread, n_threads, &first, &last)) return;
    job->kernels->dropout(job->out + first, job->x + first, job->keep + first, job->scale,
                          job->residual != NULL ? job->residual + first : NULL, last - first);
}

void cpu_dropout(struct ops *ops, float *out, const float *x, const uint8_t *keep, float scale, const float *residual,
                 int64_t n) {
    struct dropout_job job = {cpu_of(ops)->kernels, out, x, keep, scale, residual, n};
    cpu_run(ops, n >= CPU_PARALLEL_WORK, dropout_work, &job);
}

struct adamw_job {
    const struct kernels *kernels;
    float *weight, *m, *v, *gradient;
    struct adamw_factors factors;
    int64_t n;
};

static void adamw_work(void *memory, int thread, int n_threads) {
    const struct adamw_job *job = memory;
    int64_t first;
    int64_t last;
    if (!share(job->n, thread, n_threads, &first, &last)) return;
    job->kernels->adamw(job->weight + first, job->m + first, job->v + first, job->gradient + first, &job->factors,
                        last - first);
}

void cpu_adamw(struct ops *ops, float *weight, float *m, float *v, float *gradient, const struct adamw *settings,
               int64_t n) {
    struct adamw_job job = {cpu_of(ops)->kernels, weight, m, v, gradient, adamw_factors(settings), n};
    cpu_run(ops, n >= CPU_PARALLEL_WORK, adamw_work, &job);
}

struct sum_job {
    const struct kernels *kernels;
    const float *x;
    int64_t n;
    int n_parts;
    double sums[SUM_PARTS];
};

static void sum_work(void *memory, int thread, int n_threads) {
    struct sum_job *job = memory;
    const int64_t end = cpu_share(job->n_parts, thread + 1, n_threads);
    for (int64_t part = cpu_share(job->n_parts, thread, n_threads); part < end; part++) {
        const int64_t first = cpu_share(job->n, (int)part, job->n_parts);
        const int64_t last = cpu_share(job->n, (int)part + 1, job->n_parts);
        job->sums[part] = job->kernels->sum_of_squares(job->x + first, last - first);
    }
}

double cpu_sum_of_squares(struct ops *ops, const float *x, int64_t n) {
    struct sum_job job = {.kernels = cpu_of(ops)->kernels, .x = x, .n = n, .n_parts = SUM_PARTS};
    if (n < (int64_t)SUM_PARTS * SUM_LEAST) job.n_parts = (int)(n / SUM_LEAST) + 1;
    cpu_run(ops, n >= CPU_PARALLEL_WORK, sum_work, &job);
    double sum = 0;
    for (int part = 0; part < job.n_parts; part++) sum += job.sums[part];
    return sum;
}
