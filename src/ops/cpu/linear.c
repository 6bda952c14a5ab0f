// linear.c: products with weight matrices, for one row (decoding) or many (prompts, evaluation).
//
// Few rows go to our own kernels, which run at the speed of memory (linear_few.c); more are cut into tiles (gemm.h),
// one thread a tile, and bias, activation and residual follow while the tile is hot. Weights are used where they lie,
// or, below level avx512, oneDNN is given a panel of them that is copied in front of its tile: when they have to be
// widened (F16, BF16); when their rows lie a multiple of 4 KB apart, where its AVX2 kernel runs at half speed in place
// (45 against 87 GFLOP/s at n_out = 3072); and from PANEL_ROWS rows on, where a dense panel is faster (88 against 82)
// and the copy costs little. Its AVX-512 kernel is faster in place (111 against 106; of 64 rows, 108 against 86).
#include "ops/cpu/gemm.h"

enum {
    PANEL_ROWS = 192, // see above
    SLOW_STRIDE = 1024
};

static bool needs_panels(const struct ops *ops, const struct product *p) {
    if (ops->level == OPS_AVX512) return false; // our own products widen themselves
    if (p->dtype != DTYPE_F32) return true;
    if (p->transposed) return false; // oneDNN copies these itself
    return p->n >= PANEL_ROWS || p->weight_stride % SLOW_STRIDE == 0;
}

// Where the two ways cross, measured: with F32 our kernel is ahead to 11 rows; widening its panels keeps oneDNN
// behind as far as our kernel goes. Ours takes as well, however many rows there are,
// an activation with the residual in the output, which has no place for the bare product (GPT-2 has no such layer).
static bool is_small(const struct product *p) {
    const bool in_place = p->activation != ACTIVATION_NONE && p->residual != NULL && p->residual == p->out;
    return in_place || p->n <= (p->dtype == DTYPE_F32 ? 11 : PRODUCT_ROWS);
}

// Floats of one thread's panel.
static size_t panel_size(const struct product *p) {
    return (size_t)p->n_in * GEMM_PANEL;
}

static bool in_blocks(const struct product *p) {
    return dtype_info(p->dtype)->block > 1;
}

size_t cpu_product_scratch(const struct ops *ops, const struct product *p) {
    if (is_small(p)) return in_blocks(p) ? cpu_product_blocks_scratch(p) : cpu_product_few_scratch(p);
    return needs_panels(ops, p) ? (size_t)ops->n_threads * panel_size(p) : 0;
}

size_t cpu_product_reserve(const struct ops *ops, int n_rows, int n_wide, int64_t max_weight) {
    if (n_rows <= 0 || n_wide <= 0 || max_weight <= 0) return 0;
    const struct product widest = {.n = n_rows, .n_in = n_wide, .n_out = n_wide, .dtype = DTYPE_F32};
    const size_t few = cpu_product_few_scratch(&widest);
    const bool panels = !is_small(&widest) && ops->level != OPS_AVX512;
    const size_t many = panels ? (size_t)ops->n_threads * panel_size(&widest) : 0;
    return few > many ? few : many;
}

static const void *weight_at(const struct product *p, int row, int column) {
    return (const char *)p->weight + dtype_bytes(p->dtype, (size_t)(row * p->weight_stride + column));
}

// Copies columns first .. first + width - 1 of W into a panel, [n_in, width] or, transposed, [width, n_in].
static void fill_panel(const struct kernels *kernels, float *panel, const struct product *p, int first, int width) {
    if (p->transposed) {
        for (int c = 0; c < width; c++) {
            kernels->widen(panel + (int64_t)c * p->n_in, weight_at(p, first + c, 0), p->dtype, p->n_in);
        }
    } else {
        for (int k = 0; k < p->n_in; k++) {
            kernels->widen(panel + (int64_t)k * width, weight_at(p, k, first), p->dtype, width);
        }
    }
}

// One tile on the calling thread. Without an activation the residual is put down first and the product
// added to it; with one the product comes first.
static enum gemm_status product_tile(const struct kernels *kernels, const struct product *p,
                                     const struct gemm_tile *tile, float *panel, const struct gemm_thread *thread) {
    const int end = tile->column + tile->columns;
    const bool add = p->residual != NULL && p->activation == ACTIVATION_NONE;
    if (add) {
        struct product put_down = *p;
        put_down.residual = NULL;
        for (int row = tile->row; row < tile->row + tile->rows; row++) {
            kernels->finish(&put_down, row, p->residual + row * p->out_stride + tile->column, tile->column, end);
        }
    }
    struct gemm gemm = {
        .m = tile->rows,
        .n = tile->columns,
        .k = p->n_in,
        .a = p->x + (int64_t)tile->row * p->n_in,
        .a_stride = p->n_in,
        .b_transposed = p->transposed,
        .add = add,
        .c = p->out + tile->row * p->out_stride + tile->column,
        .c_stride = p->out_stride,
    };
    if (panel != NULL) {
        fill_panel(kernels, panel, p, tile->column, tile->columns);
        gemm.b = panel;
        gemm.b_stride = p->transposed ? p->n_in : tile->columns;
    } else {
        gemm.b = p->transposed ? weight_at(p, tile->column, 0) : weight_at(p, 0, tile->column);
        gemm.b_dtype = p->dtype;
        gemm.b_stride = p->weight_stride;
    }
    const enum gemm_status status = gemm_run(thread, &gemm);
    if (add || status != GEMM_OK) return status;
    if (p->bias == NULL && p->activation == ACTIVATION_NONE) return status;
    for (int row = tile->row; row < tile->row + tile->rows; row++) {
        kernels->finish(p, row, p->out + row * p->out_stride + tile->column, tile->column, end);
    }
    return status;
}

struct large_job {
    const struct kernels *kernels;
    const struct product *product;
    float *panels; // one for each thread, or NULL
    struct gemm_grid grid;
};

static enum gemm_status large_tile(const void *memory, int number, const struct gemm_thread *thread) {
    const struct large_job *job = memory;
    const struct gemm_tile tile = gemm_grid_tile(&job->grid, number);
    float *panel = job->panels != NULL ? job->panels + (size_t)thread->number * panel_size(job->product) : NULL;
    return product_tile(job->kernels, job->product, &tile, panel, thread);
}

static bool product_large(struct ops *ops, const struct product *p, float *panels, struct llm_error *err) {
    const struct gemm whole = {.m = p->n,
                               .n = p->n_out,
                               .k = p->n_in,
                               .b_transposed = p->transposed,
                               .b_dtype = p->dtype,
                               .b_stride = p->weight_stride};
    const struct large_job job = {cpu_of(ops)->kernels, p, panels, gemm_grid_make(ops, &whole)};
    return cpu_run_tiles(ops, gemm_grid_tiles(&job.grid), large_tile, &job, err);
}

bool cpu_product(struct ops *ops, const struct product *p, float *scratch, struct llm_error *err) {
    if (p->n <= 0 || p->n_out <= 0) return true;
    if (is_small(p)) {
        (in_blocks(p) ? cpu_product_blocks : cpu_product_few)(ops, p, scratch);
        return true;
    }
    return product_large(ops, p, needs_panels(ops, p) ? scratch : NULL, err);
}

bool cpu_linear(struct ops *ops, float *out, const float *x, const struct linear *linear, const float *residual, int n,
                struct llm_error *err) {
    const struct matrix *weight = &linear->weight;
    const int n_out = linear->transposed ? weight->rows : weight->cols;
    const struct product product = {
        .x = x,
        .n = n,
        .n_in = linear->transposed ? weight->cols : weight->rows,
        .n_out = n_out,
        .weight = weight->data,
        .dtype = weight->dtype,
        .transposed = linear->transposed,
        .weight_stride = linear_stride(linear),
        .bias = linear->bias,
        .residual = residual,
        .activation = linear->activation,
        .out = out,
        .out_stride = n_out,
    };
    const size_t size = cpu_product_scratch(ops, &product);
    const bool own = !is_small(&product) && gemm_is_own(ops, product.transposed, product.dtype);
    if (size == 0 && !own) return cpu_product(ops, &product, NULL, err);
    struct host_state *state = host_state(ops);
    pthread_mutex_lock(&state->lock);
    const bool ok = cpu_scratch(state->cpu, size, err) && cpu_product(ops, &product, state->cpu->scratch, err);
    pthread_mutex_unlock(&state->lock);
    return ok;
}
