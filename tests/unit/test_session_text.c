// test_session_text.c: generation as text: what the callback gets and when, stop texts, cancelling, log probabilities.
#include "base/utf8.h"
#include "infer_fixture.h"

// Joins the pieces of each sample and remembers what was odd about them.
struct listener {
    char text[4][4000];
    size_t size[4];
    int n_tokens[4];
    int stop_after;     // tokens of all samples; 0: never
    bool ends[4][4000]; // a piece ended here
};

static bool listen(void *user, const struct llm_piece *piece) {
    struct listener *listener = user;
    assert_in_range(piece->sample, 0, 3);
    assert_true(listener->size[piece->sample] + piece->size < sizeof listener->text[0]);
    memcpy(listener->text[piece->sample] + listener->size[piece->sample], piece->text, piece->size);
    listener->size[piece->sample] += piece->size;
    listener->ends[piece->sample][listener->size[piece->sample]] = true;
    if (piece->id >= 0) listener->n_tokens[piece->sample]++;
    int total = 0;
    for (int s = 0; s < 4; s++) total += listener->n_tokens[s];
    return listener->stop_after == 0 || total < listener->stop_after;
}

static void pieces_join_to_the_text_and_are_whole_characters(void **state) {
    (void)state;
    // Random ids of a vocabulary that has all 256 bytes: broken and whole characters of every length.
    struct llm_engine *engine = fixture_engine("text", NULL, 1);
    struct llm_session *session = fixture_session(engine, 4);
    struct llm_generate_options options = wild_options(300);
    options.temperature = 1000;
    static struct listener listener;
    struct llm_generation generation;
    struct llm_error err = {0};
    check(llm_session_generate(session, (int32_t[]){1}, 1, &options, listen, &listener, &generation, &err), &err);
    for (int s = 0; s < 4; s++) {
        const struct llm_sample *sample = &generation.samples[s];
        for (size_t at = 0; at < sample->size;) { // no piece ends within a character
            int32_t code;
            const size_t length = utf8_decode(sample->text + at, sample->size - at, &code);
            for (size_t i = 1; i < length; i++) assert_false(listener.ends[s][at + i]);
            at += length;
        }
        char *decoded;
        size_t size;
        assert_int_equal(listener.n_tokens[s], 300);
        assert_int_equal(sample->size, listener.size[s]);
        assert_memory_equal(sample->text, listener.text[s], sample->size);
        assert_int_equal(sample->text[sample->size], 0);
        check(llm_tokenizer_decode(llm_engine_tokenizer(engine), sample->ids, sample->n_ids, &decoded, &size, &err),
              &err);
        assert_int_equal(utf8_complete(decoded, size), sample->size); // less an unfinished character at the end
        assert_memory_equal(decoded, sample->text, sample->size);
        llm_free(decoded);
    }
    llm_generation_release(&generation);
    llm_session_free(session);
    llm_engine_free(engine);
}

static void stop_texts_end_samples(void **state) {
    (void)state;
    struct llm_engine *engine = fixture_engine("text", NULL, 1);
    struct llm_session *session = fixture_session(engine, 1);
    const struct llm_tokenizer *tokenizer = llm_engine_tokenizer(engine);
    struct llm_generate_options options = greedy_options(60);
    struct llm_generation whole = generate(session, (int32_t[]){1, 2}, 2, &options);
    const struct llm_sample *all = &whole.samples[0];
    assert_true(all->size > 40);
    // Every stretch of the text is a stop text in turn, wherever tokens begin and end.
    for (size_t at = 1; at + 4 < all->size; at++) {
        char stop[5] = {0};
        memcpy(stop, all->text + at, 4);
        if (memchr(stop, 0, 4) != NULL) continue;
        const char *stops[] = {"never to be seen", stop};
        const size_t expected = (size_t)((char *)memmem(all->text, all->size, stop, 4) - all->text);
        options.stops = stops;
        options.n_stops = 2;
        static struct listener listener;
        memset(&listener, 0, sizeof listener);
        struct llm_generation generation;
        struct llm_error err = {0};
        check(llm_session_generate(session, (int32_t[]){1, 2}, 2, &options, listen, &listener, &generation, &err),
              &err);
        const struct llm_sample *sample = &generation.samples[0];
        assert_int_equal(sample->finish, LLM_FINISH_STOP);
        assert_int_equal(sample->size, utf8_complete(all->text, expected));
        assert_memory_equal(sample->text, all->text, sample->size);
        assert_int_equal(listener.size[0], sample->size);
        // The ids reach to the end of the text and not a token further.
        size_t covered = 0;
        size_t size = 0;
        for (size_t i = 0; i < sample->n_ids; i++) {
            assert_true(covered < expected);
            assert_non_null(llm_tokenizer_token(tokenizer, sample->ids[i], &size));
            covered += size;
        }
        assert_true(covered >= sample->size);
        assert_memory_equal(sample->ids, all->ids, sample->n_ids * sizeof(int32_t));
        llm_generation_release(&generation);
    }
    llm_generation_release(&whole);
    llm_session_free(session);
    llm_engine_free(engine);
}

static void what_was_held_back_is_shown_when_the_model_ends_the_text(void **state) {
    (void)state;
    // A stop text that begins with every byte holds everything back until the end-of-text token comes.
    struct llm_engine *engine = fixture_engine("text", NULL, 1);
    struct llm_session *session = fixture_session(engine, 1);
    struct llm_generate_options options = wild_options(2000);
    options.temperature = 1000;
    options.ignore_eos = false;
    struct llm_generation plain = generate(session, (int32_t[]){1}, 1, &options);
    assert_int_equal(plain.samples[0].finish, LLM_FINISH_EOS);
    char stop[2] = {plain.samples[0].text[plain.samples[0].size - 1], 0};
    char longer[4] = {stop[0], stop[0], stop[0], 0};
    const char *stops[] = {longer};
    options.stops = stops;
    options.n_stops = 1;
    static struct listener listener;
    memset(&listener, 0, sizeof listener);
    struct llm_generation held;
    struct llm_error err = {0};
    check(llm_session_generate(session, (int32_t[]){1}, 1, &options, listen, &listener, &held, &err), &err);
    assert_int_equal(held.samples[0].finish, LLM_FINISH_EOS);
    assert_int_equal(held.samples[0].size, plain.samples[0].size);
    assert_int_equal(listener.size[0], plain.samples[0].size);
    assert_memory_equal(listener.text[0], plain.samples[0].text, plain.samples[0].size);
    llm_generation_release(&plain);
    llm_generation_release(&held);
    llm_session_free(session);
    llm_engine_free(engine);
}

static void a_callback_may_end_the_generation(void **state) {
    (void)state;
    struct llm_engine *engine = fixture_engine("text", NULL, 1);
    struct llm_session *session = fixture_session(engine, 3);
    const struct llm_generate_options options = greedy_options(60);
    static struct listener listener;
    memset(&listener, 0, sizeof listener);
    listener.stop_after = 8; // in the middle of the third round
    struct llm_generation generation;
    struct llm_error err = {0};
    check(llm_session_generate(session, (int32_t[]){1, 2}, 2, &options, listen, &listener, &generation, &err), &err);
    static const size_t expected[] = {3, 3, 2};
    for (int s = 0; s < 3; s++) {
        assert_int_equal(generation.samples[s].finish, LLM_FINISH_CANCELLED);
        assert_int_equal(generation.samples[s].n_ids, expected[s]);
        assert_int_equal(generation.samples[s].size, listener.size[s]);
    }
    llm_generation_release(&generation);
    // And the session is as good as before.
    struct llm_generation after = generate(session, (int32_t[]){1, 2}, 2, &options);
    struct llm_session *fresh = fixture_session(engine, 1);
    struct llm_generation expected_after = generate(fresh, (int32_t[]){1, 2}, 2, &options);
    for (int s = 0; s < 3; s++) assert_ids(&after.samples[s], expected_after.samples[0].ids, 60);
    llm_generation_release(&after);
    llm_generation_release(&expected_after);
    llm_session_free(fresh);
    llm_session_free(session);
    llm_engine_free(engine);
}

// Checks what comes with each token of greedy generation.
static bool check_logprobs(void *user, const struct llm_piece *piece) {
    const struct reference *reference = user;
    static int row;
    assert_int_equal(piece->n_top, 3);
    assert_int_equal(piece->top[0].id, piece->id); // greedy takes the likeliest
    assert_true(piece->top[0].logprob == piece->logprob);
    assert_true(piece->top[0].logprob >= piece->top[1].logprob && piece->top[1].logprob >= piece->top[2].logprob);
    const float *logits = reference->logits + (size_t)(N_PROMPT - 1 + row++) * (size_t)reference->vocab_size;
    double sum = 0;
    for (int v = 0; v < reference->vocab_size; v++) sum += exp((double)logits[v]);
    for (int i = 0; i < 3; i++) {
        const double expected = (double)logits[piece->top[i].id] - log(sum);
        assert_true(fabs((double)piece->top[i].logprob - expected) <= 2e-4 * (double)reference->max_abs);
    }
    return true;
}

static void logprobs_are_those_of_the_model(void **state) {
    (void)state;
    struct reference reference = reference_read("prefix");
    struct llm_engine *engine = fixture_engine("prefix", NULL, 1);
    struct llm_session *session = fixture_session(engine, 1);
    struct llm_generate_options options = greedy_options(N_GREEDY);
    options.n_logprobs = 3;
    struct llm_error err = {0};
    check(llm_session_generate(session, reference.ids, N_PROMPT, &options, check_logprobs, &reference, NULL, &err),
          &err);
    llm_session_free(session);
    llm_engine_free(engine);
    free(reference.logits);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_join_to_the_text_and_are_whole_characters),
        cmocka_unit_test(stop_texts_end_samples),
        cmocka_unit_test(what_was_held_back_is_shown_when_the_model_ends_the_text),
        cmocka_unit_test(a_callback_may_end_the_generation),
        cmocka_unit_test(logprobs_are_those_of_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
