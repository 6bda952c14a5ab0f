// dropout.c: what is dropped becomes 0, the rest grows by 1 / (1 - p), so that the expectation stays (Srivastava et al.
// 2014; "inverted", as PyTorch has it). The caller draws the mask.
#include "ops/ref/ref.h"

void ref_dropout(struct ops *ops, float *out, const float *x, const uint8_t *keep, float scale, const float *residual,
                 int64_t n) {
    (void)ops;
    for (int64_t i = 0; i < n; i++) {
        const double kept = keep[i] != 0 ? (double)x[i] * scale : 0;
        out[i] = (float)(residual != NULL ? residual[i] + kept : kept);
    }
}
