// ref.h: every operation of ops.h as plain loops.
//
// This is the reader's text, the oracle that each fast kernel is compared with, and the fallback on any
// machine. It calls nothing but libm. Sums run in double and are rounded once, at the end, so that a
// difference between a kernel and its twin here is the kernel's own rounding. Time is no concern.
//
// One file an operation; in training each forward function gets its backward beside it.
#ifndef OPS_REF_REF_H
#define OPS_REF_REF_H

#include "ops/ops.h"

void ref_embed(struct ops *ops, float *out, const struct matrix *wte, const struct matrix *wpe, const int32_t *ids,
               const int32_t *positions, int n);
void ref_layer_norm(struct ops *ops, float *out, const float *x, const float *weight, const float *bias, float epsilon,
                    int n, int n_embd);
bool ref_linear(struct ops *ops, float *out, const float *x, const struct linear *linear, const float *residual, int n,
                struct llm_error *err);
void ref_store_kv(struct ops *ops, float *key, float *value, const float *qkv, int n, int position, int n_ctx,
                  int n_head, int head_size);
void ref_attention(struct ops *ops, const struct attention *attention, const struct attention_sequence *sequences,
                   int n_sequences);
bool ref_head_loss(struct ops *ops, float *loss, const float *x, const struct matrix *weight, const int32_t *targets,
                   int n, struct llm_error *err);
bool ref_reserve(struct ops *ops, int n_rows, int n_wide, int64_t max_weight, struct llm_error *err);

// activation(x), shared by linear here and by the tests.
double ref_activation(enum activation activation, double x);

// Element [row, col] of a weight matrix, widened.
static inline float matrix_at(const struct matrix *matrix, int row, int col) {
    const size_t i = (size_t)row * (size_t)matrix->cols + (size_t)col;
    switch (matrix->dtype) {
    case DTYPE_F16:
        return f16_to_f32(((const uint16_t *)matrix->data)[i]);
    case DTYPE_BF16:
        return bf16_to_f32(((const uint16_t *)matrix->data)[i]);
    default:
        return ((const float *)matrix->data)[i];
    }
}

#endif
