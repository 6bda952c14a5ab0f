// resolve.c: from what a user calls MODEL to a path.
//
// In this order: nothing (the downloaded gpt2, else the bundled model), "bundled", a directory or file
// that is there, a name that can be downloaded. What is there goes before what must be fetched, so that
// a checkout called gpt2 in the current directory is used and not 500 MB downloaded.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "formats/gguf.h"
#include "formats/torch_zip.h"
#include "model/engine.h"
#include "store/store.h"

void engine_notice(const struct llm_callbacks *callbacks, const char *format, ...) {
    if (callbacks->notice == NULL) return;
    char sentence[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    str_clean(sentence);
    callbacks->notice(callbacks->user, sentence);
}

// Whether there is a model by the look of it.
static bool holds_model(const char *directory) {
    return directory_holds(directory, "config.json") || directory_holds(directory, "hparams.json");
}

// A directory is a model's own, or a training run's, whose model lies in model/.
static char *resolve_directory(const char *path, struct llm_error *err) {
    char *result = NULL;
    char *inner = path_join(path, "model");
    if (inner != NULL && !holds_model(path) && holds_model(inner)) {
        result = inner;
        inner = NULL;
    } else {
        result = strdup(path);
    }
    free(inner);
    if (result == NULL) error_memory(err, "path");
    return result;
}

static char *resolve_default(const struct llm_engine_options *options, struct llm_error *err) {
    char *path = store_find_model("gpt2");
    if (path != NULL) {
        engine_notice(&options->callbacks, "no model named; using the downloaded gpt2");
        return path;
    }
    path = store_bundled(err);
    if (path != NULL) engine_notice(&options->callbacks, "no model named; using the bundled one");
    return path;
}

static char *resolve_known(const char *name, const struct llm_engine_options *options, struct llm_error *err) {
    char *path = store_find_model(name);
    if (path != NULL) return path;
    if (options->offline) {
        error_set(err, LLM_ERROR_NOT_FOUND,
                  "%s has not been downloaded, and downloading is switched off; \"-m bundled\" runs the model that "
                  "comes with my-llm",
                  name);
        return NULL;
    }
    struct llm_download_options download;
    llm_download_options_init(&download);
    download.callbacks = options->callbacks;
    engine_notice(&options->callbacks, "%s is not here yet; downloading it", name);
    struct llm_error reason = {0};
    if (llm_download(name, &download, &path, &reason)) return path;
    if (reason.code == LLM_ERROR_CANCELLED) {
        error_set(err, reason.code, "%s", reason.text);
    } else {
        error_set(err, reason.code,
                  "%s is not here and could not be downloaded: %.800s; \"-m bundled\" runs the model that comes with "
                  "my-llm",
                  name, reason.text);
    }
    return NULL;
}

// The sentence for a name that is nothing: it lists what could have been given.
static char *resolve_nothing(const char *model, struct llm_error *err) {
    struct strbuf names;
    strbuf_init(&names, 400);
    int n_items = 0;
    const struct llm_download_item *items = llm_download_items(&n_items);
    for (int i = 0; i < n_items; i++) {
        if (store_is_model(items[i].name)) strbuf_printf(&names, "%s, ", items[i].name);
    }
    error_set(err, LLM_ERROR_NOT_FOUND,
              "%.300s: there is no such model; a directory, a .safetensors, .pth or .gguf file, or one of %sbundled "
              "was expected",
              model, strbuf_ok(&names) ? names.bytes : "");
    strbuf_release(&names);
    return NULL;
}

static char *resolve_file(const char *path, struct llm_error *err) {
    const size_t size = strlen(path);
    const char *const suffix = ".safetensors";
    const bool is_safetensors = size > strlen(suffix) && strcmp(path + size - strlen(suffix), suffix) == 0;
    if (!is_safetensors && !torch_zip_named(path) && !gguf_probe(path)) {
        error_set(err, LLM_ERROR_UNSUPPORTED,
                  "%s: is not a model; a directory with config.json or hparams.json, or one .safetensors, .pth or "
                  ".gguf file was expected",
                  path);
        return NULL;
    }
    char *copy = strdup(path);
    if (copy == NULL) error_memory(err, "path");
    return copy;
}

char *model_resolve(const char *model, const struct llm_engine_options *options, struct llm_error *err) {
    if (model == NULL) return resolve_default(options, err);
    if (*model == '\0') {
        error_set(err, LLM_ERROR_ARGUMENT, "the model's name is empty");
        return NULL;
    }
    const bool known = strcmp(model, "bundled") == 0 || store_is_model(model);
    if (directory_exists(model)) {
        char *path = resolve_directory(model, err);
        if (path == NULL || !known || holds_model(path)) return path;
        free(path); // some other directory that happens to have the name
    } else if (access(model, F_OK) == 0 && !known) {
        return resolve_file(model, err);
    }
    if (strcmp(model, "bundled") == 0) return store_bundled(err);
    return known ? resolve_known(model, options, err) : resolve_nothing(model, err);
}
