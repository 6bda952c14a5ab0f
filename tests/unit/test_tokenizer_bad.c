// test_tokenizer_bad.c: bad vocabularies and the one sentence that each gives.
//
// Bad files are made from the good ones of tests/fixtures/tokenizer/small, each by replacing one string.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/random.h"
#include "base/str.h"
#include "tokenizer/core.h"

#define SMALL MY_LLM_SOURCE_DIR "/tests/fixtures/tokenizer/small"

struct bad {
    const char *old, *new; // NULL for `old`: the whole file is `new`
    const char *sentence;
};

static char *vocab, *merges, *json; // NUL-terminated

static char *read_text(const char *path) {
    char *text = NULL;
    size_t size = 0;
    struct llm_error err = {0};
    if (!file_read(path, 1 << 20, &text, &size, &err)) fail_msg("%s", err.text);
    return text;
}

static int setup(void **state) {
    (void)state;
    vocab = read_text(SMALL "/vocab.json");
    merges = read_text(SMALL "/merges.txt");
    json = read_text(SMALL "/tokenizer.json");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    free(vocab);
    free(merges);
    free(json);
    return 0;
}

static char *made(const char *text, const struct bad *bad) {
    if (bad->old == NULL) return strdup(bad->new);
    const char *at = strstr(text, bad->old);
    if (at == NULL) fail_msg("the fixture does not hold %s", bad->old);
    struct strbuf result;
    strbuf_init(&result, 1 << 20);
    strbuf_append(&result, text, (size_t)(at - text));
    strbuf_puts(&result, bad->new);
    strbuf_puts(&result, at + strlen(bad->old));
    return strbuf_take(&result);
}

static void assert_refused(struct llm_tokenizer *tokenizer, const struct llm_error *err, const struct bad *bad) {
    assert_null(tokenizer);
    if (strcmp(err->text, bad->sentence) != 0) {
        fail_msg("%s\ngave      %s\nexpected  %s", bad->new, err->text, bad->sentence);
    }
}

static void check_vocab(const struct bad *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct llm_error err = {0};
        char *text = made(vocab, &cases[i]);
        assert_refused(tokenizer_parse_pair(text, strlen(text), merges, strlen(merges), &err), &err, &cases[i]);
        free(text);
    }
}

static void check_json(const struct bad *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct llm_error err = {0};
        char *text = made(json, &cases[i]);
        assert_refused(tokenizer_parse_json(text, strlen(text), &err), &err, &cases[i]);
        free(text);
    }
}

// ---- vocab.json + merges.txt ------------------------------------------------------------------

static void ids_that_are_not_whole(void **state) {
    (void)state;
    static const struct bad cases[] = {
        {"\"!\": 1,", "\"!\": 320,",
         "vocabulary: token \"!\" has id 320, but 320 tokens must have the ids 0 to 319, without gaps"},
        {"\"!\": 1,", "",
         "vocabulary: token \"re\" has id 319, but 319 tokens must have the ids 0 to 318, without gaps"},
        {"\"!\": 1,", "\"!\": 2,", "vocabulary: tokens \"!\" and \"\"\" have the same id, 2"},
        {"\"!\": 1,", "\"!\": -1,",
         "vocabulary: token \"!\" has id -1, but 320 tokens must have the ids 0 to 319, without gaps"},
        {"\"!\": 1,", "\"!\": 1.0,", "vocabulary: the id of token \"!\" is not an integer"},
        {"\"!\": 1,", "\"!\": \"1\",", "vocabulary: the id of token \"!\" is not an integer"},
        {"\"!\": 1,", "\"!\": null,", "vocabulary: the id of token \"!\" is not an integer"},
        {"\"!\": 1,", "\"…\": 1,", "vocabulary: token \"…\" has a character that byte-level BPE does not use"},
        {"\"!\": 1,", "\"! !\": 1,", "vocabulary: token \"! !\" has a character that byte-level BPE does not use"},
        {"\"!\": 1,", "\"!!\": 1,", "vocabulary: no token for byte 0x21 (\"!\"): byte-level BPE needs all 256"},
        {NULL, "{}", "vocabulary: 0 tokens, 1 to 2097151 were expected"},
        {NULL, "[]", "vocabulary: an object with the id of each token was expected"},
        {NULL, "null", "vocabulary: an object with the id of each token was expected"},
    };
    check_vocab(cases, sizeof cases / sizeof *cases);
}

static void json_that_is_none(void **state) {
    (void)state;
    static const struct bad cases[] = {
        {"\"!\": 1,", "\"!\": 99999999999999999999,",
         "vocabulary: not valid JSON: line 1, column 46: too big integer near '99999999999999999999'"},
        {"\"!\": 1,", "\"!\": 1e400,",
         "vocabulary: not valid JSON: line 1, column 31: real number overflow near '1e400'"},
        {"\"!\": 1,", "\"!\": NaN,", "vocabulary: not valid JSON: line 1, column 29: invalid token near 'NaN'"},
        {"\"!\": 1,", "\"!\": 1, \"!\": 1,",
         "vocabulary: not valid JSON: line 1, column 32: duplicate object key near '\"!\"'"},
        {"\"!\": 1,", "\"\\ud800\": 1,",
         "vocabulary: not valid JSON: line 1, column 29: invalid Unicode '\\uD800' near '\"\\ud800\"'"},
        {"\"!\": 1,", "\"\\u0000\": 1,",
         "vocabulary: not valid JSON: line 1, column 29: NUL byte in object key not supported near '\"\\u0000\"'"},
        {"\"!\": 1,", "\"\xc0\xaf\": 1,",
         "vocabulary: not valid JSON: line 1, column 22: unable to decode byte 0xc0 near '\"'"},
        {"\"re\": 319}", "\"re\": 319,}",
         "vocabulary: not valid JSON: line 1, column 3380: string or '}' expected near '}'"},
        {"\"re\": 319}", "\"re\": 319} x",
         "vocabulary: not valid JSON: line 1, column 3381: end of file expected near 'x'"},
        {NULL, "", "vocabulary: not valid JSON: line 1, column 0: unexpected token near end of file"},
        {NULL, "\xef\xbb\xbf{}",
         "vocabulary: begins with a byte order mark, which JSON does not allow; save it as plain UTF-8"},
    };
    check_vocab(cases, sizeof cases / sizeof *cases);
}

static void nesting_has_an_end(void **state) {
    (void)state;
    char deep[20001];
    memset(deep, '[', 10000);
    memset(deep + 10000, ']', 10000);
    deep[20000] = '\0';
    const struct bad in_vocab = {
        NULL, deep, "vocabulary: not valid JSON: line 1, column 2049: maximum parsing depth reached near '['"};
    check_vocab(&in_vocab, 1);
    const struct bad in_json = {NULL, deep,
                                "not valid JSON: line 1, column 2049: maximum parsing depth reached near '['"};
    check_json(&in_json, 1);
}

static void merges_that_cannot_be(void **state) {
    (void)state;
    static const struct bad cases[] = {
        {"b b\n", "b zq\n", "merges: line 2: the merge names \"zq\", which is not in the vocabulary"},
        {"b b\n", "zq b\n", "merges: line 2: the merge names \"zq\", which is not in the vocabulary"},
        {"b b\n", "b z\n", "merges: line 2: the merge gives \"bz\", which is not in the vocabulary"},
        {"b b\n", "bb\n", "merges: line 2: two tokens with one space between them were expected, not \"bb\""},
        {"b b\n", "b b b\n", "merges: line 2: two tokens with one space between them were expected, not \"b b b\""},
        {"b b\n", "b  b\n", "merges: line 2: two tokens with one space between them were expected, not \"b  b\""},
        {"b b\n", " b\n", "merges: line 2: two tokens with one space between them were expected, not \" b\""},
        {"b b\n", "b \n", "merges: line 2: two tokens with one space between them were expected, not \"b \""},
        {"b b\n", "b\tb\n", "merges: line 2: two tokens with one space between them were expected, not \"b\\x09b\""},
        {"b b\n", "b \xff\n", "merges: line 2: the merge names \"\\xff\", which is not in the vocabulary"},
        {"b b\n", "b b\nb b\n", "merges: merges 1 and 2 join the same pair, tokens 66 and 66"},
        {NULL, "#version: 0.2\n#version: 0.2\n",
         "merges: line 2: the merge names \"#version:\", which is not in the vocabulary"},
        {NULL, "{\"a\": 1}", "merges: line 1: the merge names \"{\"a\":\", which is not in the vocabulary"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct llm_error err = {0};
        char *text = made(merges, &cases[i]);
        assert_refused(tokenizer_parse_pair(vocab, strlen(vocab), text, strlen(text), &err), &err, &cases[i]);
        free(text);
    }
    // A NUL is a byte like any other: not a spelling.
    struct llm_error err = {0};
    assert_null(tokenizer_parse_pair(vocab, strlen(vocab), "b b\0", 4, &err));
    assert_string_equal(err.text, "merges: line 1: the merge names \"b\\x00\", which is not in the vocabulary");
}

// ---- tokenizer.json ---------------------------------------------------------------------------

static void pipelines_that_are_not_gpt2s(void **state) {
    (void)state;
    static const struct bad cases[] = {
        {"\"normalizer\": null", "\"normalizer\": {\"type\": \"NFC\"}",
         "normalizer is {\"type\":\"NFC\"}, which my-llm does not do"},
        {"{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim", "{\"type\": \"Metaspace\", \"trim",
         "pre_tokenizer is {\"type\":\"Metaspace\",\"trim_offsets\":true,\"use_regex\":true}, which my-llm does not "
         "do"},
        {"\"add_prefix_space\": false", "\"add_prefix_space\": true",
         "pre_tokenizer: add_prefix_space is true, which my-llm does not do"},
        {"\"add_prefix_space\": false, ", "", "pre_tokenizer: add_prefix_space is missing, which my-llm does not do"},
        {"\"use_regex\": true", "\"use_regex\": false", "pre_tokenizer: use_regex is false, which my-llm does not do"},
        {NULL, "{\"pre_tokenizer\": null}", "pre_tokenizer is null, which my-llm does not do"},
        {NULL, "{\"pre_tokenizer\": 5}", "pre_tokenizer is 5, which my-llm does not do"},
        {"\"post_processor\": {\"type\": \"ByteLevel\"", "\"post_processor\": {\"type\": \"TemplateProcessing\"",
         "post_processor: \"add_prefix_space\" is true, which my-llm does not do"},
        {"\"post_processor\": {\"type\": \"ByteLevel\"",
         "\"post_processor\": {\"type\": \"TemplateProcessing\", \"special_tokens\": {\"[CLS]\": {}}",
         "post_processor: special_tokens is {\"[CLS]\":{}}, which my-llm does not do"},
        {"\"post_processor\": {\"type\": \"ByteLevel\"", "\"post_processor\": {\"type\": \"BertProcessing\"",
         "post_processor is "
         "{\"type\":\"BertProcessing\",\"add_prefix_space\":true,\"trim_offsets\":false,\"use_regex..., which my-llm "
         "does not do"},
        {"\"decoder\": {\"type\": \"ByteLevel\"", "\"decoder\": {\"type\": \"WordPiece\"",
         "decoder is {\"type\":\"WordPiece\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true..., "
         "which my-llm does not do"},
        {"\"type\": \"BPE\"", "\"type\": \"Unigram\"", "model: type is \"Unigram\", which my-llm does not do"},
        {"\"type\": \"BPE\"", "\"type\": 3", "model: type is 3, which my-llm does not do"},
        {"\"dropout\": null", "\"dropout\": 0.1", "model: dropout is 0.1, which my-llm does not do"},
        {"\"continuing_subword_prefix\": \"\"", "\"continuing_subword_prefix\": \"##\"",
         "model: continuing_subword_prefix is \"##\", which my-llm does not do"},
        {"\"end_of_word_suffix\": \"\"", "\"end_of_word_suffix\": \"</w>\"",
         "model: end_of_word_suffix is \"</w>\", which my-llm does not do"},
        {"\"byte_fallback\": false", "\"byte_fallback\": true",
         "model: byte_fallback is true, which my-llm does not do"},
        {"\"ignore_merges\": false", "\"ignore_merges\": true",
         "model: ignore_merges is true, which my-llm does not do"},
        {"\"fuse_unk\": false", "\"new_thing\": 1", "model: \"new_thing\" is 1, which my-llm does not do"},
        {"\"normalizer\": null", "\"new_thing\": \"x\"", "\"new_thing\" is \"x\", which my-llm does not do"},
        {"\"lstrip\": false", "\"lstrip\": true", "added_tokens: entry 1: lstrip is true, which my-llm does not do"},
    };
    check_json(cases, sizeof cases / sizeof *cases);
}

#define PRE_TOKENIZER "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}"

static void tokenizer_json_that_is_damaged(void **state) {
    (void)state;
    static const struct bad cases[] = {
        {NULL, "[]", "an object was expected"},
        {NULL, "{}", "pre_tokenizer is missing, which my-llm does not do"},
        {NULL, "{" PRE_TOKENIZER "}", "model: an object was expected"},
        {NULL, "{" PRE_TOKENIZER ", \"model\": 7}", "model: an object was expected"},
        {NULL, "{" PRE_TOKENIZER ", \"model\": {}}", "model: vocab: an object with the id of each token was expected"},
        {NULL, "{" PRE_TOKENIZER ", \"model\": {\"vocab\": 7}}",
         "model: vocab: an object with the id of each token was expected"},
        {NULL, "{" PRE_TOKENIZER ", \"model\": {\"vocab\": {\"a\": 0}}}",
         "vocab: no token for byte 0x00 (\"Ā\"): byte-level BPE needs all 256"},
        {NULL, "{" PRE_TOKENIZER ", \"model\": {\"vocab\": {}}, \"added_tokens\": 5}",
         "added_tokens: an array was expected"},
        {"\"merges\": [[\"b\", \"b\"]", "\"merges\": [[\"b\"]",
         "merge 1: \"left right\" or [\"left\", \"right\"] was expected"},
        {"\"merges\": [[\"b\", \"b\"]", "\"merges\": [[\"b\", \"\"]",
         "merge 1: \"left right\" or [\"left\", \"right\"] was expected"},
        {"\"merges\": [[\"b\", \"b\"]", "\"merges\": [[\"b\", 5]",
         "merge 1: \"left right\" or [\"left\", \"right\"] was expected"},
        {"\"merges\": [[\"b\", \"b\"]", "\"merges\": [5",
         "merge 1: \"left right\" or [\"left\", \"right\"] was expected"},
        {"\"merges\": [[\"b\", \"b\"]", "\"merges\": [\"b\"",
         "merge 1: two tokens with one space between them were expected, not \"b\""},
        {"\"merges\": [[\"b\", \"b\"]", "\"merges\": [[\"b\", \"zq\"]",
         "merge 1: the merge names \"zq\", which is not in the vocabulary"},
        {"\"merges\": [[\"b\", \"b\"]", "\"merges\": [[\"b\", \"b\"], [\"b\", \"b\"]",
         "merges 1 and 2 join the same pair, tokens 66 and 66"},
        {"\"added_tokens\": [", "\"added_tokens\": [5, ",
         "added_tokens: entry 1: an object with id and content was expected"},
        {"\"added_tokens\": [", "\"added_tokens\": [{\"id\": 320, \"content\": \"\"}, ",
         "added_tokens: entry 1: an object with id and content was expected"},
        {"\"added_tokens\": [", "\"added_tokens\": [{\"id\": 320}, ",
         "added_tokens: entry 1: an object with id and content was expected"},
        {"\"added_tokens\": [", "\"added_tokens\": [{\"content\": \"x\"}, ",
         "added_tokens: entry 1: an object with id and content was expected"},
        {"\"added_tokens\": [", "\"added_tokens\": [{\"id\": -1, \"content\": \"x\"}, ",
         "added_tokens: entry 1: id is -1, a number from 0 to 2097151 was expected"},
        {"\"added_tokens\": [", "\"added_tokens\": [{\"id\": 5, \"content\": \"!\"}, ",
         "added_tokens: entry 1: the added token \"!\" has id 5, but the vocabulary gives it 1"},
        {"\"added_tokens\": [", "\"added_tokens\": [{\"id\": 5, \"content\": \"new\"}, ",
         "vocab: tokens \"%\" and \"new\" have the same id, 5"},
        {"\"added_tokens\": [", "\"added_tokens\": [{\"id\": 400, \"content\": \"new\"}, ",
         "vocab: token \"new\" has id 400, but 321 tokens must have the ids 0 to 320, without gaps"},
    };
    check_json(cases, sizeof cases / sizeof *cases);

    struct strbuf text;
    strbuf_init(&text, 1 << 20);
    strbuf_printf(&text, "{" PRE_TOKENIZER ", \"model\": {\"vocab\": %s, \"merges\": {}}}", vocab);
    const struct bad no_merges = {NULL, text.bytes, "model: merges: an array was expected"};
    check_json(&no_merges, 1);
    strbuf_release(&text);
}

// Every beginning of the file, and random damage: refused or read, but never a crash, and never without a sentence.
static void damage_anywhere_is_survived(void **state) {
    (void)state;
    const size_t size = strlen(json);
    for (size_t cut = 0; cut < size - 1; cut++) { // the last byte is a newline
        char *exact = malloc(cut + 1);
        memcpy(exact, json, cut);
        struct llm_error err = {0};
        assert_null(tokenizer_parse_json(exact, cut, &err));
        assert_true(err.code == LLM_ERROR_FORMAT && err.text[0] != '\0');
        free(exact);
    }
    struct random random;
    random_init(&random, 5);
    for (int round = 0; round < 3000; round++) {
        char *damaged = strdup(json);
        damaged[random_u32(&random) % size] = (char)random_u32(&random);
        struct llm_error err = {0};
        struct llm_tokenizer *tokenizer = tokenizer_parse_json(damaged, size, &err);
        assert_true((tokenizer == NULL) == (err.code != LLM_OK));
        llm_tokenizer_free(tokenizer);
        free(damaged);
    }
}

// ---- Arrays and directories -------------------------------------------------------------------

static void arrays_are_checked(void **state) {
    (void)state;
    char bytes[258];
    uint32_t starts[258];
    for (int i = 0; i < 258; i++) {
        bytes[i] = (char)i;
        starts[i] = (uint32_t)i;
    }
    starts[257] = 258; // the last token is the bytes 0 and 1
    struct vocabulary vocabulary = {257, bytes, starts, 0, NULL, -1};
    struct llm_error err = {0};
    struct llm_tokenizer *tokenizer = tokenizer_new(&vocabulary, &err);
    assert_non_null(tokenizer);
    llm_tokenizer_free(tokenizer);

    static const struct {
        int32_t merges[2][3];
        const char *sentence;
    } cases[] = {
        {{{0, 1, 256}, {0, 257, 1}}, "merge 2 names token 257, but there are 257 tokens"},
        {{{0, 1, 256}, {-1, 0, 1}}, "merge 2 names token -1, but there are 257 tokens"},
        {{{0, 1, 256}, {0, 2, 256}}, "merge 2 joins tokens 0 and 2, which does not give token 256"},
        {{{0, 1, 256}, {0, 1, 255}}, "merge 2 joins tokens 0 and 1, which does not give token 255"},
        {{{0, 1, 256}, {0, 1, 256}}, "merges 1 and 2 join the same pair, tokens 0 and 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        err = (struct llm_error){0};
        vocabulary.n_merges = 2;
        vocabulary.merges = cases[i].merges;
        assert_null(tokenizer_new(&vocabulary, &err));
        assert_string_equal(err.text, cases[i].sentence);
    }
    vocabulary.n_merges = 0;
    vocabulary.eot = 257;
    err = (struct llm_error){0};
    assert_null(tokenizer_new(&vocabulary, &err));
    assert_string_equal(err.text, "<|endoftext|> has id 257, but there are 257 tokens");
    vocabulary.eot = -1;
    starts[5] = 7;
    err = (struct llm_error){0};
    assert_null(tokenizer_new(&vocabulary, &err));
    assert_string_equal(err.text, "token 5 ends before it begins");
}

// Merges of which all pairs begin their search in the same few slots of the table, as a file made for it could have
// them: without a limit, n of them cost n squared steps.
static void merges_made_to_collide_are_refused(void **state) {
    (void)state;
    enum {
        N = 1000
    };
    static char bytes[256 + 2 * N];
    static uint32_t starts[256 + N + 1];
    static int32_t list[N][3];
    const struct llm_tokenizer table = {.pair_shift = 64 - 11}; // 2,048 slots, as N merges have
    int n = 0;
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        starts[i] = (uint32_t)i;
    }
    for (int32_t pair = 0; pair < 65536 && n < N; pair++) {
        if (pair_home(&table, pair_key(pair >> 8, pair & 255)) >= 40) continue;
        bytes[256 + 2 * n] = (char)(pair >> 8);
        bytes[256 + 2 * n + 1] = (char)(pair & 255);
        starts[256 + n] = (uint32_t)(256 + 2 * n);
        list[n][0] = pair >> 8;
        list[n][1] = pair & 255;
        list[n][2] = 256 + n;
        n++;
    }
    assert_int_equal(n, N);
    starts[256 + N] = sizeof bytes;
    const struct vocabulary vocabulary = {256 + N, bytes, starts, N, (const int32_t(*)[3])list, -1};
    struct llm_error err = {0};
    assert_null(tokenizer_new(&vocabulary, &err));
    assert_non_null(strstr(err.text, "merges collide in a way that only a made-up list does"));
}

static void assert_open_fails(const char *directory, enum llm_error_code code, const char *format, ...) {
    char sentence[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    struct llm_error err = {0};
    assert_null(tokenizer_open_directory(directory, &err));
    assert_string_equal(err.text, sentence);
    assert_int_equal(err.code, code);
}

static void directories_that_hold_no_vocabulary(void **state) {
    (void)state;
    char directory[] = "/tmp/my-llm-vocabulary-XXXXXX";
    assert_non_null(mkdtemp(directory));
    char path[64];
    assert_open_fails(
        directory, LLM_ERROR_NOT_FOUND,
        "%s: no vocabulary: tokenizer.json, vocab.json with merges.txt or encoder.json with vocab.bpe was "
        "expected",
        directory);
    snprintf(path, sizeof path, "%s/vocab.bpe", directory);
    file_write(path, merges, strlen(merges), NULL);
    assert_open_fails(directory, LLM_ERROR_FORMAT, "%s: is there without encoder.json, which belongs with it", path);
    snprintf(path, sizeof path, "%s/vocab.json", directory);
    file_write(path, "{}", 2, NULL);
    assert_open_fails(directory, LLM_ERROR_FORMAT, "%s: is there without merges.txt, which belongs with it", path);
    snprintf(path, sizeof path, "%s/merges.txt", directory);
    file_write(path, "zq zq", 5, NULL);
    assert_open_fails(directory, LLM_ERROR_FORMAT, "%s/vocab.json: 0 tokens, 1 to 2097151 were expected", directory);
    snprintf(path, sizeof path, "%s/vocab.json", directory);
    file_write(path, vocab, strlen(vocab), NULL);
    assert_open_fails(directory, LLM_ERROR_FORMAT,
                      "%s/merges.txt: line 1: the merge names \"zq\", which is not in the vocabulary", directory);

    snprintf(path, sizeof path, "%s/tokenizer.json", directory);
    file_write(path, "{}", 2, NULL);
    assert_open_fails(directory, LLM_ERROR_UNSUPPORTED, "%s: pre_tokenizer is missing, which my-llm does not do", path);
    assert_int_equal(truncate(path, (64 << 20) + 1), 0);
    assert_open_fails(directory, LLM_ERROR_FORMAT, "%s: has 67108865 bytes, at most 67108864 were expected", path);
    assert_int_equal(remove(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_open_fails(directory, LLM_ERROR_FORMAT, "%s: is a directory, a file was expected", path);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_open_fails(directory, LLM_ERROR_FORMAT, "%s: is not a regular file", path);
    directory_remove(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_that_are_not_whole),
        cmocka_unit_test(json_that_is_none),
        cmocka_unit_test(nesting_has_an_end),
        cmocka_unit_test(merges_that_cannot_be),
        cmocka_unit_test(pipelines_that_are_not_gpt2s),
        cmocka_unit_test(tokenizer_json_that_is_damaged),
        cmocka_unit_test(damage_anywhere_is_survived),
        cmocka_unit_test(arrays_are_checked),
        cmocka_unit_test(merges_made_to_collide_are_refused),
        cmocka_unit_test(directories_that_hold_no_vocabulary),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
