// dialect.c: the naming schemes; see dialect.h. What is done with them is in tensor_map.c.
//
// Divisions: the tables; names and patterns; which dialect.
//
// To add a dialect: its rows, and a line in `dialects`.
#include "model/dialect.h"

#include <stdio.h>
#include <string.h>

// ---- The tables -----------------------------------------------------------------------------

// Source: modeling_gpt2.py of transformers. Linear layers are Conv1D, [in, out], as the operations want them.
static const struct dialect_row hf_rows[] = {
    {"wte.weight", PARAM_WTE, LAYOUT_SAME, PIECE_WHOLE},
    {"wpe.weight", PARAM_WPE, LAYOUT_SAME, PIECE_WHOLE},
    {"h.%d.ln_1.weight", PARAM_LN_1_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"h.%d.ln_1.bias", PARAM_LN_1_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"h.%d.attn.c_attn.weight", PARAM_ATTN_QKV_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"h.%d.attn.c_attn.bias", PARAM_ATTN_QKV_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"h.%d.attn.c_proj.weight", PARAM_ATTN_PROJ_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"h.%d.attn.c_proj.bias", PARAM_ATTN_PROJ_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"h.%d.ln_2.weight", PARAM_LN_2_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"h.%d.ln_2.bias", PARAM_LN_2_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"h.%d.mlp.c_fc.weight", PARAM_MLP_FC_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"h.%d.mlp.c_fc.bias", PARAM_MLP_FC_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"h.%d.mlp.c_proj.weight", PARAM_MLP_PROJ_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"h.%d.mlp.c_proj.bias", PARAM_MLP_PROJ_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"ln_f.weight", PARAM_LN_F_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"ln_f.bias", PARAM_LN_F_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"lm_head.weight", PARAM_HEAD, LAYOUT_SAME, PIECE_WHOLE},
    // GPT2ForSequenceClassification, which has no bias there; ours may.
    {"score.weight", PARAM_SCORE, LAYOUT_SAME, PIECE_WHOLE},
    {"score.bias", PARAM_SCORE_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    // The causal mask and its fill value, which older versions of transformers saved.
    {"h.%d.attn.bias", PARAM_COUNT, LAYOUT_SAME, PIECE_WHOLE},
    {"h.%d.attn.masked_bias", PARAM_COUNT, LAYOUT_SAME, PIECE_WHOLE},
};

// Source: src/model.py of openai/gpt-2: conv1d() has kernels [1, in, out].
static const struct dialect_row openai_rows[] = {
    {"model/wte", PARAM_WTE, LAYOUT_SAME, PIECE_WHOLE},
    {"model/wpe", PARAM_WPE, LAYOUT_SAME, PIECE_WHOLE},
    {"model/h%d/ln_1/g", PARAM_LN_1_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"model/h%d/ln_1/b", PARAM_LN_1_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"model/h%d/attn/c_attn/w", PARAM_ATTN_QKV_WEIGHT, LAYOUT_CONV_1D, PIECE_WHOLE},
    {"model/h%d/attn/c_attn/b", PARAM_ATTN_QKV_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"model/h%d/attn/c_proj/w", PARAM_ATTN_PROJ_WEIGHT, LAYOUT_CONV_1D, PIECE_WHOLE},
    {"model/h%d/attn/c_proj/b", PARAM_ATTN_PROJ_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"model/h%d/ln_2/g", PARAM_LN_2_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"model/h%d/ln_2/b", PARAM_LN_2_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"model/h%d/mlp/c_fc/w", PARAM_MLP_FC_WEIGHT, LAYOUT_CONV_1D, PIECE_WHOLE},
    {"model/h%d/mlp/c_fc/b", PARAM_MLP_FC_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"model/h%d/mlp/c_proj/w", PARAM_MLP_PROJ_WEIGHT, LAYOUT_CONV_1D, PIECE_WHOLE},
    {"model/h%d/mlp/c_proj/b", PARAM_MLP_PROJ_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"model/ln_f/g", PARAM_LN_F_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"model/ln_f/b", PARAM_LN_F_BIAS, LAYOUT_SAME, PIECE_WHOLE},
};

// Source: GPTModel of the book (package llms-from-scratch, ch04.py, MultiHeadAttention of ch03.py), in the order of its
// state dict. Linear layers are [out, in]; query, key and value are three of them. The classifier of chapter 6 has its
// labels in place of the vocabulary, with a bias.
static const struct dialect_row book_rows[] = {
    {"tok_emb.weight", PARAM_WTE, LAYOUT_SAME, PIECE_WHOLE},
    {"pos_emb.weight", PARAM_WPE, LAYOUT_SAME, PIECE_WHOLE},
    {"trf_blocks.%d.att.mask", PARAM_COUNT, LAYOUT_SAME, PIECE_WHOLE},
    {"trf_blocks.%d.att.W_query.weight", PARAM_ATTN_QKV_WEIGHT, LAYOUT_TRANSPOSED, PIECE_QUERY},
    {"trf_blocks.%d.att.W_query.bias", PARAM_ATTN_QKV_BIAS, LAYOUT_SAME, PIECE_QUERY},
    {"trf_blocks.%d.att.W_key.weight", PARAM_ATTN_QKV_WEIGHT, LAYOUT_TRANSPOSED, PIECE_KEY},
    {"trf_blocks.%d.att.W_key.bias", PARAM_ATTN_QKV_BIAS, LAYOUT_SAME, PIECE_KEY},
    {"trf_blocks.%d.att.W_value.weight", PARAM_ATTN_QKV_WEIGHT, LAYOUT_TRANSPOSED, PIECE_VALUE},
    {"trf_blocks.%d.att.W_value.bias", PARAM_ATTN_QKV_BIAS, LAYOUT_SAME, PIECE_VALUE},
    {"trf_blocks.%d.att.out_proj.weight", PARAM_ATTN_PROJ_WEIGHT, LAYOUT_TRANSPOSED, PIECE_WHOLE},
    {"trf_blocks.%d.att.out_proj.bias", PARAM_ATTN_PROJ_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"trf_blocks.%d.ff.layers.0.weight", PARAM_MLP_FC_WEIGHT, LAYOUT_TRANSPOSED, PIECE_WHOLE},
    {"trf_blocks.%d.ff.layers.0.bias", PARAM_MLP_FC_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"trf_blocks.%d.ff.layers.2.weight", PARAM_MLP_PROJ_WEIGHT, LAYOUT_TRANSPOSED, PIECE_WHOLE},
    {"trf_blocks.%d.ff.layers.2.bias", PARAM_MLP_PROJ_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"trf_blocks.%d.norm1.scale", PARAM_LN_1_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"trf_blocks.%d.norm1.shift", PARAM_LN_1_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"trf_blocks.%d.norm2.scale", PARAM_LN_2_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"trf_blocks.%d.norm2.shift", PARAM_LN_2_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"final_norm.scale", PARAM_LN_F_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"final_norm.shift", PARAM_LN_F_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"out_head.weight", PARAM_HEAD, LAYOUT_SAME, PIECE_WHOLE},
    {"out_head.weight", PARAM_SCORE, LAYOUT_SAME, PIECE_WHOLE},
    {"out_head.bias", PARAM_SCORE_BIAS, LAYOUT_SAME, PIECE_WHOLE},
};

// Source: gguf-py/gguf/tensor_mapping.py and src/models/gpt2.cpp of llama.cpp. Linear layers are [out, in].
static const struct dialect_row gguf_rows[] = {
    {"token_embd.weight", PARAM_WTE, LAYOUT_SAME, PIECE_WHOLE},
    {"position_embd.weight", PARAM_WPE, LAYOUT_SAME, PIECE_WHOLE},
    {"blk.%d.attn_norm.weight", PARAM_LN_1_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"blk.%d.attn_norm.bias", PARAM_LN_1_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"blk.%d.attn_qkv.weight", PARAM_ATTN_QKV_WEIGHT, LAYOUT_TRANSPOSED, PIECE_WHOLE},
    {"blk.%d.attn_qkv.bias", PARAM_ATTN_QKV_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"blk.%d.attn_output.weight", PARAM_ATTN_PROJ_WEIGHT, LAYOUT_TRANSPOSED, PIECE_WHOLE},
    {"blk.%d.attn_output.bias", PARAM_ATTN_PROJ_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"blk.%d.ffn_norm.weight", PARAM_LN_2_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"blk.%d.ffn_norm.bias", PARAM_LN_2_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"blk.%d.ffn_up.weight", PARAM_MLP_FC_WEIGHT, LAYOUT_TRANSPOSED, PIECE_WHOLE},
    {"blk.%d.ffn_up.bias", PARAM_MLP_FC_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"blk.%d.ffn_down.weight", PARAM_MLP_PROJ_WEIGHT, LAYOUT_TRANSPOSED, PIECE_WHOLE},
    {"blk.%d.ffn_down.bias", PARAM_MLP_PROJ_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"output_norm.weight", PARAM_LN_F_WEIGHT, LAYOUT_SAME, PIECE_WHOLE},
    {"output_norm.bias", PARAM_LN_F_BIAS, LAYOUT_SAME, PIECE_WHOLE},
    {"output.weight", PARAM_HEAD, LAYOUT_SAME, PIECE_WHOLE},
};

const struct dialect dialect_hf = {"Hugging Face", "transformer.", hf_rows, sizeof hf_rows / sizeof hf_rows[0]};
const struct dialect dialect_openai = {"OpenAI", NULL, openai_rows, sizeof openai_rows / sizeof openai_rows[0]};

// torch.compile() puts its prefix before the names of what it compiles.
const struct dialect dialect_book = {"the book", "_orig_mod.", book_rows, sizeof book_rows / sizeof book_rows[0]};

const struct dialect dialect_gguf = {"llama.cpp", NULL, gguf_rows, sizeof gguf_rows / sizeof gguf_rows[0]};

static const struct dialect *const dialects[] = {&dialect_hf, &dialect_openai, &dialect_book, &dialect_gguf};
enum {
    N_DIALECTS = sizeof dialects / sizeof dialects[0],
    MAX_LAYER_NUMBER = 1 << 24 // larger ones are no layer numbers; keeps the number an int
};

// ---- Names and patterns ---------------------------------------------------------------------

// Whether `name` is `pattern` with a layer number for %d.
static bool pattern_match(const char *pattern, const char *name, int *layer) {
    *layer = 0;
    for (; *pattern != '\0'; pattern++) {
        if (*pattern != '%') {
            if (*pattern != *name++) return false;
            continue;
        }
        pattern++; // the d of %d
        const char *const first = name;
        for (; *name >= '0' && *name <= '9' && *layer < MAX_LAYER_NUMBER; name++) {
            *layer = 10 * *layer + (*name - '0');
        }
        // "h.00" would be a second spelling of "h.0".
        if (name == first || (*first == '0' && name - first > 1)) return false;
    }
    return *name == '\0';
}

const struct dialect_row *dialect_match(const struct dialect *dialect, const struct config *config, const char *name,
                                        int *layer) {
    const size_t prefix = dialect->prefix == NULL ? 0 : strlen(dialect->prefix);
    if (prefix > 0 && strncmp(name, dialect->prefix, prefix) == 0) name += prefix;
    for (int i = 0; i < dialect->n_rows; i++) {
        const struct dialect_row *row = &dialect->rows[i];
        if (config != NULL && row->param != PARAM_COUNT && !param_possible(config, row->param)) continue;
        if (pattern_match(row->pattern, name, layer)) return row;
    }
    return NULL;
}

bool dialect_row_name(const struct dialect_row *row, int layer, char *name, size_t size) {
    const char *place = strstr(row->pattern, "%d");
    const int n = place == NULL
                      ? snprintf(name, size, "%s", row->pattern)
                      : snprintf(name, size, "%.*s%d%s", (int)(place - row->pattern), row->pattern, layer, place + 2);
    return n >= 0 && (size_t)n < size;
}

bool dialect_tensor_name(const struct dialect *dialect, enum param param, int layer, char *name, size_t size) {
    for (int i = 0; i < dialect->n_rows; i++) {
        const struct dialect_row *row = &dialect->rows[i];
        if (row->param != param) continue;
        return dialect_row_name(row, layer, name, size);
    }
    return false;
}

// ---- Which dialect --------------------------------------------------------------------------

const struct dialect *dialect_detect(const struct container *container, const char *path, struct llm_error *err) {
    const struct dialect *best = NULL;
    int best_known = 0;
    for (int i = 0; i < N_DIALECTS; i++) {
        int known = 0;
        for (int t = 0; t < container->n_tensors; t++) {
            int layer;
            known += dialect_match(dialects[i], NULL, container->tensors[t].name, &layer) != NULL;
        }
        if (known > best_known) {
            best = dialects[i];
            best_known = known;
        }
    }
    if (best == NULL && container->n_tensors == 0) {
        error_set(err, LLM_ERROR_FORMAT, "%s: holds no tensors", path);
    } else if (best == NULL) {
        error_set(err, LLM_ERROR_UNSUPPORTED,
                  "%s: holds no tensor of a GPT-2 (the first of its %d is %.200s; wte.weight, model/wte, "
                  "tok_emb.weight or token_embd.weight was expected)",
                  path, container->n_tensors, container->tensors[0].name);
    }
    return best;
}
