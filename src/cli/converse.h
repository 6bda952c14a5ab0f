// converse.h: line after line from a person at a terminal, each with its answer.
#ifndef CLI_CONVERSE_H
#define CLI_CONVERSE_H

#include "base/error.h"

// Answers a line that is not empty; a failure is shown, and the conversation goes on.
typedef bool converse_fn(void *user, const char *line, struct llm_error *err);

// Asks with `prompt` until `quit` or Ctrl-D, or until *over. Ctrl-C ends the answer that is being written, or forgets
// what was typed; a second one, with nothing entered between, ends the program, as SIGTERM does. Returns the exit code.
int converse(const char *prompt, converse_fn *answer, void *user, const bool *over);

#endif
