// rows.c: see rows.h. Columns are found in rows_columns.c, labels numbered in rows_labels.c.
#include "data/rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/csv.h"

void rows_release(struct rows *rows) {
    free(rows->items);
    free(rows->labels);
    records_release(&rows->records);
    strbuf_release(&rows->names);
    *rows = (struct rows){0};
}

static bool is_white(const char *text) {
    return text[strspn(text, " \t\r\n\v\f")] == '\0';
}

// Takes the white space around a label away, in place.
static const char *trimmed(char *text) {
    size_t size = strlen(text);
    while (size > 0 && strchr(" \t\r\n", text[size - 1]) != NULL) text[--size] = '\0';
    return text + strspn(text, " \t\r\n");
}

// Points *cell to the record's cell, NULL where it has none; a list or an object is refused.
static bool find_cell(const struct rows *rows, const struct record *record, int column, const char *what,
                      const struct cell **cell, struct llm_error *err) {
    *cell = column < 0 ? NULL : record_cell(&rows->records, record, column);
    if (*cell == NULL || (*cell)->type != CELL_OTHER) return true;
    return records_fail(&rows->records, record->number, err, "its %s is %s, a text was expected", what,
                        cell_text(&rows->records, *cell));
}

// Fills items and, for each, its label's text.
static bool take_rows(struct rows *rows, const struct rows_columns *columns, const char **label_text,
                      struct llm_error *err) {
    const struct records *records = &rows->records;
    for (size_t i = columns->header ? 1 : 0; i < records->n; i++) {
        const struct record *record = &records->items[i];
        const struct cell *text = NULL, *label = NULL;
        rows->n_read++;
        if (!find_cell(rows, record, columns->text, "text", &text, err) ||
            !find_cell(rows, record, columns->label, "label", &label, err)) {
            return false;
        }
        if (text == NULL || is_white(cell_text(records, text))) {
            rows->n_empty++;
        } else if (columns->label >= 0 && (label == NULL || is_white(cell_text(records, label)))) {
            rows->n_unlabelled++;
        } else {
            if (label != NULL) label_text[rows->n] = trimmed(records->bytes + label->at);
            rows->items[rows->n++] = (struct row){cell_text(records, text), text->size, -1, record->number};
        }
    }
    if (rows->n > 0) return true;
    return error_set(err, LLM_ERROR_FORMAT, "holds no row with %s; %zu rows were read, %zu of them without text",
                     columns->label >= 0 ? "both a text and a label" : "a text", rows->n_read, rows->n_empty);
}

// Keeps what the columns are called, for telling.
static bool name_columns(struct rows *rows, const struct rows_columns *columns, struct llm_error *err) {
    const char *names[2] = {NULL, NULL};
    const int which[2] = {columns->text, columns->label};
    strbuf_init(&rows->names, 64);
    if (!strbuf_reserve(&rows->names, 48)) return error_memory(err, "columns");
    for (int i = 0; i < 2; i++) {
        const struct records *records = &rows->records;
        if (which[i] < 0) continue;
        if (records->named) {
            names[i] = records->columns[which[i]];
        } else if (columns->header) {
            const struct cell *cell = record_cell(records, records->items, which[i]);
            names[i] = cell == NULL ? "" : cell_text(records, cell);
        } else {
            const size_t begin = rows->names.size;
            strbuf_printf(&rows->names, "%d", which[i] + 1);
            strbuf_append(&rows->names, "", 1); // keeps the NUL
            names[i] = rows->names.bytes + begin;
        }
    }
    rows->text_column = names[0];
    rows->label_column = names[1];
    return true;
}

static bool rows_take(struct rows *rows, const struct rows_options *options, struct llm_error *err) {
    struct rows_columns columns;
    if (!rows_columns_find(&columns, &rows->records, options, err) || !name_columns(rows, &columns, err)) return false;
    rows->header = columns.header;
    rows->items = calloc(rows->records.n, sizeof *rows->items);
    const char **label_text = calloc(rows->records.n, sizeof *label_text);
    bool ok = rows->items != NULL && label_text != NULL;
    if (!ok) error_memory(err, "rows");
    ok = ok && take_rows(rows, &columns, label_text, err);
    if (ok && !options->unlabelled) ok = rows_labels_find(rows, label_text, options, err);
    free(label_text);
    return ok;
}

bool rows_parse(struct rows *rows, const char *name, const char *bytes, size_t size, const struct rows_options *options,
                struct llm_error *err) {
    const struct rows_options defaults = {0};
    if (options == NULL) options = &defaults;
    *rows = (struct rows){0};
    return records_parse(&rows->records, name, bytes, size, RECORDS_BY_LOOKS, options->separator, err) &&
           rows_take(rows, options, err);
}

bool rows_read(struct rows *rows, const char *path, const struct rows_options *options, struct llm_error *err) {
    const struct rows_options defaults = {0};
    if (options == NULL) options = &defaults;
    *rows = (struct rows){0};
    if (!records_read(&rows->records, path, RECORDS_BY_LOOKS, options->separator, err)) return false;
    struct llm_error wrong = {0};
    if (rows_take(rows, options, &wrong)) return true;
    error_prefix(&wrong, "%s", path);
    return error_set(err, wrong.code, "%s", wrong.text);
}

bool rows_write_csv(const struct rows *rows, const int64_t *order, size_t n, bool names, const char *path,
                    struct llm_error *err) {
    struct file_writer *writer = file_writer_open(path, err);
    if (writer == NULL) return false;
    struct strbuf line;
    strbuf_init(&line, (size_t)RECORDS_MAX_CELL * 4);
    strbuf_puts(&line, "Label,Text\n");
    bool ok = true;
    for (size_t i = 0; ok && i <= n; i++) {
        ok = strbuf_ok(&line) || error_memory(err, path);
        ok = ok && file_writer_write(writer, line.bytes, line.size, err);
        strbuf_clear(&line);
        if (i == n) break;
        const struct row *row = &rows->items[order == NULL ? (int64_t)i : order[i]];
        if (names) {
            csv_put(&line, rows->labels[row->label], strlen(rows->labels[row->label]), ',');
        } else {
            strbuf_printf(&line, "%d", row->label);
        }
        strbuf_puts(&line, ",");
        csv_put(&line, row->text, row->size, ',');
        strbuf_puts(&line, "\n");
    }
    strbuf_release(&line);
    if (ok) return file_writer_commit(writer, err);
    file_writer_abort(writer);
    return false;
}
