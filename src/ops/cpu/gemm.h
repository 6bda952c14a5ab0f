// gemm.h: matrix products with any operand transposed, tile by tile: what linear.c, linear_backward.c and
// head_loss_backward.c are made of.
//
// A tile is computed on one thread. Which tiles there are depends on the shape alone, and threads take them one by one.
#ifndef OPS_CPU_GEMM_H
#define OPS_CPU_GEMM_H

#include "ops/cpu/cpu.h"

// C = A B + beta C
struct gemm {
    int m, n, k;
    const float *a; // [m, k], or [k, m] when transposed
    int64_t a_stride;
    const void *b;      // [k, n], or [n, k] when transposed
    enum dtype b_dtype; // F32 wherever products are computed in F32
    int64_t b_stride;
    bool a_transposed, b_transposed;
    bool add; // beta is 1, else 0: what C held, be it NaN, is gone
    float *c; // [m, n]
    int64_t c_stride;
};

// How a tile went; GEMM_OK is 0.
enum gemm_status {
    GEMM_OK,
    GEMM_MEMORY,
    GEMM_REFUSED
};

// A thread of the team at work on tiles.
struct gemm_thread {
    int number;
    void *packs; // its memory for products in BF16; NULL: they are computed in F32
};

// On the calling thread, inside a job of cpu_run_tiles().
enum gemm_status gemm_run(const struct gemm_thread *thread, const struct gemm *gemm);

// Tile number `tile` of a job.
typedef enum gemm_status gemm_tile_fn(const void *job, int tile, const struct gemm_thread *thread);

// Does tiles 0 .. n_tiles - 1, each on the thread that comes free, in which gemm_run() may be called. The lock is held,
// if ops->compute is BF16.
bool cpu_run_tiles(struct ops *ops, int n_tiles, gemm_tile_fn *tile, const void *job, struct llm_error *err);

// gemm_run() in BF16, gemm_bf16.c. It works on blocks of this size at most, packed in `packs` (64-byte aligned).
enum {
    GEMM_BF16_ROWS = 256,
    GEMM_BF16_COLUMNS = 384,
    GEMM_BF16_DEPTH = 512,
    GEMM_BF16_PACKS = 2 * GEMM_BF16_DEPTH * (GEMM_BF16_ROWS + GEMM_BF16_COLUMNS) // bytes
};
enum gemm_status gemm_bf16(const struct gemm *gemm, void *packs);

// [m, n] cut into tiles of nearly equal size, none larger than asked for; columns in whole cache lines.
struct gemm_grid {
    int m, n;
    int rows, columns; // of a tile; the last ones may be smaller
    int n_down, n_across;
};

struct gemm_tile {
    int row, rows;
    int column, columns;
};

struct gemm_grid gemm_grid_make(int m, int n, int most_rows, int most_columns);
static inline int gemm_grid_tiles(const struct gemm_grid *grid) {
    return grid->n_down * grid->n_across;
}
// Tiles go down first: those that follow one another share their columns.
struct gemm_tile gemm_grid_tile(const struct gemm_grid *grid, int tile);

#endif
