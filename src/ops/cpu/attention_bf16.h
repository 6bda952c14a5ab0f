// attention_bf16.h: attention and its gradient with the operands of products rounded to BF16, as large products are
// then (ops_use_bf16). Scores, softmax and all sums are F32.
//
// A weight of zero stands for what a query may not see: unlike in F32, a NaN in a later token's values reaches those
// before it in the same block.
#ifndef OPS_CPU_ATTENTION_BF16_H
#define OPS_CPU_ATTENTION_BF16_H

#include "ops/cpu/kernels.h"

// Whether heads of this size are taken; the others are computed in F32.
static inline bool attend_bf16_takes(const struct attention *attention) {
    return attention->head_size <= 64 && attention->head_size % 16 == 0;
}

// As kernels->attend and kernels->attend_backward; of CPUs that have AVX512_BF16.
void attend_bf16(const struct attention *attention, const struct attention_sequence *sequence, int head, int first,
                 int n);
void attend_backward_bf16(const struct attention *attention, const struct attention_sequence *sequences,
                          const struct attention_gradient *gradients, int n, int head);

#endif
