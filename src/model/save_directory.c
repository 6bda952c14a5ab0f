// save_directory.c: Hugging Face layout; see save.h.
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "formats/safetensors.h"
#include "model/save.h"

// ---- The tensors ----------------------------------------------------------------------------

typedef bool tensor_fn(struct saving *saving, struct safetensors_writer *writer, enum param param,
                       const struct param_view *view, int layer, struct llm_error *err);

// As many as transformers wants: it knows no model without a bias on query, key and value, which is zero there.
static int written_count(const struct config *config, enum param param) {
    return param == PARAM_ATTN_QKV_BIAS ? config->n_layer : param_count(config, param);
}

// Calls `fn` for every tensor in the order of the file: wider dtypes first, so that all stay aligned.
static bool each_tensor(struct saving *saving, struct safetensors_writer *writer, tensor_fn *fn,
                        struct llm_error *err) {
    for (size_t width = 4; width >= 2; width /= 2) {
        for (int p = 0; p < PARAM_COUNT; p++) {
            const enum param param = (enum param)p;
            for (int layer = 0; layer < written_count(&saving->engine->config, param); layer++) {
                const struct param_view view = engine_stored(saving->engine, param, layer);
                if (dtype_info(saving_dtype(saving, &view))->block_bytes != width) continue;
                if (!fn(saving, writer, param, &view, layer, err)) return false;
            }
        }
    }
    return true;
}

// Names as save_pretrained() has them: all but the heads under "transformer.".
static bool declare_tensor(struct saving *saving, struct safetensors_writer *writer, enum param param,
                           const struct param_view *view, int layer, struct llm_error *err) {
    char name[128];
    const size_t prefix = params[param].part == PART_HEAD ? 0 : strlen(dialect_hf.prefix);
    memcpy(name, dialect_hf.prefix, prefix);
    if (!dialect_tensor_name(&dialect_hf, param, layer, name + prefix, sizeof name - prefix)) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "%s has no name in Hugging Face's layout", params[param].name);
    }
    const int64_t shape[2] = {view->rows, view->cols};
    const bool is_matrix = params[param].is_matrix;
    const enum dtype dtype = saving_dtype(saving, view);
    saving->total += (int64_t)dtype_bytes(dtype, (size_t)view->n_elements);
    return safetensors_writer_declare(writer, name, dtype, is_matrix ? 2 : 1, is_matrix ? shape : shape + 1, err);
}

static bool write_data(void *writer, const void *bytes, size_t size, struct llm_error *err) {
    return safetensors_writer_data(writer, bytes, size, err);
}

static bool write_tensor(struct saving *saving, struct safetensors_writer *writer, enum param param,
                         const struct param_view *view, int layer, struct llm_error *err) {
    (void)param;
    (void)layer;
    return saving_rows(saving, view, write_data, writer, err);
}

static bool write_tensors(struct saving *saving, const char *directory, int64_t shard_size, struct llm_error *err) {
    struct safetensors_writer *writer = safetensors_writer_new(directory, shard_size, err);
    if (writer == NULL) return false;
    const bool ok = saving_alloc(saving, err) && each_tensor(saving, writer, declare_tensor, err) &&
                    each_tensor(saving, writer, write_tensor, err);
    saving_release(saving);
    if (ok) return safetensors_writer_finish(writer, err);
    safetensors_writer_free(writer);
    return false;
}

// ---- Config and vocabulary ------------------------------------------------------------------

static bool write_config(const struct saving *saving, const char *directory, struct llm_error *err) {
    const struct param_view most = {.dtype = saving->engine->dtype};
    char *path = path_join(directory, "config.json");
    char *text = config_json(&saving->engine->config, saving_dtype(saving, &most));
    const bool ok =
        path != NULL && text != NULL ? file_write(path, text, strlen(text), err) : error_memory(err, "config.json");
    free(text);
    free(path);
    return ok;
}

static bool write_vocabulary(const struct saving *saving, const char *directory, struct llm_error *err) {
    const struct llm_tokenizer *tokenizer = saving->engine->tokenizer;
    return tokenizer == NULL || tokenizer_save(tokenizer, directory, err);
}

bool save_directory(struct saving *saving, const char *directory, int64_t shard_size, struct llm_error *err) {
    if (!write_tensors(saving, directory, shard_size, err) || !write_config(saving, directory, err) ||
        !write_vocabulary(saving, directory, err)) {
        return false;
    }
    if (param_count(&saving->engine->config, PARAM_SCORE_BIAS) > 0) {
        engine_notice(&saving->engine->callbacks,
                      "score.bias is written, but GPT2ForSequenceClassification has no such parameter: transformers "
                      "leaves it out");
    }
    return true;
}
