// encode.h: text to ids, piece of text after piece of text.
#ifndef TOKENIZER_ENCODE_H
#define TOKENIZER_ENCODE_H

#include "tokenizer/merge.h"

// One thread's. What it remembers of words it shares with the others that were made with it; that goes back to the
// tokenizer in the end.
struct encoder {
    const struct llm_tokenizer *tokenizer;
    struct encode_cache *cache;
    bool alone; // nobody else has the cache
    struct merge_scratch scratch;
    int32_t *ids; // [n_ids] of all texts so far, room for `capacity`; the caller may take them or set n_ids back
    size_t n_ids, capacity;
};

// n encoders, for texts of `size` bytes together; each has room for the ids of `first` bytes of usual text, and grows
// as needed. Released by the caller, after a failure too.
bool encoders_init(struct encoder *encoders, int n, const struct llm_tokenizer *tokenizer, size_t size, size_t first,
                   struct llm_error *err);
void encoders_release(struct encoder *encoders, int n);

// Lets encoders that share what they remember remember more, if they have missed much of it; while none is at work. One
// that is alone sees to that itself.
void encoders_remember_more(struct encoder *encoders, int n);

// Appends the ids of a text. allow_special: <|endoftext|> in it is the special token.
bool encoder_add(struct encoder *encoder, const char *text, size_t size, bool allow_special, struct llm_error *err);

#endif
