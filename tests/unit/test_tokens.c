// test_tokens.c: data/tokens.h: texts to files of ids, split as the book does and by documents; when the files are used
// again and when they are made anew; examples as the book's GPTDatasetV1 cuts them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "data/text.h"
#include "data/tokens.h"
#include "tokenizer/tokenizer.h"

#define TRAIN_FIXTURES MY_LLM_SOURCE_DIR "/tests/fixtures/train"

struct place {
    char folder[64];
    char texts[2][128];
    char cache[128], train[160], validation[160];
    struct llm_tokenizer *tokenizer; // of tests/fixtures/train
    char notices[1024];              // joined
    int n_progress, cancel_after;    // 0: never
};

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) return -1;
    strcpy(place->folder, "/tmp/my-llm-tokens-XXXXXX");
    *state = place;
    if (mkdtemp(place->folder) == NULL) return -1;
    snprintf(place->texts[0], sizeof place->texts[0], "%s/one.txt", place->folder);
    snprintf(place->texts[1], sizeof place->texts[1], "%s/two.txt", place->folder);
    snprintf(place->cache, sizeof place->cache, "%s/deep/cache", place->folder);
    snprintf(place->train, sizeof place->train, "%s/train.tokens", place->cache);
    snprintf(place->validation, sizeof place->validation, "%s/validation.tokens", place->cache);
    place->tokenizer = tokenizer_open_directory(TRAIN_FIXTURES "/tokenizer", NULL);
    return place->tokenizer == NULL ? -1 : 0;
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->folder);
    llm_tokenizer_free(place->tokenizer);
    free(place);
    return 0;
}

static void put_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void put_text(const char *path, const char *text) {
    put_file(path, text, strlen(text));
}

static char *get_file(const char *path, size_t *size) {
    char *bytes = NULL;
    assert_true(file_read(path, 1 << 28, &bytes, size, NULL));
    return bytes;
}

static bool on_progress(void *user, const struct llm_progress *progress) {
    struct place *place = user;
    assert_true(progress->done >= 0 && progress->done <= progress->total);
    place->n_progress++;
    return place->cancel_after == 0 || place->n_progress < place->cancel_after;
}

static void on_notice(void *user, const char *sentence) {
    struct place *place = user;
    strncat(place->notices, sentence, sizeof place->notices - strlen(place->notices) - 1);
}

// Options for the first n_files of the place's texts.
static struct token_options options_for(struct place *place, const char *const *files, size_t n_files) {
    return (struct token_options){
        .files = files,
        .n_files = n_files,
        .tokenizer = place->tokenizer,
        .folder = place->cache,
        .split = TOKENS_BY_DOCUMENTS,
        .validation = 0.1,
        .n_threads = 2,
        .callbacks = {.progress = on_progress, .notice = on_notice, .user = place},
    };
}

static void open_tokens(struct tokens *tokens, const struct token_options *options) {
    struct llm_error err = {0};
    if (!tokens_open(tokens, options, &err)) fail_msg("%s", err.text);
}

static void assert_fails(const struct token_options *options, const char *sentence) {
    struct llm_error err = {0};
    struct tokens tokens;
    assert_false(tokens_open(&tokens, options, &err));
    if (strstr(err.text, sentence) == NULL) fail_msg("'%s' is not in '%s'", sentence, err.text);
    tokens_close(&tokens);
}

// ---- Ids to compare with --------------------------------------------------------------------

struct ids {
    int32_t *items; // [n]
    size_t n;
    uint64_t starts[1 << 14];
    size_t n_documents;
};

static void add_text(struct ids *ids, const struct llm_tokenizer *tokenizer, const char *text, size_t size,
                     bool special) {
    int32_t *more = NULL;
    size_t n = 0;
    assert_true(llm_tokenizer_encode(tokenizer, text, size, special, &more, &n, NULL));
    ids->items = realloc(ids->items, (ids->n + n + 1) * sizeof *ids->items);
    assert_non_null(ids->items);
    memcpy(ids->items + ids->n, more, n * sizeof *more);
    ids->n += n;
    llm_free(more);
}

static void add_document(struct ids *ids, const struct llm_tokenizer *tokenizer, const char *text, size_t size) {
    assert_true(ids->n_documents < sizeof ids->starts / sizeof ids->starts[0]);
    ids->starts[ids->n_documents++] = ids->n;
    add_text(ids, tokenizer, text, size, false);
    ids->items[ids->n++] = llm_tokenizer_eot(tokenizer);
}

static void assert_same_ids(const struct token_file *file, const struct ids *ids) {
    assert_int_equal(file->n_tokens, ids->n);
    int32_t *read = malloc((ids->n + 1) * sizeof *read);
    assert_non_null(read);
    assert_true(token_file_read(file, 0, file->n_tokens, read, NULL));
    if (ids->n > 0) assert_memory_equal(read, ids->items, ids->n * sizeof *read);
    free(read);
}

static void assert_same_documents(const struct token_file *file, const struct ids *ids) {
    assert_same_ids(file, ids);
    assert_int_equal(file->n_documents, ids->n_documents);
    if (ids->n_documents > 0) assert_memory_equal(file->starts, ids->starts, ids->n_documents * sizeof ids->starts[0]);
}

// ---- The book's split and windows -----------------------------------------------------------

// A line of fixtures: words behind the first `skip` as numbers.
static size_t read_numbers(char *line, int64_t *numbers, size_t capacity) {
    size_t n = 0;
    for (char *word = strtok(line, " \n"); word != NULL; word = strtok(NULL, " \n")) {
        assert_true(n < capacity);
        numbers[n++] = strtoll(word, NULL, 10);
    }
    return n;
}

static void check_windows(const struct token_file *file, const int64_t *numbers, size_t n_numbers) {
    const int context = (int)numbers[0];
    const struct token_windows windows = token_windows(file, context, numbers[1]);
    assert_int_equal(windows.n, numbers[2]);
    assert_int_equal(n_numbers, 3 + 2 * (size_t)context);
    int32_t ids[64];
    assert_true(token_windows_read(&windows, windows.n - 1, ids, NULL));
    for (int i = 0; i < context; i++) {
        assert_int_equal(ids[i], numbers[3 + i]);               // input
        assert_int_equal(ids[i + 1], numbers[3 + context + i]); // target
    }
}

static void test_as_the_book(void **state) {
    struct place *place = *state;
    const char *const files[] = {TRAIN_FIXTURES "/tiny.txt"};
    struct token_options options = options_for(place, files, 1);
    options.split = TOKENS_BY_CHARACTERS;
    struct tokens tokens;
    open_tokens(&tokens, &options);
    assert_true(tokens.built);
    FILE *fixture = fopen(TRAIN_FIXTURES "/tiny-windows.txt", "r");
    assert_non_null(fixture);
    static char line[1 << 16];
    static int64_t numbers[4096];
    const struct token_file *file = NULL;
    int n_windows = 0;
    while (fgets(line, sizeof line, fixture) != NULL) {
        const size_t name = strcspn(line, " ");
        const bool is_train = strncmp(line, "train", name) == 0;
        if (!is_train && strncmp(line, "validation", name) != 0) {
            const size_t n = read_numbers(line, numbers, 4096);
            check_windows(file, numbers, n);
            n_windows++;
            continue;
        }
        file = is_train ? &tokens.train : &tokens.validation;
        const size_t n = read_numbers(line + name, numbers, 4096);
        assert_int_equal(file->n_tokens, n);
        for (size_t i = 0; i < n; i++) assert_int_equal(file->ids16[i], numbers[i]);
    }
    assert_int_equal(n_windows, 10);
    assert_false(tokens.train.split_by_documents);
    fclose(fixture);
    tokens_close(&tokens);
}

// ---- Larger texts, against reading them whole -----------------------------------------------

// Documents of all sizes in words and other things, some empty, some only white space; `marks` of a thousand places
// have a mark. *size bytes.
static char *make_text(uint64_t seed, size_t about, unsigned marks, size_t *size) {
    static const char *const words[] = {
        "hug",   " hugs", " the",  "\n",       "  ", "\r\n", " caf\xc3\xa9", "\xe6\x97\xa5\xe6\x9c\xac",
        " 1914", "\xff",  "<|end", "oftext|>", "\t", " ke"};
    struct random random;
    random_init(&random, seed);
    char *text = malloc(about + 64);
    assert_non_null(text);
    *size = 0;
    while (*size < about) {
        const uint32_t draw = random_u32(&random);
        const char *word = draw % 1000 < marks ? TEXT_DOCUMENT_END : words[draw / 1000 % 14];
        for (const char *at = word; *at != '\0'; at++) text[(*size)++] = *at;
    }
    return text;
}

struct texts {
    char *texts[2]; // [sizes] of the place's two files
    size_t sizes[2];
};

static bool only_space(const char *text, size_t size) {
    while (size > 0 && isspace((unsigned char)text[size - 1])) size--;
    return size == 0;
}

// What every reading of the documents must give: what marks and the ends of files part and is not only white space,
// every tenth held back.
static void expect_documents(struct place *place, const struct texts *given, struct ids parts[2]) {
    const size_t mark_size = strlen(TEXT_DOCUMENT_END);
    int n = 0;
    for (int i = 0; i < 2; i++) {
        const char *at = given->texts[i];
        const char *const end = at + given->sizes[i];
        for (const char *mark = at; mark != NULL;) {
            mark = memmem(at, (size_t)(end - at), TEXT_DOCUMENT_END, mark_size);
            const size_t size = (size_t)((mark == NULL ? end : mark) - at);
            if (!only_space(at, size)) add_document(&parts[++n % 10 == 0], place->tokenizer, at, size);
            if (mark != NULL) at = mark + mark_size;
        }
    }
}

// Takes over the texts.
static void check_documents(struct place *place, struct texts given) {
    const char *const files[] = {place->texts[0], place->texts[1]};
    for (int i = 0; i < 2; i++) put_file(files[i], given.texts[i], given.sizes[i]);
    struct ids *parts = calloc(2, sizeof *parts);
    assert_non_null(parts);
    expect_documents(place, &given, parts);
    char *first = NULL;
    size_t first_size = 0;
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct token_options options = options_for(place, files, 2);
        options.n_threads = n_threads;
        struct tokens tokens;
        open_tokens(&tokens, &options);
        assert_true(tokens.built && tokens.train.split_by_documents);
        assert_same_documents(&tokens.train, &parts[0]);
        assert_same_documents(&tokens.validation, &parts[1]);
        tokens_close(&tokens);
        size_t size = 0;
        char *bytes = get_file(place->train, &size);
        if (first == NULL) {
            first = bytes;
            first_size = size;
        } else {
            assert_int_equal(size, first_size);
            assert_memory_equal(bytes, first, size);
            free(bytes);
        }
        unlink(place->train);
    }
    free(first);
    for (int i = 0; i < 2; i++) {
        free(parts[i].items);
        free(given.texts[i]);
    }
    free(parts);
}

static struct texts make_texts(size_t about, unsigned marks) {
    struct texts made;
    for (int i = 0; i < 2; i++) made.texts[i] = make_text((uint64_t)i + 1, about >> i, marks, &made.sizes[i]);
    return made;
}

static void test_documents_of_all_sizes(void **state) {
    check_documents(*state, make_texts(200000, 100)); // many in one block
    check_documents(*state, make_texts(3000000, 1));  // larger than blocks
    check_documents(*state, make_texts(20000, 300));  // most of them empty or white space
}

// Marks at and around the place where one read ends and the next begins.
static void test_marks_across_reads(void **state) {
    static const size_t befores[] = {0, 1, 6, 12, 13}; // bytes of the mark in the first read
    const size_t read = 1 << 20;
    for (size_t i = 0; i < sizeof befores / sizeof befores[0]; i++) {
        struct texts given = make_texts(read + 1000, 1);
        memcpy(given.texts[0] + read - befores[i], TEXT_DOCUMENT_END, strlen(TEXT_DOCUMENT_END));
        check_documents(*state, given);
    }
}

// Where character number `n` begins.
static size_t place_of_character(const char *text, size_t size, size_t n) {
    for (size_t i = 0; i < size; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80 && n-- == 0) return i;
    }
    return size;
}

static void check_characters(struct place *place, const char *text, size_t size, double validation) {
    size_t n_characters = 0;
    for (size_t i = 0; i < size; i++) n_characters += ((unsigned char)text[i] & 0xc0) != 0x80;
    const size_t split = place_of_character(text, size, (size_t)((1 - validation) * (double)n_characters));
    struct ids *parts = calloc(2, sizeof *parts);
    assert_non_null(parts);
    add_text(&parts[0], place->tokenizer, text, split, true);
    add_text(&parts[1], place->tokenizer, text + split, size - split, true);
    const char *const files[] = {place->texts[0]};
    put_file(place->texts[0], text, size);
    struct token_options options = options_for(place, files, 1);
    options.split = TOKENS_BY_CHARACTERS;
    options.validation = validation;
    struct tokens tokens;
    open_tokens(&tokens, &options);
    assert_same_ids(&tokens.train, &parts[0]);
    assert_same_ids(&tokens.validation, &parts[1]);
    assert_int_equal(tokens.train.n_bytes, split);
    assert_int_equal(tokens.validation.n_bytes, size - split);
    for (int64_t i = 1; i < tokens.train.n_documents; i++) { // each but the first begins behind a mark
        assert_int_equal(tokens.train.ids16[tokens.train.starts[i] - 1], llm_tokenizer_eot(place->tokenizer));
    }
    tokens_close(&tokens);
    free(parts[0].items);
    free(parts[1].items);
    free(parts);
}

static void test_characters_of_larger_texts(void **state) {
    struct place *place = *state;
    static const double fractions[] = {0, 0.1, 0.5, 0.77, 0.999999};
    size_t size = 0;
    char *text = make_text(3, 3000000, 5, &size);
    for (size_t i = 0; i < sizeof fractions / sizeof fractions[0]; i++)
        check_characters(place, text, size, fractions[i]);
    free(text);
    // Without white space: only marks part it, or nothing does.
    text = malloc(5 << 20);
    assert_non_null(text);
    memset(text, 'x', 5 << 20);
    check_characters(place, text, 5 << 20, 0.1);
    for (size_t at = 500000; at < (5 << 20) - 20; at += 300000) {
        memcpy(text + at, TEXT_DOCUMENT_END, sizeof TEXT_DOCUMENT_END - 1);
    }
    check_characters(place, text, 5 << 20, 0.1);
    free(text);
    check_characters(place, "", 0, 0.1);
    check_characters(place, "x", 1, 0.1);
    check_characters(place, "one two<|endoftext|>three", 25, 0.5); // the split is within the mark
    check_characters(place, "<|endoftext|><|endoftext|>", 26, 0.5);
}

static void test_files_are_parted_by_the_mark(void **state) {
    struct place *place = *state;
    put_text(place->texts[0], "one two ");
    put_text(place->texts[1], " three");
    const char *const files[] = {place->texts[0], place->texts[1]};
    struct token_options options = options_for(place, files, 2);
    options.split = TOKENS_BY_CHARACTERS;
    options.validation = 0;
    struct tokens tokens;
    open_tokens(&tokens, &options);
    struct ids ids = {0};
    const char *const all = "one two <|endoftext|> three";
    add_text(&ids, place->tokenizer, all, strlen(all), true);
    assert_same_ids(&tokens.train, &ids);
    assert_int_equal(tokens.train.n_documents, 2);
    assert_int_equal(tokens.validation.n_tokens, 0);
    free(ids.items);
    tokens_close(&tokens);
}

static void test_too_few_documents(void **state) {
    struct place *place = *state;
    put_text(place->texts[0], "one two three four<|endoftext|>five six seven eight");
    const char *const files[] = {place->texts[0]};
    const struct token_options options = options_for(place, files, 1);
    struct tokens tokens;
    open_tokens(&tokens, &options);
    assert_string_equal(place->notices,
                        "2 documents are too few to hold 10 % of them back for validation; instead, the "
                        "end of the text is");
    assert_false(tokens.train.split_by_documents);
    struct ids ids = {0};
    add_text(&ids, place->tokenizer, " eight", 6, true); // of 51 characters 45 are for training
    assert_same_ids(&tokens.validation, &ids);
    free(ids.items);
    tokens_close(&tokens);
    place->notices[0] = '\0';
    open_tokens(&tokens, &options);
    assert_false(tokens.built);
    assert_string_equal(place->notices,
                        "there are too few documents to hold 10 % of them back for validation; instead, "
                        "the end of the text is");
    tokens_close(&tokens);
    put_text(place->texts[0], "one two three four five six seven eight");
    place->notices[0] = '\0';
    open_tokens(&tokens, &options);
    assert_non_null(strstr(place->notices, "1 document is too few to hold 10 % of them back for validation"));
    tokens_close(&tokens);
}

// A vocabulary of more than 65536 ids: the 256 bytes, and tokens that no text has.
static struct llm_tokenizer *large_tokenizer(void) {
    enum {
        N = 70000
    };
    static char bytes[256 + 3 * (N - 256)];
    static uint32_t starts[N + 1];
    for (int i = 0; i < N; i++) {
        const int size = i < 256 ? 1 : 3;
        starts[i + 1] = starts[i] + (uint32_t)size;
        bytes[starts[i]] = (char)i;
        if (size == 3) memcpy(bytes + starts[i], &(uint32_t){(uint32_t)i}, 3);
    }
    const struct vocabulary vocabulary = {.n_tokens = N, .bytes = bytes, .starts = starts, .eot = N - 1};
    return tokenizer_new(&vocabulary, NULL);
}

static void test_a_large_vocabulary(void **state) {
    struct place *place = *state;
    struct llm_tokenizer *large = large_tokenizer();
    assert_non_null(large);
    put_text(place->texts[0], "one<|endoftext|>two");
    const char *const files[] = {place->texts[0]};
    struct token_options options = options_for(place, files, 1);
    options.tokenizer = large;
    options.validation = 0;
    struct tokens tokens;
    open_tokens(&tokens, &options);
    static const int32_t ids[] = {'o', 'n', 'e', 69999, 't', 'w', 'o', 69999};
    assert_null(tokens.train.ids16);
    assert_int_equal(tokens.train.n_tokens, 8);
    assert_memory_equal(tokens.train.ids32, ids, sizeof ids);
    tokens_close(&tokens);
    llm_tokenizer_free(large);
}

// ---- Used again, or made anew ---------------------------------------------------------------

// Opens, and checks whether the files were made anew and that a notice said `why` ("": none).
static void assert_opens(struct place *place, const struct token_options *options, bool built, const char *why) {
    struct tokens tokens;
    place->notices[0] = '\0';
    open_tokens(&tokens, options);
    assert_int_equal(tokens.built, built);
    if (why[0] == '\0') assert_string_equal(place->notices, "");
    if (strstr(place->notices, why) == NULL) fail_msg("'%s' is not in '%s'", why, place->notices);
    tokens_close(&tokens);
}

static void change_byte(const char *path, size_t from_end) {
    size_t size = 0;
    char *bytes = get_file(path, &size);
    bytes[size - from_end] ^= 1;
    put_file(path, bytes, size);
    free(bytes);
}

static void test_when_files_are_made_anew(void **state) {
    struct place *place = *state;
    size_t size = 0;
    char *text = make_text(4, 20000, 100, &size);
    put_file(place->texts[0], text, size);
    const char *const files[] = {place->texts[0]};
    struct token_options options = options_for(place, files, 1);
    assert_opens(place, &options, true, "");
    assert_opens(place, &options, false, "");
    change_byte(place->train, 1000); // an id
    assert_opens(place, &options, true, "train.tokens: is damaged: its checksum is not right; it is made anew");
    change_byte(place->validation, 100); // the trailer
    assert_opens(place, &options, true, "validation.tokens: the trailer is damaged; it is made anew");
    assert_int_equal(truncate(place->train, 50), 0);
    assert_opens(place, &options, true, "train.tokens: is cut short; it is made anew");
    put_text(place->train, "something else");
    assert_opens(place, &options, true, "does not begin as a file of ids of this version does");
    unlink(place->validation);
    assert_opens(place, &options, true, "");
    char other[200];
    snprintf(other, sizeof other, "%s.x", place->train);
    assert_int_equal(rename(place->train, other), 0);
    assert_int_equal(rename(place->validation, place->train), 0);
    assert_int_equal(rename(other, place->validation), 0);
    const char *const another = "was made from other texts, another vocabulary or another split; it is made anew";
    assert_opens(place, &options, true, another);
    text[10] ^= 1;
    put_file(place->texts[0], text, size);
    assert_opens(place, &options, true, another);
    options.validation = 0.2;
    assert_opens(place, &options, true, another);
    options.split = TOKENS_BY_CHARACTERS;
    assert_opens(place, &options, true, another);
    options.tokenizer = tokenizer_new_gpt2(NULL);
    assert_opens(place, &options, true, another);
    llm_tokenizer_free((struct llm_tokenizer *)options.tokenizer);
    free(text);
}

static void test_what_cannot_be(void **state) {
    struct place *place = *state;
    put_text(place->texts[0], "some text");
    const char *const files[] = {place->texts[0], place->texts[1]};
    struct token_options options = options_for(place, files, 0);
    assert_fails(&options, "no text was named");
    options.n_files = 2;
    assert_fails(&options, "two.txt: cannot open this file");
    options.n_files = 1;
    options.validation = 1;
    assert_fails(&options, "1 of the text for validation: 0 to below 1 was expected");
    options.validation = 0.0 / 0.0;
    assert_fails(&options, "of the text for validation");
    options.validation = 0.1;
    options.folder = place->texts[0];
    assert_fails(&options, "one.txt");
}

static void test_cancelling(void **state) {
    struct place *place = *state;
    size_t size = 0;
    char *text = make_text(5, 9 << 20, 5, &size);
    put_file(place->texts[0], text, size);
    free(text);
    const char *const files[] = {place->texts[0]};
    const struct token_options options = options_for(place, files, 1);
    struct tokens tokens;
    open_tokens(&tokens, &options);
    tokens_close(&tokens);
    const int n_progress = place->n_progress;
    assert_true(n_progress > 10);
    directory_remove(place->cache);
    for (place->cancel_after = 1; place->cancel_after <= n_progress; place->cancel_after++) {
        place->n_progress = 0;
        assert_fails(&options, "cancelled while reading");
        assert_false(path_exists(place->train));
    }
    place->cancel_after = 0;
    assert_opens(place, &options, true, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_as_the_book, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_documents_of_all_sizes, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_marks_across_reads, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_characters_of_larger_texts, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_files_are_parted_by_the_mark, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_too_few_documents, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_a_large_vocabulary, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_when_files_are_made_anew, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_cancelling, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
