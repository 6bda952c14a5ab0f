// test_store.c: where things are, sums, records and the table of items. What goes over a network is tested
// end to end (tests/e2e/test_download.py), what fails in tests/fault/test_fault_download.c.
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
#include "store/archive.h"
#include "store/record.h"
#include "store/store.h"

// ---- Paths ----------------------------------------------------------------------------------

// Sets the three variables that decide; NULL unsets.
static void set_home(const char *my_llm_home, const char *data_home, const char *home) {
    const char *const names[] = {"MY_LLM_HOME", "XDG_DATA_HOME", "HOME"};
    const char *const values[] = {my_llm_home, data_home, home};
    for (int i = 0; i < 3; i++) {
        if (values[i] == NULL) {
            unsetenv(names[i]);
        } else {
            setenv(names[i], values[i], 1);
        }
    }
}

static void assert_home(const char *expected) {
    struct llm_error err = {0};
    char *home = store_home(&err);
    assert_string_equal(home, expected);
    free(home);
}

static void home_is_the_first_that_is_set(void **state) {
    (void)state;
    set_home("/a/b", "/data", "/people/me");
    assert_home("/a/b");
    set_home("relative", "/data", "/people/me");
    assert_home("relative");
    set_home("", "/data", "/people/me");
    assert_home("/data/my-llm");
    set_home(NULL, "not/absolute", "/people/me"); // to be ignored, says the XDG specification
    assert_home("/people/me/.local/share/my-llm");
    set_home(NULL, NULL, "/people/me");
    assert_home("/people/me/.local/share/my-llm");

    set_home(NULL, NULL, NULL);
    struct llm_error err = {0};
    assert_null(store_home(&err));
    assert_string_equal(err.text, "no place for models and data: none of MY_LLM_HOME, XDG_DATA_HOME and HOME is set");
}

static void bundled_model_is_found(void **state) {
    (void)state;
    struct llm_error err = {0};
    unsetenv("MY_LLM_BUNDLED");
    char *path = store_bundled(&err); // this test lies in a build directory beside models/
    assert_non_null(path);
    char *expected = realpath(MY_LLM_SOURCE_DIR "/models/bundled", NULL);
    assert_string_equal(path, expected);
    free(path);
    free(expected);

    setenv("MY_LLM_BUNDLED", MY_LLM_SOURCE_DIR, 1);
    path = store_bundled(&err);
    assert_string_equal(path, MY_LLM_SOURCE_DIR);
    free(path);
    setenv("MY_LLM_BUNDLED", "/nowhere", 1);
    assert_null(store_bundled(&err));
    assert_string_equal(err.text, "/nowhere: is no directory (from MY_LLM_BUNDLED)");
    unsetenv("MY_LLM_BUNDLED");
}

// ---- Items ----------------------------------------------------------------------------------

static void items_are_consistent(void **state) {
    (void)state;
    int n = 0;
    const struct llm_download_item *shown = llm_download_items(&n);
    assert_int_equal(n, 7);
    for (int i = 0; i < n; i++) {
        const struct store_item *item = store_item_find(shown[i].name);
        assert_non_null(item);
        assert_int_equal(store_is_model(item->name), strncmp(item->name, "gpt2", 4) == 0);
        assert_true(strncmp(item->host, "https://", 8) == 0 && item->path[0] == '/');
        assert_true(item->path[strlen(item->path) - 1] != '/');
        int64_t size = 0;
        bool approximate = false;
        for (int j = 0; j < item->n_files; j++) {
            const struct store_file *file = &item->files[j];
            size += file->size;
            approximate = approximate || file->approximate;
            if (file->sha256 != NULL) assert_true(checksum_valid(file->sha256) && !file->approximate);
            if (file->archive != NULL) assert_non_null(file->sha256); // archive_extract() needs size and sum
        }
        assert_int_equal(shown[i].size, size);
        assert_int_equal(shown[i].approximate, approximate);
    }
    assert_null(store_item_find("gpt3"));
    assert_null(store_item_find(""));
    assert_false(store_is_model("sms-spam"));
    assert_false(store_is_model("bundled"));
}

// ---- Sums -----------------------------------------------------------------------------------

static void assert_sum(const void *bytes, size_t size, const char *expected) {
    char text[CHECKSUM_TEXT];
    struct checksum sum;
    checksum_init(&sum);
    for (size_t at = 0; at < size; at++) checksum_update(&sum, (const char *)bytes + at, 1); // in the smallest pieces
    checksum_text(&sum, text);
    assert_string_equal(text, expected);
}

static void sums_are_sha256(void **state) {
    (void)state;
    // FIPS 180-4, examples of SHA-256
    assert_sum("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_sum("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_sum("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
               "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    assert_true(checksum_valid("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"));
    assert_false(checksum_valid("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c"));
    assert_false(checksum_valid("248D6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"));
    assert_false(checksum_valid(""));
}

// ---- Records --------------------------------------------------------------------------------

#define SUM "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static int home_setup(void **state) {
    char template[] = "/tmp/my-llm-store-XXXXXX";
    char *directory = mkdtemp(template);
    if (directory == NULL) return -1;
    setenv("MY_LLM_HOME", directory, 1);
    *state = strdup(directory);
    return 0;
}

static int home_teardown(void **state) {
    directory_remove(*state);
    free(*state);
    unsetenv("MY_LLM_HOME");
    return 0;
}

static void put(const char *directory, const char *name, const char *text) {
    struct llm_error err = {0};
    char *path = path_join(directory, name);
    char *parent = path_directory(path);
    if (!directory_create(parent, &err) || !file_write(path, text, strlen(text), &err)) fail_msg("%s", err.text);
    free(parent);
    free(path);
}

static void a_record_is_read_back(void **state) {
    put(*state, "downloads/empty", "");
    const struct store_item *item = store_item_find("gpt2");
    struct llm_error err = {0};
    struct record record;
    assert_true(record_load(&record, item, &err)); // there is none yet
    for (int i = 0; i < item->n_files; i++) assert_int_equal(record.entries[i].size, -1);
    assert_true(record_put(&record, 6, 497759232, SUM, &err));
    assert_true(record_put(&record, 0, 77, SUM, &err));
    memset(&record, 0, sizeof record);
    assert_true(record_load(&record, item, &err));
    assert_int_equal(record.entries[6].size, 497759232);
    assert_string_equal(record.entries[6].sha256, SUM);
    assert_int_equal(record.entries[0].size, 77);
    assert_int_equal(record.entries[1].size, -1);
}

static void damaged_records_are_refused(void **state) {
    (void)state;
    const struct store_item *item = store_item_find("gpt2");
    static const char *const damaged[] = {
        SUM " 77 checkpoint",                // no newline: cut
        SUM " 77 checkpoin\n",               // no file of ours
        SUM " 77 ../checkpoint\n",           // nor this
        SUM " 77  checkpoint\n",             // two spaces
        SUM " -1 checkpoint\n",              // not a size
        SUM " 7x checkpoint\n",              //
        SUM "  checkpoint\n",                //
        SUM "\n",                            //
        SUM " 77\n checkpoint\n",            // over the line's end
        SUM " \n",                           //
        "x" SUM " 77 checkpoint\n",          //
        "ba7816bf 77 checkpoint\n",          //
        "\n",                                //
        "{\"checkpoint\": {\"size\": 77}}\n" //
    };
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        struct record record;
        struct llm_error err = {0};
        assert_false(record_parse(&record, item, damaged[i], &err));
        assert_string_equal(err.text, "line 1 is damaged; remove this file to start anew");
    }
    struct record record;
    struct llm_error err = {0};
    assert_false(record_parse(&record, item, SUM " 77 checkpoint\n" SUM " 90 hparams", &err));
    assert_string_equal(err.text, "line 2 is damaged; remove this file to start anew");
    // A cut at every point but a line's end is noticed.
    static const char good[] = SUM " 77 checkpoint\n" SUM " 90 hparams.json\n";
    for (size_t size = 0; size < sizeof good; size++) {
        char *cut = strndup(good, size);
        const bool whole_lines = size == 0 || good[size - 1] == '\n';
        assert_int_equal(record_parse(&record, item, cut, NULL), whole_lines);
        free(cut);
    }
}

static void a_model_is_there_when_all_its_files_are(void **state) {
    const struct store_item *item = store_item_find("gpt2");
    char lines[7 * 128] = "";
    for (int i = 0; i < item->n_files; i++) {
        char path[256];
        snprintf(path, sizeof path, "models/gpt2/%s", item->files[i].name);
        put(*state, path, "four");
        snprintf(lines + strlen(lines), sizeof lines - strlen(lines), SUM " 4 %s\n", item->files[i].name);
    }
    assert_null(store_find_model("gpt2")); // nobody recorded them
    put(*state, "downloads/gpt2.sha256", lines);
    char expected[256];
    snprintf(expected, sizeof expected, "%s/models/gpt2", (char *)*state);
    char *path = store_find_model("gpt2");
    assert_string_equal(path, expected);

    // Then llm_download() has nothing to do, whatever the mirror.
    struct llm_download_options options;
    llm_download_options_init(&options);
    options.from = "file:///nowhere";
    struct llm_error err = {0};
    char *downloaded = NULL;
    assert_true(llm_download("gpt2", &options, &downloaded, &err));
    assert_string_equal(downloaded, path);
    llm_free(downloaded);
    free(path);

    put(*state, "models/gpt2/hparams.json", "three"); // another size
    assert_null(store_find_model("gpt2"));
    put(*state, "models/gpt2/hparams.json", "four");
    put(*state, "downloads/gpt2.sha256", "damaged");
    assert_null(store_find_model("gpt2"));
    assert_null(store_find_model("sms-spam")); // no model
    assert_null(store_find_model("gpt2-xl"));
}

// ---- Zips -----------------------------------------------------------------------------------

// A zip with one stored member "a" of the bytes "abc", written by hand after APPNOTE.TXT 4.3.
static const unsigned char zip_abc[] = {
    'P', 'K', 3, 4, 20, 0, 0,   0,   0,   0,   0, 0, 0x21, 0, 0xc2, 0x41, 0x24, 0x35, 3,    0,    0, 0, 3,   0,
    0,   0,   1, 0, 0,  0, 'a', 'a', 'b', 'c', // directory:
    'P', 'K', 1, 2, 20, 0, 20,  0,   0,   0,   0, 0, 0,    0, 0x21, 0,    0xc2, 0x41, 0x24, 0x35, 3, 0, 0,   0,
    3,   0,   0, 0, 1,  0, 0,   0,   0,   0,   0, 0, 0,    0, 0,    0,    0,    0,    0,    0,    0, 0, 'a', // end:
    'P', 'K', 5, 6, 0,  0, 0,   0,   1,   0,   1, 0, 47,   0, 0,    0,    34,   0,    0,    0,    0, 0};

// Extracts the member from the first `size` of `bytes`.
static bool extract(const char *directory, const unsigned char *bytes, size_t size, struct llm_error *err) {
    char *path = path_join(directory, "zip");
    char *member = NULL;
    const bool ok = file_create(path, bytes, size, err) && archive_extract(path, "a", 3, SUM, &member, err);
    if (ok) assert_memory_equal(member, "abc", 3);
    free(member);
    free(path);
    return ok;
}

static void a_member_is_whole_or_refused(void **state) {
    struct llm_error err = {0};
    if (!extract(*state, zip_abc, sizeof zip_abc, &err)) fail_msg("%s", err.text);
    for (size_t size = 0; size < sizeof zip_abc; size++) {
        err = (struct llm_error){0};
        assert_false(extract(*state, zip_abc, size, &err));
        assert_true(err.text[0] != '\0');
    }
    // A flipped byte anywhere gives the right bytes (it was of no consequence) or a sentence.
    for (size_t at = 0; at < sizeof zip_abc; at++) {
        unsigned char flipped[sizeof zip_abc];
        memcpy(flipped, zip_abc, sizeof flipped);
        flipped[at] ^= 0xff;
        err = (struct llm_error){0};
        assert_true(extract(*state, flipped, sizeof flipped, &err) || err.text[0] != '\0');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(home_is_the_first_that_is_set),
        cmocka_unit_test(bundled_model_is_found),
        cmocka_unit_test(items_are_consistent),
        cmocka_unit_test(sums_are_sha256),
        cmocka_unit_test_setup_teardown(a_record_is_read_back, home_setup, home_teardown),
        cmocka_unit_test(damaged_records_are_refused),
        cmocka_unit_test_setup_teardown(a_model_is_there_when_all_its_files_are, home_setup, home_teardown),
        cmocka_unit_test_setup_teardown(a_member_is_whole_or_refused, home_setup, home_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
