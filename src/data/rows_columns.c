// rows_columns.c: which column holds the text and which the label; see rows.h.
//
// What the options name is looked for. Else names that people use decide; else, of two columns, the label is the one
// with fewer different values. Whether the first line is a header follows from the same: it holds a name that was asked
// for or that people use, or its label occurs in no other row while the others repeat.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/rows.h"

// In order of preference. (v1 and v2 are what a widely copied version of the SMS collection calls them.)
static const char *const text_names[] = {"text",    "texts", "message", "messages", "sms",   "sentence", "review",
                                         "content", "body",  "comment", "tweet",    "title", "v2",       NULL};
static const char *const label_names[] = {"label", "labels", "class", "category", "target", "sentiment", "v1", NULL};

static bool same_name(const struct records *records, const struct cell *cell, const char *name) {
    const char *text = cell_text(records, cell);
    while (*text == ' ') text++;
    size_t size = strlen(text);
    while (size > 0 && text[size - 1] == ' ') size--;
    return size == strlen(name) && strncasecmp(text, name, size) == 0;
}

// ---- The names of columns, as cells or as keys ------------------------------------------------

// The column called `name`, exactly or, with `loosely`, whatever its case; -1 when there is none.
static int column_named(const struct records *records, const char *name, bool loosely) {
    for (int i = 0; records->named && i < records->n_columns; i++) {
        const char *column = records->columns[i];
        if (loosely ? strcasecmp(column, name) == 0 : strcmp(column, name) == 0) return i;
    }
    const struct record *first = records->named || records->n == 0 ? NULL : records->items;
    for (size_t i = 0; first != NULL && i < first->n; i++) {
        const struct cell *cell = &records->cells[first->first + i];
        if (loosely ? same_name(records, cell, name) : strcmp(cell_text(records, cell), name) == 0) return cell->column;
    }
    return -1;
}

// The first of `names` that there is, but not column `other`.
static int column_known(const struct records *records, const char *const *names, int other) {
    for (; *names != NULL; names++) {
        const int column = column_named(records, *names, true);
        if (column >= 0 && column != other) return column;
    }
    return -1;
}

// The number of a column given as "1", "2", ...; -1 when it is not one.
static int column_number(const char *word, int n_columns) {
    int number = 0;
    if (*word == '\0' || strlen(word) > 5) return -1;
    for (const char *c = word; *c != '\0'; c++) {
        if (*c < '0' || *c > '9') return -1;
        number = number * 10 + (*c - '0');
    }
    return number >= 1 && number <= n_columns ? number - 1 : -1;
}

// "its columns are: id, text, label", cut where there are many.
static void list_columns(const struct records *records, const struct rows_columns *columns, char *text, size_t size) {
    const bool names = records->named || columns->header;
    int used = names ? snprintf(text, size, "its columns are")
                     : snprintf(text, size, "it has %d without names, numbered from 1", columns->n_columns);
    for (int i = 0; names && i < columns->n_columns && used < (int)size - STR_QUOTE_SIZE - 8; i++) {
        char quoted[STR_QUOTE_SIZE];
        const char *name = records->named ? records->columns[i] : "";
        const struct cell *cell = records->named ? NULL : record_cell(records, records->items, i);
        if (cell != NULL) name = cell_text(records, cell);
        used += snprintf(text + used, size - (size_t)used, "%s %s", i == 0 ? "" : ",", str_quote(name, quoted));
    }
}

// The column that an option asks for: by its name, else by its number.
static bool column_asked(const struct records *records, const struct rows_columns *columns, const char *word,
                         int *column, struct llm_error *err) {
    const bool names = records->named || columns->header;
    *column = names ? column_named(records, word, false) : -1;
    if (*column < 0) *column = column_number(word, columns->n_columns);
    if (*column >= 0) return true;
    char quoted[STR_QUOTE_SIZE], list[512];
    list_columns(records, columns, list, sizeof list);
    return error_set(err, LLM_ERROR_FORMAT, "there is no column %s; %s", str_quote(word, quoted), list);
}

// ---- Columns by their looks -------------------------------------------------------------------

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// How many different values the column has in the records from `begin` on; *n gets how many there are at all, and
// *first_again whether the value of record 0 is among them. -1 when out of memory.
static int64_t count_different(const struct records *records, size_t begin, int column, size_t *n, bool *first_again) {
    const char **texts = calloc(records->n + 1, sizeof *texts);
    if (texts == NULL) return -1;
    const struct cell *first = records->n > 0 ? record_cell(records, records->items, column) : NULL;
    *n = 0;
    *first_again = false;
    for (size_t i = begin; i < records->n; i++) {
        const struct cell *cell = record_cell(records, &records->items[i], column);
        if (cell == NULL) continue;
        texts[(*n)++] = cell_text(records, cell);
        if (first != NULL && strcmp(cell_text(records, first), cell_text(records, cell)) == 0) *first_again = true;
    }
    qsort(texts, *n, sizeof *texts, compare_texts);
    int64_t different = 0;
    for (size_t i = 0; i < *n; i++) different += i == 0 || strcmp(texts[i - 1], texts[i]) != 0;
    free(texts);
    return different;
}

// Of two columns: the one with fewer different values; the first if they are even.
static bool label_by_looks(const struct records *records, size_t begin, int *label, struct llm_error *err) {
    size_t n = 0;
    bool again = false;
    const int64_t a = count_different(records, begin, 0, &n, &again);
    const int64_t b = count_different(records, begin, 1, &n, &again);
    *label = b < a;
    return (a >= 0 && b >= 0) || error_memory(err, "columns");
}

// Whether an option names what the first line holds. A name that it does not hold is looked for there, too, so
// that the sentence can list what it has.
static bool names_header(const struct records *records, const char *word, int n_columns) {
    return word != NULL && (column_named(records, word, false) >= 0 || column_number(word, n_columns) < 0);
}

static bool detect_header(const struct records *records, const struct rows_options *options,
                          struct rows_columns *columns, struct llm_error *err) {
    columns->header = names_header(records, options->text_column, columns->n_columns) ||
                      names_header(records, options->label_column, columns->n_columns) ||
                      column_known(records, text_names, -1) >= 0 || column_known(records, label_names, -1) >= 0;
    if (columns->header || options->unlabelled) return true;
    int label = options->label_column != NULL ? column_number(options->label_column, columns->n_columns) : -1;
    if (label < 0 && columns->n_columns != 2) return true;
    if (label < 0 && !label_by_looks(records, 1, &label, err)) return false;
    size_t n = 0;
    bool again = false;
    const int64_t different = count_different(records, 1, label, &n, &again);
    if (different < 0) return error_memory(err, "columns");
    columns->header = !again && n > 1 && (int64_t)n >= 2 * different;
    return true;
}

// ---- All together ------------------------------------------------------------------------------

static bool find_label(struct rows_columns *columns, const struct records *records, const struct rows_options *options,
                       struct llm_error *err) {
    const bool names = records->named || columns->header;
    if (options->label_column != NULL) {
        return column_asked(records, columns, options->label_column, &columns->label, err);
    }
    columns->label = names ? column_known(records, label_names, columns->text) : -1;
    if (columns->label >= 0) return true;
    if (columns->n_columns == 2 && columns->text >= 0) {
        columns->label = 1 - columns->text;
        return true;
    }
    if (columns->n_columns == 2) return label_by_looks(records, columns->header ? 1 : 0, &columns->label, err);
    char list[512];
    list_columns(records, columns, list, sizeof list);
    return error_set(err, LLM_ERROR_FORMAT, "which column holds the label? Name it (--label-column); %s", list);
}

static bool find_text(struct rows_columns *columns, const struct records *records, const struct rows_options *options,
                      struct llm_error *err) {
    if (columns->text >= 0) return true;
    if (columns->n_columns == 2 && columns->label >= 0) {
        columns->text = 1 - columns->label;
        return true;
    }
    if (columns->n_columns == 1 && options->unlabelled) {
        columns->text = 0;
        return true;
    }
    char list[512];
    list_columns(records, columns, list, sizeof list);
    return error_set(err, LLM_ERROR_FORMAT, "which column holds the text? Name it (--text-column); %s", list);
}

// No line has more fields than the first one; that would be a text with a separator in it that is not quoted.
static bool check_widths(const struct records *records, int n_columns, struct llm_error *err) {
    for (size_t i = 0; i < records->n; i++) {
        const struct record *record = &records->items[i];
        if (record->n <= (size_t)n_columns) continue;
        return records_fail(records, record->number, err,
                            "has %zu fields, the first one has %d; a text that holds the separator must be quoted",
                            record->n, n_columns);
    }
    return true;
}

bool rows_columns_find(struct rows_columns *columns, struct records *records, const struct rows_options *options,
                       struct llm_error *err) {
    *columns = (struct rows_columns){.text = -1, .label = -1};
    if (records->n == 0) return error_set(err, LLM_ERROR_FORMAT, "holds no rows");
    columns->n_columns = records->named ? records->n_columns : (int)records->items[0].n;
    columns->header = !records->named && options->header == ROWS_HEADER_FIRST_LINE;
    if (!records->named && !check_widths(records, columns->n_columns, err)) return false;
    if (!records->named && options->header == ROWS_HEADER_DETECT && !detect_header(records, options, columns, err)) {
        return false;
    }
    const bool names = records->named || columns->header;
    if (options->text_column != NULL) {
        if (!column_asked(records, columns, options->text_column, &columns->text, err)) return false;
    } else if (names) {
        columns->text = column_known(records, text_names, -1);
    }
    if (!options->unlabelled && !find_label(columns, records, options, err)) return false;
    if (!find_text(columns, records, options, err)) return false;
    if (columns->text == columns->label) {
        return error_set(err, LLM_ERROR_FORMAT, "text and label are the same column; name two different ones");
    }
    return true;
}
