// test_fault_tokenizer.c: the tokenizer when memory, calls or the disk fail: a sentence, nothing lost, nothing left
// over.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "fault.h"
#include "tokenizer/tokenizer.h"

#define SMALL MY_LLM_SOURCE_DIR "/tests/fixtures/tokenizer/small"

static bool opened(struct llm_tokenizer *tokenizer) {
    llm_tokenizer_free(tokenizer);
    return tokenizer != NULL;
}

static bool built_in_body(void *user, struct llm_error *err) {
    (void)user;
    return opened(tokenizer_new_gpt2(err));
}

static bool directory_body(void *user, struct llm_error *err) {
    return opened(tokenizer_open_directory(user, err));
}

static void reading_says_what_failed(void **state) {
    (void)state;
    char pair[] = "/tmp/my-llm-fault-XXXXXX";
    assert_non_null(mkdtemp(pair));
    struct llm_tokenizer *small = tokenizer_open_directory(SMALL, NULL);
    assert_true(tokenizer_save(small, pair, NULL));
    llm_tokenizer_free(small);
    char *json = path_join(pair, "tokenizer.json");
    assert_int_equal(unlink(json), 0); // leaves vocab.json and merges.txt
    llm_free(json);

    fault_loop(FAULT_MEMORY, built_in_body, NULL, NULL);
    fault_loop(FAULT_MEMORY, directory_body, NULL, (void *)SMALL);
    fault_loop(FAULT_FILES, directory_body, NULL, (void *)SMALL);
    fault_loop(FAULT_SHORT, directory_body, NULL, (void *)SMALL);
    fault_loop(FAULT_MEMORY, directory_body, NULL, pair);
    fault_loop(FAULT_FILES, directory_body, NULL, pair);
    directory_remove(pair);
}

struct text {
    char text[3000];
};

static bool text_body(void *user, struct llm_error *err) {
    const struct text *text = user;
    struct llm_tokenizer *tokenizer = tokenizer_new_gpt2(err); // anew, as it keeps what encoding allocates
    if (tokenizer == NULL) return false;
    int32_t *ids = NULL;
    size_t n = 0;
    char *back = NULL;
    size_t size = 0;
    const bool ok = llm_tokenizer_encode(tokenizer, text->text, sizeof text->text, true, &ids, &n, err) &&
                    llm_tokenizer_decode(tokenizer, ids, n, &back, &size, err);
    llm_tokenizer_free(tokenizer);
    const bool same = ok && size == sizeof text->text && memcmp(back, text->text, size) == 0;
    llm_free(ids);
    llm_free(back);
    if (!ok) return false;
    return same || error_set(err, LLM_ERROR_FORMAT, "another text came back");
}

static void encoding_says_what_failed(void **state) {
    (void)state;
    struct text text;
    memset(text.text, 'x', sizeof text.text); // one long word: merged on a heap
    memcpy(text.text + 500, " <|endoftext|> and so on", 24);
    for (int i = 600; i < 1200; i++) text.text[i] = (char)i; // many ids: their array grows
    fault_loop(FAULT_MEMORY, text_body, NULL, &text);
}

// On three threads: of whose allocations one fails is theirs to settle.
static bool parallel_body(void *user, struct llm_error *err) {
    const char *text = user;
    struct llm_tokenizer *tokenizer = tokenizer_open_directory(SMALL, err);
    if (tokenizer == NULL) return false;
    int32_t *ids = NULL;
    size_t n = 0;
    const bool ok = llm_tokenizer_encode_parallel(tokenizer, text, strlen(text), false, 3, &ids, &n, err);
    llm_tokenizer_free(tokenizer);
    llm_free(ids);
    return ok;
}

static void encoding_on_threads_says_what_failed(void **state) {
    (void)state;
    enum {
        SIZE = 600000
    };
    char *text = malloc(SIZE + 1);
    assert_non_null(text);
    for (int i = 0; i < SIZE; i++) text[i] = " abc"[i % 4];
    text[SIZE] = '\0';
    fault_loop(FAULT_MEMORY, parallel_body, NULL, text);
    free(text);
}

struct place {
    struct llm_tokenizer *tokenizer;
    char directory[64];
};

static bool save_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    return tokenizer_save(place->tokenizer, place->directory, err);
}

// Each file is whole, old or new (here they are the same), so the directory opens whatever failed.
static void save_check(void *user, bool succeeded) {
    (void)succeeded;
    const struct place *place = user;
    assert_true(opened(tokenizer_open_directory(place->directory, NULL)));
}

static void saving_leaves_whole_files(void **state) {
    (void)state;
    struct place place = {tokenizer_open_directory(SMALL, NULL), "/tmp/my-llm-fault-XXXXXX"};
    assert_non_null(mkdtemp(place.directory));
    assert_true(tokenizer_save(place.tokenizer, place.directory, NULL));
    fault_loop(FAULT_MEMORY, save_body, save_check, &place);
    fault_loop(FAULT_FILES, save_body, save_check, &place);
    fault_loop(FAULT_SHORT, save_body, save_check, &place);
    directory_remove(place.directory);
    llm_tokenizer_free(place.tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_says_what_failed),
        cmocka_unit_test(encoding_says_what_failed),
        cmocka_unit_test(encoding_on_threads_says_what_failed),
        cmocka_unit_test(saving_leaves_whole_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
