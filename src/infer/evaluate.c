// evaluate.c: how well a model predicts given sequences: mean cross-entropy and perplexity.
//
// A sequence is read through windows of `window` tokens that move by `stride`. A window's tokens predict the
// tokens one place further on; of these, the ones no earlier window has scored are counted, so each token but
// a sequence's first is scored once. stride = window scores fastest; a smaller stride gives every token at
// least window - stride tokens of context (Press et al. 2021, section 2).
//
// Windows of one or several sequences are packed into one batch while they fit; the head runs only on rows
// that are scored. The standard error is that of a mean of independent numbers; neighbours in a text are
// not quite that, so it is a lower bound.
#include <math.h>
#include <stdlib.h>

#include "infer/session.h"

enum {
    BATCH_TOKENS = 512 // at least one window; products run at their full rate from 256 tokens on
};

struct evaluation_run {
    const struct llm_engine *engine;
    const int32_t *ids;
    const size_t *starts;
    size_t n_sequences;
    int window, stride;
    struct activations activations;
    struct batch batch; // in the arrays below, each [max_tokens] (starts one more)
    int32_t *positions, *batch_ids, *batch_starts, *rows, *targets;
    float *losses; // operations' memory
    // Where the next window begins.
    size_t sequence;
    size_t at;     // its first token, an index into ids
    size_t scored; // tokens of the sequence below this index are scored
    // Running mean and sum of squared deviations (Welford 1962).
    int64_t n;
    double mean, deviations;
};

void llm_evaluate_options_init(struct llm_evaluate_options *options) {
    *options = (struct llm_evaluate_options){0};
}

static void run_release(struct evaluation_run *run) {
    activations_release(&run->activations, run->engine);
    free(run->positions);
    free(run->batch_ids);
    free(run->batch_starts);
    free(run->rows);
    free(run->targets);
    if (run->losses != NULL) run->engine->ops->free(run->engine->ops, run->losses);
}

static bool run_init(struct evaluation_run *run, struct llm_error *err) {
    const int max_tokens = run->window > BATCH_TOKENS ? run->window : BATCH_TOKENS;
    const size_t n = (size_t)max_tokens;
    run->positions = malloc(n * sizeof *run->positions);
    run->batch_ids = malloc(n * sizeof *run->batch_ids);
    run->batch_starts = malloc((n + 1) * sizeof *run->batch_starts);
    run->rows = malloc(n * sizeof *run->rows);
    run->targets = malloc(n * sizeof *run->targets);
    run->losses = run->engine->ops->alloc(run->engine->ops, n * sizeof *run->losses);
    if (run->positions == NULL || run->batch_ids == NULL || run->batch_starts == NULL || run->rows == NULL ||
        run->targets == NULL || run->losses == NULL) {
        return error_memory(err, "evaluation");
    }
    return activations_init(&run->activations, run->engine, max_tokens, max_tokens, max_tokens, false, err);
}

// Goes to the first token of the next sequence that has a token to predict.
static void next_sequence(struct evaluation_run *run) {
    while (run->sequence < run->n_sequences && run->starts[run->sequence + 1] - run->starts[run->sequence] < 2) {
        run->sequence++;
    }
    if (run->sequence == run->n_sequences) return;
    run->at = run->starts[run->sequence];
    run->scored = run->at + 1;
}

// Adds the next window to the batch, if there is one and it fits.
static bool add_window(struct evaluation_run *run) {
    if (run->sequence == run->n_sequences) return false;
    struct batch *batch = &run->batch;
    const size_t end = run->starts[run->sequence + 1];
    const size_t left = end - 1 - run->at; // tokens that have a successor
    const int n = left < (size_t)run->window ? (int)left : run->window;
    if (n > run->activations.max_tokens - batch->n_tokens) return false;
    for (int i = 0; i < n; i++) {
        const size_t target = run->at + (size_t)i + 1;
        run->batch_ids[batch->n_tokens + i] = run->ids[run->at + (size_t)i];
        run->positions[batch->n_tokens + i] = i;
        if (target < run->scored) continue;
        run->rows[batch->n_rows] = batch->n_tokens + i;
        run->targets[batch->n_rows++] = run->ids[target];
    }
    batch->n_tokens += n;
    run->batch_starts[++batch->n_sequences] = batch->n_tokens;
    run->scored = run->at + (size_t)n + 1;
    run->at += (size_t)run->stride;
    if (run->scored == end) {
        run->sequence++;
        next_sequence(run);
    }
    return true;
}

// Scores one batch of windows.
static bool score_batch(struct evaluation_run *run, struct llm_error *err) {
    const struct batch *batch = &run->batch;
    if (!forward_losses(run->engine, &run->activations, batch, run->targets, run->losses, err)) return false;
    const float *losses = run->engine->ops->get(run->engine->ops, run->losses, (size_t)batch->n_rows);
    for (int i = 0; i < batch->n_rows; i++) {
        const double loss = (double)losses[i];
        if (!isfinite(loss)) {
            return error_set(err, LLM_ERROR_FORMAT,
                             "the loss of predicted token %lld is %g: the model's weights are damaged or overflow",
                             (long long)run->n, loss);
        }
        run->n++;
        const double difference = loss - run->mean;
        run->mean += difference / (double)run->n;
        run->deviations += difference * (loss - run->mean);
    }
    return true;
}

static bool run_all(struct evaluation_run *run, const struct llm_callbacks *callbacks, int64_t total,
                    struct llm_error *err) {
    run->batch_starts[0] = 0;
    next_sequence(run);
    while (run->sequence < run->n_sequences) {
        run->batch = (struct batch){
            .ids = run->batch_ids,
            .positions = run->positions,
            .starts = run->batch_starts,
            .rows = run->rows,
        };
        while (add_window(run)) {
        }
        if (!score_batch(run, err)) return false;
        const struct llm_progress progress = {.what = "evaluating", .unit = "tokens", .done = run->n, .total = total};
        if (callbacks->progress != NULL && !callbacks->progress(callbacks->user, &progress)) {
            return error_set(err, LLM_ERROR_CANCELLED, "the evaluation was cancelled after %lld of %lld tokens",
                             (long long)run->n, (long long)total);
        }
    }
    return true;
}

// Window and stride with their defaults filled in.
static bool choose_window(struct evaluation_run *run, const struct llm_evaluate_options *options,
                          struct llm_error *err) {
    const int n_ctx = run->engine->config.n_ctx;
    run->window = options->window == 0 ? n_ctx : options->window;
    if (run->window < 1 || run->window > n_ctx) {
        return error_set(err, LLM_ERROR_ARGUMENT, "window is %d, 1 to the model's context of %d tokens was expected",
                         options->window, n_ctx);
    }
    run->stride = options->stride == 0 ? run->window : options->stride;
    if (run->stride < 1 || run->stride > run->window) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "stride is %d, 1 to the window of %d tokens was expected, so that no token is left out",
                         options->stride, run->window);
    }
    return true;
}

bool llm_evaluate(struct llm_engine *engine, const int32_t *ids, const size_t *starts, size_t n_sequences,
                  const struct llm_evaluate_options *options, struct llm_evaluation *evaluation,
                  struct llm_error *err) {
    *evaluation = (struct llm_evaluation){0};
    struct evaluation_run run = {.engine = engine, .ids = ids, .starts = starts, .n_sequences = n_sequences};
    if (!engine_writes_text(engine, err) || !choose_window(&run, options, err)) return false;
    int64_t total = 0;
    for (size_t s = 0; s < n_sequences; s++) {
        const size_t n = starts[s + 1] - starts[s];
        if (!check_ids(&engine->config, ids + starts[s], n, "a sequence", err)) return false;
        if (n > 0) total += (int64_t)n - 1;
    }
    if (total == 0) {
        return error_set(err, LLM_ERROR_ARGUMENT, "there is no token to predict: a sequence of at least two is needed");
    }
    const bool ok = run_init(&run, err) && run_all(&run, &options->callbacks, total, err);
    run_release(&run);
    if (!ok) return false;
    const double n = (double)run.n;
    evaluation->n_tokens = run.n;
    evaluation->loss = run.mean;
    evaluation->loss_error = run.n > 1 ? sqrt(run.deviations / (n - 1) / n) : 0;
    evaluation->perplexity = exp(run.mean);
    evaluation->perplexity_error = evaluation->perplexity * evaluation->loss_error;
    return true;
}
