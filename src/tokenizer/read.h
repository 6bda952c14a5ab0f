// read.h: what the readers of vocabulary files share.
#ifndef TOKENIZER_READ_H
#define TOKENIZER_READ_H

#include "tokenizer/tokenizer.h"

// A file in memory and the name that begins sentences about it.
struct read_file {
    const char *name;
    const char *bytes; // [size]
    size_t size;
};

// A vocabulary in two files, in read_pair.c.
struct llm_tokenizer *read_pair(const struct read_file *vocab, const struct read_file *merges, struct llm_error *err);

// Whether these are GPT-2's own files, in known.c.
bool known_gpt2_pair(const struct read_file *vocab, const struct read_file *merges);
bool known_gpt2_json(const struct read_file *json);
bool known_gpt2_lists(const struct read_file *tokens, const struct read_file *merges);

#endif
