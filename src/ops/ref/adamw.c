// adamw.c: the optimizer's step (equations in ops.h), and the sum that clipping needs.
//
// Each line is one of the tensor operations of PyTorch's torch.optim.AdamW, and rounds to F32 where that one does, so
// that many steps later the weights are still the same. What does not depend on the element is in double there and
// here.
#include <math.h>

#include "ops/ref/ref.h"

struct adamw_factors adamw_factors(const struct adamw *settings) {
    const double correction1 = 1 - pow(settings->beta1, (double)settings->step);
    const double correction2 = 1 - pow(settings->beta2, (double)settings->step);
    return (struct adamw_factors){
        .grad_scale = settings->grad_scale,
        .decay = (float)(1 - settings->lr * settings->weight_decay),
        .rate1 = (float)(1 - settings->beta1),
        .beta2 = (float)settings->beta2,
        .rate2 = (float)(1 - settings->beta2),
        .deviation = (float)sqrt(correction2),
        .epsilon = (float)settings->epsilon,
        .step_size = (float)(settings->lr / correction1),
    };
}

void ref_adamw(struct ops *ops, float *weight, float *m, float *v, float *gradient, const struct adamw *settings,
               int64_t n) {
    (void)ops;
    const struct adamw_factors f = adamw_factors(settings);
    for (int64_t i = 0; i < n; i++) {
        const float g = gradient[i] * f.grad_scale;
        weight[i] = weight[i] * f.decay;
        m[i] = fmaf(f.rate1, g - m[i], m[i]);
        v[i] = fmaf(f.rate2 * g, g, v[i] * f.beta2);
        const float denominator = sqrtf(v[i]) / f.deviation + f.epsilon;
        weight[i] = weight[i] - f.step_size * m[i] / denominator;
        gradient[i] = 0;
    }
}

double ref_sum_of_squares(struct ops *ops, const float *x, int64_t n) {
    (void)ops;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sum;
}
