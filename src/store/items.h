// items.h: the table of what can be downloaded: names, origins, sizes, sums.
#ifndef STORE_ITEMS_H
#define STORE_ITEMS_H

#include "base/error.h"

enum {
    STORE_MAX_FILES = 7 // of one item
};

// One file of an item, as it ends up in the item's directory.
struct store_file {
    const char *name;
    int64_t size;          // bytes at the origin
    bool approximate;      // the size is an estimate, good for showing only
    const char *sha256;    // the published sum, NULL when there is none: then the first download's is kept
    const char *archive;   // the file comes inside this zip at the origin; NULL: as it is
    const char *elsewhere; // full URL tried when the origin fails; NULL: <item's fallback>/<name>, if it has one
};

struct store_item {
    const char *name;
    bool is_model;
    const char *host;     // "https://host", what a mirror replaces
    const char *path;     // directory of the files at the origin, "/gpt-2/models/124M"
    const char *fallback; // URL of a directory with the same files, tried when the origin fails; NULL: none
    const struct store_file *files;
    int n_files;
};

// NULL when there is no such item.
const struct store_item *store_item_find(const char *name);

// Where the item's files are or will be, allocated; not created.
char *store_item_directory(const struct store_item *item, struct llm_error *err);

// Whether every file is there with the size it is recorded with.
bool store_item_complete(const struct store_item *item, const char *directory);

#endif
