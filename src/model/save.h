// save.h: writing a model as a directory in Hugging Face layout: config.json, model.safetensors or shards, vocabulary;
// or as one file of PyTorch's or llama.cpp's.
#ifndef MODEL_SAVE_H
#define MODEL_SAVE_H

#include "model/engine.h"

// What was met in the weights on the way.
struct save_counts {
    int64_t nonfinite;  // weights that are NaN or infinite
    int64_t overflowed; // finite ones that the new dtype made infinite
};

// Writes the weights as they are now, in memory or in the engine's file; of the options all count. All or nothing: the
// directory appears when it is whole. An old one, whatever is in it, is replaced if that is allowed.
bool save_directory(const struct llm_engine *engine, const char *directory, const struct llm_convert_options *options,
                    struct save_counts *counts, struct llm_error *err);

// Writes the weights as the state dict of the book's GPTModel, as torch.save() would; of the options dtype and
// callbacks count. A model with what that class has not (another activation, say) is refused. A notice says with what
// settings the class takes it. The file appears when it is whole, in place of an old one.
bool save_torch(const struct llm_engine *engine, const char *path, const struct llm_convert_options *options,
                struct save_counts *counts, struct llm_error *err);

// Writes the weights and the vocabulary as a GGUF file of llama.cpp's architecture gpt2; of the options dtype, quantize
// and callbacks count. A model with what that has not is refused. The file appears when it is whole, in place of an old
// one.
bool save_gguf(const struct llm_engine *engine, const char *path, const struct llm_convert_options *options,
               struct save_counts *counts, struct llm_error *err);

// A directory as above, with the weights in one file, without a word.
bool model_save(const struct llm_engine *engine, const char *directory, enum dtype dtype, bool overwrite,
                struct llm_error *err);

#endif
