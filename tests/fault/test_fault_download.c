// test_fault_download.c: llm_download() when memory, calls or the disk fail, from a mirror on disk.
//
// After every failure: what is visible is whole, and the same call with nothing failing ends right. All
// files but two count as downloaded before: the vocabulary, since small stand-ins cannot have the published
// sums, and others to keep the number of fsyncs low.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "fault.h"
#include "store/items.h"

enum {
    MAX_SIZE = 70000 // a little more than one buffer
};

struct place {
    char root[64];
    char mirror_url[128];
    char model[256]; // directory the model goes to
};

static int size_of(const char *name) {
    return strstr(name, ".data-") != NULL ? MAX_SIZE : 100 + (int)strlen(name);
}

static void make_contents(const char *name, char *bytes) {
    for (int i = 0; i < size_of(name); i++) bytes[i] = (char)(i * 31 + name[i % (int)strlen(name)]);
}

static void put_file(const char *path, const char *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) return -1;
    // Thousands of fsyncs: in memory where that is possible.
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(place->root, sizeof place->root, "%s/my-llm-fault-XXXXXX", parent);
    if (mkdtemp(place->root) == NULL) return -1;
    snprintf(place->mirror_url, sizeof place->mirror_url, "file://%s/mirror", place->root);
    snprintf(place->model, sizeof place->model, "%s/data/models/gpt2", place->root);
    char path[512];
    snprintf(path, sizeof path, "%s/mirror", place->root);
    if (mkdir(path, 0777) != 0) return -1;
    const struct store_item *item = store_item_find("gpt2");
    for (int i = 0; i < item->n_files; i++) {
        char bytes[MAX_SIZE];
        make_contents(item->files[i].name, bytes);
        snprintf(path, sizeof path, "%s/mirror/%s", place->root, item->files[i].name);
        put_file(path, bytes, (size_t)size_of(item->files[i].name));
    }
    snprintf(path, sizeof path, "%s/data", place->root);
    setenv("MY_LLM_HOME", path, 1);
    *state = place;
    return 0;
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->root);
    free(place);
    return 0;
}

// Whether the body has to fetch this file.
static bool is_missing(const char *name) {
    return strcmp(name, "checkpoint") == 0 || strstr(name, ".data-") != NULL;
}

// Home as it is when all but the missing files have been downloaded; those are one byte long here.
static void home_reset(const struct place *place) {
    char path[512], record[2048] = "";
    size_t used = 0;
    snprintf(path, sizeof path, "%s/data", place->root);
    directory_remove(path);
    snprintf(path, sizeof path, "%s/data/downloads", place->root);
    assert_true(directory_create(path, NULL));
    assert_true(directory_create(place->model, NULL));
    const struct store_item *item = store_item_find("gpt2");
    for (int i = 0; i < item->n_files; i++) {
        const char *name = item->files[i].name;
        if (is_missing(name)) continue;
        used += (size_t)snprintf(record + used, sizeof record - used, "%064d 1 %s\n", 0, name);
        snprintf(path, sizeof path, "%s/%s", place->model, name);
        put_file(path, "1", 1);
    }
    snprintf(path, sizeof path, "%s/data/downloads/gpt2.sha256", place->root);
    put_file(path, record, used);
}

// A missing file is visible only as a whole; with `all`, each is.
static void files_check(const struct place *place, bool all) {
    const struct store_item *item = store_item_find("gpt2");
    for (int i = 0; i < item->n_files; i++) {
        const char *name = item->files[i].name;
        if (!is_missing(name)) continue;
        char path[512], bytes[MAX_SIZE + 1], expected[MAX_SIZE];
        snprintf(path, sizeof path, "%s/%s", place->model, name);
        FILE *file = fopen(path, "rb");
        if (file == NULL) {
            assert_false(all);
            continue;
        }
        make_contents(name, expected);
        assert_int_equal(fread(bytes, 1, sizeof bytes, file), size_of(name));
        assert_memory_equal(bytes, expected, (size_t)size_of(name));
        fclose(file);
    }
}

static bool download_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    struct llm_download_options options;
    llm_download_options_init(&options);
    options.from = place->mirror_url;
    char *path = NULL;
    const bool ok = llm_download("gpt2", &options, &path, err);
    llm_free(path);
    return ok;
}

// Whatever happened, the next try ends right; then everything is set back for the next fault.
static void download_check(void *user, bool succeeded) {
    const struct place *place = user;
    files_check(place, succeeded);
    struct llm_error err = {0};
    if (!download_body(user, &err)) fail_msg("the next try: %s", err.text);
    files_check(place, true);
    home_reset(place);
}

static void a_failed_download_can_be_repeated(void **state) {
    home_reset(*state);
    fault_loop(FAULT_MEMORY, download_body, download_check, *state);
    fault_loop(FAULT_FILES, download_body, download_check, *state);
    fault_loop(FAULT_SHORT, download_body, download_check, *state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_failed_download_can_be_repeated, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
