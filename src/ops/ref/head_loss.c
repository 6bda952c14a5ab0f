// head_loss.c: cross-entropy of the language-model head without storing its logits.
//
//     loss = log sum_v exp(l_v) - l_target,    l_v = x . W_v
//
// The log-sum-exp runs along with the logits: whenever a larger one appears, the sum so far is scaled
// down to it (Milakov, Gimelshein 2018, "Online normalizer calculation for softmax").
#include <math.h>

#include "ops/ref/ref.h"

bool ref_head_loss(struct ops *ops, float *loss, const float *x, const struct matrix *weight, const int32_t *targets,
                   int n, struct llm_error *err) {
    (void)ops;
    (void)err;
    for (int i = 0; i < n; i++) {
        const float *row = x + (size_t)i * (size_t)weight->cols;
        double max = -INFINITY;
        double sum = 0;
        double wanted = 0;
        for (int v = 0; v < weight->rows; v++) {
            double logit = 0;
            for (int k = 0; k < weight->cols; k++) logit += (double)row[k] * matrix_at(weight, v, k);
            if (v == targets[i]) wanted = logit;
            if (logit > max) {
                sum = sum * exp(max - logit) + 1;
                max = logit;
            } else {
                sum += exp(logit - max);
            }
        }
        loss[i] = (float)(max + log(sum) - wanted);
    }
    return true;
}
