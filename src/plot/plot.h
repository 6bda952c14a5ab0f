// plot.h: pictures of a run: curves over steps or epochs, and confusion matrices.
//
// A picture NAME is five files in a folder: NAME.csv (the numbers), NAME.gp (the script that draws them), and NAME.pdf,
// NAME.svg, NAME.png, which gnuplot makes of the two. So a picture can be restyled: change NAME.gp, `gnuplot NAME.gp`.
// Without gnuplot the first two are written all the same. A notice says so, and where the disk refuses a picture: that
// is no error.
#ifndef PLOT_PLOT_H
#define PLOT_PLOT_H

#include "base/error.h"

// Where pictures go, and who hears of what could not be drawn.
struct plot_place {
    const char *folder; // made when missing
    const char *name;   // "loss_plot"
    struct llm_callbacks callbacks;
    bool is_another; // of a run whose first picture has told what keeps gnuplot from drawing: said once is enough
};

// ---- Curves ---------------------------------------------------------------------------------

struct plot_series {
    const char *label;
    const double *y; // [n]; NaN: none at this point
};

struct plot_lines {
    const char *title;       // NULL: none
    const char *x_label;     // "Epochs"
    const char *above_label; // of a second axis, above: "Tokens seen"; NULL: none
    const char *y_label;
    size_t n;                         // points, at least one
    const double *x;                  // [n] ascending
    const double *above;              // [n] what stands above each x; the axis is drawn as if it were linear in x
    const struct plot_series *series; // [n_series], 1 to PLOT_MOST_SERIES
    size_t n_series;
    bool percent; // y are fractions, shown in per cent
};

enum {
    PLOT_MOST_SERIES = 8 // as many colours as can be told apart
};

bool plot_lines(const struct plot_lines *lines, const struct plot_place *place, struct llm_error *err);

// ---- From log.csv ---------------------------------------------------------------------------

// A run's log: a line of column names, then a line of numbers for each evaluation; fields may be empty. A last line
// without a line end, as a killed run leaves it, is left out.
struct plot_log {
    size_t n_columns, n_rows;
    char **names;   // [n_columns]
    double *values; // [n_columns, n_rows]; NaN where a field is empty
};

// Reads a log; a sentence begins with the path and has the line.
bool plot_log_read(struct plot_log *log, const char *path, struct llm_error *err);
// The same for bytes in memory: the fuzz target.
bool plot_log_parse(struct plot_log *log, const char *bytes, size_t size, struct llm_error *err);
void plot_log_release(struct plot_log *log);
// A column [n_rows], or NULL when the log has none of this name.
const double *plot_log_column(const struct plot_log *log, const char *name);

// Which columns stand below and above.
struct plot_log_axes {
    double examples_per_epoch; // above 0: epochs below, from the column `examples`; 0: steps, from `step`
    bool examples_above;       // the column `examples` above; else `tokens`
};

// Training and validation loss (train_loss, val_loss) of log.csv.
bool plot_losses(const char *log_csv, const struct plot_log_axes *axes, const struct plot_place *place,
                 struct llm_error *err);
// The learning rate (learning_rate) of log.csv.
bool plot_learning_rate(const char *log_csv, const struct plot_log_axes *axes, const struct plot_place *place,
                        struct llm_error *err);

// ---- Confusion matrix -----------------------------------------------------------------------

struct plot_confusion {
    const char *title; // NULL: none
    size_t n_labels;   // at least one
    const char *const *labels;
    const int64_t *counts; // [n_labels, n_labels] of what is the row's, how many were called the column's
};

bool plot_confusion(const struct plot_confusion *confusion, const struct plot_place *place, struct llm_error *err);

#endif
