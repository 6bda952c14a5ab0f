// kernels.h: what a level's compilation of the kernels offers.
//
// A kernel works on one thread and knows nothing of others: it computes the part of an operation it is
// told to, and computes it the same way whatever the other parts are. The drivers (linear.c,
// attention.c, ...) cut an operation into parts and own threads and memory.
//
// kernels_<level>.c is the compilation: it includes every *_tmpl.c and is compiled with that level's flags.
#ifndef OPS_CPU_KERNELS_H
#define OPS_CPU_KERNELS_H

#include "ops/ops.h"

// out = activation(x W + bias) + residual, with W a matrix or some columns of one.
struct product {
    const float *x; // [n, n_in]
    int n, n_in, n_out;
    const void *weight;
    enum dtype dtype;
    bool transposed;       // as in struct linear
    int64_t weight_stride; // elements from one stored row to the next
    const float *bias;     // [n_out] or NULL
    const float *residual; // [n] rows, out_stride apart, or NULL; may be out
    enum activation activation;
    float *out; // [n] rows, out_stride apart
    int64_t out_stride;
};

enum {
    // Most rows that kernels->product_transposed and product_part take.
    PRODUCT_ROWS = 16,
    // Most rows of a weight that product_part reads side by side.
    PRODUCT_STREAMS = 8,
    // Columns are shared out in multiples of this: whole vectors and cache lines.
    PRODUCT_COLUMNS = 16,
    // Queries that kernels->attend takes at once, and keys in a block.
    ATTEND_QUERIES = 64,
    ATTEND_KEYS = 64,
    // kernels->read: a whole number of lines in each of 8 streams.
    READ_FLOATS = 1024,
};

// Rows of x rounded to blocks of 32 numbers of 16 bits, as weights in blocks are multiplied with.
struct block_rows {
    int16_t *q;      // [n, n_in]
    float *scale;    // [n, n_in / 32] x is q * scale
    int32_t *offset; // [n, n_in / 32] -8 times the block's sum of q
};

struct block_kernels {
    void (*round)(const struct block_rows *to, const float *x, int n, int n_in);
    // Columns first .. last - 1 of a product with a transposed weight in blocks, whose rows of x are given rounded:
    // sums[row * stride + c - first], before bias, activation and residual, reading each weight once.
    void (*product)(const struct product *product, const struct block_rows *x, float *sums, int64_t stride, int first,
                    int last);
};

struct adamw_factors; // ops/ref/ref.h

struct kernels {
    // Columns first .. last - 1 of a product with at most PRODUCT_ROWS rows and a transposed weight, reading each
    // weight once.
    void (*product_transposed)(const struct product *product, int first, int last);
    // The other products' sums over begin <= k < end alone, in columns first .. last - 1:
    // sums[row * stride + c] = sum over k of x[row][k] W[k][c], reading each weight once, PRODUCT_STREAMS rows or half
    // as many side by side at level avx512. begin < end.
    void (*product_part)(const struct product *product, int n_streams, int begin, int end, float *sums, int64_t stride,
                         int first, int last);

    struct block_kernels blocks;

    // Columns first .. last - 1 of one row: out = activation(sum + bias) + residual. sum [last - first] may
    // be where out will be.
    void (*finish)(const struct product *product, int row, const float *sum, int first, int last);

    // to[i] = from[i], widened from its dtype.
    void (*widen)(float *to, const void *from, enum dtype dtype, int64_t n);

    // One row of ops->embed and of ops->layer_norm.
    void (*embed)(float *out, const void *token, enum dtype token_dtype, const void *position,
                  enum dtype position_dtype, int n_embd);
    void (*layer_norm)(float *out, const float *x, const float *weight, const float *bias, float epsilon, int n_embd);

    // Queries first .. first + n - 1 of one head of one sequence, n <= ATTEND_QUERIES.
    void (*attend)(const struct attention *attention, const struct attention_sequence *sequence, int head, int first,
                   int n);

    // The gradients of one head of n entries that share their keys.
    void (*attend_backward)(const struct attention *attention, const struct attention_sequence *sequences,
                            const struct attention_gradient *gradients, int n, int head);

    // Takes n more logits into a running log-sum-exp: the largest so far, and the sum of exp(logit - largest).
    // A row starts with largest = -INFINITY, sum = 0.
    void (*log_sum_exp)(float *largest, float *sum, const float *logits, int n);

    // sums[c] += the sum over n rows of x, `stride` apart, for `width` columns.
    void (*add_rows)(float *sums, const float *x, int64_t stride, int n, int width);

    // row[i] = exp(row[i] - largest of the row), and their sum; returns the largest. A NaN makes the sum NaN.
    float (*exponentials)(float *row, int n, float *sum);

    // to[i] = from[i] * factor; to may be from.
    void (*scale)(float *to, const float *from, float factor, int n);
    // One row of ops->layer_norm_backward; dx may be NULL, dweight and dbias add.
    void (*layer_norm_backward)(float *dx, float *dweight, float *dbias, const float *dout, const float *x,
                                const float *weight, float epsilon, int n_embd);

    // Elements of the operations of these names.
    void (*activate)(float *out, const float *x, enum activation activation, int64_t n);
    void (*activation_backward)(float *dx, const float *dout, const float *x, enum activation activation, int64_t n);
    void (*dropout)(float *out, const float *x, const uint8_t *keep, float scale, const float *residual, int64_t n);
    void (*adamw)(float *weight, float *m, float *v, float *gradient, const struct adamw_factors *factors, int64_t n);
    double (*sum_of_squares)(const float *x, int64_t n);

    // For measuring the machine. Reads numbers [n], n a multiple of READ_FLOATS, as so many sequential streams side by
    // side (1, 2, 4 or 8); the result depends on all of them.
    float (*read)(const float *from, size_t n, int n_streams);
    // `rounds` rounds of MULTIPLY_ADDS multiply-adds a lane that do not wait for each other; returns their number.
    // *sum receives what depends on all of them.
    int64_t (*multiply_add)(int64_t rounds, float factor, float *sum);
};

extern const struct kernels kernels_baseline;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;
extern const struct block_kernels block_kernels_vnni; // for level avx512, where the CPU has VNNI
#endif

#endif
