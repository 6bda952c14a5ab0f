// test_base_str.c: the growing string with its maximum; text made fit for sentences.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/utf8.h"

static void grows_and_hands_over(void **state) {
    (void)state;
    struct strbuf buf;
    strbuf_init(&buf, 10000);
    size_t expected = 0;
    for (int i = 0; i < 1000; i++) {
        strbuf_printf(&buf, "%d,", i);
        expected += i < 10 ? 2 : i < 100 ? 3 : 4;
    }
    strbuf_puts(&buf, "end");
    strbuf_append(&buf, "\0x", 2);
    assert_true(strbuf_ok(&buf));
    assert_int_equal(buf.size, expected + 5);
    assert_int_equal(strncmp(buf.bytes, "0,1,2,", 6), 0);
    assert_memory_equal(buf.bytes + expected, "end\0x\0", 6);
    char *bytes = strbuf_take(&buf);
    assert_memory_equal(bytes + expected, "end\0x\0", 6);
    free(bytes);
    assert_int_equal(buf.size, 0);
    assert_null(buf.bytes);
}

static void an_empty_string_is_a_string(void **state) {
    (void)state;
    struct strbuf buf;
    strbuf_init(&buf, 0);
    strbuf_append(&buf, NULL, 0);
    char *bytes = strbuf_take(&buf);
    assert_string_equal(bytes, "");
    free(bytes);
    strbuf_clear(&buf);
    strbuf_release(&buf);
}

static void the_maximum_holds_and_failure_stays(void **state) {
    (void)state;
    struct strbuf buf;
    strbuf_init(&buf, 5);
    strbuf_puts(&buf, "12345");
    assert_true(strbuf_ok(&buf));
    strbuf_puts(&buf, "6");
    assert_false(strbuf_ok(&buf));
    strbuf_puts(&buf, "");
    strbuf_printf(&buf, "%s", "");
    assert_false(strbuf_ok(&buf));
    assert_string_equal(buf.bytes, "12345");
    strbuf_clear(&buf);
    assert_true(strbuf_ok(&buf));
    strbuf_printf(&buf, "%s", "toolong");
    assert_false(strbuf_ok(&buf));
    assert_null(strbuf_take(&buf));
    strbuf_append(&buf, "x", (size_t)-1);
    assert_false(strbuf_ok(&buf));
    strbuf_release(&buf);
}

static void cleans_what_does_not_belong_in_a_sentence(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"plain caf\xc3\xa9 \xf0\x9f\x98\x80", "plain caf\xc3\xa9 \xf0\x9f\x98\x80"},
        {"\x1b[31mred\x07\n\r\t\x7f", "?[31mred?????"},
        {"\xc2\x9b"
         "31m",
         "?31m"}, // U+009B, a control sequence introducer in one character
        {"\xff\xc3", "??"},
        {"half \xe2\x82", "half ??"},
        {"\xc0\x80", "??"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        strcpy(text, cases[i][0]);
        str_clean(text);
        assert_string_equal(text, cases[i][1]);
        char quoted[STR_QUOTE_SIZE];
        char expected[STR_QUOTE_SIZE];
        strcpy(expected, "'");
        strcat(strcat(expected, cases[i][1]), "'");
        assert_string_equal(str_quote(cases[i][0], quoted), expected);
    }
}

// Names of every length, of characters of 1 to 4 bytes, fit, stay valid and show where they were cut.
static void quotes_long_names(void **state) {
    (void)state;
    static const char *const characters[] = {"n", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xff"};
    for (size_t i = 0; i < 5; i++) {
        char name[1000] = "";
        for (size_t n = 1; n < 200; n++) {
            strcat(name, characters[i]);
            char quoted[STR_QUOTE_SIZE];
            assert_ptr_equal(str_quote(name, quoted), quoted);
            const size_t size = strlen(quoted);
            assert_true(size < STR_QUOTE_SIZE);
            assert_true(utf8_valid(quoted, size));
            assert_int_equal(quoted[0], '\'');
            assert_int_equal(quoted[size - 1], '\'');
            const bool whole = size == strlen(name) + 2 && strncmp(quoted + 1, name, strlen(name)) == 0;
            const bool cut = !whole && i < 4;
            if (cut) assert_string_equal(quoted + size - 4, "...'");
            // What is shown before that is the name's beginning.
            if (i < 4) assert_int_equal(strncmp(quoted + 1, name, size - (cut ? 5 : 2)), 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_hands_over),
        cmocka_unit_test(an_empty_string_is_a_string),
        cmocka_unit_test(the_maximum_holds_and_failure_stays),
        cmocka_unit_test(cleans_what_does_not_belong_in_a_sentence),
        cmocka_unit_test(quotes_long_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
