// test_tokenizer_encode.c: ids identical to tiktoken's.
//
// cases.txt and hashes.txt hold what tiktoken said (tools/make_tokenizer_fixtures.py); long texts are made again here
// and compared by a hash over their ids. Every text must also come back from its ids.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/random.h"
#include "base/str.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

#define FIXTURES MY_LLM_SOURCE_DIR "/tests/fixtures/tokenizer"
#define SHARED MY_LLM_SOURCE_DIR "/../shared/data"

static int setup(void **state) {
    *state = tokenizer_new_gpt2(NULL);
    return *state != NULL ? 0 : -1;
}

static int teardown(void **state) {
    llm_tokenizer_free(*state);
    return 0;
}

// Encodes, checks that decoding gives the text back, and returns the ids.
static int32_t *encode(const struct llm_tokenizer *tokenizer, const char *text, size_t size, bool special, size_t *n) {
    struct llm_error err = {0};
    int32_t *ids = NULL;
    assert_true(llm_tokenizer_encode(tokenizer, text, size, special, &ids, n, &err));
    assert_non_null(ids);
    char *back = NULL;
    size_t back_size = 0;
    assert_true(llm_tokenizer_decode(tokenizer, ids, *n, &back, &back_size, &err));
    assert_int_equal(back_size, size);
    assert_memory_equal(back, text, size);
    assert_int_equal(back[size], '\0');
    llm_free(back);
    return ids;
}

static void assert_ids(const struct llm_tokenizer *tokenizer, const char *text, size_t size, bool special,
                       const int32_t *expected, size_t n_expected) {
    size_t n = 0;
    int32_t *ids = encode(tokenizer, text, size, special, &n);
    if (n != n_expected || memcmp(ids, expected, n * sizeof *ids) != 0) {
        print_message("wrong ids for \"%.*s\"\n", (int)size, text);
        for (size_t i = 0; i < n; i++) print_message(" %d", ids[i]);
        print_message("\nexpected:\n");
        for (size_t i = 0; i < n_expected; i++) print_message(" %d", expected[i]);
        fail();
    }
    llm_free(ids);
}

// Numbers separated by spaces, up to the end of the line.
static size_t read_ids(const char *text, int32_t *ids, size_t max) {
    size_t n = 0;
    for (char *end = NULL; n < max; text = end) {
        const long value = strtol(text, &end, 10);
        if (end == text) break;
        ids[n++] = (int32_t)value;
    }
    return n;
}

static char *read_text(const char *path, size_t *size) {
    char *text = NULL;
    struct llm_error err = {0};
    if (!file_read(path, 1 << 20, &text, size, &err)) fail_msg("%s", err.text);
    return text;
}

// ---- Cases ----------------------------------------------------------------------------------

static int check_cases(const struct llm_tokenizer *tokenizer, const char *path) {
    size_t size = 0;
    char *cases = read_text(path, &size);
    int n_cases = 0;
    char *rest = NULL;
    for (char *line = strtok_r(cases, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char text[4096];
        int32_t ids[4096];
        size_t n = 0;
        char *at = line + 2;
        if (*at == '-') at++;
        for (unsigned byte = 0; *at != ' ' && *at != '\0'; at += 2) {
            assert_int_equal(sscanf(at, "%2x", &byte), 1);
            text[n++] = (char)byte;
        }
        const size_t n_ids = read_ids(at, ids, 4096);
        assert_ids(tokenizer, text, n, line[0] == '1', ids, n_ids);
        n_cases++;
    }
    free(cases);
    return n_cases;
}

static void cases_have_tiktokens_ids(void **state) {
    assert_in_range(check_cases(*state, FIXTURES "/cases.txt"), 90, 1000);
}

static void a_small_vocabulary_has_hugging_faces_ids(void **state) {
    (void)state;
    struct llm_tokenizer *small = tokenizer_open_directory(FIXTURES "/small", NULL);
    assert_non_null(small);
    assert_in_range(check_cases(small, FIXTURES "/small/cases.txt"), 80, 1000);
    llm_tokenizer_free(small);
}

// llama.cpp's vocabulary tests: texts between separator lines, their ids one text a line.
static void the_46_shared_cases_have_their_ids(void **state) {
    if (!file_exists(SHARED "/tokenizer/gpt-2.inp")) {
        print_message("skipped: needs ../shared/data/tokenizer\n");
        skip();
    }
    static const char separator[] = "\n__ggml_vocab_test__\n";
    size_t size = 0;
    size_t expected_size = 0;
    char *texts = read_text(SHARED "/tokenizer/gpt-2.inp", &size);
    char *expected = read_text(SHARED "/tokenizer/gpt-2.out", &expected_size);
    int n_cases = 0;
    const char *line = expected;
    const char *text = texts;
    while (text < texts + size) {
        const char *end = strstr(text, separator);
        if (end == NULL) break;
        int32_t ids[1024] = {0};
        char copy[4096] = "";
        const char *newline = strchr(line, '\n');
        assert_non_null(newline);
        memcpy(copy, line, (size_t)(newline - line));
        assert_ids(*state, text, (size_t)(end - text), false, ids, read_ids(copy, ids, 1024));
        line = newline + 1;
        text = end + strlen(separator);
        n_cases++;
    }
    assert_int_equal(n_cases, 46);
    free(texts);
    free(expected);
}

// ---- Long texts -----------------------------------------------------------------------------

static void assert_hash(const struct llm_tokenizer *tokenizer, const char *name, const char *text, size_t size) {
    size_t hashes_size = 0;
    char *hashes = read_text(FIXTURES "/hashes.txt", &hashes_size);
    char *rest = NULL;
    bool found = false;
    for (char *line = strtok_r(hashes, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char line_name[64];
        size_t n_bytes = 0;
        size_t n_ids = 0;
        unsigned long long expected = 0;
        assert_int_equal(sscanf(line, "%63s %zu %zu %llx", line_name, &n_bytes, &n_ids, &expected), 4);
        if (strcmp(line_name, name) != 0) continue;
        found = true;
        assert_int_equal(size, n_bytes);
        size_t n = 0;
        int32_t *ids = encode(tokenizer, text, size, false, &n);
        assert_int_equal(n, n_ids);
        uint64_t hash = 0xcbf29ce484222325u;
        for (size_t i = 0; i < n; i++) {
            for (int shift = 0; shift < 32; shift += 8) {
                hash = (hash ^ ((uint32_t)ids[i] >> shift & 0xff)) * 0x100000001b3u;
            }
        }
        assert_true(hash == expected);
        llm_free(ids);
    }
    assert_true(found);
    free(hashes);
}

static void put_code(struct strbuf *text, int32_t code) {
    char bytes[4];
    strbuf_append(text, bytes, utf8_encode(code, bytes));
}

static void every_code_point_has_tiktokens_ids(void **state) {
    struct strbuf text;
    strbuf_init(&text, SIZE_MAX);
    for (int32_t code = 0; code < 0x110000; code++) {
        if (code < 0xd800 || code > 0xdfff) put_code(&text, code);
    }
    assert_hash(*state, "code-points", text.bytes, text.size);

    strbuf_clear(&text);
    for (int32_t code = 0; code < 0xf0000; code++) {
        if ((code >= 0xd800 && code <= 0xdfff) || (code >= 0x40000 && code < 0xe0000)) continue;
        strbuf_puts(&text, "a");
        put_code(&text, code);
        strbuf_puts(&text, " ");
        put_code(&text, code);
        put_code(&text, code);
        strbuf_puts(&text, "1");
        put_code(&text, code);
        strbuf_puts(&text, "  ");
    }
    assert_hash(*state, "code-points-in-context", text.bytes, text.size);
    strbuf_release(&text);
}

static void long_runs_have_tiktokens_ids(void **state) {
    const size_t size = 1000000;
    char *text = malloc(size + 4);
    memset(text, 'a', size);
    assert_hash(*state, "million-a", text, size);
    memset(text, '\n', size);
    assert_hash(*state, "million-newlines", text, size);
    memset(text, ' ', size);
    assert_hash(*state, "million-spaces", text, size);
    // tiktoken cannot do this one: its regex engine runs out of stack. The last space belongs to the word.
    memcpy(text + size, "word", 4);
    size_t n = 0;
    int32_t *ids = encode(*state, text, size + 4, false, &n);
    assert_int_equal(n, size);
    assert_int_equal(ids[n - 2], 220);
    assert_int_equal(ids[n - 1], 1573); // " word"
    llm_free(ids);
    free(text);
}

static void twenty_megabytes_of_books_have_tiktokens_ids(void **state) {
    if (!file_exists(SHARED "/text/books.txt.xz") || system("command -v xz > /dev/null") != 0) {
        print_message("skipped: needs ../shared/data/text/books.txt.xz and the xz program\n");
        skip();
    }
    const size_t size = 20000000;
    char *text = malloc(size);
    FILE *pipe = popen("xz -dc '" SHARED "/text/books.txt.xz' 2> /dev/null", "r");
    assert_non_null(pipe);
    const size_t n = fread(text, 1, size, pipe);
    pclose(pipe);
    assert_int_equal(n, size);
    assert_hash(*state, "books", text, utf8_complete(text, size));
    free(text);
}

// ---- Bytes, special tokens, parts, threads ----------------------------------------------------

static void invalid_utf8_counts_as_symbols(void **state) {
    // Each stray byte is a symbol: it parts letters, joins symbols, and takes a space before it.
    static const struct {
        const char *text;
        const char *parts[4];
    } cases[] = {
        {"ab\xff"
         "cd",
         {"ab", "\xff", "cd"}},
        {"!\xff\xfe!", {"!\xff\xfe!"}},
        {"a \x80z", {"a", " \x80", "z"}},
        {"\xe4\xb8", {"\xe4\xb8"}},                     // a character cut off
        {"\xc0\xaf", {"\xc0\xaf"}},                     // overlong
        {"x\xed\xa0\x80y", {"x", "\xed\xa0\x80", "y"}}, // a surrogate
        {"\xf4\x90\x80\x80", {"\xf4\x90\x80\x80"}},     // past U+10FFFF
        {"1\xf5"
         "1",
         {"1", "\xf5", "1"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t expected[64];
        size_t n = 0;
        for (int p = 0; p < 4 && cases[i].parts[p] != NULL; p++) {
            size_t n_part = 0;
            int32_t *ids = encode(*state, cases[i].parts[p], strlen(cases[i].parts[p]), false, &n_part);
            memcpy(expected + n, ids, n_part * sizeof *ids);
            n += n_part;
            llm_free(ids);
        }
        assert_ids(*state, cases[i].text, strlen(cases[i].text), false, expected, n);
    }
}

static void end_of_text_is_text_unless_allowed(void **state) {
    static const char text[] = "a<|endoftext|>b";
    assert_ids(*state, text, strlen(text), true, (const int32_t[]){64, 50256, 65}, 3);
    assert_ids(*state, text, strlen(text), false, (const int32_t[]){64, 27, 91, 437, 1659, 5239, 91, 29, 65}, 9);
    assert_int_equal(llm_tokenizer_eot(*state), 50256);
    assert_int_equal(llm_tokenizer_vocab_size(*state), 50257);
}

static void tokens_and_ids_out_of_range(void **state) {
    size_t size = 0;
    const char *token = llm_tokenizer_token(*state, 995, &size);
    assert_int_equal(size, 6);
    assert_memory_equal(token, " world", 6);
    assert_null(llm_tokenizer_token(*state, -1, &size));
    assert_null(llm_tokenizer_token(*state, 50257, &size));
    char *text = NULL;
    struct llm_error err = {0};
    assert_false(llm_tokenizer_decode(*state, (const int32_t[]){1, 50257}, 2, &text, &size, &err));
    assert_string_equal(err.text, "there is no token 50257: ids run from 0 to 50256");
    assert_true(llm_tokenizer_decode(*state, NULL, 0, &text, &size, NULL));
    assert_int_equal(size, 0);
    llm_free(text);
}

// Texts of pieces that matter at a cut.
static void random_text(struct random *random, struct strbuf *text) {
    static const char *const parts[] = {"a",
                                        "word",
                                        " ",
                                        "  ",
                                        "\n",
                                        "\t",
                                        "'s",
                                        "'",
                                        "12",
                                        "!?",
                                        "\xc3\xa9",
                                        "\xff",
                                        "\xe3\x80\x80",
                                        "\xc2\xa0",
                                        "<|endoftext|>",
                                        "\r\n",
                                        ".",
                                        "\xe4\xb8\xad"};
    strbuf_clear(text);
    const uint32_t n = random_u32(random) % 60;
    for (uint32_t i = 0; i < n; i++) strbuf_puts(text, parts[random_u32(random) % (sizeof parts / sizeof *parts)]);
}

static void parts_give_the_ids_of_the_whole(void **state) {
    struct random random;
    random_init(&random, 7);
    struct strbuf text;
    strbuf_init(&text, 1 << 20);
    int n_cut = 0;
    for (int round = 0; round < 20000; round++) {
        random_text(&random, &text);
        if (text.size == 0) continue;
        // Only a prefix is there when the cut is chosen.
        const size_t seen = 1 + random_u32(&random) % text.size;
        const size_t cut = llm_tokenizer_cut(text.bytes, seen);
        assert_in_range(cut, 0, seen - 1);
        if (cut == 0) continue;
        n_cut++;
        size_t n_whole = 0, n_first = 0, n_second = 0;
        int32_t *whole = encode(*state, text.bytes, text.size, true, &n_whole);
        int32_t *first = encode(*state, text.bytes, cut, true, &n_first);
        int32_t *second = encode(*state, text.bytes + cut, text.size - cut, true, &n_second);
        assert_int_equal(n_first + n_second, n_whole);
        assert_memory_equal(whole, first, n_first * sizeof *whole);
        if (n_second > 0) assert_memory_equal(whole + n_first, second, n_second * sizeof *whole);
        llm_free(whole);
        llm_free(first);
        llm_free(second);
    }
    assert_in_range(n_cut, 5000, 20000);
    assert_int_equal(llm_tokenizer_cut("", 0), 0);
    strbuf_release(&text);
}

// Words one by one meet a cache that begins with a few lines and grows several times, with what is in it; all in one
// text meet a large one. Words around the longest that is cached, of letters that differ in one bit, and symbols that
// differ in the zeros at their end, would be taken for each other first.
static void the_cache_changes_nothing(void **state) {
    struct random random;
    random_init(&random, 11);
    struct strbuf text;
    strbuf_init(&text, 1 << 20);
    int32_t *expected = malloc((1 << 20) * sizeof *expected);
    size_t n_expected = 0;
    for (int i = 0; i < 20000; i++) {
        const uint32_t kind = random_u32(&random) % 3;
        char word[24] = " international"; // 14 bytes, one id: with a few letters more, few enough ids to be cached
        size_t size = kind == 0 ? strlen(word) : 1;
        for (uint32_t n_more = 1 + random_u32(&random) % 3; n_more > 0; n_more--) {
            word[size++] = kind == 1 ? "!\0\0"[random_u32(&random) % 3] : "aqes"[random_u32(&random) % 4];
        }
        size_t n = 0;
        int32_t *ids = encode(*state, word, size, false, &n);
        memcpy(expected + n_expected, ids, n * sizeof *ids);
        n_expected += n;
        llm_free(ids);
        strbuf_append(&text, word, size);
    }
    assert_ids(*state, text.bytes, text.size, false, expected, n_expected);
    free(expected);
    strbuf_release(&text);
}

// More different words than any cache holds, several times over, so that it begins anew: all in one text, on one thread
// and on three that share a cache, and in parts that new tokenizers see, with next to nothing in theirs.
static void a_full_cache_changes_nothing(void **state) {
    enum {
        WORDS = 1500000,
        WORD = 7, // bytes
        SIZE = WORDS * WORD,
        PART = SIZE / 50
    };
    (void)state;
    struct random random;
    random_init(&random, 12);
    char *text = malloc(SIZE);
    assert_non_null(text);
    for (size_t i = 0; i < SIZE; i++) text[i] = i % WORD == 0 ? ' ' : (char)('a' + random_u32(&random) % 26);
    struct llm_error err = {0};
    struct llm_tokenizer *tokenizers[2] = {tokenizer_new_gpt2(NULL), tokenizer_new_gpt2(NULL)};
    int32_t *ids[2] = {NULL};
    size_t n[2] = {0};
    for (int i = 0; i < 2; i++) {
        const int n_threads = i == 0 ? 1 : 3;
        assert_true(llm_tokenizer_encode_parallel(tokenizers[i], text, SIZE, false, n_threads, &ids[i], &n[i], &err));
        llm_tokenizer_free(tokenizers[i]);
    }
    assert_int_equal(n[1], n[0]);
    assert_memory_equal(ids[1], ids[0], n[0] * sizeof *ids[0]);
    size_t at = 0;
    for (size_t begin = 0; begin < SIZE; begin += PART) {
        struct llm_tokenizer *tokenizer = tokenizer_new_gpt2(NULL);
        size_t n_part = 0;
        int32_t *part = encode(tokenizer, text + begin, PART, false, &n_part);
        assert_true(at + n_part <= n[0]);
        assert_memory_equal(part, ids[0] + at, n_part * sizeof *part);
        at += n_part;
        llm_free(part);
        llm_tokenizer_free(tokenizer);
    }
    assert_int_equal(at, n[0]);
    llm_free(ids[0]);
    llm_free(ids[1]);
    free(text);
}

static void *encode_many(void *tokenizer) {
    for (int i = 0; i < 200; i++) {
        int32_t *ids = NULL;
        size_t n = 0;
        if (!llm_tokenizer_encode(tokenizer, "Hello world, hello worlds", 25, false, &ids, &n, NULL)) return NULL;
        const bool ok = n == 5 && ids[0] == 15496 && ids[1] == 995;
        llm_free(ids);
        if (!ok) return NULL;
    }
    return tokenizer;
}

static void threads_share_a_tokenizer(void **state) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, encode_many, *state), 0);
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_non_null(result);
    }
}

// The same ids for any number of threads, with special tokens in the text and a stretch that cannot be cut, whether
// they know its words or learn them side by side.
static void threads_give_the_ids_of_one(void **state) {
    const struct llm_tokenizer *tokenizer = *state;
    enum {
        SIZE = 3000000
    };
    char *text = malloc(SIZE);
    assert_non_null(text);
    uint32_t seed = 1;
    for (size_t i = 0; i < SIZE; i++) {
        seed = seed * 1664525 + 1013904223;
        text[i] = "etaoinshr  ,.\n'0"[seed >> 28];
    }
    memset(text + 1000000, 'x', 700000);
    memcpy(text + 5000, "<|endoftext|>", 13);
    memcpy(text + 2500000, "<|endoftext|>", 13);
    struct llm_error err = {0};
    int32_t *whole = NULL, *ids = NULL;
    size_t n_whole = 0, n = 0;
    assert_true(llm_tokenizer_encode(tokenizer, text, SIZE, true, &whole, &n_whole, &err));
    for (int n_threads = 0; n_threads <= 5; n_threads++) {
        struct llm_tokenizer *learning = tokenizer_new_gpt2(NULL);
        for (int round = 0; round < 3; round++) {
            const struct llm_tokenizer *with = round == 0 ? tokenizer : learning;
            assert_true(llm_tokenizer_encode_parallel(with, text, SIZE, true, n_threads, &ids, &n, &err));
            assert_int_equal(n, n_whole);
            assert_memory_equal(ids, whole, n * sizeof *ids);
            llm_free(ids);
        }
        llm_tokenizer_free(learning);
    }
    assert_false(llm_tokenizer_encode_parallel(tokenizer, text, SIZE, true, -1, &ids, &n, &err));
    assert_int_equal(err.code, LLM_ERROR_ARGUMENT);
    llm_free(whole);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases_have_tiktokens_ids),
        cmocka_unit_test(a_small_vocabulary_has_hugging_faces_ids),
        cmocka_unit_test(the_46_shared_cases_have_their_ids),
        cmocka_unit_test(every_code_point_has_tiktokens_ids),
        cmocka_unit_test(long_runs_have_tiktokens_ids),
        cmocka_unit_test(twenty_megabytes_of_books_have_tiktokens_ids),
        cmocka_unit_test(invalid_utf8_counts_as_symbols),
        cmocka_unit_test(end_of_text_is_text_unless_allowed),
        cmocka_unit_test(tokens_and_ids_out_of_range),
        cmocka_unit_test(parts_give_the_ids_of_the_whole),
        cmocka_unit_test(the_cache_changes_nothing),
        cmocka_unit_test(a_full_cache_changes_nothing),
        cmocka_unit_test(threads_share_a_tokenizer),
        cmocka_unit_test(threads_give_the_ids_of_one),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
