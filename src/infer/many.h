// many.h: many prompts, several at a time.
//
// Each slot of a session holds one prompt's timeline; when its text ends, the next prompt takes the slot, and its
// tokens go forward in the same batch as the others' newest ones. So the weights are read once for all of them. What
// all prompts begin with is computed once.
#ifndef INFER_MANY_H
#define INFER_MANY_H

#include "infer/session.h"

// One prompt, no longer than the context; after one that fills it, a single token follows.
struct many_prompt {
    const int32_t *ids; // [n] at least one, all of the model's
    size_t n;
};

// Called when a prompt's text has ended; the text is valid until the next token. Returning false ends everything.
typedef bool many_end_fn(void *user, size_t number, const struct sample *sample, struct llm_error *err);

// Continues prompts [n] in their order, session->n_sequences at a time. Of the options shift does not count: a full
// context ends a text. Prompt i draws the random numbers of sample i. `on_piece` (may be NULL) sees tokens as they are
// made, their `sample` the prompt's number; when it returns false, everything ends with LLM_ERROR_CANCELLED.
bool generate_many(struct llm_session *session, const struct many_prompt *prompts, size_t n,
                   const struct llm_generate_options *options, llm_piece_fn *on_piece, many_end_fn *on_end, void *user,
                   struct llm_error *err);

#endif
