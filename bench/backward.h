// backward.h: see backward.c.
#ifndef BENCH_BACKWARD_H
#define BENCH_BACKWARD_H

#include "ops/ops.h"

// Prints how fast linear, linear_backward, head_loss and head_loss_backward are, at the shapes of training.
// bf16: computed in BF16.
void bench_backward(struct ops *ops, bool bf16);

#endif
