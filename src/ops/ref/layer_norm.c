// layer_norm.c: layer normalisation (Ba, Kiros, Hinton 2016, equation 4), with the biased variance, as
// PyTorch and TensorFlow compute it:
//
//     mean = 1/N sum_j x_j        variance = 1/N sum_j (x_j - mean)^2
//     out_j = (x_j - mean) / sqrt(variance + epsilon) * weight_j + bias_j
#include <math.h>

#include "ops/ref/ref.h"

void ref_layer_norm(struct ops *ops, float *out, const float *x, const float *weight, const float *bias, float epsilon,
                    int n, int n_embd) {
    (void)ops;
    for (int i = 0; i < n; i++) {
        const float *row = x + (size_t)i * (size_t)n_embd;
        float *out_row = out + (size_t)i * (size_t)n_embd;

        double mean = 0;
        for (int j = 0; j < n_embd; j++) mean += row[j];
        mean /= n_embd;

        double variance = 0;
        for (int j = 0; j < n_embd; j++) variance += (row[j] - mean) * (row[j] - mean);
        variance /= n_embd;

        const double scale = 1 / sqrt(variance + epsilon);
        for (int j = 0; j < n_embd; j++) out_row[j] = (float)((row[j] - mean) * scale * weight[j] + bias[j]);
    }
}
