// linear.c: products with weight matrices, for one row (decoding) or many (prompts, evaluation).
//
// Few rows go to our own kernel, which runs at the speed of memory; more go to oneDNN, in
// tiles of [TILE_ROWS, PANEL] outputs, one thread a tile, and bias, activation and residual follow while
// the tile is hot. oneDNN uses the weights where they lie, or a panel of them that is copied in front of
// its tile: when they have to be widened (F16, BF16); when their rows lie a multiple of 4 KB apart, where
// its in-place kernel runs at half speed (45 against 87 GFLOP/s at n_out = 3072); and from PANEL_ROWS rows
// on, where a dense panel is faster (88 against 82) and the copy costs little.
#include "ops/cpu/cpu.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdatomic.h>

enum {
    PANEL = 192,      // columns a tile: with 768 inputs, 576 KB of weights
    TILE_ROWS = 256,  // most rows a tile: 512 is 2 % faster, but leaves too few tiles for many cores
    PANEL_ROWS = 192, // see above
    SLOW_STRIDE = 1024
};

static bool needs_panels(const struct product *p) {
    if (p->dtype != DTYPE_F32 || p->weight_stride % SLOW_STRIDE == 0) return true;
    return p->n >= PANEL_ROWS && !p->transposed; // transposed ones oneDNN copies itself
}

// Where the two ways cross, measured: with F32 our kernel is ahead to 11 rows; widening its panels keeps oneDNN
// behind as far as our kernel goes.
static bool is_small(const struct product *p) {
    return p->n <= (p->dtype == DTYPE_F32 ? 11 : PRODUCT_ROWS);
}

static int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}

// Floats of one thread's panel.
static size_t panel_size(const struct product *p) {
    return (size_t)p->n_in * PANEL;
}

size_t cpu_product_scratch(const struct ops *ops, const struct product *p) {
    return is_small(p) || !needs_panels(p) ? 0 : (size_t)ops->n_threads * panel_size(p);
}

size_t cpu_product_reserve(const struct ops *ops, int n_rows, int n_wide, int64_t max_weight) {
    const struct product narrow = {.n = n_rows, .dtype = DTYPE_F32};
    if (is_small(&narrow)) return 0;
    if (n_wide <= 0 || max_weight <= 0) return 0;
    const struct product widest = {.n_in = n_wide};
    return (size_t)ops->n_threads * panel_size(&widest);
}

// Up to PRODUCT_ROWS rows: the columns are shared out among the threads in equal runs.
struct small_job {
    const struct kernels *kernels;
    const struct product *product;
};

static void small_work(void *memory, int thread, int n_threads) {
    const struct small_job *job = memory;
    const int n_out = job->product->n_out;
    const int n_units = ceil_div(n_out, PRODUCT_COLUMNS);
    const int first = (int)cpu_share(n_units, thread, n_threads) * PRODUCT_COLUMNS;
    const int end = (int)cpu_share(n_units, thread + 1, n_threads) * PRODUCT_COLUMNS;
    const int last = end < n_out ? end : n_out;
    if (first < last) job->kernels->product(job->product, first, last);
}

static void product_small(struct ops *ops, const struct product *p) {
    struct small_job job = {cpu_of(ops)->kernels, p};
    cpu_run(ops, (int64_t)p->n * p->n_in * p->n_out >= CPU_PARALLEL_WORK, small_work, &job);
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

struct tile {
    int row, n_rows;
    int column, n_columns;
};

// One tile on the calling thread. Without an activation the residual is put down first and the product
// added to it; with one the product comes first.
static dnnl_status_t product_tile(const struct kernels *kernels, const struct product *p, const struct tile *tile,
                                  float *panel) {
    const int end = tile->column + tile->n_columns;
    const bool add = p->residual != NULL && p->activation == ACTIVATION_NONE;
    if (add) {
        struct product put_down = *p;
        put_down.residual = NULL;
        for (int row = tile->row; row < tile->row + tile->n_rows; row++) {
            kernels->finish(&put_down, row, p->residual + row * p->out_stride + tile->column, tile->column, end);
        }
    }

    const float *weight = panel;
    int64_t stride = p->transposed ? p->n_in : tile->n_columns;
    if (panel != NULL) {
        fill_panel(kernels, panel, p, tile->column, tile->n_columns);
    } else {
        weight = p->transposed ? weight_at(p, tile->column, 0) : weight_at(p, 0, tile->column);
        stride = p->weight_stride;
    }
    float *out = p->out + tile->row * p->out_stride + tile->column;
    const dnnl_status_t status =
        dnnl_sgemm('N', p->transposed ? 'T' : 'N', tile->n_rows, tile->n_columns, p->n_in, 1,
                   p->x + (int64_t)tile->row * p->n_in, p->n_in, weight, stride, add ? 1 : 0, out, p->out_stride);
    if (add || status != dnnl_success) return status;
    if (p->bias == NULL && p->activation == ACTIVATION_NONE) return status;
    for (int row = tile->row; row < tile->row + tile->n_rows; row++) {
        kernels->finish(p, row, p->out + row * p->out_stride + tile->column, tile->column, end);
    }
    return status;
}

struct large_job {
    const struct kernels *kernels;
    const struct product *product;
    float *panels; // one for each thread, or NULL
    int n_row_tiles, tile_rows;
    int n_panels, width;
    struct team_counter counter;
    atomic_int failure; // dnnl_status_t of a tile
};

static void large_work(void *memory, int thread, int n_threads) {
    (void)n_threads;
    struct large_job *job = memory;
    const struct product *p = job->product;
    float *panel = job->panels != NULL ? job->panels + (size_t)thread * panel_size(p) : NULL;
    const int omp_threads = omp_get_max_threads();
    omp_set_num_threads(1); // of oneDNN's own parallel regions on this thread
    const int n_tiles = job->n_panels * job->n_row_tiles;
    for (int64_t i = team_take(&job->counter); i < n_tiles; i = team_take(&job->counter)) {
        struct tile tile = {.row = (int)i % job->n_row_tiles * job->tile_rows,
                            .column = (int)i / job->n_row_tiles * job->width};
        tile.n_rows = p->n - tile.row < job->tile_rows ? p->n - tile.row : job->tile_rows;
        tile.n_columns = p->n_out - tile.column < job->width ? p->n_out - tile.column : job->width;
        if (tile.n_rows <= 0 || tile.n_columns <= 0) continue; // rounding up may leave none for the last
        const dnnl_status_t status = product_tile(job->kernels, p, &tile, panel);
        if (status != dnnl_success) atomic_store(&job->failure, (int)status);
    }
    omp_set_num_threads(omp_threads);
}

static bool product_large(struct ops *ops, const struct product *p, float *panels, struct llm_error *err) {
    // Tiles of equal size; the width keeps to whole cache lines.
    struct large_job job = {.kernels = cpu_of(ops)->kernels, .product = p, .panels = panels};
    job.n_row_tiles = ceil_div(p->n, TILE_ROWS);
    job.tile_rows = ceil_div(p->n, job.n_row_tiles);
    job.n_panels = ceil_div(p->n_out, PANEL);
    job.width = ceil_div(ceil_div(p->n_out, job.n_panels), PRODUCT_COLUMNS) * PRODUCT_COLUMNS;
    cpu_run(ops, true, large_work, &job);
    const dnnl_status_t failure = (dnnl_status_t)atomic_load(&job.failure);
    if (failure == dnnl_success) return true;
    if (failure == dnnl_out_of_memory) return error_memory(err, "a matrix product in oneDNN");
    return error_set(err, LLM_ERROR_UNSUPPORTED, "oneDNN refused the product [%d, %d] x [%d, %d] (status %d)", p->n,
                     p->n_in, p->n_in, p->n_out, (int)failure);
}

// Rows in groups that the small kernel takes; its sums lie apart from the output.
static void product_in_groups(struct ops *ops, const struct product *p) {
    for (int row = 0; row < p->n; row += PRODUCT_ROWS) {
        struct product group = *p;
        group.n = p->n - row < PRODUCT_ROWS ? p->n - row : PRODUCT_ROWS;
        group.x = p->x + (int64_t)row * p->n_in;
        group.out = p->out + row * p->out_stride;
        group.residual = p->residual != NULL ? p->residual + row * p->out_stride : NULL;
        product_small(ops, &group);
    }
}

bool cpu_product(struct ops *ops, const struct product *p, float *scratch, struct llm_error *err) {
    if (p->n <= 0 || p->n_out <= 0) return true;
    // An activation with the residual in the output has no place for the bare product (GPT-2 has no such layer).
    const bool in_place = p->activation != ACTIVATION_NONE && p->residual == p->out;
    if (is_small(p) || in_place) {
        product_in_groups(ops, p);
        return true;
    }
    return product_large(ops, p, needs_panels(p) ? scratch : NULL, err);
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
        .weight_stride = weight->cols,
        .bias = linear->bias,
        .residual = residual,
        .activation = linear->activation,
        .out = out,
        .out_stride = n_out,
    };
    const size_t size = cpu_product_scratch(ops, &product);
    if (size == 0) return cpu_product(ops, &product, NULL, err);
    struct host_state *state = host_state(ops);
    pthread_mutex_lock(&state->lock);
    const bool ok = cpu_scratch(state->cpu, size, err) && cpu_product(ops, &product, state->cpu->scratch, err);
    pthread_mutex_unlock(&state->lock);
    return ok;
}
