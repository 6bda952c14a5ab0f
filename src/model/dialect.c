// dialect.c: see dialect.h.
//
// Divisions: the tables; names and patterns; which dialect; checking one tensor; mapping a container.
//
// To add a dialect: its rows, a line in `dialects`, and, when its tensors lie differently (GGUF stores
// matrices transposed, the book's .pth has query, key and value apart), a value of enum layout.
#include "model/dialect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- The tables -----------------------------------------------------------------------------

// Source: modeling_gpt2.py of transformers. Linear layers are Conv1D, [in, out], as the operations want them.
static const struct dialect_row hf_rows[] = {
    {"wte.weight", PARAM_WTE, LAYOUT_SAME},
    {"wpe.weight", PARAM_WPE, LAYOUT_SAME},
    {"h.%d.ln_1.weight", PARAM_LN_1_WEIGHT, LAYOUT_SAME},
    {"h.%d.ln_1.bias", PARAM_LN_1_BIAS, LAYOUT_SAME},
    {"h.%d.attn.c_attn.weight", PARAM_ATTN_QKV_WEIGHT, LAYOUT_SAME},
    {"h.%d.attn.c_attn.bias", PARAM_ATTN_QKV_BIAS, LAYOUT_SAME},
    {"h.%d.attn.c_proj.weight", PARAM_ATTN_PROJ_WEIGHT, LAYOUT_SAME},
    {"h.%d.attn.c_proj.bias", PARAM_ATTN_PROJ_BIAS, LAYOUT_SAME},
    {"h.%d.ln_2.weight", PARAM_LN_2_WEIGHT, LAYOUT_SAME},
    {"h.%d.ln_2.bias", PARAM_LN_2_BIAS, LAYOUT_SAME},
    {"h.%d.mlp.c_fc.weight", PARAM_MLP_FC_WEIGHT, LAYOUT_SAME},
    {"h.%d.mlp.c_fc.bias", PARAM_MLP_FC_BIAS, LAYOUT_SAME},
    {"h.%d.mlp.c_proj.weight", PARAM_MLP_PROJ_WEIGHT, LAYOUT_SAME},
    {"h.%d.mlp.c_proj.bias", PARAM_MLP_PROJ_BIAS, LAYOUT_SAME},
    {"ln_f.weight", PARAM_LN_F_WEIGHT, LAYOUT_SAME},
    {"ln_f.bias", PARAM_LN_F_BIAS, LAYOUT_SAME},
    {"lm_head.weight", PARAM_HEAD, LAYOUT_SAME},
    // The causal mask and its fill value, which older versions of transformers saved.
    {"h.%d.attn.bias", PARAM_COUNT, LAYOUT_SAME},
    {"h.%d.attn.masked_bias", PARAM_COUNT, LAYOUT_SAME},
};

// Source: src/model.py of openai/gpt-2: conv1d() has kernels [1, in, out].
static const struct dialect_row openai_rows[] = {
    {"model/wte", PARAM_WTE, LAYOUT_SAME},
    {"model/wpe", PARAM_WPE, LAYOUT_SAME},
    {"model/h%d/ln_1/g", PARAM_LN_1_WEIGHT, LAYOUT_SAME},
    {"model/h%d/ln_1/b", PARAM_LN_1_BIAS, LAYOUT_SAME},
    {"model/h%d/attn/c_attn/w", PARAM_ATTN_QKV_WEIGHT, LAYOUT_CONV_1D},
    {"model/h%d/attn/c_attn/b", PARAM_ATTN_QKV_BIAS, LAYOUT_SAME},
    {"model/h%d/attn/c_proj/w", PARAM_ATTN_PROJ_WEIGHT, LAYOUT_CONV_1D},
    {"model/h%d/attn/c_proj/b", PARAM_ATTN_PROJ_BIAS, LAYOUT_SAME},
    {"model/h%d/ln_2/g", PARAM_LN_2_WEIGHT, LAYOUT_SAME},
    {"model/h%d/ln_2/b", PARAM_LN_2_BIAS, LAYOUT_SAME},
    {"model/h%d/mlp/c_fc/w", PARAM_MLP_FC_WEIGHT, LAYOUT_CONV_1D},
    {"model/h%d/mlp/c_fc/b", PARAM_MLP_FC_BIAS, LAYOUT_SAME},
    {"model/h%d/mlp/c_proj/w", PARAM_MLP_PROJ_WEIGHT, LAYOUT_CONV_1D},
    {"model/h%d/mlp/c_proj/b", PARAM_MLP_PROJ_BIAS, LAYOUT_SAME},
    {"model/ln_f/g", PARAM_LN_F_WEIGHT, LAYOUT_SAME},
    {"model/ln_f/b", PARAM_LN_F_BIAS, LAYOUT_SAME},
};

const struct dialect dialect_hf = {"Hugging Face", "transformer.", hf_rows, sizeof hf_rows / sizeof hf_rows[0]};
const struct dialect dialect_openai = {"OpenAI", NULL, openai_rows, sizeof openai_rows / sizeof openai_rows[0]};

static const struct dialect *const dialects[] = {&dialect_hf, &dialect_openai};
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

const struct dialect_row *dialect_match(const struct dialect *dialect, const char *name, int *layer) {
    const size_t prefix = dialect->prefix == NULL ? 0 : strlen(dialect->prefix);
    if (prefix > 0 && strncmp(name, dialect->prefix, prefix) == 0) name += prefix;
    for (int i = 0; i < dialect->n_rows; i++) {
        if (pattern_match(dialect->rows[i].pattern, name, layer)) return &dialect->rows[i];
    }
    return NULL;
}

bool dialect_tensor_name(const struct dialect *dialect, enum param param, int layer, char *name, size_t size) {
    for (int i = 0; i < dialect->n_rows; i++) {
        const struct dialect_row *row = &dialect->rows[i];
        if (row->param != param) continue;
        const char *place = strstr(row->pattern, "%d");
        const int n = place == NULL ? snprintf(name, size, "%s", row->pattern)
                                    : snprintf(name, size, "%.*s%d%s", (int)(place - row->pattern), row->pattern, layer,
                                               place + 2);
        return n >= 0 && (size_t)n < size;
    }
    return false;
}

// ---- Which dialect --------------------------------------------------------------------------

// The dialect that knows most of the names, or NULL when none knows any.
static const struct dialect *dialect_detect(const struct container *container) {
    const struct dialect *best = NULL;
    int best_known = 0;
    for (int i = 0; i < N_DIALECTS; i++) {
        int known = 0;
        for (int t = 0; t < container->n_tensors; t++) {
            int layer;
            known += dialect_match(dialects[i], container->tensors[t].name, &layer) != NULL;
        }
        if (known > best_known) {
            best = dialects[i];
            best_known = known;
        }
    }
    return best;
}

// ---- Checking one tensor --------------------------------------------------------------------

// The shape a file must give a parameter; returns the rank.
static int expected_shape(const struct config *config, const struct dialect_row *row, int64_t shape[3]) {
    int rows, cols;
    param_shape(config, row->param, &rows, &cols);
    int rank = 0;
    if (row->layout == LAYOUT_CONV_1D) shape[rank++] = 1;
    if (params[row->param].is_matrix) shape[rank++] = rows;
    shape[rank++] = cols;
    return rank;
}

// What in the config a wrong shape contradicts, for the sentence.
static void shape_reason(const struct config *config, const struct tensor_view *tensor, enum param param, char *text,
                         size_t size) {
    const int64_t *shape = tensor->shape + (tensor->rank > 2 ? tensor->rank - 2 : 0);
    int rows, cols;
    param_shape(config, param, &rows, &cols);
    if (tensor->rank >= 2 && rows != cols && shape[0] == cols && shape[1] == rows) {
        snprintf(text, size, "it is transposed");
    } else if (param == PARAM_WTE || param == PARAM_HEAD) {
        snprintf(text, size, "vocab_size %d, n_embd %d", config->vocab_size, config->n_embd);
    } else if (param == PARAM_WPE) {
        snprintf(text, size, "n_positions %d, n_embd %d", config->n_ctx, config->n_embd);
    } else if (params[param].part == PART_MLP) {
        snprintf(text, size, "n_embd %d, n_inner %d", config->n_embd, config->n_inner);
    } else {
        snprintf(text, size, "n_embd %d", config->n_embd);
    }
}

static bool check_tensor(const struct config *config, const struct dialect_row *row, const struct tensor_view *tensor,
                         struct llm_error *err) {
    if (tensor->dtype == DTYPE_OTHER) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "tensor %.200s is %.20s; F32, F16 and BF16 are supported",
                         tensor->name, tensor->dtype_name);
    }
    struct tensor_view expected = {0};
    expected.rank = expected_shape(config, row, expected.shape);
    if (tensor->rank == expected.rank &&
        memcmp(tensor->shape, expected.shape, (size_t)expected.rank * sizeof expected.shape[0]) == 0) {
        return true;
    }
    char found_text[160], expected_text[160], reason[80];
    shape_reason(config, tensor, row->param, reason, sizeof reason);
    return error_set(err, LLM_ERROR_FORMAT, "tensor %.200s has shape %s, %s was expected (%s)", tensor->name,
                     tensor_shape_text(tensor, found_text), tensor_shape_text(&expected, expected_text), reason);
}

// ---- Mapping a container --------------------------------------------------------------------

// Room for every parameter, PARAM_HEAD included whether tied or not (that is settled later).
static bool map_alloc(struct tensor_map *map, const struct config *config, struct llm_error *err) {
    size_t total = 0;
    for (int p = 0; p < PARAM_COUNT; p++) total += params[p].per_layer ? (size_t)config->n_layer : 1;
    const struct tensor_view **views = calloc(total, sizeof *views); // NOLINT(bugprone-sizeof-expression): pointers
    if (views == NULL) return error_memory(err, "tensor map");
    map->block = views;
    for (int p = 0; p < PARAM_COUNT; p++) {
        map->views[p] = views;
        views += params[p].per_layer ? config->n_layer : 1;
    }
    return true;
}

static bool map_tensor(struct tensor_map *map, const struct config *config, const struct tensor_view *tensor,
                       struct llm_error *err) {
    int layer;
    const struct dialect_row *row = dialect_match(map->dialect, tensor->name, &layer);
    if (row == NULL) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "tensor %.200s is not a part of GPT-2 (names as %s has them)",
                         tensor->name, map->dialect->name);
    }
    if (row->param == PARAM_COUNT) return true;
    if (params[row->param].per_layer && layer >= config->n_layer) {
        return error_set(err, LLM_ERROR_FORMAT, "tensor %.200s belongs to layer %d, but the config has n_layer %d",
                         tensor->name, layer, config->n_layer);
    }
    const struct tensor_view **place = &map->views[row->param][layer];
    if (*place != NULL) {
        return error_set(err, LLM_ERROR_FORMAT, "tensors %.200s and %.200s are the same parameter", (*place)->name,
                         tensor->name);
    }
    *place = tensor;
    return check_tensor(config, row, tensor, err);
}

static bool same_numbers(const struct tensor_view *a, const struct tensor_view *b) {
    return a->dtype == b->dtype && a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

// The rule of transformers' tie_weights() (5.x): a tied head may be stored (if equal it stays tied, else the
// stored one counts) or stand in for a missing wte. An untied head must be stored.
static void settle_head(struct tensor_map *map, struct config *config) {
    const struct tensor_view **wte = &map->views[PARAM_WTE][0];
    const struct tensor_view **head = &map->views[PARAM_HEAD][0];
    if (!config->tied_head) return;
    if (*wte == NULL) *wte = *head;
    config->tied_head = *head == NULL || *head == *wte || same_numbers(*wte, *head);
    if (config->tied_head) *head = NULL;
}

static bool is_zero(const struct tensor_view *view) {
    for (size_t i = 0; i < view->size; i++) {
        if (view->data[i] != 0) return false;
    }
    return true;
}

// A bias that the config says is not there may be stored as zeros, which is how we write it for transformers.
static bool settle_qkv_bias(struct tensor_map *map, const struct config *config, struct llm_error *err) {
    for (int layer = 0; layer < config->n_layer && !config->qkv_bias; layer++) {
        const struct tensor_view **bias = &map->views[PARAM_ATTN_QKV_BIAS][layer];
        if (*bias != NULL && !is_zero(*bias)) {
            return error_set(err, LLM_ERROR_FORMAT, "tensor %.200s is not zero, but the config has qkv_bias false",
                             (*bias)->name);
        }
        *bias = NULL;
    }
    return true;
}

static bool check_missing(const struct tensor_map *map, const struct config *config, struct llm_error *err) {
    char first[256] = "";
    int64_t missing = 0;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            if (map->views[p][layer] != NULL) continue;
            if (missing++ > 0) continue;
            if (!dialect_tensor_name(map->dialect, (enum param)p, layer, first, sizeof first)) {
                snprintf(first, sizeof first, "%s", params[p].name);
            }
        }
    }
    if (missing == 0) return true;
    if (missing == 1) return error_set(err, LLM_ERROR_FORMAT, "tensor %s is missing", first);
    return error_set(err, LLM_ERROR_FORMAT, "tensor %s is missing, and %" PRId64 " more", first, missing - 1);
}

bool tensor_map_init(struct tensor_map *map, const struct container *container, struct config *config, const char *path,
                     struct llm_error *err) {
    *map = (struct tensor_map){.dialect = dialect_detect(container)};
    if (map->dialect == NULL) {
        if (container->n_tensors == 0) {
            error_set(err, LLM_ERROR_FORMAT, "%s: holds no tensors", path);
        } else {
            error_set(err, LLM_ERROR_UNSUPPORTED,
                      "%s: holds no tensor of a GPT-2 (the first of its %d is %.200s; wte.weight or model/wte "
                      "was expected)",
                      path, container->n_tensors, container->tensors[0].name);
        }
        return false;
    }
    if (!map_alloc(map, config, err)) return false;
    for (int t = 0; t < container->n_tensors; t++) {
        const struct tensor_view *tensor = &container->tensors[t];
        if (!map_tensor(map, config, tensor, err)) {
            const char *file = container->files[tensor->file].path; // NULL when the container came from memory
            error_prefix(err, "%s", file != NULL ? file : path);
            tensor_map_release(map);
            return false;
        }
    }
    settle_head(map, config);
    if (!settle_qkv_bias(map, config, err) || !check_missing(map, config, err)) {
        error_prefix(err, "%s", path);
        tensor_map_release(map);
        return false;
    }
    return true;
}

void tensor_map_release(struct tensor_map *map) {
    free(map->block);
    *map = (struct tensor_map){0};
}
