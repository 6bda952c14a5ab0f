// lines.c: curves: plot_lines() of plot.h.
#include <math.h>
#include <stdio.h>

#include "plot/picture.h"

enum {
    WIDTH = 720,
    HEIGHT = 460,
    FEW_POINTS = 12,    // each gets a dot
    LONGEST_LABEL = 50, // bytes, in the key
};

// Colours that can be told apart whatever one's colour vision (Okabe and Ito 2008), the dark ones first, and dashes
// for a printer without colours.
static const struct {
    const char *colour, *dashes;
} styles[PLOT_MOST_SERIES] = {
    {"#0072b2", "solid"}, {"#d55e00", "(9, 5)"},        {"#009e73", "(2, 4)"},       {"#cc79a7", "(12, 4, 2, 4)"},
    {"#e69f00", "solid"}, {"#56b4e9", "(9, 5, 9, 12)"}, {"#000000", "(2, 4, 2, 9)"}, {"#999999", "(16, 8)"},
};

static void put_data(struct picture *picture, const struct plot_lines *lines) {
    struct strbuf *data = &picture->data;
    strbuf_puts(data, "x,above");
    for (size_t s = 0; s < lines->n_series; s++) strbuf_printf(data, ",series %zu", s + 1);
    for (size_t i = 0; i < lines->n; i++) {
        strbuf_puts(data, "\n");
        picture_put_number(picture, lines->x[i]);
        strbuf_puts(data, ",");
        if (lines->above_label != NULL) picture_put_number(picture, lines->above[i]);
        for (size_t s = 0; s < lines->n_series; s++) {
            strbuf_puts(data, ",");
            picture_put_number(picture, lines->series[s].y[i] * (lines->percent ? 100 : 1));
        }
    }
    strbuf_puts(data, "\n");
}

static void put_label(struct picture *picture, const char *axis, const char *text) {
    strbuf_printf(&picture->script, "set %s ", axis);
    picture_put_text(picture, text, PICTURE_LONGEST_TEXT, false);
    strbuf_puts(&picture->script, " textcolor rgb ink\n");
}

// The axis above in a unit that leaves its numbers short.
static void put_above(struct picture *picture, const struct plot_lines *lines, double low, double high) {
    static const struct {
        double from, size;
        const char *name;
    } units[] = {{2e9, 1e9, "billions"}, {2e6, 1e6, "millions"}, {2e4, 1e3, "thousands"}, {-INFINITY, 1, NULL}};
    int u = 0;
    while (high < units[u].from) u++;
    strbuf_printf(&picture->script,
                  "set border 7\n"
                  "set x2range [%.9g:%.9g]\n"
                  "set x2tics nomirror out scale 0.5 textcolor rgb ink\n",
                  low / units[u].size, high / units[u].size);
    char label[PICTURE_LONGEST_TEXT + 1];
    snprintf(label, sizeof label, units[u].name == NULL ? "%s" : "%s (%s)", lines->above_label, units[u].name);
    put_label(picture, "x2label", label);
}

// Both axes cover the same points; the one below begins at 0 where that is near.
static void put_x_axes(struct picture *picture, const struct plot_lines *lines) {
    const double first = lines->x[0], last = lines->x[lines->n - 1];
    double low = first >= 0 && first <= last / 10 ? 0 : first, high = last;
    if (low == high) {
        low -= 0.5;
        high += 0.5;
    }
    // Whole numbers: no half epochs.
    strbuf_printf(&picture->script, "set xrange [%.9g:%.9g]\nset format x '%%.0f'\n%s", low, high,
                  high - low <= FEW_POINTS ? "set xtics 1\n" : "");
    put_label(picture, "xlabel", lines->x_label);
    if (lines->above_label == NULL) return;
    const double above_first = lines->above[0], above_last = lines->above[lines->n - 1];
    double slope = (above_last - above_first) / (last - first);
    if (!isfinite(slope)) slope = last != 0 ? above_last / last : 1;
    put_above(picture, lines, above_last + (low - last) * slope, above_last + (high - last) * slope);
}

// Accuracies rise and losses fall, so their keys lie in different corners.
static void put_y_axis(struct picture *picture, const struct plot_lines *lines) {
    put_label(picture, "ylabel", lines->y_label);
    const char *corner = lines->percent ? "bottom right" : "top right";
    strbuf_printf(&picture->script, "set key %s samplen 3 spacing 1.3\n%s", corner,
                  lines->n_series == 1 ? "unset key\n" : "");
    if (!lines->percent) return;
    strbuf_puts(&picture->script, "set yrange [*:100]\nset offsets 0, 0, 0, graph 0.04\nset format y '%g %%'\n");
}

// `plot ...` with a line of its own for each series.
static bool put_plot(struct strbuf *plot, struct picture *picture, const struct plot_lines *lines) {
    const char *with = lines->n <= FEW_POINTS ? "linespoints" : "lines";
    for (size_t s = 0; s < lines->n_series; s++) {
        // Labels may be anyone's, so they are variables of the script, where picture_put_text() quotes them.
        strbuf_printf(&picture->script, "label_%zu = ", s + 1);
        picture_put_text(picture, lines->series[s].label, LONGEST_LABEL, false);
        strbuf_printf(&picture->script,
                      "\nset style line %zu linewidth 2 linecolor rgb '%s' dashtype %s pointtype 7 pointsize 0.5\n",
                      s + 1, styles[s].colour, styles[s].dashes);
        strbuf_printf(plot, "%s '%s.csv' using 1:%zu with %s linestyle %zu title label_%zu",
                      s == 0 ? "plot" : ", \\\n    ", picture->place->name, s + 3, with, s + 1, s + 1);
    }
    return strbuf_ok(plot);
}

bool plot_lines(const struct plot_lines *lines, const struct plot_place *place, struct llm_error *err) {
    if (lines->n == 0 || lines->n_series == 0 || lines->n_series > PLOT_MOST_SERIES) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%s: %zu points of %zu curves: at least one, and at most %d curves",
                         place->name, lines->n, lines->n_series, PLOT_MOST_SERIES);
    }
    struct picture picture;
    struct strbuf plot;
    picture_init(&picture, place, WIDTH, HEIGHT);
    strbuf_init(&plot, 1 << 16);
    put_data(&picture, lines);
    strbuf_puts(&picture.script, "set grid xtics ytics linetype 1 linewidth 0.5 linecolor rgb '#dddddd'\n");
    if (lines->title != NULL) put_label(&picture, "title", lines->title);
    put_x_axes(&picture, lines);
    put_y_axis(&picture, lines);
    const bool ok =
        put_plot(&plot, &picture, lines) ? picture_draw(&picture, plot.bytes, err) : error_memory(err, place->name);
    strbuf_release(&plot);
    picture_release(&picture);
    return ok;
}
