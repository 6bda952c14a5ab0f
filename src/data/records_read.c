// records_read.c: which kind of file it is, and its bytes to the right reader. See records.h.
//
// CSV and lines of JSON stream through, so a line that never ends is refused long before it fills the memory. A list of
// JSON is one value and has to be held whole.
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/csv.h"
#include "data/records.h"
#include "data/text.h"

enum {
    BLOCK = 1 << 18, // bytes read at once
};

static const size_t list_max = (size_t)1 << 30; // bytes of a JSON list

// What decides, once the first block is there.
struct reading {
    struct records *records;
    enum {
        READ_CSV,
        READ_LINES,
        READ_LIST
    } way;
    struct csv csv;
    struct strbuf text; // the line so far, or the whole list
    int64_t line;
};

static bool ends_in(const char *name, const char *ending) {
    size_t size = strlen(name);
    for (const char *const *packed = (const char *const[]){".gz", ".xz", NULL}; *packed != NULL; packed++) {
        if (size > 3 && strcasecmp(name + size - 3, *packed) == 0) {
            size -= 3;
            break;
        }
    }
    const size_t length = strlen(ending);
    return size > length && strncasecmp(name + size - length, ending, length) == 0;
}

// Whichever of tab, comma and semicolon is in the first line outside quotes.
static char find_separator(const char *name, const char *bytes, size_t size) {
    if (ends_in(name, ".tsv")) return '\t';
    int commas = 0, semicolons = 0, tabs = 0;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        quoted = quoted != (bytes[i] == '"');
        if (quoted) continue;
        commas += bytes[i] == ',';
        semicolons += bytes[i] == ';';
        tabs += bytes[i] == '\t';
        if ((bytes[i] == '\n' || bytes[i] == '\r') && i > 0) break;
    }
    if (ends_in(name, ".csv")) return commas > 0 ? ',' : semicolons > 0 ? ';' : tabs > 0 ? '\t' : ',';
    return tabs > 0 ? '\t' : commas > 0 ? ',' : semicolons > 0 ? ';' : '\t';
}

static void begin(struct reading *reading, const char *name, const char *bytes, size_t size, enum records_kind kind,
                  char separator) {
    size_t at = 0;
    while (at < size && strchr(" \t\r\n", bytes[at]) != NULL && bytes[at] != '\0') at++;
    const char first = at < size ? bytes[at] : '\0';
    const bool csv_name = ends_in(name, ".csv") || ends_in(name, ".tsv");
    const bool json_name = ends_in(name, ".json") || ends_in(name, ".jsonl") || ends_in(name, ".ndjson");
    const bool json = kind == RECORDS_JSON || (kind == RECORDS_BY_LOOKS && separator == 0 && !csv_name &&
                                               (json_name || first == '[' || first == '{'));
    struct records *records = reading->records;
    reading->way = !json ? READ_CSV : first == '[' && !ends_in(name, ".jsonl") ? READ_LIST : READ_LINES;
    records->named = json;
    records->unit = reading->way == READ_LIST ? "entry" : "line";
    csv_init(&reading->csv, records, separator != 0 ? separator : find_separator(name, bytes, size));
    strbuf_init(&reading->text, reading->way == READ_LIST ? list_max : RECORDS_MAX_CELL * 2);
}

static bool line_end(struct reading *reading, struct llm_error *err) {
    const struct strbuf *text = &reading->text;
    size_t at = 0;
    while (at < text->size && strchr(" \t\r", text->bytes[at]) != NULL && text->bytes[at] != '\0') at++;
    const bool ok =
        at == text->size || records_add_object(reading->records, text->bytes, text->size, reading->line, err);
    strbuf_clear(&reading->text);
    return ok;
}

static bool text_check(const struct reading *reading, struct llm_error *err) {
    if (strbuf_ok(&reading->text)) return true;
    if (reading->text.size < reading->text.max / 4) return error_memory(err, "JSON");
    if (reading->way == READ_LIST) {
        return error_set(err, LLM_ERROR_FORMAT, "is a JSON list of more than %zu MiB; one object a line may be longer",
                         list_max >> 20);
    }
    return records_fail(reading->records, reading->line, err, "has more than %zu MiB", reading->text.max >> 20);
}

static bool feed_lines(struct reading *reading, const char *bytes, size_t size, struct llm_error *err) {
    while (size > 0) {
        const char *end = memchr(bytes, '\n', size);
        const size_t n = end == NULL ? size : (size_t)(end - bytes);
        strbuf_append(&reading->text, bytes, n);
        if (!text_check(reading, err)) return false;
        if (end == NULL) return true;
        if (!line_end(reading, err)) return false;
        reading->line++;
        bytes += n + 1;
        size -= n + 1;
    }
    return true;
}

static bool feed(struct reading *reading, const char *bytes, size_t size, struct llm_error *err) {
    switch (reading->way) {
    case READ_CSV:
        return csv_feed(&reading->csv, bytes, size, err);
    case READ_LINES:
        return feed_lines(reading, bytes, size, err);
    case READ_LIST:
        strbuf_append(&reading->text, bytes, size);
        return text_check(reading, err);
    }
    return true;
}

static bool finish(struct reading *reading, struct llm_error *err) {
    switch (reading->way) {
    case READ_CSV:
        return csv_finish(&reading->csv, err);
    case READ_LINES:
        return line_end(reading, err);
    case READ_LIST:
        return records_add_list(reading->records, reading->text.bytes, reading->text.size, err);
    }
    return true;
}

// The first bytes, in which the kind shows; a byte order mark is left out.
static bool feed_first(struct reading *reading, const char *name, const char *bytes, size_t size,
                       enum records_kind kind, char separator, struct llm_error *err) {
    const size_t mark = size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    reading->line = 1;
    begin(reading, name, bytes + mark, size - mark, kind, separator);
    return feed(reading, bytes + mark, size - mark, err);
}

static void reading_release(struct reading *reading) {
    csv_release(&reading->csv);
    strbuf_release(&reading->text);
}

bool records_parse(struct records *records, const char *name, const char *bytes, size_t size, enum records_kind kind,
                   char separator, struct llm_error *err) {
    struct reading reading = {.records = records};
    const bool ok = feed_first(&reading, name, bytes, size, kind, separator, err) && finish(&reading, err);
    reading_release(&reading);
    return ok;
}

bool records_read(struct records *records, const char *path, enum records_kind kind, char separator,
                  struct llm_error *err) {
    struct text_file *file = text_file_open(path, 1, err);
    if (file == NULL) return false;
    struct llm_error wrong = {0}; // of the contents, which need the path in front
    struct reading reading = {.records = records};
    char *block = malloc(BLOCK);
    size_t n = 0;
    bool ok = block != NULL;
    if (!ok) error_memory(err, path);
    ok = ok && text_file_read(file, block, BLOCK, &n, err);
    bool good = ok && feed_first(&reading, path, block, n, kind, separator, &wrong);
    while (good && n == BLOCK) {
        ok = text_file_read(file, block, BLOCK, &n, err);
        good = ok && feed(&reading, block, n, &wrong);
    }
    good = good && finish(&reading, &wrong);
    if (ok && !good) {
        error_prefix(&wrong, "%s", path);
        error_set(err, wrong.code, "%s", wrong.text);
    }
    reading_release(&reading);
    free(block);
    text_file_close(file);
    return good;
}
