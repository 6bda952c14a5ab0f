// torch_norm.c: see torch_norm.h.
#include "train/torch_norm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/dialect.h"

enum {
    LANES = 8,  // of a Vectorized<float> where it is 256 bits wide, which this kernel is compiled for
    PANEL = 16, // columns turned at a time: a cache line; a multiple of LANES, so that only a tensor's end is left over
};

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

struct torch_norm {
    const struct config *config;
    float panel[]; // [PANEL, rows of the highest matrix]
};

// The squares of one tensor.
struct squares {
    lanes sums;
    float rest[LANES]; // elements of a group that is not full yet
    int n_rest;
};

struct torch_norm *torch_norm_new(const struct config *config, struct llm_error *err) {
    const size_t highest = (size_t)(config->n_inner > config->n_embd ? config->n_inner : config->n_embd);
    struct torch_norm *norm = malloc(sizeof *norm + PANEL * highest * sizeof norm->panel[0]);
    if (norm == NULL) {
        error_memory(err, "norm");
        return NULL;
    }
    norm->config = config;
    return norm;
}

static void add_group(struct squares *squares, const float *x) {
    lanes numbers;
    memcpy(&numbers, x, sizeof numbers);
    const lanes square = numbers * numbers; // rounded, then added: a fused sum has other bits
    squares->sums += square;
}

// Whole groups may only follow whole groups.
static void add(struct squares *squares, const float *x, int64_t n) {
    int64_t i = 0;
    for (; squares->n_rest == 0 && i + LANES <= n; i += LANES) add_group(squares, x + i);
    for (; i < n; i++) {
        squares->rest[squares->n_rest++] = x[i];
        if (squares->n_rest < LANES) continue;
        add_group(squares, squares->rest);
        squares->n_rest = 0;
    }
}

// What is left over was compiled to four products at once and added one by one, or else to fused products and sums.
static float root(const struct squares *squares) {
    const float *rest = squares->rest;
    float sum = squares->sums[0];
    for (int i = 1; i < LANES; i++) sum += squares->sums[i];
    int i = 0;
    for (const int end = squares->n_rest / 4 * 4; i < end; i++) {
        const float square = rest[i] * rest[i];
        sum += square;
    }
    for (; i < squares->n_rest; i++) sum = fmaf(rest[i], rest[i], sum);
    return sqrtf(sum);
}

static void add_number(struct squares *squares, float x) {
    add(squares, &x, 1);
}

static float norm_of(const float *x, int64_t n) {
    struct squares squares = {.n_rest = 0};
    add(&squares, x, n);
    return root(&squares);
}

// Columns [first, first + n) of x [rows, cols], one after another.
static float norm_of_columns(struct torch_norm *norm, const float *x, int rows, int cols, int first, int n) {
    struct squares squares = {.n_rest = 0};
    for (int done = 0; done < n; done += PANEL) {
        const int width = n - done < PANEL ? n - done : PANEL;
        for (int row = 0; row < rows; row++) {
            const float *from = x + (int64_t)row * cols + first + done;
            for (int i = 0; i < width; i++) norm->panel[(int64_t)i * rows + row] = from[i];
        }
        add(&squares, norm->panel, (int64_t)width * rows);
    }
    return root(&squares);
}

// Adds the norm of one of GPTModel's tensors, if it is trained.
static void add_row(struct torch_norm *norm, const struct optimizer *optimizer, const struct dialect_row *row,
                    int layer, struct squares *all) {
    if (row->param == PARAM_COUNT) return; // the mask, a buffer
    const float *gradient = param_block_at(&optimizer->gradients, row->param, layer);
    if (gradient == NULL) return;
    int rows, cols;
    param_shape(norm->config, row->param, &rows, &cols);
    gradient = optimizer->ops->get(optimizer->ops, gradient, (size_t)rows * (size_t)cols);
    const int n = row->piece == PIECE_WHOLE ? cols : cols / MAX_PIECES;
    const int first = row->piece == PIECE_WHOLE ? 0 : n * (row->piece - PIECE_QUERY);
    // What is in pieces and not turned is a vector.
    add_number(all, row->layout == LAYOUT_TRANSPOSED ? norm_of_columns(norm, gradient, rows, cols, first, n)
                                                     : norm_of(gradient + first, (int64_t)rows * n));
}

static bool is_of_a_layer(const struct dialect_row *row) {
    return strstr(row->pattern, "%d") != NULL;
}

float torch_norm(struct torch_norm *norm, const struct optimizer *optimizer) {
    const struct dialect_row *rows = dialect_book.rows;
    struct squares all = {.n_rest = 0};
    for (int first = 0, end; first < dialect_book.n_rows; first = end) {
        const bool in_layers = is_of_a_layer(&rows[first]);
        for (end = first + 1; end < dialect_book.n_rows && is_of_a_layer(&rows[end]) == in_layers;) end++;
        const int n_layers = in_layers ? norm->config->n_layer : 1;
        for (int layer = 0; layer < n_layers; layer++) {
            for (int i = first; i < end; i++) add_row(norm, optimizer, &rows[i], layer, &all);
        }
    }
    for (int i = optimizer->n_of_block; i < optimizer->n_tensors; i++) {
        const struct train_tensor *tensor = &optimizer->tensors[i];
        add_number(&all, norm_of(optimizer->ops->get(optimizer->ops, tensor->gradient, (size_t)tensor->n), tensor->n));
    }
    return root(&all);
}
