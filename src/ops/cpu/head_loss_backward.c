// head_loss_backward.c: cross-entropy of the head and its gradient. For a row with logits l = x W^T,
//
//     loss = log sum exp(l) - l[target],    dl = scale * (softmax(l) - onehot(target)),    dx = dl W,    dW += dl^T x
//
// Rows go in chunks, the vocabulary in slices; no product is computed twice. First every slice of logits of a chunk,
// kept as exp(l - largest of the slice) with the row's largest and sum; these then give the row's log-sum-exp. Then,
// slice by slice, dl is taken from what was kept into a thread's own memory and used while it is in cache, for dW's
// rows and for dx. Slices are joined in groups; a group is summed up by one thread into a dx of its own, and the
// groups' in order at the end: so the bits do not depend on threads.
#include <math.h>
#include <string.h>

#include "ops/cpu/gemm.h"

enum {
    CHUNK_ROWS = 320, // as fast as more; with far fewer W and dW would come from memory more often
    SLICE = 384,      // CHUNK_ROWS rows of it stay in a second-level cache
    LEAST_SLICE = 128,
    GROUPS = 16 // of one slice at least; they are what threads share
};

// How a chunk of rows and the vocabulary are cut, and where its parts lie in the scratch.
struct plan {
    int n; // rows
    int n_embd, vocab_size;
    int n_groups, n_slices; // every group has as many slices
    int64_t stride;         // from one row of kept logits to the next
    size_t largest, sum;    // [n, n_slices], behind the kept logits
    size_t wanted;          // [n] logits of the targets
    size_t dx;              // [n_groups] of [n, n_embd]
    size_t own;             // a thread's: dl of a slice, and the slice's weights if they have to be widened
    size_t own_size, widened;
    size_t size;
};

static size_t in_lines(int64_t n) {
    return (size_t)(n + 15) / 16 * 16;
}

static struct plan plan_make(const struct ops *ops, const struct matrix *weight, int n) {
    struct plan p = {.n = n, .n_embd = weight->cols, .vocab_size = weight->rows};
    const int n_slices = (p.vocab_size + SLICE - 1) / SLICE;
    const int most_groups = (p.vocab_size + LEAST_SLICE - 1) / LEAST_SLICE;
    p.n_groups = most_groups < GROUPS ? most_groups : GROUPS;
    p.n_slices = (n_slices + p.n_groups - 1) / p.n_groups * p.n_groups;
    p.stride = (int64_t)in_lines(p.vocab_size);
    if (p.stride % 1024 == 0) p.stride += 16; // rows a multiple of 4 KB apart fight for few places in a cache
    p.largest = (size_t)(n * p.stride);
    p.sum = p.largest + in_lines((int64_t)n * p.n_slices);
    p.wanted = p.sum + in_lines((int64_t)n * p.n_slices);
    p.dx = p.wanted + in_lines(n);
    p.own = p.dx + (size_t)p.n_groups * in_lines((int64_t)n * p.n_embd);
    p.widened = (size_t)n * SLICE;
    p.own_size = p.widened + (weight->dtype == DTYPE_F32 ? 0 : in_lines((int64_t)SLICE * p.n_embd));
    p.size = p.own + (size_t)ops->n_threads * p.own_size;
    return p;
}

// Where a slice begins: slices are nearly equal, in whole cache lines, at most SLICE wide.
static int slice_start(const struct plan *plan, int slice) {
    const int n_lines = (plan->vocab_size + PRODUCT_COLUMNS - 1) / PRODUCT_COLUMNS;
    const int64_t start = (int64_t)n_lines * slice / plan->n_slices * PRODUCT_COLUMNS;
    return start < plan->vocab_size ? (int)start : plan->vocab_size;
}

struct chunk_job {
    const struct plan *plan;
    const struct kernels *kernels;
    float *scratch;
    const float *x; // [n, n_embd]
    const struct matrix *weight;
    const int32_t *targets; // [n]
    const float *scales;    // [n]
    float *loss;            // [n]
    float *dx, *dweight;    // either may be NULL
};

// Makes rows first .. first + width - 1 of the head the right operand: as they lie, or as floats.
static void gemm_weight(struct gemm *gemm, const struct chunk_job *job, int first, int width,
                        const struct gemm_thread *thread) {
    const struct matrix *weight = job->weight;
    const size_t at = (size_t)first * (size_t)weight->cols;
    gemm->b = (const char *)weight->data + dtype_bytes(weight->dtype, at);
    gemm->b_dtype = weight->dtype;
    gemm->b_stride = weight->cols;
    if (weight->dtype == DTYPE_F32 || gemm_is_own(thread->ops, gemm->b_transposed, weight->dtype)) return;
    float *wide = job->scratch + job->plan->own + (size_t)thread->number * job->plan->own_size + job->plan->widened;
    job->kernels->widen(wide, gemm->b, weight->dtype, (int64_t)width * weight->cols);
    gemm->b = wide;
    gemm->b_dtype = DTYPE_F32;
}

// Logits of one slice, kept as exponentials.
static enum gemm_status logits_tile(const void *memory, int slice, const struct gemm_thread *thread) {
    const struct chunk_job *job = memory;
    const struct plan *p = job->plan;
    const int first = slice_start(p, slice);
    const int width = slice_start(p, slice + 1) - first;
    float *kept = job->scratch + first;
    struct gemm gemm = {
        .m = p->n,
        .n = width,
        .k = p->n_embd,
        .a = job->x,
        .a_stride = p->n_embd,
        .b_transposed = true,
        .c = kept,
        .c_stride = p->stride,
    };
    gemm_weight(&gemm, job, first, width, thread);
    const enum gemm_status status = gemm_run(thread, &gemm);
    if (status != GEMM_OK) return status;
    for (int i = 0; i < p->n; i++) {
        float *row = kept + i * p->stride;
        const int64_t target = (int64_t)job->targets[i] - first;
        if (target >= 0 && target < width) job->scratch[p->wanted + (size_t)i] = row[target];
        const size_t at = (size_t)i * (size_t)p->n_slices + (size_t)slice;
        job->scratch[p->largest + at] = job->kernels->exponentials(row, width, &job->scratch[p->sum + at]);
    }
    return GEMM_OK;
}

// The rows' losses, and in place of each slice's sum the factor that makes its exponentials dl.
static void loss_work(void *memory, int thread, int n_threads) {
    const struct chunk_job *job = memory;
    const struct plan *p = job->plan;
    const int64_t last = cpu_share(p->n, thread + 1, n_threads);
    for (int64_t i = cpu_share(p->n, thread, n_threads); i < last; i++) {
        const float *largest = job->scratch + p->largest + i * p->n_slices;
        float *sum = job->scratch + p->sum + i * p->n_slices;
        float most = largest[0];
        for (int s = 1; s < p->n_slices; s++) most = largest[s] > most ? largest[s] : most;
        double total = 0;
        for (int s = 0; s < p->n_slices; s++) {
            const float part = expf(largest[s] - most);
            total += (double)part * sum[s];
            sum[s] = part;
        }
        // cppcheck-suppress invalidFunctionArg ; there is a slice at least, and the largest one's part is 1
        job->loss[i] = (float)(most - (double)job->scratch[p->wanted + (size_t)i] + log(total));
        for (int s = 0; s < p->n_slices; s++) sum[s] = (float)(job->scales[i] / total * sum[s]);
    }
}

// dl of a slice: into the thread's own memory, [n, width].
static float *slice_gradient(const struct chunk_job *job, int slice, int first, int width,
                             const struct gemm_thread *thread) {
    const struct plan *p = job->plan;
    float *dl = job->scratch + p->own + (size_t)thread->number * p->own_size;
    for (int i = 0; i < p->n; i++) {
        float *row = dl + (int64_t)i * width;
        const float factor = job->scratch[p->sum + (size_t)i * (size_t)p->n_slices + (size_t)slice];
        job->kernels->scale(row, job->scratch + i * p->stride + first, factor, width);
        const int64_t target = (int64_t)job->targets[i] - first;
        if (target >= 0 && target < width) row[target] -= job->scales[i];
    }
    return dl;
}

static enum gemm_status gradient_tile(const void *memory, int group, const struct gemm_thread *thread) {
    const struct chunk_job *job = memory;
    const struct plan *p = job->plan;
    const int group_slices = p->n_slices / p->n_groups;
    float *dx = job->scratch + p->dx + (size_t)group * in_lines((int64_t)p->n * p->n_embd);
    enum gemm_status status = GEMM_OK;
    for (int s = 0; s < group_slices && status == GEMM_OK; s++) {
        const int slice = group * group_slices + s;
        const int first = slice_start(p, slice);
        const int width = slice_start(p, slice + 1) - first;
        const float *dl = slice_gradient(job, slice, first, width, thread);
        if (job->dweight != NULL) {
            const struct gemm gemm = {
                .m = width,
                .n = p->n_embd,
                .k = p->n,
                .a = dl,
                .a_stride = width,
                .a_transposed = true,
                .b = job->x,
                .b_stride = p->n_embd,
                .add = true,
                .c = job->dweight + (int64_t)first * p->n_embd,
                .c_stride = p->n_embd,
            };
            status = gemm_run(thread, &gemm);
        }
        if (job->dx != NULL && status == GEMM_OK) {
            struct gemm gemm = {
                .m = p->n,
                .n = p->n_embd,
                .k = width,
                .a = dl,
                .a_stride = width,
                .add = s > 0,
                .c = dx,
                .c_stride = p->n_embd,
            };
            gemm_weight(&gemm, job, first, width, thread);
            status = gemm_run(thread, &gemm);
        }
    }
    return status;
}

// dx = the groups' parts, in order
static void sum_work(void *memory, int thread, int n_threads) {
    const struct chunk_job *job = memory;
    const struct plan *p = job->plan;
    const int64_t row = cpu_share(p->n, thread, n_threads);
    const int64_t size = (cpu_share(p->n, thread + 1, n_threads) - row) * p->n_embd;
    float *dx = job->dx + row * p->n_embd;
    memset(dx, 0, (size_t)size * sizeof *dx);
    for (int64_t i = 0; i < size; i += p->n_embd) {
        job->kernels->add_rows(dx + i, job->scratch + p->dx + row * p->n_embd + i,
                               (int64_t)in_lines((int64_t)p->n * p->n_embd), p->n_groups, p->n_embd);
    }
}

// One chunk of rows. The lock is held.
static bool chunk_run(struct ops *ops, const struct chunk_job *chunk, int n, struct llm_error *err) {
    const struct plan plan = plan_make(ops, chunk->weight, n);
    if (!cpu_scratch(cpu_of(ops), plan.size, err)) return false;
    struct chunk_job job = *chunk;
    job.plan = &plan;
    job.scratch = cpu_of(ops)->scratch;
    if (!cpu_run_tiles(ops, plan.n_slices, logits_tile, &job, err)) return false;
    cpu_run(ops, (int64_t)n * plan.n_slices >= CPU_PARALLEL_WORK / 16, loss_work, &job);
    if (job.dx == NULL && job.dweight == NULL) return true;
    if (!cpu_run_tiles(ops, plan.n_groups, gradient_tile, &job, err)) return false;
    if (job.dx != NULL) cpu_run(ops, (int64_t)n * plan.n_embd >= CPU_PARALLEL_WORK / 16, sum_work, &job);
    return true;
}

bool cpu_head_loss_backward(struct ops *ops, float *loss, float *dx, float *dweight, const float *x,
                            const struct matrix *weight, const int32_t *targets, const float *scales, int n,
                            struct llm_error *err) {
    if (n <= 0) return true;
    const int n_chunks = (n + CHUNK_ROWS - 1) / CHUNK_ROWS;
    const int most = (n + n_chunks - 1) / n_chunks;
    struct host_state *state = host_state(ops);
    bool ok = true;
    pthread_mutex_lock(&state->lock);
    for (int i = 0; i < n && ok; i += most) {
        struct chunk_job job = {
            .kernels = cpu_of(ops)->kernels,
            .x = x + (int64_t)i * weight->cols,
            .weight = weight,
            .targets = targets + i,
            .scales = scales + i,
            .loss = loss + i,
            .dx = dx != NULL ? dx + (int64_t)i * weight->cols : NULL,
            .dweight = dweight,
        };
        ok = chunk_run(ops, &job, n - i < most ? n - i : most, err);
    }
    pthread_mutex_unlock(&state->lock);
    return ok;
}
