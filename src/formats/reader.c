// reader.c: see reader.h.
#include "formats/reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "formats/builder.h"

enum {
    INDEX_MAX = 16 << 20, // bytes; some 100 a tensor
};

static bool map_file(const struct reader *reader, struct container *container, const char *path,
                     struct llm_error *err) {
    struct file_map map;
    if (!container_map(container, path, &map, err)) return false;
    if (reader->add(container, map.bytes, map.size, err)) return true;
    error_prefix(err, "%s", path);
    return false;
}

// ---- Shards ---------------------------------------------------------------------------------

// A shard is a plain file name beside the index: what a stranger wrote must not lead elsewhere.
static bool check_shard_name(const char *name, struct llm_error *err) {
    if (*name != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) return true;
    char quoted[STR_QUOTE_SIZE];
    return error_set(err, LLM_ERROR_FORMAT, "shard %s is not a plain file name", str_quote(name, quoted));
}

static int compare_strings(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The distinct shard names of a weight_map, sorted and borrowed from it; NULL on failure.
static const char **shard_names(json_t *weight_map, size_t *n_shards, struct llm_error *err) {
    if (!json_is_object(weight_map) || json_object_size(weight_map) == 0) {
        error_set(err, LLM_ERROR_FORMAT, "weight_map is missing or not an object that names each tensor's shard");
        return NULL;
    }
    const char **names = malloc(json_object_size(weight_map) * sizeof *names);
    if (names == NULL) {
        error_memory(err, "shard names");
        return NULL;
    }
    size_t n = 0;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(weight_map, key, value) {
        char quoted[STR_QUOTE_SIZE];
        if (!json_is_string(value)) {
            error_set(err, LLM_ERROR_FORMAT, "weight_map entry %s is not a string", str_quote(key, quoted));
        } else if (check_shard_name(json_string_value(value), err)) {
            names[n++] = json_string_value(value);
            continue;
        }
        free(names);
        return NULL;
    }
    qsort(names, n, sizeof *names, compare_strings);
    *n_shards = 1;
    for (size_t i = 1; i < n; i++) {
        if (strcmp(names[i], names[*n_shards - 1]) != 0) names[(*n_shards)++] = names[i];
    }
    return names;
}

static bool add_shards(const struct reader *reader, struct container *container, const char *directory,
                       const char **names, size_t n_shards, struct llm_error *err) {
    for (size_t i = 0; i < n_shards; i++) {
        char *path = path_join(directory, names[i]);
        if (path == NULL) return error_memory(err, "shard path");
        bool ok = false;
        if (path_exists(path)) {
            ok = map_file(reader, container, path, err);
        } else {
            error_set(err, LLM_ERROR_NOT_FOUND, "%s: is missing, though %s lists it", path, reader->index_name);
        }
        free(path);
        if (!ok) return false;
    }
    return true;
}

static bool check_weight_map(const struct container *container, json_t *weight_map, struct llm_error *err) {
    char name[STR_QUOTE_SIZE];
    for (int i = 0; i < container->n_tensors; i++) {
        const struct tensor_view *tensor = &container->tensors[i];
        const char *file = path_base(container->files[tensor->file].path);
        const char *listed = json_string_value(json_object_get(weight_map, tensor->name));
        if (listed == NULL) {
            return error_set(err, LLM_ERROR_FORMAT, "does not list tensor %s, which is in %s",
                             str_quote(tensor->name, name), file);
        }
        if (strcmp(listed, file) != 0) {
            return error_set(err, LLM_ERROR_FORMAT, "lists tensor %s in %s, but it is in %s",
                             str_quote(tensor->name, name), listed, file);
        }
    }
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(weight_map, key, value) {
        if (container_find(container, key) == NULL) {
            return error_set(err, LLM_ERROR_FORMAT, "lists tensor %s in %s, which does not hold it",
                             str_quote(key, name), json_string_value(value));
        }
    }
    return true;
}

static bool read_shards(const struct reader *reader, struct container *container, const char *directory,
                        struct llm_error *err) {
    char *index_path = path_join(directory, reader->index_name);
    if (index_path == NULL) return error_memory(err, "path");
    json_t *index = json_parse_file(index_path, INDEX_MAX, err);
    json_t *weight_map = json_object_get(index, "weight_map");
    size_t n_shards = 0;
    const char **names = index == NULL ? NULL : shard_names(weight_map, &n_shards, err);
    if (index != NULL && names == NULL) error_prefix(err, "%s", index_path);
    bool ok = names != NULL && add_shards(reader, container, directory, names, n_shards, err) &&
              reader->finish(container, err);
    if (ok && !check_weight_map(container, weight_map, err)) {
        error_prefix(err, "%s", index_path);
        ok = false;
    }
    free(names);
    json_decref(index);
    free(index_path);
    return ok;
}

// ---- Any place ------------------------------------------------------------------------------

bool reader_probe_directory(const struct reader *reader, const char *path) {
    return directory_holds(path, reader->single_name) || directory_holds(path, reader->index_name);
}

static bool read_place(const struct reader *reader, struct container *container, const char *path,
                       struct llm_error *err) {
    if (reader->single_name == NULL || !directory_exists(path)) {
        return map_file(reader, container, path, err) && reader->finish(container, err);
    }
    if (!directory_holds(path, reader->single_name)) return read_shards(reader, container, path, err);
    char *file = path_join(path, reader->single_name);
    if (file == NULL) return error_memory(err, "path");
    const bool ok = map_file(reader, container, file, err) && reader->finish(container, err);
    free(file);
    return ok;
}

struct container *reader_open(const struct reader *reader, const char *path, struct llm_error *err) {
    struct container *container = container_new(reader->format, err);
    if (container == NULL || read_place(reader, container, path, err)) return container;
    container_free(container);
    return NULL;
}

struct container *reader_parse(const struct reader *reader, const uint8_t *bytes, size_t size, struct llm_error *err) {
    struct container *container = container_new(reader->format, err);
    if (container == NULL || (container_borrow(container, bytes, size, err) &&
                              reader->add(container, bytes, size, err) && reader->finish(container, err))) {
        return container;
    }
    container_free(container);
    return NULL;
}
