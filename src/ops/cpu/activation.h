// activation.h: the activations and their derivatives on vectors. Equations in ops/ref/activation.c.
#ifndef OPS_CPU_ACTIVATION_H
#define OPS_CPU_ACTIVATION_H

#include "ops/cpu/vector.h"
#include "ops/ops.h"

// 0.5 x (1 + tanh(u)) with u = sqrt(2/pi) (x + 0.044715 x^3), which is x / (1 + exp(-2 u)): no
// cancellation at either end.
INLINE vf vf_gelu_tanh(vf x) {
    const vf minus_2u = x * (vf_splat(-1.5957691216f) + (x * x) * vf_splat(-0.0713548163f));
    return x / (vf_splat(1.0f) + vf_exp(minus_2u));
}

// With s = 1 / (1 + exp(-2 u)): s + x s (1 - s) 2 u'. s (1 - s) is the same for -u, so that only exp(-|2 u|), at most
// 1, is computed. Beyond 20 it is 0, and x^3 might not be finite.
INLINE vf vf_gelu_tanh_derivative(vf x) {
    const vf near = vf_min(vf_splat(20.0f), vf_max(vf_splat(-20.0f), x)); // NaN stays: it is the second
    const vf square = near * near;
    const vf two_u = near * (vf_splat(1.5957691216f) + square * vf_splat(0.0713548163f));
    const vf e = vf_exp(-vf_max(-two_u, two_u));
    const vf larger = vf_splat(1.0f) / (vf_splat(1.0f) + e);
    const vf smaller = e * larger;
    const vf slope = near * (vf_splat(1.5957691216f) + square * vf_splat(0.2140644489f));
    return vf_select(near > vf_splat(0), larger, smaller) + larger * smaller * slope;
}

// Phi(x) = erfc(-x / sqrt(2)) / 2, erfc(z) = exp(-z^2) t P(t) with t = 1 / (1 + 0.4 z) for z >= 0; P fitted at the
// Chebyshev nodes for z up to 10 (relative error 1.5e-8). *z is |x| / sqrt(2), at most 10, *density exp(-z^2).
INLINE vf vf_phi(vf x, vf *z, vf *density) {
    static const float fit[] = {-0.0325844748f, 0.213839306f, -0.53497239f, 0.59413845f,  -0.321848223f,
                                0.291403411f,   0.123280951f, 0.21622612f,  0.224802674f, 0.225714179f};
    const vf scaled = x * vf_splat(0.70710678f);
    *z = vf_min(vf_splat(10.0f), vf_max(-scaled, scaled));
    *density = vf_exp(-(*z * *z));
    const vf t = vf_splat(1.0f) / (vf_splat(1.0f) + vf_splat(0.4f) * *z);
    vf p = vf_splat(fit[0]);
    for (size_t i = 1; i < sizeof fit / sizeof *fit; i++) p = p * t + vf_splat(fit[i]);
    const vf tail = vf_splat(0.5f) * (p * t) * *density; // Phi(-|x|)
    return vf_select(x > vf_splat(0), vf_splat(1.0f) - tail, tail);
}

INLINE vf vf_gelu_erf(vf x) {
    vf z;
    vf density;
    return x * vf_phi(x, &z, &density);
}

// Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi), and x / sqrt(2 pi) is z / sqrt(pi).
INLINE vf vf_gelu_erf_derivative(vf x) {
    vf z;
    vf density;
    const vf phi = vf_phi(x, &z, &density);
    return phi + vf_select(x > vf_splat(0), z, -z) * density * vf_splat(0.56418958f);
}

INLINE vf vf_activation(vf x, enum activation activation) {
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

INLINE vf vf_activation_derivative(vf x, enum activation activation) {
    switch (activation) {
    case ACTIVATION_GELU_TANH:
        return vf_gelu_tanh_derivative(x);
    case ACTIVATION_GELU_ERF:
        return vf_gelu_erf_derivative(x);
    case ACTIVATION_RELU:
        return vf_select(x <= vf_splat(0), vf_splat(0), vf_splat(1.0f));
    case ACTIVATION_NONE:
        break;
    }
    return vf_splat(1.0f);
}

#endif
