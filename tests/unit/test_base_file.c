// test_base_file.c: paths, reading, mapping, and the two writers when nothing fails; what happens when
// something does is tests/fault/test_fault_files.c.
#include "formats_support.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

// Every test works in a directory of its own, with these in it.
struct place {
    char *directory;
    char *file;    // of 5 bytes
    char *missing; // not there
    char *fifo;
};

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    place->directory = temporary_directory();
    place->file = path_join(place->directory, "file");
    place->missing = path_join(place->directory, "missing");
    place->fifo = path_join(place->directory, "fifo");
    write_file(place->directory, "file", "a\0b\n\xff", 5);
    *state = place;
    return mkfifo(place->fifo, 0600);
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->directory);
    if (path_exists(place->directory)) return -1;
    free(place->directory);
    free(place->file);
    free(place->missing);
    free(place->fifo);
    free(place);
    return 0;
}

static void expect_sentence(const struct llm_error *err, enum llm_error_code code, const char *path, const char *rest) {
    char expected[1024];
    snprintf(expected, sizeof expected, "%s: %s", path, rest);
    assert_error(err, code, expected);
}

static void expect_contents(const char *path, const char *contents) {
    size_t size = 0;
    uint8_t *bytes = read_exact(path, &size);
    assert_int_equal(size, strlen(contents));
    assert_memory_equal(bytes, contents, size);
    free(bytes);
}

static int count_entries(const char *path) {
    DIR *listing = opendir(path);
    assert_non_null(listing);
    int n = -2; // "." and ".."
    while (readdir(listing) != NULL) n++;
    closedir(listing);
    return n;
}

// ---- Paths ----------------------------------------------------------------------------------

static void expect_text(char *text, const char *expected) {
    assert_string_equal(text, expected);
    free(text);
}

static void takes_paths_apart_and_together(void **state) {
    (void)state;
    expect_text(path_join("a", "b"), "a/b");
    expect_text(path_join("a/", "b"), "a/b");
    expect_text(path_join("/", "b"), "/b");
    expect_text(path_join("", "b"), "/b");
    assert_string_equal(path_base("a/b"), "b");
    assert_string_equal(path_base("b"), "b");
    assert_string_equal(path_base("a/"), "");
    expect_text(path_directory("a/b"), "a");
    expect_text(path_directory("a/b/c"), "a/b");
    expect_text(path_directory("b"), ".");
    expect_text(path_directory("/b"), "/");
}

static void knows_what_is_there(void **state) {
    struct place *place = *state;
    char *dangling = path_join(place->directory, "dangling");
    assert_int_equal(symlink("nowhere", dangling), 0);
    const char *const paths[] = {place->file, place->directory, place->fifo, dangling, place->missing};
    static const bool facts[][3] = {// file, directory, anything
                                    {true, false, true},
                                    {false, true, true},
                                    {false, false, true},
                                    {false, false, true},
                                    {false, false, false}};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(file_exists(paths[i]), facts[i][0]);
        assert_int_equal(directory_exists(paths[i]), facts[i][1]);
        assert_int_equal(path_exists(paths[i]), facts[i][2]);
        if (i != 1) assert_int_equal(directory_holds(place->directory, path_base(paths[i])), facts[i][2]);
    }
    assert_false(directory_holds(place->file, "file"));
    assert_false(directory_holds(place->missing, "file"));
    free(dangling);
}

static void creates_directories_with_their_parents(void **state) {
    struct place *place = *state;
    char *deep = path_join(place->directory, "x//y/z/");
    struct llm_error err = {0};
    assert_true(directory_create(deep, &err));
    assert_true(directory_create(deep, &err)); // again is fine
    assert_true(directory_exists(deep));
    char *below = path_join(place->file, "x");
    assert_false(directory_create(below, &err));
    expect_sentence(&err, LLM_ERROR_IO, place->file, "cannot create this directory: File exists");
    free(below);
    free(deep);
}

static void removes_links_not_what_they_lead_to(void **state) {
    struct place *place = *state;
    char *kept = path_join(place->directory, "kept");
    char *removed = path_join(place->directory, "removed");
    char *link = path_join(removed, "link");
    struct llm_error err = {0};
    assert_true(directory_create(kept, &err) && directory_create(removed, &err));
    write_file(kept, "file", "x", 1);
    assert_int_equal(symlink(kept, link), 0);
    directory_remove(removed);
    assert_false(path_exists(removed));
    assert_int_equal(count_entries(kept), 1);
    free(kept);
    free(removed);
    free(link);
}

// ---- Mapping and reading --------------------------------------------------------------------

static void maps_files(void **state) {
    struct place *place = *state;
    struct file_map map;
    struct llm_error err = {0};
    assert_true(file_map_open(&map, place->file, &err));
    assert_int_equal(map.size, 5);
    assert_memory_equal(map.bytes, "a\0b\n\xff", 5);
    file_map_close(&map);
    file_map_close(&map);
    write_file(place->directory, "empty", "", 0);
    char *empty = path_join(place->directory, "empty");
    assert_true(file_map_open(&map, empty, &err));
    assert_int_equal(map.size, 0);
    assert_non_null(map.bytes);
    file_map_close(&map);
    free(empty);
}

static void reads_files_up_to_a_limit(void **state) {
    struct place *place = *state;
    char *bytes = NULL;
    size_t size = 0;
    struct llm_error err = {0};
    assert_true(file_read(place->file, 5, &bytes, &size, &err));
    assert_int_equal(size, 5);
    assert_memory_equal(bytes, "a\0b\n\xff\0", 6); // with a NUL behind
    free(bytes);
    assert_false(file_read(place->file, 4, &bytes, &size, &err));
    expect_sentence(&err, LLM_ERROR_FORMAT, place->file, "has 5 bytes, at most 4 were expected");
}

static void refuses_what_is_not_a_file(void **state) {
    struct place *place = *state;
    const struct {
        const char *path;
        enum llm_error_code code;
        const char *text;
    } cases[] = {
        {place->directory, LLM_ERROR_FORMAT, "is a directory, a file was expected"},
        {place->fifo, LLM_ERROR_FORMAT, "is not a regular file"},
        {"/dev/zero", LLM_ERROR_FORMAT, "is not a regular file"},
        {place->missing, LLM_ERROR_NOT_FOUND, "cannot open this file: No such file or directory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct llm_error mapping = {0};
        struct llm_error reading = {0};
        struct file_map map;
        char *bytes = NULL;
        size_t size = 0;
        assert_false(file_map_open(&map, cases[i].path, &mapping));
        expect_sentence(&mapping, cases[i].code, cases[i].path, cases[i].text);
        assert_false(file_read(cases[i].path, 100, &bytes, &size, &reading));
        expect_sentence(&reading, cases[i].code, cases[i].path, cases[i].text);
    }
}

// ---- The file writer ------------------------------------------------------------------------

static void the_old_file_stays_until_commit(void **state) {
    struct place *place = *state;
    write_file(place->directory, "target", "old", 3);
    char *target = path_join(place->directory, "target");
    const int entries = count_entries(place->directory);
    struct llm_error err = {0};
    for (int commit = 0; commit < 2; commit++) {
        struct file_writer *writer = file_writer_open(target, &err);
        assert_non_null(writer);
        assert_true(file_writer_write(writer, "ne", 2, &err));
        assert_true(file_writer_write(writer, "", 0, &err));
        assert_true(file_writer_write(writer, "w", 1, &err));
        expect_contents(target, "old");
        if (commit == 1) {
            assert_true(file_writer_commit(writer, &err));
        } else {
            file_writer_abort(writer);
        }
        expect_contents(target, commit == 1 ? "new" : "old");
        assert_int_equal(count_entries(place->directory), entries);
    }
    file_writer_abort(NULL);
    free(target);
}

static void files_get_the_usual_permissions(void **state) {
    struct place *place = *state;
    const mode_t before = umask(027);
    write_file(place->directory, "new", "x", 1);
    umask(before);
    char *path = path_join(place->directory, "new");
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    free(path);
}

static void refuses_places_where_no_file_can_be(void **state) {
    struct place *place = *state;
    struct llm_error err = {0};
    assert_null(file_writer_open(place->directory, &err));
    expect_sentence(&err, LLM_ERROR_IO, place->directory, "is a directory, a file cannot be written there");
    char *below = path_join(place->missing, "x");
    err = (struct llm_error){0};
    assert_null(file_writer_open(below, &err));
    expect_sentence(&err, LLM_ERROR_NOT_FOUND, below, "cannot create a file here: No such file or directory");
    free(below);
}

// ---- The directory writer -------------------------------------------------------------------

static void write_directory(const char *path, bool replace, const char *contents) {
    struct llm_error err = {0};
    struct directory_writer *writer = directory_writer_open(path, replace, &err);
    if (writer == NULL) fail_msg("%s", err.text);
    write_file(directory_writer_path(writer), "contents", contents, strlen(contents));
    assert_true(directory_writer_commit(writer, &err));
}

static void a_directory_appears_and_is_exchanged_whole(void **state) {
    struct place *place = *state;
    char *target = path_join(place->directory, "target");
    char *with_slash = path_join(place->directory, "target//");
    char *inner = path_join(target, "contents");
    const int entries = count_entries(place->directory);
    write_directory(with_slash, false, "one");
    expect_contents(inner, "one");
    write_file(target, "stale", "x", 1);
    write_directory(target, true, "two");
    expect_contents(inner, "two");
    assert_int_equal(count_entries(target), 1); // what was there before is gone
    assert_int_equal(count_entries(place->directory), entries + 1);

    struct llm_error err = {0};
    struct directory_writer *writer = directory_writer_open(target, true, &err);
    write_file(directory_writer_path(writer), "contents", "three", 5);
    directory_writer_abort(writer);
    directory_writer_abort(NULL);
    expect_contents(inner, "two");
    assert_int_equal(count_entries(place->directory), entries + 1);
    free(inner);
    free(with_slash);
    free(target);
}

static void a_directory_replaces_only_what_it_may(void **state) {
    struct place *place = *state;
    struct llm_error err = {0};
    assert_null(directory_writer_open(place->directory, false, &err));
    expect_sentence(&err, LLM_ERROR_EXISTS, place->directory,
                    "is there already; name another place, or allow it to be replaced");
    err = (struct llm_error){0};
    assert_null(directory_writer_open(place->file, true, &err));
    expect_sentence(&err, LLM_ERROR_IO, place->file, "is not a directory, so it is not replaced by one");

    // Something that appears at the target in the meantime is not overwritten.
    err = (struct llm_error){0};
    struct directory_writer *writer = directory_writer_open(place->missing, false, &err);
    assert_non_null(writer);
    write_file(place->directory, "missing", "mine", 4);
    const int entries = count_entries(place->directory) - 1; // the one being written
    assert_false(directory_writer_commit(writer, &err));
    expect_sentence(&err, LLM_ERROR_IO, place->missing, "cannot put the finished directory in place: File exists");
    expect_contents(place->missing, "mine");
    assert_int_equal(count_entries(place->directory), entries);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(takes_paths_apart_and_together),
        TEST(knows_what_is_there),
        TEST(creates_directories_with_their_parents),
        TEST(removes_links_not_what_they_lead_to),
        TEST(maps_files),
        TEST(reads_files_up_to_a_limit),
        TEST(refuses_what_is_not_a_file),
        TEST(the_old_file_stays_until_commit),
        TEST(files_get_the_usual_permissions),
        TEST(refuses_places_where_no_file_can_be),
        TEST(a_directory_appears_and_is_exchanged_whole),
        TEST(a_directory_replaces_only_what_it_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
