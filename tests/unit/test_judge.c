// test_judge.c: what counts as a score, and the texts taken out of what chat servers send. What servers do to a run is
// in tests/e2e/test_score.py.
#include "data_support.h"

#include "tasks/judge.h"
#include "tasks/score.h"

static void scores_are_integers_from_0_to_100(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int score;
    } cases[] = {
        {"0", 0},    {"100", 100}, {" 85\r\n", 85}, {"007", 7},         {"", -1},    {" ", -1},
        {"101", -1}, {"0100", -1}, {"-1", -1},      {"+1", -1},         {"8 5", -1}, {"85.", -1},
        {"85%", -1}, {"x85", -1},  {"85x", -1},     {"4294967296", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(score_parse(cases[i].text), cases[i].score);
    }
}

static void assert_answer(const char *body, const char *expected) {
    struct strbuf answer;
    struct llm_error err = {0};
    strbuf_init(&answer, 1 << 16);
    if (!judge_parse(body, strlen(body), &answer, &err)) fail_msg("%s", err.text);
    assert_string_equal(answer.bytes == NULL ? "" : answer.bytes, expected);
    strbuf_release(&answer);
}

static void answers_are_taken_out(void **state) {
    (void)state;
    assert_answer("{\"message\": {\"content\": \"8\"}, \"done\": false}\n{\"message\": {\"content\": \"5\"}}\r\n\n",
                  "85");
    assert_answer("{\n  \"message\": {\n    \"role\": \"assistant\",\n    \"content\": \"85\"\n  }\n}\n", "85");
    assert_answer("{\"choices\": [{\"message\": {\"content\": \"85\"}}], \"error\": null}", "85");
    assert_answer("data: {\"choices\": [{\"delta\": {\"content\": \"8\"}}]}\n\n: ping\n\nevent: x\nid: 3\n"
                  "data:{\"choices\": [{\"delta\": {\"content\": \"5\"}}]}\r\n\r\n"
                  "data: {\"choices\": []}\n\ndata: [DONE]\n\n",
                  "85");
    assert_answer(": welcome\n\ndata: {\"choices\": [{\"delta\": {\"content\": \"1\"}}]}\n", "1");
    // A thinking model's other fields are not its answer, nor is a null.
    assert_answer("{\"message\": {\"content\": null, \"thinking\": \"hm\"}}\n{\"message\": {\"content\": \"3\"}}", "3");
}

static void other_bodies_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *sentence;
    } cases[] = {
        {"", "sent an empty answer"},
        {" \r\n", "sent an empty answer"},
        {"<html>", "answered '<html>', which no chat API does"},
        {"85", "answered '85', which no chat API does"},
        {"{\"message\": {\"content\": \"8\"}}\n{\"mess", "answered '{\"mess', which no chat API does"},
        {"{\"message\": {\"content\": \"8\"}}\n{\"error\": \"gone\"}", "answered with an error: 'gone'"},
        {"data: {\"error\": {\"code\": 3}}", "answered with an error: 'an error without a message'"},
        {"data: x", "answered 'x', which no chat API does"},
        {"\xff", "answered '?', which no chat API does"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct strbuf answer;
        struct llm_error err = {0};
        strbuf_init(&answer, 1 << 16);
        if (judge_parse(cases[i].body, strlen(cases[i].body), &answer, &err)) fail_msg("accepted: %s", cases[i].body);
        assert_says(&err, cases[i].sentence);
        strbuf_release(&answer);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_integers_from_0_to_100),
        cmocka_unit_test(answers_are_taken_out),
        cmocka_unit_test(other_bodies_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
