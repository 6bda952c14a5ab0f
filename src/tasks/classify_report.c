// classify_report.c: what a run leaves for people: report.md and the pictures; see classify.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "plot/plot.h"
#include "tasks/classify.h"
#include "tasks/report.h"

enum {
    MAX_REPORT = 1 << 30, // bytes; each label has a line
    MOST_MISTAKES = 20
};

// ---- Pictures -------------------------------------------------------------------------------

bool classify_plot_losses(const struct classify_report *report, struct llm_error *err) {
    const struct llm_train_options *train = &report->options->train;
    const struct plot_log_axes axes = {
        .examples_per_epoch = (double)report->steps_an_epoch * train->batch_size * train->grad_accum,
        .examples_above = true,
    };
    char *log = path_join(report->out, "log.csv");
    char *folder = path_join(report->out, "plots");
    const struct plot_place place = {.folder = folder, .name = "loss_plot", .callbacks = train->callbacks};
    const bool ok = log != NULL && folder != NULL ? plot_losses(log, &axes, &place, err) : error_memory(err, "path");
    free(folder);
    free(log);
    return ok;
}

static double accuracy_of(const json_t *object, const char *side) {
    const json_t *value = json_object_get(object, side);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

// Draws arrays [4, n]: epochs, examples seen, accuracies of training and validation.
static bool draw_accuracy(const struct classify_report *report, const double *numbers, size_t n,
                          struct llm_error *err) {
    const struct plot_series series[] = {{"Training accuracy", numbers + 2 * n},
                                         {"Validation accuracy", numbers + 3 * n}};
    const struct plot_lines lines = {
        .x_label = "Epochs",
        .above_label = "Examples seen",
        .y_label = "Accuracy",
        .n = n,
        .x = numbers,
        .above = numbers + n,
        .series = series,
        .n_series = 2,
        .percent = true,
    };
    char *folder = path_join(report->out, "plots");
    const struct plot_place place = {
        .folder = folder, .name = "accuracy_plot", .callbacks = report->options->train.callbacks, .is_another = true};
    const bool ok = folder != NULL ? plot_lines(&lines, &place, err) : error_memory(err, "path");
    free(folder);
    return ok;
}

bool classify_plot_accuracy(const struct classify_report *report, struct llm_error *err) {
    const json_t *epochs = json_object_get(report->measures, "epoch_accuracy");
    const struct llm_train_options *train = &report->options->train;
    const size_t n = json_array_size(epochs);
    if (n == 0) return true;
    double *numbers = calloc(4 * n, sizeof *numbers);
    if (numbers == NULL) return error_memory(err, "accuracies");
    for (size_t i = 0; i < n; i++) {
        const json_t *epoch = json_array_get(epochs, i);
        numbers[i] = (double)(i + 1);
        numbers[n + i] = (double)(i + 1) * (double)report->steps_an_epoch * train->batch_size * train->grad_accum;
        numbers[2 * n + i] = accuracy_of(epoch, "train");
        numbers[3 * n + i] = accuracy_of(epoch, "validation");
    }
    const bool ok = draw_accuracy(report, numbers, n, err);
    free(numbers);
    return ok;
}

static bool plot_matrix(const struct classify_report *report, const struct metrics *metrics, struct llm_error *err) {
    if (metrics->n_labels > METRICS_MOST_MATRIX) return true;
    int64_t *counts = metrics_matrix(metrics, err);
    char *folder = path_join(report->out, "plots");
    bool ok = counts != NULL && (folder != NULL || error_memory(err, "path"));
    const struct plot_confusion confusion = {
        .n_labels = (size_t)metrics->n_labels, .labels = report->data->labels, .counts = counts};
    const struct plot_place place = {.folder = folder,
                                     .name = "confusion_matrix",
                                     .callbacks = report->options->train.callbacks,
                                     .is_another = true};
    ok = ok && plot_confusion(&confusion, &place, err);
    free(folder);
    free(counts);
    return ok;
}

// ---- report.md ------------------------------------------------------------------------------

static void put_share(struct strbuf *out, double share) {
    if (isnan(share)) {
        strbuf_puts(out, " - |");
    } else {
        strbuf_printf(out, " %.2f %% |", 100 * share);
    }
}

static void put_accuracies(struct strbuf *out, const struct classify_report *report) {
    static const char *const sides[] = {"train", "validation", "test"};
    const struct classify_data *data = report->data;
    strbuf_puts(out,
                "| part | texts | accuracy before (10 batches) | accuracy after |\n| --- | ---: | ---: | ---: |\n");
    for (int i = 0; i < TRAIN_SIDES; i++) {
        size_t n;
        classify_data_side(data, (enum train_side)i, &n);
        strbuf_printf(out, "| %s | %zu |", sides[i], n);
        put_share(out, accuracy_of(json_object_get(report->measures, "initial_accuracy"), sides[i]));
        put_share(out, accuracy_of(json_object_get(report->measures, "final_accuracy"), sides[i]));
        strbuf_puts(out, "\n");
    }
    strbuf_puts(out, "\nThe training part is measured in whole batches.\n\n");
}

static void put_how(struct strbuf *out, const struct classify_report *report) {
    const struct classify_data *data = report->data;
    const struct llm_classify_options *options = report->options;
    strbuf_printf(out, "Data: %zu rows, of which %zu had no text and %zu no label; %zu are in use%s.\n",
                  data->rows.n_read, data->rows.n_empty, data->rows.n_unlabelled, data->split.n,
                  options->balance ? ", as many of each label" : "");
    if (data->n_padded > 0) {
        strbuf_printf(out, "Texts are padded or cut to %d tokens and read at the last position.\n\n", data->n_padded);
    } else {
        strbuf_printf(out, "Texts are read at their last token; %zu were cut.\n\n", data->n_cut);
    }
}

static void put_picture(struct strbuf *out, const struct metrics *metrics) {
    if (metrics->n_labels <= METRICS_MOST_MATRIX) {
        strbuf_puts(out, "\n![confusion matrix](plots/confusion_matrix.svg)\n");
    } else {
        strbuf_printf(out, "\nThe whole matrix is left out, as there are %d labels, more than %d.\n", metrics->n_labels,
                      METRICS_MOST_MATRIX);
    }
}

bool classify_report_write(const struct classify_report *report, struct llm_error *err) {
    struct metrics metrics;
    const char *const *names = report->data->labels;
    if (!metrics_measure(&metrics, report->predictions, report->n, report->data->rows.n_labels, err)) return false;
    struct strbuf out;
    strbuf_init(&out, MAX_REPORT);
    strbuf_puts(&out, "# Classifier\n\n");
    put_how(&out, report);
    put_accuracies(&out, report);
    bool ok = true;
    if (report->n > 0) {
        strbuf_printf(&out, "## The %s part\n\n", report->part);
        report_labels(&out, &metrics, names);
        strbuf_puts(&out, "\n## Confusion\n\n");
        report_confusion(&out, &metrics, names);
        put_picture(&out, &metrics);
        strbuf_puts(&out, "\n## Worst mistakes\n\n");
        ok = report_mistakes(&out, report->predictions, report->n, names, MOST_MISTAKES, err) &&
             plot_matrix(report, &metrics, err);
    }
    char *path = path_join(report->out, "report.md");
    if (ok && (path == NULL || !strbuf_ok(&out))) ok = error_memory(err, "report.md");
    ok = ok && file_write(path, out.bytes, out.size, err);
    free(path);
    strbuf_release(&out);
    metrics_release(&metrics);
    return ok;
}
