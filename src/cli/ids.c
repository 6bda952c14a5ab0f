// ids.c: see ids.h.
#include "cli/ids.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static bool is_separator(char c) {
    return c == ' ' || c == ',' || (c >= '\t' && c <= '\r');
}

// The number that is the word [size]; false if it is none that an id could be.
static bool parse_id(const char *word, size_t size, int32_t *id) {
    int64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        if (word[i] < '0' || word[i] > '9') return false;
        value = value * 10 + (word[i] - '0');
        if (value > INT32_MAX) return false;
    }
    *id = (int32_t)value;
    return true;
}

static bool append(struct id_list *list, int32_t id, struct llm_error *err) {
    if (list->n == list->capacity) {
        const size_t capacity = list->capacity == 0 ? 256 : 2 * list->capacity;
        int32_t *ids = realloc(list->ids, capacity * sizeof *ids);
        if (ids == NULL) return error_memory(err, "ids");
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->n++] = id;
    return true;
}

bool id_list_parse(struct id_list *list, const char *text, size_t size, struct llm_error *err) {
    for (size_t at = 0; at < size;) {
        const size_t begin = at;
        while (at < size && !is_separator(text[at])) at++;
        int32_t id;
        if (at > begin && !parse_id(text + begin, at - begin, &id)) {
            char word[64];
            char quoted[STR_QUOTE_SIZE];
            const size_t n = at - begin < sizeof word - 1 ? at - begin : sizeof word - 1;
            memcpy(word, text + begin, n);
            word[n] = '\0';
            return error_set(err, LLM_ERROR_ARGUMENT, "%s is not an id; decimal numbers were expected",
                             str_quote(word, quoted));
        }
        if (at > begin && !append(list, id, err)) return false;
        if (at < size) at++;
    }
    return true;
}

void id_list_release(struct id_list *list) {
    free(list->ids);
    *list = (struct id_list){0};
}
