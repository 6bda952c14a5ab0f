// instructions.c: see instructions.h.
#include "data/instructions.h"

#include <stdlib.h>
#include <string.h>

void instructions_release(struct instructions *instructions) {
    free(instructions->items);
    records_release(&instructions->records);
    *instructions = (struct instructions){0};
}

// Points *text to the record's field; null and missing are "". A field that must be there must not be.
static bool take_field(const struct records *records, const struct record *record, const char *name, bool needed,
                       const char **text, struct llm_error *err) {
    *text = "";
    for (int i = 0; i < records->n_columns; i++) {
        if (strcmp(records->columns[i], name) != 0) continue;
        const struct cell *cell = record_cell(records, record, i);
        if (cell == NULL) break;
        *text = cell_text(records, cell);
        if (cell->type == CELL_STRING) return true;
        char quoted[STR_QUOTE_SIZE];
        return records_fail(records, record->number, err, "its \"%s\" is %s, a string was expected", name,
                            cell->type == CELL_OTHER ? *text : str_quote(*text, quoted));
    }
    if (!needed) return true;
    return records_fail(records, record->number, err, "has no \"%s\" (or it is null); a string was expected", name);
}

static bool take(struct instructions *instructions, bool need_output, struct llm_error *err) {
    const struct records *records = &instructions->records;
    if (records->n == 0) return error_set(err, LLM_ERROR_FORMAT, "holds no instructions");
    instructions->items = calloc(records->n, sizeof *instructions->items);
    if (instructions->items == NULL) return error_memory(err, "instructions");
    for (size_t i = 0; i < records->n; i++) {
        const struct record *record = &records->items[i];
        struct instruction *item = &instructions->items[i];
        item->number = record->number;
        if (!take_field(records, record, "instruction", true, &item->instruction, err) ||
            !take_field(records, record, "input", false, &item->input, err) ||
            !take_field(records, record, "output", need_output, &item->output, err)) {
            return false;
        }
        if (item->instruction[strspn(item->instruction, " \t\r\n")] == '\0') {
            return records_fail(records, record->number, err, "its \"instruction\" is empty");
        }
        instructions->n++;
    }
    return true;
}

bool instructions_parse(struct instructions *instructions, const char *bytes, size_t size, bool need_output,
                        struct llm_error *err) {
    *instructions = (struct instructions){0};
    return records_parse(&instructions->records, "", bytes, size, RECORDS_JSON, 0, err) &&
           take(instructions, need_output, err);
}

bool instructions_read(struct instructions *instructions, const char *path, bool need_output, struct llm_error *err) {
    *instructions = (struct instructions){0};
    if (!records_read(&instructions->records, path, RECORDS_JSON, 0, err)) return false;
    struct llm_error wrong = {0};
    if (take(instructions, need_output, &wrong)) return true;
    error_prefix(&wrong, "%s", path);
    return error_set(err, wrong.code, "%s", wrong.text);
}
