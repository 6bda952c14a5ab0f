// params.h: the one table of GPT-2's parameters.
//
// Everything that walks over parameters walks over this array: allocation, loading, saving, `info`, and
// in training initialisation, optimizer groups and freezing. Naming schemes of file formats are
// dialects over it (dialect.h).
#ifndef MODEL_PARAMS_H
#define MODEL_PARAMS_H

#include "model/config.h"

enum param {
    PARAM_WTE,
    PARAM_WPE,
    PARAM_LN_1_WEIGHT, // first of the parameters that every layer has
    PARAM_LN_1_BIAS,
    PARAM_ATTN_QKV_WEIGHT,
    PARAM_ATTN_QKV_BIAS,
    PARAM_ATTN_PROJ_WEIGHT,
    PARAM_ATTN_PROJ_BIAS,
    PARAM_LN_2_WEIGHT,
    PARAM_LN_2_BIAS,
    PARAM_MLP_FC_WEIGHT,
    PARAM_MLP_FC_BIAS,
    PARAM_MLP_PROJ_WEIGHT,
    PARAM_MLP_PROJ_BIAS, // last of them
    PARAM_LN_F_WEIGHT,
    PARAM_LN_F_BIAS,
    PARAM_HEAD,       // output head, only when it is not tied to wte
    PARAM_SCORE,      // a classifier has this in place of the output head
    PARAM_SCORE_BIAS, // and perhaps this
    PARAM_COUNT
};

enum param_part {
    PART_TOKENS,
    PART_POSITIONS,
    PART_ATTENTION,
    PART_MLP,
    PART_NORM,
    PART_HEAD,
    PART_COUNT
};

enum param_init {
    INIT_NORMAL,
    INIT_NORMAL_RESIDUAL,
    INIT_ONE,
    INIT_ZERO
};

struct param_info {
    const char *name; // "attn.c_attn.weight", the Hugging Face name within its layer
    enum param_part part;
    bool per_layer;
    bool is_matrix; // used as stored by products; vectors are always F32 in memory
    bool has_decay; // weight decay applies when it applies to matrices only
    enum param_init init;
};

extern const struct param_info params[PARAM_COUNT];

// Stored shape: [*rows, *cols] for a matrix; a vector has *rows = 1.
void param_shape(const struct config *config, enum param param, int *rows, int *cols);
// Elements of one instance.
int64_t param_size(const struct config *config, enum param param);
// Whether a model of this config has the parameter (PARAM_HEAD: only when untied; PARAM_ATTN_QKV_BIAS: not in the
// book's model; PARAM_SCORE in place of the head in a classifier).
bool param_present(const struct config *config, enum param param);
// Whether a model that does what this one does, text or labels, could have it.
bool param_possible(const struct config *config, enum param param);
// Number of instances: n_layer or 1 (0 when absent).
int param_count(const struct config *config, enum param param);
const char *param_part_name(enum param_part part);

// All weights of a model, as the operations want them. Matrices point into the container's mapping, in
// the dtype they are stored in, unless they had to be copied; vectors are F32.
struct weights {
    struct matrix *tensors[PARAM_COUNT]; // [param_count] each
    bool transposed[PARAM_COUNT];        // the matrices of this parameter are [cols, rows] of param_shape()
    void *owned;                         // one block for what had to be converted or copied, NULL if nothing
    int64_t bytes_owned;
    bool in_block; // all F32, in a param_block that is somebody else's
};

static inline const struct matrix *weights_get(const struct weights *weights, enum param param, int layer) {
    return &weights->tensors[param][layer];
}

#endif
