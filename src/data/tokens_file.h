// tokens_file.h: the layout of a .tokens file, for those who write and read one; see docs/token-cache.md.
//
//     magic [16], ids [n_tokens] of 2 or 4 bytes, zeros up to a multiple of 8, starts [n_documents] u64, trailer [160]
//
// The sizes stand at the end, as a stream learns them last. Numbers are little-endian.
#ifndef DATA_TOKENS_FILE_H
#define DATA_TOKENS_FILE_H

#include "data/tokens.h"

#define TOKENS_MAGIC "my-llm tokens 1\n"

enum {
    TOKENS_MAGIC_SIZE = 16,
    TOKENS_TRAILER_SIZE = 160,
    TOKENS_SMALL_VOCABULARY = 1 << 16, // ids of up to this many fit two bytes
};

struct token_writer;

struct token_writer *token_writer_open(const char *path, const struct llm_tokenizer *tokenizer, struct llm_error *err);
// Marks that a document begins with the next id.
bool token_writer_begin(struct token_writer *writer, struct llm_error *err);
bool token_writer_write(struct token_writer *writer, const int32_t *ids, size_t n_ids, size_t n_bytes,
                        struct llm_error *err);
// Ends the writer, too. As with file_writer, nothing is seen of the file before.
bool token_writer_commit(struct token_writer *writer, const char key[CHECKSUM_TEXT], bool split_by_documents,
                         struct llm_error *err);
// Forgets what was written. NULL is allowed.
void token_writer_abort(struct token_writer *writer);
// So far.
int64_t token_writer_documents(const struct token_writer *writer);

#endif
