// respond.h: answers to instructions: the parts that llm_instruct_respond*() and llm_instruct_train() share.
#ifndef TASKS_RESPOND_H
#define TASKS_RESPOND_H

#include "base/json.h"
#include "data/template.h"
#include "model/engine.h"

// The key of an answer, in the book and everywhere else.
#define RESPOND_KEY "model_response"

// ---- respond.c ----------------------------------------------------------------------------------

// The style that the options name; else the one that the engine's run was trained with; else Alpaca's.
bool respond_template(struct template *template, const struct llm_engine *engine, const char *path,
                      struct llm_error *err);

struct respond_job {
    struct llm_engine *engine;
    const struct template *template;
    const struct llm_respond_options *options;
    const struct instruction *items;
    const size_t *wanted; // [n_wanted] of the items; NULL: the first n_wanted
    size_t n_wanted;
    size_t n_before, n_all; // for the progress call: answered earlier, and in all
    // Receives an answer without the white space around it; NULL: the prompt is longer than the context.
    bool (*done)(void *user, size_t item, const char *text, size_t size, struct llm_error *err);
    void *user;
};

// Answers several at a time; item i draws its random numbers as sample i. Answers come in the order in which they end.
bool respond_run(const struct respond_job *job, struct llm_error *err);

// ---- respond_file.c -----------------------------------------------------------------------------

struct respond_entries {
    json_t *list; // [n] the entries as they are written; gets the answers
    const struct instruction *items;
    size_t n;
    const char *file; // where they came from, for sentences
};

// Entries first to first + n of the file that `instructions` are from, with all keys they have, in their order.
// `entries->list` is released by the caller, after a failure too.
bool respond_entries_read(struct respond_entries *entries, const char *path, const struct instructions *instructions,
                          size_t first, size_t n, struct llm_error *err);
// Answers all entries, going on from `out`.part if that belongs to the same, and writes `out`. `out` may be there.
bool respond_entries(struct llm_engine *engine, const struct template *template, struct respond_entries *entries,
                     const char *out, const struct llm_respond_options *options, struct llm_respond_result *result,
                     struct llm_error *err);

#endif
