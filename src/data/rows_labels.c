// rows_labels.c: labels to ids; see rows.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/rows.h"

enum {
    SUSPICIOUS = 20 // as many rows, each with a label of its own, are no classes
};

static bool as_number(const char *text, double *number) {
    char *end = NULL;
    *number = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*number) && strpbrk(text, "xXpP") == NULL;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// By value; the same value in two spellings ("1", "1.0") by spelling.
static int compare_numbers(const void *a, const void *b) {
    double x = 0, y = 0;
    as_number(*(const char *const *)a, &x);
    as_number(*(const char *const *)b, &y);
    return x < y ? -1 : x > y ? 1 : compare_names(a, b);
}

// Sorts the labels and leaves each once. Returns how many there are.
static size_t sort_labels(const char **labels, size_t n) {
    bool numbers = true;
    double number = 0;
    for (size_t i = 0; numbers && i < n; i++) numbers = as_number(labels[i], &number);
    qsort(labels, n, sizeof *labels, numbers ? compare_numbers : compare_names);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || strcmp(labels[kept - 1], labels[i]) != 0) labels[kept++] = labels[i];
    }
    return kept;
}

// The labels of the file itself.
static bool own_labels(struct rows *rows, const char *const *label_text, struct llm_error *err) {
    rows->labels = calloc(rows->n, sizeof *rows->labels);
    if (rows->labels == NULL) return error_memory(err, "labels");
    memcpy(rows->labels, label_text, rows->n * sizeof *rows->labels);
    const size_t n = sort_labels(rows->labels, rows->n);
    char quoted[STR_QUOTE_SIZE];
    if (n < 2) {
        return error_set(err, LLM_ERROR_FORMAT, "all %zu rows have the label %s; two labels at least were expected",
                         rows->n, str_quote(rows->labels[0], quoted));
    }
    if (n == rows->n && n >= SUSPICIOUS) {
        return error_set(err, LLM_ERROR_FORMAT,
                         "all %zu rows have different labels in column %s; is another one the label (--label-column)?",
                         n, str_quote(rows->label_column, quoted));
    }
    rows->n_labels = (int)n;
    return true;
}

// A label and its id, sorted by name for looking up.
struct known {
    const char *name;
    int32_t id;
};

static int compare_known(const void *a, const void *b) {
    return strcmp(((const struct known *)a)->name, ((const struct known *)b)->name);
}

static struct known *sort_known(const struct rows *rows) {
    struct known *known = calloc((size_t)rows->n_labels, sizeof *known);
    for (int i = 0; known != NULL && i < rows->n_labels; i++) known[i] = (struct known){rows->labels[i], i};
    if (known != NULL) qsort(known, (size_t)rows->n_labels, sizeof *known, compare_known);
    return known;
}

// The id that `text` spells, -1 if it is none of this many.
static int32_t as_id(const char *text, int n_labels) {
    double number = 0;
    if (text[strspn(text, "0123456789")] != '\0' || !as_number(text, &number) || number >= n_labels) return -1;
    return (int32_t)number;
}

// Gives each row the id of its label among those known: by name in all rows, else by number in all rows.
static bool number_rows(struct rows *rows, const char *const *label_text, struct llm_error *err) {
    struct known *known = sort_known(rows);
    if (known == NULL) return error_memory(err, "labels");
    size_t unknown = rows->n;
    for (size_t i = 0; i < rows->n && unknown == rows->n; i++) {
        const struct known key = {label_text[i], -1};
        const struct known *found = bsearch(&key, known, (size_t)rows->n_labels, sizeof *known, compare_known);
        if (found == NULL) unknown = i;
        rows->items[i].label = found == NULL ? -1 : found->id;
    }
    free(known);
    if (unknown == rows->n) return true;
    bool ids = true;
    for (size_t i = 0; ids && i < rows->n; i++) {
        rows->items[i].label = as_id(label_text[i], rows->n_labels);
        ids = rows->items[i].label >= 0;
    }
    if (ids) return true;
    char quoted[STR_QUOTE_SIZE], first[STR_QUOTE_SIZE];
    return records_fail(&rows->records, rows->items[unknown].number, err,
                        "its label %s is not one of the %d that were trained, %s and others",
                        str_quote(label_text[unknown], quoted), rows->n_labels, str_quote(rows->labels[0], first));
}

bool rows_labels_find(struct rows *rows, const char *const *label_text, const struct rows_options *options,
                      struct llm_error *err) {
    if (options->labels == NULL) {
        return own_labels(rows, label_text, err) && number_rows(rows, label_text, err);
    }
    rows->labels = calloc((size_t)options->n_labels, sizeof *rows->labels);
    if (rows->labels == NULL) return error_memory(err, "labels");
    memcpy(rows->labels, options->labels, (size_t)options->n_labels * sizeof *rows->labels);
    rows->n_labels = options->n_labels;
    return number_rows(rows, label_text, err);
}
