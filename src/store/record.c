// record.c: see record.h.
#include "store/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "store/store.h"

enum {
    MAX_RECORD = 64 * 1024 // bytes; seven entries take one
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

json_t *record_load(const struct store_item *item, struct llm_error *err) {
    char *path = record_path(item->name, ".json", err);
    if (path == NULL) return NULL;
    json_t *record = file_exists(path) ? json_parse_file(path, MAX_RECORD, err) : json_object();
    if (record != NULL && !json_is_object(record)) {
        error_set(err, LLM_ERROR_FORMAT, "%s: is no JSON object; remove it to start anew", path);
        json_decref(record);
        record = NULL;
    }
    free(path);
    return record;
}

bool record_get(const json_t *record, const char *file, struct record_entry *entry) {
    const json_t *object = json_object_get(record, file);
    const char *sha256 = NULL;
    entry->size = -1;
    if (!json_get_int(object, "size", 0, INT64_MAX, &entry->size, NULL)) return false;
    if (!json_get_string(object, "sha256", &sha256, NULL)) return false;
    if (entry->size < 0 || sha256 == NULL || !checksum_valid(sha256)) return false;
    memcpy(entry->sha256, sha256, CHECKSUM_TEXT);
    return true;
}

bool record_put(json_t *record, const struct store_item *item, const char *file, const struct record_entry *entry,
                struct llm_error *err) {
    json_t *object = json_pack("{s:I, s:s}", "size", (json_int_t)entry->size, "sha256", entry->sha256);
    if (object == NULL || json_object_set_new(record, file, object) != 0) return error_memory(err, "record");
    char *text = json_dumps(record, JSON_INDENT(1));
    char *path = record_path(item->name, ".json", err);
    bool ok = text != NULL && path != NULL;
    if (text == NULL) error_memory(err, "record");
    ok = ok && file_write(path, text, strlen(text), err);
    free(text);
    free(path);
    return ok;
}
