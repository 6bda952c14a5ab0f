// score.h: the parts of llm_score_answers(): the file of answers, and the questions about them.
#ifndef TASKS_SCORE_H
#define TASKS_SCORE_H

#include <jansson.h>

#include "data/template.h"

enum score_state {
    SCORE_WAITS,
    SCORE_KEPT, // from an earlier run
    SCORE_MADE,
    SCORE_FAILED,
};

// The file while it is being scored.
struct score_file {
    const char *path;
    const struct llm_score_options *options;
    struct template template; // of the prompts, as the book's question quotes them
    json_t *list;
    size_t n;
    enum score_state *states; // [n]
};

// Reads the file and checks every entry. `file` comes zeroed and is closed by the caller, after a failure too.
bool score_file_open(struct score_file *file, const char *path, const struct llm_score_options *options,
                     struct llm_error *err);
void score_file_close(struct score_file *file);

// The book's question about entry i.
bool score_file_question(const struct score_file *file, size_t i, struct strbuf *question, struct llm_error *err);
// Keeps entry i's score, or, with score -1, what was answered in its place.
bool score_file_set(struct score_file *file, size_t i, int score, const char *answer, struct llm_error *err);
// Writes all as it is now; the file is the old or the new one, whatever happens.
bool score_file_save(const struct score_file *file, struct llm_error *err);
// The result; the texts belong to the list, which scores->owner holds.
bool score_file_summary(const struct score_file *file, struct llm_scores *scores, struct llm_error *err);

// The integer from 0 to 100 that `text` is, white space around it allowed; -1 when it is anything else.
int score_parse(const char *text);

#endif
