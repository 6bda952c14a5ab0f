// test_fault_pretrain.c: a whole run of pretraining when memory, calls or the disk fail.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault_run.h"

static bool pretrain(const struct fault_run *run, bool resume, struct llm_error *err) {
    const char *const files[] = {run->data};
    struct llm_pretrain_options options;
    llm_pretrain_options_init(&options);
    options.tokenizer = MY_LLM_SOURCE_DIR "/tests/fixtures/train/tokenizer";
    options.cache = run->cache;
    options.n_layer = options.n_head = 1;
    options.n_embd = options.context = 4;
    options.sample_tokens = 1;
    options.prompt = "a";
    fault_run_options(run, resume, &options.train);
    options.train.steps = 3;
    options.train.dropout = 0.1;
    options.train.eval_iter = 1;
    options.train.keep_best = true;
    return llm_pretrain(files, 1, run->out, &options, NULL, err);
}

static int setup(void **state) {
    static struct fault_run run;
    run = (struct fault_run){
        .name = "text.txt",
        .text = "A text of some words, so that there are a few windows of four tokens in it, and some more.",
        .train = pretrain,
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

static void short_transfers(void **state) {
    assert_true(fault_run_loop(FAULT_SHORT, *state) > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(memory, setup, fault_run_teardown),
        cmocka_unit_test_setup_teardown(files, setup, fault_run_teardown),
        cmocka_unit_test_setup_teardown(disk, setup, fault_run_teardown),
        cmocka_unit_test_setup_teardown(short_transfers, setup, fault_run_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
