// bench_train.h: `my-llm bench --train`: how fast a model learns here.
#ifndef CLI_BENCH_TRAIN_H
#define CLI_BENCH_TRAIN_H

#include "cli/bench_output.h"

enum {
    BENCH_TRAIN_SHAPES = 3
};

struct bench_training {
    int n_sequences, n_tokens; // of the only shape; 0: up to BENCH_TRAIN_SHAPES of our own, as the context allows
    int compute;
    bool quick;
    int repetitions;
};

// Measures steps; fills in results and *n_results. The engine may only be freed afterwards.
bool bench_train(struct llm_engine *engine, const struct llm_model_info *model, const struct bench_training *training,
                 struct bench_result *results, int *n_results, struct llm_error *err);

#endif
