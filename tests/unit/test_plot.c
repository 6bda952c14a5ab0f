// test_plot.c: plot/plot.h: logs as they should be and as they should not, the files of a picture, gnuplot that is not
// there, that fails, and that draws.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "plot/plot.h"

#define HEADER "step,epoch,examples,tokens,train_loss,val_loss,learning_rate,seconds\n"

static const char *const endings[] = {"csv", "gp", "pdf", "svg", "png"};

struct place {
    char folder[64], plots[96], bin[96], log[96];
    char notices[1024]; // joined
    char *path;         // PATH as it was
};

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) return -1;
    strcpy(place->folder, "/tmp/my-llm-plot-XXXXXX");
    *state = place;
    if (mkdtemp(place->folder) == NULL) return -1;
    snprintf(place->plots, sizeof place->plots, "%s/deep/plots", place->folder);
    snprintf(place->bin, sizeof place->bin, "%s/bin", place->folder);
    snprintf(place->log, sizeof place->log, "%s/log.csv", place->folder);
    const char *path = getenv("PATH");
    if (path == NULL) return -1;
    place->path = strdup(path);
    return place->path == NULL || mkdir(place->bin, 0700) != 0 ? -1 : 0;
}

static int place_teardown(void **state) {
    struct place *place = *state;
    setenv("PATH", place->path, 1);
    directory_remove(place->folder);
    free(place->path);
    free(place);
    return 0;
}

static void put_text(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

// The text of a picture's file; NULL: there is none.
static char *get_file(const struct place *place, const char *name, const char *ending) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s.%s", place->plots, name, ending);
    char *text = NULL;
    size_t size = 0;
    return file_read(path, 1 << 24, &text, &size, NULL) ? text : NULL;
}

static void on_notice(void *user, const char *sentence) {
    struct place *place = user;
    strncat(place->notices, sentence, sizeof place->notices - strlen(place->notices) - 1);
}

static struct plot_place place_for(struct place *place, const char *name) {
    return (struct plot_place){.folder = place->plots, .name = name, .callbacks = {.notice = on_notice, .user = place}};
}

static bool gnuplot_is_there(void) {
    const int status = system("gnuplot --version > /dev/null 2>&1");
    return status == 0;
}

// A gnuplot that is a script of the shell.
static void put_gnuplot(struct place *place, const char *script) {
    char path[128], text[512];
    snprintf(path, sizeof path, "%s/gnuplot", place->bin);
    snprintf(text, sizeof text, "#!/bin/sh\n%s\n", script);
    put_text(path, text);
    assert_int_equal(chmod(path, 0700), 0);
    snprintf(text, sizeof text, "%s:%s", place->bin, place->path);
    setenv("PATH", text, 1);
}

static void assert_contains(const char *text, const char *part) {
    assert_non_null(text);
    if (strstr(text, part) == NULL) fail_msg("'%s' is not in '%s'", part, text);
}

// ---- Logs -----------------------------------------------------------------------------------

static void test_reading_a_log(void **state) {
    (void)state;
    const char text[] = HEADER "0,1,2,512,9.817,9.924,0.0004,1.5\r\n5,1,12,3072,,8.332,4e-04,\n10,2,22,56";
    struct plot_log log;
    assert_true(plot_log_parse(&log, text, strlen(text), NULL));
    assert_int_equal(log.n_columns, 8);
    assert_int_equal(log.n_rows, 2); // the third was cut off
    assert_true(plot_log_column(&log, "train_loss")[0] == 9.817 && isnan(plot_log_column(&log, "train_loss")[1]));
    assert_true(plot_log_column(&log, "learning_rate")[1] == 0.0004);
    assert_true(plot_log_column(&log, "seconds")[0] == 1.5);
    assert_null(plot_log_column(&log, "loss"));
    plot_log_release(&log);
}

static void test_logs_that_are_none(void **state) {
    struct place *place = *state;
    static const char *const logs[][2] = {
        {"", "log.csv: does not begin with a line of column names"},
        {"step", "does not begin with a line of column names"},
        {"\n1\n", "does not begin with a line of column names"},
        {"a,b\n1,2\n3,x\n", "log.csv: line 3: 'b' is 'x', a number was expected"},
        {"a,b\n1,nan\n", "line 2: 'b' is 'nan', a number was expected"},
        {"a,b\n1,1e999\n", "'b' is '1e999', a number was expected"},
        {"a,b\n1,inf\n", "'b' is 'inf', a number was expected"},
        {"a,b\n1, 2\n", "'b' is ' 2', a number was expected"},
        {"a,b\n1,2,3\n", "line 2: more than the 2 fields of the first line"},
        {"a,b\n1,2,3,4,5\n", "line 2: more than the 2 fields of the first line"},
        {"a,b,c\n1,2,3\n1,2\n", "line 3: fewer than the 3 fields of the first line"},
        {"a,b,c\n\n\n\n\n", "its lines have fewer than the 3 fields of the first"},
        {"a,b\n1,\x1b[2J\n", "'b' is '?[2J', a number was expected"},
        {"a\n0000000000000000000000000000000000000000000000000000000000000000\n", "line 2: a field has 64 bytes"},
    };
    for (size_t i = 0; i < sizeof logs / sizeof logs[0]; i++) {
        put_text(place->log, logs[i][0]);
        struct llm_error err = {0};
        struct plot_log log;
        assert_false(plot_log_read(&log, place->log, &err));
        assert_contains(err.text, logs[i][1]);
    }
    put_text(place->log, "step,tokens,loss\n1,2,3\n");
    const struct plot_place target = place_for(place, "loss_plot");
    struct llm_error err = {0};
    assert_false(plot_losses(place->log, &(struct plot_log_axes){0}, &target, &err));
    assert_contains(err.text, "log.csv: has no column train_loss");
    err = (struct llm_error){0};
    assert_false(plot_losses(place->plots, &(struct plot_log_axes){0}, &target, &err));
    assert_contains(err.text, "plots: cannot open this file");
    put_text(place->log, HEADER "0,1,2,512,,,0.0004,1.5\n");
    assert_true(plot_losses(place->log, &(struct plot_log_axes){0}, &target, NULL));
    assert_contains(place->notices, "log.csv: has no numbers yet, so there is no loss_plot");
    assert_false(path_exists(place->plots));
}

// ---- Without gnuplot, or with one that fails ------------------------------------------------

static const char good_log[] = HEADER "0,1,2,512,9.817,9.924,0.0004,1.5\n5,1,12,3072,8.066,8.332,0.0004,3\n"
                                      "5,1,12,3072,7,7,0.0004,3\n10,2,22,5632,6.619,,0.0004,4\n";

static void draw_losses(struct place *place) {
    put_text(place->log, good_log);
    place->notices[0] = '\0';
    const struct plot_place target = place_for(place, "loss_plot");
    struct llm_error err = {0};
    if (!plot_losses(place->log, &(struct plot_log_axes){0}, &target, &err)) fail_msg("%s", err.text);
}

static void assert_only_text_files(const struct place *place) {
    for (int i = 0; i < 5; i++) {
        char *text = get_file(place, "loss_plot", endings[i]);
        assert_int_equal(text != NULL, i < 2);
        free(text);
    }
}

static void test_without_gnuplot(void **state) {
    struct place *place = *state;
    setenv("PATH", place->bin, 1);
    draw_losses(place);
    assert_contains(place->notices, "deep/plots: gnuplot is not installed: loss_plot is not drawn; "
                                    "`gnuplot loss_plot.gp` draws it there");
    assert_only_text_files(place);
    char *data = get_file(place, "loss_plot", "csv");
    // A step that comes twice, as after a resumed run, counts once.
    assert_string_equal(data, "x,above,series 1,series 2\n0,512,9.817,9.924\n5,3072,8.066,8.332\n10,5632,6.619,\n");
    free(data);
    char *script = get_file(place, "loss_plot", "gp");
    assert_contains(script, "set xrange [0:10]");
    assert_contains(script, "set x2range [512:5632]");
    assert_contains(script, "set x2label 'Tokens seen'");
    free(script);
}

static void test_gnuplot_that_fails(void **state) {
    struct place *place = *state;
    put_gnuplot(place, "touch loss_plot.pdf loss_plot.svg loss_plot.png");
    draw_losses(place);
    assert_string_equal(place->notices, "");
    char *picture = get_file(place, "loss_plot", "png");
    assert_non_null(picture);
    free(picture);
    put_gnuplot(place, "printf 'set terminal\\n    ^\\n\"x.gp\" line 9: no \\033 such terminal\\n' >&2; exit 1");
    draw_losses(place);
    assert_contains(place->notices, "plots: \"x.gp\" line 9: no ? such terminal: loss_plot is not drawn");
    assert_only_text_files(place); // the picture that was there showed other numbers
    put_gnuplot(place, "yes complaint | head -c 1000000 >&2; kill -9 $$");
    draw_losses(place);
    assert_contains(place->notices, "complaint: loss_plot is not drawn");
    put_gnuplot(place, "exit 3");
    draw_losses(place);
    assert_contains(place->notices, "gnuplot ended with status");
}

static void test_what_cannot_be_drawn(void **state) {
    struct place *place = *state;
    const double x[] = {1};
    const struct plot_series series[9] = {{"a", x}};
    struct plot_lines lines = {.x_label = "x", .y_label = "y", .n = 0, .x = x, .series = series, .n_series = 1};
    struct plot_place target = place_for(place, "loss_plot");
    struct llm_error err = {0};
    assert_false(plot_lines(&lines, &target, &err));
    assert_contains(err.text, "loss_plot: 0 points of 1 curves");
    lines.n = 1;
    lines.n_series = 9;
    assert_false(plot_lines(&lines, &target, NULL));
    assert_false(plot_confusion(&(struct plot_confusion){0}, &target, NULL));
    put_text(place->log, "a file where a folder should be");
    target.folder = place->log;
    lines.n_series = 1;
    err = (struct llm_error){0};
    place->notices[0] = '\0';
    assert_true(plot_lines(&lines, &target, &err)); // what the disk refuses is told, and no error
    assert_contains(place->notices, "log.csv: cannot create this directory");
    assert_contains(place->notices, "; there is no picture loss_plot");
}

// ---- With gnuplot ---------------------------------------------------------------------------

static void assert_drawn(struct place *place, const char *name) {
    static const char *const begins[] = {"x", "# Draws", "%PDF-", "<?xml", "\x89PNG"};
    assert_string_equal(place->notices, "");
    for (int i = 0; i < 5; i++) {
        char *text = get_file(place, name, endings[i]);
        assert_non_null(text);
        if (i > 0) assert_memory_equal(text, begins[i], strlen(begins[i]));
        free(text);
    }
}

// The SVG has texts as such, so it can be asked for what is to be seen.
static void assert_shows(struct place *place, const char *name, const char *text) {
    char *svg = get_file(place, name, "svg");
    assert_contains(svg, text);
    free(svg);
}

static void test_drawing_losses(void **state) {
    struct place *place = *state;
    if (!gnuplot_is_there()) skip();
    draw_losses(place);
    assert_drawn(place, "loss_plot");
    assert_shows(place, "loss_plot", ">Training loss<");
    assert_shows(place, "loss_plot", ">Validation loss<");
    assert_shows(place, "loss_plot", ">Steps<");
    assert_shows(place, "loss_plot", ">Tokens seen<");
    struct plot_place target = place_for(place, "epochs");
    const struct plot_log_axes axes = {.examples_per_epoch = 11, .examples_above = true};
    assert_true(plot_losses(place->log, &axes, &target, NULL));
    assert_drawn(place, "epochs");
    assert_shows(place, "epochs", ">Epochs<");
    assert_shows(place, "epochs", ">Examples seen<");
    target.name = "learning_rate_plot";
    assert_true(plot_learning_rate(place->log, &axes, &target, NULL));
    assert_drawn(place, "learning_rate_plot");
    // One point is a picture, too.
    put_text(place->log, HEADER "0,1,2,5120000,9.817,9.924,0.0004,1.5\n");
    assert_true(plot_losses(place->log, &(struct plot_log_axes){0}, &target, NULL));
    assert_drawn(place, "learning_rate_plot");
    assert_shows(place, "learning_rate_plot", ">Tokens seen (millions)<");
}

static void test_labels_from_strangers(void **state) {
    struct place *place = *state;
    if (!gnuplot_is_there()) skip();
    char trap[160], hostile[300];
    snprintf(trap, sizeof trap, "%s/trap", place->folder);
    snprintf(hostile, sizeof hostile, "'; system('touch %s') #", trap);
    const char *const labels[] = {"a_b^{2} `touch x` \"q\" \\", "it's\n\xff", hostile, "caf\xc3\xa9 100%d%n %"};
    const double x[] = {1, 2, 3}, y[] = {0.5, NAN, 1};
    struct plot_series series[4];
    for (int i = 0; i < 4; i++) series[i] = (struct plot_series){labels[i], y};
    const struct plot_lines lines = {.title = hostile,
                                     .x_label = hostile,
                                     .y_label = labels[0],
                                     .n = 3,
                                     .x = x,
                                     .series = series,
                                     .n_series = 4,
                                     .percent = true};
    struct plot_place target = place_for(place, "lines");
    assert_true(plot_lines(&lines, &target, NULL));
    assert_drawn(place, "lines");
    assert_shows(place, "lines", "a_b^{2} `touch x` \"q\" \\");
    assert_shows(place, "lines", "it\xe2\x80\x99s??");
    const int64_t counts[16] = {5, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4};
    const struct plot_confusion confusion = {.title = hostile, .n_labels = 4, .labels = labels, .counts = counts};
    target.name = "confusion";
    assert_true(plot_confusion(&confusion, &target, NULL));
    assert_drawn(place, "confusion");
    assert_shows(place, "confusion", ">caf\xc3\xa9 100%d%n %<");
    assert_false(path_exists(trap));
    char *data = get_file(place, "confusion", "csv");
    assert_contains(data, "true,predicted,count,share\n0,0,5,0.833333\n0,1,1,0.166667\n");
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading_a_log),
        cmocka_unit_test_setup_teardown(test_logs_that_are_none, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_without_gnuplot, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_gnuplot_that_fails, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_drawn, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_drawing_losses, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_labels_from_strangers, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
