// rows_backward.c: the gradients of operations on rows: embedding, layer norm.
//
// What all rows add to is where threads could meet. The embedding gives each thread columns of its own. Layer norm adds
// up blocks of rows, as many whatever the number of threads, and then the blocks.
#include "ops/cpu/cpu.h"

#include <string.h>

#include "ops/ref/ref.h"

enum {
    LINE = 16, // columns are shared out in whole cache lines
    NORM_BLOCKS = 64,
    NORM_ROWS = 16 // least rows of a block
};

struct embed_job {
    float *dwte, *dwpe;
    const float *dout;
    const int32_t *ids, *positions;
    int n, n_embd;
};

// Columns *first .. *last - 1 are this thread's.
static void share_columns(int n_embd, int thread, int n_threads, int64_t *first, int64_t *last) {
    const int64_t lines = (n_embd + LINE - 1) / LINE;
    *first = cpu_share(lines, thread, n_threads) * LINE;
    *last = cpu_share(lines, thread + 1, n_threads) * LINE;
    if (*last > n_embd) *last = n_embd;
}

// The tokens in order, so that a row that several add to is the same sum whatever the threads.
static void embed_work(void *memory, int thread, int n_threads) {
    const struct embed_job *job = memory;
    int64_t first;
    int64_t last;
    share_columns(job->n_embd, thread, n_threads, &first, &last);
    for (int64_t i = 0; i < job->n; i++) {
        const float *from = job->dout + i * job->n_embd;
        if (job->dwte != NULL) {
            float *to = job->dwte + (int64_t)job->ids[i] * job->n_embd;
            for (int64_t j = first; j < last; j++) to[j] += from[j];
        }
        if (job->dwpe != NULL) {
            float *to = job->dwpe + (int64_t)job->positions[i] * job->n_embd;
            for (int64_t j = first; j < last; j++) to[j] += from[j];
        }
    }
}

void cpu_embed_backward(struct ops *ops, float *dwte, float *dwpe, const float *dout, const int32_t *ids,
                        const int32_t *positions, int n, int n_embd) {
    struct embed_job job = {dwte, dwpe, dout, ids, positions, n, n_embd};
    cpu_run(ops, (int64_t)n * n_embd >= CPU_PARALLEL_WORK, embed_work, &job);
}

struct norm_job {
    const struct kernels *kernels;
    float *dx, *dweight, *dbias;
    const float *dout, *x, *weight;
    float epsilon;
    int n, n_embd;
    int n_blocks;
    float *sums; // [n_blocks, 2, n_embd]: dweight and dbias of each block
};

static void norm_work(void *memory, int thread, int n_threads) {
    const struct norm_job *job = memory;
    const int64_t n_embd = job->n_embd;
    const int64_t end = cpu_share(job->n_blocks, thread + 1, n_threads);
    for (int64_t block = cpu_share(job->n_blocks, thread, n_threads); block < end; block++) {
        float *sums = job->sums + block * 2 * n_embd;
        memset(sums, 0, (size_t)n_embd * 2 * sizeof *sums);
        const int64_t last = cpu_share(job->n, (int)block + 1, job->n_blocks);
        for (int64_t i = cpu_share(job->n, (int)block, job->n_blocks); i < last; i++) {
            const int64_t at = i * n_embd;
            job->kernels->layer_norm_backward(job->dx != NULL ? job->dx + at : NULL, sums, sums + n_embd,
                                              job->dout + at, job->x + at, job->weight, job->epsilon, job->n_embd);
        }
    }
}

// Adds the blocks' sums of some columns to dweight and dbias.
static void norm_add_work(void *memory, int thread, int n_threads) {
    const struct norm_job *job = memory;
    const int64_t n_embd = job->n_embd;
    int64_t first;
    int64_t last;
    share_columns(job->n_embd, thread, n_threads, &first, &last);
    for (int64_t block = 0; block < job->n_blocks; block++) {
        const float *sums = job->sums + block * 2 * n_embd;
        for (int64_t j = first; j < last && job->dweight != NULL; j++) job->dweight[j] += sums[j];
        for (int64_t j = first; j < last && job->dbias != NULL; j++) job->dbias[j] += sums[n_embd + j];
    }
}

size_t cpu_layer_norm_reserve(int n_embd) {
    return (size_t)NORM_BLOCKS * 2 * (size_t)n_embd;
}

void cpu_layer_norm_backward(struct ops *ops, float *dx, float *dweight, float *dbias, const float *dout,
                             const float *x, const float *weight, float epsilon, int n, int n_embd) {
    struct host_state *state = host_state(ops);
    const int n_blocks = n < NORM_BLOCKS * NORM_ROWS ? (n + NORM_ROWS - 1) / NORM_ROWS : NORM_BLOCKS;
    pthread_mutex_lock(&state->lock);
    if (cpu_scratch(state->cpu, cpu_layer_norm_reserve(n_embd), NULL)) {
        struct norm_job job = {state->cpu->kernels, dx, dweight, dbias, dout, x, weight, epsilon, n, n_embd, n_blocks,
                               state->cpu->scratch};
        const bool parallel = (int64_t)n * n_embd >= CPU_PARALLEL_WORK;
        cpu_run(ops, parallel, norm_work, &job);
        if (dweight != NULL || dbias != NULL) cpu_run(ops, parallel, norm_add_work, &job);
    } else { // without reserve() and without memory
        ref_layer_norm_backward(ops, dx, dweight, dbias, dout, x, weight, epsilon, n, n_embd);
    }
    pthread_mutex_unlock(&state->lock);
}
