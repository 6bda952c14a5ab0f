// test_dataset.c: what --data may name: a file, the SMS collection's archive, a data set known by name.
#include "data_support.h"

#include <zip.h>

#include "tasks/dataset.h"

static char *make_zip(const char *folder, const char *name, const char *bytes, size_t size) {
    char *path = path_join(folder, "a.zip");
    unlink(path);
    zip_t *zip = zip_open(path, ZIP_CREATE, NULL);
    assert_non_null(zip);
    zip_source_t *source = zip_source_buffer(zip, bytes, size, 0);
    assert_true(zip_file_add(zip, name, source, 0) >= 0);
    assert_int_equal(zip_close(zip), 0);
    return path;
}

static void the_collection_is_read_from_its_archive(void **state) {
    need_shared(SHARED_DATA "sms/SMSSpamCollection");
    struct rows rows = {0};
    struct llm_error err = {0};
    char *bytes = NULL;
    size_t size = 0;
    assert_true(file_read(SHARED_DATA "sms/SMSSpamCollection", 1 << 20, &bytes, &size, NULL));
    char *path = make_zip(*state, "SMSSpamCollection", bytes, size);
    if (!dataset_rows(&rows, path, NULL, NULL, &err)) fail_msg("%s", err.text);
    assert_int_equal(rows.n, 5572);
    rows_release(&rows);
    free(path);

    // Its name downloads it: here from a mirror on this disk.
    char *mirror = NULL, *home = path_join(*state, "home");
    assert_true(asprintf(&mirror, "file://%s", realpath(SHARED_DATA "sms", (char[4096]){0})) > 0);
    setenv("MY_LLM_MIRROR", mirror, 1);
    setenv("MY_LLM_HOME", home, 1);
    if (!dataset_rows(&rows, "sms-spam", NULL, NULL, &err)) fail_msg("%s", err.text);
    assert_int_equal(rows.n, 5572);
    rows_release(&rows);
    free(mirror);
    free(home);
    free(bytes);
}

static void other_archives_are_refused(void **state) {
    struct rows rows = {0};
    struct llm_error err = {0};
    char *path = make_zip(*state, "SMSSpamCollection", "ham\thi\nspam\tyou\n", 16);
    assert_false(dataset_rows(&rows, path, NULL, NULL, &err));
    assert_says(&err, "a.zip: is a zip archive but not the SMS Spam Collection's, so unpack it first (");
    free(path);
    err = (struct llm_error){0};
    path = make_zip(*state, "other.csv", "a,b\n", 4);
    assert_false(dataset_rows(&rows, path, NULL, NULL, &err));
    assert_says(&err, "unpack it first (");
    free(path);
}

static void a_file_comes_before_a_name(void **state) {
    struct rows rows = {0};
    struct llm_error err = {0};
    assert_int_equal(chdir(*state), 0);
    assert_true(file_create("sms-spam", "a,b\nc,d\n", 8, &err));
    if (!dataset_rows(&rows, "sms-spam", NULL, NULL, &err)) fail_msg("%s", err.text);
    assert_int_equal(rows.n, 2);
    rows_release(&rows);
    assert_false(dataset_rows(&rows, "spam.csv", NULL, NULL, &err));
    assert_string_equal(err.text, "there is no file 'spam.csv', nor a data set of this name; known are sms-spam, "
                                  "instructions, the-verdict");
    err = (struct llm_error){0};
    assert_false(dataset_rows(&rows, "gpt2", NULL, NULL, &err));
    assert_int_equal(err.code, LLM_ERROR_NOT_FOUND);
    err = (struct llm_error){0};
    assert_false(dataset_rows(&rows, *state, NULL, NULL, &err));
    assert_says(&err, "is a directory, a file was expected");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_collection_is_read_from_its_archive, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(other_archives_are_refused, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_file_comes_before_a_name, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
