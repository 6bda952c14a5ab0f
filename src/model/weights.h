// weights.h: from tensors in a file to weights as the operations want them.
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "model/dialect.h"
#include "model/param_block.h"

// Points every weight into the container's mapping where dtype and alignment allow; what they do not
// (half-precision vectors, misaligned tensors) is converted or copied into one block. The weights are
// handed to `ops` with put(). Container and ops must outlive the weights.
bool weights_init(struct weights *weights, const struct tensor_map *map, const struct config *config, struct ops *ops,
                  struct llm_error *err);
// Points every weight into a block of all parameters, which must outlive the weights.
bool weights_from_block(struct weights *weights, const struct param_block *block, const struct config *config,
                        struct llm_error *err);
// Makes weights->tensors, with the shapes that config and weights->transposed give; no data yet.
bool weights_shape(struct weights *weights, const struct config *config, struct llm_error *err);
void weights_release(struct weights *weights, const struct config *config, struct ops *ops);

#endif
