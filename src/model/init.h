// init.h: the weights that training begins with, from the generator that PyTorch has (base/random.h).
#ifndef MODEL_INIT_H
#define MODEL_INIT_H

#include "base/random.h"
#include "model/param_block.h"

// As GPT-2 began (Radford et al. 2019, section 2.3), and as transformers' GPT2LMHeadModel does: matrices normal with
// deviation 0.02, projections into the residual stream with 0.02 / sqrt(2 * n_layer), biases 0, norms 1. Drawn in the
// order of the parameter table, all layers of one parameter before the next: each one tensor.normal_() of PyTorch.
// weights: of all parameters.
void init_gpt2(const struct config *config, struct param_block *weights, struct random *random);

// Bit for bit what the book's GPTModel (Raschka 2024, chapter 4; llms-from-scratch on PyPI) draws when it is made:
// nn.Embedding normal (0, 1), nn.Linear Kaiming-uniform, in the order in which the modules are made. Its matrices are
// [n_out, n_in], and query, key and value are apart: here they are transposed and joined. Fails when out of memory.
bool init_book(const struct config *config, struct param_block *weights, struct random *random, struct llm_error *err);

#endif
