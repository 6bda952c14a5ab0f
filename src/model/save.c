// save.c: see save.h. Tensors go to the file in blocks, so that saving takes little memory.
//
// A model without qkv bias gets one of zeros, as transformers has no GPT-2 without; config.json says "qkv_bias": false.
#include "model/save.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "formats/safetensors.h"

enum {
    BLOCK = 1 << 18 // elements converted at a time
};

struct saving {
    const struct llm_engine *engine;
    const struct llm_convert_options *options;
    struct save_counts *counts;
    float *wide;         // [BLOCK] numbers on their way
    void *narrow;        // [BLOCK] the same in the target dtype, at most 4 bytes each
    int64_t done, total; // bytes written, for the progress call
};

static enum dtype target_dtype(const struct saving *saving, enum dtype stored) {
    switch (saving->options->dtype) {
    case LLM_F32:
        return DTYPE_F32;
    case LLM_F16:
        return DTYPE_F16;
    case LLM_BF16:
        return DTYPE_BF16;
    default:
        return stored;
    }
}

// ---- The tensors ----------------------------------------------------------------------------

// What a file in this layout holds: all parameters that the model has, and the qkv bias in any case.
static int tensor_count(const struct config *config, enum param param) {
    return param == PARAM_ATTN_QKV_BIAS ? config->n_layer : param_count(config, param);
}

// Without data: all zero, in the dtype of most tensors.
static struct stored tensor_numbers(const struct saving *saving, enum param param, int layer) {
    const struct llm_engine *engine = saving->engine;
    if (param_present(&engine->config, param)) return engine_stored(engine, param, layer);
    return (struct stored){.dtype = engine->dtype, .n = (size_t)param_size(&engine->config, param)};
}

typedef bool tensor_fn(struct saving *saving, struct safetensors_writer *writer, enum param param, int layer,
                       struct llm_error *err);

// Calls `fn` for every tensor in the order of the file: wider dtypes first, so that all stay aligned.
static bool each_tensor(struct saving *saving, struct safetensors_writer *writer, tensor_fn *fn,
                        struct llm_error *err) {
    for (size_t width = 4; width >= 2; width /= 2) {
        for (int p = 0; p < PARAM_COUNT; p++) {
            for (int layer = 0; layer < tensor_count(&saving->engine->config, (enum param)p); layer++) {
                const enum dtype dtype = target_dtype(saving, tensor_numbers(saving, (enum param)p, layer).dtype);
                if (dtype_info(dtype)->block_bytes != width) continue;
                if (!fn(saving, writer, (enum param)p, layer, err)) return false;
            }
        }
    }
    return true;
}

// Names as GPT2LMHeadModel.save_pretrained() has them: all but the head under "transformer.".
static bool declare_tensor(struct saving *saving, struct safetensors_writer *writer, enum param param, int layer,
                           struct llm_error *err) {
    const struct stored stored = tensor_numbers(saving, param, layer);
    char name[128];
    const size_t prefix = param == PARAM_HEAD ? 0 : strlen(dialect_hf.prefix);
    memcpy(name, dialect_hf.prefix, prefix);
    if (!dialect_tensor_name(&dialect_hf, param, layer, name + prefix, sizeof name - prefix)) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "%s has no name in Hugging Face's layout", params[param].name);
    }
    int rows, cols;
    param_shape(&saving->engine->config, param, &rows, &cols);
    const int64_t shape[2] = {rows, cols};
    const bool is_matrix = params[param].is_matrix;
    const enum dtype dtype = target_dtype(saving, stored.dtype);
    saving->total += (int64_t)dtype_bytes(dtype, stored.n);
    return safetensors_writer_declare(writer, name, dtype, is_matrix ? 2 : 1, is_matrix ? shape : shape + 1, err);
}

static bool report(struct saving *saving, size_t bytes, struct llm_error *err) {
    const struct llm_callbacks *callbacks = &saving->options->callbacks;
    saving->done += (int64_t)bytes;
    const struct llm_progress progress = {"converting", "bytes", saving->done, saving->total};
    if (callbacks->progress == NULL || callbacks->progress(callbacks->user, &progress)) return true;
    return error_set(err, LLM_ERROR_CANCELLED, "converting was cancelled");
}

// n numbers from `first` on as the file is to have them: where they are, or in one of the two buffers.
static const void *tensor_bytes(struct saving *saving, const struct stored *stored, enum dtype dtype, size_t first,
                                size_t n) {
    if (stored->data == NULL) return memset(saving->narrow, 0, dtype_bytes(dtype, n));
    const void *bytes = (const char *)stored->data + dtype_bytes(stored->dtype, first);
    const int64_t nonfinite = count_nonfinite(bytes, stored->dtype, n);
    saving->counts->nonfinite += nonfinite;
    if (dtype == stored->dtype) return bytes;
    dtype_to_f32(saving->wide, bytes, stored->dtype, n);
    dtype_from_f32(saving->narrow, dtype, saving->wide, n);
    saving->counts->overflowed += count_nonfinite(saving->narrow, dtype, n) - nonfinite;
    return saving->narrow;
}

static bool write_tensor(struct saving *saving, struct safetensors_writer *writer, enum param param, int layer,
                         struct llm_error *err) {
    const struct stored stored = tensor_numbers(saving, param, layer);
    const enum dtype dtype = target_dtype(saving, stored.dtype);
    for (size_t first = 0; first < stored.n; first += BLOCK) {
        const size_t length = stored.n - first < BLOCK ? stored.n - first : BLOCK;
        const void *bytes = tensor_bytes(saving, &stored, dtype, first, length);
        const size_t size = dtype_bytes(dtype, length);
        if (!safetensors_writer_data(writer, bytes, size, err) || !report(saving, size, err)) return false;
    }
    return true;
}

static bool write_tensors(struct saving *saving, const char *directory, struct llm_error *err) {
    struct safetensors_writer *writer = safetensors_writer_new(directory, saving->options->shard_size, err);
    if (writer == NULL) return false;
    saving->wide = malloc(BLOCK * sizeof *saving->wide);
    saving->narrow = malloc(BLOCK * sizeof *saving->wide);
    bool ok = (saving->wide != NULL && saving->narrow != NULL) || error_memory(err, "conversion");
    ok = ok && each_tensor(saving, writer, declare_tensor, err) && each_tensor(saving, writer, write_tensor, err);
    free(saving->wide);
    free(saving->narrow);
    if (ok) return safetensors_writer_finish(writer, err);
    safetensors_writer_free(writer);
    return false;
}

// ---- Config and vocabulary ------------------------------------------------------------------

static bool write_config(const struct saving *saving, const char *directory, struct llm_error *err) {
    char *path = path_join(directory, "config.json");
    char *text = config_json(&saving->engine->config, target_dtype(saving, saving->engine->dtype));
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

// Whether replacing this directory loses nothing but a model: it is empty, or config and weights lie in it.
static bool replaceable(const char *directory) {
    if (directory_holds(directory, "config.json")) {
        return directory_holds(directory, "model.safetensors") ||
               directory_holds(directory, "model.safetensors.index.json");
    }
    DIR *entries = opendir(directory);
    int n = 0;
    while (entries != NULL && readdir(entries) != NULL) n++;
    if (entries != NULL) closedir(entries);
    return n == 2; // "." and ".."
}

// Sentences name the place the user knows, not the temporary one beside it.
static void name_destination(struct llm_error *err, const char *temporary, const char *destination) {
    char *found = err == NULL ? NULL : strstr(err->text, temporary);
    if (found == NULL) return;
    struct llm_error named = {.code = err->code};
    snprintf(named.text, sizeof named.text, "%.*s%s%s", (int)(found - err->text), err->text, destination,
             found + strlen(temporary));
    *err = named;
}

bool save_directory(const struct llm_engine *engine, const char *directory, const struct llm_convert_options *options,
                    struct save_counts *counts, struct llm_error *err) {
    // What is there may be something else altogether (a home directory, say).
    if (options->overwrite && directory_exists(directory) && !replaceable(directory)) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%s: is there and holds no model, so it is not replaced", directory);
    }
    *counts = (struct save_counts){0};
    struct saving saving = {.engine = engine, .options = options, .counts = counts};
    struct directory_writer *writer = directory_writer_open(directory, options->overwrite, err);
    if (writer == NULL) return false;
    const char *path = directory_writer_path(writer);
    if (write_tensors(&saving, path, err) && write_config(&saving, path, err) && write_vocabulary(&saving, path, err)) {
        return directory_writer_commit(writer, err);
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
