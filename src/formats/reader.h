// reader.h: reading a format whose file stands for itself: from memory, as one file, as a directory with one file, or
// as a directory with several and the index that lists them ("weight_map"), as Hugging Face has them.
//
// The index says which shard holds which tensor. What it says is checked against the shards in both
// directions, so a tensor can neither go missing nor be taken from a stale file. Only files of this folder include this
// header.
#ifndef FORMATS_READER_H
#define FORMATS_READER_H

#include "formats/container.h"

struct reader {
    const char *format;      // a string constant
    const char *single_name; // of the one file in a directory; NULL: directories are not this format's
    const char *index_name;  // of the index in a directory of several files
    // Adds the tensors of the newest file, which has these bytes.
    bool (*add)(struct container *container, const uint8_t *bytes, size_t size, struct llm_error *err);
    // The last step over all files: container_finish() or container_index().
    bool (*finish)(struct container *container, struct llm_error *err);
};

// Whether a directory holds a file of this format or an index of some.
bool reader_probe_directory(const struct reader *reader, const char *path);

// A container of a file or directory, or NULL; sentences begin with the file's path.
struct container *reader_open(const struct reader *reader, const char *path, struct llm_error *err);

// A container of a file in memory, which must outlive it, or NULL.
struct container *reader_parse(const struct reader *reader, const uint8_t *bytes, size_t size, struct llm_error *err);

#endif
