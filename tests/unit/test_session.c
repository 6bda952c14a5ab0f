// test_session.c: generation as ids: what a session reuses, several samples at once, full contexts, and that
// threads and kernels do not change what comes. (Text: test_session_text.c.)
#include <pthread.h>

#include "infer_fixture.h"

// ---- The KV cache ---------------------------------------------------------------------------

static void what_a_prompt_shares_is_not_computed_again(void **state) {
    (void)state;
    struct reference reference = reference_read("prefix");
    struct llm_engine *engine = fixture_engine("prefix", NULL, 1);
    struct llm_session *session = fixture_session(engine, 1);
    const struct llm_generate_options options = greedy_options(10);
    static const struct {
        int n_prompt; // of the reference's ids, which are also what greedy generation gives
        int n_cached;
    } steps[] = {
        {N_PROMPT, 0},
        {N_PROMPT, N_PROMPT - 1},       // the last token's logits are needed again
        {N_PROMPT + 5, N_PROMPT + 4},   // into what was generated
        {N_PROMPT + 20, N_PROMPT + 14}, // the newest token of a sample is not in the cache
        {3, 2},
        {N_PROMPT, 3}, // what was generated after those 3 is something else
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct llm_generation generation = generate(session, reference.ids, (size_t)steps[i].n_prompt, &options);
        assert_int_equal(generation.n_prompt, steps[i].n_prompt);
        assert_int_equal(generation.n_prompt_cached, steps[i].n_cached);
        if (steps[i].n_prompt >= N_PROMPT) {
            assert_ids(&generation.samples[0], reference.ids + steps[i].n_prompt, 10);
        }
        llm_generation_release(&generation);
    }
    // A prompt that differs in its first token shares nothing.
    int32_t other[N_PROMPT];
    memcpy(other, reference.ids, sizeof other);
    other[0] = (other[0] + 1) % 100;
    struct llm_generation generation = generate(session, other, N_PROMPT, &options);
    assert_int_equal(generation.n_prompt_cached, 0);
    llm_generation_release(&generation);
    llm_session_free(session);
    llm_engine_free(engine);
    free(reference.logits);
}

static void logits_begin_a_timeline_anew(void **state) {
    (void)state;
    struct reference reference = reference_read("prefix");
    struct llm_engine *engine = fixture_engine("prefix", NULL, 1);
    struct llm_session *session = fixture_session(engine, 2);
    const struct llm_generate_options options = greedy_options(10);
    struct llm_generation generation = generate(session, reference.ids, N_PROMPT, &options);
    llm_generation_release(&generation);
    const size_t width = (size_t)reference.vocab_size;
    float *logits = malloc(20 * width * sizeof *logits);
    struct llm_error err = {0};
    check(llm_session_logits(session, reference.ids, 20, logits, &err), &err);
    assert_true(largest_difference(logits, reference.logits, 20 * width) <= 1e-4f * reference.max_abs);
    check(llm_session_logits(session, reference.ids, 0, logits, &err), &err);
    // Both slots still know what they hold.
    generation = generate(session, reference.ids, N_PROMPT, &options);
    assert_ids(&generation.samples[0], reference.ids + N_PROMPT, 10);
    assert_ids(&generation.samples[1], reference.ids + N_PROMPT, 10);
    llm_generation_release(&generation);
    free(logits);
    llm_session_free(session);
    llm_engine_free(engine);
    free(reference.logits);
}

// ---- Several samples ------------------------------------------------------------------------

static void a_sample_does_not_depend_on_the_others(void **state) {
    (void)state;
    struct reference reference = reference_read("untied");
    struct llm_engine *engine = fixture_engine("untied", NULL, 1);
    const struct llm_generate_options options = wild_options(100); // across a context shift
    struct llm_session *alone = fixture_session(engine, 1);
    struct llm_session *together = fixture_session(engine, 5);
    struct llm_generation one = generate(alone, reference.ids, N_PROMPT, &options);
    struct llm_generation five = generate(together, reference.ids, N_PROMPT, &options);
    assert_int_equal(five.n_samples, 5);
    assert_int_equal(five.n_generated, 500);
    assert_ids(&five.samples[0], one.samples[0].ids, one.samples[0].n_ids);
    for (int s = 1; s < 5; s++) {
        assert_memory_not_equal(five.samples[s].ids, five.samples[s - 1].ids, 100 * sizeof(int32_t));
    }
    llm_generation_release(&one);
    // A second call with the same prompt gives the same, from the cache.
    struct llm_generation again = generate(together, reference.ids, N_PROMPT, &options);
    for (int s = 0; s < 5; s++) assert_ids(&again.samples[s], five.samples[s].ids, 100);
    llm_generation_release(&again);
    llm_generation_release(&five);
    llm_session_free(alone);
    llm_session_free(together);
    llm_engine_free(engine);
    free(reference.logits);
}

static void samples_end_each_in_their_own_time(void **state) {
    (void)state;
    // End-of-text is 100; at this temperature about one token in a hundred is.
    struct reference reference = reference_read("untied");
    struct llm_engine *engine = fixture_engine("untied", NULL, 1);
    struct llm_session *session = fixture_session(engine, 16);
    struct llm_generate_options options = wild_options(60);
    options.temperature = 100;
    struct llm_generation endless = generate(session, reference.ids, N_PROMPT, &options);
    options.ignore_eos = false;
    struct llm_generation ended = generate(session, reference.ids, N_PROMPT, &options);
    int n_ended = 0;
    for (int s = 0; s < 16; s++) {
        size_t n = 0;
        while (n < 60 && endless.samples[s].ids[n] != 100) n++;
        assert_ids(&ended.samples[s], endless.samples[s].ids, n);
        assert_int_equal(ended.samples[s].finish, n < 60 ? LLM_FINISH_EOS : LLM_FINISH_LENGTH);
        n_ended += n < 60;
    }
    assert_in_range(n_ended, 2, 15);
    llm_generation_release(&endless);
    llm_generation_release(&ended);
    llm_session_free(session);
    llm_engine_free(engine);
    free(reference.logits);
}

static void threads_do_not_change_a_text(void **state) {
    (void)state;
    struct reference reference = reference_read("distil");
    const struct llm_generate_options options = wild_options(150);
    struct llm_generation first = {0};
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct llm_engine *engine = fixture_engine("distil", NULL, n_threads);
        struct llm_session *session = fixture_session(engine, 3);
        struct llm_generation generation = generate(session, reference.ids, N_PROMPT, &options);
        if (n_threads == 1) {
            first = generation;
        } else {
            for (int s = 0; s < 3; s++) assert_ids(&generation.samples[s], first.samples[s].ids, 150);
            llm_generation_release(&generation);
        }
        llm_session_free(session);
        llm_engine_free(engine);
    }
    llm_generation_release(&first);
    free(reference.logits);
}

// One thread of those that share an engine.
struct worker {
    pthread_t thread;
    struct llm_engine *engine;
    const struct reference *reference;
    bool same; // every generation gave the reference's ids
};

static void *work(void *memory) {
    struct worker *worker = memory;
    const struct llm_generate_options options = greedy_options(N_GREEDY);
    worker->same = true;
    for (int round = 0; round < 5; round++) {
        struct llm_session *session = llm_session_new(worker->engine, 1, NULL);
        struct llm_generation generation;
        worker->same =
            worker->same && session != NULL &&
            llm_session_generate(session, worker->reference->ids, N_PROMPT, &options, NULL, NULL, &generation, NULL) &&
            memcmp(generation.samples[0].ids, worker->reference->ids + N_PROMPT, N_GREEDY * sizeof(int32_t)) == 0;
        llm_generation_release(&generation);
        llm_session_free(session);
    }
    return NULL;
}

static void threads_may_share_an_engine(void **state) {
    (void)state;
    struct reference reference = reference_read("head64");
    const char *levels[OPS_LEVELS];
    const int n_levels = available_levels(levels);
    for (int l = 0; l < n_levels; l++) {
        struct llm_engine *engine = fixture_engine("head64", levels[l], 2);
        struct worker workers[3];
        for (int i = 0; i < 3; i++) {
            workers[i] = (struct worker){.engine = engine, .reference = &reference};
            assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
        }
        for (int i = 0; i < 3; i++) {
            assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
            assert_true(workers[i].same);
        }
        llm_engine_free(engine);
    }
    free(reference.logits);
}

// ---- Full contexts --------------------------------------------------------------------------

struct shift_case {
    char name[32];
    int n_prompt, n_new;
    int32_t prompt[64];
    int32_t new[200];
};

static bool read_shift_case(FILE *file, struct shift_case *shift) {
    double margin;
    if (fscanf(file, "%31s %d %d", shift->name, &shift->n_prompt, &shift->n_new) != 3) return false;
    assert_in_range(shift->n_prompt, 1, 64);
    assert_in_range(shift->n_new, 1, 200);
    read_ids(file, shift->prompt, shift->n_prompt);
    read_ids(file, shift->new, shift->n_new);
    assert_int_equal(fscanf(file, "%lf", &margin), 1);
    return true;
}

static void a_full_context_goes_on_as_recomputing_its_newest_half_does(void **state) {
    (void)state;
    const char *levels[OPS_LEVELS];
    const int n_levels = available_levels(levels);
    FILE *file = fixture_open("infer", "shift", ".txt");
    struct shift_case shift;
    int n_cases = 0;
    for (; read_shift_case(file, &shift); n_cases++) {
        for (int l = 0; l < n_levels; l++) {
            struct llm_engine *engine = fixture_engine(shift.name, levels[l], 0);
            struct llm_session *session = fixture_session(engine, 2);
            const struct llm_generate_options options = greedy_options(shift.n_new);
            struct llm_generation generation = generate(session, shift.prompt, (size_t)shift.n_prompt, &options);
            for (int s = 0; s < 2; s++) assert_ids(&generation.samples[s], shift.new, (size_t)shift.n_new);
            llm_generation_release(&generation);
            llm_session_free(session);
            llm_engine_free(engine);
        }
    }
    fclose(file);
    assert_int_equal(n_cases, 4);
}

static void without_shift_a_full_context_ends_the_text(void **state) {
    (void)state;
    struct reference reference = reference_read("prefix");
    struct llm_engine *engine = fixture_engine("prefix", NULL, 1);
    struct llm_session *session = fixture_session(engine, 2);
    struct llm_generate_options options = greedy_options(1000);
    options.shift = false;
    // 64 places: the prompt and 40 tokens; the last token that can be predicted is the 41st.
    struct llm_generation generation = generate(session, reference.ids, N_PROMPT, &options);
    assert_int_equal(generation.samples[1].finish, LLM_FINISH_CONTEXT);
    assert_int_equal(generation.samples[1].n_ids, N_GREEDY + 1);
    assert_memory_equal(generation.samples[1].ids, reference.ids + N_PROMPT, N_GREEDY * sizeof(int32_t));
    llm_generation_release(&generation);
    generation = generate(session, reference.ids, N_REFERENCE, &options);
    assert_int_equal(generation.samples[0].finish, LLM_FINISH_CONTEXT);
    assert_int_equal(generation.samples[0].n_ids, 1);
    llm_generation_release(&generation);
    options.max_tokens = N_GREEDY; // reached first
    generation = generate(session, reference.ids, N_PROMPT, &options);
    assert_int_equal(generation.samples[0].finish, LLM_FINISH_LENGTH);
    llm_generation_release(&generation);
    llm_session_free(session);
    llm_engine_free(engine);
    free(reference.logits);
}

static void keep_notice(void *user, const char *sentence) {
    snprintf(user, 200, "%s", sentence);
}

static void a_prompt_longer_than_the_context_keeps_its_newest_part(void **state) {
    (void)state;
    char path[512];
    char notice[200] = "";
    snprintf(path, sizeof path, "%s/tests/fixtures/models/prefix", MY_LLM_SOURCE_DIR);
    struct llm_error err = {0};
    struct llm_engine_options opening;
    llm_engine_options_init(&opening);
    opening.callbacks.notice = keep_notice;
    opening.callbacks.user = notice;
    struct llm_engine *engine = llm_engine_open(path, &opening, &err);
    assert_non_null(engine);
    struct llm_session *session = fixture_session(engine, 1);
    int32_t prompt[150];
    for (int i = 0; i < 150; i++) prompt[i] = i * 37 % 101;
    struct llm_generate_options options = greedy_options(20);
    struct llm_generation whole = generate(session, prompt, 150, &options);
    assert_string_equal(notice, "the prompt has 150 tokens and the model's context holds 64: its newest part is used");
    struct llm_generation newest = generate(session, prompt + 86, 64, &options);
    assert_int_equal(whole.n_prompt, 64);
    assert_ids(&whole.samples[0], newest.samples[0].ids, 20);
    llm_generation_release(&whole);
    llm_generation_release(&newest);
    options.shift = false;
    assert_false(llm_session_generate(session, prompt, 150, &options, NULL, NULL, NULL, &err));
    assert_string_equal(err.text, "the prompt has 150 tokens and the model's context holds 64");
    llm_session_free(session);
    llm_engine_free(engine);
}

// ---- Edges ----------------------------------------------------------------------------------

static void an_empty_prompt_means_end_of_text(void **state) {
    (void)state;
    struct llm_engine *engine = fixture_engine("untied", NULL, 1);
    struct llm_session *session = fixture_session(engine, 1);
    const struct llm_generate_options options = greedy_options(10);
    struct llm_generation empty = generate(session, NULL, 0, &options);
    struct llm_generation eot = generate(session, (int32_t[]){100}, 1, &options);
    assert_int_equal(empty.n_prompt, 1);
    assert_ids(&empty.samples[0], eot.samples[0].ids, 10);
    llm_generation_release(&empty);
    llm_generation_release(&eot);
    llm_session_free(session);
    llm_engine_free(engine);
}

static void no_tokens_may_be_asked_for(void **state) {
    (void)state;
    struct llm_engine *engine = fixture_engine("text", NULL, 1);
    struct llm_session *session = fixture_session(engine, 2);
    const struct llm_generate_options options = greedy_options(0);
    struct llm_generation generation = generate(session, (int32_t[]){5}, 1, &options);
    assert_int_equal(generation.samples[1].n_ids, 0);
    assert_int_equal(generation.samples[1].finish, LLM_FINISH_LENGTH);
    assert_string_equal(generation.samples[1].text, "");
    llm_generation_release(&generation);
    llm_session_free(session);
    llm_engine_free(engine);
}

static void check_refused(struct llm_session *session, const int32_t *prompt, size_t n,
                          const struct llm_generate_options *options, const char *sentence) {
    struct llm_error err = {0};
    struct llm_generation generation;
    assert_false(llm_session_generate(session, prompt, n, options, NULL, NULL, &generation, &err));
    assert_string_equal(err.text, sentence);
    assert_null(generation.samples);
}

static void what_makes_no_sense_is_refused(void **state) {
    (void)state;
    struct llm_engine *engine = fixture_engine("prefix", NULL, 1);
    struct llm_session *session = fixture_session(engine, 1);
    struct llm_generate_options options = greedy_options(5);
    check_refused(session, (int32_t[]){1, 101}, 2, &options,
                  "id 101 at place 1 of the prompt is not one of the model's, 0 to 100");
    check_refused(session, (int32_t[]){-1}, 1, &options,
                  "id -1 at place 0 of the prompt is not one of the model's, 0 to 100");
    // The fixture's config names GPT-2's 50256 as end-of-text, which is none of its 101 ids.
    check_refused(session, NULL, 0, &options,
                  "the prompt is empty, and the model has no end-of-text token to begin with");
    const char *stops[] = {"x"};
    options.stops = stops;
    options.n_stops = 1;
    check_refused(session, (int32_t[]){1}, 1, &options,
                  "stop texts need a vocabulary, and this model has none: only ids can be generated");
    options = greedy_options(-1);
    check_refused(session, (int32_t[]){1}, 1, &options, "max_tokens is -1, 0 or more was expected");
    float logits[1];
    static const int32_t ids[65];
    struct llm_error err = {0};
    assert_false(llm_session_logits(session, ids, 65, logits, &err));
    assert_string_equal(err.text, "65 tokens are more than the model's context of 64");
    err = (struct llm_error){0};
    assert_null(llm_session_new(engine, 0, &err));
    assert_string_equal(err.text, "a session of 0 sequences was asked for, 1 to 4096 are possible");
    llm_session_free(session);
    llm_engine_free(engine);

    engine = fixture_engine("text", NULL, 1);
    session = fixture_session(engine, 1);
    options = greedy_options(5);
    stops[0] = "";
    options.stops = stops;
    options.n_stops = 1;
    check_refused(session, (int32_t[]){1}, 1, &options, "a stop text is empty");
    llm_session_free(session);
    llm_engine_free(engine);
}

static void finishes_have_names(void **state) {
    (void)state;
    assert_string_equal(llm_finish_name(LLM_FINISH_LENGTH), "length");
    assert_string_equal(llm_finish_name(LLM_FINISH_EOS), "eos");
    assert_string_equal(llm_finish_name(LLM_FINISH_STOP), "stop");
    assert_string_equal(llm_finish_name(LLM_FINISH_CONTEXT), "context");
    assert_string_equal(llm_finish_name(LLM_FINISH_CANCELLED), "cancelled");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_prompt_shares_is_not_computed_again),
        cmocka_unit_test(logits_begin_a_timeline_anew),
        cmocka_unit_test(a_sample_does_not_depend_on_the_others),
        cmocka_unit_test(samples_end_each_in_their_own_time),
        cmocka_unit_test(threads_do_not_change_a_text),
        cmocka_unit_test(threads_may_share_an_engine),
        cmocka_unit_test(a_full_context_goes_on_as_recomputing_its_newest_half_does),
        cmocka_unit_test(without_shift_a_full_context_ends_the_text),
        cmocka_unit_test(a_prompt_longer_than_the_context_keeps_its_newest_part),
        cmocka_unit_test(an_empty_prompt_means_end_of_text),
        cmocka_unit_test(no_tokens_may_be_asked_for),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(finishes_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
