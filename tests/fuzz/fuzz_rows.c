// fuzz_rows.c: any bytes as a file of labelled texts. The first byte chooses name and options; what is accepted must
// be whole, must come out the same when written as CSV and read again, and a failure must leave a sentence.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/csv.h"
#include "data/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_rows(const struct rows *rows) {
    if (rows->n == 0 || rows->n > rows->n_read) abort();
    for (size_t i = 0; i < rows->n; i++) {
        const struct row *row = &rows->items[i];
        if (row->text[row->size] != '\0' || strlen(row->text) != row->size) abort();
        if (row->label >= rows->n_labels || (row->label < 0) != (rows->n_labels == 0)) abort();
    }
}

// Texts between quotes come back as they were.
static void check_again(const struct rows *rows) {
    struct strbuf out;
    strbuf_init(&out, (size_t)1 << 28);
    strbuf_puts(&out, "Label,Text\n");
    for (size_t i = 0; i < rows->n; i++) {
        const char *label = rows->labels[rows->items[i].label];
        csv_put(&out, label, strlen(label), ',');
        strbuf_puts(&out, ",");
        csv_put(&out, rows->items[i].text, rows->items[i].size, ',');
        strbuf_puts(&out, "\n");
    }
    struct rows again = {0};
    struct llm_error err = {0};
    const struct rows_options options = {.header = ROWS_HEADER_FIRST_LINE, .separator = ','};
    if (!strbuf_ok(&out) || !rows_parse(&again, "a.csv", out.bytes, out.size, &options, &err)) abort();
    if (again.n != rows->n || again.n_labels != rows->n_labels) abort();
    for (size_t i = 0; i < rows->n; i++) {
        if (strcmp(again.items[i].text, rows->items[i].text) != 0 || again.items[i].label != rows->items[i].label)
            abort();
    }
    strbuf_release(&out);
    rows_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"a", "a.csv", "a.tsv", "a.json", "a.jsonl"};
    const struct rows_options options[] = {
        {0}, {.unlabelled = true}, {.text_column = "1", .label_column = "2"}, {.text_column = "t"}};
    if (size == 0) return 0;
    struct rows rows = {0};
    struct llm_error err = {0};
    const struct rows_options *chosen = &options[data[0] / 5 % 4];
    const bool ok = rows_parse(&rows, names[data[0] % 5], (const char *)data + 1, size - 1, chosen, &err);
    if (ok != (err.code == LLM_OK) || ok != (err.text[0] == '\0')) abort();
    if (ok) check_rows(&rows);
    if (ok && !chosen->unlabelled) check_again(&rows);
    rows_release(&rows);
    return 0;
}
