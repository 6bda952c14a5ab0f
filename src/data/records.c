// records.c: see records.h. Cells grow in one block of bytes; the records point into it by offset.
#include "data/records.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

void records_release(struct records *records) {
    for (int i = 0; i < records->n_columns; i++) free(records->columns[i]);
    free(records->columns);
    free(records->bytes);
    free(records->cells);
    free(records->items);
    *records = (struct records){0};
}

const char *cell_text(const struct records *records, const struct cell *cell) {
    return records->bytes + cell->at;
}

const struct cell *record_cell(const struct records *records, const struct record *record, int column) {
    for (size_t i = 0; i < record->n; i++) {
        const struct cell *cell = &records->cells[record->first + i];
        if (cell->column == column) return cell;
    }
    return NULL;
}

bool records_fail(const struct records *records, int64_t number, struct llm_error *err, const char *format, ...) {
    char text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(err, LLM_ERROR_FORMAT, "%s %lld: %s", records->unit, (long long)number, text);
}

// Makes room for `more` items of `size` bytes behind the first n; the new address, or NULL.
static void *grow(void *items, size_t n, size_t more, size_t size, size_t *capacity) {
    if (items != NULL && more <= *capacity - n) return items;
    size_t wanted = *capacity + *capacity / 2 + 64;
    if (wanted < n + more) wanted = n + more;
    void *grown = reallocarray(items, wanted, size);
    if (grown != NULL) *capacity = wanted;
    return grown;
}

bool records_add(struct records *records, int column, const char *text, size_t size, enum cell_type type,
                 int64_t number, struct llm_error *err) {
    if (column >= RECORDS_MAX_COLUMNS) {
        return records_fail(records, number, err, "has more than %d columns", RECORDS_MAX_COLUMNS);
    }
    if (size > RECORDS_MAX_CELL) {
        return records_fail(records, number, err, "a text has more than %d MiB", RECORDS_MAX_CELL >> 20);
    }
    if (!utf8_valid(text, size)) {
        return records_fail(records, number, err,
                            "is not valid UTF-8; convert the file first, as with iconv -f WINDOWS-1252 -t UTF-8");
    }
    char *bytes = grow(records->bytes, records->n_bytes, size + 1, 1, &records->bytes_capacity);
    if (bytes == NULL) return error_memory(err, "texts");
    records->bytes = bytes;
    struct cell *cells = grow(records->cells, records->n_cells, 1, sizeof *cells, &records->cells_capacity);
    if (cells == NULL) return error_memory(err, "texts");
    records->cells = cells;
    memcpy(bytes + records->n_bytes, text, size);
    bytes[records->n_bytes + size] = '\0';
    cells[records->n_cells++] = (struct cell){records->n_bytes, size, column, type};
    records->n_bytes += size + 1;
    return true;
}

bool records_end(struct records *records, int64_t number, struct llm_error *err) {
    struct record *items = grow(records->items, records->n, 1, sizeof *items, &records->capacity);
    if (items == NULL) return error_memory(err, "texts");
    records->items = items;
    items[records->n++] = (struct record){records->open_cell, records->n_cells - records->open_cell, number};
    records->open_cell = records->n_cells;
    return true;
}

int records_column(struct records *records, const char *name, int64_t number, struct llm_error *err) {
    for (int i = 0; i < records->n_columns; i++) {
        if (strcmp(records->columns[i], name) == 0) return i;
    }
    if (records->n_columns >= RECORDS_MAX_COLUMNS) {
        records_fail(records, number, err, "there are more than %d different keys", RECORDS_MAX_COLUMNS);
        return -1;
    }
    char **columns = reallocarray(records->columns, (size_t)records->n_columns + 1, sizeof *columns);
    if (columns != NULL) records->columns = columns;
    char *copy = columns == NULL ? NULL : strdup(name);
    if (copy == NULL) {
        error_memory(err, "columns");
        return -1;
    }
    columns[records->n_columns] = copy;
    return records->n_columns++;
}
