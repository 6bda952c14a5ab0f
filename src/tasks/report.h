// report.h: the parts of a classifier's report.md, in Markdown, from its predictions.
//
// Each part is appended to `out`, whose failure (out of memory) is sticky. names [n_labels]. Names and texts are
// strangers': whatever they hold, a table stays a table.
#ifndef TASKS_REPORT_H
#define TASKS_REPORT_H

#include "base/str.h"
#include "tasks/metrics.h"

// "accuracy 97.32 % (145 of 149)", then precision, recall, F1 and number of texts of each label, macro and micro means.
void report_labels(struct strbuf *out, const struct metrics *metrics, const char *const *names);

// True labels down, predicted ones across. With more labels than a page is wide: the pairs confused most often.
void report_confusion(struct strbuf *out, const struct metrics *metrics, const char *const *names);

// The `most` wrong predictions of the highest probability, worst first.
bool report_mistakes(struct strbuf *out, const struct prediction *predictions, size_t n, const char *const *names,
                     size_t most, struct llm_error *err);

#endif
