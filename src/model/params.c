// params.c: see params.h.
#include "model/params.h"

#include <assert.h>

// Weight decay: "matrices only" is the usual GPT-2 practice: biases and layer norms are left alone.
// INIT_NORMAL_RESIDUAL: projections into the residual stream start smaller, by 1/sqrt(2 * n_layer)
// (Radford et al. 2019, section 2.3).
const struct param_info params[PARAM_COUNT] = {
    [PARAM_WTE] = {"wte.weight", PART_TOKENS, false, true, true, INIT_NORMAL},
    [PARAM_WPE] = {"wpe.weight", PART_POSITIONS, false, true, true, INIT_NORMAL},
    [PARAM_LN_1_WEIGHT] = {"ln_1.weight", PART_NORM, true, false, false, INIT_ONE},
    [PARAM_LN_1_BIAS] = {"ln_1.bias", PART_NORM, true, false, false, INIT_ZERO},
    [PARAM_ATTN_QKV_WEIGHT] = {"attn.c_attn.weight", PART_ATTENTION, true, true, true, INIT_NORMAL},
    [PARAM_ATTN_QKV_BIAS] = {"attn.c_attn.bias", PART_ATTENTION, true, false, false, INIT_ZERO},
    [PARAM_ATTN_PROJ_WEIGHT] = {"attn.c_proj.weight", PART_ATTENTION, true, true, true, INIT_NORMAL_RESIDUAL},
    [PARAM_ATTN_PROJ_BIAS] = {"attn.c_proj.bias", PART_ATTENTION, true, false, false, INIT_ZERO},
    [PARAM_LN_2_WEIGHT] = {"ln_2.weight", PART_NORM, true, false, false, INIT_ONE},
    [PARAM_LN_2_BIAS] = {"ln_2.bias", PART_NORM, true, false, false, INIT_ZERO},
    [PARAM_MLP_FC_WEIGHT] = {"mlp.c_fc.weight", PART_MLP, true, true, true, INIT_NORMAL},
    [PARAM_MLP_FC_BIAS] = {"mlp.c_fc.bias", PART_MLP, true, false, false, INIT_ZERO},
    [PARAM_MLP_PROJ_WEIGHT] = {"mlp.c_proj.weight", PART_MLP, true, true, true, INIT_NORMAL_RESIDUAL},
    [PARAM_MLP_PROJ_BIAS] = {"mlp.c_proj.bias", PART_MLP, true, false, false, INIT_ZERO},
    [PARAM_LN_F_WEIGHT] = {"ln_f.weight", PART_NORM, false, false, false, INIT_ONE},
    [PARAM_LN_F_BIAS] = {"ln_f.bias", PART_NORM, false, false, false, INIT_ZERO},
    [PARAM_HEAD] = {"lm_head.weight", PART_HEAD, false, true, true, INIT_NORMAL},
    [PARAM_SCORE] = {"score.weight", PART_HEAD, false, true, true, INIT_NORMAL},
    [PARAM_SCORE_BIAS] = {"score.bias", PART_HEAD, false, false, false, INIT_ZERO},
};

void param_shape(const struct config *config, enum param param, int *rows, int *cols) {
    const int n_embd = config->n_embd;
    *rows = 1;
    *cols = n_embd;
    switch (param) {
    case PARAM_WTE:
    case PARAM_HEAD:
        *rows = config->vocab_size;
        break;
    case PARAM_WPE:
        *rows = config->n_ctx;
        break;
    case PARAM_SCORE:
        *rows = config->n_labels;
        break;
    case PARAM_SCORE_BIAS:
        *cols = config->n_labels;
        break;
    case PARAM_ATTN_QKV_WEIGHT:
        *rows = n_embd;
        *cols = 3 * n_embd;
        break;
    case PARAM_ATTN_QKV_BIAS:
        *cols = 3 * n_embd;
        break;
    case PARAM_ATTN_PROJ_WEIGHT:
        *rows = n_embd;
        break;
    case PARAM_MLP_FC_WEIGHT:
        *rows = n_embd;
        *cols = config->n_inner;
        break;
    case PARAM_MLP_FC_BIAS:
        *cols = config->n_inner;
        break;
    case PARAM_MLP_PROJ_WEIGHT:
        *rows = config->n_inner;
        break;
    default:
        break; // vectors of n_embd
    }
}

int64_t param_size(const struct config *config, enum param param) {
    int rows, cols;
    param_shape(config, param, &rows, &cols);
    return (int64_t)rows * cols;
}

bool param_possible(const struct config *config, enum param param) {
    const bool is_classifier = config->n_labels > 0;
    if (param == PARAM_SCORE || param == PARAM_SCORE_BIAS) return is_classifier;
    return param != PARAM_HEAD || !is_classifier;
}

bool param_present(const struct config *config, enum param param) {
    if (!param_possible(config, param)) return false;
    if (param == PARAM_HEAD) return !config->tied_head;
    if (param == PARAM_SCORE_BIAS) return config->score_bias;
    if (param == PARAM_ATTN_QKV_BIAS) return config->qkv_bias;
    return true;
}

int param_count(const struct config *config, enum param param) {
    if (!param_present(config, param)) return 0;
    return params[param].per_layer ? config->n_layer : 1;
}

const char *param_part_name(enum param_part part) {
    static const char *const names[] = {
        [PART_TOKENS] = "token embedding", [PART_POSITIONS] = "position embedding",
        [PART_ATTENTION] = "attention",    [PART_MLP] = "feed-forward",
        [PART_NORM] = "layer norms",       [PART_HEAD] = "output head",
    };
    static_assert(sizeof names / sizeof names[0] == PART_COUNT, "every part has a name");
    return names[part];
}
