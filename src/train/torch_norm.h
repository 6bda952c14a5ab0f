// torch_norm.h: the norm of a model's gradients, to the bit as PyTorch computes it on a CPU for the book's GPTModel.
//
// torch.nn.utils.clip_grad_norm_ takes the norm of each tensor, in the order of the model's parameters, and the norm of
// these norms. The squares of a tensor are added up in F32, element i in sum i mod 8, which loses what is small beside
// a sum that has grown large: the norm of 38.6 million normal numbers, as many as an output head has, comes out 0.27 %
// too small. A run that is to print PyTorch's losses, and clips, has to err as PyTorch does. Source: of PyTorch 2.15,
// torch/nn/utils/clip_grad.py and norm_kernel in aten/src/ATen/native/cpu/ReduceOpsKernel.cpp.
#ifndef TRAIN_TORCH_NORM_H
#define TRAIN_TORCH_NORM_H

#include "train/optimizer.h"

struct torch_norm;

// NULL: no memory. free() gives it back. The config is borrowed.
struct torch_norm *torch_norm_new(const struct config *config, struct llm_error *err);

// Tensors of the block lie as GPTModel has them: nn.Linear is [out, in], query, key and value are three. After them
// come the optimizer's other tensors, as they lie. NaN or infinite if a gradient is, or its square is beyond F32.
float torch_norm(struct torch_norm *norm, const struct optimizer *optimizer);

#endif
