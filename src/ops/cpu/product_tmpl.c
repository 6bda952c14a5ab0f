// product_tmpl.c: products of a few rows with a weight matrix as it lies in memory, for decoding.
//
// With one row there is one multiplication per weight: all that counts is to read the weights at the
// speed of memory. [n_in, n_out] is read as eight sequential streams, y += x[k .. k + 7] * rows k .. k + 7,
// with the sums y in the first-level cache; [n_out, n_in] as dot products, four rows at a time.
// More rows reuse each weight while it is in a register, so a batch reads the weights once as well.
#include "ops/cpu/activation.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/vector.h"

enum {
    SUMS = 4096, // floats of one tile of sums: 16 KB, half of a first-level cache
    STREAMS = 8, // rows of an [n_in, n_out] matrix that are read side by side (half of it with several rows of x)
    AHEAD = 16384,
    LINE = 16,      // columns a step of the inner loop: a cache line of F32
    DOT_INPUTS = 3, // rows of x that share the weights so read: 3 * 4 sums are what 16 registers hold
    DOT_WEIGHTS = 4 // rows of an [n_out, n_in] matrix that are read side by side
};

INLINE void finish_as(const struct product *p, enum activation activation, int row, const float *sum, int first,
                      int last) {
    float *out = p->out + row * p->out_stride;
    const float *residual = p->residual != NULL ? p->residual + row * p->out_stride : NULL;
    int c = first;
    for (; c + LANES <= last; c += LANES) {
        vf y = vf_load(sum + (c - first));
        if (p->bias != NULL) y += vf_load(p->bias + c);
        y = vf_activation(y, activation);
        if (residual != NULL) y += vf_load(residual + c);
        vf_store(out + c, y);
    }
    if (c == last) return;
    const int rest = last - c;
    vf y = vf_load_part(sum + (c - first), rest);
    if (p->bias != NULL) y += vf_load_part(p->bias + c, rest);
    y = vf_activation(y, activation);
    if (residual != NULL) y += vf_load_part(residual + c, rest);
    vf_store_part(out + c, y, rest);
}

static void product_finish(const struct product *p, int row, const float *sum, int first, int last) {
    switch (p->activation) {
    case ACTIVATION_GELU_TANH:
        finish_as(p, ACTIVATION_GELU_TANH, row, sum, first, last);
        break;
    case ACTIVATION_GELU_ERF:
        finish_as(p, ACTIVATION_GELU_ERF, row, sum, first, last);
        break;
    case ACTIVATION_RELU:
        finish_as(p, ACTIVATION_RELU, row, sum, first, last);
        break;
    case ACTIVATION_NONE:
        finish_as(p, ACTIVATION_NONE, row, sum, first, last);
        break;
    }
}

static const void *weight_row(const struct product *p, int row) {
    const size_t bytes = p->dtype == DTYPE_F32 ? 4 : 2;
    return (const char *)p->weight + (size_t)(row * p->weight_stride) * bytes;
}

// One step of [n_in, n_out]: n_streams rows of weights from k on, their columns first .. last - 1, the row of sums
// [rows, width] being sums of columns first on.
struct step {
    const void *w[STREAMS];
    int first, last, width;
};

INLINE struct step step_make(const struct product *p, int n_streams, int k, int first, int last) {
    struct step step = {.first = first, .last = last, .width = last - first};
    for (int j = 0; j < n_streams; j++) step.w[j] = weight_row(p, k + j);
    return step;
}

// sums[row][c - first] += sum over j < n_streams of x[row][j] * w[j][c] for n_rows rows, x_stride apart, whose numbers
// stay in registers. The group is summed up first: the long sum then rounds n_in / n_streams times.
// ahead: how many weights further on in memory the next step's begin, to be fetched meanwhile; 0: nothing.
INLINE void step_add(const struct step *step, enum dtype dtype, int n_rows, int n_streams, const float *x, int x_stride,
                     float *sums, int64_t ahead) {
    vf inputs[2][STREAMS];
    for (int r = 0; r < n_rows; r++) {
        for (int j = 0; j < n_streams; j++) inputs[r][j] = vf_splat(x[r * x_stride + j]);
    }
    const size_t element = dtype == DTYPE_F32 ? 4 : 2;
    int c = step->first;
    for (; c + LINE <= step->last; c += LINE) {
        if (ahead > 0) {
            for (int j = 0; j < n_streams; j++) {
                __builtin_prefetch((const char *)step->w[j] + (size_t)(ahead + c) * element);
            }
        }
        for (int v = 0; v < LINE; v += LANES) {
            vf group[2];
            const vf weight = vf_widen(step->w[0], dtype, (size_t)c + (size_t)v);
            for (int r = 0; r < n_rows; r++) group[r] = inputs[r][0] * weight;
            for (int j = 1; j < n_streams; j++) {
                const vf next = vf_widen(step->w[j], dtype, (size_t)c + (size_t)v);
                for (int r = 0; r < n_rows; r++) group[r] += inputs[r][j] * next;
            }
            for (int r = 0; r < n_rows; r++) {
                float *sum = sums + r * step->width + (c + v - step->first);
                vf_store(sum, vf_load(sum) + group[r]);
            }
        }
    }
    for (; c < step->last; c++) {
        for (int r = 0; r < n_rows; r++) {
            float group = 0;
            for (int j = 0; j < n_streams; j++) group += x[r * x_stride + j] * f_widen(step->w[j], dtype, (size_t)c);
            sums[r * step->width + (c - step->first)] += group;
        }
    }
}

INLINE void tile_streams(const struct product *p, enum dtype dtype, bool one, float *sums, int first, int last) {
    const int n_rows = one ? 1 : p->n;
    const int n_streams = one ? STREAMS : STREAMS / 2;
    const int width = last - first;
    // Weights are fetched so many steps ahead that the fetching has AHEAD bytes' time.
    const int steps = 1 + AHEAD / (n_streams * width * (dtype == DTYPE_F32 ? 4 : 2));
    memset(sums, 0, (size_t)(n_rows * width) * sizeof *sums);
    int k = 0;
    for (; k + n_streams <= p->n_in; k += n_streams) {
        const struct step step = step_make(p, n_streams, k, first, last);
        const float *x = p->x + k;
        int row = 0;
        int64_t ahead = k + (steps + 1) * n_streams <= p->n_in ? steps * n_streams * p->weight_stride : 0;
        for (; row + 2 <= n_rows; row += 2) {
            step_add(&step, dtype, 2, n_streams, x + (int64_t)row * p->n_in, p->n_in, sums + row * width, ahead);
            ahead = 0; // the first rows have fetched it
        }
        if (row < n_rows)
            step_add(&step, dtype, 1, n_streams, x + (int64_t)row * p->n_in, p->n_in, sums + row * width, ahead);
    }
    for (; k < p->n_in; k++) {
        const struct step step = step_make(p, 1, k, first, last);
        for (int row = 0; row < n_rows; row++) {
            step_add(&step, dtype, 1, 1, p->x + (int64_t)row * p->n_in + k, p->n_in, sums + row * width, 0);
        }
    }
}

// One vector of k for every pair of dots().
INLINE void dots_step(vf sum[DOT_INPUTS][DOT_WEIGHTS], const void *const *w, enum dtype dtype, int n_weights, int n_x,
                      const float *x, int64_t x_stride, int k) {
    vf inputs[DOT_INPUTS];
    for (int r = 0; r < n_x; r++) inputs[r] = vf_load(x + r * x_stride + k);
    for (int i = 0; i < n_weights; i++) {
        const vf weight = vf_widen(w[i], dtype, (size_t)k);
        for (int r = 0; r < n_x; r++) sum[r][i] += inputs[r] * weight;
    }
}

// sums[row][c - first] = x[row] . W[c] for n_weights columns from c and n_x rows from row. `fetch`: the weights that
// follow are fetched meanwhile.
INLINE void dots(const struct product *p, enum dtype dtype, int n_weights, int n_x, float *sums, int width, int row,
                 int c, bool fetch) {
    const size_t element = dtype == DTYPE_F32 ? 4 : 2;
    const int line = (int)(64 / element); // weights in a cache line
    const void *w[DOT_WEIGHTS];
    for (int i = 0; i < n_weights; i++) w[i] = weight_row(p, c + i);
    const float *x = p->x + (int64_t)row * p->n_in;
    vf sum[DOT_INPUTS][DOT_WEIGHTS] = {{{0}}};
    int k = 0;
    for (; k + line <= p->n_in; k += line) {
        if (fetch) {
            for (int i = 0; i < n_weights; i++) {
                __builtin_prefetch((const char *)w[i] + (size_t)(n_weights * p->weight_stride + k) * element);
            }
        }
        for (int v = 0; v < line; v += LANES) dots_step(sum, w, dtype, n_weights, n_x, x, p->n_in, k + v);
    }
    for (; k + LANES <= p->n_in; k += LANES) dots_step(sum, w, dtype, n_weights, n_x, x, p->n_in, k);
    if (k < p->n_in) {
        const int rest = p->n_in - k;
        for (int i = 0; i < n_weights; i++) {
            const vf weight = vf_widen_part(w[i], dtype, (size_t)k, rest);
            for (int r = 0; r < n_x; r++) sum[r][i] += vf_load_part(x + (int64_t)r * p->n_in + k, rest) * weight;
        }
    }
    for (int r = 0; r < n_x; r++) {
        for (int i = 0; i < n_weights; i++) sums[r * width + i] = vf_sum(sum[r][i]);
    }
}

// The columns from c on for every row. `last`: nothing follows them.
INLINE void dots_rows(const struct product *p, enum dtype dtype, int n_rows, int n_weights, float *sums, int width,
                      int c, bool last) {
    int row = 0;
    for (; row + DOT_INPUTS <= n_rows; row += DOT_INPUTS) {
        dots(p, dtype, n_weights, DOT_INPUTS, sums + row * width, width, row, c, row == 0 && !last);
    }
    if (n_rows - row == 2) {
        dots(p, dtype, n_weights, 2, sums + row * width, width, row, c, row == 0 && !last);
    } else if (n_rows - row == 1) {
        dots(p, dtype, n_weights, 1, sums + row * width, width, row, c, row == 0 && !last);
    }
}

INLINE void tile_dots(const struct product *p, enum dtype dtype, int n_rows, float *sums, int first, int last) {
    const int width = last - first;
    int c = first;
    for (; c + DOT_WEIGHTS <= last; c += DOT_WEIGHTS) {
        const bool at_end = c + 2 * DOT_WEIGHTS > p->n_out;
        dots_rows(p, dtype, n_rows, DOT_WEIGHTS, sums + (c - first), width, c, at_end);
    }
    for (; c < last; c++) dots_rows(p, dtype, n_rows, 1, sums + (c - first), width, c, true);
}

// one: p->n is 1, known when this is compiled.
INLINE void columns_as(const struct product *p, enum dtype dtype, bool one, int first, int last) {
    const int n_rows = one ? 1 : p->n;
    _Alignas(64) float sums[SUMS];
    const int tile = SUMS / n_rows / PRODUCT_COLUMNS * PRODUCT_COLUMNS;
    for (int c = first; c < last; c += tile) {
        const int end = last - c < tile ? last : c + tile;
        if (p->transposed) {
            tile_dots(p, dtype, n_rows, sums, c, end);
        } else {
            tile_streams(p, dtype, one, sums, c, end);
        }
        for (int row = 0; row < n_rows; row++) product_finish(p, row, sums + row * (end - c), c, end);
    }
}

#define COLUMNS(name, dtype)                                                                                           \
    static void name##_one(const struct product *p, int first, int last) {                                             \
        columns_as(p, dtype, true, first, last);                                                                       \
    }                                                                                                                  \
    static void name##_few(const struct product *p, int first, int last) {                                             \
        columns_as(p, dtype, false, first, last);                                                                      \
    }
COLUMNS(columns_f32, DTYPE_F32)
COLUMNS(columns_f16, DTYPE_F16)
COLUMNS(columns_bf16, DTYPE_BF16)

static void product_columns(const struct product *p, int first, int last) {
    switch (p->dtype) {
    case DTYPE_F16:
        (p->n == 1 ? columns_f16_one : columns_f16_few)(p, first, last);
        break;
    case DTYPE_BF16:
        (p->n == 1 ? columns_bf16_one : columns_bf16_few)(p, first, last);
        break;
    default:
        (p->n == 1 ? columns_f32_one : columns_f32_few)(p, first, last);
    }
}
