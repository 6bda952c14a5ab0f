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

typedef enum gemm_status gemm_fn(const struct gemm *gemm, void *packs);

// A thread of the team at work on tiles.
struct gemm_thread {
    int number;
    const struct ops *ops;
    void *packs; // GEMM_PACKS bytes, 64-byte aligned, where products are our own; else NULL
};

// Whether a product whose B is of this kind is our own, and not oneDNN's sgemm: always in BF16; in F32, measured at
// level avx512, where B is transposed (105 against 102 to 71 GFLOP/s; else 107 against 113) or has to be widened.
static inline bool gemm_is_own(const struct ops *ops, bool b_transposed, enum dtype b_dtype) {
    if (ops->level != OPS_AVX512) return false;
    return ops->compute == OPS_COMPUTE_BF16 || b_transposed || b_dtype != DTYPE_F32;
}

// On the calling thread, inside a job of cpu_run_tiles().
enum gemm_status gemm_run(const struct gemm_thread *thread, const struct gemm *gemm);

// Tile number `tile` of a job.
typedef enum gemm_status gemm_tile_fn(const void *job, int tile, const struct gemm_thread *thread);

// Does tiles 0 .. n_tiles - 1, each on the thread that comes free, in which gemm_run() may be called. The lock is held
// where products may be our own.
bool cpu_run_tiles(struct ops *ops, int n_tiles, gemm_tile_fn *tile, const void *job, struct llm_error *err);

// Our own products (gemm_tmpl.c), at level avx512. They work on blocks of A that stay in the second-level cache: of as
// many rows as a tile should have, so that B is packed once for all of them.
gemm_fn gemm_f32, gemm_bf16;
enum {
    GEMM_DEPTH = 384, // most of k at once; twice as many in BF16
    GEMM_BLOCK = 256 * GEMM_DEPTH * 4,
    GEMM_COLUMNS = 48,
    GEMM_PACKS = GEMM_BLOCK + GEMM_COLUMNS * GEMM_DEPTH * 4
};
// How deep and high A's blocks are for this k: depths are nearly equal, and whole blocks of quantised weights.
static inline int gemm_depth(int k, bool bf16) {
    const int most = bf16 ? 2 * GEMM_DEPTH : GEMM_DEPTH;
    const int parts = (k + most - 1) / most;
    return ((k + parts - 1) / parts + 31) / 32 * 32;
}
static inline int gemm_rows(int k, bool bf16) {
    return GEMM_BLOCK / (bf16 ? 2 : 4) / gemm_depth(k, bf16) / 16 * 16;
}

// [m, n] cut into tiles of nearly equal size; columns in whole cache lines.
struct gemm_grid {
    int m, n;
    int rows, columns; // of a tile; the last ones may be smaller
    int n_down, n_across;
};

struct gemm_tile {
    int row, rows;
    int column, columns;
};

// For a product of which m, n, k and B's kind are set; columns at most GEMM_PANEL below level avx512.
struct gemm_grid gemm_grid_make(const struct ops *ops, const struct gemm *gemm);
enum {
    GEMM_PANEL = 192
};
static inline int gemm_grid_tiles(const struct gemm_grid *grid) {
    return grid->n_down * grid->n_across;
}
// Tiles go down first: those that follow one another share their columns.
struct gemm_tile gemm_grid_tile(const struct gemm_grid *grid, int tile);

#endif
