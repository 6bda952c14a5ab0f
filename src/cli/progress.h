// progress.h: the line on stderr that tells how far a long job is.
//
// At a terminal one line is drawn over and over: what, bar, per cent, amount, rate, time left. Anywhere
// else (a log, a pipe) each thing gets a line when it begins and one when it is done.
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "my_llm.h"

// The two callbacks of the library; `user` is not used.
bool progress_show(void *user, const struct llm_progress *progress);
void progress_notice(void *user, const char *sentence);

// Shows one line of the caller's in the bar's place, at a terminal only, ten times a second at most.
void progress_text(const char *line);

// Takes a bar that is still shown off the line, so that something else can be printed.
void progress_clear(void);

// The line of `columns` columns at most, without a newline. `rate` is in units a second; 0: unknown.
void progress_line(char *line, size_t size, int columns, const struct llm_progress *progress, double rate);

// "548.1 MB", "12 tokens".
void amount_text(char *text, size_t size, int64_t amount, const char *unit);

// "1:05", "2:03:04".
void time_text(char *text, size_t size, double seconds);

#endif
