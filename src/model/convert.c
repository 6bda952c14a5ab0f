// convert.c: writing a model as a directory in Hugging Face layout: config.json, model.safetensors or
// shards, vocabulary. Tensors go from the source's mapping to the file in blocks, so converting takes
// little memory, whatever the model. All or nothing: the directory appears when it is whole.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "formats/safetensors.h"
#include "model/engine.h"

enum {
    BLOCK = 1 << 18 // elements converted at a time
};

struct conversion {
    const struct llm_convert_options *options;
    struct llm_engine source; // config, container and map only
    float *wide;              // [BLOCK] numbers on their way
    void *narrow;             // [BLOCK] the same in the target dtype, at most 4 bytes each
    int64_t done, total;      // bytes written, for the progress call
    int64_t n_nonfinite;      // weights of the source that are NaN or infinite
    int64_t n_overflowed;     // finite ones that became infinite
};

void llm_convert_options_init(struct llm_convert_options *options) {
    *options = (struct llm_convert_options){.dtype = -1};
}

static bool check_arguments(const char *destination, const struct llm_convert_options *options, struct llm_error *err) {
    if (*destination == '\0') return error_set(err, LLM_ERROR_ARGUMENT, "the destination's name is empty");
    if (options->dtype < -1 || options->dtype > LLM_BF16) {
        return error_set(err, LLM_ERROR_ARGUMENT, "dtype is %d; LLM_F32, LLM_F16, LLM_BF16 or -1 was expected",
                         options->dtype);
    }
    if (options->shard_size < 0) return error_set(err, LLM_ERROR_ARGUMENT, "the shard size is negative");
    return true;
}

static enum dtype target_dtype(const struct conversion *conversion, const struct tensor_view *view) {
    switch (conversion->options->dtype) {
    case LLM_F32:
        return DTYPE_F32;
    case LLM_F16:
        return DTYPE_F16;
    case LLM_BF16:
        return DTYPE_BF16;
    default:
        return view->dtype;
    }
}

// ---- The place ------------------------------------------------------------------------------

// Whether `path` is `directory` or lies in it; both are absolute and without links.
static bool lies_in(const char *path, const char *directory) {
    const size_t size = strlen(directory);
    return strncmp(path, directory, size) == 0 && (path[size] == '\0' || path[size] == '/' || size == 1);
}

// The destination as an absolute path without links; it need not exist, its parent must. NULL with an error.
static char *destination_path(const char *destination, struct llm_error *err) {
    char *path = realpath(destination, NULL);
    if (path != NULL) return path;
    char *trimmed = strdup(destination);
    if (trimmed == NULL) {
        error_memory(err, "path");
        return NULL;
    }
    for (size_t size = strlen(trimmed); size > 1 && trimmed[size - 1] == '/'; size--) trimmed[size - 1] = '\0';
    char *parent = path_directory(trimmed);
    char *real = parent == NULL ? NULL : realpath(parent, NULL);
    if (real == NULL) {
        error_errno(err, "%s: cannot create a directory here", destination);
    } else if ((path = path_join(real, path_base(trimmed))) == NULL) {
        error_memory(err, "path");
    }
    free(real);
    free(parent);
    free(trimmed);
    return path;
}

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

// The source must not be overwritten, nor its directory filled while it is read, and --force must not
// replace a directory of something else (a home directory, say).
static bool check_destination(const char *source, const char *destination, bool overwrite, struct llm_error *err) {
    char *from = realpath(source, NULL);
    char *to = destination_path(destination, err);
    bool ok = false;
    if (from == NULL) {
        error_errno(err, "%s: cannot find this path", source);
    } else if (to == NULL) {
        ok = false;
    } else if (strcmp(from, to) == 0) {
        error_set(err, LLM_ERROR_ARGUMENT, "%s: is the source itself; another place was expected", destination);
    } else if (lies_in(to, from)) {
        error_set(err, LLM_ERROR_ARGUMENT, "%s: lies in the source, %s; another place was expected", destination,
                  source);
    } else if (lies_in(from, to)) {
        error_set(err, LLM_ERROR_ARGUMENT, "%s: holds the source, %s; another place was expected", destination, source);
    } else if (overwrite && directory_exists(to) && !replaceable(to)) {
        error_set(err, LLM_ERROR_ARGUMENT, "%s: is there and holds no model, so it is not replaced", destination);
    } else {
        ok = true;
    }
    free(from);
    free(to);
    return ok;
}

// ---- The tensors ----------------------------------------------------------------------------

typedef bool tensor_fn(struct conversion *conversion, struct safetensors_writer *writer, enum param param, int layer,
                       struct llm_error *err);

// Calls `fn` for every tensor in the order of the file: wider dtypes first, so that all stay aligned.
static bool each_tensor(struct conversion *conversion, struct safetensors_writer *writer, tensor_fn *fn,
                        struct llm_error *err) {
    const struct llm_engine *source = &conversion->source;
    for (size_t width = 4; width >= 2; width /= 2) {
        for (int p = 0; p < PARAM_COUNT; p++) {
            for (int layer = 0; layer < param_count(&source->config, (enum param)p); layer++) {
                const enum dtype dtype = target_dtype(conversion, source->map.views[p][layer]);
                if (dtype_info(dtype)->block_bytes != width) continue;
                if (!fn(conversion, writer, (enum param)p, layer, err)) return false;
            }
        }
    }
    return true;
}

// Names as GPT2LMHeadModel.save_pretrained() has them: all but the head under "transformer.".
static bool declare_tensor(struct conversion *conversion, struct safetensors_writer *writer, enum param param,
                           int layer, struct llm_error *err) {
    const struct llm_engine *source = &conversion->source;
    const struct tensor_view *view = source->map.views[param][layer];
    char name[128];
    const size_t prefix = param == PARAM_HEAD ? 0 : strlen(dialect_hf.prefix);
    memcpy(name, dialect_hf.prefix, prefix);
    if (!dialect_tensor_name(&dialect_hf, param, layer, name + prefix, sizeof name - prefix)) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "%s has no name in Hugging Face's layout", params[param].name);
    }
    int rows, cols;
    param_shape(&source->config, param, &rows, &cols);
    const int64_t shape[2] = {rows, cols};
    const bool is_matrix = params[param].is_matrix;
    const enum dtype dtype = target_dtype(conversion, view);
    conversion->total += (int64_t)dtype_bytes(dtype, (size_t)view->n_elements);
    return safetensors_writer_declare(writer, name, dtype, is_matrix ? 2 : 1, is_matrix ? shape : shape + 1, err);
}

static bool report(struct conversion *conversion, size_t bytes, struct llm_error *err) {
    const struct llm_callbacks *callbacks = &conversion->options->callbacks;
    conversion->done += (int64_t)bytes;
    const struct llm_progress progress = {"converting", "bytes", conversion->done, conversion->total};
    if (callbacks->progress == NULL || callbacks->progress(callbacks->user, &progress)) return true;
    return error_set(err, LLM_ERROR_CANCELLED, "converting was cancelled");
}

static bool write_tensor(struct conversion *conversion, struct safetensors_writer *writer, enum param param, int layer,
                         struct llm_error *err) {
    const struct tensor_view *view = conversion->source.map.views[param][layer];
    const enum dtype dtype = target_dtype(conversion, view);
    const size_t n = (size_t)view->n_elements;
    for (size_t first = 0; first < n; first += BLOCK) {
        const size_t length = n - first < BLOCK ? n - first : BLOCK;
        const void *bytes = view->data + dtype_bytes(view->dtype, first);
        const int64_t nonfinite = count_nonfinite(bytes, view->dtype, length);
        conversion->n_nonfinite += nonfinite;
        if (dtype != view->dtype) {
            dtype_to_f32(conversion->wide, bytes, view->dtype, length);
            dtype_from_f32(conversion->narrow, dtype, conversion->wide, length);
            conversion->n_overflowed += count_nonfinite(conversion->narrow, dtype, length) - nonfinite;
            bytes = conversion->narrow;
        }
        const size_t size = dtype_bytes(dtype, length);
        if (!safetensors_writer_data(writer, bytes, size, err) || !report(conversion, size, err)) return false;
    }
    return true;
}

static bool write_tensors(struct conversion *conversion, const char *directory, struct llm_error *err) {
    struct safetensors_writer *writer = safetensors_writer_new(directory, conversion->options->shard_size, err);
    if (writer == NULL) return false;
    conversion->wide = malloc(BLOCK * sizeof *conversion->wide);
    conversion->narrow = malloc(BLOCK * sizeof *conversion->wide);
    bool ok = (conversion->wide != NULL && conversion->narrow != NULL) || error_memory(err, "conversion");
    ok = ok && each_tensor(conversion, writer, declare_tensor, err) &&
         each_tensor(conversion, writer, write_tensor, err);
    free(conversion->wide);
    free(conversion->narrow);
    if (ok) return safetensors_writer_finish(writer, err);
    safetensors_writer_free(writer);
    return false;
}

// ---- Config and vocabulary ------------------------------------------------------------------

static bool write_config(struct conversion *conversion, const char *directory, struct llm_error *err) {
    const struct llm_engine *source = &conversion->source;
    const struct tensor_view most = {.dtype = source->dtype};
    char *path = path_join(directory, "config.json");
    char *text = config_json(&source->config, target_dtype(conversion, &most));
    const bool ok =
        path != NULL && text != NULL ? file_write(path, text, strlen(text), err) : error_memory(err, "config.json");
    free(text);
    free(path);
    return ok;
}

static bool write_vocabulary(const struct conversion *conversion, const char *directory, struct llm_error *err) {
    const struct llm_tokenizer *tokenizer = conversion->source.tokenizer;
    return tokenizer == NULL || tokenizer_save(tokenizer, directory, err);
}

// ---- The whole ------------------------------------------------------------------------------

static void give_notices(const struct conversion *conversion) {
    const struct llm_callbacks *callbacks = &conversion->options->callbacks;
    const long long nonfinite = conversion->n_nonfinite, overflowed = conversion->n_overflowed;
    if (nonfinite > 0) {
        engine_notice(callbacks, "%lld weight%s of the source %s NaN or infinite", nonfinite, nonfinite == 1 ? "" : "s",
                      nonfinite == 1 ? "is" : "are");
    }
    if (overflowed > 0) {
        const bool is_f16 = conversion->options->dtype == LLM_F16;
        engine_notice(callbacks, "%lld weight%s too large for %s and became infinite%s", overflowed,
                      overflowed == 1 ? " is" : "s are", is_f16 ? "F16" : "BF16",
                      is_f16 ? "; BF16 has their range" : "");
    }
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

static bool convert_to(struct conversion *conversion, const char *destination, struct llm_error *err) {
    struct directory_writer *writer = directory_writer_open(destination, conversion->options->overwrite, err);
    if (writer == NULL) return false;
    const char *directory = directory_writer_path(writer);
    if (write_tensors(conversion, directory, err) && write_config(conversion, directory, err) &&
        write_vocabulary(conversion, directory, err)) {
        return directory_writer_commit(writer, err);
    }
    name_destination(err, directory, destination);
    directory_writer_abort(writer);
    return false;
}

bool llm_convert(const char *source, const char *destination, const struct llm_convert_options *options,
                 struct llm_error *err) {
    struct llm_convert_options defaults;
    llm_convert_options_init(&defaults);
    if (options == NULL) options = &defaults;
    if (!check_arguments(destination, options, err)) return false;
    struct llm_engine_options opening;
    llm_engine_options_init(&opening);
    opening.callbacks = options->callbacks;
    char *path = model_resolve(source, &opening, err);
    if (path == NULL) return false;
    struct conversion conversion = {.options = options, .source = {.callbacks = options->callbacks}};
    bool ok =
        check_destination(path, destination, options->overwrite, err) && engine_read(&conversion.source, path, err);
    if (ok) {
        ok = engine_read_tokenizer(&conversion.source, err) && convert_to(&conversion, destination, err);
        engine_release(&conversion.source);
    }
    if (ok) give_notices(&conversion);
    free(path);
    return ok;
}
