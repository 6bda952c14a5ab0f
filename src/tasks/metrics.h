// metrics.h: how well predicted labels agree with true ones, as scikit-learn measures it.
#ifndef TASKS_METRICS_H
#define TASKS_METRICS_H

#include "base/error.h"

// One text and what was made of it.
struct prediction {
    int32_t label;     // the true one
    int32_t predicted; // both in 0 .. n_labels - 1
    float probability; // of the predicted label
    const char *text;  // borrowed; needed for report_mistakes() only
};

// precision = right / predicted so, recall = right / truly so, f1 = their harmonic mean; 0 where nothing is divided.
struct metrics_rates {
    double precision, recall, f1;
};

struct metrics_label {
    struct metrics_rates rates;
    size_t n_true, n_predicted, n_right;
};

struct metrics {
    size_t n, n_right;
    int n_labels;
    double accuracy;
    struct metrics_label *labels; // [n_labels]
    size_t *confusion;            // [n_labels (true), n_labels (predicted)]
    struct metrics_rates macro;   // mean over the labels
    struct metrics_rates micro;   // over all texts at once
};

// Measures predictions [n]; release afterwards. Without predictions all rates are 0.
bool metrics_measure(struct metrics *metrics, const struct prediction *predictions, size_t n, int n_labels,
                     struct llm_error *err);
void metrics_release(struct metrics *metrics);

#endif
