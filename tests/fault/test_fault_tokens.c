// test_fault_tokens.c: texts to files of ids when memory, calls or the disk fail: a sentence, nothing leaked, and no
// file that is not whole.
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

#include "base/error.h"
#include "data/tokens.h"
#include "fault.h"
#include "tokenizer/tokenizer.h"

struct place {
    char folder[64];
    char text[80], cache[80];
    struct llm_tokenizer *tokenizer;
    enum token_split_kind split;
    bool kept; // the files stay from one run to the next
};

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) return -1;
    strcpy(place->folder, fault_template());
    if (mkdtemp(place->folder) == NULL) return -1;
    snprintf(place->text, sizeof place->text, "%s/text", place->folder);
    snprintf(place->cache, sizeof place->cache, "%s/cache", place->folder);
    FILE *file = fopen(place->text, "wb");
    if (file == NULL || fputs("one<|endoftext|>two<|endoftext|>three<|endoftext|>four", file) < 0) return -1;
    if (fclose(file) != 0) return -1;
    place->tokenizer = tokenizer_open_directory(MY_LLM_SOURCE_DIR "/tests/fixtures/train/tokenizer", NULL);
    *state = place;
    // What a tokenizer keeps of the texts it met is there before the loops count what is left over.
    int32_t *ids = NULL;
    size_t n = 0;
    if (place->tokenizer == NULL || !llm_tokenizer_encode(place->tokenizer, "a", 1, false, &ids, &n, NULL)) return -1;
    llm_free(ids);
    return 0;
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->folder);
    llm_tokenizer_free(place->tokenizer);
    free(place);
    return 0;
}

static bool tokens_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    const char *const files[] = {place->text};
    const struct token_options options = {.files = files,
                                          .n_files = 1,
                                          .tokenizer = place->tokenizer,
                                          .folder = place->cache,
                                          .split = place->split,
                                          .validation = 0.5,
                                          .n_threads = 1};
    struct tokens tokens;
    if (!tokens_open(&tokens, &options, err)) return false;
    const bool ok = tokens.train.n_documents == 2;
    tokens_close(&tokens);
    return ok;
}

static void tokens_check(void *user, bool succeeded) {
    const struct place *place = user;
    static const char *const names[] = {"train.tokens", "validation.tokens"};
    for (int i = 0; i < 2; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", place->cache, names[i]);
        struct token_file file;
        if (succeeded || file_exists(path)) {
            assert_true(token_file_open(&file, path, NULL));
            token_file_close(&file);
        }
        if (!place->kept) unlink(path);
    }
}

static void test_tokenising(void **state) {
    struct place *place = *state;
    for (int split = 0; split < 2; split++) {
        place->split = split == 0 ? TOKENS_BY_CHARACTERS : TOKENS_BY_DOCUMENTS;
        assert_true(fault_loop(FAULT_MEMORY, tokens_body, tokens_check, place) > 20);
        assert_true(fault_loop(FAULT_FILES, tokens_body, tokens_check, place) > 5);
        assert_true(fault_loop(FAULT_DISK, tokens_body, tokens_check, place) > 10);
        assert_true(fault_loop(FAULT_SHORT, tokens_body, tokens_check, place) > 2);
    }
}

static void test_using_files_again(void **state) {
    struct place *place = *state;
    place->split = TOKENS_BY_DOCUMENTS;
    place->kept = true;
    struct llm_error err = {0};
    assert_true(tokens_body(place, &err));
    // What cannot be read is made anew, so a run may succeed where a call failed.
    assert_true(fault_loop(FAULT_MEMORY, tokens_body, tokens_check, place) > 5);
    assert_true(fault_loop(FAULT_FILES, tokens_body, tokens_check, place) > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tokenising, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_using_files_again, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
