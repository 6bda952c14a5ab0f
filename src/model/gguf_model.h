// gguf_model.h: what a GGUF file says about its model besides the tensors: config and vocabulary, as llama.cpp's
// architecture "gpt2" has them. Tensor names are in dialect.c, writing in save_gguf.c.
#ifndef MODEL_GGUF_MODEL_H
#define MODEL_GGUF_MODEL_H

#include "formats/container.h"
#include "model/config.h"
#include "tokenizer/tokenizer.h"

// What the file names as its way to split text before merging, and its kind of vocabulary: GPT-2's.
#define GGUF_TOKENIZER "gpt2"
#define GGUF_SPLIT "gpt-2"
// In place of a kind: there is no vocabulary.
#define GGUF_NO_TOKENIZER "no_vocab"

// llama.cpp's kinds of tokens (enum llama_token_type) that are written; others can be read.
enum gguf_token {
    GGUF_TOKEN_NORMAL = 1,
    GGUF_TOKEN_CONTROL = 3,
    GGUF_TOKEN_UNUSED = 5
};

// From the metadata, and the number of rows of token_embd.weight. Checks config_check().
bool gguf_config(struct config *config, const struct container *container, struct llm_error *err);

// The vocabulary; NULL with NOT_FOUND when there is none.
struct llm_tokenizer *gguf_tokenizer(const struct container *container, struct llm_error *err);

// The vocabulary of a file. Error sentences begin with `path`.
struct llm_tokenizer *gguf_open_tokenizer(const char *path, struct llm_error *err);

#endif
