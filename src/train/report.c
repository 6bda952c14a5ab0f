// report.c: run.json, written when a run begins and when it ends or stops; see loop.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "train/loop.h"
#include "train/settings.h"

enum {
    MAX_REPORT = 1 << 27 // bytes of run.json, which has what a checkpoint's header has, indented
};

static json_t *identity_of(const struct llm_train_options *options, const json_t *task) {
    json_t *settings = train_settings_json(options);
    if (settings == NULL) return NULL;
    return json_pack("{s:o, s:O}", "settings", settings, "task", task);
}

json_t *train_run_identity(const struct trainer *trainer) {
    return identity_of(trainer->options, trainer->task->identity);
}

// null for what JSON cannot say: NaN, infinity.
static json_t *loss_json(double loss) {
    return isfinite(loss) ? json_real(loss) : json_null();
}

static json_t *memory_json(const struct llm_train_plan *plan) {
    return json_pack("{s:I, s:I, s:I, s:I, s:b}", "weights", (json_int_t)plan->bytes_weights, "gradients",
                     (json_int_t)plan->bytes_gradients, "moments", (json_int_t)plan->bytes_moments, "activations",
                     (json_int_t)plan->bytes_activations, "recompute", plan->recompute);
}

// What became of the rates that were not given; null where there is no such time.
static json_t *rate_json(double rate, bool is_used) {
    return is_used ? json_real(rate) : json_null();
}

static json_t *plan_json(const struct llm_train_plan *plan, const struct schedule *schedule) {
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:o}", "examples", (json_int_t)plan->n_examples,
                     "validation_examples", (json_int_t)plan->n_validation, "steps", (json_int_t)plan->n_steps,
                     "steps_an_epoch", (json_int_t)plan->steps_an_epoch, "warmup_steps", (json_int_t)plan->warmup_steps,
                     "cooldown_steps", (json_int_t)plan->cooldown_steps, "initial_lr",
                     rate_json(schedule->initial, schedule->warmup > 0), "min_lr",
                     rate_json(schedule->minimum, schedule->cosine || schedule->cooldown > 0), "trained_parameters",
                     (json_int_t)plan->n_params, "bytes", memory_json(plan));
}

static json_t *results_json(const struct trainer *trainer) {
    const struct train_state *state = &trainer->state;
    const double seconds = train_seconds(trainer);
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:f, s:f}", "steps", (json_int_t)state->step, "examples",
                     (json_int_t)state->examples, "tokens", (json_int_t)state->tokens, "train_loss",
                     loss_json(state->train_loss), "val_loss", loss_json(state->val_loss), "best_val_loss",
                     loss_json(state->best_val_loss), "best_step", (json_int_t)state->best_step, "seconds", seconds,
                     "step_seconds", state->step_seconds);
}

// Settings that a resumed run may have others of.
static json_t *sitting_json(const struct llm_train_options *options) {
    return json_pack("{s:I, s:b, s:f, s:b, s:I}", "save_every", (json_int_t)options->save_every, "keep_best",
                     options->keep_best, "max_minutes", options->max_minutes, "recompute", options->recompute, "memory",
                     (json_int_t)options->memory);
}

static json_t *report_json(const struct trainer *trainer, bool finished) {
    const struct ops *ops = trainer->engine->ops;
    return json_pack("{s:s, s:b, s:O, s:O, s:o, s:o, s:{s:s, s:i}, s:o}", "version", llm_version(), "finished",
                     finished, "run", trainer->run, "details", trainer->task->details, "sitting",
                     sitting_json(trainer->options), "plan", plan_json(&trainer->plan, &trainer->schedule), "machine",
                     "isa", ops_level_name(ops->level), "threads", ops->n_threads, "results", results_json(trainer));
}

bool train_report(const struct trainer *trainer, bool finished, struct llm_error *err) {
    json_t *json = report_json(trainer, finished);
    json_t *measures = trainer->task->measures;
    const bool whole = json != NULL && (measures == NULL || json_object_update(json, measures) == 0);
    char *text = whole ? json_dump(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    char *path = path_join(trainer->out, "run.json");
    const bool ok =
        text != NULL && path != NULL ? file_write(path, text, strlen(text), err) : error_memory(err, "run.json");
    free(path);
    free(text);
    json_decref(json);
    return ok;
}

// NaN for null.
static double loss_of(const json_t *results, const char *key) {
    const json_t *value = json_object_get(results, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static json_t *read_report(const char *out) {
    char *path = path_join(out, "run.json");
    json_t *json = path == NULL ? NULL : json_parse_file(path, MAX_REPORT, NULL);
    free(path);
    return json;
}

// Numbers as run.json has them, so that they can be compared with what was read from there.
static json_t *as_written(json_t *json) {
    char *text = json == NULL ? NULL : json_dump(json, JSON_REAL_PRECISION(9));
    json_decref(json);
    json_t *again = text == NULL ? NULL : json_parse(text, strlen(text), NULL);
    free(text);
    return again;
}

bool train_finished_same(const char *out, const struct llm_train_options *options, const json_t *identity, bool *same,
                         json_t **report, struct llm_error *err) {
    *same = false;
    json_t *json = read_report(out);
    bool ok = true;
    if (json_is_true(json_object_get(json, "finished"))) {
        json_t *present = as_written(identity_of(options, identity));
        ok = present != NULL ? train_identity_check(json_object_get(json, "run"), present, err)
                             : error_memory(err, "settings");
        json_decref(present);
        *same = ok;
    }
    if (*same && report != NULL) {
        *report = json;
    } else {
        json_decref(json);
    }
    if (ok) return true;
    const struct llm_error difference = err != NULL ? *err : (struct llm_error){0};
    if (err != NULL) *err = (struct llm_error){0};
    const bool memory = difference.code == LLM_ERROR_MEMORY;
    return error_set(err, memory ? LLM_ERROR_MEMORY : LLM_ERROR_EXISTS,
                     "%s: %s; name another place, or allow what is there to be overwritten", out, difference.text);
}

bool train_finished_resumed(const char *out, const struct llm_train_options *options, const json_t *identity,
                            bool *finished, struct llm_error *err) {
    json_t *json = read_report(out);
    *finished = json_is_true(json_object_get(json, "finished"));
    bool ok = true;
    if (*finished) {
        const json_t *saved = json_object_get(json, "run");
        json_t *present = as_written(identity_of(options, identity));
        struct llm_error difference = {0};
        if (present == NULL) {
            ok = error_memory(err, "settings");
        } else if (!train_identity_check(saved, present, &difference)) {
            ok = train_differs_in_length(saved, present)
                     ? error_set(err, difference.code,
                                 "%s: %s, and it is finished, so its checkpoint is gone: begin a run in another place, "
                                 "with init %s/model",
                                 out, difference.text, out)
                     : error_set(err, difference.code, "%s: %s", out, difference.text);
        }
        json_decref(present);
    }
    json_decref(json);
    return ok;
}

bool train_finished(const char *out, struct llm_train_result *result) {
    json_t *json = read_report(out);
    const bool finished = json_is_true(json_object_get(json, "finished"));
    const json_t *results = json_object_get(json, "results");
    if (finished && result != NULL) {
        *result = (struct llm_train_result){
            .finished = true,
            .steps = json_integer_value(json_object_get(results, "steps")),
            .tokens = json_integer_value(json_object_get(results, "tokens")),
            .train_loss = loss_of(results, "train_loss"),
            .val_loss = loss_of(results, "val_loss"),
            .best_val_loss = loss_of(results, "best_val_loss"),
            .best_step = json_integer_value(json_object_get(results, "best_step")),
            .seconds = json_number_value(json_object_get(results, "seconds")),
        };
    }
    json_decref(json);
    return finished;
}
