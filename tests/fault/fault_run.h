// fault_run.h: a whole training run with its calls failing, for every kind of training: no half model may be left, and
// a run that was cut off goes on to the same weights.
#ifndef FAULT_FAULT_RUN_H
#define FAULT_FAULT_RUN_H

#include <stddef.h>

#include "fault.h"

struct fault_run {
    const char *name, *text; // of the file to learn from
    // Trains on `data` into `out`, beginning anew or resuming.
    bool (*train)(const struct fault_run *run, bool resume, struct llm_error *err);
    int rank; // of adapters; 0: none
    char folder[64], data[80], cache[80], out[80];
    char *weights; // [size] of the run that nothing disturbed
    size_t size;
    bool refused; // a picture was, in the run that is going on
};

// Settings that all such runs share: short, with a checkpoint after each step.
void fault_run_options(const struct fault_run *run, bool resume, struct llm_train_options *options);

// Makes the folder and the data, and trains undisturbed. Returns 0, or -1 after saying why (a cmocka setup).
int fault_run_setup(struct fault_run *run);
// Removes the folder (cmocka's teardown, of a state that is a struct fault_run).
int fault_run_teardown(void **state);

// fault_loop() over such a run from its beginning, which each time is looked at, and resumed.
int fault_run_loop(unsigned kinds, struct fault_run *run);

#endif
