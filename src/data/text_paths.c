// text_paths.c: which files a list of files and folders stands for; see text.h.
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "data/text.h"

enum {
    DEEPEST = 32 // folders within folders
};

void text_paths_release(struct text_paths *paths) {
    for (size_t i = 0; i < paths->n; i++) free(paths->items[i]);
    free(paths->items);
    *paths = (struct text_paths){0};
}

// Appends a path, which is taken over (NULL: out of memory).
static bool add_path(struct text_paths *paths, char *path, struct llm_error *err) {
    if (path != NULL && paths->n == paths->capacity) {
        const size_t capacity = paths->capacity * 2 + 16;
        char **items = realloc(paths->items, capacity * sizeof *items);
        if (items == NULL) {
            free(path);
            return error_memory(err, "list of files");
        }
        paths->items = items;
        paths->capacity = capacity;
    }
    if (path == NULL) return error_memory(err, "list of files");
    paths->items[paths->n++] = path;
    return true;
}

static bool ends_with(const char *name, size_t size, const char *end) {
    const size_t n = strlen(end);
    return size > n && memcmp(name + size - n, end, n) == 0;
}

static bool named_as_text(const char *name) {
    size_t size = strlen(name);
    if (ends_with(name, size, ".xz") || ends_with(name, size, ".gz")) size -= 3;
    return ends_with(name, size, ".txt") || ends_with(name, size, ".text") || ends_with(name, size, ".md");
}

// merges.txt beside vocab.json, as in every model: a run that writes into the folder of its texts leaves one there.
static bool is_vocabulary(const char *path) {
    if (strcmp(path_base(path), "merges.txt") != 0) return false;
    char *folder = path_directory(path);
    const bool found = folder != NULL && directory_holds(folder, "vocab.json");
    free(folder);
    return found;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool list_folder(struct text_paths *paths, const char *folder, int depth, struct llm_error *err);

// Lists what is in a folder under `path`: a text or a folder; anything else is passed over.
static bool list_entry(struct text_paths *paths, const char *path, int depth, struct llm_error *err) {
    struct stat status;
    // A link to a folder is not followed, as it may lead back up.
    if (lstat(path, &status) == 0 && S_ISDIR(status.st_mode)) return list_folder(paths, path, depth + 1, err);
    if (!named_as_text(path_base(path)) || is_vocabulary(path) || stat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return true;
    paths->size += status.st_size;
    return add_path(paths, strdup(path), err);
}

static bool list_folder(struct text_paths *paths, const char *folder, int depth, struct llm_error *err) {
    if (depth > DEEPEST)
        return error_set(err, LLM_ERROR_UNSUPPORTED, "%s: lies too deep, below %d folders", folder, DEEPEST);
    DIR *directory = opendir(folder);
    if (directory == NULL) return error_errno(err, "%s: cannot list this folder", folder);
    struct text_paths entries = {0};
    bool ok = true;
    for (struct dirent *entry = readdir(directory); ok && entry != NULL; entry = readdir(directory)) {
        if (entry->d_name[0] != '.') ok = add_path(&entries, path_join(folder, entry->d_name), err);
    }
    closedir(directory);
    if (entries.n > 0) qsort(entries.items, entries.n, sizeof *entries.items, by_name);
    for (size_t i = 0; ok && i < entries.n; i++) ok = list_entry(paths, entries.items[i], depth, err);
    text_paths_release(&entries);
    return ok;
}

bool text_paths_list(struct text_paths *paths, const char *const *given, size_t n_given, struct llm_error *err) {
    for (size_t i = 0; i < n_given; i++) {
        struct stat status;
        if (stat(given[i], &status) != 0) return error_errno(err, "%s: cannot open this file", given[i]);
        if (!S_ISDIR(status.st_mode)) {
            paths->size += status.st_size;
            if (!add_path(paths, strdup(given[i]), err)) return false;
            continue;
        }
        const size_t before = paths->n;
        if (!list_folder(paths, given[i], 0, err)) return false;
        if (paths->n == before) {
            return error_set(err, LLM_ERROR_NOT_FOUND,
                             "%s: there are no texts in this folder; *.txt, *.text or *.md were expected, "
                             "or these with .xz or .gz behind",
                             given[i]);
        }
    }
    return true;
}
