// train_output.c: what a person sees of a training run; see train_options.h.
//
// Standard output has what is worth keeping: plan, evaluations, samples. The line of progress is for whoever waits.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/train_options.h"

const char *const train_schedules[] = {"constant", "cosine", NULL};
const char *const train_decays[] = {"all", "matrices", NULL};

const char *train_contradiction(const struct command *command, const void *args,
                                const struct llm_train_options *train) {
    const struct {
        const char *name, *sentence;
        bool useless;
    } cases[] = {
        {"min-lr", "--min-lr is where cosine or cooldown end, and the schedule is constant",
         train->schedule == LLM_SCHEDULE_CONSTANT && train->cooldown == 0},
        {"initial-lr", "--initial-lr is where warm-up begins, and there is none: --warmup is 0", train->warmup == 0},
        {"clip-after-warmup", "--clip-after-warmup says when to clip, and nothing is clipped: --clip is 0",
         train->clip == 0},
        {"torch-norm", "--torch-norm is how the norm to clip is computed, and nothing is clipped: --clip is 0",
         train->clip == 0},
        {"lora-alpha", "--lora-alpha is of adapters, and there are none: --lora-rank is not given",
         train->lora_rank == 0},
        {"patience", "--patience counts evaluations, and there is only one, at the end: --eval-freq is 0",
         train->eval_freq == 0 && train->patience > 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (cases[i].useless && option_given(command, args, cases[i].name)) return cases[i].sentence;
    }
    return NULL;
}

static void show_plan(const struct llm_train_event *event) {
    const struct llm_train_plan *plan = event->plan;
    char each[32], total[32], moments[32], gradients[32], activations[32], weights[32];
    const int64_t all = plan->bytes_weights + plan->bytes_gradients + plan->bytes_moments + plan->bytes_activations;
    amount_text(total, sizeof total, all, "bytes");
    amount_text(weights, sizeof weights, plan->bytes_weights, "bytes");
    amount_text(gradients, sizeof gradients, plan->bytes_gradients, "bytes");
    amount_text(moments, sizeof moments, plan->bytes_moments, "bytes");
    amount_text(activations, sizeof activations, plan->bytes_activations, "bytes");
    printf("parameters  %" PRId64 " trained\n", plan->n_params);
    printf("examples    %" PRId64 " to learn from, %" PRId64 " held back\n", plan->n_examples, plan->n_validation);
    printf("steps       %" PRId64 " (%" PRId64 " an epoch, %" PRId64 " of warm-up", plan->n_steps, plan->steps_an_epoch,
           plan->warmup_steps);
    if (plan->cooldown_steps > 0) printf(", %" PRId64 " of cooldown", plan->cooldown_steps);
    printf("), %" PRId64 " tokens in all\n", plan->n_tokens);
    printf("memory      %s: weights %s, gradients %s, moments %s, activations %s%s\n", total, weights, gradients,
           moments, activations, plan->recompute ? " (computed again in backward)" : "");
    time_text(each, sizeof each, plan->seconds);
    printf("time        about %s, %.3g seconds a step\n", each, plan->step_seconds);
    if (plan->first_step > 0) printf("resumed     after step %" PRId64 "\n", plan->first_step - 1);
}

static void show_losses(const struct llm_train_event *event) {
    if (event->step < 0) {
        printf("Before training: ");
    } else {
        printf("Ep %d (Step %06" PRId64 "): ", event->epoch, event->step);
    }
    printf("Train loss %.3f", event->train_loss);
    if (!isnan(event->val_loss)) printf(", Val loss %.3f", event->val_loss);
    putchar('\n');
}

// On one line, whatever the model has written.
static void show_text(const struct llm_train_event *event) {
    for (size_t i = 0; i < event->text_size; i++) {
        const unsigned char c = (unsigned char)event->text[i];
        putchar(c < ' ' || c == 0x7f ? ' ' : c);
    }
    if (event->text != NULL) putchar('\n');
}

static void show_step(const struct llm_train_event *event) {
    char left[32], line[256];
    time_text(left, sizeof left, event->seconds_left);
    snprintf(line, sizeof line, "step %" PRId64 " of %" PRId64 ", epoch %d, loss %.3f, lr %.3g, %.0f tokens/s, %s left",
             event->step + 1, event->plan->n_steps, event->epoch, event->loss, event->learning_rate,
             event->tokens_per_second, left);
    progress_text(line);
}

bool train_show(void *user, const struct llm_train_event *event) {
    (void)user;
    if (event->kind == LLM_TRAIN_STEP) {
        show_step(event);
        return !command_interrupted();
    }
    progress_clear();
    if (event->kind == LLM_TRAIN_PLAN) show_plan(event);
    if (event->kind == LLM_TRAIN_EVALUATION) show_losses(event);
    if (event->kind == LLM_TRAIN_BEGIN || event->kind == LLM_TRAIN_EPOCH) show_text(event);
    command_flush(); // main() sees it when this could not be written
    return !command_interrupted();
}

// The library says that a run is there already; it does not know by which options it may be resumed or overwritten.
static void tell_options(const struct llm_error *err, const char *out, const struct llm_train_options *options) {
    if (options->resume || err->code != LLM_ERROR_EXISTS) return;
    fprintf(stderr, "my-llm: %s--force overwrites it, --out DIR names another place\n",
            directory_holds(out, "checkpoint") ? "--resume resumes it, " : "");
}

int train_ended(bool ok, const char *out, const struct llm_train_options *options,
                const struct llm_train_result *result, const struct llm_error *err) {
    progress_clear();
    if (!ok) {
        if (err->code == LLM_ERROR_CANCELLED) progress_notice(NULL, err->text);
        const int code = command_failed(err);
        tell_options(err, out, options);
        return code;
    }
    if (options->dry_run) return 0;
    char sentence[512];
    if (result->finished) {
        char time[32];
        time_text(time, sizeof time, result->seconds);
        snprintf(sentence, sizeof sentence, "%.300s/model: the model, after %" PRId64 " steps and %s", out,
                 result->steps, time);
    } else {
        snprintf(sentence, sizeof sentence, "%.300s: the time is over; --resume goes on after step %" PRId64, out,
                 result->steps - 1);
    }
    progress_notice(NULL, sentence);
    return 0;
}
