// convert.c: from one model to another, whatever it was read from: a directory in Hugging Face layout, or one file of
// PyTorch's. What is written is in save.h; here is where, and what is not overwritten.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/save.h"

void llm_convert_options_init(struct llm_convert_options *options) {
    *options = (struct llm_convert_options){.dtype = -1};
}

static bool check_arguments(const char *destination, const struct llm_convert_options *options, struct llm_error *err) {
    if (*destination == '\0') return error_set(err, LLM_ERROR_ARGUMENT, "the destination's name is empty");
    if (options->dtype < -1 || options->dtype > LLM_BF16) {
        return error_set(err, LLM_ERROR_ARGUMENT, "dtype is %d; LLM_F32, LLM_F16, LLM_BF16 or -1 was expected",
                         options->dtype);
    }
    if (options->n_head < 0) return error_set(err, LLM_ERROR_ARGUMENT, "the number of heads is negative");
    if (options->shard_size < 0) return error_set(err, LLM_ERROR_ARGUMENT, "the shard size is negative");
    return true;
}

// Whether the destination is to be one file of PyTorch's.
static bool is_file_name(const char *destination) {
    const size_t size = strlen(destination);
    return (size > 4 && strcmp(destination + size - 4, ".pth") == 0) ||
           (size > 3 && strcmp(destination + size - 3, ".pt") == 0);
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

// The source must not be overwritten, nor its directory filled while it is read (one file may be put there), and
// --force must not replace a directory of something else (a home directory, say).
static bool check_destination(const char *source, const char *destination, bool as_file, bool overwrite,
                              struct llm_error *err) {
    char *from = realpath(source, NULL);
    char *to = destination_path(destination, err);
    bool ok = false;
    if (from == NULL) {
        error_errno(err, "%s: cannot find this path", source);
    } else if (to == NULL) {
        ok = false;
    } else if (strcmp(from, to) == 0) {
        error_set(err, LLM_ERROR_ARGUMENT, "%s: is the source itself; another place was expected", destination);
    } else if (as_file) {
        ok = true;
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

// ---- The whole ------------------------------------------------------------------------------

// Sentences name the place the user knows, not the temporary one beside it.
static void name_destination(struct llm_error *err, const char *temporary, const char *destination) {
    char *found = err == NULL ? NULL : strstr(err->text, temporary);
    if (found == NULL) return;
    struct llm_error named = {.code = err->code};
    snprintf(named.text, sizeof named.text, "%.*s%s%s", (int)(found - err->text), err->text, destination,
             found + strlen(temporary));
    *err = named;
}

static bool convert_directory(struct saving *saving, const char *destination, const struct llm_convert_options *options,
                              struct llm_error *err) {
    struct directory_writer *writer = directory_writer_open(destination, options->overwrite, err);
    if (writer == NULL) return false;
    const char *directory = directory_writer_path(writer);
    if (save_directory(saving, directory, options->shard_size, err)) return directory_writer_commit(writer, err);
    name_destination(err, directory, destination);
    directory_writer_abort(writer);
    return false;
}

static bool convert_file(struct saving *saving, const char *destination, const struct llm_convert_options *options,
                         struct llm_error *err) {
    if (options->shard_size != 0) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%s: PyTorch's files are not written in shards", destination);
    }
    if (path_exists(destination) && !(options->overwrite && file_exists(destination))) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%s: is there already; name another place%s", destination,
                         file_exists(destination) ? ", or allow it to be replaced" : "");
    }
    return save_torch(saving, destination, err);
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
    const bool as_file = is_file_name(destination);
    struct llm_engine engine = {.callbacks = options->callbacks, .n_head = options->n_head};
    bool ok = check_destination(path, destination, as_file, options->overwrite, err) && engine_read(&engine, path, err);
    if (ok) {
        struct saving saving = {.engine = &engine, .dtype = options->dtype, .what = "converting"};
        ok = engine_read_tokenizer(&engine, err) && (as_file ? convert_file(&saving, destination, options, err)
                                                             : convert_directory(&saving, destination, options, err));
        if (ok) saving_notices(&saving);
        engine_release(&engine);
    }
    free(path);
    return ok;
}
