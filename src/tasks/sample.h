// sample.h: what a model under training writes, for people to see.
#ifndef TASKS_SAMPLE_H
#define TASKS_SAMPLE_H

#include "model/engine.h"

// The prompt [size], and what the model makes of it, likeliest token by token: *text [*text_size], allocated. The
// weights have changed since the last time, so nothing of an old session's cache would be true any more: each sample
// has its own.
bool sample_text(struct llm_engine *engine, const char *prompt, size_t size, int n_tokens, bool ignore_eos, char **text,
                 size_t *text_size, struct llm_error *err);

#endif
