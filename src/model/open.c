// open.c: opening a model: path, config, tensors, vocabulary, kernels, in this order.
//
// Everything that can be wrong with the files is found before kernels are made; no weight is read (a
// tensor that must be converted excepted), so opening takes as long as reading the headers.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "formats/gguf.h"
#include "formats/torch_zip.h"
#include "model/engine.h"
#include "model/gguf_model.h"
#include "model/labels.h"
#include "model/quantize.h"
#include "model/weights.h"
#include "store/store.h"

enum {
    MAX_CONFIG_SIZE = 16 << 20, // config.json has 700 bytes; one with thousands of label names has far fewer than this
    GPT2_VOCAB_SIZE = 50257
};

// ---- Reading config and tensors --------------------------------------------------------------

// Where the config and vocabulary of the model at `path` lie, allocated.
static char *directory_of(const char *path, struct llm_error *err) {
    char *directory = directory_exists(path) ? strdup(path) : path_directory(path);
    if (directory == NULL) error_memory(err, "path");
    return directory;
}

// Finds config.json, else hparams.json, in engine->directory; engine->config_path stays NULL when there is neither.
static bool find_config(struct llm_engine *engine, struct llm_error *err) {
    static const char *const names[] = {"config.json", "hparams.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0] && engine->config_path == NULL; i++) {
        engine->config_path = path_join(engine->directory, names[i]);
        if (engine->config_path == NULL) return error_memory(err, "path");
        struct stat status;
        if (lstat(engine->config_path, &status) == 0) break;
        free(engine->config_path);
        engine->config_path = NULL;
    }
    return true;
}

static bool parse_config(struct llm_engine *engine, const char *bytes, size_t size, struct llm_error *err) {
    struct config *config = &engine->config;
    if (strcmp(path_base(engine->config_path), "hparams.json") == 0) {
        return config_parse_hparams(config, bytes, size, err);
    }
    if (!config_parse(config, bytes, size, err)) return false;
    if (config->n_labels == 0) return true;
    struct llm_error reason = {0};
    engine->labels = labels_parse(bytes, size, config->n_labels, &reason);
    config->labels = (const char *const *)engine->labels;
    return reason.code == LLM_OK || error_set(err, reason.code, "%s", reason.text);
}

static bool read_config(struct llm_engine *engine, struct llm_error *err) {
    char *bytes = NULL;
    size_t size = 0;
    if (!file_read(engine->config_path, MAX_CONFIG_SIZE, &bytes, &size, err)) return false;
    bool ok = parse_config(engine, bytes, size, err);
    free(bytes);
    if (!ok) error_prefix(err, "%s", engine->config_path);
    if (ok && engine->n_head != 0) {
        ok = error_set(err, LLM_ERROR_ARGUMENT, "%s: says how many heads there are, so they cannot be chosen",
                       engine->config_path);
    }
    return ok;
}

// A file of PyTorch's has no config: the sizes are read off its tensors.
static bool infer_config(struct llm_engine *engine, struct llm_error *err) {
    if (!dialect_infer_config(&engine->config, engine->container, engine->n_head, engine->path, err)) return false;
    if (engine->n_head != 0) return true;
    engine_notice(&engine->callbacks,
                  "%s: there is no config.json beside it; n_head %d is assumed: heads of 64 numbers, as GPT-2 has them",
                  engine->path, engine->config.n_head);
    return true;
}

// A GGUF file says everything itself, so what lies beside it does not count.
static bool read_gguf(struct llm_engine *engine, struct llm_error *err) {
    if (engine->n_head != 0) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%s: says how many heads there are, so they cannot be chosen",
                         engine->path);
    }
    engine->container = gguf_open(engine->path, err);
    if (engine->container == NULL) return false;
    if (gguf_config(&engine->config, engine->container, err)) return true;
    error_prefix(err, "%s", engine->path);
    return false;
}

static bool read_container(struct llm_engine *engine, struct llm_error *err) {
    if (gguf_probe(engine->path)) return read_gguf(engine, err);
    if (!find_config(engine, err)) return false;
    if (engine->config_path == NULL && (!torch_zip_named(engine->path) || directory_exists(engine->path))) {
        return error_set(err, LLM_ERROR_NOT_FOUND,
                         "%s: holds neither config.json nor hparams.json, so what model this is cannot be told",
                         engine->directory);
    }
    if (engine->config_path != NULL && !read_config(engine, err)) return false;
    engine->container = container_open(engine->path, err);
    return engine->container != NULL && (engine->config_path != NULL || infer_config(engine, err));
}

// engine->dtype: what most numbers are stored in.
static enum dtype most_common_dtype(const struct llm_engine *engine) {
    int64_t elements[DTYPE_COUNT] = {0};
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(&engine->config, (enum param)p); layer++) {
            const struct param_view *view = &engine->map.views[p][layer];
            elements[view->dtype] += view->n_elements;
        }
    }
    enum dtype most = DTYPE_F32;
    for (int d = 0; d < DTYPE_OTHER; d++) {
        if (elements[d] > elements[most]) most = (enum dtype)d;
    }
    return most;
}

static bool list_files(struct llm_engine *engine, struct llm_error *err) {
    const struct container *container = engine->container;
    engine->files = calloc((size_t)container->n_files + 1, sizeof *engine->files);
    if (engine->files == NULL) return error_memory(err, "list of files");
    struct stat status;
    if (engine->config_path != NULL) {
        const int64_t config_size = stat(engine->config_path, &status) == 0 ? (int64_t)status.st_size : 0;
        engine->files[engine->n_files++] = (struct llm_model_file){engine->config_path, config_size};
    }
    for (int i = 0; i < container->n_files; i++) {
        engine->files[engine->n_files++] = (struct llm_model_file){container->files[i].path, container->files[i].size};
    }
    return true;
}

bool engine_read(struct llm_engine *engine, const char *path, struct llm_error *err) {
    engine->n_nonfinite = -1;
    engine->path = strdup(path);
    engine->directory = directory_of(path, err);
    if (engine->path == NULL) {
        error_memory(err, "path");
    } else if (engine->directory != NULL && read_container(engine, err) &&
               tensor_map_init(&engine->map, engine->container, &engine->config, path, err) &&
               list_files(engine, err)) {
        engine->dtype = most_common_dtype(engine);
        return true;
    }
    engine_release(engine);
    return false;
}

void engine_release(struct llm_engine *engine) {
    if (engine->ops != NULL) weights_release(&engine->weights, &engine->config, engine->ops);
    if (engine->own.data != NULL) param_block_release(&engine->own, engine->ops);
    ops_free(engine->ops);
    llm_tokenizer_free(engine->tokenizer);
    tensor_map_release(&engine->map);
    container_free(engine->container);
    free(engine->files);
    labels_free(engine->labels, engine->config.n_labels);
    free(engine->config_path);
    free(engine->directory);
    free(engine->path);
    *engine = (struct llm_engine){0};
}

// ---- The vocabulary -------------------------------------------------------------------------

// A directory without a vocabulary is fine. The embedding may have more rows than the vocabulary has ids
// (padding to a round number is common). More ids than rows happens too, where a pad token was added and
// the model not resized: those ids are refused when they are used.
bool engine_read_tokenizer(struct llm_engine *engine, struct llm_error *err) {
    struct llm_error reason = {0};
    const bool is_gguf = gguf_probe(engine->path);
    const char *place = is_gguf ? engine->path : engine->directory;
    engine->tokenizer =
        is_gguf ? gguf_tokenizer(engine->container, &reason) : tokenizer_open_directory(engine->directory, &reason);
    if (engine->tokenizer == NULL) {
        if (reason.code != LLM_ERROR_NOT_FOUND) {
            error_set(err, reason.code, "%s", reason.text);
            if (is_gguf) error_prefix(err, "%s", place);
            return false;
        }
        if (engine->config_path != NULL || engine->config.vocab_size != GPT2_VOCAB_SIZE) return true;
        engine->tokenizer = tokenizer_new_gpt2(err); // one file, in GPT-2's size
        return engine->tokenizer != NULL;
    }
    // OpenAI's hparams.json does not say which id ends a text, what was read off tensors neither, and GGUF need not;
    // the vocabulary does.
    const int32_t eot = llm_tokenizer_eot(engine->tokenizer);
    const bool unsaid =
        engine->map.dialect == &dialect_openai || (engine->config_path == NULL && (!is_gguf || engine->config.eos < 0));
    if (unsaid && eot < engine->config.vocab_size) engine->config.eos = eot;
    const int n_ids = llm_tokenizer_vocab_size(engine->tokenizer);
    const int vocab_size = engine->config.vocab_size;
    if (n_ids > vocab_size) {
        engine_notice(&engine->callbacks, "%s: the vocabulary has %d ids and the model %d; those above cannot be used",
                      place, n_ids, vocab_size);
    }
    return true;
}

// ---- The public functions -------------------------------------------------------------------

void llm_engine_options_init(struct llm_engine_options *options) {
    *options = (struct llm_engine_options){0};
}

static const struct llm_engine_options default_options;

struct ops *engine_ops(const struct llm_engine_options *options, struct llm_error *err) {
    const bool named = options->isa != NULL && strcmp(options->isa, "auto") != 0;
    const int level = named ? ops_level_from_name(options->isa) : -1;
    if (named && level < 0) {
        error_set(err, LLM_ERROR_ARGUMENT, "isa is \"%.40s\"; auto, ref, baseline, avx2 or avx512 was expected",
                  options->isa);
        return NULL;
    }
    struct ops *ops = ops_new(level, options->n_threads, err);
    if (ops == NULL || options->compute != LLM_COMPUTE_BF16 || ops_use_bf16(ops, err)) return ops;
    ops_free(ops);
    return NULL;
}

static bool open_at(struct llm_engine *engine, const char *path, const struct llm_engine_options *options,
                    struct llm_error *err) {
    return engine_read(engine, path, err) && engine_read_tokenizer(engine, err) &&
           weights_init(&engine->weights, &engine->map, &engine->config, engine->ops, err) &&
           engine_quantize(engine, options->quantize, err);
}

struct llm_engine *llm_engine_open(const char *model, const struct llm_engine_options *options, struct llm_error *err) {
    if (options == NULL) options = &default_options;
    struct llm_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        error_memory(err, "engine");
        return NULL;
    }
    engine->callbacks = options->callbacks;
    engine->ops = engine_ops(options, err);
    char *path = engine->ops != NULL ? model_resolve(model, options, err) : NULL;
    const bool ok = path != NULL && open_at(engine, path, options, err);
    free(path);
    if (ok) return engine;
    llm_engine_free(engine);
    return NULL;
}

void llm_engine_free(struct llm_engine *engine) {
    if (engine == NULL) return;
    engine_release(engine);
    free(engine);
}

bool engine_writes_text(const struct llm_engine *engine, struct llm_error *err) {
    if (engine->config.n_labels == 0) return true;
    return error_set(err, LLM_ERROR_UNSUPPORTED,
                     "%s: is a classifier of %d labels, which writes no text; a model with a vocabulary for its output "
                     "was expected",
                     engine->path, engine->config.n_labels);
}

const struct llm_tokenizer *llm_engine_tokenizer(const struct llm_engine *engine) {
    return engine->tokenizer;
}

// Whether `model` is a vocabulary's own file. The halves of one that has two stand for it in no model: the sentence
// says what does.
static bool is_vocabulary_file(const char *model, bool *is_half) {
    static const char *const halves[] = {"vocab.json", "merges.txt", "encoder.json", "vocab.bpe"};
    const char *name = path_base(model);
    *is_half = false;
    if (!file_exists(model) || strcmp(name, "config.json") == 0 || strcmp(name, "hparams.json") == 0) return false;
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) *is_half = *is_half || strcmp(name, halves[i]) == 0;
    const size_t size = strlen(name);
    return *is_half || (size > 5 && strcmp(name + size - 5, ".json") == 0);
}

static struct llm_tokenizer *open_vocabulary_file(const char *path, bool is_half, struct llm_error *err) {
    if (!is_half) return tokenizer_open_file(path, err);
    error_set(err, LLM_ERROR_ARGUMENT, "%s: is one of a vocabulary's two files; name the directory they are in", path);
    return NULL;
}

// OpenAI's models have one vocabulary, which is built in, so none of them is downloaded for it. But what is here under
// such a name goes before it.
static struct llm_tokenizer *open_known_vocabulary(const char *name, struct llm_error *err) {
    struct llm_engine_options here = default_options;
    here.offline = true;
    struct llm_error reason = {0};
    char *path = model_resolve(name, &here, &reason);
    if (path == NULL && reason.code == LLM_ERROR_NOT_FOUND && directory_exists(name)) {
        reason = (struct llm_error){0};
        path = strdup(name);
        if (path == NULL) error_memory(&reason, "path");
    }
    struct llm_tokenizer *tokenizer = path == NULL ? NULL : tokenizer_open_directory(path, &reason);
    free(path);
    if (tokenizer != NULL) return tokenizer;
    if (reason.code == LLM_ERROR_NOT_FOUND) return tokenizer_new_gpt2(err);
    error_set(err, reason.code, "%s", reason.text);
    return NULL;
}

struct llm_tokenizer *llm_tokenizer_open(const char *model, const struct llm_engine_options *options,
                                         struct llm_error *err) {
    if (model == NULL) return tokenizer_new_gpt2(err);
    if (store_is_model(model)) return open_known_vocabulary(model, err);
    if (options == NULL) options = &default_options;
    bool is_half = false;
    if (is_vocabulary_file(model, &is_half)) return open_vocabulary_file(model, is_half, err);
    char *path = model_resolve(model, options, err);
    if (path == NULL) return NULL;
    struct llm_tokenizer *tokenizer = NULL;
    if (gguf_probe(path)) {
        tokenizer = gguf_open_tokenizer(path, err);
    } else {
        char *directory = directory_of(path, err);
        if (directory != NULL) tokenizer = tokenizer_open_directory(directory, err);
        free(directory);
    }
    free(path);
    return tokenizer;
}
