// train_support.h: an optimizer of two small tensors, for the tests of src/train.
#ifndef UNIT_TRAIN_SUPPORT_H
#define UNIT_TRAIN_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "train/optimizer.h"

enum {
    SMALL_MATRIX = 12,
    SMALL_VECTOR = 5,
    SMALL_PARTS = 4 // weight, gradient, m, v
};

struct small_optimizer {
    struct optimizer optimizer;
    float numbers[SMALL_PARTS][SMALL_MATRIX + SMALL_VECTOR]; // the matrix, then the vector
};

static inline void small_optimizer_init(struct small_optimizer *small) {
    memset(small, 0, sizeof *small);
    struct llm_error err = {0};
    struct optimizer *optimizer = &small->optimizer;
    optimizer->ops = ops_new(OPS_REF, 1, &err);
    assert_non_null(optimizer->ops);
    optimizer->beta1 = 0.9;
    optimizer->beta2 = 0.999;
    optimizer->epsilon = 1e-8;
    optimizer->weight_decay = 0.1;
    float(*numbers)[SMALL_MATRIX + SMALL_VECTOR] = small->numbers;
    const struct train_tensor matrix = {numbers[0], numbers[1], numbers[2], numbers[3], SMALL_MATRIX, true};
    const struct train_tensor vector = {numbers[0] + SMALL_MATRIX,
                                        numbers[1] + SMALL_MATRIX,
                                        numbers[2] + SMALL_MATRIX,
                                        numbers[3] + SMALL_MATRIX,
                                        SMALL_VECTOR,
                                        false};
    assert_true(optimizer_add(optimizer, &matrix, &err) && optimizer_add(optimizer, &vector, &err));
}

static inline void small_optimizer_release(struct small_optimizer *small) {
    struct ops *ops = small->optimizer.ops;
    optimizer_release(&small->optimizer);
    ops_free(ops);
}

#endif
