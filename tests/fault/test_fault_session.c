// test_fault_session.c: sessions and evaluation when memory runs out: a sentence, nothing lost, and the
// session is as good as before.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"

static struct llm_engine *open_engine(void) {
    char path[512];
    struct llm_error err = {0};
    snprintf(path, sizeof path, "%s/tests/fixtures/models/text", MY_LLM_SOURCE_DIR);
    struct llm_engine_options options;
    llm_engine_options_init(&options);
    options.isa = "ref"; // the fast ones keep scratch in the engine, which the loop would take for lost
    options.n_threads = 1;
    struct llm_engine *engine = llm_engine_open(path, &options, &err);
    if (engine == NULL) fail_msg("%s", err.text);
    return engine;
}

// Beyond a context, so that what grows is grown.
static bool generate(struct llm_session *session, struct llm_error *err) {
    const char *stops[] = {"never to be seen"};
    struct llm_generate_options options;
    llm_generate_options_init(&options);
    options.max_tokens = 150;
    options.ignore_eos = true;
    options.n_logprobs = 2;
    options.stops = stops;
    options.n_stops = 1;
    struct llm_generation generation;
    const int32_t prompt[] = {1, 2, 3};
    if (!llm_session_generate(session, prompt, 3, &options, NULL, NULL, &generation, err)) return false;
    assert_int_equal(generation.samples[1].n_ids, 150);
    llm_generation_release(&generation);
    return true;
}

static bool make_and_generate(void *user, struct llm_error *err) {
    struct llm_session *session = llm_session_new(user, 2, err);
    const bool ok = session != NULL && generate(session, err);
    llm_session_free(session);
    return ok;
}

static void a_session_survives_failing_allocations(void **state) {
    (void)state;
    struct llm_engine *engine = open_engine();
    assert_true(fault_loop(FAULT_MEMORY, make_and_generate, NULL, engine) > 10);
    llm_engine_free(engine);
}

static bool generate_again(void *user, struct llm_error *err) {
    return generate(user, err);
}

static void a_failed_generation_leaves_the_session_usable(void **state) {
    (void)state;
    struct llm_engine *engine = open_engine();
    struct llm_session *session = llm_session_new(engine, 2, NULL);
    assert_non_null(session);
    assert_true(fault_loop(FAULT_MEMORY, generate_again, NULL, session) > 5);
    llm_session_free(session);
    llm_engine_free(engine);
}

static bool evaluate(void *user, struct llm_error *err) {
    const int32_t ids[] = {1, 2, 3, 4, 5};
    const size_t starts[] = {0, 5};
    struct llm_evaluate_options options;
    struct llm_evaluation evaluation;
    llm_evaluate_options_init(&options);
    return llm_evaluate(user, ids, starts, 1, &options, &evaluation, err);
}

static void an_evaluation_survives_failing_allocations(void **state) {
    (void)state;
    struct llm_engine *engine = open_engine();
    assert_true(fault_loop(FAULT_MEMORY, evaluate, NULL, engine) > 5);
    llm_engine_free(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_survives_failing_allocations),
        cmocka_unit_test(a_failed_generation_leaves_the_session_usable),
        cmocka_unit_test(an_evaluation_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
