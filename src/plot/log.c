// log.c: reading log.csv, which may have been cut off or edited, and the pictures that are drawn from it; see plot.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "plot/plot.h"

enum {
    LARGEST_LOG = 1 << 28, // bytes: millions of lines
    MOST_COLUMNS = 64,
    LONGEST_FIELD = 63,
};

// ---- Reading --------------------------------------------------------------------------------

// One line's fields, one after another.
struct line {
    const char *at, *end; // behind the last field, at > end
};

static bool next_field(struct line *line, char field[LONGEST_FIELD + 1], size_t number, struct llm_error *err) {
    const char *comma = memchr(line->at, ',', (size_t)(line->end - line->at));
    const char *end = comma == NULL ? line->end : comma;
    const size_t size = (size_t)(end - line->at);
    if (size > LONGEST_FIELD) {
        return error_set(err, LLM_ERROR_FORMAT, "line %zu: a field has %zu bytes, at most %d were expected", number,
                         size, LONGEST_FIELD);
    }
    memcpy(field, line->at, size);
    field[size] = '\0';
    line->at = end + 1;
    return true;
}

static bool has_field(const struct line *line) {
    return line->at <= line->end;
}

// The next line that ends in a line feed, without it and a carriage return.
static bool next_line(const char **at, const char *end, struct line *line) {
    const char *feed = *at == end ? NULL : memchr(*at, '\n', (size_t)(end - *at));
    if (feed == NULL) return false;
    *line = (struct line){*at, feed > *at && feed[-1] == '\r' ? feed - 1 : feed};
    *at = feed + 1;
    return true;
}

static bool parse_names(struct plot_log *log, struct line line, struct llm_error *err) {
    log->names = calloc(MOST_COLUMNS, sizeof *log->names);
    if (log->names == NULL) return error_memory(err, "log");
    while (has_field(&line)) {
        char field[LONGEST_FIELD + 1];
        if (!next_field(&line, field, 1, err)) return false;
        if (log->n_columns == MOST_COLUMNS) {
            return error_set(err, LLM_ERROR_FORMAT, "line 1: more than %d columns", MOST_COLUMNS);
        }
        log->names[log->n_columns] = strdup(field);
        if (log->names[log->n_columns++] == NULL) return error_memory(err, "log");
    }
    return true;
}

static bool parse_number(const char *field, double *number) {
    char *end = NULL;
    *number = strtod(field, &end);
    return end != field && *end == '\0' && isfinite(*number) && field[0] != ' ' && field[0] != '\t';
}

static bool parse_row(struct plot_log *log, size_t row, struct line line, struct llm_error *err) {
    size_t n = 0;
    for (; has_field(&line) && n <= log->n_columns; n++) {
        char field[LONGEST_FIELD + 1], quoted[STR_QUOTE_SIZE], name[STR_QUOTE_SIZE];
        if (!next_field(&line, field, row + 2, err)) return false;
        if (n == log->n_columns) continue; // one too many, as is said below
        double number = NAN;
        if (field[0] != '\0' && !parse_number(field, &number)) {
            return error_set(err, LLM_ERROR_FORMAT, "line %zu: %s is %s, a number was expected", row + 2,
                             str_quote(log->names[n], name), str_quote(field, quoted));
        }
        log->values[n * log->n_rows + row] = number;
    }
    if (n == log->n_columns) return true;
    return error_set(err, LLM_ERROR_FORMAT, "line %zu: %s than the %zu fields of the first line", row + 2,
                     n < log->n_columns ? "fewer" : "more", log->n_columns);
}

bool plot_log_parse(struct plot_log *log, const char *bytes, size_t size, struct llm_error *err) {
    *log = (struct plot_log){0};
    const char *at = bytes, *end = bytes + size;
    struct line line;
    if (!next_line(&at, end, &line) || line.at == line.end) {
        return error_set(err, LLM_ERROR_FORMAT, "does not begin with a line of column names");
    }
    bool ok = parse_names(log, line, err);
    for (const char *rest = at; ok && next_line(&rest, end, &line);) log->n_rows++;
    // A line has a byte for each of its fields at least, so this bounds what is allocated.
    if (ok && log->n_rows * log->n_columns > size) {
        ok = error_set(err, LLM_ERROR_FORMAT, "its lines have fewer than the %zu fields of the first", log->n_columns);
    }
    if (ok) {
        log->values = calloc(log->n_columns * log->n_rows + 1, sizeof *log->values);
        if (log->values == NULL) ok = error_memory(err, "log");
    }
    for (size_t row = 0; ok && next_line(&at, end, &line); row++) ok = parse_row(log, row, line, err);
    if (!ok) plot_log_release(log);
    return ok;
}

bool plot_log_read(struct plot_log *log, const char *path, struct llm_error *err) {
    *log = (struct plot_log){0};
    char *bytes = NULL;
    size_t size = 0;
    if (!file_read(path, LARGEST_LOG, &bytes, &size, err)) return false;
    const bool ok = plot_log_parse(log, bytes, size, err);
    if (!ok) error_prefix(err, "%s", path);
    free(bytes);
    return ok;
}

void plot_log_release(struct plot_log *log) {
    for (size_t i = 0; i < log->n_columns; i++) free(log->names[i]);
    free(log->names);
    free(log->values);
    *log = (struct plot_log){0};
}

const double *plot_log_column(const struct plot_log *log, const char *name) {
    for (size_t i = 0; i < log->n_columns; i++) {
        if (strcmp(log->names[i], name) == 0) return log->values + i * log->n_rows;
    }
    return NULL;
}

// ---- Drawing --------------------------------------------------------------------------------

// Points that can be drawn: rows with a number on both axes, each further right than the one before.
struct points {
    size_t n;
    double *x, *above, *y[2]; // [n] of one block
};

static bool column(const struct plot_log *log, const char *name, const char *path, const double **values,
                   struct llm_error *err) {
    *values = plot_log_column(log, name);
    if (*values != NULL) return true;
    return error_set(err, LLM_ERROR_FORMAT, "%s: has no column %s", path, name);
}

static bool gather(struct points *points, const struct plot_log *log, const char *path,
                   const struct plot_log_axes *axes, const char *const names[2], struct llm_error *err) {
    const double *x = NULL, *above = NULL, *y[2] = {NULL, NULL};
    const bool epochs = axes->examples_per_epoch > 0;
    if (!column(log, epochs ? "examples" : "step", path, &x, err) ||
        !column(log, axes->examples_above ? "examples" : "tokens", path, &above, err) ||
        !column(log, names[0], path, &y[0], err) || (names[1] != NULL && !column(log, names[1], path, &y[1], err))) {
        return false;
    }
    points->x = calloc(4 * log->n_rows + 1, sizeof *points->x);
    if (points->x == NULL) return error_memory(err, "points");
    points->above = points->x + log->n_rows;
    points->y[0] = points->above + log->n_rows;
    points->y[1] = points->y[0] + log->n_rows;
    for (size_t row = 0; row < log->n_rows; row++) {
        const size_t n = points->n;
        const double at = epochs ? x[row] / axes->examples_per_epoch : x[row];
        const bool nothing = isnan(y[0][row]) && (y[1] == NULL || isnan(y[1][row]));
        if (isnan(at) || isnan(above[row]) || nothing || (n > 0 && at <= points->x[n - 1])) continue;
        points->x[n] = at;
        points->above[n] = above[row];
        points->y[0][n] = y[0][row];
        points->y[1][n] = y[1] == NULL ? NAN : y[1][row];
        points->n++;
    }
    return true;
}

static void tell_of_nothing(const struct plot_place *place, const char *path) {
    if (place->callbacks.notice == NULL) return;
    struct llm_error sentence = {0};
    error_set(&sentence, LLM_ERROR_NOT_FOUND, "%s: has no numbers yet, so there is no %s", path, place->name);
    place->callbacks.notice(place->callbacks.user, sentence.text);
}

// Draws one or two columns of a log.
static bool draw(const char *path, const struct plot_log_axes *axes, const struct plot_place *place,
                 const char *y_label, const char *const names[2], const char *const labels[2], struct llm_error *err) {
    struct plot_log log;
    if (!plot_log_read(&log, path, err)) return false;
    struct points points = {0};
    bool ok = gather(&points, &log, path, axes, names, err);
    plot_log_release(&log);
    if (ok && points.n == 0) {
        tell_of_nothing(place, path);
    } else if (ok) {
        const struct plot_series series[2] = {{labels[0], points.y[0]}, {labels[1], points.y[1]}};
        const struct plot_lines lines = {
            .x_label = axes->examples_per_epoch > 0 ? "Epochs" : "Steps",
            .above_label = axes->examples_above ? "Examples seen" : "Tokens seen",
            .y_label = y_label,
            .n = points.n,
            .x = points.x,
            .above = points.above,
            .series = series,
            .n_series = names[1] == NULL ? 1 : 2,
        };
        ok = plot_lines(&lines, place, err);
    }
    free(points.x);
    return ok;
}

bool plot_losses(const char *log_csv, const struct plot_log_axes *axes, const struct plot_place *place,
                 struct llm_error *err) {
    static const char *const names[2] = {"train_loss", "val_loss"};
    static const char *const labels[2] = {"Training loss", "Validation loss"};
    return draw(log_csv, axes, place, "Loss", names, labels, err);
}

bool plot_learning_rate(const char *log_csv, const struct plot_log_axes *axes, const struct plot_place *place,
                        struct llm_error *err) {
    static const char *const names[2] = {"learning_rate", NULL};
    static const char *const labels[2] = {"Learning rate", NULL};
    return draw(log_csv, axes, place, "Learning rate", names, labels, err);
}
