// rows.h: labelled texts: which column is the text, which the label, and what the labels are.
//
// From CSV, TSV, JSON lists and lines of JSON (records.h). Labels are numbered in order: numbers by value, names by
// their bytes, so "ham" is 0 and "spam" 1. Rows without text or without label are left out and counted.
#ifndef DATA_ROWS_H
#define DATA_ROWS_H

#include "data/records.h"

enum rows_header {
    ROWS_HEADER_DETECT,
    ROWS_HEADER_NONE,
    ROWS_HEADER_FIRST_LINE,
};

struct rows_options {
    const char *text_column;  // a name, or a number from 1; NULL: found by name, or as the one that is not the label
    const char *label_column; // likewise; found by name, or, of two columns, as the one with fewer different values
    enum rows_header header;  // of CSV
    char separator;           // of CSV; 0: found
    bool unlabelled;          // texts alone are wanted; every label is -1
    // The labels a classifier knows [n_labels]; another one in the file is an error, and so are ids if the file has
    // names, but a file whose labels are all ids 0 .. n_labels - 1 is taken as such. NULL: those of the file.
    const char *const *labels;
    int n_labels;
};

struct row {
    const char *text; // [size] and a NUL
    size_t size;
    int32_t label;
    int64_t number; // the line or the entry
};

struct rows {
    struct row *items; // [n] in file order
    size_t n;
    const char **labels; // [n_labels] by id
    int n_labels;
    // To be told: what was taken for what, and what was left out.
    size_t n_read;                          // rows in the file, its header not counted
    size_t n_empty;                         // without text, or only white space
    size_t n_unlabelled;                    // with text but without label
    bool header;                            // the first line was taken as names of columns
    const char *text_column, *label_column; // their names; "1", "2", ... when there are none
    // Behind all this:
    struct records records;
    struct strbuf names; // of columns that have none
};

// `rows` comes in any state and is released by the caller, after a failure too.
bool rows_read(struct rows *rows, const char *path, const struct rows_options *options, struct llm_error *err);
// The same from memory; `name` helps to tell the kind, as "x.tsv".
bool rows_parse(struct rows *rows, const char *name, const char *bytes, size_t size, const struct rows_options *options,
                struct llm_error *err);
void rows_release(struct rows *rows);

// Writes rows items[order[0]], items[order[1]], ... as pandas' to_csv(index=None) does: "Label,Text" and a line each,
// the label as its id, or as its name. `order` NULL: the first n.
bool rows_write_csv(const struct rows *rows, const int64_t *order, size_t n, bool names, const char *path,
                    struct llm_error *err);

// ---- Between rows.c and rows_columns.c -------------------------------------------------------

// Finds the columns of `records`, by the options or by their looks; a header's record is taken off the front.
struct rows_columns {
    int text, label; // label -1 for options->unlabelled
    int n_columns;
    bool header;
};
bool rows_columns_find(struct rows_columns *columns, struct records *records, const struct rows_options *options,
                       struct llm_error *err);

// Numbers the labels of all rows, which are in label_text [n]; options->labels or those that are there.
bool rows_labels_find(struct rows *rows, const char *const *label_text, const struct rows_options *options,
                      struct llm_error *err);

#endif
