// test_tokenizer_read.c: good vocabularies in every layout, read and written. (Bad ones: test_tokenizer_bad.c.)
//
// The files are those of tests/fixtures/tokenizer/small, some with one string replaced.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "tokenizer/core.h"
#include "tokenizer/read.h"
#include "tokenizer/tokenizer.h"

#define SMALL MY_LLM_SOURCE_DIR "/tests/fixtures/tokenizer/small"
#define SHARED MY_LLM_SOURCE_DIR "/../shared/data"

struct small {
    char *vocab, *merges, *json, *strings; // NUL-terminated
    char directory[64];                    // empty, for the test
};

static char *read_text(const char *path) {
    char *text = NULL;
    size_t size = 0;
    struct llm_error err = {0};
    if (!file_read(path, 1 << 20, &text, &size, &err)) fail_msg("%s", err.text);
    return text;
}

static int setup(void **state) {
    struct small *small = calloc(1, sizeof *small);
    small->vocab = read_text(SMALL "/vocab.json");
    small->merges = read_text(SMALL "/merges.txt");
    small->json = read_text(SMALL "/tokenizer.json");
    small->strings = read_text(SMALL "/strings.json");
    strcpy(small->directory, "/tmp/my-llm-vocabulary-XXXXXX");
    *state = small;
    return mkdtemp(small->directory) != NULL ? 0 : -1;
}

static int teardown(void **state) {
    struct small *small = *state;
    directory_remove(small->directory);
    free(small->vocab);
    free(small->merges);
    free(small->json);
    free(small->strings);
    free(small);
    return 0;
}

// `text` with the first `old` (which must be there) replaced; NULL for `old` appends.
static char *replaced(const char *text, const char *old, const char *new) {
    const char *at = old != NULL ? strstr(text, old) : text + strlen(text);
    if (at == NULL) fail_msg("the fixture does not hold %s", old);
    struct strbuf result;
    strbuf_init(&result, 1 << 20);
    strbuf_append(&result, text, (size_t)(at - text));
    strbuf_puts(&result, new);
    strbuf_puts(&result, at + (old != NULL ? strlen(old) : 0));
    return strbuf_take(&result);
}

static void put_file(const struct small *small, const char *name, const char *text) {
    char *path = path_join(small->directory, name);
    assert_true(file_write(path, text, strlen(text), NULL));
    free(path);
}

// Both have the same tokens, the same merges and the same special token.
static void assert_same(const struct llm_tokenizer *a, const struct llm_tokenizer *b) {
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_int_equal(a->n_merges, b->n_merges);
    assert_int_equal(a->eot, b->eot);
    assert_memory_equal(a->starts, b->starts, ((size_t)a->n_tokens + 1) * sizeof *a->starts);
    assert_memory_equal(a->bytes, b->bytes, a->starts[a->n_tokens]);
    assert_memory_equal(a->joined, b->joined, (size_t)a->n_merges * sizeof *a->joined);
    assert_memory_equal(a->byte_ids, b->byte_ids, sizeof a->byte_ids);
    int32_t(*merges_a)[2] = tokenizer_list_merges(a, NULL);
    int32_t(*merges_b)[2] = tokenizer_list_merges(b, NULL);
    assert_memory_equal(merges_a, merges_b, (size_t)a->n_merges * sizeof *merges_a);
    free(merges_a);
    free(merges_b);
}

static struct llm_tokenizer *parse_pair(const char *vocab, const char *merges) {
    struct llm_error err = {0};
    struct llm_tokenizer *tokenizer = tokenizer_parse_pair(vocab, strlen(vocab), merges, strlen(merges), &err);
    if (tokenizer == NULL) fail_msg("%s", err.text);
    return tokenizer;
}

// ---- Good files -------------------------------------------------------------------------------

static void all_layouts_end_alike(void **state) {
    const struct small *small = *state;
    struct llm_tokenizer *pair = parse_pair(small->vocab, small->merges);
    assert_int_equal(pair->n_tokens, 320);
    assert_int_equal(pair->n_merges, 63);
    assert_int_equal(pair->eot, 0);
    struct llm_tokenizer *json = tokenizer_parse_json(small->json, strlen(small->json), NULL);
    struct llm_tokenizer *strings = tokenizer_parse_json(small->strings, strlen(small->strings), NULL);
    assert_same(pair, json);
    assert_same(pair, strings);
    llm_tokenizer_free(json);
    llm_tokenizer_free(strings);

    put_file(small, "encoder.json", small->vocab);
    put_file(small, "vocab.bpe", small->merges);
    struct llm_tokenizer *opened = tokenizer_open_directory(small->directory, NULL);
    assert_same(pair, opened);
    llm_tokenizer_free(opened);
    llm_tokenizer_free(pair);
}

static void line_ends_and_the_version_line_do_not_matter(void **state) {
    const struct small *small = *state;
    struct llm_tokenizer *plain = parse_pair(small->vocab, small->merges);
    struct strbuf crlf;
    strbuf_init(&crlf, 1 << 20);
    for (const char *at = small->merges; *at != '\0'; at++) {
        if (*at == '\n') strbuf_puts(&crlf, "\r");
        strbuf_append(&crlf, at, 1);
    }
    char *no_version = replaced(small->merges, "#version: 0.2\n", "");
    char *empty_lines = replaced(small->merges, "0.2\n", "0.2\n\n\n");
    char *no_end = strdup(small->merges);
    no_end[strlen(no_end) - 1] = '\0';
    const char *const variants[] = {crlf.bytes, no_version, empty_lines, no_end};
    for (int i = 0; i < 4; i++) {
        struct llm_tokenizer *variant = parse_pair(small->vocab, variants[i]);
        assert_same(plain, variant);
        llm_tokenizer_free(variant);
    }
    free(no_version);
    free(empty_lines);
    free(no_end);
    strbuf_release(&crlf);
    llm_tokenizer_free(plain);
}

static void added_tokens_have_ids(void **state) {
    const struct small *small = *state;
    char *text =
        replaced(small->json, "\"special\": true}",
                 "\"special\": true}, {\"id\": 320, \"content\": \"<pad>\"}, {\"id\": 321, \"content\": \" é\"}");
    struct llm_error err = {0};
    struct llm_tokenizer *tokenizer = tokenizer_parse_json(text, strlen(text), &err);
    if (tokenizer == NULL) fail_msg("%s", err.text);
    assert_int_equal(llm_tokenizer_vocab_size(tokenizer), 322);
    size_t size = 0;
    assert_memory_equal(llm_tokenizer_token(tokenizer, 320, &size), "<pad>", 5);
    assert_int_equal(size, 5);
    assert_memory_equal(llm_tokenizer_token(tokenizer, 321, &size), " é", 3);
    assert_int_equal(size, 3);
    llm_tokenizer_free(tokenizer);
    free(text);
}

static void what_asks_for_nothing_is_accepted(void **state) {
    const struct small *small = *state;
    static const char *const edits[][2] = {
        {"\"dropout\": null", "\"dropout\": 0.0"},
        {"\"unk_token\": null", "\"unk_token\": \"<|endoftext|>\""},
        {"\"continuing_subword_prefix\": \"\"", "\"continuing_subword_prefix\": null"},
        {"\"type\": \"BPE\",", ""},
        {"\"truncation\": null", "\"truncation\": {\"max_length\": 5}"},
        {", \"use_regex\": true}", "}"},
        {"\"normalizer\": null,", "\"normalizer\": null, \"new_thing\": false,"},
        {"\"post_processor\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": false, "
         "\"use_regex\": true}",
         "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [], \"pair\": [], \"special_tokens\": "
         "{}}"},
    };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        char *text = replaced(small->json, edits[i][0], edits[i][1]);
        struct llm_error err = {0};
        struct llm_tokenizer *tokenizer = tokenizer_parse_json(text, strlen(text), &err);
        if (tokenizer == NULL) fail_msg("%s: %s", edits[i][1], err.text);
        llm_tokenizer_free(tokenizer);
        free(text);
    }
}

// Reads both files, and says whether they would be recognised without reading.
static struct llm_tokenizer *parse_files(const char *vocab_path, const char *merges_path, bool *known) {
    char *files[2];
    size_t sizes[2];
    struct llm_error err = {0};
    assert_true(file_read(vocab_path, 1 << 24, &files[0], &sizes[0], NULL));
    assert_true(file_read(merges_path, 1 << 24, &files[1], &sizes[1], NULL));
    struct llm_tokenizer *tokenizer = tokenizer_parse_pair(files[0], sizes[0], files[1], sizes[1], &err);
    if (tokenizer == NULL) fail_msg("%s", err.text);
    const struct read_file vocab = {"vocabulary", files[0], sizes[0]};
    const struct read_file merges = {"merges", files[1], sizes[1]};
    *known = known_gpt2_pair(&vocab, &merges);
    files[1][sizes[1] / 2]++; // same size, one byte different
    assert_false(known_gpt2_pair(&vocab, &merges));
    free(files[0]);
    free(files[1]);
    return tokenizer;
}

static void openais_own_files_are_the_built_in_vocabulary(void **state) {
    (void)state;
    if (!directory_exists(SHARED "/gpt2")) {
        print_message("skipped: needs ../shared/data/gpt2\n");
        skip();
    }
    bool known = false;
    struct llm_tokenizer *built_in = tokenizer_new_gpt2(NULL);
    struct llm_tokenizer *read = parse_files(SHARED "/gpt2/encoder.json", SHARED "/gpt2/vocab.bpe", &known);
    assert_true(known);
    assert_same(built_in, read);
    llm_tokenizer_free(read);
    read = tokenizer_open_directory(SHARED "/gpt2", NULL);
    assert_non_null(read);
    assert_same(built_in, read);
    llm_tokenizer_free(read);
    llm_tokenizer_free(built_in);
}

static void saving_and_reading_is_the_same(void **state) {
    const struct small *small = *state;
    struct llm_tokenizer *tokenizer = parse_pair(small->vocab, small->merges);
    struct llm_error err = {0};
    assert_true(tokenizer_save(tokenizer, small->directory, &err));
    static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer.json"};
    const char *const expected[] = {small->vocab, small->merges, small->json}; // tokenizers opens these
    for (int i = 0; i < 3; i++) {
        char *path = path_join(small->directory, names[i]);
        char *text = read_text(path);
        assert_string_equal(text, expected[i]);
        free(text);
        free(path);
    }
    llm_tokenizer_free(tokenizer);
}

// The two lists of GGUF files: known whole, and read token by token when a merge is missing.
static void gpt2s_lists_are_written_and_known_again(void **state) {
    (void)state;
    struct llm_tokenizer *gpt2 = tokenizer_new_gpt2(NULL);
    struct strbuf tokens, merges;
    int n_merges = 0;
    struct llm_error err = {0};
    assert_true(tokenizer_write_lists(gpt2, &tokens, &merges, &n_merges, &err));
    assert_int_equal(n_merges, GPT2_MERGES);
    const struct read_file token_file = {"tokens", tokens.bytes, tokens.size};
    struct read_file merge_file = {"merges", merges.bytes, merges.size};
    assert_true(known_gpt2_lists(&token_file, &merge_file));
    struct vocabulary_lists lists = {
        .tokens = {(const uint8_t *)tokens.bytes, tokens.size, (uint64_t)gpt2->n_tokens},
        .merges = {(const uint8_t *)merges.bytes, merges.size, (uint64_t)n_merges},
    };
    struct llm_tokenizer *read = tokenizer_parse_lists(&lists, &err);
    if (read == NULL) fail_msg("%s", err.text);
    assert_same(gpt2, read);
    llm_tokenizer_free(read);
    const size_t last = 8 + strlen("\xc4\xa0g azed"); // "Ġg azed"
    merge_file.size = lists.merges.size -= last;
    lists.merges.n--;
    assert_false(known_gpt2_lists(&token_file, &merge_file));
    read = tokenizer_parse_lists(&lists, &err);
    if (read == NULL) fail_msg("%s", err.text);
    assert_int_equal(read->n_tokens, gpt2->n_tokens);
    assert_int_equal(read->n_merges, gpt2->n_merges - 1);
    assert_int_equal(read->eot, gpt2->eot);
    assert_memory_equal(read->starts, gpt2->starts, ((size_t)gpt2->n_tokens + 1) * sizeof *gpt2->starts);
    assert_memory_equal(read->bytes, gpt2->bytes, gpt2->starts[gpt2->n_tokens]);
    llm_tokenizer_free(read);
    strbuf_release(&tokens);
    strbuf_release(&merges);
    llm_tokenizer_free(gpt2);
}

// Recognised by their sums, and yet what the readers make of them.
static void gpt2s_vocabulary_is_saved_and_known_again(void **state) {
    const struct small *small = *state;
    struct llm_tokenizer *gpt2 = tokenizer_new_gpt2(NULL);
    assert_true(tokenizer_save(gpt2, small->directory, NULL));
    char *vocab = path_join(small->directory, "vocab.json");
    char *merges = path_join(small->directory, "merges.txt");
    char *json = path_join(small->directory, "tokenizer.json");
    bool known = false;
    struct llm_tokenizer *pair = parse_files(vocab, merges, &known);
    assert_true(known);
    assert_same(gpt2, pair);
    llm_tokenizer_free(pair);

    char *text = NULL;
    size_t size = 0;
    assert_true(file_read(json, 1 << 24, &text, &size, NULL));
    struct llm_tokenizer *parsed = tokenizer_parse_json(text, size, NULL);
    assert_same(gpt2, parsed);
    llm_tokenizer_free(parsed);
    assert_true(known_gpt2_json(&(struct read_file){json, text, size}));
    free(text);

    for (int layout = 0; layout < 2; layout++) { // tokenizer.json comes first, then the other two
        struct llm_tokenizer *opened = tokenizer_open_directory(small->directory, NULL);
        assert_non_null(opened);
        assert_same(gpt2, opened);
        llm_tokenizer_free(opened);
        if (layout == 0) assert_int_equal(remove(json), 0);
    }
    free(vocab);
    free(merges);
    free(json);
    llm_tokenizer_free(gpt2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2s_lists_are_written_and_known_again),
        cmocka_unit_test_setup_teardown(all_layouts_end_alike, setup, teardown),
        cmocka_unit_test_setup_teardown(line_ends_and_the_version_line_do_not_matter, setup, teardown),
        cmocka_unit_test_setup_teardown(added_tokens_have_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(what_asks_for_nothing_is_accepted, setup, teardown),
        cmocka_unit_test_setup_teardown(openais_own_files_are_the_built_in_vocabulary, setup, teardown),
        cmocka_unit_test_setup_teardown(saving_and_reading_is_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(gpt2s_vocabulary_is_saved_and_known_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
