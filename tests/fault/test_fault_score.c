// test_fault_score.c: the file of scores when memory, calls or the disk fail: it is the old or the new one, whole.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "fault.h"
#include "tasks/judge.h"
#include "tasks/score.h"

static const char entries[] =
    "[{\"instruction\": \"a\", \"input\": \"\", \"output\": \"b\", \"model_response\": \"c\"},"
    " {\"instruction\": \"d\", \"input\": \"e\", \"output\": \"f\", \"model_response\": \"g\"}]";

static int file_setup(void **state) {
    char template[] = "/tmp/my-llm-fault-XXXXXX";
    if (mkdtemp(template) == NULL) return -1;
    *state = path_join(template, "answers.json");
    return file_create(*state, entries, sizeof entries - 1, NULL) ? 0 : -1;
}

static int file_teardown(void **state) {
    char *folder = path_directory(*state);
    directory_remove(folder);
    free(folder);
    free(*state);
    return 0;
}

static bool score_body(void *user, struct llm_error *err) {
    struct llm_score_options options;
    struct score_file file = {0};
    struct llm_scores scores = {0};
    struct strbuf question;
    llm_score_options_init(&options);
    options.again = true;
    strbuf_init(&question, 1 << 20);
    const bool ok = score_file_open(&file, user, &options, err) && score_file_question(&file, 1, &question, err) &&
                    score_file_set(&file, 0, 85, NULL, err) && score_file_set(&file, 1, -1, "well", err) &&
                    score_file_save(&file, err) && score_file_summary(&file, &scores, err);
    strbuf_release(&question);
    llm_scores_release(&scores);
    score_file_close(&file);
    return ok;
}

static void score_check(void *user, bool succeeded) {
    json_t *list = json_parse_file(user, 1 << 20, NULL);
    assert_non_null(list);
    const bool scored = json_is_integer(json_object_get(json_array_get(list, 0), "score"));
    assert_true(scored || !succeeded);
    json_decref(list);
    assert_true(file_create(user, entries, sizeof entries - 1, NULL));
}

static void scores_are_kept_whole(void **state) {
    assert_true(fault_loop(FAULT_MEMORY, score_body, score_check, *state) > 8);
    fault_loop(FAULT_FILES, score_body, score_check, *state);
    fault_loop(FAULT_DISK, score_body, score_check, *state);
    fault_loop(FAULT_SHORT, score_body, score_check, *state);
}

// Nobody listens there, so that every run without a fault ends the same way.
static bool judge_body(void *user, struct llm_error *err) {
    (void)user;
    struct llm_score_options options;
    struct judge judge;
    struct strbuf answer;
    llm_score_options_init(&options);
    options.url = "http://127.0.0.1:1";
    options.api_key = "key";
    strbuf_init(&answer, 1 << 20);
    struct llm_error refused = {0};
    bool ok = judge_open(&judge, &options, err);
    if (ok) {
        assert_int_equal(judge_ask(&judge, "well?", 123, NULL, NULL, &answer, &refused), JUDGE_FAILED);
        ok = refused.code == LLM_ERROR_NETWORK;
        if (!ok) *err = refused;
        judge_close(&judge);
    }
    strbuf_release(&answer);
    return ok;
}

static void a_question_is_asked_or_not(void **state) {
    assert_true(fault_loop(FAULT_MEMORY, judge_body, NULL, *state) > 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scores_are_kept_whole, file_setup, file_teardown),
        cmocka_unit_test(a_question_is_asked_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
