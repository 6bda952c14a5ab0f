// test_fault_classify.c: training a classifier, and labelling with it, when memory, calls or the disk fail: a sentence,
// nothing leaked, no half model, and a run that was interrupted by it goes on to the same weights.
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
    char folder[64]; // holds rows.csv and run/
    char rows[80], run[80];
    char *weights; // [size] of the run that nothing disturbed
    size_t size;
    int rank; // of adapters; 0: none
};

static bool classify(const struct place *place, bool resume, struct llm_error *err) {
    struct llm_classify_options options;
    llm_classify_options_init(&options);
    options.data.path = place->rows;
    options.model = MY_LLM_SOURCE_DIR "/tests/fixtures/models/text";
    struct llm_train_options *train = &options.train;
    train->isa = "ref";
    train->n_threads = 1;
    train->epochs = 1;
    train->batch_size = 2;
    train->save_every = 1;
    train->resume = resume;
    train->overwrite = !resume;
    train->lora_rank = place->rank;
    train->adapter = place->rank > 0;
    return llm_classify_train(place->run, &options, NULL, err);
}

static bool read_weights(const struct place *place, char **bytes, size_t *size) {
    char path[120];
    snprintf(path, sizeof path, "%s/model/model.safetensors", place->run);
    return file_read(path, 1 << 20, bytes, size, NULL);
}

static int place_make(void **state, int rank) {
    struct place *place = calloc(1, sizeof *place);
    if (place != NULL) place->rank = rank;
    if (place == NULL || setenv("PATH", "/nonexistent", 1) != 0) return -1; // no gnuplot
    strcpy(place->folder, fault_template());
    if (mkdtemp(place->folder) == NULL) return -1;
    snprintf(place->rows, sizeof place->rows, "%s/rows.csv", place->folder);
    snprintf(place->run, sizeof place->run, "%s/run", place->folder);
    static const char rows[] = "text,label\na b,x\nb c,y\nc d,x\nd e,y\ne f,x\nf g,y\ng h,x\nh i,y\n";
    struct llm_error err = {0};
    if (!file_write(place->rows, rows, strlen(rows), &err) || !classify(place, false, &err) ||
        !read_weights(place, &place->weights, &place->size)) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    *state = place;
    return 0;
}

static int place_setup(void **state) {
    return place_make(state, 0);
}

static int place_setup_adapters(void **state) {
    return place_make(state, 2);
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->folder);
    llm_free(place->weights);
    free(place);
    return 0;
}

static bool train_body(void *user, struct llm_error *err) {
    return classify(user, false, err);
}

// A model that is there is whole; a run that was cut off can be finished, to the same weights.
static void train_check(void *user, bool succeeded) {
    const struct place *place = user;
    char *bytes = NULL;
    size_t size = 0;
    const bool there = read_weights(place, &bytes, &size);
    if (succeeded) assert_true(there);
    if (there) assert_true(size == place->size && memcmp(bytes, place->weights, size) == 0);
    llm_free(bytes);
    struct llm_error err = {0};
    if (!classify(place, true, &err)) {
        assert_false(succeeded);
        if (strstr(err.text, "there is no run to resume here") == NULL) fail_msg("%s", err.text); // it had not begun
        return;
    }
    bytes = NULL;
    assert_true(read_weights(place, &bytes, &size));
    assert_true(size == place->size && memcmp(bytes, place->weights, size) == 0);
    llm_free(bytes);
}

static void memory(void **state) {
    assert_true(fault_loop(FAULT_MEMORY, train_body, train_check, *state) > 100);
}

static void files(void **state) {
    assert_true(fault_loop(FAULT_FILES, train_body, train_check, *state) > 20);
}

static void disk(void **state) {
    assert_true(fault_loop(FAULT_DISK, train_body, train_check, *state) > 20);
}

static bool label_body(void *user, struct llm_error *err) {
    const struct place *place = user;
    struct llm_engine_options options;
    llm_engine_options_init(&options);
    options.isa = "ref";
    options.n_threads = 1;
    struct llm_engine *engine = llm_engine_open(place->run, &options, err);
    if (engine == NULL) return false;
    static const char *const texts[] = {"a b", "", "b c d e f"};
    const size_t sizes[] = {3, 0, 9};
    int32_t labels[3];
    float probabilities[6];
    const bool ok = llm_classify(engine, texts, sizes, 3, labels, probabilities, err);
    for (int i = 0; ok && i < 3; i++) {
        const float sum = probabilities[2 * i] + probabilities[2 * i + 1];
        assert_true(sum > 0.999F && sum < 1.001F);
        assert_true(probabilities[2 * i + labels[i]] >= 0.5F);
    }
    llm_engine_free(engine);
    return ok;
}

static void labelling(void **state) {
    assert_true(fault_loop(FAULT_MEMORY | FAULT_FILES, label_body, NULL, *state) > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(memory, place_setup, place_teardown),
        {"memory, adapters", memory, place_setup_adapters, place_teardown, NULL},
        {"disk, adapters", disk, place_setup_adapters, place_teardown, NULL},
        cmocka_unit_test_setup_teardown(files, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(disk, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(labelling, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
