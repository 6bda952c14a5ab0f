// product_tmpl.c: products of a few rows with a weight matrix as it lies in memory, for decoding.
//
// With one row there is one multiplication per weight: all that counts is to read the weights at the speed of memory.
// What reaches it (docs/performance.md): few streams that are long and lie far apart, each fetched into the
// second-level cache a little ahead. Fetching into the first takes up the buffers that loads wait in, and a matrix cut
// into columns has its streams torn at every row. So [n_in, n_out] is cut along n_in: a part is read as eight
// or four sequential streams of whole rows, y += x[k] * row k + x[k + far] * row k + far + ..., and the sums of the
// parts are added up afterwards; [n_out, n_in] is read as dot products of four rows far apart. More rows of x reuse
// each weight while it is in a register or in cache, so a batch reads the weights once as well.
#include "ops/cpu/activation.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/vector.h"

enum {
    STREAMS = PRODUCT_STREAMS,        // rows of an [n_in, n_out] matrix that are read side by side, at most
    GROUP = 8,                        // rows of x that share the weights so read
    DOT_WEIGHTS = 4,                  // rows of an [n_out, n_in] matrix that are read side by side
    DOT_INPUTS = LANES == 16 ? 4 : 3, // rows of x that share them: their sums are what 32 or 16 registers hold
    DOT_BLOCK = 8,                    // rows of each stream that stay in cache until all rows of x have met them
    DOT_SUMS = 2048,                  // sums of one tile
    AHEAD = 2048                      // bytes, of fetching
};

INLINE size_t weight_bytes(enum dtype dtype, int64_t n) {
    return (size_t)n * (dtype == DTYPE_F32 ? 4 : 2);
}

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

// One vector of step().
INLINE void step_vector(const void *const *w, enum dtype dtype, int n_rows, int n_streams, vf inputs[GROUP][STREAMS],
                        float *sums, int64_t stride, int c, bool add) {
    vf weight[STREAMS];
    for (int j = 0; j < n_streams; j++) weight[j] = vf_widen(w[j], dtype, (size_t)c);
    for (int r = 0; r < n_rows; r++) {
        float *to = sums + r * stride + c;
        vf sum = add ? vf_load(to) : vf_splat(0);
        for (int j = 0; j < n_streams; j++) sum = vf_multiply_add(inputs[r][j], weight[j], sum);
        vf_store(to, sum);
    }
}

// sums[r][c] (+)= sum over j < n_streams of x[r][j * far] * W[k + j * far][c] for n_rows rows of x, whose column k is
// given, and columns first .. last - 1. add: else the sums begin here.
INLINE void step(const struct product *p, enum dtype dtype, int n_rows, int n_streams, int k, int far, const float *x,
                 float *sums, int64_t stride, int first, int last, bool add) {
    const int line = dtype == DTYPE_F32 ? 16 : 32; // weights in a cache line
    const void *w[STREAMS];
    vf inputs[GROUP][STREAMS];
    for (int j = 0; j < n_streams; j++) w[j] = weight_row(p, k + j * far);
    for (int r = 0; r < n_rows; r++) {
        for (int j = 0; j < n_streams; j++) inputs[r][j] = vf_splat(x[(int64_t)r * p->n_in + (int64_t)j * far]);
    }
    int c = first;
    for (; c + line <= last; c += line) {
        for (int j = 0; j < n_streams; j++) fetch(w[j], weight_bytes(dtype, c) + AHEAD);
        for (int v = 0; v < line; v += LANES) {
            step_vector(w, dtype, n_rows, n_streams, inputs, sums, stride, c + v, add);
        }
    }
    for (; c + LANES <= last; c += LANES) step_vector(w, dtype, n_rows, n_streams, inputs, sums, stride, c, add);
    for (; c < last; c++) {
        for (int r = 0; r < n_rows; r++) {
            float sum = add ? sums[r * stride + c] : 0;
            for (int j = 0; j < n_streams; j++) {
                sum += x[(int64_t)r * p->n_in + (int64_t)j * far] * f_widen(w[j], dtype, (size_t)c);
            }
            sums[r * stride + c] = sum;
        }
    }
}

// As kernels->product_part, for n_rows rows of x.
INLINE void part_streams(const struct product *p, enum dtype dtype, int n_rows, int n_streams, int begin, int end,
                         const float *x, float *sums, int64_t stride, int first, int last) {
    const int far = (end - begin) / n_streams;
    for (int k = begin; k < begin + far; k++) {
        step(p, dtype, n_rows, n_streams, k, far, x + k, sums, stride, first, last, k > begin);
    }
    for (int k = begin + far * n_streams; k < end; k++) {
        step(p, dtype, n_rows, 1, k, 0, x + k, sums, stride, first, last, k > begin);
    }
}

INLINE void part_rows(const struct product *p, enum dtype dtype, int n_rows, int n_streams, int begin, int end,
                      const float *x, float *sums, int64_t stride, int first, int last) {
    if (n_streams == STREAMS || LANES < 16) { // who wants fewer has 16 lanes
        part_streams(p, dtype, n_rows, STREAMS, begin, end, x, sums, stride, first, last);
    } else {
        part_streams(p, dtype, n_rows, STREAMS / 2, begin, end, x, sums, stride, first, last);
    }
}

INLINE void part_as(const struct product *p, enum dtype dtype, int n_streams, int begin, int end, float *sums,
                    int64_t stride, int first, int last) {
    for (int row = 0; row < p->n; row += GROUP) {
        const float *x = p->x + (int64_t)row * p->n_in;
        float *to = sums + row * stride;
        switch (p->n - row) {
        case 1:
            part_rows(p, dtype, 1, n_streams, begin, end, x, to, stride, first, last);
            break;
        case 2:
            part_rows(p, dtype, 2, n_streams, begin, end, x, to, stride, first, last);
            break;
        case 3:
            part_rows(p, dtype, 3, n_streams, begin, end, x, to, stride, first, last);
            break;
        case 4:
            part_rows(p, dtype, 4, n_streams, begin, end, x, to, stride, first, last);
            break;
        case 5:
            part_rows(p, dtype, 5, n_streams, begin, end, x, to, stride, first, last);
            break;
        case 6:
            part_rows(p, dtype, 6, n_streams, begin, end, x, to, stride, first, last);
            break;
        case 7:
            part_rows(p, dtype, 7, n_streams, begin, end, x, to, stride, first, last);
            break;
        default:
            part_rows(p, dtype, GROUP, n_streams, begin, end, x, to, stride, first, last);
        }
    }
}

static void product_part(const struct product *p, int n_streams, int begin, int end, float *sums, int64_t stride,
                         int first, int last) {
    switch (p->dtype) {
    case DTYPE_F16:
        part_as(p, DTYPE_F16, n_streams, begin, end, sums, stride, first, last);
        break;
    case DTYPE_BF16:
        part_as(p, DTYPE_BF16, n_streams, begin, end, sums, stride, first, last);
        break;
    default:
        part_as(p, DTYPE_F32, n_streams, begin, end, sums, stride, first, last);
    }
}

// One vector of k for every pair of dots().
INLINE void dots_step(vf sum[DOT_INPUTS][DOT_WEIGHTS], const void *const *w, enum dtype dtype, int n_weights, int n_x,
                      const float *x, int64_t x_stride, int k) {
    vf inputs[DOT_INPUTS];
    for (int r = 0; r < n_x; r++) inputs[r] = vf_load(x + r * x_stride + k);
    for (int i = 0; i < n_weights; i++) {
        const vf weight = vf_widen(w[i], dtype, (size_t)k);
        for (int r = 0; r < n_x; r++) sum[r][i] = vf_multiply_add(inputs[r], weight, sum[r][i]);
    }
}

// What a call of dots() fetches: of each weight row every `every`th line, from line `which` on, `ahead` bytes further.
struct dots_fetch {
    int which, every;
    size_t ahead;
};

// sums[r][i * apart] = x[r] . W[c + i * apart] for n_weights columns and n_x rows of x.
INLINE void dots(const struct product *p, enum dtype dtype, int n_weights, int n_x, const float *x, float *sums, int c,
                 int apart, struct dots_fetch fetching) {
    const int line = dtype == DTYPE_F32 ? 16 : 32;
    const void *w[DOT_WEIGHTS];
    for (int i = 0; i < n_weights; i++) w[i] = weight_row(p, c + i * apart);
    vf sum[DOT_INPUTS][DOT_WEIGHTS] = {{{0}}};
    int k = 0;
    int wait = fetching.which;
    for (; k + line <= p->n_in; k += line) {
        if (wait-- == 0) {
            for (int i = 0; i < n_weights; i++) fetch(w[i], weight_bytes(dtype, k) + fetching.ahead);
            wait = fetching.every - 1;
        }
        for (int v = 0; v < line; v += LANES) dots_step(sum, w, dtype, n_weights, n_x, x, p->n_in, k + v);
    }
    for (; k + LANES <= p->n_in; k += LANES) dots_step(sum, w, dtype, n_weights, n_x, x, p->n_in, k);
    if (k < p->n_in) {
        const int rest = p->n_in - k;
        for (int i = 0; i < n_weights; i++) {
            const vf weight = vf_widen_part(w[i], dtype, (size_t)k, rest);
            for (int r = 0; r < n_x; r++) {
                sum[r][i] = vf_multiply_add(vf_load_part(x + (int64_t)r * p->n_in + k, rest), weight, sum[r][i]);
            }
        }
    }
    for (int r = 0; r < n_x; r++) {
        float four[4];
        if (n_weights == 4) vf_sum_four(four, sum[r]);
        for (int i = 0; i < n_weights; i++) {
            sums[(int64_t)r * DOT_SUMS + (int64_t)i * apart] = n_weights == 4 ? four[i] : vf_sum(sum[r][i]);
        }
    }
}

// n columns from c on, and as many from each of c + apart, ..., for all rows of x. The first rows of x read the weights
// from memory, the others find them in cache; each fetches its share of the next block.
INLINE void dots_block(const struct product *p, enum dtype dtype, int n_weights, int n_rows, float *sums, int c, int n,
                       int apart) {
    const int n_groups = (n_rows + DOT_INPUTS - 1) / DOT_INPUTS;
    const size_t next = weight_bytes(dtype, n * p->weight_stride);
    for (int row = 0; row < n_rows; row += DOT_INPUTS) {
        const struct dots_fetch fetching = {row / DOT_INPUTS, n_groups, n_groups == 1 ? AHEAD : next};
        const float *x = p->x + (int64_t)row * p->n_in;
        float *to = sums + (int64_t)row * DOT_SUMS;
        const int n_x = n_rows - row;
        for (int i = 0; i < n; i++) {
            if (n_x >= DOT_INPUTS) {
                dots(p, dtype, n_weights, DOT_INPUTS, x, to + i, c + i, apart, fetching);
            } else if (n_x == 3) {
                dots(p, dtype, n_weights, 3, x, to + i, c + i, apart, fetching);
            } else if (n_x == 2) {
                dots(p, dtype, n_weights, 2, x, to + i, c + i, apart, fetching);
            } else {
                dots(p, dtype, n_weights, 1, x, to + i, c + i, apart, fetching);
            }
        }
    }
}

// Columns first .. last - 1 in tiles of whose sums there is room; in each, DOT_WEIGHTS streams. one: p->n is 1, known
// when this is compiled.
INLINE void columns_as(const struct product *p, enum dtype dtype, bool one, int first, int last) {
    const int n_rows = one ? 1 : p->n;
    _Alignas(64) float sums[DOT_SUMS * PRODUCT_ROWS];
    for (int begin = first; begin < last; begin += DOT_SUMS) {
        const int end = last - begin < DOT_SUMS ? last : begin + DOT_SUMS;
        const int apart = (end - begin) / DOT_WEIGHTS;
        for (int c = 0; c < apart; c += DOT_BLOCK) {
            const int n = apart - c < DOT_BLOCK ? apart - c : DOT_BLOCK;
            dots_block(p, dtype, DOT_WEIGHTS, n_rows, sums + c, begin + c, n, apart);
        }
        const int c = DOT_WEIGHTS * apart;
        if (begin + c < end) dots_block(p, dtype, 1, n_rows, sums + c, begin + c, end - begin - c, 0);
        for (int row = 0; row < n_rows; row++) product_finish(p, row, sums + (int64_t)row * DOT_SUMS, begin, end);
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

static void product_transposed(const struct product *p, int first, int last) {
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
