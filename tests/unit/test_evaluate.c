// test_evaluate.c: losses against transformers', windows and strides that make no sense, cancelling.
#include "infer_fixture.h"

enum {
    MAX_IDS = 1000,
    MAX_SEQUENCES = 20
};

struct sequences {
    int32_t ids[MAX_IDS];
    size_t starts[MAX_SEQUENCES + 1];
    size_t n;
};

// Reads the sequences at the top of evaluate.txt.
static void read_sequences(FILE *file, struct sequences *sequences) {
    int n;
    assert_int_equal(fscanf(file, "sequences %d", &n), 1);
    assert_in_range(n, 1, MAX_SEQUENCES);
    sequences->n = (size_t)n;
    sequences->starts[0] = 0;
    for (int s = 0; s < n; s++) {
        int length;
        assert_int_equal(fscanf(file, "%d", &length), 1);
        assert_true(sequences->starts[s] + (size_t)length <= MAX_IDS);
        read_ids(file, sequences->ids + sequences->starts[s], length);
        sequences->starts[s + 1] = sequences->starts[s] + (size_t)length;
    }
}

static void check_case(const struct sequences *sequences, const char *name, const char *isa, int window, int stride,
                       long n_tokens, double loss, double error) {
    struct llm_error err = {0};
    struct llm_evaluate_options options;
    struct llm_evaluation evaluation;
    struct llm_engine *engine = fixture_engine(name, isa, 0);
    llm_evaluate_options_init(&options);
    options.window = window;
    options.stride = stride;
    check(llm_evaluate(engine, sequences->ids, sequences->starts, sequences->n, &options, &evaluation, &err), &err);
    assert_int_equal(evaluation.n_tokens, n_tokens);
    // Single losses differ by up to 1e-4 of the largest logit, here about 7; their mean by far less.
    assert_float_equal(evaluation.loss, loss, 5e-6 * loss);
    assert_float_equal(evaluation.loss_error, error, 5e-5 * error);
    assert_float_equal(evaluation.perplexity, exp(evaluation.loss), 1e-9 * exp(loss));
    assert_float_equal(evaluation.perplexity_error, evaluation.perplexity * evaluation.loss_error, 1e-9 * exp(loss));
    llm_engine_free(engine);
}

static void losses_are_those_of_transformers(void **state) {
    (void)state;
    struct sequences sequences;
    FILE *file = fixture_open("infer", "evaluate", ".txt");
    read_sequences(file, &sequences);
    const char *levels[OPS_LEVELS];
    const int n_levels = available_levels(levels);
    char name[32];
    int window, stride, n_cases = 0;
    long n_tokens;
    double loss, error;
    while (fscanf(file, "%31s %d %d %ld %lf %lf", name, &window, &stride, &n_tokens, &loss, &error) == 6) {
        for (int l = 0; l < n_levels; l++) {
            check_case(&sequences, name, levels[l], window, stride, n_tokens, loss, error);
        }
        n_cases++;
    }
    fclose(file);
    assert_int_equal(n_cases, 8);
}

static void check_refused(struct llm_engine *engine, const int32_t *ids, size_t n, int window, int stride,
                          const char *sentence) {
    struct llm_error err = {0};
    struct llm_evaluate_options options;
    struct llm_evaluation evaluation;
    llm_evaluate_options_init(&options);
    options.window = window;
    options.stride = stride;
    const size_t starts[] = {0, n};
    assert_false(llm_evaluate(engine, ids, starts, 1, &options, &evaluation, &err));
    assert_string_equal(err.text, sentence);
}

static void what_makes_no_sense_is_refused(void **state) {
    (void)state;
    struct llm_engine *engine = fixture_engine("prefix", NULL, 1);
    static const int32_t ids[] = {1, 2, 3};
    check_refused(engine, ids, 3, 65, 0, "window is 65, 1 to the model's context of 64 tokens was expected");
    check_refused(engine, ids, 3, -1, 0, "window is -1, 1 to the model's context of 64 tokens was expected");
    check_refused(engine, ids, 3, 10, 11,
                  "stride is 11, 1 to the window of 10 tokens was expected, so that no token is left out");
    check_refused(engine, ids, 3, 10, -1,
                  "stride is -1, 1 to the window of 10 tokens was expected, so that no token is left out");
    check_refused(engine, ids, 1, 0, 0, "there is no token to predict: a sequence of at least two is needed");
    check_refused(engine, ids, 0, 0, 0, "there is no token to predict: a sequence of at least two is needed");
    static const int32_t wrong[] = {1, 2, 101};
    check_refused(engine, wrong, 3, 0, 0, "id 101 at place 2 of a sequence is not one of the model's, 0 to 100");
    static const int32_t negative[] = {-1, 2};
    check_refused(engine, negative, 2, 0, 0, "id -1 at place 0 of a sequence is not one of the model's, 0 to 100");
    llm_engine_free(engine);
}

// Counts calls; stops at the second.
static bool stop_at_second(void *user, const struct llm_progress *progress) {
    int *calls = user;
    assert_string_equal(progress->unit, "tokens");
    assert_true(progress->done <= progress->total);
    return ++*calls < 2;
}

static void progress_is_reported_and_may_cancel(void **state) {
    (void)state;
    struct llm_engine *engine = fixture_engine("prefix", NULL, 1);
    static int32_t ids[3000];
    const size_t starts[] = {0, 3000};
    struct llm_error err = {0};
    int calls = 0;
    struct llm_evaluate_options options;
    struct llm_evaluation evaluation;
    llm_evaluate_options_init(&options);
    options.callbacks.progress = stop_at_second;
    options.callbacks.user = &calls;
    assert_false(llm_evaluate(engine, ids, starts, 1, &options, &evaluation, &err));
    assert_int_equal(err.code, LLM_ERROR_CANCELLED);
    assert_int_equal(calls, 2);
    llm_engine_free(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_those_of_transformers),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(progress_is_reported_and_may_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
