// blocks.c: products of a few rows with weights in blocks of 32: x is rounded to 16 bits once, on the calling thread,
// and the columns of the output are then shared out among the threads.
//
// Each column is computed alone, so the bits do not depend on the threads, nor a row's on the other rows.
#include "ops/cpu/cpu.h"

enum {
    QUANTS = 32,
    TILE = 1024 // columns whose sums are kept on the stack
};

// Floats of scratch for PRODUCT_ROWS rows: numbers, scales, offsets.
size_t cpu_product_blocks_scratch(const struct product *p) {
    const size_t n_rows = (size_t)(p->n < PRODUCT_ROWS ? p->n : PRODUCT_ROWS);
    return n_rows * ((size_t)p->n_in / 2 + 2 * (size_t)p->n_in / QUANTS);
}

struct blocks_job {
    const struct kernels *kernels;
    const struct block_kernels *block_kernels;
    const struct product *product;
    struct block_rows rows;
};

static void blocks_work(void *memory, int thread, int n_threads) {
    const struct blocks_job *job = memory;
    const struct product *p = job->product;
    _Alignas(64) float sums[PRODUCT_ROWS * TILE];
    const int last = cpu_columns_begin(p->n_out, thread + 1, n_threads);
    for (int begin = cpu_columns_begin(p->n_out, thread, n_threads); begin < last; begin += TILE) {
        const int end = last - begin < TILE ? last : begin + TILE;
        job->block_kernels->product(p, &job->rows, sums, TILE, begin, end);
        for (int row = 0; row < p->n; row++) job->kernels->finish(p, row, sums + row * TILE, begin, end);
    }
}

void cpu_product_blocks(struct ops *ops, const struct product *p, float *scratch) {
    const struct cpu *cpu = cpu_of(ops);
    for (int row = 0; row < p->n; row += PRODUCT_ROWS) {
        const struct product group = cpu_product_rows(p, row, PRODUCT_ROWS);
        const size_t n = (size_t)group.n * (size_t)p->n_in;
        struct blocks_job job = {cpu->kernels, cpu->block_kernels, &group, {.scale = scratch}};
        job.rows.offset = (int32_t *)(void *)(scratch + n / QUANTS);
        job.rows.q = (int16_t *)(job.rows.offset + n / QUANTS);
        cpu->block_kernels->round(&job.rows, group.x, group.n, p->n_in);
        cpu_run(ops, (int64_t)n * p->n_out >= CPU_PARALLEL_WORK, blocks_work, &job);
    }
}
