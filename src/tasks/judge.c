// judge.c: see judge.h. An answer is collected whole, as it is a number of a few bytes, and then taken apart.
#include "tasks/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/utf8.h"

enum {
    MAX_BODY = 1 << 20,    // bytes of an answer with all that is around it; streamed, a token takes about 200
    MAX_ANSWER = 64 << 10, // of its text
    CONTEXT = 2048,        // num_ctx of the book's question
};

// ---- The address --------------------------------------------------------------------------------

static bool ends_with(const char *text, size_t size, const char *ending) {
    const size_t length = strlen(ending);
    return size >= length && strncmp(text + size - length, ending, length) == 0;
}

// "<url>/api/chat", "<url>/v1/chat/completions", or what of this the URL does not have yet.
static char *chat_url(const struct llm_score_options *options) {
    const bool openai = options->api == LLM_SCORE_OPENAI;
    const char *path = openai ? "/v1/chat/completions" : "/api/chat";
    size_t size = strlen(options->url);
    while (size > 0 && options->url[size - 1] == '/') size--;
    if (ends_with(options->url, size, path)) path = "";
    if (openai && ends_with(options->url, size, "/v1")) path = "/chat/completions";
    char *url = NULL;
    return asprintf(&url, "%.*s%s", (int)size, options->url, path) < 0 ? NULL : url;
}

static bool has_control(const char *text) {
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text <= ' ' || *text == 0x7f) return true;
    }
    return false;
}

bool judge_open(struct judge *judge, const struct llm_score_options *options, struct llm_error *err) {
    *judge = (struct judge){.options = options};
    const char *url = options->url;
    if ((strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0) || has_control(url)) {
        char quoted[STR_QUOTE_SIZE];
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "the server's address is %s, one such as http://localhost:11434 was "
                         "expected",
                         str_quote(url, quoted));
    }
    if (options->api_key != NULL && has_control(options->api_key)) {
        return error_set(err, LLM_ERROR_ARGUMENT, "the API key has white space or control characters in it");
    }
    if (!utf8_valid(options->judge, strlen(options->judge))) {
        char quoted[STR_QUOTE_SIZE];
        return error_set(err, LLM_ERROR_ARGUMENT, "the judge's name is %s, which is not UTF-8 as a server's must be",
                         str_quote(options->judge, quoted));
    }
    judge->url = chat_url(options);
    if (options->api_key != NULL && asprintf(&judge->authorization, "Bearer %s", options->api_key) < 0) {
        judge->authorization = NULL;
    }
    if (judge->url != NULL && (options->api_key == NULL || judge->authorization != NULL)) return true;
    judge_close(judge);
    return error_memory(err, "judge");
}

void judge_close(struct judge *judge) {
    free(judge->url);
    free(judge->authorization);
    *judge = (struct judge){0};
}

// ---- The question -------------------------------------------------------------------------------

// The body of the request, NULL when out of memory.
static char *request_body(const struct judge *judge, const char *question, uint64_t seed) {
    const struct llm_score_options *options = judge->options;
    json_t *body = json_pack("{s:s, s:[{s:s, s:s}], s:b}", "model", options->judge, "messages", "role", "user",
                             "content", question, "stream", options->stream);
    json_t *numbers = NULL;
    if (options->api == LLM_SCORE_OLLAMA) {
        numbers =
            json_pack("{s:{s:I, s:i, s:i}}", "options", "seed", (json_int_t)seed, "temperature", 0, "num_ctx", CONTEXT);
    } else {
        numbers = json_pack("{s:I, s:i}", "seed", (json_int_t)seed, "temperature", 0);
    }
    const bool ok = body != NULL && numbers != NULL && json_object_update(body, numbers) == 0;
    char *text = ok ? json_dump(body, JSON_COMPACT) : NULL;
    json_decref(body);
    json_decref(numbers);
    return text;
}

// ---- The answer ---------------------------------------------------------------------------------

// The text in one value: {"message": {"content"}} of Ollama, {"choices": [{"message" or "delta": {"content"}}]} of the
// others. NULL when there is none, as in the last value of a stream. What is an error instead is *refusal.
static const char *content_of(const json_t *value, const char **refusal) {
    const json_t *error = json_object_get(value, "error");
    const json_t *text = json_is_object(error) ? json_object_get(error, "message") : error;
    *refusal = json_string_value(text);
    if (*refusal == NULL && json_is_object(error)) *refusal = "an error without a message";
    const json_t *choice = json_array_get(json_object_get(value, "choices"), 0);
    const json_t *message = json_object_get(value, "message");
    if (message == NULL) message = json_object_get(choice, "message");
    if (message == NULL) message = json_object_get(choice, "delta");
    return json_string_value(json_object_get(message, "content"));
}

static bool is_answer(const json_t *value) {
    return json_object_get(value, "message") != NULL || json_object_get(value, "choices") != NULL ||
           json_object_get(value, "error") != NULL;
}

// Appends the text of one value.
static bool take_value(const char *bytes, size_t size, struct strbuf *answer, struct llm_error *err) {
    struct llm_error wrong = {0};
    json_t *value = json_parse(bytes, size, &wrong);
    bool ok = value != NULL && is_answer(value);
    if (value == NULL && wrong.code == LLM_ERROR_MEMORY) {
        error_memory(err, "answer");
    } else if (!ok) {
        char begin[80], quoted[STR_QUOTE_SIZE];
        snprintf(begin, sizeof begin, "%.*s", (int)(size < 60 ? size : 60), bytes);
        error_set(err, LLM_ERROR_FORMAT, "answered %s, which no chat API does; is it the right address, and --api?",
                  str_quote(begin, quoted));
    } else {
        const char *refusal = NULL, *text = content_of(value, &refusal);
        if (refusal != NULL) {
            char quoted[STR_QUOTE_SIZE];
            ok = error_set(err, LLM_ERROR_NETWORK, "answered with an error: %s", str_quote(refusal, quoted));
        } else if (text != NULL) {
            strbuf_puts(answer, text);
        }
    }
    json_decref(value);
    return ok;
}

// Skips what stands before a value on its line: white space, and "data:" of server-sent events, whose other lines (a
// comment, a name, "[DONE]") hold none.
static size_t value_begin(const char *line, size_t size, bool events) {
    size_t at = 0;
    while (at < size && strchr(" \t\r", line[at]) != NULL && line[at] != '\0') at++;
    if (!events) return at;
    if (size - at < 5 || strncmp(line + at, "data:", 5) != 0) return size;
    at += 5;
    while (at < size && line[at] == ' ') at++;
    return size - at >= 6 && strncmp(line + at, "[DONE]", 6) == 0 ? size : at;
}

// Bytes of white space that a body begins with.
static size_t blank_size(const char *body, size_t size) {
    size_t at = 0;
    while (at < size && strchr(" \t\r\n", body[at]) != NULL && body[at] != '\0') at++;
    return at;
}

bool judge_parse(const char *body, size_t size, struct strbuf *answer, struct llm_error *err) {
    size_t at = blank_size(body, size);
    if (at == size) return error_set(err, LLM_ERROR_FORMAT, "sent an empty answer");
    const bool events = size - at > 5 && (strncmp(body + at, "data:", 5) == 0 || strncmp(body + at, "event:", 6) == 0 ||
                                          body[at] == ':');
    json_t *whole = events ? NULL : json_parse(body, size, NULL); // laid out over several lines perhaps
    if (whole != NULL) {
        json_decref(whole);
        return take_value(body, size, answer, err);
    }
    while (at < size) {
        const char *end = memchr(body + at, '\n', size - at);
        const size_t length = end == NULL ? size - at : (size_t)(end - body) - at;
        const size_t begin = value_begin(body + at, length, events);
        if (begin < length && !take_value(body + at + begin, length - begin, answer, err)) return false;
        at += length + 1;
    }
    return true;
}

// ---- One request --------------------------------------------------------------------------------

struct collecting {
    struct strbuf body;
    http_tick_fn *tick;
    void *user;
};

static bool collect(void *user, const void *bytes, size_t size, struct llm_error *err) {
    struct collecting *collecting = user;
    strbuf_append(&collecting->body, bytes, size);
    return strbuf_ok(&collecting->body) || error_set(err, LLM_ERROR_NETWORK, "the answer does not end");
}

static bool tick(void *user) {
    const struct collecting *collecting = user;
    return collecting->tick == NULL || collecting->tick(collecting->user);
}

// What the server said when it refused, behind the sentence.
static void add_refusal(const struct http_post *post, struct llm_error *err) {
    json_t *value = json_parse(post->refusal, strlen(post->refusal), NULL);
    const char *text = NULL;
    if (value != NULL) content_of(value, &text);
    if (text != NULL && err != NULL) {
        char quoted[STR_QUOTE_SIZE];
        const size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof err->text - used, ": %s", str_quote(text, quoted));
    }
    json_decref(value);
}

// Is it this question that the server does not want? Bad request, content too large, unprocessable content: what
// servers say of one that is longer than the judge's context.
static bool is_about_question(long status) {
    return status == 400 || status == 413 || status == 422;
}

// What to do when no server answers.
static void add_advice(const struct judge *judge, struct llm_error *err) {
    const size_t used = strlen(err->text), room = sizeof err->text - used;
    if (judge->options->api == LLM_SCORE_OLLAMA) {
        snprintf(err->text + used, room,
                 "; is Ollama running there? `ollama serve` starts it (`ollama pull %s` gets the model), --url names "
                 "another place",
                 judge->options->judge);
    } else {
        snprintf(err->text + used, room, "; is the server running there? --url names another place");
    }
}

static enum judge_outcome take_answer(const struct judge *judge, struct collecting *collecting, struct strbuf *answer,
                                      struct llm_error *err) {
    struct llm_error wrong = {0};
    const char *body = collecting->body.bytes == NULL ? "" : collecting->body.bytes;
    const bool ok = judge_parse(body, collecting->body.size, answer, &wrong);
    if (ok && answer->size > MAX_ANSWER) return JUDGE_TOO_LONG;
    if (ok && strbuf_ok(answer)) return JUDGE_ANSWERED;
    if (ok) error_memory(&wrong, "answer");
    error_prefix(&wrong, "%s", judge->url);
    error_set(err, wrong.code, "%s", wrong.text);
    return JUDGE_FAILED;
}

// The beginning of an answer that did not end, as far as its lines are whole.
static void take_beginning(const struct collecting *collecting, struct strbuf *answer) {
    const char *end = collecting->body.size == 0 ? NULL : memrchr(collecting->body.bytes, '\n', collecting->body.size);
    if (end != NULL) judge_parse(collecting->body.bytes, (size_t)(end - collecting->body.bytes), answer, NULL);
}

enum judge_outcome judge_ask(const struct judge *judge, const char *question, uint64_t seed, http_tick_fn *on_tick,
                             void *user, struct strbuf *answer, struct llm_error *err) {
    struct collecting collecting = {.tick = on_tick, .user = user};
    strbuf_init(&collecting.body, MAX_BODY);
    char *body = request_body(judge, question, seed);
    if (body == NULL) {
        error_memory(err, "question");
        return JUDGE_FAILED;
    }
    struct http_post post = {.body = body,
                             .size = strlen(body),
                             .content_type = "application/json",
                             .authorization = judge->authorization,
                             .total_seconds = judge->options->timeout};
    const struct http_request request = {.url = judge->url,
                                         .max_size = MAX_BODY,
                                         .stall_seconds = judge->options->timeout,
                                         .post = &post,
                                         .body = collect,
                                         .tick = tick,
                                         .user = &collecting};
    struct llm_error wrong = {0};
    long status = 0;
    enum judge_outcome outcome = JUDGE_FAILED;
    if (http_post(&request, &status, &wrong)) {
        outcome = take_answer(judge, &collecting, answer, err);
    } else if (collecting.body.size > MAX_BODY / 2) {
        take_beginning(&collecting, answer);
        outcome = JUDGE_TOO_LONG;
    } else {
        if (status == 0 && wrong.code == LLM_ERROR_NETWORK) add_advice(judge, &wrong);
        add_refusal(&post, &wrong);
        error_set(err, wrong.code, "%s", wrong.text);
        if (is_about_question(status)) outcome = JUDGE_REFUSED;
    }
    // It took the question and said nothing, whether it then closed properly or not.
    const bool blank = blank_size(collecting.body.bytes, collecting.body.size) == collecting.body.size;
    if (status == 200 && blank && wrong.code != LLM_ERROR_CANCELLED) outcome = JUDGE_SILENT;
    strbuf_release(&collecting.body);
    free(body);
    return outcome;
}
