// test_rows.c: labelled texts: pandas' records from CSV and TSV, columns and labels found or named, what is refused.
#include "data_support.h"

#include "data/rows.h"

// ---- Records of CSV, against pandas -----------------------------------------------------------

static void assert_records(const struct records *records, const json_t *expected, const char *text) {
    if (records->n != json_array_size(expected)) {
        fail_msg("%zu records, %zu expected, of:\n%s", records->n, json_array_size(expected), text);
    }
    for (size_t i = 0; i < records->n; i++) {
        const json_t *row = json_array_get(expected, i);
        for (size_t j = 0; j < records->items[i].n || j < json_array_size(row); j++) {
            const struct cell *cell = record_cell(records, &records->items[i], (int)j);
            const char *value = json_string_value(json_array_get(row, j));
            const char *found = cell == NULL ? "" : cell_text(records, cell);
            if (strcmp(found, value == NULL ? "" : value) != 0) fail_msg("\"%s\" in:\n%s", found, text);
        }
    }
}

static void records_are_those_of_pandas(void **state) {
    (void)state;
    json_t *cases = fixture_json("classify/csv.json");
    assert_true(json_array_size(cases) > 200);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *item = json_array_get(cases, i);
        const char *text = json_string_value(json_object_get(item, "text"));
        const char separator = json_string_value(json_object_get(item, "separator"))[0];
        const json_t *expected = json_object_get(item, "records");
        struct records records = {0};
        struct llm_error err = {0};
        const bool ok = records_parse(&records, "", text, strlen(text), RECORDS_CSV, separator, &err);
        if (ok != json_is_array(expected)) fail_msg("%s, of:\n%s", ok ? "accepted" : err.text, text);
        if (ok) {
            assert_records(&records, expected, text);
        } else {
            assert_says(&err, "a quote that is never closed");
        }
        records_release(&records);
    }
    json_decref(cases);
}

static void the_sms_collection_is_as_pandas_reads_it(void **state) {
    (void)state;
    need_shared(SHARED_DATA "sms/SMSSpamCollection");
    json_t *sms = fixture_json("classify/sms.json");
    const json_t *expected = json_object_get(sms, "rows");
    struct rows rows = {0};
    struct llm_error err = {0};
    if (!rows_read(&rows, SHARED_DATA "sms/SMSSpamCollection", NULL, &err)) fail_msg("%s", err.text);
    assert_int_equal(rows.n, fixture_size(expected, "n"));
    assert_int_equal(rows.n_read, rows.n);
    assert_false(rows.header);
    assert_int_equal(rows.n_labels, 2);
    assert_string_equal(rows.labels[0], "ham");
    assert_string_equal(rows.labels[1], "spam");
    uint64_t hash = FNV_BEGIN;
    for (size_t i = 0; i < rows.n; i++) {
        const char *label = rows.labels[rows.items[i].label];
        hash = fnv(hash, label, strlen(label));
        hash = fnv(hash, "\1", 1);
        hash = fnv(hash, rows.items[i].text, rows.items[i].size);
        hash = fnv(hash, "\2", 1);
    }
    assert_hash(hash, json_object_get(expected, "hash"));
    rows_release(&rows);
    json_decref(sms);
}

// ---- Columns and labels -----------------------------------------------------------------------

static const struct rows_options defaults;

// What is found, in one line: "text,label header? labels: a b; rows: 0 one|1 two; read 2 empty 0 unlabelled 0".
static void describe(const struct rows *rows, char *out, size_t size) {
    size_t used =
        (size_t)snprintf(out, size, "%s/%s%s;", rows->text_column, rows->label_column, rows->header ? " header" : "");
    for (int i = 0; i < rows->n_labels; i++) used += (size_t)snprintf(out + used, size - used, " %s", rows->labels[i]);
    used += (size_t)snprintf(out + used, size - used, ";");
    for (size_t i = 0; i < rows->n; i++) {
        used += (size_t)snprintf(out + used, size - used, " %d:%s", rows->items[i].label, rows->items[i].text);
    }
    snprintf(out + used, size - used, "; %zu-%zu-%zu", rows->n_read, rows->n_empty, rows->n_unlabelled);
}

static void assert_rows(const char *name, const char *text, const struct rows_options *options, const char *expected) {
    struct rows rows = {0};
    struct llm_error err = {0};
    char found[512];
    if (!rows_parse(&rows, name, text, strlen(text), options, &err)) fail_msg("%s", err.text);
    describe(&rows, found, sizeof found);
    assert_string_equal(found, expected);
    rows_release(&rows);
}

static void columns_are_found(void **state) {
    (void)state;
    // By names that people use, whatever their case and order, with a byte order mark, and other columns around.
    assert_rows("a.csv", "Label,Text\nham,hi\nspam,win\n", &defaults, "Text/Label header; ham spam; 0:hi 1:win; 2-0-0");
    assert_rows("a.csv", "\xef\xbb\xbfid,MESSAGE,category\n1,hi,x\n2,win,y\n", &defaults,
                "MESSAGE/category header; x y; 0:hi 1:win; 2-0-0");
    assert_rows("a.csv", "v1,v2,,\nham,hi,,\nspam,win,,\n", &defaults, "v2/v1 header; ham spam; 0:hi 1:win; 2-0-0");
    // By looks: the label is what repeats.
    assert_rows("a", "ham\thi\nspam\twin\nham\tyou\n", &defaults, "2/1; ham spam; 0:hi 1:win 0:you; 3-0-0");
    assert_rows("a.tsv", "hi\tham\nwin\tspam\nyou\tham\n", &defaults, "1/2; ham spam; 0:hi 1:win 0:you; 3-0-0");
    assert_rows("a.csv", "art;satz\nj;a\nn;b\nj;c\nn;d\n", &defaults, "satz/art header; j n; 0:a 1:b 0:c 1:d; 4-0-0");
    // By option: names, numbers, and whether there is a header.
    assert_rows("a.csv", "p,q,r\nu,v,w\nx,y,z\n", &(struct rows_options){.text_column = "r", .label_column = "p"},
                "r/p header; u x; 0:w 1:z; 2-0-0");
    assert_rows("a.csv", "p,q,r\nu,v,w\nx,y,z\n", &(struct rows_options){.text_column = "3", .label_column = "1"},
                "3/1; p u x; 0:r 1:w 2:z; 3-0-0");
    assert_rows("a.csv", "text,label\na,1\nb,2\n", &(struct rows_options){.header = ROWS_HEADER_NONE},
                "2/1; a b text; 2:label 0:1 1:2; 3-0-0");
    assert_rows("a.csv", "x,y\na,1\nb,2\n", &(struct rows_options){.header = ROWS_HEADER_FIRST_LINE},
                "y/x header; a b; 0:1 1:2; 2-0-0");
    assert_rows("a", "a|1\nb|2\n", &(struct rows_options){.separator = '|'}, "2/1; a b; 0:1 1:2; 2-0-0");
    assert_rows("a.txt", "text\none\ntwo, three\n", &(struct rows_options){.unlabelled = true, .separator = '\t'},
                "text/(null) header;; -1:one -1:two, three; 2-0-0");
}

static void json_is_read(void **state) {
    (void)state;
    const char *const same = "text/label; no yes; 0:a 1:b; 2-0-0";
    assert_rows("a.json", "[{\"text\": \"a\", \"label\": \"no\"}, {\"label\": \"yes\", \"text\": \"b\", \"x\": [1]}]",
                &defaults, same);
    assert_rows("a.jsonl", "{\"text\": \"a\", \"label\": \"no\"}\r\n\n{\"label\": \"yes\", \"text\": \"b\"}", &defaults,
                same);
    // Lines of JSON in a file named otherwise.
    assert_rows("a.json", "\xef\xbb\xbf{\"text\": \"a\", \"label\": \"no\"}\n{\"label\": \"yes\", \"text\": \"b\"}\n",
                &defaults, same);
    assert_rows("a", "{\"text\": \"a\", \"label\": \"no\"}\n{\"label\": \"yes\", \"text\": \"b\"}\n", &defaults, same);
    assert_rows("a.json",
                "[{\"q\": 1.5, \"c\": true}, {\"q\": \"\\u00e9\", \"c\": false}, {\"q\": null, \"c\": false}]",
                &(struct rows_options){.text_column = "q", .label_column = "c"}, "q/c; false true; 1:1.5 0:é; 3-1-0");
}

static void labels_are_in_order(void **state) {
    (void)state;
    assert_rows("a.csv", "label,text\n10,a\n9,b\n-1,c\n1.5,d\n", &defaults,
                "text/label header; -1 1.5 9 10; 3:a 2:b 0:c 1:d; 4-0-0");
    assert_rows("a.csv", "label,text\n10,a\n9,b\nx,c\n", &defaults, "text/label header; 10 9 x; 0:a 1:b 2:c; 3-0-0");
    assert_rows("a.csv", "label,text\n b ,a\n a,b\nb,c\n", &defaults, "text/label header; a b; 1:a 0:b 1:c; 3-0-0");
    // What a classifier knows keeps its ids; its own files may have them in place of names.
    static const char *const known[] = {"spam", "ham"};
    const struct rows_options trained = {.labels = known, .n_labels = 2};
    assert_rows("a.csv", "label,text\nham,a\nham,b\n", &trained, "text/label header; spam ham; 1:a 1:b; 2-0-0");
    assert_rows("a.csv", "Label,Text\n1,a\n0,b\n", &trained, "Text/Label header; spam ham; 1:a 0:b; 2-0-0");
}

static void what_is_left_out_is_counted(void **state) {
    (void)state;
    assert_rows("a.csv", "label,text\nx,\ny,one\n,two\nx, \t \nx\nx,three\n\n", &defaults,
                "text/label header; x y; 1:one 0:three; 6-3-1");
    assert_rows("a.tsv", "label\ttext\r\nx\t\"a \"\"quoted\"\"\tone\"\r\ny\ttwo\r\n", &defaults,
                "text/label header; x y; 0:a \"quoted\"\tone 1:two; 2-0-0");
}

// ---- What is refused --------------------------------------------------------------------------

static void assert_refused(const char *name, const char *text, size_t size, const struct rows_options *options,
                           const char *sentence) {
    struct rows rows = {0};
    struct llm_error err = {0};
    if (rows_parse(&rows, name, text, size, options, &err)) fail_msg("accepted: %s", text);
    assert_says(&err, sentence);
    rows_release(&rows);
    assert_false(rows_parse(&rows, name, text, size, options, NULL));
    rows_release(&rows);
}

static void bad_tables_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *sentence;
        struct rows_options options;
    } cases[] = {
        {"", "holds no rows", {0}},
        {"label,text\n", "holds no row with both a text and a label", {0}},
        {"a,b,c\nd,e,f\n", "which column holds the label? Name it (--label-column); it has 3 without names", {0}},
        {"id,label,note\nd,e,f\n",
         "which column holds the text? Name it (--text-column); its columns are 'id', 'label', 'note'",
         {0}},
        {"id,label,note\nd,e,f\n",
         "there is no column 'txt'; its columns are 'id', 'label', 'note'",
         {.text_column = "txt"}},
        {"id,label,note\nd,e,f\n", "there is no column '4'; its columns are 'id'", {.text_column = "4"}},
        {"d,e\nf,g\n",
         "there is no column '0'; it has 2 without names",
         {.text_column = "0", .header = ROWS_HEADER_NONE}},
        {"text,label\nd,e\nf,g\n", "are the same column", {.text_column = "label", .label_column = "label"}},
        {"text,label\none,x\ntwo,x\n", "all 2 rows have the label 'x'; two labels at least were expected", {0}},
        {"text,label\none,x\ntwo, three,y\n", "line 3: has 3 fields, the first one has 2", {0}},
        {"text,label\none,\"x\ntwo,y\n", "line 2: a field begins with a quote that is never closed", {0}},
        {"text,label\none,x\nt\xff,y\n", "line 3: is not valid UTF-8", {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused("a.csv", cases[i].text, strlen(cases[i].text), &cases[i].options, cases[i].sentence);
    }
    static const char nul[] = "text,label\none,x\nt\0o,y\n";
    assert_refused("a.csv", nul, sizeof nul - 1, &defaults, "line 3: has a NUL byte");
    static const char *const known[] = {"spam", "ham"};
    static const char unseen[] = "text,label\none,ham\ntwo,eggs\n";
    assert_refused("a.csv", unseen, sizeof unseen - 1, &(struct rows_options){.labels = known, .n_labels = 2},
                   "line 3: its label 'eggs' is not one of the 2 that were trained, 'spam' and others");
}

static void bad_json_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *sentence;
    } cases[] = {
        {"a.json", "[]", "holds no rows"},
        {"a.json", "[{\"text\": \"a\", \"label\": \"x\"}, 3]", "entry 2: is a number, an object"},
        {"a.json", "[{\"text\": [\"a\"], \"label\": \"x\"}]", "entry 1: its text is a list, a text was expected"},
        {"a.json", "[{\"text\": \"a\", \"label\": {}}]", "entry 1: its label is an object, a text was expected"},
        {"a.json", "[{\"text\": \"a\", \"text\": \"x\"}]", "duplicate object key"},
        {"a.json", "[{\"text\": \"a\", \"label\": \"x\"},]", "not valid JSON"},
        {"a.json", "[1e400]", "not valid JSON"},
        {"a.jsonl", "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\"", "line 2: not valid JSON"},
        {"a.jsonl", "[1]\n", "line 1: is a list, an object"},
        {"a.json", "\"a\"", "line 1: is a string, an object"},
        {"a.json", "{\"text\": \"\\u0000\"}", "line 1: not valid JSON"},
        {"a.json", "{\"text\": \"\\ud800\"}", "line 1: not valid JSON"},
        {"a.json", "[{\"text\": \"a\"}, {\"text\": \"b\"}]", "which column holds the label? Name it"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(cases[i].name, cases[i].text, strlen(cases[i].text), &defaults, cases[i].sentence);
    }
    char *deep = malloc(20001);
    assert_non_null(deep);
    memset(deep, '[', 20000);
    assert_refused("a.json", deep, 20000, &defaults, "not valid JSON");
    free(deep);
}

static void a_line_without_end_is_refused(void **state) {
    (void)state;
    const size_t size = RECORDS_MAX_CELL + 100;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'a', size);
    assert_refused("a.csv", text, size, &defaults, "line 1: a field has more than 16 MiB; texts were expected");
    text[0] = '"';
    assert_refused("a.csv", text, size, &defaults,
                   "line 1: a field has more than 16 MiB after a quote that is not closed");
    memset(text, ',', size);
    assert_refused("a.csv", text, size, &defaults, "line 1: has more than 4096 columns");
    free(text);
}

static void what_is_no_file_is_refused(void **state) {
    struct rows rows = {0};
    struct llm_error err = {0}, none = {0};
    assert_false(rows_read(&rows, *state, NULL, &err));
    assert_says(&err, "is a directory, a file was expected");
    char *path = path_join(*state, "no.csv");
    assert_false(rows_read(&rows, path, NULL, &none));
    assert_int_equal(none.code, LLM_ERROR_NOT_FOUND);
    // Its name stands before what is wrong inside.
    err = (struct llm_error){0};
    assert_true(file_create(path, "text,label\n", 11, NULL));
    assert_false(rows_read(&rows, path, NULL, &err));
    assert_says(&err, "no.csv: holds no row");
    rows_release(&rows);
    free(path);
}

// ---- Writing ----------------------------------------------------------------------------------

static void what_was_written_is_read_again(void **state) {
    static const char text[] = "label,text\nno,plain\nyes,\"a, \"\"b\"\"\nc\"\nyes, d \nno,\"\re\"\n";
    struct rows rows = {0}, again = {0};
    struct llm_error err = {0};
    assert_true(rows_parse(&rows, "a.csv", text, sizeof text - 1, NULL, &err));
    static const int64_t order[] = {3, 1, 2};
    char *path = path_join(*state, "out.csv");
    if (!rows_write_csv(&rows, order, 3, true, path, &err)) fail_msg("%s", err.text);
    char *bytes = NULL;
    size_t size = 0;
    assert_true(file_read(path, 1000, &bytes, &size, &err));
    assert_string_equal(bytes, "Label,Text\nno,\"\re\"\nyes,\"a, \"\"b\"\"\nc\"\nyes, d \n");
    free(bytes);
    if (!rows_read(&again, path, NULL, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(again.items[i].text, rows.items[order[i]].text);
        assert_int_equal(again.items[i].label, rows.items[order[i]].label);
    }
    free(path);
    rows_release(&rows);
    rows_release(&again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_those_of_pandas),
        cmocka_unit_test(the_sms_collection_is_as_pandas_reads_it),
        cmocka_unit_test(columns_are_found),
        cmocka_unit_test(json_is_read),
        cmocka_unit_test(labels_are_in_order),
        cmocka_unit_test(what_is_left_out_is_counted),
        cmocka_unit_test(bad_tables_are_refused),
        cmocka_unit_test(bad_json_is_refused),
        cmocka_unit_test(a_line_without_end_is_refused),
        cmocka_unit_test_setup_teardown(what_is_no_file_is_refused, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(what_was_written_is_read_again, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
