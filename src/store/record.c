// record.c: see record.h.
#include "store/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/str.h"
#include "store/store.h"

enum {
    MAX_RECORD = 16 * 1024 // bytes; seven entries take less than one thousand
};

char *record_path(const char *name, const char *suffix, struct llm_error *err) {
    char *home = store_home(err);
    if (home == NULL) return NULL;
    char *path = NULL;
    if (asprintf(&path, "%s/downloads/%s%s", home, name, suffix) < 0) path = NULL;
    free(home);
    if (path == NULL) error_memory(err, "path");
    return path;
}

// The item's file of this name, -1 if it has none.
static int file_number(const struct store_item *item, const char *name, size_t length) {
    for (int i = 0; i < item->n_files; i++) {
        if (strlen(item->files[i].name) == length && memcmp(item->files[i].name, name, length) == 0) return i;
    }
    return -1;
}

// Reads one line, its end not included; false when it is no entry.
static bool parse_line(struct record *record, const char *line, size_t length) {
    struct record_entry entry = {.size = -1};
    if (length < CHECKSUM_TEXT || line[CHECKSUM_TEXT - 1] != ' ') return false;
    memcpy(entry.sha256, line, CHECKSUM_TEXT - 1);
    const char *number = line + CHECKSUM_TEXT;
    if (!checksum_valid(entry.sha256) || *number < '0' || *number > '9') return false;
    char *end = NULL;
    entry.size = strtoll(number, &end, 10);
    if (end >= line + length || *end != ' ') return false;
    const int file = file_number(record->item, end + 1, (size_t)(line + length - (end + 1)));
    if (file >= 0) record->entries[file] = entry;
    return file >= 0;
}

bool record_parse(struct record *record, const struct store_item *item, const char *text, struct llm_error *err) {
    *record = (struct record){.item = item};
    for (int i = 0; i < item->n_files; i++) record->entries[i].size = -1;
    for (int number = 1; *text != '\0'; number++) {
        const size_t length = strcspn(text, "\n");
        if (text[length] != '\n' || !parse_line(record, text, length)) {
            return error_set(err, LLM_ERROR_FORMAT, "line %d is damaged; remove this file to start anew", number);
        }
        text += length + 1;
    }
    return true;
}

bool record_load(struct record *record, const struct store_item *item, struct llm_error *err) {
    char *path = record_path(item->name, ".sha256", err);
    if (path == NULL) return false;
    char *text = NULL;
    size_t size = 0;
    bool ok;
    if (!file_exists(path)) {
        ok = record_parse(record, item, "", err);
    } else {
        ok = file_read(path, MAX_RECORD, &text, &size, err);
        if (ok && !record_parse(record, item, text, err)) {
            error_prefix(err, "%s", path);
            ok = false;
        }
    }
    free(text);
    free(path);
    return ok;
}

bool record_put(struct record *record, int file, int64_t size, const char *sha256, struct llm_error *err) {
    record->entries[file].size = size;
    snprintf(record->entries[file].sha256, CHECKSUM_TEXT, "%s", sha256);
    const struct store_item *item = record->item;
    struct strbuf text;
    strbuf_init(&text, MAX_RECORD);
    for (int i = 0; i < item->n_files; i++) {
        const struct record_entry *entry = &record->entries[i];
        if (entry->size < 0) continue;
        strbuf_printf(&text, "%s %" PRId64 " %s\n", entry->sha256, entry->size, item->files[i].name);
    }
    char *path = record_path(item->name, ".sha256", err);
    char *temporary = record_path(item->name, ".sha256.part", err);
    bool ok = false;
    if (!strbuf_ok(&text)) {
        error_memory(err, "record");
    } else if (path != NULL && temporary != NULL) {
        ok = file_create(temporary, text.bytes, text.size, err) && file_rename(temporary, path, err);
    }
    strbuf_release(&text);
    free(path);
    free(temporary);
    return ok;
}

bool record_holds(const struct record *record, int file, const char *path) {
    struct stat status;
    return record->entries[file].size >= 0 && stat(path, &status) == 0 && S_ISREG(status.st_mode) &&
           status.st_size == record->entries[file].size;
}
