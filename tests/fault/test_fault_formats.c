// test_fault_formats.c: reading and writing weights when memory, calls or the disk fail: every failure
// gives one sentence, nothing is left over, and what was saved before stays whole.
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

#include "base/file.h"
#include "fault.h"
#include "formats/container.h"
#include "formats/safetensors.h"

#define FIXTURES MY_LLM_SOURCE_DIR "/tests/fixtures/formats/"

// ---- Reading --------------------------------------------------------------------------------

static bool open_body(void *user, struct llm_error *err) {
    struct container *container = container_open(user, err);
    if (container == NULL) return false;
    container_free(container);
    return true;
}

// When memory is what fails, the sentence must not blame the file. Not asked of what jansson reads: its
// lexer ignores that it could not store a character (jansson 2.14, lex_save), so the text looks wrong.
static bool open_body_memory(void *user, struct llm_error *err) {
    const bool ok = open_body(user, err);
    const bool json = strstr(user, "safetensors") != NULL || strstr(user, "torch-shards") != NULL;
    if (!ok && !json && err->code != LLM_ERROR_MEMORY) fail_msg("%s", err->text);
    return ok;
}

static void opening_says_what_failed(void **state) {
    (void)state;
    static const char *const paths[] = {
        FIXTURES "safetensors",        FIXTURES "safetensors/model.safetensors",
        FIXTURES "safetensors-shards", FIXTURES "tensorflow-gpt2",
        FIXTURES "tensorflow-shards",  FIXTURES "tensorflow-dtypes",
        FIXTURES "torch/model.pth",    FIXTURES "torch-shards",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_true(fault_loop(FAULT_MEMORY, open_body_memory, NULL, (void *)paths[i]) > 5);
        assert_true(fault_loop(FAULT_FILES, open_body, NULL, (void *)paths[i]) > 2);
        const bool mapped_only = i < 2 || strstr(paths[i], "torch") != NULL; // but for the index of shards
        if (!mapped_only) fault_loop(FAULT_SHORT, open_body, NULL, (void *)paths[i]);
    }
}

// ---- Writing --------------------------------------------------------------------------------

struct place {
    char directory[64];
    char target[128];
};

// A directory with two shards and their index in place of what was there.
static bool save_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    struct directory_writer *directory = directory_writer_open(place->target, true, err);
    if (directory == NULL) return false;
    struct safetensors_writer *writer = safetensors_writer_new(directory_writer_path(directory), 16, err);
    const float data[6] = {1, 2, 3, 4, 5, 6};
    bool ok = writer != NULL && safetensors_writer_declare(writer, "a", DTYPE_F32, 1, (int64_t[]){4}, err) &&
              safetensors_writer_declare(writer, "b", DTYPE_F32, 2, (int64_t[]){2, 1}, err) &&
              safetensors_writer_data(writer, data, sizeof data, err);
    if (ok) {
        ok = safetensors_writer_finish(writer, err);
    } else {
        safetensors_writer_free(writer);
    }
    if (ok) return directory_writer_commit(directory, err);
    directory_writer_abort(directory);
    return false;
}

static int count_entries(const char *path) {
    DIR *listing = opendir(path);
    assert_non_null(listing);
    int n = -2; // "." and ".."
    while (readdir(listing) != NULL) n++;
    closedir(listing);
    return n;
}

// The target is the old directory (one file, no weights) or the new one (two shards and an index).
static void save_check(void *user, bool succeeded) {
    const struct place *place = user;
    struct llm_error err = {0};
    struct container *container = container_open(place->target, &err);
    if (succeeded) {
        assert_string_equal(err.text, "");
        assert_int_equal(container->n_tensors, 2);
        assert_int_equal(count_entries(place->target), 3);
    } else {
        assert_null(container);
        assert_int_equal(count_entries(place->target), 1);
    }
    container_free(container);
    directory_remove(place->directory);
    assert_true(directory_create(place->target, NULL));
    char *old = path_join(place->target, "old");
    assert_true(file_write(old, "old", 3, NULL));
    llm_free(old);
}

static void saving_is_all_or_nothing(void **state) {
    (void)state;
    struct place place;
    snprintf(place.directory, sizeof place.directory, "/tmp/my-llm-fault-XXXXXX");
    assert_non_null(mkdtemp(place.directory));
    snprintf(place.target, sizeof place.target, "%s/target", place.directory);
    assert_true(directory_create(place.target, NULL));
    char *old = path_join(place.target, "old");
    assert_true(file_write(old, "old", 3, NULL));
    llm_free(old);
    assert_true(fault_loop(FAULT_MEMORY, save_body, save_check, &place) > 10);
    assert_true(fault_loop(FAULT_FILES, save_body, save_check, &place) > 5);
    assert_true(fault_loop(FAULT_DISK, save_body, save_check, &place) > 10);
    fault_loop(FAULT_SHORT, save_body, save_check, &place);
    directory_remove(place.directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_says_what_failed),
        cmocka_unit_test(saving_is_all_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
