// option_value.h: one word of the command line to one value, with a sentence when it is not one.
#ifndef CLI_OPTION_VALUE_H
#define CLI_OPTION_VALUE_H

#include "cli/command.h"

// Bytes that a field of this type has in the argument struct, and what its offset is a multiple of.
size_t option_type_size(enum option_type type);
size_t option_type_alignment(enum option_type type);

// Stores `word` in the option's field of `args`. The sentence names the flag as it was given (`flag`),
// the value, and what was expected.
bool option_value_store(const struct option *option, const char *flag, const char *word, void *args,
                        struct llm_error *err);

// "2GB", "64KiB", "4096": the largest unit that leaves a whole number.
void size_text(int64_t bytes, char *text, size_t size);

#endif
