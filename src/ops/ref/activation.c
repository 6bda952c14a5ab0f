// activation.c: what follows c_fc, alone, and its derivative.
//
// GELU is x Phi(x) (Hendrycks, Gimpel 2016). GPT-2 uses that paper's tanh form
// 0.5 x (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3), "gelu_new" in config.json; "gelu" is the exact one
// with Phi(x) = (1 + erf(x / sqrt(2))) / 2. Their derivatives:
//
//     0.5 (1 + tanh(u)) + 0.5 x (1 - tanh(u)^2) sqrt(2/pi) (1 + 3 * 0.044715 x^2)
//     Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi)
#include <math.h>

#include "ops/ref/ref.h"

static const double sqrt_2_over_pi = 0.79788456080286535588;
static const double sqrt_half = 0.70710678118654752440;
static const double one_over_sqrt_2pi = 0.39894228040143267794;

double ref_activation(enum activation activation, double x) {
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

double ref_activation_derivative(enum activation activation, double x) {
    switch (activation) {
    case ACTIVATION_GELU_TANH: {
        const double t = tanh(sqrt_2_over_pi * (x + 0.044715 * x * x * x));
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * sqrt_2_over_pi * (1 + 3 * 0.044715 * x * x);
    }
    case ACTIVATION_GELU_ERF:
        return 0.5 * (1 + erf(x * sqrt_half)) + x * one_over_sqrt_2pi * exp(-0.5 * x * x);
    case ACTIVATION_RELU:
        return x <= 0 ? 0 : 1; // 0 at 0, as PyTorch
    case ACTIVATION_NONE:
        break;
    }
    return 1;
}

void ref_activate(struct ops *ops, float *out, const float *x, enum activation activation, int64_t n) {
    (void)ops;
    for (int64_t i = 0; i < n; i++) out[i] = (float)ref_activation(activation, x[i]);
}

void ref_activation_backward(struct ops *ops, float *dx, const float *dout, const float *x, enum activation activation,
                             int64_t n) {
    (void)ops;
    for (int64_t i = 0; i < n; i++) dx[i] = (float)(dout[i] * ref_activation_derivative(activation, x[i]));
}
