// engine.h: a loaded model inside: what a user calls MODEL, turned into config, weights, tokenizer, kernels.
#ifndef MODEL_ENGINE_H
#define MODEL_ENGINE_H

#include "formats/container.h"
#include "model/dialect.h"
#include "model/param_block.h"
#include "tokenizer/tokenizer.h"

struct llm_engine {
    struct config config;
    struct weights weights;
    struct param_block own;          // the weights of an engine from engine_new(), until engine_own_weights()
    struct container *container;     // keeps the mappings alive; NULL for a model that came from no file
    struct tensor_map map;           // which tensor of the container is which parameter, as stored
    struct llm_tokenizer *tokenizer; // NULL when there is no vocabulary
    struct ops *ops;
    char *path;                   // the directory or file the model was read from
    char *directory;              // where its config and vocabulary lie
    enum dtype dtype;             // what most weights are stored in
    struct llm_model_file *files; // [n_files] config, then what holds tensors; paths borrowed or config_path
    int n_files;
    char *config_path;   // NULL: there is none, and the sizes were read off the tensors
    char **labels;       // [config.n_labels] NULL: not named
    int n_head;          // before engine_read(): heads of a model without config; 0: as GPT-2 has them
    int64_t n_nonfinite; // -1 until counted
    struct llm_callbacks callbacks;
};

// Turns MODEL into a directory or file path, downloading a known name if it must (and may); allocated.
// A training run's directory becomes its model/. Notices say what the user did not.
char *model_resolve(const char *model, const struct llm_engine_options *options, struct llm_error *err);

// Reads config and tensors of the model at `path` (from model_resolve) into a zeroed engine: config,
// container, map, path, directory, dtype, files. No weights, kernels or vocabulary. After a failure
// nothing is held; else give it back with engine_release().
bool engine_read(struct llm_engine *engine, const char *path, struct llm_error *err);
// Reads the vocabulary beside the model, if there is one, into engine->tokenizer.
bool engine_read_tokenizer(struct llm_engine *engine, struct llm_error *err);
// A new model of this config, whose weights are zero (init.h) and F32 in memory. `name` stands where other models have
// their path. The tokenizer (NULL: none) is the engine's from now on, also after a failure.
struct llm_engine *engine_new(const char *name, const struct config *config, struct llm_tokenizer *tokenizer,
                              const struct llm_engine_options *options, struct llm_error *err);

// A new model with the weights of `base`, F32 in memory, and the head of a classifier, with bias, all zeros, in place
// of base's. labels [n_labels] are copied; n_padded as in config.h. It takes base's vocabulary, also after a failure.
struct llm_engine *engine_classifier(struct llm_engine *base, const char *const *labels, int n_labels, int n_padded,
                                     const struct llm_engine_options *options, struct llm_error *err);

// A new model with the weights of `base`, F32 in memory, and an output head of its own: a copy of the embedding where
// base's is tied. It takes base's vocabulary, also after a failure.
struct llm_engine *engine_untied(struct llm_engine *base, const struct llm_engine_options *options,
                                 struct llm_error *err);

// Moves the engine's weights into `weights` (all parameters, initialised here), as F32, and points the engine there:
// sessions and evaluation of this engine see what training does to them. The block is the caller's, who releases it
// before the engine and does not use the engine after that. After a failure the engine is as it was.
bool engine_own_weights(struct llm_engine *engine, struct param_block *weights, struct llm_error *err);

// The numbers of one parameter as they are now: in the file, or where training has them. One that this model does not
// have, though its kind may, is all zeros (n_parts 0).
struct param_view engine_stored(const struct llm_engine *engine, enum param param, int layer);

// An engine of random F32 weights in memory, of this config. `name` stands where other models have their path.
struct llm_engine *engine_synthesize(const char *name, const struct config *config, uint64_t seed,
                                     const struct llm_engine_options *options, struct llm_error *err);

// Operations at the level, and with the threads and products, that the options name; NULL with a sentence where the
// CPU has not got them.
struct ops *engine_ops(const struct llm_engine_options *options, struct llm_error *err);

// Refuses a classifier, with a sentence, where text is to be made or scored.
bool engine_writes_text(const struct llm_engine *engine, struct llm_error *err);

// Frees what an engine holds, not the struct itself.
void engine_release(struct llm_engine *engine);

// How many of n numbers at `data`, at any alignment, are NaN or infinite.
int64_t count_nonfinite(const void *data, enum dtype dtype, size_t n);

// Formats one sentence for the notice callback, if there is one.
void engine_notice(const struct llm_callbacks *callbacks, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
