// ids.h: token ids as people write them: decimal numbers with white space or commas between.
#ifndef CLI_IDS_H
#define CLI_IDS_H

#include "base/error.h"

struct id_list {
    int32_t *ids; // [n]
    size_t n, capacity;
};

// Appends the ids in `text` [size]. The sentence of a failure quotes the word that is none.
bool id_list_parse(struct id_list *list, const char *text, size_t size, struct llm_error *err);
void id_list_release(struct id_list *list);

#endif
