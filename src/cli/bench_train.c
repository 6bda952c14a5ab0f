// bench_train.c: see bench_train.h.
#include "cli/bench_train.h"

#include <stdlib.h>

#include "base/error.h"
#include "cli/command.h"

enum {
    QUICK_TOKENS = 16
};

static bool go_on(void *user, const struct llm_progress *progress) {
    (void)user;
    (void)progress;
    return !command_interrupted();
}

// FLOPs of a step: two a multiply-add of the products and of attention; backward has two products for each of
// forward's, one for the gradient of what goes in and one for the weights'.
static double count_flops(const struct llm_model_info *model, double n_sequences, double n_tokens) {
    const double n = n_sequences * n_tokens;
    const double n_embd = model->n_embd;
    const double products = 2 * n_embd * (4 * n_embd + 2.0 * model->n_inner);
    const double pairs = n_sequences * n_tokens * (n_tokens + 1) / 2;
    const double forward = model->n_layer * (n * products + 4 * n_embd * pairs) + n * 2 * n_embd * model->vocab_size;
    return 3 * forward;
}

static int choose_shapes(const struct llm_model_info *model, const struct bench_training *training,
                         struct llm_train_measurement *measurements) {
    static const int shapes[BENCH_TRAIN_SHAPES][2] = {{4, 64}, {4, 256}, {1, 1024}};
    if (training->n_tokens > 0) {
        measurements[0] = (struct llm_train_measurement){training->n_sequences, training->n_tokens, NULL};
        return 1;
    }
    int n = 0;
    for (int i = 0; i < BENCH_TRAIN_SHAPES; i++) {
        const int wanted = training->quick ? QUICK_TOKENS : shapes[i][1];
        const int n_tokens = wanted < model->n_ctx ? wanted : model->n_ctx;
        // A context that has been reached already has nothing new at a longer one.
        if (n > 0 && measurements[n - 1].n_tokens == n_tokens && (training->quick || i == 1)) break;
        measurements[n++] = (struct llm_train_measurement){shapes[i][0], n_tokens, NULL};
    }
    return n;
}

bool bench_train(struct llm_engine *engine, const struct llm_model_info *model, const struct bench_training *training,
                 struct bench_result *results, int *n_results, struct llm_error *err) {
    const int repetitions = training->repetitions;
    struct llm_train_measurement measurements[BENCH_TRAIN_SHAPES] = {0};
    double *seconds = calloc(BENCH_TRAIN_SHAPES * (size_t)repetitions, sizeof *seconds);
    if (seconds == NULL) return error_memory(err, "results");
    const int n = choose_shapes(model, training, measurements);
    for (int i = 0; i < n; i++) measurements[i].seconds = seconds + (ptrdiff_t)i * repetitions;
    const struct llm_callbacks callbacks = {.progress = go_on};
    const bool ok = llm_train_measure(engine, measurements, n, training->compute, repetitions, &callbacks, err);
    for (int i = 0; i < n && ok; i++) {
        struct bench_result result = {
            .kind = BENCH_TRAIN,
            .n_tokens = measurements[i].n_tokens,
            .batch = measurements[i].n_sequences,
            .n_processed = (double)measurements[i].n_sequences * measurements[i].n_tokens,
            .flops = count_flops(model, measurements[i].n_sequences, measurements[i].n_tokens),
        };
        bench_summarize(&result, measurements[i].seconds, repetitions);
        results[(*n_results)++] = result;
    }
    free(seconds);
    return ok;
}
