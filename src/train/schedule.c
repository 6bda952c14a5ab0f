// schedule.c: see schedule.h.
//
// The formula, and its order of operations in double precision, are those of Raschka, "Build a Large Language Model
// From Scratch", appendix D: warm-up adds the same amount each step, from `initial` towards `peak`, which the first
// step after it has; then half a cosine. The last step is one short of the minimum.
#include "train/schedule.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

static int64_t warmup_steps(double warmup, int64_t n_steps) {
    const double steps = warmup < 1 ? warmup * (double)n_steps : warmup;
    return steps < (double)n_steps ? (int64_t)steps : n_steps;
}

void schedule_init(struct schedule *schedule, const struct llm_train_options *options, int64_t n_steps) {
    const int64_t warmup = warmup_steps(options->warmup, n_steps);
    *schedule = (struct schedule){
        .initial = options->initial_lr,
        .peak = options->lr,
        .minimum = options->min_lr < 0 ? options->lr / 10 : options->min_lr,
        .warmup = warmup,
        .total = n_steps,
        .cosine = options->schedule == LLM_SCHEDULE_COSINE,
    };
    if (options->initial_lr < 0) schedule->initial = warmup > 0 ? options->lr / (double)warmup : options->lr;
}

double schedule_rate(const struct schedule *schedule, int64_t step) {
    const double peak = schedule->peak;
    if (step < schedule->warmup) {
        const double increment = (peak - schedule->initial) / (double)schedule->warmup;
        return schedule->initial + (double)step * increment;
    }
    if (!schedule->cosine) return peak;
    const double progress = (double)(step - schedule->warmup) / (double)(schedule->total - schedule->warmup);
    return schedule->minimum + (peak - schedule->minimum) * 0.5 * (1 + cos(pi * progress));
}
