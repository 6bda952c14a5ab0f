// csv.c: see csv.h. One byte, one step; the states are those of pandas' tokenizer.
#include "data/csv.h"

#include <string.h>

void csv_init(struct csv *csv, struct records *records, char separator) {
    *csv = (struct csv){.records = records, .separator = separator, .line = 1, .begin = 1};
    strbuf_init(&csv->field, RECORDS_MAX_CELL);
}

void csv_release(struct csv *csv) {
    strbuf_release(&csv->field);
}

// Fails for a field that did not fit, or for want of memory.
static bool field_check(const struct csv *csv, struct llm_error *err) {
    if (strbuf_ok(&csv->field)) return true;
    if (csv->field.size < RECORDS_MAX_CELL / 2) return error_memory(err, "field");
    const bool open = csv->state == CSV_IN_QUOTES;
    return records_fail(csv->records, open ? csv->quote_line : csv->line, err,
                        "a field has more than %d MiB%s; texts were expected", RECORDS_MAX_CELL >> 20,
                        open ? " after a quote that is not closed" : "");
}

static bool end_field(struct csv *csv, struct llm_error *err) {
    const char *text = csv->field.bytes == NULL ? "" : csv->field.bytes;
    if (!field_check(csv, err) ||
        !records_add(csv->records, csv->column, text, csv->field.size, CELL_STRING, csv->begin, err)) {
        return false;
    }
    strbuf_clear(&csv->field);
    csv->column++;
    csv->quoted = false;
    return true;
}

static bool is_blank(const struct strbuf *field) {
    for (size_t i = 0; i < field->size; i++) {
        if (field->bytes[i] != ' ' && field->bytes[i] != '\t') return false;
    }
    return true;
}

static bool end_record(struct csv *csv, struct llm_error *err) {
    if (csv->column == 0 && !csv->quoted && is_blank(&csv->field)) {
        strbuf_clear(&csv->field);
        return true;
    }
    if (!end_field(csv, err)) return false;
    csv->column = 0;
    return records_end(csv->records, csv->begin, err);
}

// Any byte outside quotes.
static bool step_plain(struct csv *csv, char c, struct llm_error *err) {
    if (c == '\n' || c == '\r') {
        csv->state = c == '\n' ? CSV_RECORD_BEGINS : CSV_AFTER_CR;
        return end_record(csv, err);
    }
    if (c == csv->separator) {
        csv->state = CSV_FIELD_BEGINS;
        return end_field(csv, err);
    }
    if (c == '"' && csv->state == CSV_FIELD_BEGINS) {
        csv->state = CSV_IN_QUOTES;
        csv->quoted = true;
        csv->quote_line = csv->line;
        return true;
    }
    strbuf_append(&csv->field, &c, 1);
    csv->state = CSV_IN_FIELD;
    return true;
}

static bool step(struct csv *csv, char c, struct llm_error *err) {
    if (csv->state == CSV_AFTER_CR) {
        csv->state = CSV_RECORD_BEGINS;
        if (c == '\n') return true;
        csv->line++;
    }
    if (csv->state == CSV_RECORD_BEGINS) {
        csv->state = CSV_FIELD_BEGINS;
        csv->begin = csv->line;
    }
    if (csv->state == CSV_QUOTE_IN_QUOTES && c == '"') {
        csv->state = CSV_IN_QUOTES;
        strbuf_append(&csv->field, &c, 1);
        return true;
    }
    if (csv->state == CSV_IN_QUOTES) {
        if (c == '"') {
            csv->state = CSV_QUOTE_IN_QUOTES;
        } else {
            strbuf_append(&csv->field, &c, 1);
        }
        return true;
    }
    return step_plain(csv, c, err);
}

bool csv_feed(struct csv *csv, const char *bytes, size_t size, struct llm_error *err) {
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\0') {
            return records_fail(csv->records, csv->line, err,
                                "has a NUL byte, text in UTF-8 was expected (is this UTF-16, or no text?)");
        }
        if (!step(csv, bytes[i], err)) return false;
        csv->line += bytes[i] == '\n'; // a lone \r is counted where it is known to be one
        if (!strbuf_ok(&csv->field)) return field_check(csv, err);
    }
    return true;
}

bool csv_finish(struct csv *csv, struct llm_error *err) {
    if (csv->state == CSV_IN_QUOTES) {
        return records_fail(csv->records, csv->quote_line, err,
                            "a field begins with a quote that is never closed; a quote is doubled to stand for itself, "
                            "and the field with it is quoted");
    }
    if (csv->state == CSV_RECORD_BEGINS || csv->state == CSV_AFTER_CR) return true;
    return end_record(csv, err);
}

void csv_put(struct strbuf *out, const char *text, size_t size, char separator) {
    bool plain = memchr(text, '"', size) == NULL && memchr(text, separator, size) == NULL &&
                 memchr(text, '\n', size) == NULL && memchr(text, '\r', size) == NULL;
    if (plain) {
        strbuf_append(out, text, size);
        return;
    }
    strbuf_puts(out, "\"");
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"') strbuf_puts(out, "\"");
        strbuf_append(out, text + i, 1);
    }
    strbuf_puts(out, "\"");
}
