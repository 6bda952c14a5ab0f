// examples.h: instructions as token ids, and batches of them with their targets.
//
// An example is the ids of prompt, response header and answer. Its inputs are these ids, its targets the ids shifted by
// one with <|endoftext|> at the end. A target that carries no loss is EXAMPLES_IGNORE, PyTorch's ignore_index.
#ifndef DATA_EXAMPLES_H
#define DATA_EXAMPLES_H

#include "data/template.h"

enum {
    EXAMPLES_IGNORE = -100,
    EXAMPLES_MAX_LENGTH = 1024, // tokens of an example, the book's allowed_max_length
};

struct example {
    size_t at; // in `ids`
    int n_ids;
    int response; // ids of prompt and header when tokenised alone: with the loss on the response only, the first
                  // response - 1 targets are ignored
};

struct examples {
    int32_t *ids; // of all examples
    size_t n_ids, capacity;
    struct example *items; // [n]
    size_t n;
    int32_t eot;        // <|endoftext|>
    int max_length;     // of inputs and targets; what is longer is cut when batches are made
    size_t n_cut;       // examples longer than that
    size_t n_no_answer; // of these, with nothing left of the answer
};

// Tokenises items [n]. `examples` comes in any state and is released by the caller, after a failure too. `unit` names
// what item->number counts, for sentences. <|endoftext|> in a text is plain text.
bool examples_encode(struct examples *examples, const struct instruction *items, size_t n, const char *unit,
                     const struct template *template, const struct llm_tokenizer *tokenizer, int max_length,
                     struct llm_error *err);
void examples_release(struct examples *examples);

// A batch: sequence s is tokens starts[s] .. starts[s + 1] - 1.
struct examples_batch {
    int32_t *ids, *targets, *positions; // [n_tokens]
    int32_t *starts;                    // [n_sequences + 1]
    int n_tokens, n_sequences;
    int n_targets;                            // targets that carry a loss
    size_t token_capacity, sequence_capacity; // of what is allocated
};

// Makes the batch of examples order[0 .. n - 1] (NULL: the first n). Padded: every sequence is as long as the
// longest, filled up with <|endoftext|>, of whose targets the first carries a loss: the book's custom_collate_fn().
// Else the same without the padding. `batch` is zeroed once and then used again and again.
bool examples_batch(struct examples_batch *batch, const struct examples *examples, const int64_t *order, size_t n,
                    bool padded, bool response_only, struct llm_error *err);
void examples_batch_release(struct examples_batch *batch);

#endif
