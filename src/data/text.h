// text.h: texts to learn from: files as they lie on a disk, plain, .xz or .gz, one by one or a folder of
// them, read as a stream, so that a text may be larger than memory.
//
// How a file is compressed is told from its first bytes, not its name (but one named .xz or .gz must be it). Text is
// passed on byte for byte: no line end, byte order mark or invalid UTF-8 is touched. Error sentences begin with the
// path.
#ifndef DATA_TEXT_H
#define DATA_TEXT_H

#include "base/error.h"

// Parts documents within a file. The end of a file ends a document, too.
#define TEXT_DOCUMENT_END "<|endoftext|>"

// ---- Which files ----------------------------------------------------------------------------

struct text_paths {
    char **items; // [n]
    size_t n, capacity;
    int64_t size; // bytes of all these files on disk
};

// Lists the files that `given` [n_given] names, in that order. A folder stands for the texts in it and in its
// folders, in the order of their names: *.txt, *.text and *.md, and these with .xz or .gz behind; what begins
// with a dot is left out. `paths` comes zeroed; on failure, too, it is to be released.
bool text_paths_list(struct text_paths *paths, const char *const *given, size_t n_given, struct llm_error *err);
void text_paths_release(struct text_paths *paths);

// ---- One file -------------------------------------------------------------------------------

struct text_file;

// n_threads: how many may decompress at once (.xz files of several blocks).
struct text_file *text_file_open(const char *path, int n_threads, struct llm_error *err);
void text_file_close(struct text_file *file);

// Reads text [size]; *n gets how many bytes, fewer than `size` only at the end of the file.
bool text_file_read(struct text_file *file, char *text, size_t size, size_t *n, struct llm_error *err);

// Bytes of the file itself, not of its text, that have been read: for showing progress.
int64_t text_file_position(const struct text_file *file);

#endif
