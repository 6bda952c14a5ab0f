// torch_zip_entries.h: the entries of a zip archive that only stores: where each lies in the bytes.
//
// Weights are to be used where they lie, so nothing is ever inflated: a compressed entry is refused. What the central
// directory says is checked against every local header, and no two entries may share a byte.
#ifndef FORMATS_TORCH_ZIP_ENTRIES_H
#define FORMATS_TORCH_ZIP_ENTRIES_H

#include "base/error.h"
#include "base/str.h"

struct zip_entry {
    const char *name; // [name_size] in the archive, without a NUL behind and without the folder
    size_t name_size;
    const uint8_t *data; // [size]
    size_t size;
    uint32_t crc; // 0: the writer left it out (torch.serialization.set_crc32_options(False))
    size_t begin; // of its local header in the archive
    bool used;    // for the caller
};

struct zip_entries {
    struct zip_entry *entries; // [n] sorted by name, which are unique
    int n;
};

// All entries, which lie under one folder. `bytes` must outlive them.
bool zip_entries_read(struct zip_entries *entries, const uint8_t *bytes, size_t size, struct llm_error *err);
void zip_entries_release(struct zip_entries *entries);
// The entry of this name [name_size], or NULL.
struct zip_entry *zip_entries_find(const struct zip_entries *entries, const char *name, size_t name_size);
// An entry's name for a sentence, as str_quote() has it.
char *zip_entry_quote(const char *name, size_t size, char out[STR_QUOTE_SIZE]);

#endif
