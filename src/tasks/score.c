// score.c: llm_score_answers(): several questions to the judge at a time, its answers into the file.
//
// The threads share the file, the progress and the first error under one lock, which is not held while a request runs.
#include "tasks/score.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/team.h"
#include "tasks/judge.h"

enum {
    ASKED = 2,         // times at most
    SAVED_AFTER = 8,   // new scores, or
    SAVED_SHARE = 100, // one in so many of the file's, whichever is more
    MOST_SHOWN = 200,  // bytes of an answer that is no score
    PAUSE_MS = 500,    // before a server that failed is asked again
    MOST_SILENT = 3,   // questions in a row that get no word: it is the server then, not the question
    MAX_PARALLEL = 64,
};

static const uint64_t first_seed = 123; // of the book's question

struct scoring {
    struct score_file file;
    struct judge judge;
    struct team_counter next;
    pthread_mutex_t lock; // for what follows, and `file`
    size_t n_wanted, n_done, n_unsaved;
    int n_silent; // questions lately, one after another, that got no word
    bool stopped;
    struct llm_error err; // the first one
};

void llm_score_options_init(struct llm_score_options *options) {
    *options = (struct llm_score_options){.url = "http://localhost:11434",
                                          .judge = "llama3",
                                          .api = LLM_SCORE_OLLAMA,
                                          .response_key = "model_response",
                                          .parallel = 1,
                                          .stream = true,
                                          .timeout = 300};
}

// ---- Under the lock -------------------------------------------------------------------------------

static void stop(struct scoring *scoring, const struct llm_error *err) {
    if (err != NULL) error_set(&scoring->err, err->code, "%s", err->text);
    scoring->stopped = true;
}

static void report(struct scoring *scoring) {
    const struct llm_callbacks *callbacks = &scoring->file.options->callbacks;
    const struct llm_progress progress = {"scoring", "entries", (int64_t)scoring->n_done, (int64_t)scoring->n_wanted};
    const struct llm_error cancelled = {LLM_ERROR_CANCELLED, "cancelled"};
    if (callbacks->progress != NULL && !callbacks->progress(callbacks->user, &progress)) stop(scoring, &cancelled);
}

static void save(struct scoring *scoring) {
    struct llm_error err = {0};
    if (scoring->n_unsaved == 0) return;
    if (!score_file_save(&scoring->file, &err)) stop(scoring, &err);
    scoring->n_unsaved = 0;
}

// ---- One entry ------------------------------------------------------------------------------------

// Called about once a second by each request; false ends it.
static bool on_tick(void *user) {
    struct scoring *scoring = user;
    pthread_mutex_lock(&scoring->lock);
    if (!scoring->stopped) report(scoring);
    const bool go_on = !scoring->stopped;
    pthread_mutex_unlock(&scoring->lock);
    return go_on;
}

// Cuts an answer that is no score to what a person wants to see of it, at a character's end.
static void shorten(struct strbuf *answer) {
    if (answer->size <= MOST_SHOWN) return;
    size_t size = MOST_SHOWN;
    while (size > 0 && (answer->bytes[size] & 0xc0) == 0x80) size--;
    answer->bytes[size] = '\0';
    answer->size = size;
    strbuf_puts(answer, "...");
}

// Notes whether the server had a word for a question; false when there have been too many without.
static bool note_silence(struct scoring *scoring, bool silent) {
    pthread_mutex_lock(&scoring->lock);
    scoring->n_silent = silent ? scoring->n_silent + 1 : 0;
    const bool go_on = scoring->n_silent < MOST_SILENT;
    pthread_mutex_unlock(&scoring->lock);
    return go_on;
}

// May the server be better in a moment?
static bool is_trouble(enum judge_outcome outcome) {
    return outcome == JUDGE_FAILED || outcome == JUDGE_SILENT;
}

// Asks until there is a score, twice at most. Returns false when the judge itself fails; else *score is it or -1.
static bool ask(struct scoring *scoring, const char *question, struct strbuf *answer, int *score,
                struct llm_error *err) {
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000 * 1000};
    enum judge_outcome outcome = JUDGE_ANSWERED;
    struct llm_error wrong = {0};
    *score = -1;
    for (int i = 0; i < ASKED && *score < 0; i++) {
        if (is_trouble(outcome)) nanosleep(&pause, NULL);
        wrong = (struct llm_error){0};
        strbuf_clear(answer);
        outcome = judge_ask(&scoring->judge, question, first_seed + (uint64_t)i, on_tick, scoring, answer, &wrong);
        if (outcome == JUDGE_ANSWERED) *score = score_parse(answer->bytes == NULL ? "" : answer->bytes);
        if (is_trouble(outcome) && (wrong.code == LLM_ERROR_CANCELLED || !on_tick(scoring))) {
            return error_set(err, wrong.code, "%s", wrong.text);
        }
    }
    if (outcome == JUDGE_FAILED || !note_silence(scoring, outcome == JUDGE_SILENT)) {
        return error_set(err, wrong.code, "%s", wrong.text);
    }
    if (outcome == JUDGE_TOO_LONG && answer->size == 0) strbuf_puts(answer, "(an answer without end)");
    if (outcome == JUDGE_REFUSED || outcome == JUDGE_SILENT) strbuf_puts(answer, wrong.text);
    shorten(answer);
    return true;
}

static void keep(struct scoring *scoring, size_t i, int score, const char *answer) {
    struct llm_error err = {0};
    const size_t share = scoring->file.n / SAVED_SHARE;
    if (!score_file_set(&scoring->file, i, score, answer, &err)) stop(scoring, &err);
    scoring->n_done++;
    scoring->n_unsaved++;
    if (scoring->n_unsaved >= (share > SAVED_AFTER ? share : SAVED_AFTER)) save(scoring);
    if (!scoring->stopped) report(scoring);
}

static void score_entry(struct scoring *scoring, size_t i, struct strbuf *question, struct strbuf *answer) {
    struct llm_error err = {0};
    int score = -1;
    pthread_mutex_lock(&scoring->lock);
    bool ok = !scoring->stopped && score_file_question(&scoring->file, i, question, &err);
    pthread_mutex_unlock(&scoring->lock);
    ok = ok && ask(scoring, question->bytes, answer, &score, &err);
    pthread_mutex_lock(&scoring->lock);
    if (ok) {
        keep(scoring, i, score, answer->bytes == NULL ? "" : answer->bytes);
    } else if (err.code != LLM_OK) {
        stop(scoring, &err);
    }
    pthread_mutex_unlock(&scoring->lock);
}

static void work(void *job, int thread, int n_threads) {
    (void)thread, (void)n_threads;
    struct scoring *scoring = job;
    struct strbuf question, answer;
    strbuf_init(&question, (size_t)1 << 30);
    strbuf_init(&answer, (size_t)1 << 21);
    for (;;) {
        const size_t i = (size_t)team_take(&scoring->next);
        if (i >= scoring->file.n) break;
        if (scoring->file.states[i] == SCORE_WAITS) score_entry(scoring, i, &question, &answer);
    }
    strbuf_release(&question);
    strbuf_release(&answer);
}

// ---- All ------------------------------------------------------------------------------------------

static void tell_rest(const struct scoring *scoring) {
    const struct llm_callbacks *callbacks = &scoring->file.options->callbacks;
    if (callbacks->notice == NULL || scoring->n_done == 0) return;
    char sentence[160];
    snprintf(sentence, sizeof sentence, "%zu of %zu entries have been asked about; the same call goes on from there",
             scoring->n_done, scoring->n_wanted);
    callbacks->notice(callbacks->user, sentence);
}

static bool run(struct scoring *scoring, struct llm_error *err) {
    const struct score_file *file = &scoring->file;
    for (size_t i = 0; i < file->n; i++) scoring->n_wanted += file->states[i] == SCORE_WAITS;
    if (scoring->n_wanted == 0) return true;
    const int wanted = file->options->parallel < 1 ? 1 : file->options->parallel;
    struct team *team = team_new(wanted > MAX_PARALLEL ? MAX_PARALLEL : wanted, err);
    if (team == NULL) return false;
    report(scoring);
    team_run(team, work, scoring);
    team_free(team);
    save(scoring);
    if (!scoring->stopped) return true;
    tell_rest(scoring);
    return error_set(err, scoring->err.code, "%s", scoring->err.text);
}

bool llm_score_answers(const char *path, const struct llm_score_options *options, struct llm_scores *scores,
                       struct llm_error *err) {
    struct llm_score_options defaults;
    llm_score_options_init(&defaults);
    if (options == NULL) options = &defaults;
    *scores = (struct llm_scores){0};
    struct scoring scoring = {.lock = PTHREAD_MUTEX_INITIALIZER};
    if (!judge_open(&scoring.judge, options, err)) return false;
    const bool ok = score_file_open(&scoring.file, path, options, err) && run(&scoring, err) &&
                    score_file_summary(&scoring.file, scores, err);
    score_file_close(&scoring.file);
    judge_close(&scoring.judge);
    pthread_mutex_destroy(&scoring.lock);
    return ok;
}
