// gemm.c: see gemm.h. F32 products are oneDNN's sgemm, which packs both operands itself, takes any leading dimension,
// and adds to what is there: 95 to 100 % of the multiply-add peak, 85 to 97 % with transposed weights.
#include "ops/cpu/gemm.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "ops/cpu/sgemm.h"

enum gemm_status gemm_run(const struct gemm_thread *thread, const struct gemm *g) {
#if defined(__x86_64__)
    if (gemm_is_own(thread->ops, g->b_transposed, g->b_dtype)) {
        return (thread->ops->compute == OPS_COMPUTE_BF16 ? gemm_bf16 : gemm_f32)(g, thread->packs);
    }
#endif
    const dnnl_status_t status = dnnl_sgemm(g->a_transposed ? 'T' : 'N', g->b_transposed ? 'T' : 'N', g->m, g->n, g->k,
                                            1, g->a, g->a_stride, g->b, g->b_stride, g->add ? 1 : 0, g->c, g->c_stride);
    if (status == dnnl_success) return GEMM_OK;
    return status == dnnl_out_of_memory ? GEMM_MEMORY : GEMM_REFUSED;
}

struct tiles_job {
    gemm_tile_fn *tile;
    const void *job;
    int n_tiles;
    struct ops *ops;
    struct team_counter counter;
    atomic_int failure; // enum gemm_status of a tile
};

static void tiles_work(void *memory, int thread, int n_threads) {
    (void)n_threads;
    struct tiles_job *job = memory;
    char *packs = cpu_of(job->ops)->packs;
    const struct gemm_thread self = {thread, job->ops, packs != NULL ? packs + (size_t)thread * GEMM_PACKS : NULL};
    struct sgemm_scope scope;
    sgemm_begin(&scope);
    for (int64_t i = team_take(&job->counter); i < job->n_tiles; i = team_take(&job->counter)) {
        const enum gemm_status status = job->tile(job->job, (int)i, &self);
        if (status != GEMM_OK) atomic_store(&job->failure, (int)status);
    }
    sgemm_end(&scope);
}

bool cpu_run_tiles(struct ops *ops, int n_tiles, gemm_tile_fn *tile, const void *job, struct llm_error *err) {
    struct tiles_job tiles = {.tile = tile, .job = job, .n_tiles = n_tiles, .ops = ops};
    cpu_run(ops, n_tiles > 1, tiles_work, &tiles);
    const enum gemm_status failure = (enum gemm_status)atomic_load(&tiles.failure);
    if (failure == GEMM_OK) return true;
    if (failure == GEMM_MEMORY) return error_memory(err, "a matrix product in oneDNN");
    return error_set(err, LLM_ERROR_UNSUPPORTED, "oneDNN refused a matrix product");
}

static int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}

enum {
    ENOUGH = 4, // tiles for the threads to share
    LEAST_ROWS = 64,
    LEAST_COLUMNS = 96
};

static struct gemm_grid grid_of(int m, int n, int down, int across) {
    struct gemm_grid grid = {.m = m, .n = n, .rows = ceil_div(m, down)};
    grid.columns = ceil_div(ceil_div(n, across), PRODUCT_COLUMNS) * PRODUCT_COLUMNS;
    grid.n_down = ceil_div(m, grid.rows);
    grid.n_across = ceil_div(n, grid.columns);
    return grid;
}

// Tiles for sgemm, none larger than asked for, smaller where they would be too few. How it sums up may depend on a
// tile's size, so that must not depend on the number of threads.
static struct gemm_grid grid_sgemm(int m, int n, int most_rows, int most_columns) {
    int down = ceil_div(m, most_rows);
    int across = ceil_div(n, most_columns);
    while (down * across < ENOUGH) {
        if (n / across >= 2 * LEAST_COLUMNS && n / across >= m / down) {
            across *= 2;
        } else if (m / down >= 2 * LEAST_ROWS) {
            down *= 2;
        } else {
            break;
        }
    }
    return grid_of(m, n, down, across);
}

static int multiple_of(int n, int unit) {
    return ceil_div(n, unit) * unit;
}

// Tiles for our own, which sums up each element over the same k whatever its tile: as high as a block of A and wide, as
// A is packed once for each, but few ones in equal numbers for the threads.
static struct gemm_grid grid_own(const struct ops *ops, const struct gemm *g) {
    const int most_columns = 768;
    int down = ceil_div(g->m, gemm_rows(g->k, ops->compute == OPS_COMPUTE_BF16));
    int across = ceil_div(g->n, most_columns);
    const int more_down = multiple_of(down, ops->n_threads);
    const int more_across = multiple_of(across, ops->n_threads);
    if (down * across % ops->n_threads != 0 && down * across < 16 * ops->n_threads) {
        const bool can_down = g->m / more_down >= LEAST_ROWS;
        const bool can_across = g->n / more_across >= LEAST_COLUMNS;
        if (can_down && (!g->b_transposed || !can_across)) { // such a B is packed on the way, and so may be twice
            down = more_down;
        } else if (can_across) {
            across = more_across;
        }
    }
    return grid_of(g->m, g->n, down, across);
}

struct gemm_grid gemm_grid_make(const struct ops *ops, const struct gemm *g) {
    if (gemm_is_own(ops, g->b_transposed, g->b_dtype)) return grid_own(ops, g);
    // Rows of B a multiple of 4 KB apart are slow to pack: then taller tiles pack them less often (104 against 102).
    if (ops->level == OPS_AVX512) return grid_sgemm(g->m, g->n, g->b_stride % 1024 == 0 ? 512 : 256, 384);
    return grid_sgemm(g->m, g->n, 256, GEMM_PANEL); // 512 rows are 2 % faster, but leave too few tiles for many cores
}

struct gemm_tile gemm_grid_tile(const struct gemm_grid *grid, int tile) {
    struct gemm_tile t = {.row = tile % grid->n_down * grid->rows, .column = tile / grid->n_down * grid->columns};
    t.rows = grid->m - t.row < grid->rows ? grid->m - t.row : grid->rows;
    t.columns = grid->n - t.column < grid->columns ? grid->n - t.column : grid->columns;
    return t;
}
