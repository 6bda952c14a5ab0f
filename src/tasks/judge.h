// judge.h: asking a second model, through Ollama's or an OpenAI-compatible server's chat API.
#ifndef TASKS_JUDGE_H
#define TASKS_JUDGE_H

#include "base/str.h"
#include "net/http.h"

struct judge {
    char *url;           // of the chat API itself
    char *authorization; // "Bearer ...", or NULL
    const struct llm_score_options *options;
};

// What came back.
enum judge_outcome {
    JUDGE_ANSWERED, // `answer` has the text
    JUDGE_TOO_LONG, // more than any number takes; `answer` has the beginning
    JUDGE_REFUSED,  // the server does not want this question, too long for the judge perhaps; err has its reason
    JUDGE_SILENT,   // the server took the question and said nothing; err has the sentence
    JUDGE_FAILED,   // the server cannot be reached or is none; err has the sentence
};

bool judge_open(struct judge *judge, const struct llm_score_options *options, struct llm_error *err);
void judge_close(struct judge *judge);

// Asks one question; may be called by several threads at once. `tick` is called about once a second. `answer` is
// initialised and cleared by the caller.
enum judge_outcome judge_ask(const struct judge *judge, const char *question, uint64_t seed, http_tick_fn *tick,
                             void *user, struct strbuf *answer, struct llm_error *err);

// The text of an answer's body [size]: one JSON value, lines of JSON, or server-sent events. For judge_ask() and its
// fuzz target.
bool judge_parse(const char *body, size_t size, struct strbuf *answer, struct llm_error *err);

#endif
