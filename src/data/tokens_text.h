// tokens_text.h: the texts of many files as one stream, <|endoftext|> between the files, in blocks that may be
// tokenised each alone: the ids of the blocks one after another are the ids of the whole.
#ifndef DATA_TOKENS_TEXT_H
#define DATA_TOKENS_TEXT_H

#include "data/text.h"

struct text_block {
    char *text; // [size], freed by whoever took the block
    size_t size;
    bool within;     // begins within a document that has begun before (and was not only white space)
    bool last;       // the stream ends with it
    bool validation; // behind the place of text_stream_split()
};

struct text_stream;

struct text_stream *text_stream_open(const struct text_paths *paths, int n_threads, struct llm_error *err);
void text_stream_close(struct text_stream *stream);

// The text is to be cut before its character number `characters`, whatever is there; said before the first block.
// Characters are counted as Python does, bytes that are no UTF-8 aside.
void text_stream_split(struct text_stream *stream, int64_t characters);

// The next block, of about a megabyte; it grows where there is no white space to cut at. Behind the last one,
// block->text is NULL.
bool text_stream_next(struct text_stream *stream, struct text_block *block, struct llm_error *err);

// Bytes of the files read so far, and the file it is at, for showing progress.
int64_t text_stream_position(const struct text_stream *stream, const char **path);

// Characters of a text.
int64_t text_characters(const char *text, size_t size);

#endif
