// test_cli_progress.c: the progress line for given amounts, rates and widths.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cli/progress.h"

static void line_for(char line[256], int columns, int64_t done, int64_t total, double rate) {
    const struct llm_progress progress = {"gpt2: model.ckpt.data", "bytes", done, total};
    progress_line(line, 256, columns, &progress, rate);
    assert_true((int)strlen(line) <= columns);
}

static void a_wide_line_has_everything(void **state) {
    (void)state;
    char line[256];
    line_for(line, 120, 250000000, 500000000, 10e6);
    assert_string_equal(line, "gpt2: model.ckpt.data [###############...............]  50%  250.0 MB of 500.0 MB, "
                              "10.0 MB/s, 0:25 left");
    line_for(line, 120, 500000000, 500000000, 10e6);
    assert_string_equal(line, "gpt2: model.ckpt.data [##############################] 100%  500.0 MB of 500.0 MB, "
                              "10.0 MB/s");
}

static void a_narrow_line_loses_the_bar_then_the_beginning_of_the_name(void **state) {
    (void)state;
    char line[256];
    line_for(line, 72, 250000000, 500000000, 10e6);
    assert_string_equal(line, "gpt2: model.ckpt.data  250.0 MB of 500.0 MB, 10.0 MB/s, 0:25 left");
    line_for(line, 59, 250000000, 500000000, 10e6);
    assert_string_equal(line, "model.ckpt.data  250.0 MB of 500.0 MB, 10.0 MB/s, 0:25 left");
    line_for(line, 10, 250000000, 500000000, 10e6);
    line_for(line, 0, 250000000, 500000000, 10e6);
}

static void unknown_totals_and_rates_are_left_out(void **state) {
    (void)state;
    char line[256];
    line_for(line, 120, 1234, -1, 0);
    assert_string_equal(line, "gpt2: model.ckpt.data  1.2 kB");
    line_for(line, 120, 12, -1, 3);
    assert_string_equal(line, "gpt2: model.ckpt.data  12 bytes, 3 bytes/s");
    line_for(line, 80, 0, 0, 0); // an empty file
    assert_string_equal(line, "gpt2: model.ckpt.data  0 bytes of 0 bytes");
}

static void things_are_counted_once_by_name(void **state) {
    (void)state;
    char line[256];
    progress_line(line, sizeof line, 120, &(struct llm_progress){"answering", "answers", 3, 6}, 2);
    assert_string_equal(line,
                        "answering [###############...............]  50%  3 of 6 answers, 2 answers/s, 0:02 left");
}

static void a_wrong_amount_does_not_overrun_the_bar(void **state) {
    (void)state;
    char line[256];
    line_for(line, 120, 900, 100, 1);
    assert_non_null(strstr(line, "[##############################] 100%"));
    line_for(line, 120, -5, 100, 0);
    assert_non_null(strstr(line, "[..............................]   0%"));
}

static void amounts_have_units(void **state) {
    (void)state;
    char text[64];
    amount_text(text, sizeof text, 999, "bytes");
    assert_string_equal(text, "999 bytes");
    amount_text(text, sizeof text, 548105171, "bytes");
    assert_string_equal(text, "548.1 MB");
    amount_text(text, sizeof text, INT64_C(7000000000000), "bytes");
    assert_string_equal(text, "7.0 TB");
    amount_text(text, sizeof text, 5145, "tokens");
    assert_string_equal(text, "5145 tokens");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wide_line_has_everything),
        cmocka_unit_test(a_narrow_line_loses_the_bar_then_the_beginning_of_the_name),
        cmocka_unit_test(unknown_totals_and_rates_are_left_out),
        cmocka_unit_test(things_are_counted_once_by_name),
        cmocka_unit_test(a_wrong_amount_does_not_overrun_the_bar),
        cmocka_unit_test(amounts_have_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
