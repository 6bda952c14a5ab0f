// settings.h: the options of a training run: defaults, limits, and their JSON for run.json and the checkpoint.
#ifndef TRAIN_SETTINGS_H
#define TRAIN_SETTINGS_H

#include "base/json.h"
#include "my_llm.h"

void train_options_init(struct llm_train_options *options);

// Every number within what makes sense? The sentence names the option as the program spells it.
bool train_options_check(const struct llm_train_options *options, struct llm_error *err);

// The settings that decide what the numbers of a run will be, so not threads, checkpoints and time limits. NULL when
// out of memory.
json_t *train_settings_json(const struct llm_train_options *options);

// Compares what a checkpoint was written for with what is asked for now: two objects, nested or not. The sentence
// names the first difference: "it was begun with lr 0.001, now it is 0.0005".
bool train_identity_check(const json_t *saved, const json_t *present, struct llm_error *err);

// Whether all that differs is how long the run is.
bool train_differs_in_length(const json_t *saved, const json_t *present);

// The same of a run that goes on after `done` steps: one that becomes longer or shorter, or cools down elsewhere, is
// the same run as long as the learning rates of those steps are.
bool train_resume_check(const json_t *saved, const json_t *present, int64_t steps_an_epoch, int64_t done,
                        struct llm_error *err);

#endif
