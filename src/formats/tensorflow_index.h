// tensorflow_index.h: the .index file of a TensorFlow checkpoint, before its data files are opened.
//
// Reading it fills a container with tensor views that have no data yet, and beside each view an entry
// that says where the data must be and what its checksum is.
#ifndef FORMATS_TENSORFLOW_INDEX_H
#define FORMATS_TENSORFLOW_INDEX_H

#include "formats/container.h"

enum {
    TENSORFLOW_SHARDS_MAX = 1024 // data files of one checkpoint
};

// What the index says of a tensor beyond its view.
struct tensorflow_entry {
    const char *name; // the view's, which stays in place when the views are sorted
    uint32_t shard;   // which data file
    uint64_t offset;  // in it
    uint64_t size;    // bytes; equals the view's size
    uint32_t crc;     // masked CRC-32C of the data
    bool strings;     // DT_STRING, whose checksum is taken in a way of its own
};

struct tensorflow_index {
    struct container *container;      // gets the views; the caller's
    struct tensorflow_entry *entries; // [n_entries] one a view, in the same order; the caller frees it
    int n_entries;
    int capacity;      // of entries
    uint32_t n_shards; // data files that belong to it
};

// Reads the table into an index whose container is empty and whose other fields are zero.
bool tensorflow_index_read(struct tensorflow_index *index, const uint8_t *bytes, size_t size, struct llm_error *err);

#endif
