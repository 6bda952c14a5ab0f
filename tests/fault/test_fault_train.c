// test_fault_train.c: learning a vocabulary and saving it when memory, calls or the disk fail: a sentence, nothing
// leaked, and the vocabulary that was there before, or the new one, whole.
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
#include <zlib.h>

#include "base/error.h"
#include "base/file.h"
#include "fault.h"

struct place {
    char folder[64]; // holds texts/ and out/
    char texts[80];
    char out[80];
    char vocab[100]; // out/vocab.json
};

static void put_file(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) return -1;
    strcpy(place->folder, fault_template());
    if (mkdtemp(place->folder) == NULL) return -1;
    snprintf(place->texts, sizeof place->texts, "%s/texts", place->folder);
    snprintf(place->out, sizeof place->out, "%s/out", place->folder);
    snprintf(place->vocab, sizeof place->vocab, "%s/vocab.json", place->out);
    if (mkdir(place->texts, 0700) != 0 || mkdir(place->out, 0700) != 0) return -1;
    char path[100];
    snprintf(path, sizeof path, "%s/a.txt", place->texts);
    put_file(path, "hug hugs hugging, a word of more than fifteen bytes: incomprehensibilities");
    snprintf(path, sizeof path, "%s/b.txt.gz", place->texts);
    gzFile gz = gzopen(path, "wb");
    if (gz == NULL || gzputs(gz, "pug pugs<|endoftext|>a bun") < 0 || gzclose(gz) != Z_OK) return -1;
    *state = place;
    return 0;
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->folder);
    free(place);
    return 0;
}

static bool train_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    const char *const files[] = {place->texts};
    struct llm_tokenizer_train_options options;
    llm_tokenizer_train_options_init(&options);
    options.vocab_size = 270;
    options.n_threads = 1;
    struct llm_tokenizer *tokenizer = llm_tokenizer_train(files, 1, &options, err);
    if (tokenizer == NULL) return false;
    const bool ok = llm_tokenizer_vocab_size(tokenizer) == 270 && llm_tokenizer_save(tokenizer, place->out, true, err);
    llm_tokenizer_free(tokenizer);
    return ok;
}

static void train_check(void *user, bool succeeded) {
    const struct place *place = user;
    char *text = NULL;
    size_t size = 0;
    assert_true(file_read(place->vocab, 1 << 20, &text, &size, NULL));
    assert_int_equal(strstr(text, "\"<|endoftext|>\": 269") != NULL, succeeded);
    llm_free(text);
    put_file(place->vocab, "the old one");
}

static void a_vocabulary_is_old_or_new(void **state) {
    struct place *place = *state;
    put_file(place->vocab, "the old one");
    assert_true(fault_loop(FAULT_MEMORY, train_body, train_check, place) > 40);
    fault_loop(FAULT_FILES, train_body, train_check, place);
    fault_loop(FAULT_DISK, train_body, train_check, place);
    fault_loop(FAULT_SHORT, train_body, train_check, place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_vocabulary_is_old_or_new, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
