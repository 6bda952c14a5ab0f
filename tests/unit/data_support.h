// data_support.h: what the tests of data files share: fixtures in JSON, hashes of what was read, files for a moment.
#ifndef TESTS_DATA_SUPPORT_H
#define TESTS_DATA_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"

// FNV-1a, to be begun with FNV_BEGIN and continued.
#define FNV_BEGIN UINT64_C(0xcbf29ce484222325)

static inline uint64_t fnv(uint64_t hash, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static inline void assert_hash(uint64_t hash, const json_t *expected) {
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    assert_non_null(json_string_value(expected));
    assert_string_equal(text, json_string_value(expected));
}

// tests/fixtures/<name>; json_decref() it.
static inline json_t *fixture_json(const char *name) {
    struct llm_error err = {0};
    char *path = path_join(MY_LLM_SOURCE_DIR "/tests/fixtures", name);
    json_t *value = json_parse_file(path, 1 << 24, &err);
    if (value == NULL) fail_msg("%s", err.text);
    free(path);
    return value;
}

static inline size_t fixture_size(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_integer(value));
    return (size_t)json_integer_value(value);
}

static inline double fixture_number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

// A folder for a test, as cmocka's state.
static inline int folder_setup(void **state) {
    char template[] = "/tmp/my-llm-data-XXXXXX";
    if (mkdtemp(template) == NULL) return -1;
    *state = strdup(template);
    return *state == NULL ? -1 : 0;
}

static inline int folder_teardown(void **state) {
    directory_remove(*state);
    free(*state);
    return 0;
}

// Whether `err` says all of this.
static inline void assert_says(const struct llm_error *err, const char *part) {
    assert_int_not_equal(err->code, LLM_OK);
    if (strstr(err->text, part) == NULL) fail_msg("\"%s\" is not in \"%s\"", part, err->text);
}

// A data set that is not part of the checkout, in ../shared/data beside it; the test is skipped where it is missing.
#define SHARED_DATA MY_LLM_SOURCE_DIR "/../shared/data/"
static inline void need_shared(const char *path) {
    if (file_exists(path)) return;
    print_message("%s is not there\n", path);
    skip();
}

#endif
