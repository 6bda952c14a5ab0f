// home.c: where things are: $MY_LLM_HOME, the models in it, the bundled model. See store.h.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "store/items.h"
#include "store/record.h"
#include "store/store.h"

// The value of an environment variable, or NULL when it is unset or empty.
static const char *environment(const char *name) {
    const char *value = getenv(name);
    return value == NULL || value[0] == '\0' ? NULL : value;
}

char *store_home(struct llm_error *err) {
    const char *home = environment("MY_LLM_HOME");
    const char *data = environment("XDG_DATA_HOME");
    const char *user = environment("HOME");
    if (data != NULL && data[0] != '/') data = NULL; // as the XDG base directory specification asks
    char *path = NULL;
    if (home != NULL) {
        path = strdup(home);
    } else if (data != NULL) {
        path = path_join(data, "my-llm");
    } else if (user != NULL) {
        path = path_join(user, ".local/share/my-llm");
    } else {
        error_set(err, LLM_ERROR_NOT_FOUND,
                  "no place for models and data: none of MY_LLM_HOME, XDG_DATA_HOME and HOME is set");
        return NULL;
    }
    if (path == NULL) error_memory(err, "path");
    return path;
}

bool store_is_model(const char *name) {
    const struct store_item *item = store_item_find(name);
    return item != NULL && item->is_model;
}

char *store_item_directory(const struct store_item *item, struct llm_error *err) {
    char *home = store_home(err);
    if (home == NULL) return NULL;
    char *path = NULL;
    if (asprintf(&path, "%s/%s/%s", home, item->is_model ? "models" : "data", item->name) < 0) path = NULL;
    free(home);
    if (path == NULL) error_memory(err, "path");
    return path;
}

bool store_item_complete(const struct store_item *item, const char *directory) {
    struct record record;
    bool complete = record_load(&record, item, NULL);
    for (int i = 0; complete && i < item->n_files; i++) {
        char *path = path_join(directory, item->files[i].name);
        complete = path != NULL && record_holds(&record, i, path);
        free(path);
    }
    return complete;
}

char *store_find_model(const char *name) {
    const struct store_item *item = store_item_find(name);
    if (item == NULL || !item->is_model) return NULL;
    char *directory = store_item_directory(item, NULL);
    if (directory != NULL && store_item_complete(item, directory)) return directory;
    free(directory);
    return NULL;
}

// ---- The bundled model ----------------------------------------------------------------------

// Directory of the running program, allocated; NULL when the system does not tell.
static char *program_directory(void) {
    char path[4096];
    const ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size <= 0 || (size_t)size == sizeof path - 1) return NULL;
    path[size] = '\0';
    return path_directory(path);
}

// "<directory>/<below>" resolved, allocated, if it holds a config.json; else NULL.
static char *model_below(const char *directory, const char *below) {
    if (directory == NULL) return NULL;
    char *path = path_join(directory, below);
    char *resolved = path == NULL ? NULL : realpath(path, NULL);
    char *config = resolved == NULL ? NULL : path_join(resolved, "config.json");
    const bool found = config != NULL && file_exists(config);
    free(path);
    free(config);
    if (found) return resolved;
    free(resolved);
    return NULL;
}

char *store_bundled(struct llm_error *err) {
    const char *chosen = environment("MY_LLM_BUNDLED");
    if (chosen != NULL) {
        char *path = directory_exists(chosen) ? strdup(chosen) : NULL;
        if (path == NULL) error_set(err, LLM_ERROR_NOT_FOUND, "%s: is no directory (from MY_LLM_BUNDLED)", chosen);
        return path;
    }
    char *program = program_directory();
    char *path = model_below(program, "../share/my-llm/models/bundled");    // installed, wherever the prefix has moved
    if (path == NULL) path = model_below(program, "../models/bundled");     // the build tree: build/my-llm
    if (path == NULL) path = model_below(MY_LLM_DATADIR, "models/bundled"); // another program with our library
    if (path == NULL) {
        error_set(err, LLM_ERROR_NOT_FOUND,
                  "the bundled model is not installed: no config.json in ../share/my-llm/models/bundled or "
                  "../models/bundled, seen from %s, nor in %s/models/bundled; MY_LLM_BUNDLED can name its directory",
                  program != NULL ? program : "the program", MY_LLM_DATADIR);
    }
    free(program);
    return path;
}
