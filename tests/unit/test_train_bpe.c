// test_train_bpe.c: learning a vocabulary: the same merges as Hugging Face tokenizers, on any number of threads,
// however the text is cut, from files of every kind.
//
// tests/fixtures/bpe/ is made by tools/make_bpe_fixtures.py: NAME.txt a text, NAME.merges the size and least frequency
// asked for, then the merges, spelled as in merges.txt.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/file.h"
#include "base/random.h"
#include "base/str.h"
#include "data/text.h"
#include "tokenizer/bytelevel.h"
#include "tokenizer/core.h"
#include "tokenizer/split.h"
#include "tokenizer/train.h"

#define FIXTURES MY_LLM_SOURCE_DIR "/tests/fixtures/bpe/"

static const char *const cases[] = {"ties",    "ties-deep", "runs",        "tiny",  "one-character", "empty",
                                    "unicode", "documents", "white-space", "prose", "frequent"};

static const struct llm_callbacks no_callbacks = {0};

struct fixture {
    char *text;
    size_t size;
    int vocab_size;
    long long min_frequency;
    char *file;         // NAME.merges
    const char *merges; // its lines behind the first
};

static void read_fixture(struct fixture *fixture, const char *name) {
    struct llm_error err = {0};
    char path[256];
    size_t size = 0;
    snprintf(path, sizeof path, FIXTURES "%s.txt", name);
    if (!file_read(path, 1 << 20, &fixture->text, &fixture->size, &err)) fail_msg("%s", err.text);
    snprintf(path, sizeof path, FIXTURES "%s.merges", name);
    if (!file_read(path, 1 << 20, &fixture->file, &size, &err)) fail_msg("%s", err.text);
    assert_int_equal(sscanf(fixture->file, "#%d %lld", &fixture->vocab_size, &fixture->min_frequency), 2);
    fixture->merges = strchr(fixture->file, '\n') + 1;
}

static void release_fixture(struct fixture *fixture) {
    free(fixture->text);
    free(fixture->file);
}

// The merges as lines of merges.txt; freed by the caller.
static char *spell_merges(const struct llm_tokenizer *tokenizer) {
    struct llm_error err = {0};
    int32_t(*merges)[2] = tokenizer_list_merges(tokenizer, &err);
    assert_non_null(merges);
    struct strbuf lines;
    strbuf_init(&lines, 1 << 26);
    for (int rank = 0; rank < tokenizer->n_merges; rank++) {
        for (int side = 0; side < 2; side++) {
            size_t size = 0;
            const char *bytes = llm_tokenizer_token(tokenizer, merges[rank][side], &size);
            bytelevel_spell(&lines, bytes, size);
            strbuf_puts(&lines, side == 0 ? " " : "\n");
        }
        // Each merge makes the next id, unless its bytes were a token already; that never happened so far.
        assert_int_equal(tokenizer->joined[rank], 256 + rank);
    }
    free(merges);
    strbuf_puts(&lines, "");
    assert_true(strbuf_ok(&lines));
    return strbuf_take(&lines);
}

static struct llm_tokenizer *train_text(const char *text, size_t size, int vocab_size, int64_t min_frequency) {
    struct llm_error err = {0};
    struct bpe_trainer *trainer = bpe_trainer_new(1, &err);
    assert_non_null(trainer);
    assert_true(bpe_trainer_count(trainer, 0, text, size, &err));
    struct llm_tokenizer *tokenizer = bpe_trainer_finish(trainer, vocab_size, min_frequency, &no_callbacks, &err);
    if (tokenizer == NULL) fail_msg("%s", err.text);
    bpe_trainer_free(trainer);
    return tokenizer;
}

static void assert_merges(const struct llm_tokenizer *tokenizer, const char *expected, const char *name) {
    char *merges = spell_merges(tokenizer);
    if (strcmp(merges, expected) != 0) {
        size_t at = 0;
        while (merges[at] == expected[at]) at++;
        while (at > 0 && merges[at - 1] != '\n') at--;
        fail_msg("%s: learnt \"%.30s\" where \"%.30s\" was expected", name, merges + at, expected + at);
    }
    free(merges);
}

// ---- The merges -----------------------------------------------------------------------------

static void test_merges_of_tokenizers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        read_fixture(&fixture, cases[i]);
        struct llm_tokenizer *tokenizer =
            train_text(fixture.text, fixture.size, fixture.vocab_size, fixture.min_frequency);
        assert_merges(tokenizer, fixture.merges, cases[i]);
        const int n = llm_tokenizer_vocab_size(tokenizer);
        assert_true(n <= fixture.vocab_size);
        assert_int_equal(n, 256 + tokenizer->n_merges + 1);
        assert_int_equal(llm_tokenizer_eot(tokenizer), n - 1);
        llm_tokenizer_free(tokenizer);
        release_fixture(&fixture);
    }
}

// A smaller vocabulary is the beginning of a larger one.
static void test_sizes_are_prefixes(void **state) {
    (void)state;
    struct fixture fixture;
    read_fixture(&fixture, "prose");
    for (int vocab_size = 257; vocab_size < 400; vocab_size += 13) {
        struct llm_tokenizer *tokenizer = train_text(fixture.text, fixture.size, vocab_size, 0);
        assert_int_equal(tokenizer->n_merges, vocab_size - 257);
        char *merges = spell_merges(tokenizer);
        assert_memory_equal(merges, fixture.merges, strlen(merges));
        free(merges);
        llm_tokenizer_free(tokenizer);
    }
    release_fixture(&fixture);
}

static void test_bytes_come_in_order_of_their_characters(void **state) {
    (void)state;
    struct llm_tokenizer *tokenizer = train_text("", 0, 257, 0);
    assert_int_equal(tokenizer->n_tokens, 257);
    int32_t last = -1;
    for (int32_t id = 0; id < 256; id++) {
        size_t size = 0;
        const char *bytes = llm_tokenizer_token(tokenizer, id, &size);
        assert_int_equal(size, 1);
        assert_true(bytelevel_char((uint8_t)bytes[0]) > last);
        last = bytelevel_char((uint8_t)bytes[0]);
    }
    llm_tokenizer_free(tokenizer);
}

// A text cut anywhere llm_tokenizer_cut() allows, counted by several threads' tables.
static void test_parts_and_threads(void **state) {
    (void)state;
    struct random random;
    random_init(&random, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        read_fixture(&fixture, cases[i]);
        struct llm_error err = {0};
        struct bpe_trainer *trainer = bpe_trainer_new(3, &err);
        assert_non_null(trainer);
        for (size_t at = 0; at < fixture.size;) {
            size_t size = 1 + random_u32(&random) % 200;
            if (at + size >= fixture.size) {
                size = fixture.size - at;
            } else {
                size = llm_tokenizer_cut(fixture.text + at, size);
            }
            if (size == 0) size = fixture.size - at;
            assert_true(bpe_trainer_count(trainer, (int)(random_u32(&random) % 3), fixture.text + at, size, &err));
            at += size;
        }
        struct llm_tokenizer *tokenizer =
            bpe_trainer_finish(trainer, fixture.vocab_size, fixture.min_frequency, &no_callbacks, &err);
        assert_non_null(tokenizer);
        assert_merges(tokenizer, fixture.merges, cases[i]);
        llm_tokenizer_free(tokenizer);
        bpe_trainer_free(trainer);
        release_fixture(&fixture);
    }
}

// Ends of the pieces of text [size], appended to ends from *n on, `offset` added.
static void pieces(const char *text, size_t size, size_t offset, size_t *ends, size_t *n) {
    struct splitter splitter = {.text = (const uint8_t *)text, .size = size};
    for (size_t found; (found = split_next(&splitter, ends + *n, 64)) > 0; *n += found) {
        for (size_t i = 0; i < found; i++) ends[*n + i] += offset;
    }
}

// Wherever a text is cut, its parts have the pieces of the whole; also text that is no UTF-8.
static void test_cuts_change_no_piece(void **state) {
    (void)state;
    static const char *const bits[] = {" ",    "\n",       "\t",   "a",        "'s",   "'",
                                       "1",    ".",        "é",    "\xc2\xa0", "日",   "\xe3\x80\x80",
                                       "\xa0", "\xe3\x80", "\xf0", "  ",       "\r\n", "\xc2\x85"};
    struct random random;
    random_init(&random, 2);
    for (int round = 0; round < 20000; round++) {
        char text[160] = "";
        const size_t n_bits = 2 + random_u32(&random) % 30;
        for (size_t i = 0; i < n_bits; i++) strcat(text, bits[random_u32(&random) % (sizeof bits / sizeof bits[0])]);
        const size_t size = strlen(text);
        const size_t known = 1 + random_u32(&random) % size; // of the text when it is cut
        const size_t cut = llm_tokenizer_cut(text, known);
        assert_true(cut < known);
        size_t whole[256], parts[256], n_whole = 0, n_parts = 0;
        pieces(text, size, 0, whole, &n_whole);
        pieces(text, cut, 0, parts, &n_parts);
        pieces(text + cut, size - cut, cut, parts, &n_parts);
        assert_int_equal(n_whole, n_parts);
        assert_memory_equal(whole, parts, n_whole * sizeof whole[0]);
    }
}

static void test_cuts_after_wide_characters(void **state) {
    (void)state;
    const char chinese[] = "他走了。\n她";
    assert_int_equal(llm_tokenizer_cut(chinese, strlen(chinese)), strlen("他走了。"));
    const char wide_space[] = "他走了\xe3\x80\x80\n她"; // U+3000 is white space itself
    assert_int_equal(llm_tokenizer_cut(wide_space, strlen(wide_space)), 0);
}

// ---- Hard texts -----------------------------------------------------------------------------

static void test_one_character_a_million_times(void **state) {
    (void)state;
    const size_t size = 1000000;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'x', size);
    struct llm_tokenizer *tokenizer = train_text(text, size, 300, 0);
    // 500,000 pairs, 250,000 ... and what is left at the odd ends; each merge joins what the last one made.
    assert_true(tokenizer->n_merges >= 19);
    int32_t *ids = NULL;
    size_t n_ids = 0;
    struct llm_error err = {0};
    assert_true(llm_tokenizer_encode(tokenizer, text, size, false, &ids, &n_ids, &err));
    assert_true(n_ids < 20);
    llm_free(ids);
    llm_tokenizer_free(tokenizer);
    free(text);
}

// Any bytes can be learnt from, and what was learnt gives them back.
static void test_bytes_that_are_no_text(void **state) {
    (void)state;
    struct random random;
    random_init(&random, 3);
    char text[5000];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(random_u32(&random) % (i % 3 == 0 ? 256 : 4));
    struct llm_tokenizer *tokenizer = train_text(text, sizeof text, 600, 0);
    assert_int_equal(llm_tokenizer_vocab_size(tokenizer), 600);
    int32_t *ids = NULL;
    size_t n_ids = 0, size = 0;
    char *back = NULL;
    struct llm_error err = {0};
    assert_true(llm_tokenizer_encode(tokenizer, text, sizeof text, false, &ids, &n_ids, &err));
    assert_true(llm_tokenizer_decode(tokenizer, ids, n_ids, &back, &size, &err));
    assert_true(n_ids < sizeof text);
    assert_int_equal(size, sizeof text);
    assert_memory_equal(back, text, size);
    llm_free(ids);
    llm_free(back);
    llm_tokenizer_free(tokenizer);
}

// ---- What is refused ------------------------------------------------------------------------

static void test_sizes_that_cannot_be(void **state) {
    (void)state;
    const char *const no_files[] = {FIXTURES "tiny.txt"};
    struct llm_tokenizer_train_options options;
    llm_tokenizer_train_options_init(&options);
    options.vocab_size = 256;
    struct llm_error err = {0};
    assert_null(llm_tokenizer_train(no_files, 1, &options, &err));
    assert_int_equal(err.code, LLM_ERROR_ARGUMENT);
    assert_string_equal(err.text,
                        "a vocabulary of 256 ids: 257 (the bytes and <|endoftext|>) to 2097151 were expected");
    options.vocab_size = 300;
    options.min_frequency = -1;
    err = (struct llm_error){0};
    assert_null(llm_tokenizer_train(no_files, 1, &options, &err));
    assert_string_equal(err.text, "a least frequency of -1: 0 or more was expected");
}

static bool stop_at(void *user, const struct llm_progress *progress) {
    return strcmp(progress->what, user) != 0;
}

static void test_callbacks_can_stop(void **state) {
    (void)state;
    const char *const files[] = {FIXTURES "prose.txt"};
    const char *const stops[] = {FIXTURES "prose.txt", "vocabulary"};
    const char *const sentences[] = {"training was cancelled in " FIXTURES "prose.txt",
                                     "training was cancelled at 512 tokens"};
    for (int i = 0; i < 2; i++) {
        struct llm_tokenizer_train_options options;
        llm_tokenizer_train_options_init(&options);
        options.callbacks = (struct llm_callbacks){.progress = stop_at, .user = (void *)stops[i]};
        struct llm_error err = {0};
        assert_null(llm_tokenizer_train(files, 1, &options, &err));
        assert_int_equal(err.code, LLM_ERROR_CANCELLED);
        assert_string_equal(err.text, sentences[i]);
    }
}

// ---- From files -----------------------------------------------------------------------------

static void put_file(const char *path, const void *bytes, size_t size) {
    struct llm_error err = {0};
    if (!file_write(path, bytes, size, &err)) fail_msg("%s", err.text);
}

// One document in three files, one of each kind, in a folder, against the same text in memory.
static void test_files_and_folders(void **state) {
    (void)state;
    struct fixture fixture;
    read_fixture(&fixture, "prose");
    char folder[] = "/tmp/my-llm-train-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char path[64];
    struct llm_error err = {0};
    const size_t third = llm_tokenizer_cut(fixture.text, fixture.size / 3);
    const size_t half = llm_tokenizer_cut(fixture.text, fixture.size / 2);

    snprintf(path, sizeof path, "%s/a.txt", folder);
    put_file(path, fixture.text, third);
    snprintf(path, sizeof path, "%s/inner", folder);
    assert_true(directory_create(path, &err));
    uint8_t packed[1 << 16];
    size_t n = 0;
    assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, (const uint8_t *)fixture.text + third,
                                             half - third, packed, &n, sizeof packed),
                     LZMA_OK);
    snprintf(path, sizeof path, "%s/inner/b.md.xz", folder);
    put_file(path, packed, n);
    snprintf(path, sizeof path, "%s/c.text.gz", folder);
    gzFile gz = gzopen(path, "wb");
    assert_non_null(gz);
    assert_int_equal(gzwrite(gz, fixture.text + half, (unsigned)(fixture.size - half)), (int)(fixture.size - half));
    assert_int_equal(gzclose(gz), Z_OK);
    snprintf(path, sizeof path, "%s/picture.png", folder); // not for reading
    put_file(path, "\x89PNG", 4);

    const char *const files[] = {folder};
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct llm_tokenizer_train_options options;
        llm_tokenizer_train_options_init(&options);
        options.vocab_size = fixture.vocab_size;
        options.n_threads = n_threads;
        struct llm_tokenizer *tokenizer = llm_tokenizer_train(files, 1, &options, &err);
        if (tokenizer == NULL) fail_msg("%s", err.text);
        assert_merges(tokenizer, fixture.merges, "folder");
        llm_tokenizer_free(tokenizer);
    }
    directory_remove(folder);
    release_fixture(&fixture);
}

static void test_missing_and_damaged_files(void **state) {
    (void)state;
    struct llm_error err = {0};
    const char *const missing[] = {FIXTURES "tiny.txt", "/tmp/no-such-file.txt"};
    assert_null(llm_tokenizer_train(missing, 2, NULL, &err));
    assert_int_equal(err.code, LLM_ERROR_NOT_FOUND);
    assert_string_equal(err.text, "/tmp/no-such-file.txt: cannot open this file: No such file or directory");

    char path[] = "/tmp/my-llm-train-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    put_file(path,
             "\xfd"
             "7zXZ\0\0\4 and no more",
             20);
    const char *const damaged[] = {path};
    err = (struct llm_error){0};
    assert_null(llm_tokenizer_train(damaged, 1, NULL, &err));
    assert_int_equal(err.code, LLM_ERROR_FORMAT);
    assert_non_null(strstr(err.text, ": is damaged near byte "));
    unlink(path);
}

static void test_save_and_open(void **state) {
    (void)state;
    struct fixture fixture;
    read_fixture(&fixture, "unicode");
    struct llm_tokenizer *tokenizer = train_text(fixture.text, fixture.size, fixture.vocab_size, 0);
    char folder[] = "/tmp/my-llm-train-XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct llm_error err = {0};
    assert_false(llm_tokenizer_save(tokenizer, folder, false, &err)); // it is there
    assert_int_equal(err.code, LLM_ERROR_EXISTS);
    err = (struct llm_error){0};
    if (!llm_tokenizer_save(tokenizer, folder, true, &err)) fail_msg("%s", err.text);
    struct llm_tokenizer *again = tokenizer_open_directory(folder, &err);
    if (again == NULL) fail_msg("%s", err.text);
    assert_merges(again, fixture.merges, "saved");
    assert_int_equal(llm_tokenizer_vocab_size(again), llm_tokenizer_vocab_size(tokenizer));
    assert_int_equal(llm_tokenizer_eot(again), llm_tokenizer_eot(tokenizer));
    llm_tokenizer_free(again);
    llm_tokenizer_free(tokenizer);
    directory_remove(folder);
    release_fixture(&fixture);
}

// ---- 50 MB of books -------------------------------------------------------------------------

// The books are not part of the checkout; books.fnv says what tokenizers learns from their beginning.
static void test_books(void **state) {
    (void)state;
    const char *path = MY_LLM_SOURCE_DIR "/../shared/data/text/books.txt.xz";
    if (!file_exists(path)) {
        print_message("skipped: %s is not there\n", path);
        skip();
    }
    FILE *fixture = fopen(FIXTURES "books.fnv", "r");
    assert_non_null(fixture);
    size_t size = 0;
    int vocab_size = 0, n_merges = 0;
    uint64_t expected = 0;
    assert_int_equal(fscanf(fixture, "%zu %d %d %" SCNx64, &size, &vocab_size, &n_merges, &expected), 4);
    fclose(fixture);

    struct llm_error err = {0};
    char *text = malloc(size);
    assert_non_null(text);
    struct text_file *file = text_file_open(path, 2, &err);
    if (file == NULL) fail_msg("%s", err.text);
    size_t n = 0;
    assert_true(text_file_read(file, text, size, &n, &err));
    assert_int_equal(n, size);
    text_file_close(file);
    struct llm_tokenizer *tokenizer = train_text(text, llm_tokenizer_cut(text, size), vocab_size, 0);
    assert_int_equal(tokenizer->n_merges, n_merges);
    char *merges = spell_merges(tokenizer);
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a
    for (const char *at = merges; *at != '\0'; at++) hash = (hash ^ (uint8_t)*at) * 0x100000001b3;
    assert_true(hash == expected);
    free(merges);
    llm_tokenizer_free(tokenizer);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_of_tokenizers),
        cmocka_unit_test(test_sizes_are_prefixes),
        cmocka_unit_test(test_bytes_come_in_order_of_their_characters),
        cmocka_unit_test(test_parts_and_threads),
        cmocka_unit_test(test_cuts_change_no_piece),
        cmocka_unit_test(test_cuts_after_wide_characters),
        cmocka_unit_test(test_one_character_a_million_times),
        cmocka_unit_test(test_bytes_that_are_no_text),
        cmocka_unit_test(test_sizes_that_cannot_be),
        cmocka_unit_test(test_callbacks_can_stop),
        cmocka_unit_test(test_files_and_folders),
        cmocka_unit_test(test_missing_and_damaged_files),
        cmocka_unit_test(test_save_and_open),
        cmocka_unit_test(test_books),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
