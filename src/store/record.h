// record.h: what is known about downloaded files: $MY_LLM_HOME/downloads/<item>.sha256, a line a file:
//
//     196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783 1042301 encoder.json
//
// A file's entry is written when its first download is whole and checked, just before the file becomes
// visible; it stays. So it tells a complete item from a partial one, and where nobody published a sum, a
// later download is held to the first one's. Removing the record makes the next download a first one.
//
// (Plain lines rather than JSON: jansson 2.14 can drop the end of a long string when memory fails while
// it reads or writes one, and a record that is read, extended and written must not lose anything.)
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include "base/checksum.h"
#include "store/items.h"

struct record_entry {
    int64_t size; // bytes; -1: there is no entry
    char sha256[CHECKSUM_TEXT];
};

struct record {
    const struct store_item *item;
    struct record_entry entries[STORE_MAX_FILES]; // [item->n_files]
};

// "$MY_LLM_HOME/downloads/<name><suffix>", allocated.
char *record_path(const char *name, const char *suffix, struct llm_error *err);

// Reads the item's record; where there is none yet it has no entries. A damaged one is an error.
bool record_load(struct record *record, const struct store_item *item, struct llm_error *err);

// The same from the text of a record. It must be well-formed to its last newline.
bool record_parse(struct record *record, const struct store_item *item, const char *text, struct llm_error *err);

// Sets the entry of the item's file number `file` and writes the record.
bool record_put(struct record *record, int file, int64_t size, const char *sha256, struct llm_error *err);

// Whether file number `file` is at `path`, with the size that is recorded.
bool record_holds(const struct record *record, int file, const char *path);

#endif
