// labels.h: a classifier's labels in config.json, as transformers has them: id2label and label2id.
#ifndef MODEL_LABELS_H
#define MODEL_LABELS_H

#include "base/json.h"
#include "model/config.h"

enum {
    MAX_LABELS = 1 << 20
};

// How many labels the config of a classifier has: as id2label names, else num_labels says, else 2.
bool labels_count(const json_t *object, int *n_labels, struct llm_error *err);
// Adds the labels and pad_token_id to what config_json() writes; false when out of memory.
bool labels_write(json_t *object, const struct config *config);

// The names of the labels by their ids, allocated [n_labels], from config.json. NULL without an error when it has none.
char **labels_parse(const char *bytes, size_t size, int n_labels, struct llm_error *err);
// NULL is allowed.
void labels_free(char **labels, int n_labels);

#endif
