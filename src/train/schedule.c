// schedule.c: see schedule.h.
//
// The formula, and its order of operations in double precision, are those of Raschka, "Build a Large Language Model
// From Scratch", appendix D: warm-up adds the same amount each step, from `initial` towards `peak`, which the first
// step after it has; then half a cosine. The last step is one short of the minimum. A constant rate may end in a
// cooldown (Hu et al. 2024, "MiniCPM", section 4): linear, as transformers' get_wsd_schedule(decay_type="linear"), its
// first step still at the peak and its last one short of the minimum.
#include "train/schedule.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

// So many steps, or this share of all of them; `most` at most.
static int64_t part_of(double part, int64_t n_steps, int64_t most) {
    const double steps = part < 1 ? part * (double)n_steps : part;
    return steps < (double)most ? (int64_t)steps : most;
}

void schedule_init(struct schedule *schedule, const struct llm_train_options *options, int64_t n_steps) {
    const int64_t warmup = part_of(options->warmup, n_steps, n_steps);
    *schedule = (struct schedule){
        .initial = options->initial_lr,
        .peak = options->lr,
        .minimum = options->min_lr < 0 ? options->lr / 10 : options->min_lr,
        .warmup = warmup,
        .cooldown = part_of(options->cooldown, n_steps, n_steps - warmup),
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
    if (!schedule->cosine) {
        const int64_t cooling = step - (schedule->total - schedule->cooldown);
        if (cooling <= 0) return peak;
        return peak - (peak - schedule->minimum) * ((double)cooling / (double)schedule->cooldown);
    }
    const double progress = (double)(step - schedule->warmup) / (double)(schedule->total - schedule->warmup);
    return schedule->minimum + (peak - schedule->minimum) * 0.5 * (1 + cos(pi * progress));
}

bool schedule_same(const struct schedule *a, const struct schedule *b, int64_t n) {
    if (n > a->total || n > b->total) return false;
    for (int64_t step = 0; step < n; step++) {
        if (schedule_rate(a, step) != schedule_rate(b, step)) return false;
    }
    return true;
}
