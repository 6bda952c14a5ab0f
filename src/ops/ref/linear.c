// linear.c: y = activation(x W + bias) + residual.
//
// Backward of y = x W + bias: dx = dy W^T, dW += x^T dy, dbias += the sum of dy's rows.
#include "ops/ref/ref.h"

// Columns that one pass over the weights sums up: enough to read whole cache lines of [n_in, n_out].
enum {
    TILE = 16
};

// Where element [row, col] of W is, in whichever layout it lies.
static size_t weight_at(const struct linear *linear, int row, int col) {
    const int64_t stride = linear_stride(linear);
    return (size_t)(linear->transposed ? col * stride + row : row * stride + col);
}

static float weight_value(const struct linear *linear, int row, int col) {
    return matrix_value(&linear->weight, weight_at(linear, row, col));
}

// sum[c] = x . column (first + c) of W
static void linear_tile(double sum[TILE], const float *x, const struct linear *linear, int n_in, int first,
                        int n_columns) {
    for (int c = 0; c < n_columns; c++) sum[c] = 0;
    for (int k = 0; k < n_in; k++) {
        for (int c = 0; c < n_columns; c++) {
            sum[c] += (double)x[k] * weight_value(linear, k, first + c);
        }
    }
}

bool ref_linear(struct ops *ops, float *out, const float *x, const struct linear *linear, const float *residual, int n,
                struct llm_error *err) {
    (void)ops;
    (void)err;
    const int n_in = linear->transposed ? linear->weight.cols : linear->weight.rows;
    const int n_out = linear->transposed ? linear->weight.rows : linear->weight.cols;
    for (int i = 0; i < n; i++) {
        for (int first = 0; first < n_out; first += TILE) {
            const int n_columns = n_out - first < TILE ? n_out - first : TILE;
            double sum[TILE];
            linear_tile(sum, x + (size_t)i * (size_t)n_in, linear, n_in, first, n_columns);
            for (int c = 0; c < n_columns; c++) {
                const size_t at = (size_t)i * (size_t)n_out + (size_t)(first + c);
                const double y = sum[c] + (linear->bias != NULL ? linear->bias[first + c] : 0);
                out[at] = (float)(ref_activation(linear->activation, y) + (residual != NULL ? residual[at] : 0));
            }
        }
    }
    return true;
}

static void x_backward(float *dx, const float *dout, const struct linear *linear, int n_in, int n_out) {
    for (int k = 0; k < n_in; k++) {
        double sum = 0;
        for (int o = 0; o < n_out; o++) {
            sum += (double)dout[o] * weight_value(linear, k, o);
        }
        dx[k] = (float)sum;
    }
}

// Row k of dW, and dbias with x NULL.
static void weight_backward(float *dweight, const struct linear *linear, const float *dout, const float *x, int n,
                            int n_in, int n_out, int k) {
    for (int first = 0; first < n_out; first += TILE) {
        const int n_columns = n_out - first < TILE ? n_out - first : TILE;
        double sum[TILE] = {0};
        for (int i = 0; i < n; i++) {
            const float *row = dout + (size_t)i * (size_t)n_out + (size_t)first;
            const double factor = x != NULL ? x[(size_t)i * (size_t)n_in + (size_t)k] : 1;
            for (int c = 0; c < n_columns; c++) sum[c] += factor * row[c];
        }
        for (int c = 0; c < n_columns; c++) {
            const size_t at = x != NULL ? weight_at(linear, k, first + c) : (size_t)(first + c);
            dweight[at] = (float)(dweight[at] + sum[c]);
        }
    }
}

bool ref_linear_backward(struct ops *ops, float *dx, float *dweight, float *dbias, const float *dout, const float *x,
                         const struct linear *linear, int n, struct llm_error *err) {
    (void)ops;
    (void)err;
    const int n_in = linear->transposed ? linear->weight.cols : linear->weight.rows;
    const int n_out = linear->transposed ? linear->weight.rows : linear->weight.cols;
    for (int i = 0; i < n && dx != NULL; i++) {
        x_backward(dx + (size_t)i * (size_t)n_in, dout + (size_t)i * (size_t)n_out, linear, n_in, n_out);
    }
    for (int k = 0; k < n_in && dweight != NULL; k++) weight_backward(dweight, linear, dout, x, n, n_in, n_out, k);
    if (dbias != NULL) weight_backward(dbias, linear, dout, NULL, n, n_in, n_out, 0);
    return true;
}
