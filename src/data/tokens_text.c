// tokens_text.c: see tokens_text.h.
//
// What was read lies in one buffer; blocks are cut off its front. That a file ends is written into the buffer as the
// mark itself, so nothing behind needs to know of files.
#include "data/tokens_text.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 1 << 20 // bytes
};

// A piece without white space or mark that is longer than this is no text.
static const size_t longest_block = (size_t)1 << 30;

struct text_stream {
    const struct text_paths *paths;
    size_t next_path;
    int n_threads;
    struct text_file *file; // NULL between files
    int64_t position;       // of the files before
    char *text;             // [capacity]
    size_t size, capacity;
    size_t next_try;    // no place to cut is looked for below this size: it doubles when there was none
    bool ended;         // all was read
    bool done;          // all was handed out
    bool within;        // see text_block
    int64_t characters; // to go up to the split; -1: none, or behind it
    bool validation;
};

struct text_stream *text_stream_open(const struct text_paths *paths, int n_threads, struct llm_error *err) {
    struct text_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        error_memory(err, "texts");
        return NULL;
    }
    stream->paths = paths;
    stream->n_threads = n_threads;
    stream->next_try = BLOCK;
    stream->characters = -1;
    return stream;
}

void text_stream_close(struct text_stream *stream) {
    if (stream == NULL) return;
    text_file_close(stream->file);
    free(stream->text);
    free(stream);
}

void text_stream_split(struct text_stream *stream, int64_t characters) {
    stream->characters = characters;
}

int64_t text_stream_position(const struct text_stream *stream, const char **path) {
    *path = stream->paths->items[stream->next_path == 0 ? 0 : stream->next_path - 1];
    return stream->position + (stream->file == NULL ? 0 : text_file_position(stream->file));
}

static bool begins_character(char byte) {
    return ((unsigned char)byte & 0xc0) != 0x80;
}

int64_t text_characters(const char *text, size_t size) {
    int64_t n = 0;
    for (size_t i = 0; i < size; i++) n += begins_character(text[i]);
    return n;
}

// ---- Reading --------------------------------------------------------------------------------

static bool reserve(struct text_stream *stream, size_t extra, struct llm_error *err) {
    if (stream->capacity - stream->size >= extra) return true;
    if (stream->size > longest_block) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "%s: has more than %zu bytes without white space; is it text?",
                         stream->paths->items[stream->next_path - 1], longest_block);
    }
    const size_t capacity = stream->capacity * 2 + extra;
    char *text = realloc(stream->text, capacity);
    if (text == NULL) return error_memory(err, "block of text");
    stream->text = text;
    stream->capacity = capacity;
    return true;
}

// Reads up to BLOCK bytes more, or the mark behind a file that is not the last.
static bool read_more(struct text_stream *stream, struct llm_error *err) {
    if (stream->file == NULL) {
        stream->file = text_file_open(stream->paths->items[stream->next_path++], stream->n_threads, err);
        if (stream->file == NULL) return false;
    }
    const size_t mark_size = strlen(TEXT_DOCUMENT_END);
    if (!reserve(stream, BLOCK + mark_size, err)) return false;
    size_t n = 0;
    if (!text_file_read(stream->file, stream->text + stream->size, BLOCK, &n, err)) return false;
    stream->size += n;
    if (n == BLOCK) return true;
    stream->position += text_file_position(stream->file);
    text_file_close(stream->file);
    stream->file = NULL;
    stream->ended = stream->next_path == stream->paths->n;
    if (!stream->ended) {
        memcpy(stream->text + stream->size, TEXT_DOCUMENT_END, mark_size);
        stream->size += mark_size;
    }
    return true;
}

// ---- Cutting --------------------------------------------------------------------------------

static bool ends_with_mark(const char *text, size_t size) {
    const size_t mark_size = strlen(TEXT_DOCUMENT_END);
    return size >= mark_size && memcmp(text + size - mark_size, TEXT_DOCUMENT_END, mark_size) == 0;
}

// Behind the last mark; 0: there is none.
static size_t after_last_mark(const char *text, size_t size) {
    while (size > 0 && !ends_with_mark(text, size)) size--;
    return size;
}

// How much of the buffer may be cut off; 0: more must be read. No such place lies within a mark, as they end before
// white space or behind a mark.
static size_t cut_place(struct text_stream *stream) {
    if (stream->ended) return stream->size;
    if (stream->size < stream->next_try) return 0;
    size_t cut = llm_tokenizer_cut(stream->text, stream->size);
    if (cut == 0) cut = after_last_mark(stream->text, stream->size);
    stream->next_try = cut == 0 ? 2 * stream->size : BLOCK;
    return cut;
}

// Where the split is in text [size]; `size` when it lies behind.
static size_t split_place(struct text_stream *stream, size_t size) {
    if (stream->characters < 0) return size;
    for (size_t i = 0; i < size; i++) {
        if (begins_character(stream->text[i]) && stream->characters-- == 0) return i;
    }
    return size;
}

// Takes text [size] off the buffer's front.
static bool take(struct text_stream *stream, size_t size, struct text_block *block, struct llm_error *err) {
    const size_t rest = stream->size - size;
    char *text = malloc(rest + 1);
    if (text == NULL) return error_memory(err, "block of text");
    if (rest > 0) memcpy(text, stream->text + size, rest);
    *block = (struct text_block){.text = stream->text, .size = size, .within = stream->within};
    // A cut that is not behind a mark is behind something else than white space.
    stream->within = !ends_with_mark(block->text, size);
    stream->text = text;
    stream->size = rest;
    stream->capacity = rest + 1;
    return true;
}

bool text_stream_next(struct text_stream *stream, struct text_block *block, struct llm_error *err) {
    *block = (struct text_block){0};
    if (stream->done) return true;
    size_t cut = cut_place(stream);
    while (cut == 0 && !stream->ended) {
        if (!read_more(stream, err)) return false;
        cut = cut_place(stream);
    }
    const size_t split = split_place(stream, cut);
    const bool at_split = split < cut;
    if (!take(stream, split, block, err)) return false;
    block->validation = stream->validation;
    if (at_split) {
        stream->validation = true;
        stream->within = false;
    }
    stream->done = stream->ended && stream->size == 0 && !at_split;
    block->last = stream->done;
    return true;
}
