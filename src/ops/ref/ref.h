// ref.h: every operation of ops.h as plain loops.
//
// This is the reader's text, the oracle that each fast kernel is compared with, and the fallback on any
// machine. It calls nothing but libm. Sums run in double and are rounded once, at the end, so that a
// difference between a kernel and its twin here is the kernel's own rounding. Time is no concern.
//
// One file an operation, its backward beside it.
#ifndef OPS_REF_REF_H
#define OPS_REF_REF_H

#include "ops/ops.h"

void ref_embed(struct ops *ops, float *out, const struct matrix *wte, const struct matrix *wpe, const int32_t *ids,
               const int32_t *positions, int n);
void ref_layer_norm(struct ops *ops, float *out, const float *x, const float *weight, const float *bias, float epsilon,
                    int n, int n_embd);
bool ref_linear(struct ops *ops, float *out, const float *x, const struct linear *linear, const float *residual, int n,
                struct llm_error *err);
void ref_store_kv(struct ops *ops, float *key, float *value, const float *kv, int64_t row_stride, int n, int position,
                  int n_ctx, int n_head, int head_size);
void ref_attention(struct ops *ops, const struct attention *attention, const struct attention_sequence *sequences,
                   int n_sequences);
bool ref_head_loss(struct ops *ops, float *loss, const float *x, const struct matrix *weight, const int32_t *targets,
                   int n, struct llm_error *err);
bool ref_reserve(struct ops *ops, int n_rows, int n_wide, int64_t max_weight, struct llm_error *err);

void ref_embed_backward(struct ops *ops, float *dwte, float *dwpe, const float *dout, const int32_t *ids,
                        const int32_t *positions, int n, int n_embd);
void ref_layer_norm_backward(struct ops *ops, float *dx, float *dweight, float *dbias, const float *dout,
                             const float *x, const float *weight, float epsilon, int n, int n_embd);
void ref_activate(struct ops *ops, float *out, const float *x, enum activation activation, int64_t n);
void ref_activation_backward(struct ops *ops, float *dx, const float *dout, const float *x, enum activation activation,
                             int64_t n);
void ref_dropout(struct ops *ops, float *out, const float *x, const uint8_t *keep, float scale, const float *residual,
                 int64_t n);
bool ref_linear_backward(struct ops *ops, float *dx, float *dweight, float *dbias, const float *dout, const float *x,
                         const struct linear *linear, int n, struct llm_error *err);
void ref_attention_backward(struct ops *ops, const struct attention *attention,
                            const struct attention_sequence *sequences, const struct attention_gradient *gradients,
                            int n_sequences);
bool ref_head_loss_backward(struct ops *ops, float *loss, float *dx, float *dweight, const float *x,
                            const struct matrix *weight, const int32_t *targets, const float *scales, int n,
                            struct llm_error *err);
void ref_adamw(struct ops *ops, float *weight, float *m, float *v, float *gradient, const struct adamw *settings,
               int64_t n);
double ref_sum_of_squares(struct ops *ops, const float *x, int64_t n);

// What a step of AdamW takes that is the same for all elements: computed in double, then rounded.
struct adamw_factors {
    float grad_scale;
    float decay;        // 1 - lr * weight_decay
    float rate1;        // 1 - beta1
    float beta2, rate2; // and 1 - beta2
    float deviation;    // sqrt(1 - beta2^step)
    float epsilon;
    float step_size; // lr / (1 - beta1^step)
};
struct adamw_factors adamw_factors(const struct adamw *settings);

// activation(x), shared by linear here and by the tests, and its derivative.
double ref_activation(enum activation activation, double x);
double ref_activation_derivative(enum activation activation, double x);

// Number i of a matrix, widened.
static inline float matrix_value(const struct matrix *matrix, size_t i) {
    float block[32];
    switch (matrix->dtype) {
    case DTYPE_Q8_0:
    case DTYPE_Q4_0:
        dtype_to_f32(block, (const char *)matrix->data + dtype_bytes(matrix->dtype, i / 32 * 32), matrix->dtype, 32);
        return block[i % 32];
    case DTYPE_F16:
        return f16_to_f32(((const uint16_t *)matrix->data)[i]);
    case DTYPE_BF16:
        return bf16_to_f32(((const uint16_t *)matrix->data)[i]);
    default:
        return ((const float *)matrix->data)[i];
    }
}

// Element [row, col] of a weight matrix, widened.
static inline float matrix_at(const struct matrix *matrix, int row, int col) {
    return matrix_value(matrix, (size_t)row * (size_t)matrix->cols + (size_t)col);
}

#endif
