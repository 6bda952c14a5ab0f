// test_fault_pretrain.c: a whole run of pretraining when memory, calls or the disk fail: a sentence, nothing leaked, no
// half model, and a run that was interrupted by it goes on to the same weights.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fault.h"

struct place {
    char folder[64]; // holds text.txt, ids/ and run/
    char text[80], ids[80], run[80];
    char *weights; // [size] of the run that nothing disturbed
    size_t size;
};

static bool pretrain(const struct place *place, bool resume, struct llm_error *err) {
    const char *const files[] = {place->text};
    struct llm_pretrain_options options;
    llm_pretrain_options_init(&options);
    options.tokenizer = MY_LLM_SOURCE_DIR "/tests/fixtures/train/tokenizer";
    options.cache = place->ids;
    options.n_layer = options.n_head = 1;
    options.n_embd = options.context = 4;
    options.sample_tokens = 1;
    options.prompt = "a";
    struct llm_train_options *train = &options.train;
    train->isa = "ref";
    train->n_threads = 1;
    train->steps = 3;
    train->batch_size = 2;
    train->dropout = 0.1;
    train->eval_iter = 1;
    train->save_every = 1;
    train->keep_best = true;
    train->resume = resume;
    train->overwrite = !resume;
    return llm_pretrain(files, 1, place->run, &options, NULL, err);
}

static bool read_weights(const struct place *place, char **bytes, size_t *size) {
    char path[120];
    snprintf(path, sizeof path, "%s/model/model.safetensors", place->run);
    return file_read(path, 1 << 20, bytes, size, NULL);
}

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL || setenv("PATH", "/nonexistent", 1) != 0) return -1; // no gnuplot
    strcpy(place->folder, fault_template());
    if (mkdtemp(place->folder) == NULL) return -1;
    snprintf(place->text, sizeof place->text, "%s/text.txt", place->folder);
    snprintf(place->ids, sizeof place->ids, "%s/ids", place->folder);
    snprintf(place->run, sizeof place->run, "%s/run", place->folder);
    static const char text[] =
        "A text of some words, so that there are a few windows of four tokens in it, and some more.";
    struct llm_error err = {0};
    if (!file_write(place->text, text, strlen(text), &err) || !pretrain(place, false, &err) ||
        !read_weights(place, &place->weights, &place->size)) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    *state = place;
    return 0;
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->folder);
    llm_free(place->weights);
    free(place);
    return 0;
}

static bool fresh_body(void *user, struct llm_error *err) {
    return pretrain(user, false, err);
}

// A model that is there is whole; a run that was cut off can be finished, to the same weights.
static void fresh_check(void *user, bool succeeded) {
    const struct place *place = user;
    char *bytes = NULL;
    size_t size = 0;
    const bool there = read_weights(place, &bytes, &size);
    if (succeeded) assert_true(there);
    if (there) assert_true(size == place->size && memcmp(bytes, place->weights, size) == 0);
    llm_free(bytes);
    struct llm_error err = {0};
    if (!pretrain(place, true, &err)) {
        assert_false(succeeded);
        if (strstr(err.text, "there is no run to resume here") == NULL)
            fail_msg("%s", err.text); // else it had not begun
        return;
    }
    bytes = NULL;
    assert_true(read_weights(place, &bytes, &size));
    assert_true(size == place->size && memcmp(bytes, place->weights, size) == 0);
    llm_free(bytes);
}

static void memory(void **state) {
    assert_true(fault_loop(FAULT_MEMORY, fresh_body, fresh_check, *state) > 100);
}

static void files(void **state) {
    assert_true(fault_loop(FAULT_FILES, fresh_body, fresh_check, *state) > 20);
}

static void disk(void **state) {
    assert_true(fault_loop(FAULT_DISK, fresh_body, fresh_check, *state) > 20);
}

static void short_transfers(void **state) {
    assert_true(fault_loop(FAULT_SHORT, fresh_body, fresh_check, *state) > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(memory, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(files, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(disk, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(short_transfers, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
