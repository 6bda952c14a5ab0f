// confusion.c: confusion matrices: plot_confusion() of plot.h. A cell is as dark as its share of its row is large.
#include <string.h>

#include "plot/picture.h"

enum {
    CELL = 90,      // pixels, of a small matrix
    SMALLEST = 320, // pixels of the matrix
    LARGEST = 900,
    MARGIN = 100,       // for axes and titles
    LETTER = 8,         // pixels of one in a label
    LONGEST_LABEL = 30, // bytes
    MOST_UPRIGHT = 6,   // labels that stand side by side; more are turned
    MOST_NUMBERS = 20,  // labels with whose matrix the counts can still be read
};

static void put_data(struct picture *picture, const struct plot_confusion *confusion) {
    struct strbuf *data = &picture->data;
    const size_t n = confusion->n_labels;
    strbuf_puts(data, "true,predicted,count,share\n");
    for (size_t row = 0; row < n; row++) {
        const int64_t *counts = confusion->counts + row * n;
        double total = 0;
        for (size_t column = 0; column < n; column++) total += (double)counts[column];
        for (size_t column = 0; column < n; column++) {
            const double share = total > 0 ? (double)counts[column] / total : 0;
            strbuf_printf(data, "%zu,%zu,%lld,%.6f\n", row, column, (long long)counts[column], share);
        }
    }
}

static void put_tics(struct picture *picture, const char *axis, const struct plot_confusion *confusion) {
    strbuf_printf(&picture->script, "set %s (", axis);
    for (size_t i = 0; i < confusion->n_labels; i++) {
        if (i > 0) strbuf_puts(&picture->script, ", ");
        picture_put_text(picture, confusion->labels[i], LONGEST_LABEL, true);
        strbuf_printf(&picture->script, " %zu", i);
    }
    strbuf_puts(&picture->script, ")\n");
}

static int matrix_size(size_t n_labels) {
    const size_t size = n_labels * CELL;
    return size < SMALLEST ? SMALLEST : size > LARGEST ? LARGEST : (int)size;
}

// Pixels of the longest label.
static int label_size(const struct plot_confusion *confusion) {
    size_t longest = 0;
    for (size_t i = 0; i < confusion->n_labels; i++) {
        const size_t size = strnlen(confusion->labels[i], LONGEST_LABEL);
        if (size > longest) longest = size;
    }
    return (int)longest * LETTER;
}

bool plot_confusion(const struct plot_confusion *confusion, const struct plot_place *place, struct llm_error *err) {
    const size_t n = confusion->n_labels;
    if (n == 0) return error_set(err, LLM_ERROR_ARGUMENT, "%s: a confusion matrix without labels", place->name);
    const int size = matrix_size(n), labels = label_size(confusion);
    const bool turned = n > MOST_UPRIGHT;
    struct picture picture;
    struct strbuf plot;
    picture_init(&picture, place, size + MARGIN + labels, size + MARGIN + (turned ? labels * 7 / 10 : 0));
    strbuf_init(&plot, 1 << 12);
    put_data(&picture, confusion);
    if (confusion->title != NULL) {
        strbuf_puts(&picture.script, "set title ");
        picture_put_text(&picture, confusion->title, PICTURE_LONGEST_TEXT, false);
        strbuf_puts(&picture.script, " textcolor rgb ink\n");
    }
    put_tics(&picture, "xtics", confusion);
    put_tics(&picture, "ytics", confusion);
    strbuf_printf(&picture.script,
                  "%s"
                  "set xlabel 'Predicted' textcolor rgb ink\n"
                  "set ylabel 'True' textcolor rgb ink\n"
                  "set xrange [-0.5:%zu.5]\n"
                  "set yrange [%zu.5:-0.5]\n"
                  "set border 15\n"
                  "set size ratio 1\n"
                  "set tics scale 0\n"
                  "unset key\n"
                  "unset colorbox\n"
                  "set cbrange [0:1]\n"
                  "set palette defined (0 '#f7fbff', 0.5 '#6aaed6', 1 '#08306b')\n",
                  turned ? "set xtics rotate by -45\n" : "", n - 1, n - 1);
    strbuf_printf(&plot, "plot '%s.csv' using 2:1:4 with image", place->name);
    if (n <= MOST_NUMBERS) {
        strbuf_printf(&plot,
                      ", \\\n     '' using 2:1:(sprintf('%%d', $3)):($4 > 0.5 ? 0xffffff : 0x333333) with labels "
                      "textcolor rgb variable");
    }
    const bool ok = strbuf_ok(&plot) ? picture_draw(&picture, plot.bytes, err) : error_memory(err, place->name);
    strbuf_release(&plot);
    picture_release(&picture);
    return ok;
}
