// test_fault_plot.c: a picture when memory, calls or the disk fail: a sentence, nothing leaked, and
// the files of the picture that are there are whole. (gnuplot is not found here: it would draw hundreds of times.)
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "fault.h"
#include "plot/plot.h"

struct place {
    char folder[64];
    char log[80], plots[80];
    bool refused;
    char *whole; // what the script's file must hold
};

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) return -1;
    strcpy(place->folder, fault_template());
    if (mkdtemp(place->folder) == NULL) return -1;
    snprintf(place->log, sizeof place->log, "%s/log.csv", place->folder);
    snprintf(place->plots, sizeof place->plots, "%s/plots", place->folder);
    setenv("PATH", "/nonexistent", 1);
    *state = place;
    FILE *file = fopen(place->log, "wb");
    if (file == NULL || fputs("step,tokens,train_loss,val_loss\n0,2,3,4\n1,4,2,3\n", file) < 0) return -1;
    return fclose(file);
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->folder);
    free(place->whole);
    free(place);
    return 0;
}

static void hear(void *user, const char *sentence) {
    struct place *place = user;
    place->refused |= strstr(sentence, "; there is no picture loss_plot") != NULL;
}

// What the disk refuses is told, and no error of the run's: here it counts as one.
static bool plot_body(void *user, struct llm_error *err) {
    struct place *place = user;
    const struct plot_place target = {
        .folder = place->plots, .name = "loss_plot", .callbacks = {.user = place, .notice = hear}};
    place->refused = false;
    return plot_losses(place->log, &(struct plot_log_axes){0}, &target, err) &&
           (!place->refused || error_set(err, LLM_ERROR_IO, "refused"));
}

static void plot_check(void *user, bool succeeded) {
    struct place *place = user;
    char path[128], *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/loss_plot.gp", place->plots);
    if (file_read(path, 1 << 16, &text, &size, NULL)) {
        if (place->whole == NULL) place->whole = strdup(text);
        assert_string_equal(text, place->whole);
    } else {
        assert_false(succeeded);
    }
    free(text);
    directory_remove(place->plots); // where removing fails, too, a folder .plot-* may be left
}

static void test_plotting(void **state) {
    struct place *place = *state;
    assert_true(plot_body(place, NULL));
    plot_check(place, true);
    assert_true(fault_loop(FAULT_MEMORY, plot_body, plot_check, place) > 10);
    assert_true(fault_loop(FAULT_DISK, plot_body, plot_check, place) > 5);
    assert_true(fault_loop(FAULT_SHORT, plot_body, plot_check, place) > 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plotting, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
