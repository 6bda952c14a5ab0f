// report.c: see report.h.
#include "tasks/report.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum {
    MOST_CELL = 200,      // characters of a text that are shown
    MOST_LABELS = 16,     // columns of a confusion matrix that fit a page
    MOST_CONFUSIONS = 20, // pairs that stand in its place
};

// A stranger's text as a table's cell, in one line: what Markdown or HTML would take for its own gets a backslash
// or becomes a space, and a long text is cut.
static void put_cell(struct strbuf *out, const char *text) {
    size_t size = strlen(text), shown = 0;
    while (size > 0 && shown++ < MOST_CELL) {
        int32_t code = 0;
        const size_t length = utf8_decode(text, size, &code);
        if (code < 0) {
            strbuf_puts(out, "?");
        } else if (code < ' ' || code == 0x7f) {
            strbuf_puts(out, " ");
        } else {
            if (code < 0x80 && strchr("\\`*_[]<>|&~$#!", code) != NULL) strbuf_puts(out, "\\");
            strbuf_append(out, text, length);
        }
        text += length;
        size -= length;
    }
    if (size > 0) strbuf_puts(out, "...");
}

static void put_rates(struct strbuf *out, const struct metrics_rates *rates, size_t n) {
    strbuf_printf(out, " | %.4f | %.4f | %.4f | %zu |\n", rates->precision, rates->recall, rates->f1, n);
}

void report_labels(struct strbuf *out, const struct metrics *metrics, const char *const *names) {
    strbuf_printf(out, "Accuracy %.2f %% (%zu of %zu).\n\n", 100 * metrics->accuracy, metrics->n_right, metrics->n);
    strbuf_puts(out, "| label | precision | recall | F1 | texts |\n| --- | --: | --: | --: | --: |\n");
    for (int i = 0; i < metrics->n_labels; i++) {
        strbuf_puts(out, "| ");
        put_cell(out, names[i]);
        put_rates(out, &metrics->labels[i].rates, metrics->labels[i].n_true);
    }
    strbuf_puts(out, "| *mean over labels*");
    put_rates(out, &metrics->macro, metrics->n);
    strbuf_puts(out, "| *over all texts*");
    put_rates(out, &metrics->micro, metrics->n);
}

// ---- The confusion matrix -----------------------------------------------------------------------

static void put_matrix(struct strbuf *out, const struct metrics *metrics, const char *const *names) {
    const int k = metrics->n_labels;
    size_t at = 0; // of the next cell, which come in this order
    strbuf_puts(out, "| true \\\\ predicted");
    for (int i = 0; i < k; i++) {
        strbuf_puts(out, " | ");
        put_cell(out, names[i]);
    }
    strbuf_puts(out, " |\n| ---");
    for (int i = 0; i < k; i++) strbuf_puts(out, " | --:");
    strbuf_puts(out, " |\n");
    for (int i = 0; i < k; i++) {
        strbuf_puts(out, "| ");
        put_cell(out, names[i]);
        for (int j = 0; j < k; j++) {
            const struct metrics_cell *cell = at < metrics->n_cells ? &metrics->cells[at] : NULL;
            const bool here = cell != NULL && cell->label == i && cell->predicted == j;
            strbuf_printf(out, i == j ? " | **%zu**" : " | %zu", here ? cell->n : 0);
            at += here;
        }
        strbuf_puts(out, " |\n");
    }
}

// The largest cell off the diagonal that comes behind `last` (NULL: the largest of all) in order of size, then of
// place. Walking over the cells once for each of a few pairs needs no memory. NULL: there is none.
static const struct metrics_cell *next_confusion(const struct metrics *metrics, const struct metrics_cell *last) {
    const struct metrics_cell *best = NULL;
    for (size_t i = 0; i < metrics->n_cells; i++) {
        const struct metrics_cell *cell = &metrics->cells[i];
        const bool behind = last == NULL || cell->n < last->n || (cell->n == last->n && cell > last);
        if (cell->label == cell->predicted || !behind || (best != NULL && cell->n <= best->n)) continue;
        best = cell;
    }
    return best;
}

static void put_pairs(struct strbuf *out, const struct metrics *metrics, const char *const *names) {
    const struct metrics_cell *cell = NULL;
    strbuf_puts(out, "| true | predicted | texts |\n| --- | --- | --: |\n");
    for (int i = 0; i < MOST_CONFUSIONS; i++) {
        cell = next_confusion(metrics, cell);
        if (cell == NULL) break;
        strbuf_puts(out, "| ");
        put_cell(out, names[cell->label]);
        strbuf_puts(out, " | ");
        put_cell(out, names[cell->predicted]);
        strbuf_printf(out, " | %zu |\n", cell->n);
    }
}

void report_confusion(struct strbuf *out, const struct metrics *metrics, const char *const *names) {
    if (metrics->n_labels <= MOST_LABELS) {
        put_matrix(out, metrics, names);
    } else {
        put_pairs(out, metrics, names);
    }
}

// ---- Mistakes ---------------------------------------------------------------------------------

// Surest first; among equals, in order.
static int compare_mistakes(const void *a, const void *b) {
    const struct prediction *x = *(const struct prediction *const *)a, *y = *(const struct prediction *const *)b;
    if (x->probability != y->probability) return x->probability > y->probability ? -1 : 1;
    return x < y ? -1 : x > y;
}

bool report_mistakes(struct strbuf *out, const struct prediction *predictions, size_t n, const char *const *names,
                     size_t most, struct llm_error *err) {
    const struct prediction **wrong = calloc(n + 1, sizeof(struct prediction *));
    if (wrong == NULL) return error_memory(err, "mistakes");
    size_t n_wrong = 0;
    for (size_t i = 0; i < n; i++) {
        if (predictions[i].label != predictions[i].predicted) wrong[n_wrong++] = &predictions[i];
    }
    qsort(wrong, n_wrong, sizeof *wrong, compare_mistakes);
    if (n_wrong == 0) {
        strbuf_printf(out, "None of the %zu texts was labelled wrongly.\n", n);
    } else {
        strbuf_puts(out, "| true | predicted | probability | text |\n| --- | --- | --: | --- |\n");
    }
    for (size_t i = 0; i < n_wrong && i < most; i++) {
        strbuf_puts(out, "| ");
        put_cell(out, names[wrong[i]->label]);
        strbuf_puts(out, " | ");
        put_cell(out, names[wrong[i]->predicted]);
        strbuf_printf(out, " | %.3f | ", (double)wrong[i]->probability);
        put_cell(out, wrong[i]->text);
        strbuf_puts(out, " |\n");
    }
    free(wrong);
    return strbuf_ok(out) || error_memory(err, "report");
}
