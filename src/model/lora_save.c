// lora_save.c: adapters in PEFT's layout; see lora.h. There A is [rank, n_in] and B [n_out, rank], whatever lies beside
// them.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "formats/safetensors.h"
#include "model/dialect.h"
#include "model/lora.h"

enum {
    MAX_NAME = 160
};

// One tensor of the file: rows of a matrix, or with `transposed` its columns.
struct saved {
    char name[MAX_NAME];
    const float *numbers; // [rows, cols]
    int rows, cols;
    bool transposed, is_vector;
};

typedef bool saved_fn(struct safetensors_writer *writer, struct ops *ops, const struct saved *saved,
                      struct llm_error *err);

static bool declare(struct safetensors_writer *writer, struct ops *ops, const struct saved *saved,
                    struct llm_error *err) {
    (void)ops;
    const int64_t shape[] = {saved->transposed ? saved->cols : saved->rows,
                             saved->transposed ? saved->rows : saved->cols};
    return safetensors_writer_declare(writer, saved->name, DTYPE_F32, saved->is_vector ? 1 : 2,
                                      saved->is_vector ? shape + 1 : shape, err);
}

static bool write_columns(struct safetensors_writer *writer, const float *numbers, int rows, int cols,
                          struct llm_error *err) {
    float *column = malloc((size_t)rows * sizeof *column);
    if (column == NULL) return error_memory(err, "adapters");
    bool ok = true;
    for (int c = 0; ok && c < cols; c++) {
        for (int r = 0; r < rows; r++) column[r] = numbers[(size_t)r * (size_t)cols + (size_t)c];
        ok = safetensors_writer_data(writer, column, (size_t)rows * sizeof *column, err);
    }
    free(column);
    return ok;
}

static bool write_saved(struct safetensors_writer *writer, struct ops *ops, const struct saved *saved,
                        struct llm_error *err) {
    const size_t n = (size_t)saved->rows * (size_t)saved->cols;
    const float *numbers = ops->get(ops, saved->numbers, n);
    if (saved->transposed) return write_columns(writer, numbers, saved->rows, saved->cols, err);
    return safetensors_writer_data(writer, numbers, n * sizeof *numbers, err);
}

// "base_model.model.transformer.h.0.attn.c_attn" + end; `whole`: with its own ".weight" or ".bias" and no end.
static bool name_saved(struct saved *saved, enum param param, int layer, bool whole, const char *end,
                       struct llm_error *err) {
    char name[MAX_NAME / 2];
    const char *prefix = params[param].part == PART_HEAD ? "" : dialect_hf.prefix;
    if (!dialect_tensor_name(&dialect_hf, param, layer, name, sizeof name)) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "%s has no name in Hugging Face's layout", params[param].name);
    }
    if (!whole) *strrchr(name, '.') = '\0';
    snprintf(saved->name, sizeof saved->name, "base_model.model.%s%s%s", prefix, name, end);
    return true;
}

static bool each_adapter(const struct lora *lora, struct safetensors_writer *writer, saved_fn *fn,
                         struct llm_error *err) {
    for (int i = 0; i < lora->n_adapters; i++) {
        const struct adapter *adapter = &lora->adapters[i];
        if (adapter->param == PARAM_SCORE) continue; // it is written whole
        struct saved a = {.numbers = lora_a(lora, adapter, LORA_WEIGHT),
                          .rows = adapter->n_in,
                          .cols = lora->rank,
                          .transposed = true};
        struct saved b = {.numbers = lora_b(lora, adapter, LORA_WEIGHT),
                          .rows = lora->rank,
                          .cols = adapter->n_out,
                          .transposed = true};
        if (!name_saved(&a, adapter->param, adapter->layer, false, ".lora_A.weight", err) ||
            !name_saved(&b, adapter->param, adapter->layer, false, ".lora_B.weight", err) ||
            !fn(writer, lora->ops, &a, err) || !fn(writer, lora->ops, &b, err)) {
            return false;
        }
    }
    return true;
}

// Of a classifier what its base has not got: head and final norm, in whose bias the head's may lie.
static bool each_whole(const struct lora *lora, const struct llm_engine *engine, struct safetensors_writer *writer,
                       saved_fn *fn, struct llm_error *err) {
    static const enum param whole[] = {PARAM_LN_F_WEIGHT, PARAM_LN_F_BIAS, PARAM_SCORE, PARAM_SCORE_BIAS};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0] && engine->config.n_labels > 0; i++) {
        if (!param_present(&engine->config, whole[i])) continue;
        struct saved saved = {.numbers = weights_get(&engine->weights, whole[i], 0)->data,
                              .is_vector = !params[whole[i]].is_matrix};
        param_shape(&engine->config, whole[i], &saved.rows, &saved.cols);
        if (!name_saved(&saved, whole[i], 0, true, "", err) || !fn(writer, lora->ops, &saved, err)) return false;
    }
    return true;
}

static bool write_tensors(const struct lora *lora, const struct llm_engine *engine, const char *directory,
                          struct llm_error *err) {
    struct safetensors_writer *writer = safetensors_writer_new(directory, 0, err);
    if (writer == NULL) return false;
    if (!each_adapter(lora, writer, declare, err) || !each_whole(lora, engine, writer, declare, err) ||
        !each_adapter(lora, writer, write_saved, err) || !each_whole(lora, engine, writer, write_saved, err)) {
        safetensors_writer_free(writer);
        return false;
    }
    if (!safetensors_writer_finish(writer, err)) return false;
    char *from = path_join(directory, "model.safetensors");
    char *to = path_join(directory, "adapter_model.safetensors");
    const bool ok = from != NULL && to != NULL ? file_rename(from, to, err) : error_memory(err, "path");
    free(from);
    free(to);
    return ok;
}

// The layers that have adapters, where not all have: a list for PEFT; null for all.
static json_t *layers_json(const struct lora *lora, const struct config *config) {
    const int first = lora->adapters[0].layer;
    if (first == 0) return json_null();
    json_t *layers = json_array();
    for (int layer = first; layers != NULL && layer < config->n_layer; layer++) {
        if (json_array_append_new(layers, json_integer(layer)) == 0) continue;
        json_decref(layers);
        return NULL;
    }
    return layers;
}

static json_t *config_of(const struct lora *lora, const struct llm_engine *engine) {
    const bool labels = engine->config.n_labels > 0, some = lora->adapters[0].layer > 0;
    const bool is_whole = lora->alpha == floor(lora->alpha);
    json_t *alpha = is_whole ? json_integer((json_int_t)lora->alpha) : json_real(lora->alpha);
    json_t *kept = labels ? json_pack("[s, s]", "score", "ln_f") : json_null();
    return json_pack("{s:s, s:s, s:o, s:i, s:o, s:f, s:s, s:b, s:b, s:[s, s, s], s:o, s:o, s:o}", "peft_type", "LORA",
                     "task_type", labels ? "SEQ_CLS" : "CAUSAL_LM", "base_model_name_or_path", json_name(engine->path),
                     "r", lora->rank, "lora_alpha", alpha, "lora_dropout", 0.0, "bias", "none", "fan_in_fan_out", true,
                     "inference_mode", true, "target_modules", "c_attn", "c_proj", "c_fc", "layers_to_transform",
                     layers_json(lora, &engine->config), "layers_pattern", some ? json_string("h") : json_null(),
                     "modules_to_save", kept);
}

static bool write_config(const struct lora *lora, const struct llm_engine *engine, const char *directory,
                         struct llm_error *err) {
    json_t *json = config_of(lora, engine);
    char *text = json == NULL ? NULL : json_dump(json, JSON_INDENT(2));
    char *path = path_join(directory, "adapter_config.json");
    json_decref(json);
    const bool ok = text != NULL && path != NULL ? file_write(path, text, strlen(text), err)
                                                 : error_memory(err, "adapter_config.json");
    free(text);
    free(path);
    return ok;
}

bool lora_save(const struct lora *lora, const struct llm_engine *engine, const char *directory, struct llm_error *err) {
    struct directory_writer *writer = directory_writer_open(directory, true, err);
    if (writer == NULL) return false;
    const char *path = directory_writer_path(writer);
    if (write_tensors(lora, engine, path, err) && write_config(lora, engine, path, err)) {
        return directory_writer_commit(writer, err);
    }
    directory_writer_abort(writer);
    return false;
}
