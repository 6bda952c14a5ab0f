// metrics.c: see metrics.h.
#include "tasks/metrics.h"

#include <stdlib.h>

static double ratio(double a, double b) {
    return b > 0 ? a / b : 0;
}

// f1 = 2 right / (predicted + true), which is the harmonic mean of the two others.
static struct metrics_rates rates(size_t n_right, size_t n_predicted, size_t n_true) {
    const double right = (double)n_right, predicted = (double)n_predicted, truly = (double)n_true;
    return (struct metrics_rates){ratio(right, predicted), ratio(right, truly), ratio(2 * right, predicted + truly)};
}

bool metrics_measure(struct metrics *metrics, const struct prediction *predictions, size_t n, int n_labels,
                     struct llm_error *err) {
    const size_t k = (size_t)n_labels;
    *metrics = (struct metrics){.n = n, .n_labels = n_labels};
    metrics->labels = calloc(k, sizeof *metrics->labels);
    metrics->confusion = reallocarray(NULL, k * sizeof *metrics->confusion, k);
    if (metrics->labels == NULL || metrics->confusion == NULL) {
        metrics_release(metrics);
        return error_memory(err, "metrics");
    }
    for (size_t i = 0; i < k * k; i++) metrics->confusion[i] = 0;
    for (size_t i = 0; i < n; i++) {
        const struct prediction *prediction = &predictions[i];
        metrics->confusion[(size_t)prediction->label * k + (size_t)prediction->predicted]++;
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

void metrics_release(struct metrics *metrics) {
    free(metrics->labels);
    free(metrics->confusion);
    *metrics = (struct metrics){0};
}
