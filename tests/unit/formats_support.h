// formats_support.h: what the tests of src/formats share: files in exact-size memory, expected.txt, paths.
#ifndef FORMATS_SUPPORT_H
#define FORMATS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "formats/container.h"

#define FIXTURES MY_LLM_SOURCE_DIR "/tests/fixtures/formats/"

// A copy in a block of exactly this size, so that the address sanitizer sees the first byte read past
// the end. Free it.
static inline uint8_t *exact_copy(const void *bytes, size_t size) {
    uint8_t *copy = malloc(size);
    if (size > 0) memcpy(copy, bytes, size);
    return copy;
}

static inline uint8_t *read_exact(const char *path, size_t *size) {
    struct file_map map;
    struct llm_error err = {0};
    if (!file_map_open(&map, path, &err)) fail_msg("%s", err.text);
    uint8_t *copy = exact_copy(map.bytes, map.size);
    *size = map.size;
    file_map_close(&map);
    return copy;
}

static inline void assert_error(const struct llm_error *err, enum llm_error_code code, const char *text) {
    assert_string_equal(err->text, text);
    assert_int_equal(err->code, code);
}

// Appends "NAME DTYPE [SHAPE] HEX\n"; strings show "-" for their data.
static inline void describe(FILE *out, const struct tensor_view *tensor) {
    char shape[160];
    fprintf(out, "%s %s %s ", tensor->name, tensor->dtype_name, tensor_shape_text(tensor, shape));
    const bool shown = tensor->size > 0 && strcmp(tensor->dtype_name, "DT_STRING") != 0;
    if (!shown) fputc('-', out);
    for (size_t i = 0; shown && i < tensor->size; i++) fprintf(out, "%02x", tensor->data[i]);
    fputc('\n', out);
}

// Compares a container with DIRECTORY/expected.txt.
static inline void assert_expected(const struct container *container, const char *directory) {
    char *path = path_join(directory, "expected.txt");
    char *expected = NULL;
    size_t size = 0;
    struct llm_error err = {0};
    if (!file_read(path, 1 << 20, &expected, &size, &err)) fail_msg("%s", err.text);
    char *found = NULL;
    FILE *out = open_memstream(&found, &size);
    for (int i = 0; i < container->n_tensors; i++) {
        describe(out, &container->tensors[i]);
        assert_ptr_equal(container_find(container, container->tensors[i].name), &container->tensors[i]);
    }
    fclose(out);
    assert_string_equal(found, expected);
    free(found);
    free(expected);
    free(path);
}

// Calls `check` with the path of every directory in `directory`; fails when there are fewer than `least`.
static inline void for_each_directory(const char *directory, int least, void (*check)(const char *path)) {
    DIR *listing = opendir(directory);
    assert_non_null(listing);
    int n = 0;
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        if (entry->d_name[0] == '.') continue;
        char *path = path_join(directory, entry->d_name);
        check(path);
        free(path);
        n++;
    }
    closedir(listing);
    assert_true(n >= least);
}

// A fresh directory under $TMPDIR or /tmp; directory_remove() and free it.
static inline char *temporary_directory(void) {
    const char *parent = getenv("TMPDIR");
    char *path = path_join(parent != NULL ? parent : "/tmp", "my-llm-test-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

static inline void write_file(const char *directory, const char *name, const void *bytes, size_t size) {
    char *path = path_join(directory, name);
    struct llm_error err = {0};
    if (!file_write(path, bytes, size, &err)) fail_msg("%s", err.text);
    free(path);
}

#endif
