// instruct_score.h: scoring as a command does it, for those that go on to it.
#ifndef CLI_INSTRUCT_SCORE_H
#define CLI_INSTRUCT_SCORE_H

#include <my_llm.h>

// Has the answers in `file` scored and prints what came of it. Returns the exit code.
int score_and_show(const char *file, const struct llm_score_options *options, bool json);

#endif
