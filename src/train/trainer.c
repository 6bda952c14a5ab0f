// trainer.c: the loop; see trainer.h.
//
// Random numbers are drawn in the order of the book's PyTorch code: each epoch's order when the epoch begins, dropout
// in its steps, and two passes over the loaders for each evaluation. A checkpoint keeps the generator as it is and as
// it was before the epoch's order was drawn, so the order is drawn again and not stored.
#include "train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "model/save.h"
#include "train/loop.h"
#include "train/settings.h"

// ---- Telling ---------------------------------------------------------------------------------

// Of the present sitting, a share of which is done, how long the rest will take.
static double seconds_left(const struct trainer *trainer) {
    const int64_t done = trainer->state.step - trainer->plan.first_step;
    const int64_t left = trainer->plan.n_steps - trainer->state.step;
    if (done == 0) return trainer->plan.seconds;
    return (train_clock() - trainer->started) / (double)done * (double)left;
}

static void emit(struct trainer *trainer, enum llm_train_event_kind kind, const struct step_report *report,
                 const char *text, size_t text_size) {
    const struct train_state *state = &trainer->state;
    if (trainer->options->event == NULL) return;
    const struct llm_train_event event = {
        .kind = kind,
        .plan = &trainer->plan,
        .step = state->step - 1,
        .epoch = state->epoch + 1,
        .examples = state->examples,
        .tokens = state->tokens,
        .loss = report != NULL ? report->loss : (double)NAN,
        .learning_rate = report != NULL ? report->lr : 0,
        .gradient_norm = report != NULL ? report->norm : 0,
        .train_loss = state->train_loss,
        .val_loss = state->val_loss,
        .tokens_per_second = trainer->tokens_per_second,
        .seconds = train_seconds(trainer),
        .seconds_left = seconds_left(trainer),
        .text = text,
        .text_size = text_size,
    };
    if (!trainer->options->event(trainer->options->callbacks.user, &event)) trainer->stop = true;
}

// ---- Saving ----------------------------------------------------------------------------------

static bool save_checkpoint(struct trainer *trainer, struct llm_error *err) {
    if (trainer->saved) return true;
    char *path = path_join(trainer->out, "checkpoint");
    if (path == NULL) return error_memory(err, "path");
    struct train_state *state = &trainer->state;
    state->seconds = train_seconds(trainer);
    state->log_size = trainer->log.size;
    trainer->saved =
        train_log_sync(&trainer->log, err) && checkpoint_write(path, state, trainer->run, &trainer->optimizer, err);
    free(path);
    if (trainer->saved) emit(trainer, LLM_TRAIN_CHECKPOINT, NULL, NULL, 0);
    return trainer->saved;
}

static bool save_model(struct trainer *trainer, const char *name, struct llm_error *err) {
    char *path = path_join(trainer->out, name);
    if (path == NULL) return error_memory(err, "path");
    const struct train_task *task = trainer->task;
    const bool ok = task->save != NULL ? task->save(task->user, NULL, path, err)
                                       : model_save(trainer->engine, path, DTYPE_F32, true, err);
    free(path);
    return ok;
}

static bool save_adapters(struct trainer *trainer, struct llm_error *err) {
    if (!trainer->options->adapter) return true;
    char *path = path_join(trainer->out, "adapter");
    if (path == NULL) return error_memory(err, "path");
    const struct train_task *task = trainer->task;
    const bool ok = task->save != NULL ? task->save(task->user, &trainer->lora, path, err)
                                       : lora_save(&trainer->lora, trainer->engine, path, err);
    free(path);
    return ok;
}

// ---- Evaluating ------------------------------------------------------------------------------

// After the step that was just done. One that is made only because the run ends draws from a copy of the generator:
// the book has none there, and what a task measures afterwards must be the same.
static bool evaluate(struct trainer *trainer, const struct step_report *report, bool due, struct llm_error *err) {
    struct train_state *state = &trainer->state;
    struct random copy = state->random;
    if (!train_evaluate(trainer, trainer->options->eval_iter, due ? &state->random : &copy, &state->train_loss,
                        &state->val_loss, err))
        return false;
    state->evaluated = state->step - 1;
    const struct train_log_row row = {
        .step = state->step - 1,
        .epoch = state->epoch + 1,
        .examples = state->examples,
        .tokens = state->tokens,
        .train_loss = state->train_loss,
        .val_loss = state->val_loss,
        .learning_rate = report->lr,
        .seconds = train_seconds(trainer),
    };
    if (!train_log_write(&trainer->log, &row, err)) return false;
    const bool better = isfinite(state->val_loss) && !(state->val_loss >= state->best_val_loss);
    if (better) {
        state->best_val_loss = state->val_loss;
        state->best_step = state->step - 1;
    }
    emit(trainer, LLM_TRAIN_EVALUATION, report, NULL, 0);
    return !better || !trainer->options->keep_best || save_model(trainer, "best", err);
}

// Before the first step, with a copy of the generator, so that the run draws the same with it and without.
static bool evaluate_untrained(struct trainer *trainer, struct llm_error *err) {
    struct train_state *state = &trainer->state;
    const struct train_task *task = trainer->task;
    struct random copy = state->random;
    if (task->begin != NULL) {
        char *text = NULL;
        size_t size = 0;
        if (!task->begin(task->user, trainer, &copy, &text, &size, err)) return false;
        emit(trainer, LLM_TRAIN_BEGIN, NULL, text, size);
        free(text);
    }
    const int eval_iter = trainer->options->eval_iter;
    const int most = eval_iter > 0 && eval_iter < task->untrained_batches ? task->untrained_batches : eval_iter;
    if (!train_evaluate(trainer, most, &copy, &state->train_loss, &state->val_loss, err)) return false;
    emit(trainer, LLM_TRAIN_EVALUATION, NULL, NULL, 0);
    return true;
}

// ---- The loop --------------------------------------------------------------------------------

static void begin_epoch(struct trainer *trainer) {
    struct train_state *state = &trainer->state;
    state->epoch_random = state->random;
    random_loader_order(&state->random, trainer->order, (size_t)trainer->task->n_examples[TRAIN_LEARN], true);
}

static bool end_epoch(struct trainer *trainer, struct llm_error *err) {
    const struct train_task *task = trainer->task;
    char *text = NULL;
    size_t size = 0;
    if (task->epoch != NULL && !task->epoch(task->user, trainer, &trainer->state.random, &text, &size, err)) {
        return false;
    }
    emit(trainer, LLM_TRAIN_EPOCH, NULL, text, size);
    free(text);
    trainer->state.epoch++;
    trainer->state.done = 0;
    return true;
}

// A moving average over about twenty steps.
static void measure_step(struct trainer *trainer, const struct step_report *report, double seconds) {
    double *average = &trainer->state.step_seconds;
    *average = *average > 0 ? *average + (seconds - *average) / 20 : seconds;
    trainer->tokens_per_second = (double)report->tokens / *average;
}

static bool time_is_over(const struct trainer *trainer) {
    const double limit = 60 * trainer->options->max_minutes;
    return limit > 0 && train_clock() - trainer->started >= limit;
}

// Whether options->patience evaluations in a row were no better than the best one.
static bool has_waited(const struct trainer *trainer) {
    const struct train_state *state = &trainer->state;
    const int64_t patience = trainer->options->patience;
    return patience > 0 && state->best_step >= 0 &&
           state->evaluated - state->best_step >= patience * trainer->options->eval_freq;
}

// The run is finished here, and it is said why.
static void end_early(struct trainer *trainer) {
    const struct train_state *state = &trainer->state;
    const int64_t n = trainer->options->patience;
    trainer->plan.n_steps = state->step;
    engine_notice(&trainer->options->callbacks,
                  "%s: the run ends after step %" PRId64 ": %" PRId64 " evaluation%s brought nothing better than the "
                  "validation loss of step %" PRId64 ", which is %.4g",
                  trainer->out, state->step - 1, n, n == 1 ? "" : "s in a row", state->best_step, state->best_val_loss);
}

// One step and what is due after it.
static bool advance(struct trainer *trainer, struct llm_error *err) {
    const struct llm_train_options *options = trainer->options;
    struct train_state *state = &trainer->state;
    if (state->done == 0) begin_epoch(trainer);
    struct step_report report;
    const double begun = train_clock();
    if (!train_step(trainer, &report, err)) return false;
    measure_step(trainer, &report, train_clock() - begun);
    emit(trainer, LLM_TRAIN_STEP, &report, NULL, 0);
    const bool due = options->eval_freq > 0 && (state->step - 1) % options->eval_freq == 0;
    if ((due || state->step == trainer->plan.n_steps) && !evaluate(trainer, &report, due, err)) return false;
    if (due && state->step < trainer->plan.n_steps && has_waited(trainer)) end_early(trainer);
    const bool last = state->step == trainer->plan.n_steps;
    if ((state->done == trainer->plan.steps_an_epoch || last) && !end_epoch(trainer, err)) return false;
    const bool saves = options->save_every > 0 && state->step % options->save_every == 0;
    return !saves || last || save_checkpoint(trainer, err);
}

static bool loop(struct trainer *trainer, struct llm_error *err) {
    while (trainer->state.step < trainer->plan.n_steps) {
        if (!advance(trainer, err)) return false;
        if (trainer->state.step == trainer->plan.n_steps) break;
        if (trainer->stop || time_is_over(trainer)) return save_checkpoint(trainer, err);
    }
    return true;
}

// ---- Beginning and ending --------------------------------------------------------------------

// Does the state agree with itself and with this run's shape? Draws the order of an epoch that was under way.
static bool check_position(struct trainer *trainer, const char *path, struct llm_error *err) {
    const struct train_state *state = &trainer->state;
    const struct llm_train_plan *plan = &trainer->plan;
    const bool at_end = state->step == plan->n_steps; // wherever in an epoch that is
    if (state->step > plan->n_steps || state->done >= plan->steps_an_epoch ||
        (!at_end &&
         (state->step / plan->steps_an_epoch != state->epoch || state->step % plan->steps_an_epoch != state->done))) {
        return error_set(err, LLM_ERROR_FORMAT,
                         "%s: step %" PRId64 " of %" PRId64 ", epoch %d, its step %" PRId64 " do not agree", path,
                         state->step, plan->n_steps, state->epoch, state->done);
    }
    struct random random = state->epoch_random;
    if (state->done > 0) {
        random_loader_order(&random, trainer->order, (size_t)trainer->task->n_examples[TRAIN_LEARN], true);
    }
    return true;
}

// The state and the log of the run's checkpoint; without one the run begins anew.
static bool resume(struct trainer *trainer, struct llm_error *err) {
    char *path = path_join(trainer->out, "checkpoint");
    char *log = path_join(trainer->out, "log.csv");
    bool ok = path != NULL && log != NULL;
    if (!ok) {
        error_memory(err, "path");
    } else if (!path_exists(path) &&
               (directory_holds(trainer->out, "model") || directory_holds(trainer->out, "adapter"))) {
        ok = error_set(err, LLM_ERROR_NOT_FOUND,
                       "%s: holds a model and no checkpoint to go on from; name another place, or allow it to be "
                       "overwritten",
                       trainer->out);
    } else if (!path_exists(path)) {
        engine_notice(&trainer->options->callbacks, "%s: no checkpoint was written yet, so the run begins anew",
                      trainer->out);
    } else {
        struct train_state *state = &trainer->state;
        ok = checkpoint_read(path, state, trainer->run, trainer->plan.steps_an_epoch, &trainer->optimizer, err) &&
             check_position(trainer, path, err) && lora_merge(&trainer->lora, err);
        ok = ok && train_log_resume(&trainer->log, log, state->log_size, err);
        trainer->before = state->seconds;
        trainer->saved = ok;
    }
    free(path);
    free(log);
    return ok;
}

// What is known of the run before its first step of this sitting, told to whom it concerns.
static bool announce(struct trainer *trainer, struct llm_error *err) {
    struct llm_train_plan *plan = &trainer->plan;
    const struct train_state *state = &trainer->state;
    if (state->step > 0) {
        plan->first_step = state->step;
        plan->step_seconds = state->step_seconds;
        plan->seconds = state->seconds / (double)state->step * (double)(plan->n_steps - state->step);
    } else if (!train_plan_time(trainer, err)) {
        return false;
    }
    trainer->started = train_clock();
    emit(trainer, LLM_TRAIN_PLAN, NULL, NULL, 0);
    return !trainer->stop || error_set(err, LLM_ERROR_CANCELLED, "the run was stopped before its first step");
}

static bool begin(struct trainer *trainer, struct llm_error *err) {
    if (trainer->state.step == 0) {
        char *path = path_join(trainer->out, "log.csv");
        const bool ok = path == NULL ? error_memory(err, "path") : train_log_create(&trainer->log, path, err);
        free(path);
        if (!ok || !train_clear(trainer->out, err) || !train_log_begin(&trainer->log, err)) return false;
    }
    train_sweep(trainer->out);
    if (trainer->state.step > 0) return true;
    return train_report(trainer, false, err) && evaluate_untrained(trainer, err);
}

// The model, pictures, run.json.
static bool write_results(struct trainer *trainer, bool finished, struct llm_error *err) {
    const struct train_task *task = trainer->task;
    return (!finished || (save_model(trainer, "model", err) && save_adapters(trainer, err))) &&
           (task->finish == NULL ||
            task->finish(task->user, trainer, &trainer->state.random, finished, trainer->out, err)) &&
           train_report(trainer, finished, err);
}

// The checkpoint goes last, when nothing needs it any more. Where the results cannot be written, one of the last step
// is, if that can be: resuming then writes them.
static bool end(struct trainer *trainer, struct llm_error *err) {
    const bool finished = trainer->state.step == trainer->plan.n_steps;
    const struct random before = trainer->state.random;
    if (!write_results(trainer, finished, err)) {
        trainer->state.random = before; // finish() may have drawn
        if (finished && !has_waited(trainer)) save_checkpoint(trainer, NULL);
        return false;
    }
    if (!finished) {
        return !trainer->stop || error_set(err, LLM_ERROR_CANCELLED,
                                           "stopped after step %" PRId64 " of %" PRId64 "; resume goes on from there",
                                           trainer->state.step - 1, trainer->plan.n_steps);
    }
    char *path = path_join(trainer->out, "checkpoint");
    if (path != NULL) unlink(path); // one that stays is gone through again when the run is resumed
    free(path);
    return true;
}

static void fill_result(const struct trainer *trainer, struct llm_train_result *result) {
    const struct train_state *state = &trainer->state;
    *result = (struct llm_train_result){
        .finished = state->step == trainer->plan.n_steps,
        .steps = state->step,
        .tokens = state->tokens,
        .train_loss = state->train_loss,
        .val_loss = state->val_loss,
        .best_val_loss = state->best_val_loss,
        .best_step = state->best_step,
        .seconds = train_seconds(trainer),
    };
}

bool train_run(struct llm_engine *engine, const struct param_block *weights, const struct train_task *task,
               const struct train_tensor *extra, int n_extra, const char *out, const struct llm_train_options *options,
               struct llm_train_result *result, struct llm_error *err) {
    struct trainer trainer = {
        .engine = engine,
        .weights = weights,
        .task = task,
        .options = options,
        .out = out,
        .log.fd = -1,
        .started = train_clock(),
        .state = {.train_loss = (double)NAN,
                  .val_loss = (double)NAN,
                  .measures = task->measures,
                  .evaluated = -1,
                  .best_val_loss = (double)NAN,
                  .best_step = -1},
    };
    bool ok = train_setup(&trainer, extra, n_extra, err) && (!options->resume || resume(&trainer, err)) &&
              announce(&trainer, err);
    if (ok && !options->dry_run) ok = begin(&trainer, err) && loop(&trainer, err) && end(&trainer, err);
    if (result != NULL) fill_result(&trainer, result);
    train_teardown(&trainer);
    return ok;
}
