// test_tokens_file.c: data/tokens.h: files of ids that are damaged, or made to be, and examples at the edges. How texts
// become such files is in test_tokens.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokens.h"

static void test_damaged_files(void **state) {
    (void)state;
    // Their checksums are right. Kept where the fuzzer begins from them.
    static const char *const expected[][2] = {
        {"zero-bytes", "zero-bytes: does not begin as a file of ids of this version does"},
        {"cut", "cut: is cut short"},
        {"huge-count", "the trailer's numbers of tokens and documents cannot be"},
        {"overflowing-count", "has 192 bytes, which does not suit 1152921504606846975 tokens"},
        {"no-vocabulary", "the trailer's vocabulary or split cannot be"},
        {"eot-out-of-range", "the trailer's vocabulary or split cannot be"},
        {"id-out-of-range", "holds an id that the vocabulary does not have"},
        {"starts-descend", "its documents do not begin one behind another"},
        {"start-behind", "its documents do not begin one behind another"},
    };
    struct token_file file;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        char path[200];
        snprintf(path, sizeof path, MY_LLM_SOURCE_DIR "/tests/fuzz/corpus/tokens/%s", expected[i][0]);
        struct llm_error err = {0};
        assert_false(token_file_open(&file, path, &err));
        if (strstr(err.text, expected[i][1]) == NULL) fail_msg("'%s' is not in '%s'", expected[i][1], err.text);
    }
    assert_true(token_file_open(&file, MY_LLM_SOURCE_DIR "/tests/fuzz/corpus/tokens/small", NULL));
    assert_true(file.n_tokens == 7 && file.n_documents == 2 && file.ids16[2] == 3 && file.starts[1] == 4);
    token_file_close(&file);
    assert_true(token_file_open(&file, MY_LLM_SOURCE_DIR "/tests/fuzz/corpus/tokens/large-vocabulary", NULL));
    assert_true(file.n_tokens == 3 && file.ids32[2] == 69999 && file.eot == 69999);
    token_file_close(&file);
}

// Every byte changed in turn, and every length, is noticed.
static void test_any_damage_is_noticed(void **state) {
    (void)state;
    size_t size = 0;
    char *bytes = NULL;
    assert_true(file_read(MY_LLM_SOURCE_DIR "/tests/fuzz/corpus/tokens/small", 1 << 16, &bytes, &size, NULL));
    uint8_t *copy = malloc(size + 8);
    assert_non_null(copy);
    struct token_file file;
    memcpy(copy, bytes, size);
    memset(copy + size, 0, 8);
    assert_true(token_file_parse(&file, copy, size, NULL));
    for (size_t n = 0; n <= size + 8; n++) assert_int_equal(token_file_parse(&file, copy, n, NULL), n == size);
    for (size_t i = 0; i < size; i++) {
        copy[i] ^= 1;
        assert_false(token_file_parse(&file, copy, size, NULL));
        copy[i] ^= 1;
    }
    free(copy);
    free(bytes);
}

static void test_windows_at_the_edges(void **state) {
    (void)state;
    char name[] = "a.tokens";
    struct token_file file = {.n_tokens = 5, .vocab_size = 9, .path = name};
    const uint16_t ids[] = {1, 2, 3, 4, 9};
    file.ids16 = ids;
    assert_int_equal(token_windows(&file, 5, 1).n, 0);
    assert_int_equal(token_windows(&file, 1000, 1000).n, 0);
    struct token_windows windows = token_windows(&file, 4, 4);
    assert_int_equal(windows.n, 1);
    struct llm_error err = {0};
    int32_t read[5];
    assert_false(token_windows_read(&windows, 0, read, &err)); // there is no id 9
    assert_non_null(strstr(err.text, "a.tokens: was changed while it was in use"));
    windows = token_windows(&file, 2, 1);
    assert_int_equal(windows.n, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_at_the_edges),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_any_damage_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
