// test_session_stream.c: the text of a sample as tokens arrive: what is shown when, stop texts across token
// borders, characters that tokens split.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/utf8.h"
#include "infer/stream.h"

// Feeds `tokens` (NULL-terminated) and joins what is shown after each with '|' between.
static void play(const char *const *stops, int n_stops, const char *const *tokens, char *shown, size_t size) {
    struct stream stream;
    struct llm_error err = {0};
    struct strbuf out;
    strbuf_init(&out, 1 << 20);
    assert_true(stream_init(&stream, stops, n_stops, 0, &err));
    for (int i = 0; tokens[i] != NULL && !stream.stopped; i++) {
        const char *text;
        assert_true(stream_add(&stream, tokens[i], strlen(tokens[i]), &err));
        const size_t n = stream_show(&stream, tokens[i + 1] == NULL, &text);
        if (i > 0) strbuf_puts(&out, "|");
        strbuf_append(&out, text, n);
    }
    assert_true(out.size < size);
    memcpy(shown, out.bytes, out.size + 1);
    strbuf_release(&out);
    stream_release(&stream);
}

struct play_case {
    const char *stops[4];
    const char *tokens[8];
    const char *shown;
};

static void check_cases(const struct play_case *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int n_stops = 0;
        while (cases[i].stops[n_stops] != NULL) n_stops++;
        char shown[256];
        play(cases[i].stops, n_stops, cases[i].tokens, shown, sizeof shown);
        assert_string_equal(shown, cases[i].shown);
    }
}

static void characters_are_shown_whole(void **state) {
    (void)state;
    static const struct play_case cases[] = {
        {{NULL}, {"a", "b", NULL}, "a|b"},
        {{NULL}, {"\xe2", "\x82", "\xac", "!", NULL}, "||\xe2\x82\xac|!"}, // the euro sign in three tokens
        {{NULL}, {"x\xf0\x9f", "\x98\x80y", NULL}, "x|\xf0\x9f\x98\x80y"}, // an emoji in two
        {{NULL},
         {"a\xe2", "b", NULL},
         "a|\xe2"
         "b"},                                                 // it never was a character
        {{NULL}, {"\x80\x80", "\xff", NULL}, "\x80\x80|\xff"}, // nor were these
        {{NULL}, {"a", "\xe2\x82", NULL}, "a|"},               // cut off at the end of the text
    };
    check_cases(cases, sizeof cases / sizeof cases[0]);
}

static void stop_texts_end_the_text_wherever_tokens_are_cut(void **state) {
    (void)state;
    static const struct play_case cases[] = {
        {{"END", NULL}, {"one END two", NULL}, "one "},
        {{"END", NULL}, {"one E", "N", "D two", NULL}, "one ||"},
        {{"END", NULL}, {"one E", "N", "x", NULL}, "one ||ENx"},  // held back, then let go
        {{"END", NULL}, {"one E", "NEN", "D", NULL}, "one |EN|"}, // a new start inside the held part
        {{"END", NULL}, {"E", "N", NULL}, "|EN"},                 // the end comes first
        {{"aab", NULL}, {"a", "a", "a", "b", NULL}, "||a|"},      // overlaps itself
        {{"\n\n", NULL}, {"x\n", "y\n", "\n", NULL}, "x|\ny|"},
        {{"bc", "b", NULL}, {"abc", NULL}, "a"},         // the one complete first
        {{"abcd", "bc", NULL}, {"abc", "d", NULL}, "a"}, // even inside a possible longer one
        {{"bcd", "cd", NULL}, {"abcd", NULL}, "a"},      // complete together: the longer one
        {{"\xe2\x82\xac", NULL}, {"1\xe2", "\x82", "\xac", NULL}, "1||"},
        {{"x", NULL}, {"x", NULL}, ""},
    };
    check_cases(cases, sizeof cases / sizeof cases[0]);
}

// Any cut into tokens gives the same text, and what is shown joins to it and is valid UTF-8 at each step.
static void the_cut_into_tokens_does_not_matter(void **state) {
    (void)state;
    static const char text[] = "na\xc3\xafve \xe2\x82\xac caf\xc3\xa9 \xf0\x9f\x98\x80 abababc stop st\xc3\xb6p stoppp";
    static const char *const stops[] = {"ababc", "stoppp", "\xc3\xb6q"};
    const size_t size = sizeof text - 1;
    const char *end = strstr(text, "ababc");
    struct random random;
    random_init(&random, 5);
    for (int round = 0; round < 500; round++) {
        struct stream stream;
        struct llm_error err = {0};
        struct strbuf shown;
        strbuf_init(&shown, 1000);
        assert_true(stream_init(&stream, stops, 3, 0, &err));
        for (size_t at = 0; at < size && !stream.stopped;) {
            size_t n = 1 + random_u32(&random) % 5;
            if (n > size - at) n = size - at;
            const char *piece;
            assert_true(stream_add(&stream, text + at, n, &err));
            at += n;
            const size_t n_shown = stream_show(&stream, false, &piece);
            assert_true(utf8_valid(piece, n_shown));
            strbuf_append(&shown, piece, n_shown);
        }
        assert_true(stream.stopped);
        assert_int_equal(shown.size, end - text);
        assert_memory_equal(shown.bytes, text, shown.size);
        assert_int_equal(stream.text.size, shown.size);
        assert_memory_equal(stream.text.bytes, text, shown.size);
        strbuf_release(&shown);
        stream_release(&stream);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_are_shown_whole),
        cmocka_unit_test(stop_texts_end_the_text_wherever_tokens_are_cut),
        cmocka_unit_test(the_cut_into_tokens_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
