// records.h: what a file of examples holds before anybody asks what it means: records of named text cells.
//
// A record comes from a line of CSV or TSV, where its cells' columns are counted from 0, or from an object of JSON,
// where they are its keys. Everything is text in UTF-8 without NUL bytes; anything else is refused with a sentence that
// has the line or entry.
#ifndef DATA_RECORDS_H
#define DATA_RECORDS_H

#include "base/error.h"
#include "base/str.h"

enum {
    RECORDS_MAX_CELL = 16 << 20, // bytes; a longer one is a quote left open, or no text at all
    RECORDS_MAX_COLUMNS = 4096,
};

enum cell_type {
    CELL_STRING, // what CSV has, and strings of JSON
    CELL_SCALAR, // a number or a truth value of JSON, as its text
    CELL_OTHER,  // a list or an object of JSON: its text is "a list" or "an object"
};

struct cell {
    size_t at, size; // in `bytes`; followed there by a NUL
    int column;
    enum cell_type type;
};

struct record {
    size_t first, n; // in `cells`
    int64_t number;  // the line on which it begins, or the entry of a JSON list; from 1
};

struct records {
    char *bytes; // [n_bytes] all cells, one after another
    size_t n_bytes, bytes_capacity;
    struct cell *cells;
    size_t n_cells, cells_capacity;
    struct record *items;
    size_t n, capacity;
    char **columns; // [n_columns] names, of JSON only until rows.c has found the header of others
    int n_columns;
    bool named;       // JSON: `columns` are names from the beginning
    const char *unit; // "line" or "entry", for sentences
    size_t open_cell; // first cell of the record being filled
};

enum records_kind {
    RECORDS_BY_LOOKS, // from the name of the file and its first bytes
    RECORDS_CSV,      // fields between separators
    RECORDS_JSON,     // a list of objects, or one object a line
};

// Reads a whole file, which may be .xz or .gz. `separator` 0: a tab in .tsv files, else whichever of tab, comma and
// semicolon the first line has. `records` comes zeroed; released by the caller, after a failure too.
bool records_read(struct records *records, const char *path, enum records_kind kind, char separator,
                  struct llm_error *err);
// The same from memory; `name` only helps to tell the kind. This is the fuzz target.
bool records_parse(struct records *records, const char *name, const char *bytes, size_t size, enum records_kind kind,
                   char separator, struct llm_error *err);
void records_release(struct records *records);

// The text of a cell, NUL-terminated.
const char *cell_text(const struct records *records, const struct cell *cell);
// The record's cell in this column, or NULL.
const struct cell *record_cell(const struct records *records, const struct record *record, int column);
// "line 7: <formatted>". Always returns false.
bool records_fail(const struct records *records, int64_t number, struct llm_error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// ---- For the readers ------------------------------------------------------------------------

// Adds a cell to the record being filled; `number` is for the sentence of a failure.
bool records_add(struct records *records, int column, const char *text, size_t size, enum cell_type type,
                 int64_t number, struct llm_error *err);
// Ends the record being filled.
bool records_end(struct records *records, int64_t number, struct llm_error *err);
// The column of this name, made if it is new; -1 when out of memory or there are too many.
int records_column(struct records *records, const char *name, int64_t number, struct llm_error *err);

// records_json.c: one object of JSON, or a list of them, which is released.
bool records_add_object(struct records *records, const char *text, size_t size, int64_t number, struct llm_error *err);
bool records_add_list(struct records *records, const char *text, size_t size, struct llm_error *err);

#endif
