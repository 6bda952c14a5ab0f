// engine.h: a loaded model inside: what a user calls MODEL, turned into config, weights, tokenizer, kernels.
#ifndef MODEL_ENGINE_H
#define MODEL_ENGINE_H

#include "formats/container.h"
#include "model/params.h"
#include "tokenizer/tokenizer.h"

struct llm_engine {
    struct config config;
    struct weights weights;
    struct container *container;     // keeps the mappings alive
    struct llm_tokenizer *tokenizer; // NULL when there is no vocabulary
    struct ops *ops;
    char *path;
    enum dtype dtype;             // what most weights are stored in
    struct llm_model_file *files; // [n_files]
    int n_files;
    int64_t n_nonfinite; // -1 until counted
};

// Turns MODEL into a directory or file path, downloading a known name if it must (and may); allocated.
char *model_resolve(const char *model, const struct llm_engine_options *options, struct llm_error *err);

#endif
