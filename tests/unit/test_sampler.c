// test_sampler.c: each step of sampling against probabilities worked out by hand, ties, logits that are huge,
// infinite or NaN, and that what is drawn has the distribution it should.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/sampler.h"

enum {
    MAX_VOCAB = 1000,
    N_DRAWS = 20000
};

static struct llm_generate_options plain_options(void) {
    struct llm_generate_options options;
    llm_generate_options_init(&options);
    options.temperature = 1;
    options.top_k = 0;
    return options;
}

static const bool nothing_seen[MAX_VOCAB];

// How often each token came up in N_DRAWS.
static void count_draws(const float *logits, int n, const struct llm_generate_options *options, const bool *seen,
                        int counts[MAX_VOCAB]) {
    struct sampler sampler;
    struct llm_error err = {0};
    struct random random;
    assert_true(sampler_init(&sampler, n, &err));
    sampler_seed(&random, options->seed, 0);
    memset(counts, 0, MAX_VOCAB * sizeof counts[0]);
    for (int i = 0; i < N_DRAWS; i++) {
        int32_t id = -1;
        if (!sampler_pick(&sampler, logits, options, seen, &random, &id, &err)) fail_msg("%s", err.text);
        assert_in_range(id, 0, n - 1);
        counts[id]++;
    }
    sampler_release(&sampler);
}

// Pearson's chi-square of the counts against `expected` probabilities; tokens expected never must not come.
// With the seed fixed the outcome is fixed too; the bound, mean + 4 standard deviations of the chi-square
// distribution, is what a correct sampler exceeds once in some 10,000 seeds.
static void check_distribution(const int *counts, const double *expected, int n) {
    double chi_square = 0;
    int degrees = -1;
    for (int i = 0; i < n; i++) {
        if (expected[i] == 0) {
            assert_int_equal(counts[i], 0);
            continue;
        }
        const double mean = expected[i] * N_DRAWS;
        chi_square += (counts[i] - mean) * (counts[i] - mean) / mean;
        degrees++;
    }
    const double bound = degrees + 4 * sqrt(2.0 * degrees);
    if (degrees > 0 && chi_square > bound) fail_msg("chi-square %g with %d degrees of freedom", chi_square, degrees);
}

// Logits whose softmax is 0.4, 0.3, 0.2, 0.1 in shuffled order.
static const float four[4] = {-1.6094379f, -0.91629073f, -2.3025851f, -1.2039728f};

static void draws_follow_the_softmax(void **state) {
    (void)state;
    int counts[MAX_VOCAB];
    struct llm_generate_options options = plain_options();
    count_draws(four, 4, &options, nothing_seen, counts);
    check_distribution(counts, (double[]){0.2, 0.4, 0.1, 0.3}, 4);
    options.top_k = 4; // the path that sorts draws the same
    count_draws(four, 4, &options, nothing_seen, counts);
    check_distribution(counts, (double[]){0.2, 0.4, 0.1, 0.3}, 4);
}

static void a_large_vocabulary_is_drawn_from_whole(void **state) {
    (void)state;
    float logits[MAX_VOCAB];
    double expected[MAX_VOCAB];
    double total = 0;
    for (int i = 0; i < MAX_VOCAB; i++) {
        logits[i] = 3 * sinf((float)i * 1.7f);
        expected[i] = exp((double)logits[i]);
        total += expected[i];
    }
    for (int i = 0; i < MAX_VOCAB; i++) expected[i] /= total;
    int counts[MAX_VOCAB];
    const struct llm_generate_options options = plain_options();
    count_draws(logits, MAX_VOCAB, &options, nothing_seen, counts);
    check_distribution(counts, expected, MAX_VOCAB);
}

static void temperature_divides_the_logits(void **state) {
    (void)state;
    int counts[MAX_VOCAB];
    struct llm_generate_options options = plain_options();
    options.temperature = 0.5f; // squares the probabilities: 16, 9, 4, 1 thirtieths
    count_draws(four, 4, &options, nothing_seen, counts);
    check_distribution(counts, (double[]){4 / 30.0, 16 / 30.0, 1 / 30.0, 9 / 30.0}, 4);
    options.temperature = 1e30f; // flat
    count_draws(four, 4, &options, nothing_seen, counts);
    check_distribution(counts, (double[]){0.25, 0.25, 0.25, 0.25}, 4);
    options.temperature = 1e-38f; // as good as greedy
    count_draws(four, 4, &options, nothing_seen, counts);
    assert_int_equal(counts[1], N_DRAWS);
}

static void top_k_keeps_the_k_likeliest(void **state) {
    (void)state;
    int counts[MAX_VOCAB];
    struct llm_generate_options options = plain_options();
    options.top_k = 2;
    count_draws(four, 4, &options, nothing_seen, counts);
    check_distribution(counts, (double[]){0, 4 / 7.0, 0, 3 / 7.0}, 4);
    options.top_k = 1;
    count_draws(four, 4, &options, nothing_seen, counts);
    assert_int_equal(counts[1], N_DRAWS);
    options.top_k = 1000000; // more than there are
    count_draws(four, 4, &options, nothing_seen, counts);
    check_distribution(counts, (double[]){0.2, 0.4, 0.1, 0.3}, 4);
}

static void top_p_keeps_the_smallest_set_that_reaches_p(void **state) {
    (void)state;
    static const struct {
        float p;
        double expected[4];
    } cases[] = {
        {0.65f, {0, 4 / 7.0, 0, 3 / 7.0}},       // 0.4 + 0.3 reach it
        {0.75f, {2 / 9.0, 4 / 9.0, 0, 3 / 9.0}}, // 0.2 is needed as well
        {0.95f, {0.2, 0.4, 0.1, 0.3}},           // all are
        {0.3f, {0, 1, 0, 0}},
        {0, {0, 1, 0, 0}}, // never fewer than one
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int counts[MAX_VOCAB];
        struct llm_generate_options options = plain_options();
        options.top_p = cases[i].p;
        count_draws(four, 4, &options, nothing_seen, counts);
        check_distribution(counts, cases[i].expected, 4);
        options.top_k = 4;
        count_draws(four, 4, &options, nothing_seen, counts);
        check_distribution(counts, cases[i].expected, 4);
    }
}

static void top_p_counts_what_top_k_left(void **state) {
    (void)state;
    // Of 0.4 and 0.3 the first has 4/7 = 0.571: enough for 0.55, though 0.4 of all is not.
    int counts[MAX_VOCAB];
    struct llm_generate_options options = plain_options();
    options.top_k = 2;
    options.top_p = 0.55f;
    count_draws(four, 4, &options, nothing_seen, counts);
    assert_int_equal(counts[1], N_DRAWS);
}

static void min_p_is_a_fraction_of_the_likeliest(void **state) {
    (void)state;
    int counts[MAX_VOCAB];
    struct llm_generate_options options = plain_options();
    options.min_p = 0.6f; // at least 0.24
    count_draws(four, 4, &options, nothing_seen, counts);
    check_distribution(counts, (double[]){0, 4 / 7.0, 0, 3 / 7.0}, 4);
    options.top_k = 3;
    count_draws(four, 4, &options, nothing_seen, counts);
    check_distribution(counts, (double[]){0, 4 / 7.0, 0, 3 / 7.0}, 4);
    options.min_p = 1;
    count_draws(four, 4, &options, nothing_seen, counts);
    assert_int_equal(counts[1], N_DRAWS);
}

static int32_t pick_once(const float *logits, int n, const struct llm_generate_options *options, const bool *seen) {
    struct sampler sampler;
    struct llm_error err = {0};
    struct random random;
    int32_t id = -1;
    assert_true(sampler_init(&sampler, n, &err));
    sampler_seed(&random, options->seed, 0);
    if (!sampler_pick(&sampler, logits, options, seen, &random, &id, &err)) fail_msg("%s", err.text);
    sampler_release(&sampler);
    return id;
}

static void repetition_penalty_divides_positive_and_multiplies_negative_logits(void **state) {
    (void)state;
    struct llm_generate_options options = plain_options();
    options.temperature = 0;
    options.repetition_penalty = 2;
    const bool seen[4] = {true, true, false, false};
    assert_int_equal(pick_once((float[]){4, 1, 2.5f, 0}, 4, &options, seen), 2);     // 4 becomes 2
    assert_int_equal(pick_once((float[]){6, 1, 2.5f, 0}, 4, &options, seen), 0);     // 6 becomes 3
    assert_int_equal(pick_once((float[]){-1, -9, -1.5f, -9}, 4, &options, seen), 2); // -1 becomes -2
    assert_int_equal(pick_once((float[]){-1, -9, -2.5f, -9}, 4, &options, seen), 0);
    options.temperature = 1; // and before temperature: softmax of 1, 0.5, 1, 1
    int counts[MAX_VOCAB];
    count_draws((float[]){2, 1, 1, 1}, 4, &options, seen, counts);
    const double total = 3 * exp(1) + exp(0.5);
    check_distribution(counts, (double[]){exp(1) / total, exp(0.5) / total, exp(1) / total, exp(1) / total}, 4);
}

static void equal_logits_go_by_lowest_id(void **state) {
    (void)state;
    float logits[100];
    for (int i = 0; i < 100; i++) logits[i] = i % 7 == 3 ? 5.0f : 1.0f; // 3, 10, 17, ...
    struct llm_generate_options options = plain_options();
    options.temperature = 0;
    assert_int_equal(pick_once(logits, 100, &options, nothing_seen), 3);
    options.temperature = 1;
    options.top_k = 2;
    int counts[MAX_VOCAB];
    count_draws(logits, 100, &options, nothing_seen, counts);
    assert_int_equal(counts[3] + counts[10], N_DRAWS);
    options.top_k = 0;
    options.top_p = 1e-6f;
    count_draws(logits, 100, &options, nothing_seen, counts);
    assert_int_equal(counts[3], N_DRAWS);
}

static void extreme_logits_are_taken_as_they_are(void **state) {
    (void)state;
    int counts[MAX_VOCAB];
    struct llm_generate_options options = plain_options();
    for (int sorted = 0; sorted < 2; sorted++) {
        options.top_k = sorted == 1 ? 3 : 0;
        count_draws((float[]){3e38f, -3e38f, 0, 2e38f}, 4, &options, nothing_seen, counts);
        assert_int_equal(counts[0], N_DRAWS);
        count_draws((float[]){1, INFINITY, 3e38f, INFINITY}, 4, &options, nothing_seen, counts);
        check_distribution(counts, (double[]){0, 0.5, 0, 0.5}, 4);
        count_draws((float[]){-INFINITY, 0, -INFINITY, -INFINITY}, 4, &options, nothing_seen, counts);
        assert_int_equal(counts[1], N_DRAWS);
    }
    options.top_k = 0;
    count_draws((float[]){-INFINITY, -INFINITY}, 2, &options, nothing_seen, counts);
    check_distribution(counts, (double[]){0.5, 0.5}, 2);
}

static void nan_is_an_error_that_names_the_token(void **state) {
    (void)state;
    float logits[50] = {0};
    struct random random;
    struct sampler sampler;
    struct llm_error err = {0};
    assert_true(sampler_init(&sampler, 50, &err));
    sampler_seed(&random, 1, 0);
    static const int places[] = {0, 7, 31, 49};
    for (int i = 0; i < 4; i++) {
        for (int greedy = 0; greedy < 2; greedy++) {
            struct llm_generate_options options = plain_options();
            options.temperature = (float)greedy;
            memset(logits, 0, sizeof logits);
            logits[places[i]] = NAN;
            int32_t id;
            err = (struct llm_error){0};
            assert_false(sampler_pick(&sampler, logits, &options, nothing_seen, &random, &id, &err));
            char expected[128];
            snprintf(expected, sizeof expected,
                     "the model's logits are not numbers (NaN for token %d): its weights are damaged or overflow",
                     places[i]);
            assert_string_equal(err.text, expected);
        }
    }
    sampler_release(&sampler);
}

static void logprobs_are_of_the_unmodified_logits(void **state) {
    (void)state;
    struct sampler sampler;
    struct llm_error err = {0};
    struct llm_logprob top[4];
    assert_true(sampler_init(&sampler, 4, &err));
    const float logprob = sampler_logprobs(&sampler, four, 2, 3, top);
    assert_float_equal(logprob, logf(0.1f), 1e-6);
    static const int32_t ids[] = {1, 3, 0};
    static const float probabilities[] = {0.4f, 0.3f, 0.2f};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(top[i].id, ids[i]);
        assert_float_equal(top[i].logprob, logf(probabilities[i]), 1e-6);
    }
    assert_float_equal(sampler_logprobs(&sampler, (float[]){0, INFINITY, 1, 2}, 1, 0, NULL), 0, 0);
    assert_true(sampler_logprobs(&sampler, (float[]){0, -INFINITY, 1, 2}, 1, 0, NULL) == -INFINITY);
    sampler_release(&sampler);
}

static void each_sample_has_its_own_stream(void **state) {
    (void)state;
    static const uint64_t seeds[] = {123, 124, 123 + (UINT64_C(1) << 32), UINT64_MAX};
    uint32_t first[16];
    int n = 0;
    for (int i = 0; i < 4; i++) {
        for (int sample = 0; sample < 4; sample++) {
            struct random random;
            sampler_seed(&random, seeds[i], sample);
            first[n++] = random_u32(&random);
        }
    }
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++) assert_int_not_equal(first[i], first[j]);
    }
}

static void nonsense_options_are_refused(void **state) {
    (void)state;
    static const struct {
        size_t offset;
        float value;
        const char *sentence;
    } cases[] = {
        {offsetof(struct llm_generate_options, temperature), -1, "temperature is -1, a number from 0 up was expected"},
        {offsetof(struct llm_generate_options, temperature), NAN,
         "temperature is nan, a number from 0 up was expected"},
        {offsetof(struct llm_generate_options, temperature), INFINITY,
         "temperature is inf, a number from 0 up was expected"},
        {offsetof(struct llm_generate_options, top_p), 1.5f, "top_p is 1.5, a number from 0 to 1 was expected"},
        {offsetof(struct llm_generate_options, top_p), NAN, "top_p is nan, a number from 0 to 1 was expected"},
        {offsetof(struct llm_generate_options, min_p), -0.5f, "min_p is -0.5, a number from 0 to 1 was expected"},
        {offsetof(struct llm_generate_options, repetition_penalty), 0,
         "repetition_penalty is 0, a number above 0 was expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct llm_generate_options options = plain_options();
        struct llm_error err = {0};
        memcpy((char *)&options + cases[i].offset, &cases[i].value, sizeof(float));
        assert_false(sampler_check_options(&options, &err));
        assert_string_equal(err.text, cases[i].sentence);
    }
    struct llm_generate_options options = plain_options();
    struct llm_error err = {0};
    options.top_k = -1;
    assert_false(sampler_check_options(&options, &err));
    assert_string_equal(err.text, "top_k is -1, 0 (all) or a count was expected");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_softmax),
        cmocka_unit_test(a_large_vocabulary_is_drawn_from_whole),
        cmocka_unit_test(temperature_divides_the_logits),
        cmocka_unit_test(top_k_keeps_the_k_likeliest),
        cmocka_unit_test(top_p_keeps_the_smallest_set_that_reaches_p),
        cmocka_unit_test(top_p_counts_what_top_k_left),
        cmocka_unit_test(min_p_is_a_fraction_of_the_likeliest),
        cmocka_unit_test(repetition_penalty_divides_positive_and_multiplies_negative_logits),
        cmocka_unit_test(equal_logits_go_by_lowest_id),
        cmocka_unit_test(extreme_logits_are_taken_as_they_are),
        cmocka_unit_test(nan_is_an_error_that_names_the_token),
        cmocka_unit_test(logprobs_are_of_the_unmodified_logits),
        cmocka_unit_test(each_sample_has_its_own_stream),
        cmocka_unit_test(nonsense_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
