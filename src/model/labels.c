// labels.c: see labels.h.
#include "model/labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_SIZE = 16
};

bool labels_count(const json_t *object, int *n_labels, struct llm_error *err) {
    const json_t *names = json_object_get(object, "id2label");
    int64_t n = 2; // of transformers' PretrainedConfig
    if (json_is_object(names)) {
        n = (int64_t)json_object_size(names);
    } else if (names != NULL && !json_is_null(names)) {
        return error_set(err, LLM_ERROR_FORMAT, "id2label is not an object that names the labels");
    } else if (!json_get_int(object, "num_labels", 1, MAX_LABELS, &n, err)) {
        return false;
    }
    if (n < 1 || n > MAX_LABELS) {
        return error_set(err, LLM_ERROR_FORMAT, "id2label names %lld labels, 1 to %d were expected", (long long)n,
                         MAX_LABELS);
    }
    *n_labels = (int)n;
    return true;
}

bool labels_write(json_t *object, const struct config *config) {
    json_t *names = json_object(), *ids = json_object();
    bool ok = true;
    for (int i = 0; ok && i < config->n_labels; i++) {
        char key[KEY_SIZE], other[KEY_SIZE + 6];
        snprintf(key, sizeof key, "%d", i);
        snprintf(other, sizeof other, "LABEL_%d", i);
        const char *name = config->labels != NULL ? config->labels[i] : other;
        ok = json_object_set_new(names, key, json_string(name)) == 0 &&
             json_object_set_new(ids, name, json_integer(i)) == 0;
    }
    ok = json_object_set_new(object, "pad_token_id", config->pad < 0 ? json_null() : json_integer(config->pad)) == 0 &&
         ok;
    ok = json_object_set_new(object, "id2label", names) == 0 && ok;
    return json_object_set_new(object, "label2id", ids) == 0 && ok;
}

// Copies the names of id2label, whose size is n_labels; each of the ids 0 .. n_labels - 1 must be there.
static bool copy_labels(char **labels, const json_t *names, int n_labels, struct llm_error *err) {
    for (int i = 0; i < n_labels; i++) {
        char key[KEY_SIZE];
        snprintf(key, sizeof key, "%d", i);
        const char *name = json_string_value(json_object_get(names, key));
        if (name == NULL) return error_set(err, LLM_ERROR_FORMAT, "id2label does not name label %d", i);
        labels[i] = strdup(name);
        if (labels[i] == NULL) return error_memory(err, "labels");
    }
    return true;
}

char **labels_parse(const char *bytes, size_t size, int n_labels, struct llm_error *err) {
    json_t *object = json_parse(bytes, size, err);
    const json_t *names = json_object_get(object, "id2label");
    char **labels = NULL;
    if (json_is_object(names) && json_object_size(names) == (size_t)n_labels) {
        labels = calloc((size_t)n_labels, sizeof *labels); // NOLINT(bugprone-sizeof-expression): pointers
        if (labels == NULL) {
            error_memory(err, "labels");
        } else if (!copy_labels(labels, names, n_labels, err)) {
            labels_free(labels, n_labels);
            labels = NULL;
        }
    }
    json_decref(object);
    return labels;
}

void labels_free(char **labels, int n_labels) {
    for (int i = 0; labels != NULL && i < n_labels; i++) free(labels[i]);
    free(labels);
}
