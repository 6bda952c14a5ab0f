// loop.h: one run of training inside, for the files of this folder.
#ifndef TRAIN_LOOP_H
#define TRAIN_LOOP_H

#include "train/checkpoint.h"
#include "train/frozen.h"
#include "train/log.h"
#include "train/schedule.h"
#include "train/trainer.h"

struct trainer {
    struct llm_engine *engine;
    const struct param_block *weights;
    const struct train_task *task;
    const struct llm_train_options *options;
    const char *out;
    struct pass_options pass_options;
    struct pass *pass;
    struct optimizer optimizer;
    struct lora lora; // zeroed: no adapters
    struct schedule schedule;
    struct llm_train_plan plan;
    struct packed *batches; // [grad_accum] of a step, or the first one of an evaluation
    float *scales;          // [max_tokens]
    float *losses;          // [max_tokens] operations' memory
    int64_t *order;         // [n_examples] of the present epoch
    int64_t *eval_order;    // [the largest side's n_examples]
    struct frozen frozen;   // zeroed: nothing is kept
    struct train_state state;
    struct train_log log;
    json_t *run;              // what a checkpoint is for
    bool stop;                // a callback asked for it
    double tokens_per_second; // lately
    bool saved;               // the state is that of the checkpoint
    double started;           // seconds on the clock when this sitting began
    double before;            // seconds spent in earlier sittings
};

// ---- setup.c -----------------------------------------------------------------------------------

// Plans and takes all memory. train_teardown() afterwards, whatever it returned.
bool train_setup(struct trainer *trainer, const struct train_tensor *extra, int n_extra, struct llm_error *err);
void train_teardown(struct trainer *trainer);
// Removes what an earlier run left in `out`, all but the log. Only with the log locked.
bool train_clear(const char *out, struct llm_error *err);
// Removes what killed processes were writing into `out` and did not finish. Likewise.
void train_sweep(const char *out);

// The adapters as options and task want them.
struct lora_options train_lora_options(const struct trainer *trainer);

// Seconds on a clock that never goes back.
double train_clock(void);
// Seconds of all sittings so far.
double train_seconds(const struct trainer *trainer);

// ---- plan.c: counting, memory, time ----------------------------------------------------------

// Steps, memory: fills in trainer->plan and pass_options. Refuses what does not work out.
bool train_plan(struct trainer *trainer, struct llm_error *err);
// Measures a step on the first examples; changes no weight and draws no random number of the run's.
bool train_plan_time(struct trainer *trainer, struct llm_error *err);

// ---- step.c: one optimizer step, one evaluation ----------------------------------------------

struct step_report {
    double loss, norm, lr;
    int64_t tokens;
};

// Loss and gradients of the step's examples [batch_size * grad_accum].
bool train_gradients(struct trainer *trainer, const int64_t *examples, struct random *random,
                     struct step_report *report, struct llm_error *err);
// The next step of the epoch: gradients, clipping, update. Refuses a loss or gradient that is not finite, and leaves
// the weights as they were then.
bool train_step(struct trainer *trainer, struct step_report *report, struct llm_error *err);
// Mean loss of both sides, of `most` batches each (0: all); draws from `random` as two passes over PyTorch's loaders
// do.
bool train_evaluate(struct trainer *trainer, int most, struct random *random, double *train_loss, double *val_loss,
                    struct llm_error *err);

// ---- report.c: run.json ----------------------------------------------------------------------

// What a resumed run must agree in.
json_t *train_run_identity(const struct trainer *trainer);
// Writes DIR/run.json: settings, data, model, results.
bool train_report(const struct trainer *trainer, bool finished, struct llm_error *err);

#endif
