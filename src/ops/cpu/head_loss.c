// head_loss.c: cross-entropy of the head in tiles of [rows, a slice of the vocabulary].
//
// A slice of logits is taken into each row's running log-sum-exp while it is in cache, and is then
// overwritten by the next: the logits never exist as a whole, and the head is read once per HEAD_ROWS rows.
#include "ops/cpu/cpu.h"

#include <math.h>

enum {
    HEAD_ROWS = 512,
    HEAD_SLICE = 1536, // with HEAD_ROWS rows; fewer rows take wider slices, so that jobs stay few
    HEAD_TILE = HEAD_ROWS * HEAD_SLICE
};

size_t cpu_head_loss_reserve(int n_rows) {
    return n_rows > 0 ? HEAD_TILE : 0;
}

struct head_rows {
    int n;
    float largest[HEAD_ROWS]; // of the logits so far
    float sum[HEAD_ROWS];     // of exp(logit - largest)
    float wanted[HEAD_ROWS];  // the target's logit
};

// Takes logits [rows->n, width], columns first .. first + width - 1 of the vocabulary, into the rows' sums.
struct take_job {
    const struct kernels *kernels;
    struct head_rows *rows;
    const float *logits;
    const int32_t *targets;
    int first, width;
};

static void take_work(void *memory, int thread, int n_threads) {
    const struct take_job *job = memory;
    struct head_rows *rows = job->rows;
    const int64_t last = cpu_share(rows->n, thread + 1, n_threads);
    for (int64_t i = cpu_share(rows->n, thread, n_threads); i < last; i++) {
        const float *row = job->logits + i * job->width;
        const int64_t target = (int64_t)job->targets[i] - job->first;
        if (target >= 0 && target < job->width) rows->wanted[i] = row[target];
        job->kernels->log_sum_exp(&rows->largest[i], &rows->sum[i], row, job->width);
    }
}

// One chunk of at most HEAD_ROWS rows. The lock is held.
static bool head_loss_rows(struct ops *ops, float *loss, const float *x, const struct matrix *weight,
                           const int32_t *targets, int n, struct llm_error *err) {
    struct head_rows rows = {.n = n};
    for (int i = 0; i < n; i++) rows.largest[i] = -INFINITY;

    struct cpu *cpu = cpu_of(ops);
    const int slice = HEAD_TILE / n / HEAD_SLICE * HEAD_SLICE;
    for (int first = 0; first < weight->rows; first += slice) {
        const int width = weight->rows - first < slice ? weight->rows - first : slice;
        struct product product = {
            .x = x,
            .n = n,
            .n_in = weight->cols,
            .n_out = width,
            .weight = (const char *)weight->data + dtype_bytes(weight->dtype, (size_t)first * (size_t)weight->cols),
            .dtype = weight->dtype,
            .transposed = true,
            .weight_stride = weight->cols,
            .out_stride = width,
        };
        if (!cpu_scratch(cpu, HEAD_TILE + cpu_product_scratch(ops, &product), err)) return false;
        product.out = cpu->scratch;
        if (!cpu_product(ops, &product, cpu->scratch + HEAD_TILE, err)) return false;
        struct take_job job = {cpu->kernels, &rows, cpu->scratch, targets, first, width};
        cpu_run(ops, n > 1, take_work, &job);
    }
    for (int i = 0; i < n; i++) loss[i] = rows.largest[i] - rows.wanted[i] + logf(rows.sum[i]);
    return true;
}

bool cpu_head_loss(struct ops *ops, float *loss, const float *x, const struct matrix *weight, const int32_t *targets,
                   int n, struct llm_error *err) {
    struct host_state *state = host_state(ops);
    bool ok = true;
    pthread_mutex_lock(&state->lock);
    for (int i = 0; i < n && ok; i += HEAD_ROWS) {
        const int n_rows = n - i < HEAD_ROWS ? n - i : HEAD_ROWS;
        ok = head_loss_rows(ops, loss + i, x + (int64_t)i * weight->cols, weight, targets + i, n_rows, err);
    }
    pthread_mutex_unlock(&state->lock);
    return ok;
}
