// head_loss.c: cross-entropy of the language-model head without storing its logits.
//
//     loss = log sum_v exp(l_v) - l_target,    l_v = x . W_v
//
// The log-sum-exp runs along with the logits: whenever a larger one appears, the sum so far is scaled
// down to it (Milakov, Gimelshein 2018, "Online normalizer calculation for softmax").
#include <math.h>

#include "ops/ref/ref.h"

static double logit(const float *x, const struct matrix *weight, int v) {
    double sum = 0;
    for (int k = 0; k < weight->cols; k++) sum += (double)x[k] * matrix_at(weight, v, k);
    return sum;
}

bool ref_head_loss(struct ops *ops, float *loss, const float *x, const struct matrix *weight, const int32_t *targets,
                   int n, struct llm_error *err) {
    (void)ops;
    (void)err;
    for (int i = 0; i < n; i++) {
        const float *row = x + (size_t)i * (size_t)weight->cols;
        double max = logit(row, weight, 0);
        double sum = 1;
        for (int v = 1; v < weight->rows; v++) {
            const double l = logit(row, weight, v);
            if (l > max) {
                sum = sum * exp(max - l) + 1;
                max = l;
            } else {
                sum += exp(l - max);
            }
        }
        loss[i] = (float)(max + log(sum) - logit(row, weight, targets[i]));
    }
    return true;
}
