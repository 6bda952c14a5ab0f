// tokens_build.h: texts to two files of ids; the inside of tokens_open().
#ifndef DATA_TOKENS_BUILD_H
#define DATA_TOKENS_BUILD_H

#include "data/text.h"
#include "data/tokens.h"

struct token_target {
    const char *path, *key;
};

// Tokenises the texts and writes the files for training and for validation, each seen only when it is whole.
bool tokens_build(const struct text_paths *paths, const struct token_options *options,
                  const struct token_target targets[2], struct llm_error *err);

// Tells the caller's callback of bytes done; fails when it cancels.
bool tokens_report(const struct token_options *options, const char *path, int64_t done, int64_t total,
                   struct llm_error *err);

// Tells the caller's callback that the split is by characters, as documents are too few; n_documents 0: not known.
void tokens_tell_of_characters(const struct token_options *options, int64_t n_documents);

#endif
