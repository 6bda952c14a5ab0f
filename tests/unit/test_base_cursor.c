// test_base_cursor.c: every kind of read up to, at and past the end; varints; the first failure stays.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"

static void reads_little_endian(void **state) {
    (void)state;
    static const uint8_t bytes[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
                                    0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0xff};
    struct llm_error err = {0};
    struct cursor cursor;
    cursor_init(&cursor, bytes, sizeof bytes, &err);
    assert_int_equal(cursor_u8(&cursor, "a"), 0x01);
    assert_int_equal(cursor_u16(&cursor, "b"), 0x0302);
    assert_int_equal(cursor_u32(&cursor, "c"), 0x07060504);
    assert_int_equal(cursor_left(&cursor), 8);
    assert_true(cursor_u64(&cursor, "d") == 0xff0e0d0c0b0a0908);
    assert_int_equal(cursor_left(&cursor), 0);
    assert_true(cursor_ok(&cursor));
    assert_int_equal(err.code, LLM_OK);
}

// Each read of n bytes from every shorter block, of exact size so that a sanitizer sees an overrun.
static void stops_at_the_end(void **state) {
    (void)state;
    for (size_t size = 0; size < 8; size++) {
        uint8_t *bytes = calloc(1, size > 0 ? size : 1);
        for (int kind = 0; kind < 4; kind++) {
            const size_t needed = (size_t)1 << kind;
            if (needed <= size) continue;
            struct llm_error err = {0};
            struct cursor cursor;
            cursor_init(&cursor, bytes, size, &err);
            if (kind == 0) assert_int_equal(cursor_u8(&cursor, "it"), 0);
            if (kind == 1) assert_int_equal(cursor_u16(&cursor, "it"), 0);
            if (kind == 2) assert_int_equal(cursor_u32(&cursor, "it"), 0);
            if (kind == 3) assert_true(cursor_u64(&cursor, "it") == 0);
            char expected[100];
            snprintf(expected, sizeof expected, "at byte 0: it needs %zu bytes, %zu are left", needed, size);
            assert_string_equal(err.text, expected);
            assert_int_equal(err.code, LLM_ERROR_FORMAT);
            assert_false(cursor_ok(&cursor));
        }
        free(bytes);
    }
}

static void the_first_failure_stays(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct cursor cursor;
    cursor_init(&cursor, "abcdef", 6, &err);
    assert_ptr_equal(cursor_take(&cursor, 2, "name"), cursor.bytes);
    assert_null(cursor_take(&cursor, UINT64_MAX, "huge"));
    // Later reads give zeros, also where there would be bytes, and do not move.
    assert_int_equal(cursor_u8(&cursor, "later"), 0);
    assert_int_equal(cursor_varint64(&cursor, "later"), 0);
    assert_null(cursor_take(&cursor, 1, "later"));
    assert_false(cursor_fail(&cursor, "later"));
    assert_int_equal(cursor.offset, 2);
    assert_string_equal(err.text, "at byte 2: huge needs 18446744073709551615 bytes, 4 are left");
}

static void fails_without_an_error_struct(void **state) {
    (void)state;
    struct cursor cursor;
    cursor_init(&cursor, NULL, 0, NULL);
    assert_null(cursor_take(&cursor, 1, "x"));
    assert_false(cursor_ok(&cursor));
    cursor_init(&cursor, NULL, 0, NULL);
    cursor_take(&cursor, 0, "nothing"); // zero bytes of nothing are there
    assert_true(cursor_ok(&cursor));
}

static void says_what_the_caller_says(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct cursor cursor;
    cursor_init(&cursor, "abc", 3, &err);
    cursor_u8(&cursor, "x");
    assert_false(cursor_fail(&cursor, "the %s is %d", "answer", 41));
    assert_string_equal(err.text, "at byte 1: the answer is 41");
}

static void reads_varints(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        uint64_t value;
        const char *error32; // "": also a good 32-bit one
        const char *error64;
    } cases[] = {
        {"\x00", 1, 0, "", ""},
        {"\x7f", 1, 127, "", ""},
        {"\x80\x01", 2, 128, "", ""},
        {"\xac\x02", 2, 300, "", ""},
        {"\x80\x00", 2, 0, "", ""}, // longer than needed: protocol buffers allow it
        {"\xff\xff\xff\xff\x0f", 5, UINT32_MAX, "", ""},
        {"\xff\xff\xff\xff\x1f", 5, 0x1ffffffff, "at byte 5: v is a varint of more than 32 bits", ""},
        {"\x80\x80\x80\x80\x80\x00", 6, 0, "at byte 5: v is a varint of more than 32 bits", ""},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, UINT64_MAX, "at byte 5: v is a varint of more than 32 bits",
         ""},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10, 0, "at byte 5: v is a varint of more than 32 bits",
         "at byte 10: v is a varint of more than 64 bits"},
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11, 0, "at byte 5: v is a varint of more than 32 bits",
         "at byte 10: v is a varint of more than 64 bits"},
        {"\x80\x80", 2, 0, "at byte 2: v needs 1 bytes, 0 are left", "at byte 2: v needs 1 bytes, 0 are left"},
        {"", 0, 0, "at byte 0: v needs 1 bytes, 0 are left", "at byte 0: v needs 1 bytes, 0 are left"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct llm_error err = {0};
        struct cursor cursor;
        cursor_init(&cursor, cases[i].bytes, cases[i].size, &err);
        assert_true(cursor_varint64(&cursor, "v") == cases[i].value);
        assert_string_equal(err.text, cases[i].error64);
        if (cursor_ok(&cursor)) assert_int_equal(cursor_left(&cursor), 0);
        err = (struct llm_error){0};
        cursor_init(&cursor, cases[i].bytes, cases[i].size, &err);
        const uint32_t value = cursor_varint32(&cursor, "v");
        assert_string_equal(err.text, cases[i].error32);
        assert_true(value == (cursor_ok(&cursor) ? cases[i].value : 0));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_little_endian),       cmocka_unit_test(stops_at_the_end),
        cmocka_unit_test(the_first_failure_stays),   cmocka_unit_test(fails_without_an_error_struct),
        cmocka_unit_test(says_what_the_caller_says), cmocka_unit_test(reads_varints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
