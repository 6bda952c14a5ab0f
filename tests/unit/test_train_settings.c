// test_train_settings.c: limits of the options, and what a resumed run is told when it differs.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "train/settings.h"

static void defaults_are_within_limits(void **state) {
    (void)state;
    struct llm_train_options options;
    train_options_init(&options);
    struct llm_error err = {0};
    assert_true(train_options_check(&options, &err));
}

#define REFUSED(change, sentence)                                                                                      \
    do {                                                                                                               \
        struct llm_train_options options;                                                                              \
        train_options_init(&options);                                                                                  \
        change;                                                                                                        \
        struct llm_error err = {0};                                                                                    \
        assert_false(train_options_check(&options, &err));                                                             \
        assert_string_equal(err.text, sentence);                                                                       \
        assert_int_equal(err.code, LLM_ERROR_ARGUMENT);                                                                \
    } while (0)

static void what_makes_no_sense_is_refused(void **state) {
    (void)state;
    REFUSED(options.epochs = 0, "epochs is 0, a whole number from 1 to 1000000000 was expected");
    REFUSED(options.batch_size = -3, "batch-size is -3, a whole number from 1 to 65536 was expected");
    REFUSED(options.grad_accum = 0, "grad-accum is 0, a whole number from 1 to 65536 was expected");
    REFUSED(options.schedule = 2, "schedule is 2, a whole number from 0 to 1 was expected");
    REFUSED(options.lr = -1, "lr is -1, a number from 0 to 100 was expected");
    REFUSED(options.lr = (double)NAN, "lr is nan, a number from 0 to 100 was expected");
    REFUSED(options.dropout = 1, "dropout is 1, a number from 0 to 0.99 was expected");
    REFUSED(options.epsilon = 0, "epsilon is 0, a number from 1e-30 to 1 was expected");
    REFUSED(options.initial_lr = 1, "initial-lr is 1, higher than lr, which is 0.0005");
    REFUSED(options.min_lr = 1, "min-lr is 1, higher than lr, which is 0.0005");
}

static void assert_difference(struct llm_train_options now, const char *sentence) {
    struct llm_train_options begun;
    train_options_init(&begun);
    json_t *saved = json_pack("{s:o}", "settings", train_settings_json(&begun));
    json_t *present = json_pack("{s:o}", "settings", train_settings_json(&now));
    struct llm_error err = {0};
    assert_int_equal(train_identity_check(saved, present, &err), sentence == NULL);
    if (sentence != NULL) assert_string_equal(err.text, sentence);
    json_decref(saved);
    json_decref(present);
}

static void what_differs_is_named(void **state) {
    (void)state;
    struct llm_train_options options;
    train_options_init(&options);
    assert_difference(options, NULL);
    options.lr = 1e-3;
    assert_difference(options, "the run was begun with lr 0.0005, now it is 0.001");
    train_options_init(&options);
    options.batch_size = 4;
    assert_difference(options, "the run was begun with batch-size 8, now it is 4");
    train_options_init(&options);
    options.min_lr = 1e-5;
    assert_difference(options, "the run was begun with min-lr not given, now it is 1e-05");
    train_options_init(&options);
    options.schedule = LLM_SCHEDULE_CONSTANT;
    assert_difference(options, "the run was begun with schedule cosine, now it is constant");
    train_options_init(&options);
    options.clip_after_warmup = true;
    assert_difference(options, "the run was begun with clip-after-warmup false, now it is true");
}

static void what_may_differ(void **state) {
    (void)state;
    struct llm_train_options options;
    train_options_init(&options);
    options.n_threads = 7;
    options.save_every = 1;
    options.max_minutes = 5;
    options.recompute = options.resume = options.keep_best = true;
    options.memory = 1;
    assert_difference(options, NULL);
}

static void checksums_are_not_shown(void **state) {
    (void)state;
    json_t *saved = json_pack("{s:s, s:{s:i}}", "data", "12ab", "model", "initial_weights_crc32c", 1);
    json_t *texts = json_pack("{s:s, s:{s:i}}", "data", "34cd", "model", "initial_weights_crc32c", 1);
    json_t *weights = json_pack("{s:s, s:{s:i}}", "data", "12ab", "model", "initial_weights_crc32c", 2);
    json_t *less = json_pack("{s:s}", "data", "12ab");
    struct llm_error err = {0};
    assert_false(train_identity_check(saved, texts, &err));
    assert_string_equal(err.text, "the run was begun with other texts, another vocabulary or another split");
    err = (struct llm_error){0};
    assert_false(train_identity_check(saved, weights, &err));
    assert_string_equal(err.text, "the run was begun with other initial weights");
    err = (struct llm_error){0};
    assert_false(train_identity_check(less, saved, &err));
    assert_string_equal(err.text, "the run was begun with model nothing, now it is {\"initial_weights_crc32c\":1}");
    err = (struct llm_error){0};
    assert_false(train_identity_check(saved, less, &err));
    json_decref(saved);
    json_decref(texts);
    json_decref(weights);
    json_decref(less);
}

static json_t *data_of(const char *data, const char *vocabulary, const char *split, double share) {
    return json_pack("{s:s, s:{s:s, s:s, s:f}}", "data", data, "data_parts", "vocabulary", vocabulary, "split", split,
                     "val_split", share);
}

static void which_part_of_the_data_differs(void **state) {
    (void)state;
    json_t *saved = data_of("12ab", "ab", "documents", 0.1);
    const struct {
        json_t *present;
        const char *sentence;
    } cases[] = {
        {data_of("34cd", "ab", "documents", 0.1), "the run was begun with other texts"},
        {data_of("34cd", "cd", "documents", 0.1), "the run was begun with another vocabulary"},
        {data_of("34cd", "ab", "characters", 0.1), "the run was begun with split documents, now it is characters"},
        {data_of("34cd", "ab", "documents", 0.2), "the run was begun with val-split 0.1, now it is 0.2"},
        {json_pack("{s:s}", "data", "34cd"), "the run was begun with other texts, another vocabulary or another split"},
        {json_pack("{s:s}", "data", "12ab"), NULL}, // of a version that did not write the parts
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct llm_error err = {0};
        assert_int_equal(train_identity_check(saved, cases[i].present, &err), cases[i].sentence == NULL);
        if (cases[i].sentence != NULL) assert_string_equal(err.text, cases[i].sentence);
        assert_int_equal(train_identity_check(cases[i].present, saved, NULL), cases[i].sentence == NULL);
        json_decref(cases[i].present);
    }
    json_decref(saved);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_within_limits), cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(what_differs_is_named),      cmocka_unit_test(what_may_differ),
        cmocka_unit_test(checksums_are_not_shown),    cmocka_unit_test(which_part_of_the_data_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
