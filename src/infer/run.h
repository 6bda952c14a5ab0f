// run.h: samples while tokens are made for them: what a token does to the sample it is for.
//
// Whoever decides what the model computes next (generate.c: one prompt, many.c: many) hands each sample's logits to
// run_next() until the sample is finished.
#ifndef INFER_RUN_H
#define INFER_RUN_H

#include "infer/session.h"

struct run {
    struct llm_session *session;
    const struct llm_generate_options *options;
    llm_piece_fn *on_piece;
    void *user;
    const struct llm_tokenizer *tokenizer; // NULL: no text
    int32_t eos;                           // -1: none
    struct llm_logprob *top;               // [n_top]
    int n_top;
    size_t room, text_room; // of a sample at the start: tokens, bytes
    int *active;            // [n_sequences] for the caller: unfinished samples
    int n_active;
    int32_t *next; // [n_sequences] each sample's newest token, not yet in the cache
    bool cancelled;
};

// The options, and whether this model can do them.
bool run_check_options(const struct llm_generate_options *options, const struct llm_engine *engine,
                       struct llm_error *err);
// The end-of-text token: the config's, else the vocabulary's; -1: there is none.
int32_t end_of_text(const struct llm_engine *engine);

// Fills in the rest of a run whose first four fields are set. run_release() afterwards, whatever it returned.
bool run_init(struct run *run, struct llm_error *err);
void run_release(struct run *run);

// Makes sample s of the session ready: room for what it will hold, the tokens its prompt [n_prompt] has seen, and
// random numbers of its own, those of sample `number`, which its pieces bear.
bool run_begin(struct run *run, int s, int number, const int32_t *prompt, size_t n_prompt, struct llm_error *err);
// Gives back what run_begin() took and nobody took out since.
void run_forget(struct run *run, int s);

// Chooses the sample's next token from its logits; the sample may end with it.
bool run_next(struct run *run, int s, const float *logits, struct llm_error *err);
void sample_finish(struct sample *sample, enum llm_finish finish);

#endif
