// test_fault_instruct_train.c: tuning on instructions, and the answers after it, when memory, calls or the disk fail.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault_run.h"

static bool tune(const struct fault_run *run, bool resume, struct llm_error *err) {
    struct llm_instruct_options options;
    llm_instruct_options_init(&options);
    options.data = run->data;
    options.model = MY_LLM_SOURCE_DIR "/tests/fixtures/models/text";
    options.template_file = MY_LLM_SOURCE_DIR "/tests/fixtures/instruct/short-template.txt";
    options.train_share = 0.5;
    options.test_share = 0.25;
    options.sample_tokens = 1;
    options.answers.generate.max_tokens = 1;
    fault_run_options(run, resume, &options.train);
    options.train.epochs = 1;
    options.train.eval_freq = 0;
    return llm_instruct_train(run->out, &options, NULL, err);
}

static int setup(void **state) {
    static struct fault_run run;
    run = (struct fault_run){
        .name = "say.json",
        .text = "[{\"instruction\": \"a\", \"output\": \"b\"}, {\"instruction\": \"c\", \"output\": \"d\"},"
                " {\"instruction\": \"e\", \"input\": \"f\", \"output\": \"g\"}, {\"instruction\": \"h\", \"output\": "
                "\"i\"},"
                " {\"instruction\": \"j\", \"output\": \"k\"}, {\"instruction\": \"l\", \"output\": \"m\"},"
                " {\"instruction\": \"n\", \"output\": \"o\"}, {\"instruction\": \"p\", \"output\": \"q\"}]",
        .train = tune,
    };
    *state = &run;
    return fault_run_setup(&run);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(memory, setup, fault_run_teardown),
        cmocka_unit_test_setup_teardown(files, setup, fault_run_teardown),
        cmocka_unit_test_setup_teardown(disk, setup, fault_run_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
