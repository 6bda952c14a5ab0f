// test_fault_infer.c: a small model, generating and evaluating, when memory or a system call fails:
// each must end in a sentence and give back what it took.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault.h"

#define MODELS MY_LLM_SOURCE_DIR "/tests/fixtures/models/"

static struct llm_engine_options reference_options(void) {
    struct llm_engine_options options;
    llm_engine_options_init(&options);
    options.n_threads = 1; // calls come in the same order every time
    options.isa = "ref";
    options.offline = true;
    return options;
}

static bool open_body(void *user, struct llm_error *err) {
    const struct llm_engine_options options = reference_options();
    struct llm_engine *engine = llm_engine_open(user, &options, err);
    llm_engine_free(engine);
    return engine != NULL;
}

static void the_starter(void **state) {
    (void)state;
    char *path = MY_LLM_SOURCE_DIR "/tests/fixtures/starter";
    fault_loop(FAULT_MEMORY, open_body, NULL, path);
    fault_loop(FAULT_FILES, open_body, NULL, path);
}

static bool generate_body(void *user, struct llm_error *err) {
    const struct llm_engine_options options = reference_options();
    struct llm_engine *engine = llm_engine_open(user, &options, err);
    struct llm_session *session = engine == NULL ? NULL : llm_session_new(engine, 2, err);
    struct llm_generate_options how;
    llm_generate_options_init(&how);
    how.max_tokens = 4;
    how.n_logprobs = 2;
    const int32_t prompt[] = {1, 2, 3};
    struct llm_generation generation = {0};
    const bool ok = session != NULL && llm_session_generate(session, prompt, 3, &how, NULL, NULL, &generation, err);
    llm_generation_release(&generation);
    llm_session_free(session);
    llm_engine_free(engine);
    return ok;
}

static void generating(void **state) {
    (void)state;
    fault_loop(FAULT_MEMORY, generate_body, NULL, MODELS "plain");
    fault_loop(FAULT_MEMORY, generate_body, NULL, MODELS "text");
}

static bool evaluate_body(void *user, struct llm_error *err) {
    const struct llm_engine_options options = reference_options();
    struct llm_engine *engine = llm_engine_open(user, &options, err);
    struct llm_evaluate_options how;
    llm_evaluate_options_init(&how);
    const int32_t ids[] = {1, 2, 3, 4, 5, 6};
    const size_t starts[] = {0, 3, 6};
    struct llm_evaluation evaluation;
    const bool ok = engine != NULL && llm_evaluate(engine, ids, starts, 2, &how, &evaluation, err);
    llm_engine_free(engine);
    return ok;
}

static void evaluating(void **state) {
    (void)state;
    fault_loop(FAULT_MEMORY, evaluate_body, NULL, MODELS "plain");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_starter),
        cmocka_unit_test(generating),
        cmocka_unit_test(evaluating),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
