// optimizer.h: AdamW over a list of tensors: weight, gradient and the two moments of each.
//
// The list is what is trained: the instances of a block of parameters, and whatever a task adds of its own (a
// classifier's head). A checkpoint walks over the same list.
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "model/pass.h"

struct train_tensor {
    float *weight, *gradient, *m, *v; // [n] operations' memory
    int64_t n;
    bool decay; // weight decay applies to it
};

struct torch_norm;

struct optimizer {
    struct ops *ops;
    struct train_tensor *tensors; // [n_tensors]
    int n_tensors, capacity;
    int n_of_block; // the first ones
    double beta1, beta2, epsilon, weight_decay, clip;
    bool decay_all;
    struct torch_norm *torch_norm; // how the norm is computed; NULL: in double
    // Gradients and moments of the block, which the optimizer owns.
    struct param_block gradients, m, v;
};

// Takes memory for the gradients and moments of the parameters that `trainable` names; `weights` holds all of the
// model's.
bool optimizer_init(struct optimizer *optimizer, const struct llm_engine *engine, const struct trainable *trainable,
                    const struct param_block *weights, const struct llm_train_options *options, struct llm_error *err);
void optimizer_release(struct optimizer *optimizer);

// Adds a tensor whose memory the caller keeps.
bool optimizer_add(struct optimizer *optimizer, const struct train_tensor *tensor, struct llm_error *err);

// Elements of all tensors.
int64_t optimizer_size(const struct optimizer *optimizer);

// The norm of all gradients as one vector, or what PyTorch takes for it (torch_norm.h). NaN or infinite if any of them
// is.
double optimizer_norm(const struct optimizer *optimizer);

// What gradients of this norm are multiplied by, as torch.nn.utils.clip_grad_norm_ does: max_norm / (norm + 1e-6), at
// most 1, in the F32 arithmetic of its tensors. max_norm 0: always 1.
float clip_coefficient(double max_norm, double norm);

// Updates every weight and zeroes the gradients. step: 1 for the first. scale: of the gradients.
void optimizer_step(const struct optimizer *optimizer, int64_t step, double lr, float scale);

// Zeroes the moments, and the gradients.
void optimizer_clear(const struct optimizer *optimizer);

#endif
