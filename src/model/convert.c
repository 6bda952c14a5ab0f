// convert.c: from a model that lies somewhere to one elsewhere: in Hugging Face layout (save.c), or one file of
// PyTorch's (save_torch.c) or llama.cpp's (save_gguf.c). Tensors go from the source's mapping to the file in blocks, so
// converting takes little memory, whatever the model.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "formats/gguf.h"
#include "model/engine.h"
#include "model/save.h"

void llm_convert_options_init(struct llm_convert_options *options) {
    *options = (struct llm_convert_options){.dtype = -1};
}

// What the destination is to be.
enum kind {
    KIND_DIRECTORY,
    KIND_TORCH,
    KIND_GGUF
};

static enum kind kind_of(const char *destination) {
    const size_t size = strlen(destination);
    if (gguf_named(destination)) return KIND_GGUF;
    const bool is_torch = (size > 4 && strcmp(destination + size - 4, ".pth") == 0) ||
                          (size > 3 && strcmp(destination + size - 3, ".pt") == 0);
    return is_torch ? KIND_TORCH : KIND_DIRECTORY;
}

static bool check_quantize(const char *destination, const struct llm_convert_options *options, struct llm_error *err) {
    const int quantize = options->quantize;
    if (quantize < LLM_QUANTIZE_NONE || quantize > LLM_QUANTIZE_Q4) {
        return error_set(err, LLM_ERROR_ARGUMENT, "quantize is %d; one of enum llm_quantize was expected", quantize);
    }
    if (quantize != LLM_QUANTIZE_NONE && options->dtype != -1) {
        return error_set(err, LLM_ERROR_ARGUMENT, "a number format and fewer bits cannot both be asked for");
    }
    return quantize == LLM_QUANTIZE_NONE || quantize == LLM_QUANTIZE_BF16 || kind_of(destination) == KIND_GGUF ||
           error_set(err, LLM_ERROR_ARGUMENT,
                     "%s: weights in blocks of 8 or 4 bits are written to GGUF files; a name that ends in .gguf was "
                     "expected",
                     destination);
}

// Names of files that are read, or written, but not as such: a directory would be made of them, which nobody means by
// "model.safetensors". One that is there already is meant.
static bool check_name(const char *destination, struct llm_error *err) {
    static const char *const endings[] = {".safetensors", ".bin", ".pth", ".pt", ".gguf"};
    if (kind_of(destination) != KIND_DIRECTORY || directory_exists(destination)) return true;
    const size_t size = strlen(destination);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t length = strlen(endings[i]);
        if (size > length && strcasecmp(destination + size - length, endings[i]) == 0) {
            return error_set(err, LLM_ERROR_ARGUMENT,
                             "%s: models are written as a .gguf file, as a .pth or .pt file, or as a directory, whose "
                             "name may not end in %s",
                             destination, destination + size - length);
        }
    }
    return true;
}

static bool check_arguments(const char *destination, const struct llm_convert_options *options, struct llm_error *err) {
    if (*destination == '\0') return error_set(err, LLM_ERROR_ARGUMENT, "the destination's name is empty");
    if (options->dtype < -1 || options->dtype > LLM_BF16) {
        return error_set(err, LLM_ERROR_ARGUMENT, "dtype is %d; LLM_F32, LLM_F16, LLM_BF16 or -1 was expected",
                         options->dtype);
    }
    if (options->n_head < 0) return error_set(err, LLM_ERROR_ARGUMENT, "the number of heads is negative");
    if (options->shard_size < 0) return error_set(err, LLM_ERROR_ARGUMENT, "the shard size is negative");
    return check_name(destination, err) && check_quantize(destination, options, err);
}

// ---- The place ------------------------------------------------------------------------------

// Whether `path` is `directory` or lies in it; both are absolute and without links.
static bool lies_in(const char *path, const char *directory) {
    const size_t size = strlen(directory);
    return strncmp(path, directory, size) == 0 && (path[size] == '\0' || path[size] == '/' || size == 1);
}

// A copy of `path` without slashes at its end. NULL with an error.
static char *without_slashes(const char *path, struct llm_error *err) {
    char *trimmed = strdup(path);
    if (trimmed == NULL) {
        error_memory(err, "path");
        return NULL;
    }
    for (size_t size = strlen(trimmed); size > 1 && trimmed[size - 1] == '/'; size--) trimmed[size - 1] = '\0';
    return trimmed;
}

// The destination as an absolute path without links; it need not exist, its parent must. NULL with an error.
static char *destination_path(const char *destination, struct llm_error *err) {
    char *path = realpath(destination, NULL);
    if (path != NULL) return path;
    char *trimmed = without_slashes(destination, err);
    if (trimmed == NULL) return NULL;
    char *parent = path_directory(trimmed);
    char *real = parent == NULL ? NULL : realpath(parent, NULL);
    if (parent == NULL) {
        error_memory(err, "path");
    } else if (real == NULL && errno == ENOENT) {
        error_set(err, LLM_ERROR_NOT_FOUND, "%s: the folder %s does not exist; create it first", destination, parent);
    } else if (real == NULL) {
        error_errno(err, "%s: cannot create anything here", destination);
    } else if ((path = path_join(real, path_base(trimmed))) == NULL) {
        error_memory(err, "path");
    }
    free(real);
    free(parent);
    free(trimmed);
    return path;
}

// A directory is exchanged as a whole, by renaming: that would replace the link, and following it is not what all mean.
static bool is_link(const char *path, bool *answer, struct llm_error *err) {
    char *trimmed = without_slashes(path, err);
    struct stat status;
    *answer = trimmed != NULL && lstat(trimmed, &status) == 0 && S_ISLNK(status.st_mode);
    free(trimmed);
    return trimmed != NULL;
}

// The source must not be overwritten, nor its directory filled while it is read; one file may be put there.
static bool check_destination(const char *source, const char *destination, bool as_file, struct llm_error *err) {
    char *from = realpath(source, NULL);
    char *to = destination_path(destination, err);
    bool ok = false;
    bool linked = false;
    if (from == NULL) {
        error_errno(err, "%s: cannot find this path", source);
    } else if (to == NULL) {
        ok = false;
    } else if (strcmp(from, to) == 0) {
        error_set(err, LLM_ERROR_ARGUMENT, "%s: is the source itself; another place was expected", destination);
    } else if (as_file) {
        ok = true;
    } else if (!is_link(destination, &linked, err)) {
        ok = false;
    } else if (linked) {
        error_set(err, LLM_ERROR_ARGUMENT,
                  "%s: is a symbolic link, which is not replaced; name the directory it leads to", destination);
    } else if (lies_in(to, from)) {
        error_set(err, LLM_ERROR_ARGUMENT, "%s: lies in the source, %s; another place was expected", destination,
                  source);
    } else if (lies_in(from, to)) {
        error_set(err, LLM_ERROR_ARGUMENT, "%s: holds the source, %s; another place was expected", destination, source);
    } else {
        ok = true;
    }
    free(from);
    free(to);
    return ok;
}

// Whether replacing this directory loses nothing but a model: it is empty, or config and weights lie in it and what
// else Hugging Face has beside them. What is there may be something else altogether (a home directory, say).
static bool check_replaceable(const char *directory, struct llm_error *err) {
    static const char *const nothing[] = {NULL};
    static const char *const model[] = {"config.json",
                                        "generation_config.json",
                                        "model.safetensors",
                                        "model-*-of-*.safetensors",
                                        "model.safetensors.index.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        NULL};
    char name[256];
    if (!directory_has_other(directory, nothing, name)) return true;
    if (!directory_holds(directory, "config.json") || !(directory_holds(directory, "model.safetensors") ||
                                                        directory_holds(directory, "model.safetensors.index.json"))) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%s: is there and holds no model, so it is not replaced", directory);
    }
    return !directory_has_other(directory, model, name) ||
           error_set(err, LLM_ERROR_ARGUMENT, "%s: holds %s, which is no part of a model, so it is not replaced",
                     directory, name);
}

// ---- The whole ------------------------------------------------------------------------------

static bool convert_to_file(const struct llm_engine *engine, const char *path,
                            const struct llm_convert_options *options, struct save_counts *counts,
                            struct llm_error *err) {
    const bool is_gguf = kind_of(path) == KIND_GGUF;
    if (options->shard_size != 0) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%s: %s files are not written in shards", path,
                         is_gguf ? "GGUF" : "PyTorch's");
    }
    if (path_exists(path) && !(options->overwrite && file_exists(path))) {
        return error_set(err, LLM_ERROR_EXISTS, "%s: is there already; name another place%s", path,
                         file_exists(path) ? ", or allow it to be replaced" : "");
    }
    return is_gguf ? save_gguf(engine, path, options, counts, err) : save_torch(engine, path, options, counts, err);
}

// The number format by its name, for the sentence.
static const char *format_name(const struct llm_convert_options *options) {
    static const char *const blocks[] = {[LLM_QUANTIZE_Q8] = "Q8_0", [LLM_QUANTIZE_Q4] = "Q4_0"};
    if (options->quantize != LLM_QUANTIZE_NONE) return blocks[options->quantize];
    return options->dtype == LLM_F16 ? "F16" : "BF16";
}

static void give_notices(const struct llm_convert_options *options, const struct save_counts *counts) {
    const long long nonfinite = counts->nonfinite, overflowed = counts->overflowed;
    if (nonfinite > 0) {
        engine_notice(&options->callbacks, "%lld weight%s of the source %s NaN or infinite", nonfinite,
                      nonfinite == 1 ? "" : "s", nonfinite == 1 ? "is" : "are");
    }
    if (overflowed > 0) {
        const bool is_bf16 = options->dtype == LLM_BF16;
        engine_notice(&options->callbacks, "%lld weight%s too large for %s and became infinite%s", overflowed,
                      overflowed == 1 ? " is" : "s are", format_name(options), is_bf16 ? "" : "; BF16 has their range");
    }
}

bool llm_convert(const char *source, const char *destination, const struct llm_convert_options *options,
                 struct llm_error *err) {
    struct llm_convert_options defaults;
    llm_convert_options_init(&defaults);
    if (options == NULL) options = &defaults;
    if (!check_arguments(destination, options, err)) return false;
    struct llm_convert_options chosen = *options;
    if (options->quantize == LLM_QUANTIZE_BF16) {
        chosen.quantize = LLM_QUANTIZE_NONE;
        chosen.dtype = LLM_BF16;
    }
    options = &chosen;
    struct llm_engine_options opening;
    llm_engine_options_init(&opening);
    opening.callbacks = options->callbacks;
    char *path = model_resolve(source, &opening, err);
    if (path == NULL) return false;
    const bool as_file = kind_of(destination) != KIND_DIRECTORY;
    struct llm_engine engine = {.callbacks = options->callbacks, .n_head = options->n_head};
    struct save_counts counts = {0};
    bool ok = check_destination(path, destination, as_file, err) && engine_read(&engine, path, err);
    if (ok) {
        ok = engine_read_tokenizer(&engine, err) &&
             (as_file ? convert_to_file(&engine, destination, options, &counts, err)
                      : (!options->overwrite || check_replaceable(destination, err)) &&
                            save_directory(&engine, destination, options, &counts, err));
        engine_release(&engine);
    }
    if (ok) give_notices(options, &counts);
    free(path);
    return ok;
}
