// product_tmpl.c: products of a few rows with a weight matrix as it lies in memory, for decoding.
//
// With one row there is one multiplication per weight: all that counts is to read the weights at the
// speed of memory. [n_in, n_out] is read as eight sequential streams, y += x[k .. k + 7] * rows k .. k + 7,
// with the sums y in the first-level cache; [n_out, n_in] as dot products, four rows at a time.
// More rows reuse each weight while it is in a register, so a batch reads the weights once as well.
#include "ops/cpu/kernels.h"
#include "ops/cpu/vector.h"

enum {
    SUMS = 4096, // floats of one tile of sums: 16 KB, half of a first-level cache
    STREAMS = 8, // rows of an [n_in, n_out] matrix that are read side by side (half of it with several rows of x)
    AHEAD = 16384,
    LINE = 16,      // columns a step of the inner loop: a cache line of F32
    DOT_WEIGHTS = 4 // rows of an [n_out, n_in] matrix that are read side by side
};

INLINE vf activate(vf x, enum activation activation) {
    switch (activation) {
    case ACTIVATION_GELU_TANH:
        return vf_gelu_tanh(x);
    case ACTIVATION_GELU_ERF:
        return vf_gelu_erf(x);
    case ACTIVATION_RELU:
        return vf_max(vf_splat(0), x); // a NaN stays one: it is the second
    case ACTIVATION_NONE:
        break;
    }
    return x;
}

INLINE void finish_as(const struct product *p, enum activation activation, int row, const float *sum, int first,
                      int last) {
    float *out = p->out + row * p->out_stride;
    const float *residual = p->residual != NULL ? p->residual + row * p->out_stride : NULL;
    int c = first;
    for (; c + LANES <= last; c += LANES) {
        vf y = vf_load(sum + (c - first));
        if (p->bias != NULL) y += vf_load(p->bias + c);
        y = activate(y, activation);
        if (residual != NULL) y += vf_load(residual + c);
        vf_store(out + c, y);
    }
    if (c == last) return;
    const int rest = last - c;
    vf y = vf_load_part(sum + (c - first), rest);
    if (p->bias != NULL) y += vf_load_part(p->bias + c, rest);
    y = activate(y, activation);
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
            for (int j = 0; j < n_streams; j++) {
                const vf weight = vf_widen(step->w[j], dtype, (size_t)c + (size_t)v);
                for (int r = 0; r < n_rows; r++)
                    group[r] = j == 0 ? inputs[r][j] * weight : group[r] + inputs[r][j] * weight;
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

// sums[row][c - first] = x[row] . W[c] for n_weights columns from c and n_x rows from row.
INLINE void dots(const struct product *p, enum dtype dtype, int n_weights, int n_x, float *sums, int width, int row,
                 int c) {
    const void *w[DOT_WEIGHTS];
    for (int i = 0; i < n_weights; i++) w[i] = weight_row(p, c + i);
    const float *x = p->x + (int64_t)row * p->n_in;
    vf sum[3][DOT_WEIGHTS] = {{{0}}};
    int k = 0;
    for (; k + LANES <= p->n_in; k += LANES) {
        vf inputs[3];
        for (int r = 0; r < n_x; r++) inputs[r] = vf_load(x + (int64_t)r * p->n_in + k);
        for (int i = 0; i < n_weights; i++) {
            const vf weight = vf_widen(w[i], dtype, (size_t)k);
            for (int r = 0; r < n_x; r++) sum[r][i] += inputs[r] * weight;
        }
    }
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

INLINE void dots_rows(const struct product *p, enum dtype dtype, int n_rows, int n_weights, float *sums, int width,
                      int c) {
    int row = 0;
    for (; row + 3 <= n_rows; row += 3) dots(p, dtype, n_weights, 3, sums + row * width, width, row, c);
    for (; row < n_rows; row++) dots(p, dtype, n_weights, 1, sums + row * width, width, row, c);
}

INLINE void tile_dots(const struct product *p, enum dtype dtype, int n_rows, float *sums, int first, int last) {
    const int width = last - first;
    int c = first;
    for (; c + DOT_WEIGHTS <= last; c += DOT_WEIGHTS) {
        dots_rows(p, dtype, n_rows, DOT_WEIGHTS, sums + (c - first), width, c);
    }
    for (; c < last; c++) dots_rows(p, dtype, n_rows, 1, sums + (c - first), width, c);
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
