// layer_norm.c: layer normalisation (Ba, Kiros, Hinton 2016, equation 4), with the biased variance, as
// PyTorch and TensorFlow compute it:
//
//     mean = 1/N sum_j x_j        variance = 1/N sum_j (x_j - mean)^2
//     out_j = (x_j - mean) / sqrt(variance + epsilon) * weight_j + bias_j
//
// Backward, with n_j the normalised x_j and g_j = dout_j weight_j: mean and variance depend on every x_j, which takes
// from g its mean and its part along n.
//
//     dx_j += (g_j - 1/N sum_k g_k - n_j 1/N sum_k g_k n_k) / sqrt(variance + epsilon)
//     dweight_j += sum over rows of dout_j n_j        dbias_j += sum over rows of dout_j
#include <math.h>

#include "ops/ref/ref.h"

// What a row is normalised with: (x - mean) * scale.
struct norm {
    double mean, scale;
};

static struct norm norm_of(const float *row, float epsilon, int n_embd) {
    double mean = 0;
    for (int j = 0; j < n_embd; j++) mean += row[j];
    mean /= n_embd;

    double variance = 0;
    for (int j = 0; j < n_embd; j++) variance += (row[j] - mean) * (row[j] - mean);
    variance /= n_embd;
    return (struct norm){mean, 1 / sqrt(variance + epsilon)};
}

void ref_layer_norm(struct ops *ops, float *out, const float *x, const float *weight, const float *bias, float epsilon,
                    int n, int n_embd) {
    (void)ops;
    for (int i = 0; i < n; i++) {
        const float *row = x + (size_t)i * (size_t)n_embd;
        float *out_row = out + (size_t)i * (size_t)n_embd;
        const struct norm norm = norm_of(row, epsilon, n_embd);
        for (int j = 0; j < n_embd; j++) {
            out_row[j] = (float)((row[j] - norm.mean) * norm.scale * weight[j] + bias[j]);
        }
    }
}

static void row_backward(float *dx, const float *dout, const float *x, const float *weight, float epsilon, int n_embd) {
    const struct norm norm = norm_of(x, epsilon, n_embd);
    double sum = 0;   // of g
    double along = 0; // of g n
    for (int j = 0; j < n_embd; j++) {
        const double g = (double)dout[j] * weight[j];
        sum += g;
        along += g * (x[j] - norm.mean) * norm.scale;
    }
    for (int j = 0; j < n_embd; j++) {
        const double g = (double)dout[j] * weight[j];
        const double normal = (x[j] - norm.mean) * norm.scale;
        dx[j] = (float)(dx[j] + (g - sum / n_embd - normal * along / n_embd) * norm.scale);
    }
}

// Columns that one pass over the rows sums up.
enum {
    TILE = 1024
};

// Columns first .. first + width - 1 of dweight and dbias.
static void parameters_backward(float *dweight, float *dbias, const float *dout, const float *x, float epsilon, int n,
                                int n_embd, int first, int width) {
    double weight_sum[TILE] = {0};
    double bias_sum[TILE] = {0};
    for (int i = 0; i < n; i++) {
        const float *row = x + (size_t)i * (size_t)n_embd;
        const float *dout_row = dout + (size_t)i * (size_t)n_embd;
        const struct norm norm = norm_of(row, epsilon, n_embd);
        for (int j = 0; j < width; j++) {
            weight_sum[j] += dout_row[first + j] * (row[first + j] - norm.mean) * norm.scale;
            bias_sum[j] += dout_row[first + j];
        }
    }
    for (int j = 0; j < width; j++) {
        if (dweight != NULL) dweight[first + j] = (float)(dweight[first + j] + weight_sum[j]);
        if (dbias != NULL) dbias[first + j] = (float)(dbias[first + j] + bias_sum[j]);
    }
}

void ref_layer_norm_backward(struct ops *ops, float *dx, float *dweight, float *dbias, const float *dout,
                             const float *x, const float *weight, float epsilon, int n, int n_embd) {
    (void)ops;
    for (int i = 0; i < n && dx != NULL; i++) {
        const size_t at = (size_t)i * (size_t)n_embd;
        row_backward(dx + at, dout + at, x + at, weight, epsilon, n_embd);
    }
    if (dweight == NULL && dbias == NULL) return;
    for (int first = 0; first < n_embd; first += TILE) {
        const int width = n_embd - first < TILE ? n_embd - first : TILE;
        parameters_backward(dweight, dbias, dout, x, epsilon, n, n_embd, first, width);
    }
}
