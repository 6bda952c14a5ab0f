// test_fault_data.c: reading, splitting and writing examples when memory, calls or the disk fail.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "data/examples.h"
#include "data/rows.h"
#include "data/split.h"
#include "fault.h"
#include "tasks/dataset.h"
#include "tasks/report.h"
#include "tokenizer/tokenizer.h"

struct place {
    char folder[64];
    char csv[80], json[80], out[80], instructions[80], template[80];
    struct llm_tokenizer *tokenizer;
};

static void put_file(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) return -1;
    strcpy(place->folder, fault_template());
    if (mkdtemp(place->folder) == NULL) return -1;
    snprintf(place->csv, sizeof place->csv, "%s/a.csv", place->folder);
    snprintf(place->json, sizeof place->json, "%s/a.json", place->folder);
    snprintf(place->out, sizeof place->out, "%s/out.csv", place->folder);
    put_file(place->csv, "ham,one\nspam,\"two, and\"\nham,three\nham,four\nspam,five\n");
    put_file(place->json, "[{\"text\": \"a\", \"label\": 1, \"x\": []}, {\"text\": \"b\", \"label\": 2}]");
    snprintf(place->instructions, sizeof place->instructions, "%s/i.json", place->folder);
    snprintf(place->template, sizeof place->template, "%s/t.txt", place->folder);
    put_file(place->instructions, "{\"instruction\": \"a\", \"input\": \"b\", \"output\": \"c d e\"}\n"
                                  "{\"instruction\": \"a\", \"output\": \"c\"}\n");
    put_file(place->template, "{instruction}\n\n{input}\n\n{output}\n");
    place->tokenizer = tokenizer_new_gpt2(NULL);
    *state = place;
    // What a tokenizer keeps of the texts it met is there before the loops count what is left over.
    int32_t *ids = NULL;
    size_t n = 0;
    if (place->tokenizer == NULL || !llm_tokenizer_encode(place->tokenizer, "a", 1, false, &ids, &n, NULL)) return -1;
    llm_free(ids);
    return 0;
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->folder);
    llm_tokenizer_free(place->tokenizer);
    free(place);
    return 0;
}

static bool split_rows(const struct rows *rows, const char *path, struct llm_error *err) {
    int32_t labels[8];
    int64_t order[8];
    size_t n = 0;
    struct split split;
    for (size_t i = 0; i < rows->n; i++) labels[i] = rows->items[i].label;
    return split_balance(labels, rows->n, rows->n_labels, 1, order, &n, err) &&
           split_random(order, n, 0.7, 0.1, labels, rows->n_labels, 1, &split, err) &&
           rows_write_csv(rows, order, n, true, path, err);
}

static bool csv_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    struct rows rows = {0};
    const bool ok = dataset_rows(&rows, place->csv, NULL, NULL, err) && split_rows(&rows, place->out, err);
    rows_release(&rows);
    return ok;
}

static void csv_check(void *user, bool succeeded) {
    const struct place *place = user;
    char *text = NULL;
    size_t size = 0;
    assert_true(file_read(place->out, 1 << 20, &text, &size, NULL));
    assert_int_equal(strncmp(text, "Label,Text\n", 11) == 0, succeeded);
    llm_free(text);
    put_file(place->out, "the old one");
}

static bool json_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    struct rows rows = {0};
    const bool ok = rows_read(&rows, place->json, NULL, err);
    rows_release(&rows);
    return ok;
}

static void rows_are_whole_or_refused(void **state) {
    struct place *place = *state;
    put_file(place->out, "the old one");
    assert_true(fault_loop(FAULT_MEMORY, csv_body, csv_check, place) > 15);
    fault_loop(FAULT_FILES, csv_body, csv_check, place);
    fault_loop(FAULT_DISK, csv_body, csv_check, place);
    fault_loop(FAULT_SHORT, csv_body, csv_check, place);
    assert_true(fault_loop(FAULT_MEMORY, json_body, NULL, place) > 15);
    fault_loop(FAULT_FILES, json_body, NULL, place);
}

static bool examples_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    struct instructions instructions = {0};
    struct template template = {0};
    struct examples examples = {0};
    struct examples_batch batch = {0};
    const bool ok = instructions_read(&instructions, place->instructions, true, err) &&
                    template_read(&template, place->template, err) &&
                    examples_encode(&examples, instructions.items, instructions.n, instructions.records.unit, &template,
                                    place->tokenizer, 100, err) &&
                    examples_batch(&batch, &examples, NULL, 1, false, true, err) &&
                    examples_batch(&batch, &examples, NULL, 2, true, false, err);
    examples_batch_release(&batch);
    examples_release(&examples);
    template_release(&template);
    instructions_release(&instructions);
    return ok;
}

static void examples_are_whole_or_refused(void **state) {
    assert_true(fault_loop(FAULT_MEMORY, examples_body, NULL, *state) > 20);
    fault_loop(FAULT_FILES, examples_body, NULL, *state);
    fault_loop(FAULT_SHORT, examples_body, NULL, *state);
}

static bool report_body(void *user, struct llm_error *err) {
    (void)user;
    static const char *const names[] = {"no", "yes"};
    static const struct prediction predictions[] = {{0, 0, 1, "a"}, {0, 1, 1, "b"}, {1, 0, 1, "c"}};
    struct metrics metrics;
    struct strbuf out;
    if (!metrics_measure(&metrics, predictions, 3, 2, err)) return false;
    strbuf_init(&out, 1 << 16);
    report_labels(&out, &metrics, names);
    report_confusion(&out, &metrics, names);
    const bool ok = report_mistakes(&out, predictions, 3, names, 5, err);
    strbuf_release(&out);
    metrics_release(&metrics);
    return ok;
}

static void a_report_is_whole_or_refused(void **state) {
    assert_true(fault_loop(FAULT_MEMORY, report_body, NULL, *state) >= 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_whole_or_refused, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(examples_are_whole_or_refused, place_setup, place_teardown),
        cmocka_unit_test(a_report_is_whole_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
