// test_base_json.c: what is refused as JSON and with which sentence; the getters.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

static void expect(const char *text, size_t size, const char *error) {
    // A copy of exact size without a NUL behind, so that a sanitizer sees one byte too many.
    char *exact = malloc(size > 0 ? size : 1);
    memcpy(exact, text, size);
    struct llm_error err = {0};
    json_t *value = json_parse(exact, size, &err);
    assert_string_equal(err.text, error);
    assert_true((value != NULL) == (*error == '\0'));
    assert_int_equal(err.code, *error == '\0' ? LLM_OK : LLM_ERROR_FORMAT);
    json_decref(value);
    free(exact);
}

#define NOT_JSON "not valid JSON: line 1, column "

static void refuses_bad_json(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *error;
    } cases[] = {
        {"{\"a\": [1, 2.5, \"\\u00e9\", null, true]}", ""},
        {" 1.5e3 ", ""},
        {"\"\\ud83d\\ude00\"", ""},
        {"", NOT_JSON "0: unexpected token near end of file"},
        {"\xef\xbb\xbf{}", "begins with a byte order mark, which JSON does not allow; save it as plain UTF-8"},
        {"{\"a\":1,\"a\":2}", NOT_JSON "10: duplicate object key near '\"a\"'"},
        {"[1,]", NOT_JSON "4: unexpected token near ']'"},
        {"{\"a\":1,}", NOT_JSON "8: string or '}' expected near '}'"},
        {"[NaN]", NOT_JSON "4: invalid token near 'NaN'"},
        {"[1e400]", NOT_JSON "6: real number overflow near '1e400'"},
        {"[123456789012345678901]", NOT_JSON "22: too big integer"},
        {"[\"\\ud800\"]", NOT_JSON "9: invalid Unicode '\\uD800' near '\"\\ud800\"'"},
        {"[\"\\udc00\"]", NOT_JSON "9: invalid Unicode '\\uDC00' near '\"\\udc00\"'"},
        {"[\"\xed\xa0\x80\"]", NOT_JSON "2: unable to decode byte 0xed near '\"'"},
        {"[\"\xc0\xaf\"]", NOT_JSON "2: unable to decode byte 0xc0 near '\"'"},
        {"[\"\xff\"]", NOT_JSON "2: unable to decode byte 0xff near '\"'"},
        {"[\"a\nb\"]", NOT_JSON "3: unexpected newline near '\"a'"},
        {"[\"a\x1b[31m\"]", NOT_JSON "3: control character 0x1b near '\"a'"},
        {"[1] x", NOT_JSON "5: end of file expected near 'x'"},
        {"{'a':1}", NOT_JSON "2: string or '}' expected near '''"},
        {"// c\n[]", NOT_JSON "1: invalid token near '/'"},
        // The quoted text is cleaned: a C1 control character, half a character.
        {"[\"\xc2\x9b\" x]", NOT_JSON "6: ']' expected near 'x'"},
        {"[\"\\x\xc2\x9b\"]", NOT_JSON "4: invalid escape near '\"\\x'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect(cases[i].text, strlen(cases[i].text), cases[i].error);
    }
    expect("[\"a\0b\"]", 7, NOT_JSON "3: control character 0x0 near '\"a'");
    expect("[\"a\\u0000b\"]", 12, NOT_JSON "11: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"a\\u0000b\"'");
    expect("{\n  \"a\": x\n}", 12, "not valid JSON: line 2, column 8: invalid token near 'x'");
}

static void refuses_every_truncation(void **state) {
    (void)state;
    static const char text[] = "{\"a\": [1, -2.5e3, \"\\u00e9\xc3\xa9\", null, {\"b\": true}]}";
    for (size_t cut = 0; cut < sizeof text - 1; cut++) {
        char *exact = malloc(cut > 0 ? cut : 1);
        memcpy(exact, text, cut);
        struct llm_error err = {0};
        assert_null(json_parse(exact, cut, &err));
        assert_int_equal(strncmp(err.text, NOT_JSON, strlen(NOT_JSON)), 0);
        free(exact);
    }
    expect(text, sizeof text - 1, "");
}

static void depth_is_bounded(void **state) {
    (void)state;
    static char text[20000];
    for (int kind = 0; kind < 2; kind++) {
        memset(text, '[', 10000);
        memset(text + 10000, ']', 10000);
        if (kind == 1) {
            for (size_t i = 0; i < 10000; i += 5) memcpy(text + i, "{\"\":", 4), text[i + 4] = ' ';
        }
        struct llm_error err = {0};
        assert_null(json_parse(text, sizeof text, &err));
        assert_int_equal(err.code, LLM_ERROR_FORMAT);
        assert_int_equal(strncmp(err.text, NOT_JSON, strlen(NOT_JSON)), 0);
    }
}

// ---- Getters --------------------------------------------------------------------------------

struct values {
    int64_t integer;
    double number;
    bool flag;
    const char *text;
};

// Reads key "k" of {"k": <json>} with every getter; the sentences, "" for none.
static void expect_values(const char *json, struct values expected, const char *errors[4]) {
    char text[256];
    snprintf(text, sizeof text, "{\"k\": %s}", json);
    json_t *object = json_parse(text, strlen(text), NULL);
    struct values found = {.integer = -7, .number = -7, .flag = true, .text = "before"};
    struct llm_error err[4] = {{0}};
    assert_true(json_get_int(object, "k", -10, 10, &found.integer, &err[0]) == (*errors[0] == '\0'));
    assert_true(json_get_double(object, "k", &found.number, &err[1]) == (*errors[1] == '\0'));
    assert_true(json_get_bool(object, "k", &found.flag, &err[2]) == (*errors[2] == '\0'));
    assert_true(json_get_string(object, "k", &found.text, &err[3]) == (*errors[3] == '\0'));
    for (int i = 0; i < 4; i++) {
        assert_string_equal(err[i].text, errors[i]);
        assert_int_equal(err[i].code, *errors[i] == '\0' ? LLM_OK : LLM_ERROR_FORMAT);
    }
    assert_true(found.integer == expected.integer);
    assert_true(found.number == expected.number);
    assert_int_equal(found.flag, expected.flag);
    assert_string_equal(found.text, expected.text);
    json_decref(object);
}

static void getters_want_their_type(void **state) {
    (void)state;
    const struct values before = {-7, -7, true, "before"};
    struct values expected = before;
    expected.integer = 5;
    expected.number = 5;
    expect_values("5", expected,
                  (const char *[]){"", "", "k is 5, true or false was expected", "k is 5, a string was expected"});
    expected = before;
    expected.number = 5;
    expect_values("5.0", expected,
                  (const char *[]){"k is 5.0, an integer was expected", "", "k is 5.0, true or false was expected",
                                   "k is 5.0, a string was expected"});
    expected = before;
    expected.flag = false;
    expect_values("false", expected,
                  (const char *[]){"k is false, an integer was expected", "k is false, a number was expected", "",
                                   "k is false, a string was expected"});
    expected = before;
    expected.text = "12";
    expect_values("\"12\"", expected,
                  (const char *[]){"k is \"12\", an integer was expected", "k is \"12\", a number was expected",
                                   "k is \"12\", true or false was expected", ""});
    expected = before;
    expected.number = 11;
    expect_values("11", expected,
                  (const char *[]){"k is 11, a number from -10 to 10 was expected", "",
                                   "k is 11, true or false was expected", "k is 11, a string was expected"});
    // Missing or null leaves everything alone.
    expect_values("null", before, (const char *[]){"", "", "", ""});
    expect_values("null, \"other\": 1", before, (const char *[]){"", "", "", ""});
}

static void a_long_wrong_value_is_cut_and_cleaned(void **state) {
    (void)state;
    char text[256];
    // The cut, after 60 bytes, falls into a character of two.
    snprintf(text, sizeof text, "{\"k\": \"\xc2\x9b%056d\xc3\xa9xxxxxxxxxx\"}", 0);
    json_t *object = json_parse(text, strlen(text), NULL);
    int64_t value = 0;
    struct llm_error err = {0};
    assert_false(json_get_int(object, "k", 0, 1, &value, &err));
    snprintf(text, sizeof text, "k is \"?%056d?..., an integer was expected", 0);
    assert_string_equal(err.text, text);
    json_decref(object);
}

static void a_file_is_named(void **state) {
    (void)state;
    struct llm_error err = {0};
    assert_null(json_parse_file("/nonexistent/x.json", 100, &err));
    assert_string_equal(err.text, "/nonexistent/x.json: cannot open this file: No such file or directory");
    assert_int_equal(err.code, LLM_ERROR_NOT_FOUND);

    char path[] = "/tmp/my-llm-json-XXXXXX";
    const int fd = mkstemp(path);
    assert_int_equal(write(fd, "{\"a\": 1]", 8), 8);
    close(fd);
    char expected[256];
    err = (struct llm_error){0};
    assert_null(json_parse_file(path, 100, &err));
    snprintf(expected, sizeof expected, "%s: " NOT_JSON "8: '}' expected near ']'", path);
    assert_string_equal(err.text, expected);
    err = (struct llm_error){0};
    assert_null(json_parse_file(path, 7, &err));
    snprintf(expected, sizeof expected, "%s: has 8 bytes, at most 7 were expected", path);
    assert_string_equal(err.text, expected);
    unlink(path);
}

static void any_bytes_are_text(void **state) {
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", ""},
        {"caf\xc3\xa9.csv", "caf\xc3\xa9.csv"},
        {"caf\xe9.csv", "caf\xef\xbf\xbd.csv"},
        {"\xff\xc3", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"a\nb\x01\\", "a\nb\x01\\"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *name = json_name(cases[i].text);
        assert_string_equal(json_string_value(name), cases[i].expected);
        char *dumped = json_dump(name, JSON_ENCODE_ANY);
        json_t *again = json_parse(dumped, strlen(dumped), NULL);
        assert_true(json_equal(name, again));
        json_decref(again);
        free(dumped);
        json_decref(name);
    }
    assert_true(json_is_null(json_name(NULL)));
    json_t *text = json_text("a\0\xff", 3);
    assert_int_equal(json_string_length(text), 5);
    assert_memory_equal(json_string_value(text), "a\0\xef\xbf\xbd", 5);
    json_decref(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_bad_json),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(getters_want_their_type),
        cmocka_unit_test(a_long_wrong_value_is_cut_and_cleaned),
        cmocka_unit_test(a_file_is_named),
        cmocka_unit_test(any_bytes_are_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
