// dataset.c: see dataset.h.
#include "tasks/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "store/archive.h"
#include "store/items.h"

// The data sets of one file that are known by name, for a sentence.
static void list_known(char *text, size_t size) {
    int n = 0;
    size_t used = 0;
    const struct llm_download_item *items = llm_download_items(&n);
    text[0] = '\0';
    for (int i = 0; i < n; i++) {
        const struct store_item *item = store_item_find(items[i].name);
        if (item == NULL || item->is_model || used >= size) continue;
        used += (size_t)snprintf(text + used, size - used, "%s%s", used == 0 ? "" : ", ", items[i].name);
    }
}

char *dataset_path(const char *data, const struct llm_callbacks *callbacks, struct llm_error *err) {
    const struct store_item *item = store_item_find(data);
    char *path = NULL;
    if (path_exists(data)) {
        path = strdup(data);
        if (path == NULL) error_memory(err, "path");
        return path;
    }
    if (item == NULL || item->is_model) {
        char quoted[STR_QUOTE_SIZE], known[256];
        list_known(known, sizeof known);
        error_set(err, LLM_ERROR_NOT_FOUND, "there is no file %s, nor a data set of this name; known are %s",
                  str_quote(data, quoted), known);
        return NULL;
    }
    struct llm_download_options options;
    llm_download_options_init(&options);
    if (callbacks != NULL) options.callbacks = *callbacks;
    char *directory = NULL;
    if (!llm_download(data, &options, &directory, err)) return NULL;
    path = path_join(directory, item->files[0].name);
    llm_free(directory);
    if (path == NULL) error_memory(err, "path");
    return path;
}

static bool is_zip(const char *path) {
    FILE *file = fopen(path, "rb");
    char begin[4] = "";
    const bool zip = file != NULL && fread(begin, 1, 4, file) == 4 && memcmp(begin, "PK\3\4", 4) == 0;
    if (file != NULL) fclose(file);
    return zip;
}

// The one archive that is read as such: what the collection is published in, told by its member's sum.
static bool rows_of_zip(struct rows *rows, const char *path, const struct rows_options *options,
                        struct llm_error *err) {
    const struct store_file *file = &store_item_find("sms-spam")->files[0];
    struct llm_error wrong = {0};
    char *bytes = NULL;
    *rows = (struct rows){0};
    if (!archive_extract(path, file->name, file->size, file->sha256, &bytes, &wrong)) {
        return error_set(err, wrong.code,
                         "%s: is a zip archive but not the SMS Spam Collection's, so unpack it first (%s)", path,
                         wrong.text);
    }
    const bool ok = rows_parse(rows, file->name, bytes, (size_t)file->size, options, &wrong);
    free(bytes);
    if (ok) return true;
    error_prefix(&wrong, "%s", path);
    return error_set(err, wrong.code, "%s", wrong.text);
}

bool dataset_rows(struct rows *rows, const char *data, const struct rows_options *options,
                  const struct llm_callbacks *callbacks, struct llm_error *err) {
    *rows = (struct rows){0};
    char *path = dataset_path(data, callbacks, err);
    if (path == NULL) return false;
    const bool zip = file_exists(path) && is_zip(path); // opening a FIFO would wait
    const bool ok = zip ? rows_of_zip(rows, path, options, err) : rows_read(rows, path, options, err);
    free(path);
    return ok;
}
