// schedule.h: the learning rate of each step.
#ifndef TRAIN_SCHEDULE_H
#define TRAIN_SCHEDULE_H

#include "my_llm.h"

struct schedule {
    double initial, peak, minimum;
    int64_t warmup;   // steps
    int64_t cooldown; // steps
    int64_t total;    // steps of the run
    bool cosine;
};

// From the options, for a run of n_steps.
void schedule_init(struct schedule *schedule, const struct llm_train_options *options, int64_t n_steps);

// Whether both have the same rates for the first n steps; never when one is shorter than that.
bool schedule_same(const struct schedule *a, const struct schedule *b, int64_t n);

// Learning rate of step 0 .. total - 1.
double schedule_rate(const struct schedule *schedule, int64_t step);

#endif
