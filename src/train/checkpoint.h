// checkpoint.h: a run's state in one file, from which it goes on as if it had never stopped.
//
//     "my-llm-ckpt-1\n\0\0" | u64 size of JSON | JSON | u32 CRC-32C of all so far | numbers | u32 CRC-32C of them
//
// Little-endian; the numbers are the weight, m and v of each trained tensor in turn, F32. The JSON has the state below
// and, under "run", what a resumed run must agree in: settings, data, model.
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "base/json.h"
#include "base/random.h"
#include "train/optimizer.h"

struct train_state {
    int64_t step;                // steps done
    int epoch;                   // the present one, from 0
    int64_t done;                // of its steps
    int64_t examples, tokens;    // seen
    double seconds;              // spent
    double step_seconds;         // one step's, lately
    double train_loss, val_loss; // of the last evaluation; NaN: none yet
    int64_t evaluated;           // the step after which that was; -1: none yet
    double best_val_loss;        // NaN: none yet
    int64_t best_step;           // -1: none yet
    int64_t log_size;            // bytes of log.csv
    json_t *measures;            // the task's (trainer.h), borrowed; NULL: none
    struct random random;        // as it is now
    struct random epoch_random;  // as it was before the epoch's order was drawn
};

bool checkpoint_write(const char *path, const struct train_state *state, const json_t *run,
                      const struct optimizer *optimizer, struct llm_error *err);

// Checks everything before it changes anything: form, checksums, `run` (train_resume_check()), sizes. Then fills in
// state and the optimizer's tensors. Sentences begin with the path.
bool checkpoint_read(const char *path, struct train_state *state, const json_t *run, int64_t steps_an_epoch,
                     const struct optimizer *optimizer, struct llm_error *err);

// The same from bytes in memory: the fuzz target. Sentences do not name the path.
bool checkpoint_parse(const uint8_t *bytes, size_t size, struct train_state *state, const json_t *run,
                      int64_t steps_an_epoch, const struct optimizer *optimizer, struct llm_error *err);

#endif
