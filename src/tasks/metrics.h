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

// A cell of the confusion matrix that is not 0.
struct metrics_cell {
    int32_t label, predicted; // the true one, and what it was taken for
    size_t n;                 // texts
};

enum {
    // Labels with whose whole matrix people can do something: in a picture of 900 pixels a cell still has four. A
    // column of names or numbers taken for the label has thousands, and their matrix would be gigabytes.
    METRICS_MOST_MATRIX = 200
};

struct metrics {
    size_t n, n_right;
    int n_labels;
    double accuracy;
    struct metrics_label *labels; // [n_labels]
    struct metrics_cell *cells;   // [n_cells] by label, then by predicted label; there are at most n
    size_t n_cells;
    struct metrics_rates macro; // mean over the labels
    struct metrics_rates micro; // over all texts at once
};

// Measures predictions [n]; release afterwards. Without predictions all rates are 0.
bool metrics_measure(struct metrics *metrics, const struct prediction *predictions, size_t n, int n_labels,
                     struct llm_error *err);
// The confusion matrix [n_labels (true), n_labels (predicted)], allocated; of METRICS_MOST_MATRIX labels at most.
int64_t *metrics_matrix(const struct metrics *metrics, struct llm_error *err);
void metrics_release(struct metrics *metrics);

#endif
