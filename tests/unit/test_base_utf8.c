// test_base_utf8.c: every code point, every sequence of up to three bytes against the definition's table
// (Unicode 15, table 3-7), and what may be shown of text that is cut.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/utf8.h"

// The table of well-formed sequences as it is printed: ranges of each byte.
static const struct {
    int size;
    uint8_t low[4];
    uint8_t high[4];
} table[] = {
    {1, {0x00}, {0x7f}},
    {2, {0xc2, 0x80}, {0xdf, 0xbf}},
    {3, {0xe0, 0xa0, 0x80}, {0xe0, 0xbf, 0xbf}},
    {3, {0xe1, 0x80, 0x80}, {0xec, 0xbf, 0xbf}},
    {3, {0xed, 0x80, 0x80}, {0xed, 0x9f, 0xbf}},
    {3, {0xee, 0x80, 0x80}, {0xef, 0xbf, 0xbf}},
    {4, {0xf0, 0x90, 0x80, 0x80}, {0xf0, 0xbf, 0xbf, 0xbf}},
    {4, {0xf1, 0x80, 0x80, 0x80}, {0xf3, 0xbf, 0xbf, 0xbf}},
    {4, {0xf4, 0x80, 0x80, 0x80}, {0xf4, 0x8f, 0xbf, 0xbf}},
};

// The table's row whose first n bytes fit, or -1.
static int find_row(const uint8_t *bytes, int n) {
    for (int row = 0; row < 9; row++) {
        bool fits = n <= table[row].size;
        for (int i = 0; fits && i < n; i++) fits = bytes[i] >= table[row].low[i] && bytes[i] <= table[row].high[i];
        if (fits) return row;
    }
    return -1;
}

static void every_code_point_comes_back(void **state) {
    (void)state;
    for (int32_t code = 0; code <= 0x10ffff; code++) {
        char text[4];
        int32_t back = 0;
        const size_t size = utf8_encode(code, text);
        if (code >= 0xd800 && code <= 0xdfff) { // surrogates have no UTF-8
            assert_false(utf8_valid(text, size));
            continue;
        }
        if (utf8_decode(text, size, &back) != size || back != code) fail_msg("U+%04X", (unsigned)code);
        for (size_t cut = 1; cut < size; cut++) {
            if (utf8_complete(text, cut) != 0 || utf8_valid(text, cut)) fail_msg("U+%04X cut", (unsigned)code);
        }
        if (utf8_complete(text, size) != size) fail_msg("U+%04X whole", (unsigned)code);
    }
}

static void every_short_sequence_is_judged_by_the_table(void **state) {
    (void)state;
    // Where two bytes begin nothing, one third byte is enough.
    uint32_t step = 1;
    for (uint32_t n = 0; n < 1u << 24; n += step) {
        const uint8_t bytes[3] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
        if ((n & 0xff) == 0) step = find_row(bytes, 2) < 0 ? 256 : 1;
        int32_t code = 0;
        const size_t size = utf8_decode((const char *)bytes, 3, &code);
        int expected = 1;
        bool valid = false;
        for (int i = 1; i <= 3 && !valid; i++) {
            const int row = find_row(bytes, i);
            valid = row >= 0 && table[row].size == i;
            if (valid) expected = i;
        }
        if (size != (size_t)expected || (code >= 0) != valid) fail_msg("%02x %02x %02x", bytes[0], bytes[1], bytes[2]);
    }
}

static void shows_all_but_an_unfinished_end(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t complete;
    } cases[] = {
        {"", 0},
        {"abc", 3},
        {"ab\xc3", 2},
        {"ab\xc3\xa9", 4},
        {"\xe2\x82", 0},
        {"\xf0\x9f\x98", 0},
        {"x\xf0\x9f\x98\x80y\xf0\x9f", 6},
        {"\xff", 1},             // never the beginning of anything
        {"\x80", 1},             // a stray continuation
        {"\xe2\x28", 2},         // broken off by something else
        {"\xed\xa0", 2},         // a surrogate's beginning
        {"\xf4\x90", 2},         // beyond U+10FFFF
        {"\xc0", 1},             // an overlong form's beginning
        {"\xf0\x9f\xf0\x9f", 2}, // only the last one is unfinished
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(utf8_complete(cases[i].text, strlen(cases[i].text)), cases[i].complete);
    }
}

static void judges_whole_texts(void **state) {
    (void)state;
    assert_true(utf8_valid("", 0));
    assert_true(utf8_valid("a\0b", 3));
    assert_true(utf8_valid("\xef\xbb\xbf\xf4\x8f\xbf\xbf", 7));
    assert_false(utf8_valid("a\xc0\x80", 3));
    assert_false(utf8_valid("\xed\xa0\x80", 3));
    assert_false(utf8_valid("\xf4\x90\x80\x80", 4));
    assert_false(utf8_valid("\xf8\x88\x80\x80\x80", 5));
    assert_false(utf8_valid("caf\xc3", 4));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_comes_back),
        cmocka_unit_test(every_short_sequence_is_judged_by_the_table),
        cmocka_unit_test(shows_all_but_an_unfinished_end),
        cmocka_unit_test(judges_whole_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
