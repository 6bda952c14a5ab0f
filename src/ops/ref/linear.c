// linear.c: y = activation(x W + bias) + residual.
//
// GELU is x Phi(x) (Hendrycks, Gimpel 2016). GPT-2 uses that paper's tanh form
// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), "gelu_new" in config.json; "gelu" is the exact one
// with Phi(x) = (1 + erf(x / sqrt(2))) / 2.
#include <math.h>

#include "ops/ref/ref.h"

double ref_activation(enum activation activation, double x) {
    const double sqrt_2_over_pi = 0.79788456080286535588;
    const double sqrt_half = 0.70710678118654752440;
    switch (activation) {
    case ACTIVATION_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt_2_over_pi * (x + 0.044715 * x * x * x)));
    case ACTIVATION_GELU_ERF:
        return 0.5 * x * (1 + erf(x * sqrt_half));
    case ACTIVATION_RELU:
        return x < 0 ? 0 : x; // a NaN stays one
    case ACTIVATION_NONE:
        break;
    }
    return x;
}

// Columns that one pass over the weights sums up: enough to read whole cache lines of [n_in, n_out].
enum {
    TILE = 16
};

// sum[c] = x . column (first + c) of W
static void linear_tile(double sum[TILE], const float *x, const struct linear *linear, int n_in, int first,
                        int n_columns) {
    for (int c = 0; c < n_columns; c++) sum[c] = 0;
    for (int k = 0; k < n_in; k++) {
        for (int c = 0; c < n_columns; c++) {
            const struct matrix *weight = &linear->weight;
            const float w = linear->transposed ? matrix_at(weight, first + c, k) : matrix_at(weight, k, first + c);
            sum[c] += (double)x[k] * w;
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
