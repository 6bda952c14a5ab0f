// generate_output.h: what `my-llm generate` prints for one prompt: text as it is made, ids, log
// probabilities, or JSON, on stdout; the speed on stderr.
#ifndef CLI_GENERATE_OUTPUT_H
#define CLI_GENERATE_OUTPUT_H

#include "base/error.h"
#include "my_llm.h"

// The log probabilities of one new token.
struct scored_token {
    int32_t id;
    float logprob;
    struct llm_logprob *top; // [n_top]
};

struct scored_tokens {
    struct scored_token *tokens; // [n]
    size_t n, capacity;
};

struct output {
    const char *model;                     // as the user named it; NULL: not named
    const struct llm_tokenizer *tokenizer; // NULL: the model has no vocabulary
    bool json, print_ids, echo;
    int n_samples;
    int n_logprobs;
    // The prompt, borrowed. Text is NULL when there is none.
    const char *prompt;
    size_t prompt_size;
    const int32_t *prompt_ids; // [n_prompt_ids]
    size_t n_prompt_ids;
    // State.
    struct scored_tokens *scored; // [n_samples] when n_logprobs > 0
    int n_top;                    // n_logprobs, or the vocabulary's size if that is less
    bool begun;                   // the first sample's text stands on stdout, at least in part
    bool line_open;               // the last character on stdout was no newline
    bool failed;                  // out of memory, or stdout cannot be written
};

bool output_init(struct output *output, struct llm_error *err);
void output_release(struct output *output);

// The llm_piece_fn; `user` is the struct output. Stops the generation at Ctrl-C and when stdout is closed.
bool output_piece(void *user, const struct llm_piece *piece);

// Prints what is left of it once the generation has ended.
bool output_end(struct output *output, const struct llm_generation *generation, struct llm_error *err);
// Ends a line that a failure has left open.
void output_abort(struct output *output);

#endif
