// test_base_error.c: one sentence, the first wins, a prefix that does not fit loses its front.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/error.h"

static void the_first_error_wins(void **state) {
    (void)state;
    struct llm_error err = {0};
    assert_false(error_set(&err, LLM_ERROR_FORMAT, "%s has %d bytes", "it", 3));
    assert_false(error_set(&err, LLM_ERROR_IO, "something later"));
    errno = ENOENT;
    assert_false(error_errno(&err, "later still"));
    assert_false(error_memory(&err, "anything"));
    assert_int_equal(err.code, LLM_ERROR_FORMAT);
    assert_string_equal(err.text, "it has 3 bytes");
}

static void errno_chooses_the_code(void **state) {
    (void)state;
    static const struct {
        int number;
        enum llm_error_code code;
        const char *text;
    } cases[] = {
        {ENOENT, LLM_ERROR_NOT_FOUND, "x: cannot open: No such file or directory"},
        {ENOMEM, LLM_ERROR_MEMORY, "x: cannot open: Cannot allocate memory"},
        {EACCES, LLM_ERROR_IO, "x: cannot open: Permission denied"},
        {ENOSPC, LLM_ERROR_IO, "x: cannot open: No space left on device"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct llm_error err = {0};
        errno = cases[i].number;
        assert_false(error_errno(&err, "%s: cannot open", "x"));
        assert_int_equal(err.code, cases[i].code);
        assert_string_equal(err.text, cases[i].text);
    }
}

static void memory_says_for_what(void **state) {
    (void)state;
    struct llm_error err = {0};
    assert_false(error_memory(&err, "logits"));
    assert_int_equal(err.code, LLM_ERROR_MEMORY);
    assert_string_equal(err.text, "out of memory (logits)");
}

static void null_is_allowed(void **state) {
    (void)state;
    errno = EIO;
    assert_false(error_set(NULL, LLM_ERROR_IO, "x"));
    assert_false(error_errno(NULL, "x"));
    assert_false(error_memory(NULL, "x"));
    error_prefix(NULL, "x");
}

static void a_prefix_stands_in_front(void **state) {
    (void)state;
    struct llm_error err = {0};
    error_prefix(&err, "nothing to prefix");
    assert_string_equal(err.text, "");
    error_set(&err, LLM_ERROR_FORMAT, "is damaged");
    error_prefix(&err, "tensor '%s'", "a");
    error_prefix(&err, "/models/x");
    assert_string_equal(err.text, "/models/x: tensor 'a': is damaged");
    assert_int_equal(err.code, LLM_ERROR_FORMAT);
}

static void a_long_path_keeps_its_tail(void **state) {
    (void)state;
    // Longer than a sentence may be, and such that only both together are too long.
    static const size_t sizes[] = {2000, 1021};
    for (int i = 0; i < 2; i++) {
        char path[2001];
        memset(path, 'p', sizes[i]);
        strcpy(path + sizes[i] - strlen("/file.txt"), "/file.txt");
        struct llm_error err = {0};
        error_set(&err, LLM_ERROR_FORMAT, "is damaged");
        error_prefix(&err, "%s", path);
        const size_t size = strlen(err.text);
        assert_int_equal(size, sizeof err.text - 1);
        assert_string_equal(err.text + size - strlen("pp/file.txt: is damaged"), "pp/file.txt: is damaged");
    }
}

static void a_long_sentence_is_cut(void **state) {
    (void)state;
    char text[3000];
    memset(text, 's', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct llm_error err = {0};
    error_set(&err, LLM_ERROR_FORMAT, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    // It makes room for what names the file.
    error_prefix(&err, "/a/path");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_int_equal(strncmp(err.text, "/a/path: sss", 12), 0);
    errno = EIO;
    struct llm_error other = {0};
    error_errno(&other, "%s", text);
    assert_int_equal(strlen(other.text), sizeof other.text - 1);
    assert_int_equal(other.code, LLM_ERROR_IO);
}

// A stranger's file may be quoted: nothing in a sentence moves the cursor.
static void what_drives_a_terminal_is_shown_as_a_question_mark(void **state) {
    (void)state;
    struct llm_error err = {0};
    error_set(&err, LLM_ERROR_FORMAT, "model_type is %s", "\x1b[31mX\x1b]0;title\a\r\n\xff\xc3\xa9");
    assert_string_equal(err.text, "model_type is ?[31mX?]0;title????\xc3\xa9");
    error_prefix(&err, "%s", "\x1b[2J/a");
    assert_string_equal(err.text, "?[2J/a: model_type is ?[31mX?]0;title????\xc3\xa9");
    struct llm_error other = {0};
    errno = EIO;
    error_errno(&other, "%s", "\x1b[2J");
    assert_string_equal(other.text, "?[2J: Input/output error");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_error_wins),
        cmocka_unit_test(errno_chooses_the_code),
        cmocka_unit_test(memory_says_for_what),
        cmocka_unit_test(null_is_allowed),
        cmocka_unit_test(a_prefix_stands_in_front),
        cmocka_unit_test(a_long_path_keeps_its_tail),
        cmocka_unit_test(a_long_sentence_is_cut),
        cmocka_unit_test(what_drives_a_terminal_is_shown_as_a_question_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
