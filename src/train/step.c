// step.c: one optimizer step and one evaluation; see loop.h.
//
// A step takes grad_accum batches. The loss is the mean over all rows with a target in all of them, so accumulating
// changes nothing but rounding. An evaluation is the mean of its batches' means, as in the book; where
// examples begin alike, as many of its examples are computed at once as there is room for.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "train/loop.h"

static bool shares(const struct trainer *trainer) {
    return trainer->pass_options.max_unshared > 0;
}

// Packs examples [n] to learn from.
static bool pack(struct trainer *trainer, struct packed *packed, const int64_t *examples, int n,
                 struct llm_error *err) {
    const struct train_task *task = trainer->task;
    packed_clear(packed);
    for (int i = 0; i < n; i++) {
        struct train_example example;
        if (!task->example(task->user, TRAIN_LEARN, examples[i], &example, err)) return false;
        packed_add(packed, examples[i], &example, 1);
    }
    if (shares(trainer)) packed_share(packed);
    return true;
}

// The cross-entropy of a language model.
static bool language_loss(void *user, const struct train_call *call, struct llm_error *err) {
    (void)user;
    const struct batch *batch = &call->packed->batch;
    if (call->gradients != NULL) {
        return pass_language(call->pass, batch, call->entering, call->packed->targets, call->scales, call->losses,
                             call->gradients, call->random, err);
    }
    const float *hidden = NULL;
    if (!pass_forward(call->pass, batch, call->entering, NULL, false, &hidden, err)) return false;
    const struct llm_engine *engine = call->engine;
    const enum param head = engine->config.tied_head ? PARAM_WTE : PARAM_HEAD;
    return engine->ops->head_loss(engine->ops, call->losses, hidden, weights_get(&engine->weights, head, 0),
                                  call->packed->targets, batch->n_rows, err);
}

// One batch's losses, and gradients unless `gradients` is NULL; *sum gets the sum of `scale`, weight and loss of each
// row.
static bool losses_of(struct trainer *trainer, const struct packed *packed, double scale, struct param_block *gradients,
                      struct random *random, double *sum, struct llm_error *err) {
    const struct train_task *task = trainer->task;
    struct train_call call = {
        .engine = trainer->engine,
        .pass = trainer->pass,
        .packed = packed,
        .scales = trainer->scales,
        .losses = trainer->losses,
        .gradients = gradients,
        .lora = trainer->pass_options.lora,
        .random = random,
    };
    const int n_rows = packed->batch.n_rows;
    for (int i = 0, sequence = 0; i < n_rows; i++) {
        trainer->scales[i] = (float)(scale * packed_weight(packed, i, &sequence));
    }
    if (trainer->frozen.entering != NULL) {
        call.entering = frozen_entering(&trainer->frozen, trainer->pass, packed, err);
        if (call.entering == NULL) return false;
    }
    if (!(task->loss != NULL ? task->loss : language_loss)(task->user, &call, err)) return false;
    struct ops *ops = trainer->engine->ops;
    const float *losses = ops->get(ops, trainer->losses, (size_t)n_rows);
    for (int i = 0, sequence = 0; i < n_rows; i++) {
        *sum += scale * packed_weight(packed, i, &sequence) * (double)losses[i];
    }
    return true;
}

bool train_gradients(struct trainer *trainer, const int64_t *examples, struct random *random,
                     struct step_report *report, struct llm_error *err) {
    const struct llm_train_options *options = trainer->options;
    *report = (struct step_report){0};
    int64_t n_rows = 0;
    for (int i = 0; i < options->grad_accum; i++) {
        struct packed *packed = &trainer->batches[i];
        const int64_t *from = examples + (size_t)i * (size_t)options->batch_size;
        if (!pack(trainer, packed, from, options->batch_size, err)) return false;
        n_rows += packed->n_targets;
        report->tokens += packed->n_tokens;
    }
    const double scale = n_rows > 0 ? 1 / (double)n_rows : 0;
    struct random *dropping = options->dropout > 0 ? random : NULL;
    for (int i = 0; i < options->grad_accum; i++) {
        if (!losses_of(trainer, &trainer->batches[i], scale, &trainer->optimizer.gradients, dropping, &report->loss,
                       err)) {
            return false;
        }
    }
    report->norm = optimizer_norm(&trainer->optimizer);
    return true;
}

static bool weights_finite(const struct trainer *trainer) {
    const struct param_block *weights = trainer->weights;
    for (int64_t i = 0; i < weights->size; i++) {
        if (!isfinite(weights->data[i])) return false;
    }
    return true;
}

static bool check_finite(const struct trainer *trainer, const struct step_report *report, struct llm_error *err) {
    if (isfinite(report->loss) && isfinite(report->norm)) return true;
    const bool loss = !isfinite(report->loss);
    const char *name = loss ? "loss" : "norm of the gradients";
    const double value = loss ? report->loss : report->norm;
    if (trainer->state.step == 0) { // nothing was changed yet
        return error_set(err, LLM_ERROR_FORMAT, "step 0: the %s is %g, so the run stops: %s", name, value,
                         weights_finite(trainer) ? "the weights that the model began with are too large"
                                                 : "among the weights that the model began with are some that are not "
                                                   "numbers");
    }
    return error_set(err, LLM_ERROR_FORMAT,
                     "step %" PRId64 ": the %s is %g, so the run stops; the last checkpoint, if one was written, is as "
                     "it was. A lower learning rate or clipping may help",
                     trainer->state.step, name, value);
}

bool train_step(struct trainer *trainer, struct step_report *report, struct llm_error *err) {
    const struct llm_train_options *options = trainer->options;
    struct train_state *state = &trainer->state;
    const int64_t n = (int64_t)options->batch_size * options->grad_accum;
    trainer->saved = false;
    if (!train_gradients(trainer, trainer->order + state->done * n, &state->random, report, err) ||
        !check_finite(trainer, report, err)) {
        return false;
    }
    const bool clips = !options->clip_after_warmup || state->step >= trainer->schedule.warmup;
    const float coefficient = clip_coefficient(clips ? options->clip : 0, report->norm);
    report->lr = schedule_rate(&trainer->schedule, state->step);
    optimizer_step(&trainer->optimizer, state->step + 1, report->lr, coefficient);
    if (!lora_merge(&trainer->lora, err)) return false;
    state->step++;
    state->done++;
    state->examples += n;
    state->tokens += report->tokens;
    return true;
}

// ---- Evaluation -----------------------------------------------------------------------------

// What a batch's mean divides by: its targets.
static bool count_targets(const struct trainer *trainer, enum train_side side, const int64_t *examples, int n,
                          int64_t *n_targets, struct llm_error *err) {
    const struct train_task *task = trainer->task;
    *n_targets = 0;
    for (int i = 0; i < n; i++) {
        struct train_example example;
        if (!task->example(task->user, side, examples[i], &example, err)) return false;
        for (int t = 0; t < example.n; t++) *n_targets += example.targets[t] != NO_TARGET;
    }
    return true;
}

// Adds the losses of what is packed to *sum.
static bool look_at(struct trainer *trainer, struct packed *packed, double *sum, struct llm_error *err) {
    if (shares(trainer)) packed_share(packed);
    const bool ok = packed->n_targets == 0 || losses_of(trainer, packed, 1, NULL, NULL, sum, err);
    packed_clear(packed);
    return ok;
}

static bool is_full(const struct trainer *trainer, const struct packed *packed) {
    const int n_tokens = packed_shared_tokens(packed);
    return n_tokens > trainer->pass_options.max_tokens ||
           packed_unshared_keys(packed) > trainer->pass_options.max_unshared;
}

// Packs one batch behind others, and looks at these where there is no room for more.
static bool look_at_more(struct trainer *trainer, enum train_side side, const int64_t *examples, int n, double *sum,
                         struct llm_error *err) {
    struct packed *packed = &trainer->batches[0];
    int64_t n_targets;
    if (!count_targets(trainer, side, examples, n, &n_targets, err)) return false;
    const double weight = n_targets > 0 ? 1 / (double)n_targets : 0;
    for (int i = 0; i < n; i++) {
        struct train_example example;
        if (!trainer->task->example(trainer->task->user, side, examples[i], &example, err)) return false;
        if (packed->batch.n_sequences == packed->max_examples || packed->n_tokens + example.n > packed->max_tokens) {
            if (!look_at(trainer, packed, sum, err)) return false;
        }
        const struct packed before = *packed;
        packed_add(packed, examples[i], &example, weight);
        if (!shares(trainer) || !is_full(trainer, packed)) continue;
        *packed = before;
        if (!look_at(trainer, packed, sum, err)) return false;
        packed_add(packed, examples[i], &example, weight);
    }
    return shares(trainer) || look_at(trainer, packed, sum, err);
}

// Batches of batch_size in the order of a pass over a loader, the last one as large as it is.
bool train_pass_over(struct trainer *trainer, enum train_side side, int most, struct random *random, double *mean,
                     struct llm_error *err) {
    const struct llm_train_options *options = trainer->options;
    const bool learn = side == TRAIN_LEARN;
    const int64_t n = trainer->task->n_examples[side];
    const int64_t size = options->batch_size;
    *mean = (double)NAN;
    if (n == 0) return true;
    random_loader_order(random, trainer->eval_order, (size_t)n, learn);
    int64_t n_batches = learn ? n / size : (n + size - 1) / size; // training drops what does not fill a batch
    if (n_batches == 0) n_batches = 1;
    if (most > 0 && most < n_batches) n_batches = most;
    double sum = 0;
    packed_clear(&trainer->batches[0]);
    for (int64_t i = 0; i < n_batches; i++) {
        const int64_t left = n - i * size;
        const int n_now = (int)(left < size ? left : size);
        if (!look_at_more(trainer, side, trainer->eval_order + i * size, n_now, &sum, err)) return false;
    }
    if (!look_at(trainer, &trainer->batches[0], &sum, err)) return false;
    *mean = sum / (double)n_batches;
    return true;
}

bool train_evaluate(struct trainer *trainer, int most, struct random *random, double *train_loss, double *val_loss,
                    struct llm_error *err) {
    return train_pass_over(trainer, TRAIN_LEARN, most, random, train_loss, err) &&
           train_pass_over(trainer, TRAIN_VALIDATE, most, random, val_loss, err);
}
