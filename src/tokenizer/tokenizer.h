// tokenizer.h: GPT-2's byte-level BPE, built from arrays.
//
// Whatever a vocabulary came from (built in, vocab.bpe + encoder.json, tokenizer.json, GGUF), it
// ends as the same two arrays: the bytes of every id, and the merges as pairs of ids in order of rank.
// Encoding: pre-split the text (GPT-2's pattern), look a piece up, else merge its bytes by lowest rank.
#ifndef TOKENIZER_TOKENIZER_H
#define TOKENIZER_TOKENIZER_H

#include "base/checksum.h"
#include "base/str.h"

// Vocabulary as arrays; everything is copied or moved by tokenizer_new, nothing is borrowed.
struct vocabulary {
    int n_tokens;           // ids 0 .. n_tokens - 1
    const char *bytes;      // the tokens' raw bytes, one after another
    const uint32_t *starts; // [n_tokens + 1] where each begins in `bytes`
    int n_merges;
    const int32_t (*merges)[3]; // [n_merges] left id, right id, id of the joined token; lowest rank first
    int32_t eot;                // id of <|endoftext|>, or -1
};

// Checks the arrays (every byte value has a token; each merge joins what it says) and builds the
// tokenizer. Free with llm_tokenizer_free().
struct llm_tokenizer *tokenizer_new(const struct vocabulary *vocabulary, struct llm_error *err);

// GPT-2's own vocabulary, from the program itself.
struct llm_tokenizer *tokenizer_new_gpt2(struct llm_error *err);

// Reads the vocabulary in `directory`: tokenizer.json, or vocab.json + merges.txt, or encoder.json +
// vocab.bpe. Error sentences begin with the file. When there is none of these: NULL with
// LLM_ERROR_NOT_FOUND. When the files are GPT-2's own, the result is the same as tokenizer_new_gpt2().
struct llm_tokenizer *tokenizer_open_directory(const char *directory, struct llm_error *err);

// The same from one file, a tokenizer.json by whatever name.
struct llm_tokenizer *tokenizer_open_file(const char *path, struct llm_error *err);

// The same from bytes in memory; these are the fuzz targets. `names` used in sentences are the callers'.
struct llm_tokenizer *tokenizer_parse_json(const char *bytes, size_t size, struct llm_error *err);
struct llm_tokenizer *tokenizer_parse_pair(const char *vocab_json, size_t vocab_size, const char *merges,
                                           size_t merges_size, struct llm_error *err);

// Strings as GGUF has them: a u64 size (little-endian) and the bytes, one after another.
struct string_list {
    const uint8_t *bytes; // [size]
    size_t size;
    uint64_t n; // strings
};

struct vocabulary_lists {
    struct string_list tokens; // spelled as in vocab.json; those of another type than 1 as they are
    const uint8_t *types;      // [tokens.n] i32, little-endian; NULL: all are 1
    struct string_list merges; // "left right"
};

// The same from two lists.
struct llm_tokenizer *tokenizer_parse_lists(const struct vocabulary_lists *lists, struct llm_error *err);

// SHA-256 of everything that decides which ids a text gets: equal for equal vocabularies, whatever they came from.
bool tokenizer_checksum(const struct llm_tokenizer *tokenizer, char text[CHECKSUM_TEXT], struct llm_error *err);

// Writes the two lists that tokenizer_parse_lists() reads. Both strbufs are initialised here and to be released, also
// after a failure.
bool tokenizer_write_lists(const struct llm_tokenizer *tokenizer, struct strbuf *tokens, struct strbuf *merges,
                           int *n_merges, struct llm_error *err);

// Writes vocab.json, merges.txt and tokenizer.json into an existing directory, as Hugging Face has them.
bool tokenizer_save(const struct llm_tokenizer *tokenizer, const char *directory, struct llm_error *err);

#endif
