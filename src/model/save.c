// save.c: Hugging Face layout; see save.h.
//
// A model without qkv bias gets one of zeros, as transformers has no GPT-2 without; config.json says "qkv_bias": false.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "formats/safetensors.h"
#include "model/saving.h"

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
    return saving_rows(saving, view, saving_dtype(saving, view), write_data, writer, err);
}

static bool write_tensors(struct saving *saving, const char *directory, struct llm_error *err) {
    struct safetensors_writer *writer = safetensors_writer_new(directory, saving->options->shard_size, err);
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

// ---- The directory --------------------------------------------------------------------------

// Sentences name the place the user knows, not the temporary one beside it.
static void name_destination(struct llm_error *err, const char *temporary, const char *destination) {
    char *found = err == NULL ? NULL : strstr(err->text, temporary);
    if (found == NULL) return;
    struct llm_error named = {.code = err->code};
    snprintf(named.text, sizeof named.text, "%.*s%s%s", (int)(found - err->text), err->text, destination,
             found + strlen(temporary));
    *err = named;
}

static void give_score_notice(const struct saving *saving) {
    if (param_count(&saving->engine->config, PARAM_SCORE_BIAS) == 0) return;
    engine_notice(&saving->options->callbacks,
                  "score.bias is written, but GPT2ForSequenceClassification has no such parameter: transformers leaves "
                  "it out");
}

bool save_directory(const struct llm_engine *engine, const char *directory, const struct llm_convert_options *options,
                    struct save_counts *counts, struct llm_error *err) {
    *counts = (struct save_counts){0};
    struct saving saving = {.engine = engine, .options = options, .counts = counts};
    struct directory_writer *writer = directory_writer_open(directory, options->overwrite, err);
    if (writer == NULL) return false;
    const char *path = directory_writer_path(writer);
    if (write_tensors(&saving, path, err) && write_config(&saving, path, err) && write_vocabulary(&saving, path, err)) {
        if (!directory_writer_commit(writer, err)) return false;
        give_score_notice(&saving);
        return true;
    }
    name_destination(err, path, directory);
    directory_writer_abort(writer);
    return false;
}

bool model_save(const struct llm_engine *engine, const char *directory, enum dtype dtype, bool overwrite,
                struct llm_error *err) {
    static const int public_dtypes[DTYPE_OTHER] = {
        [DTYPE_F32] = LLM_F32, [DTYPE_F16] = LLM_F16, [DTYPE_BF16] = LLM_BF16};
    struct llm_convert_options options;
    llm_convert_options_init(&options);
    options.dtype = public_dtypes[dtype];
    options.overwrite = overwrite;
    struct save_counts counts;
    return save_directory(engine, directory, &options, &counts, err);
}
