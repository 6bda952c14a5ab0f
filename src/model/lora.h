// lora.h: low-rank adapters (Hu et al. 2021): beside a frozen matrix W, A and B are trained,
//
//     y = x W' + bias        W' = W + scale A B        A [n_in, rank], B [rank, n_out], scale = alpha / rank
//
// The model's own weights are W', merged again after each step: forward, evaluation, samples and saving know nothing of
// adapters, and run as fast as without. Backward never makes the gradient of W', which would cost a third of a step:
//
//     u = scale x A        v = scale dy B^T        dB += u^T dy        dA += x^T v        dx = dy W'^T
//
// All four matrices of each trained layer have adapters, and a classifier's head; biases, norms and embeddings are as
// they were.
#ifndef MODEL_LORA_H
#define MODEL_LORA_H

#include "base/random.h"
#include "model/engine.h"

// The arrays that lie one behind another in lora->numbers, [size] each.
enum lora_part {
    LORA_WEIGHT,
    LORA_GRADIENT,
    LORA_M, // an optimizer's moments
    LORA_V,
    LORA_SCALED, // scale times the weights
    LORA_PARTS
};

struct adapter {
    enum param param;
    int layer;
    int n_in, n_out;
    bool transposed; // W is stored [n_out, n_in]; then A is [rank, n_in] and B [n_out, rank], as PyTorch's Linear
    int64_t a, b;    // where they begin in each part
    float *merged;   // W', in the model's weights
    float *base;     // W
};

struct lora {
    struct ops *ops;
    int rank;
    double alpha;
    struct adapter *adapters; // [n_adapters] from the lowest trained layer up, the head last
    int n_adapters;
    float *numbers;  // [LORA_PARTS, size] operations' memory
    int64_t size;    // what lies between two matrices stays zero
    float *bases;    // all W
    float *diagonal; // [rank, rank] scale on the diagonal
    float *u, *v;    // [max_rows, rank]
};

struct lora_options {
    int rank; // 1 at least
    double alpha;
    int first_layer; // the lowest layer with adapters
    bool head;       // a classifier's head has one
    int max_rows;    // of the x in lora_backward
    uint64_t seed;
};

// Bytes that lora_init would take, and in *n_params the numbers that are trained.
int64_t lora_bytes(const struct config *config, const struct lora_options *options, int64_t *n_params);
// Keeps a copy of what lies in `weights`, the engine's own, as W. A is drawn in the order of the layers as the book's
// LoRALayer draws it (appendix E of Raschka, "Build a Large Language Model From Scratch"): uniform within
// 1 / sqrt(rank); B is zero, so that W' is W.
bool lora_init(struct lora *lora, const struct llm_engine *engine, const struct param_block *weights,
               const struct lora_options *options, struct llm_error *err);
// A zeroed one may be released.
void lora_release(struct lora *lora);

// One adapter's A and B in a part.
float *lora_a(const struct lora *lora, const struct adapter *adapter, enum lora_part part);
float *lora_b(const struct lora *lora, const struct adapter *adapter, enum lora_part part);
// Elements of A, and of B.
int64_t lora_a_size(const struct lora *lora, const struct adapter *adapter);
int64_t lora_b_size(const struct lora *lora, const struct adapter *adapter);
// NULL: this matrix has none.
const struct adapter *lora_find(const struct lora *lora, enum param param, int layer);

// After A or B changed. Without adapters, zeroed, nothing happens.
bool lora_merge(const struct lora *lora, struct llm_error *err);

// Adds to the gradients of A and B those of columns first .. first + n_columns - 1 of the product x W', whose gradient
// is dout [n, n_columns]. A matrix without adapter: nothing happens.    x [n, n_in]
bool lora_backward(const struct lora *lora, enum param param, int layer, int first, int n_columns, const float *dout,
                   const float *x, int n, struct llm_error *err);

// Writes the adapters as PEFT does: adapter_config.json and adapter_model.safetensors in `directory`, which appears
// when it is whole. A classifier's head and final norm lie there whole, as its base has not got them.
bool lora_save(const struct lora *lora, const struct llm_engine *engine, const char *directory, struct llm_error *err);

#endif
