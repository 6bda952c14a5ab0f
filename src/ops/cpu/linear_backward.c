// linear_backward.c: gradients of y = x W + b, given dout = dL/dy:
//
//     dx = dout W^T        dW += x^T dout        db += sum of dout's rows
//
// dx is a product with the weights the other way round, so linear.c computes it. dW is computed in tiles that each
// run over all rows and are added to once; the tiles along the edge where dout lies sum up its columns as well.
#include "ops/cpu/gemm.h"

struct weight_job {
    const struct kernels *kernels;
    const float *left, *right; // dweight += left^T right; one of them is dout
    float *dweight, *dbias;    // either may be NULL
    int64_t stride;            // of dweight
    bool transposed;           // dout is on the left
    int n;
    struct gemm_grid grid;
};

static enum gemm_status weight_tile(const void *memory, int number, const struct gemm_thread *thread) {
    const struct weight_job *job = memory;
    const struct gemm_tile tile = gemm_grid_tile(&job->grid, number);
    const float *left = job->left + tile.row;
    const float *right = job->right + tile.column;
    if (job->dbias != NULL && job->transposed && tile.column == 0) {
        job->kernels->add_rows(job->dbias + tile.row, left, job->grid.m, job->n, tile.rows);
    }
    if (job->dbias != NULL && !job->transposed && tile.row == 0) {
        job->kernels->add_rows(job->dbias + tile.column, right, job->grid.n, job->n, tile.columns);
    }
    if (job->dweight == NULL) return GEMM_OK;
    const struct gemm gemm = {
        .m = tile.rows,
        .n = tile.columns,
        .k = job->n,
        .a = left,
        .a_stride = job->grid.m,
        .a_transposed = true,
        .b = right,
        .b_stride = job->grid.n,
        .add = true,
        .c = job->dweight + tile.row * job->stride + tile.column,
        .c_stride = job->stride,
    };
    return gemm_run(thread, &gemm);
}

static bool input_gradient(struct ops *ops, float *dx, const float *dout, const struct linear *linear, int n,
                           struct llm_error *err) {
    const struct linear other_way = {
        .weight = linear->weight, .transposed = !linear->transposed, .stride = linear->stride};
    return cpu_linear(ops, dx, dout, &other_way, NULL, n, err);
}

bool cpu_linear_backward(struct ops *ops, float *dx, float *dweight, float *dbias, const float *dout, const float *x,
                         const struct linear *linear, int n, struct llm_error *err) {
    if (n <= 0) return true;
    if (dx != NULL && !input_gradient(ops, dx, dout, linear, n, err)) return false;
    if (dweight == NULL && dbias == NULL) return true;
    const bool own = gemm_is_own(ops, false, DTYPE_F32);
    const struct matrix *weight = &linear->weight;
    const struct gemm whole = {.m = weight->rows, .n = weight->cols, .k = n, .b_stride = weight->cols};
    const struct weight_job job = {
        .kernels = cpu_of(ops)->kernels,
        .left = linear->transposed ? dout : x,
        .right = linear->transposed ? x : dout,
        .dweight = dweight,
        .dbias = dbias,
        .stride = linear_stride(linear),
        .transposed = linear->transposed,
        .n = n,
        .grid = gemm_grid_make(ops, &whole),
    };
    if (own) pthread_mutex_lock(&host_state(ops)->lock);
    const bool ok = cpu_run_tiles(ops, gemm_grid_tiles(&job.grid), weight_tile, &job, err);
    if (own) pthread_mutex_unlock(&host_state(ops)->lock);
    return ok;
}
