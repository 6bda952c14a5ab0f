// adamw.c: the optimizer's step (equations in ops.h), and the sum that clipping needs.
//
// Each line is one of the tensor operations of PyTorch's torch.optim.AdamW, and rounds to F32 where that one does, so
// that many steps later the weights are still the same. What does not depend on the element is in double there and
// here.
#include <math.h>

#include "ops/ref/ref.h"

void ref_adamw(struct ops *ops, float *weight, float *m, float *v, float *gradient, const struct adamw *settings,
               int64_t n) {
    (void)ops;
    const double correction1 = 1 - pow(settings->beta1, (double)settings->step);
    const double correction2 = 1 - pow(settings->beta2, (double)settings->step);
    const float decay = (float)(1 - settings->lr * settings->weight_decay);
    const float rate1 = (float)(1 - settings->beta1);
    const float rate2 = (float)(1 - settings->beta2);
    const float beta2 = (float)settings->beta2;
    const float deviation = (float)sqrt(correction2);
    const float epsilon = (float)settings->epsilon;
    const float step_size = (float)(settings->lr / correction1);
    for (int64_t i = 0; i < n; i++) {
        const float g = gradient[i] * settings->grad_scale;
        weight[i] = weight[i] * decay;
        m[i] = m[i] + rate1 * (g - m[i]);
        v[i] = v[i] * beta2 + rate2 * g * g;
        const float denominator = sqrtf(v[i]) / deviation + epsilon;
        weight[i] = weight[i] - step_size * m[i] / denominator;
        gradient[i] = 0;
    }
}

double ref_sum_of_squares(struct ops *ops, const float *x, int64_t n) {
    (void)ops;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sum;
}
