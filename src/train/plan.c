// plan.c: what a run will take, found out before its first step; see loop.h.
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/machine_memory.h"
#include "train/loop.h"

double train_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double train_seconds(const struct trainer *trainer) {
    return trainer->before + train_clock() - trainer->started;
}

// ---- Counting -------------------------------------------------------------------------------

static bool count_steps(struct trainer *trainer, struct llm_error *err) {
    const struct llm_train_options *options = trainer->options;
    struct llm_train_plan *plan = &trainer->plan;
    const int64_t per_step = (int64_t)options->batch_size * options->grad_accum;
    plan->n_examples = trainer->task->n_examples[TRAIN_LEARN];
    plan->n_validation = trainer->task->n_examples[TRAIN_VALIDATE];
    plan->steps_an_epoch = plan->n_examples / per_step;
    if (plan->steps_an_epoch == 0) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "there are %" PRId64 " examples to learn from, and one step takes %" PRId64
                         " (batch-size %d, grad-accum %d): take fewer a step, shorter ones, or more text",
                         plan->n_examples, per_step, options->batch_size, options->grad_accum);
    }
    if (plan->n_validation == 0 && (options->keep_best || options->patience > 0)) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "%s goes by the validation loss, and there is no example to validate with: hold more back, or "
                         "leave it out",
                         options->keep_best ? "keep-best" : "patience");
    }
    plan->n_steps = options->steps > 0 ? options->steps : plan->steps_an_epoch * options->epochs;
    // An epoch must fit into an int, whatever --steps says.
    if (plan->n_steps / plan->steps_an_epoch >= INT_MAX) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%" PRId64 " steps are too many", plan->n_steps);
    }
    schedule_init(&trainer->schedule, options, plan->n_steps);
    plan->warmup_steps = trainer->schedule.warmup;
    plan->cooldown_steps = trainer->schedule.cooldown;
    plan->n_tokens = plan->n_steps * per_step * trainer->task->max_tokens;
    return true;
}

enum {
    EVALUATED_AT_ONCE = 4 // batches at most, where examples begin alike
};

// ---- Memory ---------------------------------------------------------------------------------

static int64_t bytes_total(const struct llm_train_plan *plan) {
    return plan->bytes_weights + plan->bytes_gradients + plan->bytes_moments + plan->bytes_activations;
}

static int64_t count_params(const struct config *config, const struct trainable *trainable) {
    int64_t n = 0;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            if (param_trainable(trainable, config, (enum param)p, layer)) n += param_size(config, (enum param)p);
        }
    }
    return n;
}

// With adapters, what they take counts as weights.
static bool plan_adapters(struct trainer *trainer, struct llm_error *err) {
    const struct lora_options options = train_lora_options(trainer);
    if (options.rank == 0) return true;
    int64_t n_params;
    trainer->plan.bytes_weights += lora_bytes(&trainer->engine->config, &options, &n_params);
    trainer->plan.n_params += n_params;
    const bool writes = trainer->options->adapter, has_layers = options.first_layer < trainer->engine->config.n_layer;
    if (n_params > 0 && (has_layers || !writes)) return true;
    return error_set(err, LLM_ERROR_ARGUMENT,
                     n_params == 0
                         ? "nothing would be trained: of this model's head alone there are no adapters"
                         : "a directory of adapters has those of one block at least: train more than the head");
}

static bool plan_memory(struct trainer *trainer, struct llm_error *err) {
    const struct llm_train_options *options = trainer->options;
    const struct config *config = &trainer->engine->config;
    struct llm_train_plan *plan = &trainer->plan;
    struct pass_options *pass = &trainer->pass_options;
    plan->n_params = count_params(config, &pass->trainable);
    plan->bytes_weights = param_block_bytes(config, NULL);
    const int64_t bytes_loaded = plan->bytes_weights;
    if (!plan_adapters(trainer, err)) return false;
    plan->bytes_gradients = param_block_bytes(config, &pass->trainable);
    plan->bytes_moments = 2 * plan->bytes_gradients;
    plan->bytes_activations = pass_bytes(config, pass);
    // The weights are there already when the machine is asked.
    const int64_t available = options->memory > 0 ? options->memory : memory_available() + bytes_loaded;
    if (options->memory == 0 && available == bytes_loaded) return true;
    if (bytes_total(plan) > available && !pass->recompute) {
        pass->recompute = true;
        plan->bytes_activations = pass_bytes(config, pass);
        engine_notice(&options->callbacks, "memory is short: activations are computed again in backward");
    }
    plan->recompute = pass->recompute;
    if (bytes_total(plan) <= available) return true;
    const double megabyte = 1e6;
    return error_set(err, LLM_ERROR_MEMORY,
                     "this run takes %.1f MB and %.1f MB are available; a smaller batch-size with more grad-accum, a "
                     "shorter context or a smaller model takes less",
                     (double)bytes_total(plan) / megabyte, (double)available / megabyte);
}

bool train_plan(struct trainer *trainer, struct llm_error *err) {
    const struct llm_train_options *options = trainer->options;
    const int64_t max_tokens = (int64_t)options->batch_size * trainer->task->max_tokens;
    if (max_tokens > INT_MAX / 4) {
        return error_set(err, LLM_ERROR_ARGUMENT, "a batch of %d examples of %d tokens is too large",
                         options->batch_size, trainer->task->max_tokens);
    }
    const bool shares =
        trainer->task->shares_beginning && options->dropout == 0 && trainer->task->trainable.first_layer == 0;
    trainer->pass_options = (struct pass_options){
        .trainable = trainer->task->trainable,
        .max_tokens = (int)max_tokens,
        .max_rows = (int)max_tokens,
        .max_sequences = shares ? EVALUATED_AT_ONCE * options->batch_size + 1 : options->batch_size,
        .max_length = trainer->task->max_tokens,
        .max_unshared = shares ? 2 * (int)max_tokens : 0,
        .recompute = options->recompute,
        .dropout_embedding = options->dropout,
        .dropout_attention = options->dropout,
        .dropout_residual = options->dropout,
    };
    if (options->lora_rank > 0) {
        trainer->pass_options.trainable =
            (struct trainable){.first_layer = trainer->task->trainable.first_layer, .adapters = true};
    }
    trainer->plan.recompute = options->recompute;
    return count_steps(trainer, err) && plan_memory(trainer, err);
}

// ---- Time -----------------------------------------------------------------------------------

// Batches of all evaluations of the run.
static int64_t evaluation_batches(const struct trainer *trainer) {
    const struct llm_train_options *options = trainer->options;
    int64_t batches = 0;
    for (int side = 0; side <= TRAIN_VALIDATE; side++) {
        const int64_t n = (trainer->task->n_examples[side] + options->batch_size - 1) / options->batch_size;
        batches += options->eval_iter > 0 && options->eval_iter < n ? options->eval_iter : n;
    }
    const int64_t evaluations = options->eval_freq > 0 ? trainer->plan.n_steps / options->eval_freq + 2 : 2;
    return evaluations * batches;
}

bool train_plan_time(struct trainer *trainer, struct llm_error *err) {
    const struct llm_train_options *options = trainer->options;
    const int n = options->batch_size * options->grad_accum; // at most the examples there are
    for (int i = 0; i < n; i++) trainer->order[i] = i;
    struct random copy = trainer->state.random;
    double passed = 0;
    // The first round makes what later ones reuse. With a learning rate of 0 no weight moves.
    for (int round = 0; round < 2; round++) {
        const double begun = train_clock();
        struct step_report report;
        if (!train_gradients(trainer, trainer->order, &copy, &report, err)) return false;
        if (isfinite(report.norm)) {
            struct optimizer still = trainer->optimizer;
            still.weight_decay = 0;
            optimizer_step(&still, 1, 0, 1);
        }
        passed = train_clock() - begun;
    }
    optimizer_clear(&trainer->optimizer);
    trainer->state.step_seconds = passed;
    // Forward alone is a third of forward and backward.
    const double evaluating = passed / options->grad_accum / 3 * (double)evaluation_batches(trainer);
    trainer->plan.step_seconds = passed;
    trainer->plan.seconds = passed * (double)trainer->plan.n_steps + evaluating;
    return true;
}
