// record.h: what is known about downloaded files: $MY_LLM_HOME/downloads/<item>.json.
//
//     {"hparams.json": {"size": 90, "sha256": "..."}, ...}
//
// A file's entry is written when its first download is whole and checked, just before the file becomes
// visible; it stays. So it tells a complete item from a partial one, and where nobody published a sum, a
// later download is held to the first one's. Removing the record makes the next download a first one.
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include <jansson.h>

#include "store/checksum.h"
#include "store/items.h"

struct record_entry {
    int64_t size;
    char sha256[CHECKSUM_TEXT];
};

// "$MY_LLM_HOME/downloads/<name><suffix>", allocated.
char *record_path(const char *name, const char *suffix, struct llm_error *err);

// The item's record, an empty one if there is none yet; json_decref() it. A damaged one is an error.
json_t *record_load(const struct store_item *item, struct llm_error *err);

// false when there is no (valid) entry.
bool record_get(const json_t *record, const char *file, struct record_entry *entry);

// Sets an entry and writes the record.
bool record_put(json_t *record, const struct store_item *item, const char *file, const struct record_entry *entry,
                struct llm_error *err);

#endif
