// trainer.h: the loop that every kind of training runs in.
//
// It knows nothing of texts or labels. A task says how many examples there are, gives one when asked, and may compute
// its own loss; the loop packs batches, draws their order as PyTorch's DataLoader does, accumulates gradients, clips,
// steps, evaluates, logs, saves and resumes.
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "base/json.h"
#include "train/optimizer.h"
#include "train/packed.h"

enum train_side {
    TRAIN_LEARN,
    TRAIN_VALIDATE,
    TRAIN_TEST, // only for what a task measures itself
    TRAIN_SIDES
};

struct trainer;

// For a task's hooks: a new pass over the loader of a side, which draws from `random`, through `most` batches (0: all)
// and the task's loss. *mean gets their mean loss, NaN without examples.
bool train_pass_over(struct trainer *trainer, enum train_side side, int most, struct random *random, double *mean,
                     struct llm_error *err);

// One batch to compute the losses of, and their gradients unless `gradients` is NULL.
struct train_call {
    struct llm_engine *engine;
    struct pass *pass;
    const struct packed *packed;
    const float *entering;         // NULL: nothing is frozen, or it is not kept
    const float *scales;           // [n_rows] the loss is the sum of scales[i] * losses[i]
    float *losses;                 // [n_rows]
    struct param_block *gradients; // NULL: losses only
    const struct lora *lora;       // adapters, whose gradients are wanted with the others; NULL: none
    struct random *random;         // NULL: no dropout
};

struct train_task {
    void *user;
    int64_t n_examples[TRAIN_SIDES];
    int max_tokens; // of one example
    struct trainable trainable;
    bool shares_beginning;  // examples may well begin alike: what a batch's have in common is computed once
    int untrained_batches;  // of the evaluation before the first step, at least
    int64_t cache_memory;   // bytes for the activations of frozen layers at most; negative: half of what is free
    struct random random;   // what the run's numbers are drawn from, after those of the weights
    const json_t *identity; // what a resumed run must agree in, beside the settings: data, model; borrowed
    const json_t *details;  // more for run.json; borrowed
    json_t *measures; // an object of what the hooks measured: for run.json, kept in checkpoints; borrowed, or NULL
    // Example `number` of a side, valid until the next call.
    bool (*example)(void *user, enum train_side side, int64_t number, struct train_example *example,
                    struct llm_error *err);
    // NULL: the cross-entropy of a language model.
    bool (*loss)(void *user, const struct train_call *call, struct llm_error *err);
    // Before the first step: what the task wants to measure then, and for people to read: *text [*size], the caller's.
    // Draws from a copy of the run's generator, of which the evaluation before the first step goes on. NULL: nothing.
    bool (*begin)(void *user, struct trainer *trainer, struct random *random, char **text, size_t *size,
                  struct llm_error *err);
    // After each epoch: a sample, an accuracy, as above; `random` is the run's own. NULL: nothing.
    bool (*epoch)(void *user, struct trainer *trainer, struct random *random, char **text, size_t *size,
                  struct llm_error *err);
    // Writes the model as it is, or, unless `lora` is NULL, the adapters alone, as directory `path`. NULL: as those of
    // any model are saved.
    bool (*save)(void *user, const struct lora *lora, const char *path, struct llm_error *err);
    // Pictures and whatever else lies beside the log, at the end and when the run is stopped. NULL: nothing.
    bool (*finish)(void *user, struct trainer *trainer, struct random *random, bool finished, const char *out,
                   struct llm_error *err);
};

// How the model of such a run is opened: with its threads, kernels and callbacks.
struct llm_engine_options train_engine_options(const struct llm_train_options *options);

// Before anything else of a run: checks the options, and that `out` can be (or already is) this run's, and makes it.
// What options->overwrite allows to go stays until the run really begins.
bool train_begin(const char *out, const struct llm_train_options *options, struct llm_error *err);

// Whether DIR/run.json tells of a finished run with these settings and task->identity; *report (may be NULL) gets what
// it says then, a new reference, task->measures among it. A run of others is an error, which names the first
// difference.
bool train_finished_same(const char *out, const struct llm_train_options *options, const json_t *identity, bool *same,
                         json_t **report, struct llm_error *err);

// Likewise for a run that is to be resumed, in *finished; a run of others is an error, and one that was only shorter is
// told how to go on all the same.
bool train_finished_resumed(const char *out, const struct llm_train_options *options, const json_t *identity,
                            bool *finished, struct llm_error *err);

// Whether DIR/run.json says that the run came to its end, so that there is nothing to resume; and how it ended.
bool train_finished(const char *out, struct llm_train_result *result);

// Trains the engine, whose weights are the block `weights`, and writes directory `out`. `extra` [n_extra]: tensors of
// the task's own to train as well. `result` may be NULL.
bool train_run(struct llm_engine *engine, const struct param_block *weights, const struct train_task *task,
               const struct train_tensor *extra, int n_extra, const char *out, const struct llm_train_options *options,
               struct llm_train_result *result, struct llm_error *err);

#endif
