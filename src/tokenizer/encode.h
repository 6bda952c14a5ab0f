// encode.h: text to ids, piece of text after piece of text.
#ifndef TOKENIZER_ENCODE_H
#define TOKENIZER_ENCODE_H

#include "tokenizer/merge.h"

// One thread's; what it remembers of words goes back to the tokenizer in the end.
struct encoder {
    const struct llm_tokenizer *tokenizer;
    struct encode_cache *cache;
    struct merge_scratch scratch;
    int32_t *ids; // [n_ids] of all texts so far, room for `capacity`; the caller may take them or set n_ids back
    size_t n_ids, capacity;
};

// For texts of `size` bytes together, and with room for the ids of `first` bytes of usual text; that grows as needed.
// Released by the caller, after a failure too.
bool encoder_init(struct encoder *encoder, const struct llm_tokenizer *tokenizer, size_t size, size_t first,
                  struct llm_error *err);
void encoder_release(struct encoder *encoder);

// Appends the ids of a text. allow_special: <|endoftext|> in it is the special token.
bool encoder_add(struct encoder *encoder, const char *text, size_t size, bool allow_special, struct llm_error *err);

#endif
