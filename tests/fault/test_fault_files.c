// test_fault_files.c: base/file.c when memory, calls or the disk fail: the target is the old file or
// the new one, whole, whatever fails, and nothing is left beside it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "fault.h"

static const char old_text[] = "the old contents";
static const char new_text[] = "the new contents, which are a little longer";

struct place {
    char directory[64];
    char path[128];
    char inner[192]; // for the directory writer: the file in the directory
};

// Not the core's own writer: that one is under test.
static void put_file(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void get_file(const char *path, char *text, size_t size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t n = fread(text, 1, size - 1, file);
    text[n] = '\0';
    fclose(file);
}

static int count_entries(const char *path) {
    DIR *directory = opendir(path);
    assert_non_null(directory);
    int n = 0;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) n++;
    closedir(directory);
    return n - 2; // "." and ".."
}

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) return -1;
    snprintf(place->directory, sizeof place->directory, "/tmp/my-llm-fault-XXXXXX");
    if (mkdtemp(place->directory) == NULL) return -1;
    snprintf(place->path, sizeof place->path, "%s/target", place->directory);
    snprintf(place->inner, sizeof place->inner, "%s/contents", place->path);
    *state = place;
    return 0;
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->directory);
    free(place);
    return 0;
}

// ---- The file writer ------------------------------------------------------------------------

static bool write_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    return file_write(place->path, new_text, sizeof new_text - 1, err);
}

static void write_check(void *user, bool succeeded) {
    const struct place *place = user;
    char text[128];
    get_file(place->path, text, sizeof text);
    if (succeeded) {
        assert_string_equal(text, new_text);
    } else if (strcmp(text, new_text) != 0) { // a failure after the rename may have left the new one
        assert_string_equal(text, old_text);
    }
    assert_int_equal(count_entries(place->directory), 1);
    put_file(place->path, old_text);
}

static void a_file_is_old_or_new(void **state) {
    struct place *place = *state;
    put_file(place->path, old_text);
    fault_loop(FAULT_MEMORY, write_body, write_check, place);
    fault_loop(FAULT_FILES, write_body, write_check, place);
    fault_loop(FAULT_DISK, write_body, write_check, place);
    fault_loop(FAULT_SHORT, write_body, write_check, place);
}

// ---- The directory writer -------------------------------------------------------------------

static bool directory_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    struct directory_writer *writer = directory_writer_open(place->path, true, err);
    if (writer == NULL) return false;
    char *inner = path_join(directory_writer_path(writer), "contents");
    const bool ok = inner == NULL ? error_memory(err, "path") : file_write(inner, new_text, sizeof new_text - 1, err);
    llm_free(inner);
    if (ok) return directory_writer_commit(writer, err);
    directory_writer_abort(writer);
    return false;
}

// Removes what is left beside the target: what had to be renamed back, what could not be removed, what was kept.
static void sweep(const struct place *place) {
    DIR *directory = opendir(place->directory);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        if (entry->d_name[0] != '.') assert_string_equal(entry->d_name, "target");
        if (strncmp(entry->d_name, ".target.", 8) != 0) continue;
        char left[400];
        snprintf(left, sizeof left, "%s/%s", place->directory, entry->d_name);
        directory_remove(left);
    }
    closedir(directory);
}

static void directory_check(void *user, bool succeeded) {
    const struct place *place = user;
    char text[128];
    get_file(place->inner, text, sizeof text);
    assert_string_equal(text, succeeded ? new_text : old_text);
    put_file(place->inner, old_text);
    // Removing what was begun may itself fail; with the fault gone only the target may stay... or what
    // the failure did not let us remove, which is hidden by its name.
    sweep(place);
}

static void a_directory_is_old_or_new(void **state) {
    struct place *place = *state;
    assert_true(directory_create(place->path, NULL));
    put_file(place->inner, old_text);
    fault_loop(FAULT_MEMORY, directory_body, directory_check, place);
    fault_loop(FAULT_FILES, directory_body, directory_check, place);
    fault_loop(FAULT_DISK, directory_body, directory_check, place);
    fault_loop(FAULT_SHORT, directory_body, directory_check, place);
}

// ---- The directory writer where nothing can be exchanged --------------------------------------

struct plain {
    struct place *place;
    struct llm_error err;
    int n_kept, n_aside; // failures that left the new one beside the old one; both beside the target
};

static bool plain_body(void *user, struct llm_error *err) {
    struct plain *plain = user;
    const bool ok = directory_body(plain->place, err);
    plain->err = *err;
    return ok;
}

// The directory that the sentence names behind `words`.
static void named_directory(const struct llm_error *err, const char *words, char path[256]) {
    const char *found = strstr(err->text, words);
    if (found == NULL) fail_msg("\"%s\" is not in: %s", words, err->text);
    const char *name = found + strlen(words);
    snprintf(path, 256, "%.*s", (int)strcspn(name, ",:"), name);
}

static void expect_inside(const char *path, const char *expected) {
    char inner[300];
    char text[128];
    snprintf(inner, sizeof inner, "%s/contents", path);
    get_file(inner, text, sizeof text);
    assert_string_equal(text, expected);
}

// Old or new, and once the new one is whole it is kept, if need be under the name that the sentence says.
static void plain_check(void *user, bool succeeded) {
    struct plain *plain = user;
    const struct place *place = plain->place;
    char path[256];
    if (!succeeded && strstr(plain->err.text, "is kept as ") != NULL) {
        named_directory(&plain->err, "is kept as ", path);
        expect_inside(path, new_text);
        plain->n_kept++;
    }
    if (!directory_exists(place->path)) {
        named_directory(&plain->err, "the old one as ", path);
        expect_inside(path, old_text);
        assert_int_equal(rename(path, place->path), 0);
        plain->n_aside++;
    }
    directory_check(plain->place, succeeded);
}

static void a_directory_is_replaced_where_none_can_be_exchanged(void **state) {
    struct plain plain = {.place = *state};
    assert_true(directory_create(plain.place->path, NULL));
    put_file(plain.place->inner, old_text);
    fault_plain_renames = true;
    struct llm_error err = {0};
    assert_true(directory_body(plain.place, &err));
    assert_int_equal(count_entries(plain.place->directory), 1); // what was renamed aside is gone
    directory_check(plain.place, true);
    fault_loop(FAULT_MEMORY, plain_body, plain_check, &plain);
    assert_int_equal(plain.n_kept, 0); // memory is asked for before the first rename
    fault_loop(FAULT_DISK, plain_body, plain_check, &plain);
    fault_plain_renames = false;
    // One sentence each: the old one cannot be renamed, once or for good; the new one cannot, and the old one can be
    // renamed back or not.
    assert_int_equal(plain.n_kept, 4);
    assert_int_equal(plain.n_aside, 1);
}

// ---- Readers --------------------------------------------------------------------------------

static bool read_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    char *bytes = NULL;
    size_t size = 0;
    if (!file_read(place->path, 1000, &bytes, &size, err)) return false;
    const bool same = size == sizeof new_text - 1 && memcmp(bytes, new_text, size) == 0;
    llm_free(bytes);
    return same || error_set(err, LLM_ERROR_FORMAT, "other bytes than were written");
}

static bool map_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    struct file_map map;
    if (!file_map_open(&map, place->path, err)) return false;
    const bool same = map.size == sizeof new_text - 1 && memcmp(map.bytes, new_text, map.size) == 0;
    file_map_close(&map);
    return same || error_set(err, LLM_ERROR_FORMAT, "other bytes than were written");
}

static void reading_says_what_failed(void **state) {
    struct place *place = *state;
    put_file(place->path, new_text);
    fault_loop(FAULT_MEMORY, read_body, NULL, place);
    fault_loop(FAULT_FILES, read_body, NULL, place);
    fault_loop(FAULT_SHORT, read_body, NULL, place);
    fault_loop(FAULT_FILES, map_body, NULL, place);
}

static bool json_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    json_t *json = json_parse_file(place->path, 1000, err);
    json_decref(json);
    return json != NULL;
}

static void json_says_what_failed(void **state) {
    struct place *place = *state;
    put_file(place->path, "{\"a\": [1, 2.5, \"three\", {\"b\": null}], \"c\": true}");
    fault_loop(FAULT_MEMORY, json_body, NULL, place);
    fault_loop(FAULT_FILES, json_body, NULL, place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_old_or_new, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(a_directory_is_old_or_new, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(a_directory_is_replaced_where_none_can_be_exchanged, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(reading_says_what_failed, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(json_says_what_failed, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
