// test_fault_classify.c: training a classifier, and labelling with it, when memory, calls or the disk fail. Memory
// fails in a run with adapters, which does all that one without does, and more.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault_run.h"

static bool classify(const struct fault_run *run, bool resume, struct llm_error *err) {
    struct llm_classify_options options;
    llm_classify_options_init(&options);
    options.data.path = run->data;
    options.model = MY_LLM_SOURCE_DIR "/tests/fixtures/models/text";
    fault_run_options(run, resume, &options.train);
    options.train.epochs = 1;
    return llm_classify_train(run->out, &options, NULL, err);
}

static int setup_run(void **state, int rank) {
    static struct fault_run run;
    run = (struct fault_run){
        .name = "rows.csv",
        .text = "text,label\na b,x\nb c,y\nc d,x\nd e,y\ne f,x\nf g,y\ng h,x\nh i,y\n",
        .train = classify,
        .rank = rank,
    };
    *state = &run;
    return fault_run_setup(&run);
}

static int setup(void **state) {
    return setup_run(state, 0);
}

static int setup_adapters(void **state) {
    return setup_run(state, 2);
}

static void memory(void **state) {
    assert_true(fault_run_loop(FAULT_MEMORY, *state) > 100);
}

static void files(void **state) {
    assert_true(fault_run_loop(FAULT_FILES, *state) > 20);
}

static void disk(void **state) {
    assert_true(fault_run_loop(FAULT_DISK, *state) > 20);
}

static bool label_body(void *user, struct llm_error *err) {
    const struct fault_run *run = user;
    struct llm_engine_options options;
    llm_engine_options_init(&options);
    options.isa = "ref";
    options.n_threads = 1;
    struct llm_engine *engine = llm_engine_open(run->out, &options, err);
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
        cmocka_unit_test_setup_teardown(memory, setup_adapters, fault_run_teardown),
        cmocka_unit_test_setup_teardown(files, setup, fault_run_teardown),
        {"disk, adapters", disk, setup_adapters, fault_run_teardown, NULL},
        cmocka_unit_test_setup_teardown(labelling, setup, fault_run_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
