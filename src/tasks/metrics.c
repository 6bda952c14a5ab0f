// metrics.c: see metrics.h.
#include "tasks/metrics.h"

#include <assert.h>
#include <stdlib.h>

static double ratio(double a, double b) {
    return b > 0 ? a / b : 0;
}

// f1 = 2 right / (predicted + true), which is the harmonic mean of the two others.
static struct metrics_rates rates(size_t n_right, size_t n_predicted, size_t n_true) {
    const double right = (double)n_right, predicted = (double)n_predicted, truly = (double)n_true;
    return (struct metrics_rates){ratio(right, predicted), ratio(right, truly), ratio(2 * right, predicted + truly)};
}

static int compare_cells(const void *a, const void *b) {
    const struct metrics_cell *x = a, *y = b;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    return x->predicted < y->predicted ? -1 : x->predicted > y->predicted;
}

// One cell a text, sorted; equal ones become one.
static bool count_cells(struct metrics *metrics, const struct prediction *predictions, size_t n,
                        struct llm_error *err) {
    metrics->cells = calloc(n + 1, sizeof *metrics->cells);
    if (metrics->cells == NULL) return error_memory(err, "metrics");
    struct metrics_cell *cells = metrics->cells;
    for (size_t i = 0; i < n; i++) {
        cells[i] = (struct metrics_cell){predictions[i].label, predictions[i].predicted, 1};
    }
    qsort(cells, n, sizeof *cells, compare_cells);
    for (size_t i = 0; i < n; i++) {
        const size_t k = metrics->n_cells;
        if (k > 0 && compare_cells(&cells[k - 1], &cells[i]) == 0) {
            cells[k - 1].n++;
        } else {
            cells[metrics->n_cells++] = cells[i];
        }
    }
    return true;
}

bool metrics_measure(struct metrics *metrics, const struct prediction *predictions, size_t n, int n_labels,
                     struct llm_error *err) {
    const size_t k = (size_t)n_labels;
    *metrics = (struct metrics){.n = n, .n_labels = n_labels};
    metrics->labels = calloc(k, sizeof *metrics->labels);
    if (metrics->labels == NULL) return error_memory(err, "metrics");
    if (!count_cells(metrics, predictions, n, err)) {
        metrics_release(metrics);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const struct prediction *prediction = &predictions[i];
        metrics->labels[prediction->label].n_true++;
        metrics->labels[prediction->predicted].n_predicted++;
        if (prediction->label != prediction->predicted) continue;
        metrics->labels[prediction->label].n_right++;
        metrics->n_right++;
    }
    for (size_t i = 0; i < k; i++) {
        struct metrics_label *label = &metrics->labels[i];
        label->rates = rates(label->n_right, label->n_predicted, label->n_true);
        metrics->macro.precision += label->rates.precision / (double)k;
        metrics->macro.recall += label->rates.recall / (double)k;
        metrics->macro.f1 += label->rates.f1 / (double)k;
    }
    metrics->micro = rates(metrics->n_right, n, n);
    metrics->accuracy = ratio((double)metrics->n_right, (double)n);
    return true;
}

int64_t *metrics_matrix(const struct metrics *metrics, struct llm_error *err) {
    const size_t k = (size_t)metrics->n_labels;
    assert(k <= METRICS_MOST_MATRIX);
    int64_t *counts = calloc(k * k, sizeof *counts);
    if (counts == NULL) error_memory(err, "confusion matrix");
    for (size_t i = 0; counts != NULL && i < metrics->n_cells; i++) {
        const struct metrics_cell *cell = &metrics->cells[i];
        counts[(size_t)cell->label * k + (size_t)cell->predicted] = (int64_t)cell->n;
    }
    return counts;
}

void metrics_release(struct metrics *metrics) {
    free(metrics->labels);
    free(metrics->cells);
    *metrics = (struct metrics){0};
}
