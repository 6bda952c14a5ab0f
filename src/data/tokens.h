// tokens.h: texts as ids to train on: tokenised once, kept in two files, mapped.
//
//     <folder>/train.tokens, <folder>/validation.tokens
//
// The files carry a checksum of the texts' bytes, the vocabulary and the split. When that is not the present one, or
// a file is missing or damaged, both are made anew (a notice says why); they are never trusted. Their format stands in
// docs/token-cache.md. Tokenising streams, on all threads: memory does not grow with the texts.
#ifndef DATA_TOKENS_H
#define DATA_TOKENS_H

#include "base/checksum.h"
#include "base/file.h"

// ---- One file of ids ------------------------------------------------------------------------

struct token_file {
    char *path;
    struct file_map map;
    int64_t n_tokens;
    int vocab_size;
    int32_t eot;           // parts documents; -1: nothing does
    const uint16_t *ids16; // [n_tokens] when vocab_size <= 65536
    const int32_t *ids32;  // [n_tokens] else
    int64_t n_documents;
    const uint64_t *starts; // [n_documents] where each begins
    int64_t n_bytes;        // of text, for a loss per byte
    bool split_by_documents;
    char key[CHECKSUM_TEXT]; // of what it was made from
};

// Maps and checks a file: sizes, checksums, every id and every start. A sentence begins with the path.
bool token_file_open(struct token_file *file, const char *path, struct llm_error *err);
void token_file_close(struct token_file *file);

// The same for bytes in memory, borrowed, that begin at a multiple of 8: the fuzz target. `map` and `path` are left
// alone.
bool token_file_parse(struct token_file *file, const uint8_t *bytes, size_t size, struct llm_error *err);

// Copies ids [n] from `at` on, which are there. Fails when an id is out of range after all: the mapped file was
// changed by someone.
bool token_file_read(const struct token_file *file, int64_t at, int64_t n, int32_t *ids, struct llm_error *err);

// ---- Texts to ids ---------------------------------------------------------------------------

enum token_split_kind {
    // As in the book: of the whole text, the first int((1 - validation) * characters) are for training; the two parts
    // are tokenised separately. <|endoftext|> in the text becomes its id, and stands between files.
    TOKENS_BY_CHARACTERS,
    // Of 1 / validation documents the last one is held back, and so on, so that they come from everywhere. Each
    // document, without those that are only white space, is tokenised alone and followed by <|endoftext|>. When there
    // are too few documents for one to be held back, the split is by characters.
    TOKENS_BY_DOCUMENTS,
};

struct token_options {
    const char *const *files; // [n_files] texts, .xz or .gz, or folders of them, as data/text.h has it
    size_t n_files;
    const struct llm_tokenizer *tokenizer;
    const char *folder; // of the two files; made when missing
    enum token_split_kind split;
    double validation; // the fraction to hold back, 0 to 1
    int n_threads;     // 0: all
    struct llm_callbacks callbacks;
};

struct tokens {
    struct token_file train, validation; // either may be empty
    char checksum[CHECKSUM_TEXT];        // of the texts, the vocabulary and the split: what a resumed run compares
    char vocabulary[CHECKSUM_TEXT];      // of the vocabulary alone
    bool built;                          // now; else the files were there already
};

bool tokens_open(struct tokens *tokens, const struct token_options *options, struct llm_error *err);
// A zeroed struct may be closed.
void tokens_close(struct tokens *tokens);

// ---- Examples -------------------------------------------------------------------------------

// Windows of context + 1 ids: example i has the ids from i * stride on as input, and those from i * stride + 1 on as
// targets: range(0, n_tokens - context, stride), as in the book. Documents do not matter to it. An epoch's order is
// random_loader_order() of base/random.h.
struct token_windows {
    const struct token_file *file;
    int context;
    int64_t stride;
    int64_t n; // examples
};

// context and stride are at least 1.
struct token_windows token_windows(const struct token_file *file, int context, int64_t stride);

// ids [context + 1]
bool token_windows_read(const struct token_windows *windows, int64_t example, int32_t *ids, struct llm_error *err);

#endif
