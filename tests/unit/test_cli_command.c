// test_cli_command.c: what all commands share, each case in a process of its own: sentences and exit
// codes, Ctrl-C, the SIGBUS of a mapping whose file shrank, inputs read whole, progress at a pipe and
// at a terminal.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/sigbus.h"

// How a child ended and what it said on stderr.
struct outcome {
    int code; // exit code, or minus the signal
    char said[4096];
};

static void outcome_collect(struct outcome *outcome, pid_t child, int fd) {
    size_t n = 0;
    for (;;) {
        const ssize_t got = read(fd, outcome->said + n, sizeof outcome->said - 1 - n);
        if (got <= 0) break; // the end; of a terminal it is an error
        n += (size_t)got;
    }
    outcome->said[n] = '\0';
    close(fd);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    outcome->code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// Runs `body` in a child, its stderr at a pipe.
static void run_child(struct outcome *outcome, int (*body)(const char *path), const char *path) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        _exit(body(path));
    }
    close(ends[1]);
    outcome_collect(outcome, child, ends[0]);
}

// The same, with stderr (and stdin, stdout) at a terminal of 100 columns.
static void run_child_at_terminal(struct outcome *outcome, int (*body)(const char *path)) {
    const struct winsize window = {.ws_row = 24, .ws_col = 100};
    int fd = -1;
    fflush(NULL);
    const pid_t child = forkpty(&fd, NULL, NULL, &window);
    assert_true(child >= 0);
    if (child == 0) _exit(body(NULL));
    outcome_collect(outcome, child, fd);
}

static void temporary_file(char path[64], size_t size) {
    strcpy(path, "/tmp/my-llm-test-XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

// ---- SIGBUS ---------------------------------------------------------------------------------

static int touch_a_shrunken_file(const char *path) {
    sigbus_catch();
    struct file_map map;
    if (!file_map_open(&map, path, NULL) || truncate(path, 10) != 0) return 99;
    const volatile uint8_t *bytes = map.bytes;
    return bytes[map.size - 1] == 0 ? 98 : 97; // not reached
}

static void a_shrunken_file_is_named(void **state) {
    (void)state;
    char path[64];
    temporary_file(path, 1 << 20);
    struct outcome outcome;
    run_child(&outcome, touch_a_shrunken_file, path);
    unlink(path);
    char expected[256];
    snprintf(expected, sizeof expected,
             "\nmy-llm: %s: became shorter, or could not be read, while it was in use; "
             "it must stay as it is while my-llm runs\n",
             path);
    assert_string_equal(outcome.said, expected);
    assert_int_equal(outcome.code, 1);
}

static int be_sent_sigbus(const char *path) {
    (void)path;
    sigbus_catch();
    kill(getpid(), SIGBUS);
    return 99;
}

static void another_sigbus_stays_one(void **state) {
    (void)state;
    struct outcome outcome;
    run_child(&outcome, be_sent_sigbus, NULL);
    assert_int_equal(outcome.code, -SIGBUS);
    assert_string_equal(outcome.said, "");
}

// ---- Ctrl-C ---------------------------------------------------------------------------------

static int interrupt_twice(const char *path) {
    (void)path;
    command_catch_interrupt();
    if (command_interrupted()) return 99;
    raise(SIGINT);
    if (!command_interrupted()) return 98;
    command_clear_interrupt();
    if (command_interrupted()) return 97;
    raise(SIGINT);
    if (!command_interrupted()) return 96;
    raise(SIGINT);
    return 95; // not reached
}

static void a_second_interrupt_ends_the_program(void **state) {
    (void)state;
    struct outcome outcome;
    run_child(&outcome, interrupt_twice, NULL);
    assert_int_equal(outcome.code, 130);
}

// As timeout(1) does it; a Ctrl-C after it quits.
static int terminate_twice(const char *path) {
    command_catch_interrupt();
    raise(SIGTERM);
    raise(SIGTERM);
    if (!command_interrupted() || !command_terminated()) return 99;
    command_clear_interrupt();
    if (!command_interrupted() || command_interrupt_code() != 143) return 98;
    if (path != NULL) raise(SIGINT);
    return 97;
}

static void being_terminated_is_not_forgotten(void **state) {
    (void)state;
    struct outcome outcome;
    run_child(&outcome, terminate_twice, NULL);
    assert_int_equal(outcome.code, 97);
    run_child(&outcome, terminate_twice, "with Ctrl-C");
    assert_int_equal(outcome.code, 130);
}

static int cancel_by_termination(const char *path) {
    (void)path;
    const struct llm_callbacks callbacks = command_callbacks();
    const struct llm_progress progress = {"thing", "bytes", 10, 100};
    raise(SIGTERM);
    if (callbacks.progress(callbacks.user, &progress)) return 98;
    const struct llm_error err = {LLM_ERROR_CANCELLED, "cancelled"};
    return command_failed(&err);
}

static void being_terminated_cancels_long_work(void **state) {
    (void)state;
    struct outcome outcome;
    run_child(&outcome, cancel_by_termination, NULL);
    assert_string_equal(outcome.said, "thing: 10 bytes of 100 bytes\nmy-llm: terminated\n");
    assert_int_equal(outcome.code, 143);
}

static int cancel_by_interrupt(const char *path) {
    (void)path;
    const struct llm_callbacks callbacks = command_callbacks();
    const struct llm_progress progress = {"thing", "bytes", 10, 100};
    if (!callbacks.progress(callbacks.user, &progress)) return 99;
    raise(SIGINT);
    if (callbacks.progress(callbacks.user, &progress)) return 98;
    const struct llm_error err = {LLM_ERROR_CANCELLED, "cancelled"};
    return command_failed(&err);
}

static void an_interrupt_cancels_long_work(void **state) {
    (void)state;
    struct outcome outcome;
    run_child(&outcome, cancel_by_interrupt, NULL);
    assert_string_equal(outcome.said, "thing: 10 bytes of 100 bytes\nmy-llm: interrupted\n");
    assert_int_equal(outcome.code, 130);
}

static int fail_plainly(const char *path) {
    (void)path;
    const struct llm_error err = {LLM_ERROR_FORMAT, "a.safetensors: is empty"};
    return command_failed(&err);
}

static void a_failure_is_one_sentence(void **state) {
    (void)state;
    struct outcome outcome;
    run_child(&outcome, fail_plainly, NULL);
    assert_string_equal(outcome.said, "my-llm: a.safetensors: is empty\n");
    assert_int_equal(outcome.code, 1);
}

// ---- Progress -------------------------------------------------------------------------------

static int show_two_things(const char *path) {
    (void)path;
    for (int i = 0; i <= 4; i++) {
        progress_show(NULL, &(struct llm_progress){"one", "bytes", i * 250000, 1000000});
    }
    progress_notice(NULL, "and now the other");
    progress_show(NULL, &(struct llm_progress){"two", "tokens", 5, -1});
    progress_show(NULL, &(struct llm_progress){"two", "tokens", 6, -1});
    const struct llm_error err = {LLM_ERROR_NETWORK, "the line was cut"};
    return command_failed(&err);
}

static void progress_at_a_pipe_is_lines(void **state) {
    (void)state;
    struct outcome outcome;
    run_child(&outcome, show_two_things, NULL);
    assert_string_equal(outcome.said, "one: 0 bytes of 1.0 MB\none: done, 1.0 MB in 0:00\nmy-llm: and now the other\n"
                                      "two: 5 tokens\nmy-llm: the line was cut\n");
}

static void progress_at_a_terminal_is_a_bar(void **state) {
    (void)state;
    struct outcome outcome;
    run_child_at_terminal(&outcome, show_two_things);
    assert_int_equal(outcome.code, 1);
    const char *first = strstr(outcome.said, "\rone [..............................]   0%  0 bytes of 1.0 MB");
    assert_non_null(first);
    const char *whole = strstr(first, "\rone [##############################] 100%  1.0 MB of 1.0 MB");
    assert_non_null(whole);
    const char *notice = strstr(whole, "\033[K\r\nmy-llm: and now the other\r\n"); // the finished bar stays
    assert_non_null(notice);
    const char *second = strstr(notice, "\rtwo  5 tokens\033[K");
    assert_non_null(second);
    assert_string_equal(strrchr(second, 'K') + 1, "my-llm: the line was cut\r\n"); // the unfinished one goes
}

// ---- Inputs ---------------------------------------------------------------------------------

static void inputs_are_read_whole(void **state) {
    (void)state;
    char path[64];
    temporary_file(path, 0);
    char *text = malloc(300000);
    for (int i = 0; i < 300000; i++) text[i] = (char)(i * 7);
    assert_true(file_write(path, text, 300000, NULL));
    char *bytes = NULL;
    size_t size = 0;
    struct llm_error err = {0};
    assert_true(command_read_input(path, &bytes, &size, &err));
    assert_int_equal(size, 300000);
    assert_memory_equal(bytes, text, size);
    assert_int_equal(bytes[size], 0);
    free(bytes);
    free(text);
    assert_int_equal(truncate(path, 0), 0);
    assert_true(command_read_input(path, &bytes, &size, &err));
    assert_int_equal(size, 0);
    assert_int_equal(bytes[0], 0);
    free(bytes);
    unlink(path);
}

static void inputs_that_cannot_be_read(void **state) {
    (void)state;
    char *bytes = NULL;
    size_t size = 0;
    struct llm_error err = {0};
    assert_false(command_read_input("/nonexistent/file", &bytes, &size, &err));
    assert_string_equal(err.text, "/nonexistent/file: cannot open this file: No such file or directory");
    assert_int_equal(err.code, LLM_ERROR_NOT_FOUND);
    err = (struct llm_error){0};
    assert_false(command_read_input("/tmp", &bytes, &size, &err));
    assert_string_equal(err.text, "/tmp: cannot read: Is a directory");
    assert_null(bytes);
}

static int read_standard_input(const char *path) {
    char *bytes = NULL;
    size_t size = 0;
    struct llm_error err = {0};
    const int fd = open(path, O_RDONLY);
    dup2(fd, STDIN_FILENO);
    const bool ok = command_read_input("-", &bytes, &size, &err) && size == 5 && memcmp(bytes, "hello", 5) == 0;
    free(bytes);
    return ok ? 0 : 99;
}

static void a_dash_is_standard_input(void **state) {
    (void)state;
    char path[64];
    temporary_file(path, 0);
    assert_true(file_write(path, "hello", 5, NULL));
    struct outcome outcome;
    run_child(&outcome, read_standard_input, path);
    assert_int_equal(outcome.code, 0);
    unlink(path);
}

static int interrupt_while_reading(const char *path) {
    (void)path;
    int ends[2];
    if (pipe(ends) != 0) return 99;
    dup2(ends[0], STDIN_FILENO); // nothing will ever come
    command_catch_interrupt();
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child == 0) {
        usleep(100000);
        kill(parent, SIGINT);
        _exit(0);
    }
    char *bytes = NULL;
    size_t size = 0;
    struct llm_error err = {0};
    if (command_read_input("-", &bytes, &size, &err)) return 98;
    return command_failed(&err);
}

static void reading_can_be_interrupted(void **state) {
    (void)state;
    struct outcome outcome;
    run_child(&outcome, interrupt_while_reading, NULL);
    assert_string_equal(outcome.said, "my-llm: interrupted\n");
    assert_int_equal(outcome.code, 130);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shrunken_file_is_named),
        cmocka_unit_test(another_sigbus_stays_one),
        cmocka_unit_test(a_second_interrupt_ends_the_program),
        cmocka_unit_test(being_terminated_is_not_forgotten),
        cmocka_unit_test(being_terminated_cancels_long_work),
        cmocka_unit_test(an_interrupt_cancels_long_work),
        cmocka_unit_test(a_failure_is_one_sentence),
        cmocka_unit_test(progress_at_a_pipe_is_lines),
        cmocka_unit_test(progress_at_a_terminal_is_a_bar),
        cmocka_unit_test(inputs_are_read_whole),
        cmocka_unit_test(inputs_that_cannot_be_read),
        cmocka_unit_test(a_dash_is_standard_input),
        cmocka_unit_test(reading_can_be_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
