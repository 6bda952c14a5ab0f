// test_train_log.c: log.csv as it is written, cut back, locked.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "train/log.h"

static const struct train_log_row first = {0, 1, 8, 2048, 10.25, 10.5, 5e-4, 1.5};
static const struct train_log_row second = {100, 2, 808, 206848, 3.1234567, (double)NAN, 1.0209409709310705e-05, 60};

#define HEAD "step,epoch,examples,tokens,train_loss,val_loss,learning_rate,seconds\n"
#define FIRST "0,1,8,2048,10.250000,10.500000,0.0005,1.500\n"
#define SECOND "100,2,808,206848,3.123457,,1.02094097e-05,60.000\n"

static char folder[32];
static char path[64];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/my-llm-log-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/log.csv", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    directory_remove(folder);
    return 0;
}

static void assert_holds(const char *expected) {
    char *text = NULL;
    size_t size = 0;
    assert_true(file_read(path, 1 << 20, &text, &size, NULL));
    assert_string_equal(text, expected);
    free(text);
}

static void rows(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct train_log log;
    assert_true(train_log_create(&log, path, &err) && train_log_begin(&log, &err));
    assert_true(train_log_write(&log, &first, &err) && train_log_write(&log, &second, &err));
    assert_true(train_log_sync(&log, &err));
    assert_int_equal(log.size, strlen(HEAD FIRST SECOND));
    train_log_close(&log);
    assert_holds(HEAD FIRST SECOND);
}

static void cut_back_to_a_checkpoint(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct train_log log;
    assert_true(train_log_create(&log, path, &err) && train_log_begin(&log, &err));
    assert_true(train_log_write(&log, &first, &err));
    const int64_t size = log.size;
    assert_true(train_log_write(&log, &second, &err));
    train_log_close(&log);
    assert_true(train_log_resume(&log, path, size, &err));
    assert_holds(HEAD FIRST);
    assert_true(train_log_write(&log, &second, &err));
    train_log_close(&log);
    assert_holds(HEAD FIRST SECOND);
    assert_true(train_log_create(&log, path, &err) && train_log_begin(&log, &err));
    train_log_close(&log);
    assert_holds(HEAD);
}

static void shorter_than_the_checkpoint_says(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct train_log log;
    assert_true(train_log_create(&log, path, &err) && train_log_begin(&log, &err));
    train_log_close(&log);
    assert_false(train_log_resume(&log, path, 1000, &err));
    assert_non_null(strstr(err.text, "has 69 bytes, the checkpoint was written after 1000 of them"));
    err = (struct llm_error){0};
    unlink(path);
    assert_false(train_log_resume(&log, path, 10, &err));
    assert_int_equal(err.code, LLM_ERROR_NOT_FOUND);
}

static void one_run_at_a_time(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct train_log log, other;
    assert_true(train_log_create(&log, path, &err) && train_log_begin(&log, &err));
    assert_true(train_log_write(&log, &first, &err));
    assert_false(train_log_create(&other, path, &err));
    assert_non_null(strstr(err.text, "another run is writing here"));
    assert_holds(HEAD FIRST); // which it has not touched
    train_log_close(&log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_back_to_a_checkpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(shorter_than_the_checkpoint_says, setup, teardown),
        cmocka_unit_test_setup_teardown(one_run_at_a_time, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
