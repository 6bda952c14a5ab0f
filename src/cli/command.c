// command.c: what all commands share: sentences on stderr, Ctrl-C and SIGTERM, the state of stdout, reading an input
// whole.
//
// The flags that a signal handler sets and why stdout failed are the program's only state outside its functions,
// together with the progress line (progress.c), of which a terminal has one as well.
#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/str.h"
#include "cli/progress.h"

enum {
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_BY_SIGNAL = 128, // and the signal's number, as shells report it
};

int command_failed(const struct llm_error *err) {
    progress_clear();
    if (err->code == LLM_ERROR_CANCELLED && command_interrupted()) {
        fputs(command_terminated() ? "my-llm: terminated\n" : "my-llm: interrupted\n", stderr);
        return command_interrupt_code();
    }
    fprintf(stderr, "my-llm: %s\n", err->text);
    return EXIT_FAILED;
}

int command_usage(const struct command *command, const char *format, ...) {
    progress_clear();
    fprintf(stderr, "my-llm %s: ", command->name);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n'my-llm help %s' tells more.\n", command->name);
    return EXIT_USAGE;
}

struct llm_callbacks command_callbacks(void) {
    command_catch_interrupt();
    return (struct llm_callbacks){.progress = progress_show, .notice = progress_notice};
}

// ---- Ctrl-C, SIGTERM --------------------------------------------------------------------------

static volatile sig_atomic_t interrupted, terminated;

static void on_interrupt(int number) {
    (void)number;
    if (interrupted || terminated) _exit(EXIT_BY_SIGNAL + SIGINT);
    interrupted = 1;
}

// However often it comes: timeout(1) sends it twice at once, to the process and to its group.
static void on_terminate(int number) {
    (void)number;
    terminated = 1;
}

void command_catch_interrupt(void) {
    // Without SA_RESTART: a read that waits for input returns, so that it can see the flag.
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = on_terminate;
    sigaction(SIGTERM, &action, NULL);
}

bool command_interrupted(void) {
    return interrupted || terminated;
}

bool command_terminated(void) {
    return terminated;
}

int command_interrupt_code(void) {
    if (terminated) return EXIT_BY_SIGNAL + SIGTERM;
    return interrupted ? EXIT_BY_SIGNAL + SIGINT : 0;
}

void command_clear_interrupt(void) {
    interrupted = 0;
}

// ---- Output ---------------------------------------------------------------------------------

// stdio remembers that a write failed but not why, and drops what it could not write: a later flush would succeed.
static int output_error;

void command_output_failed(void) {
    if (output_error == 0) output_error = errno;
}

int command_output_error(void) {
    return output_error;
}

bool command_flush(void) {
    if (fflush(stdout) != 0) command_output_failed();
    return !ferror(stdout);
}

// ---- Input ----------------------------------------------------------------------------------

// More text than this is more than a machine holds as ids; an endless pipe has to end somewhere.
static const size_t input_max = (size_t)16 << 30;

static bool goes_on(void *user, const struct llm_progress *progress) {
    (void)user;
    (void)progress;
    return !command_interrupted();
}

struct llm_text *command_open_text(int fd, const char *name, int n_threads, struct llm_error *err) {
    return llm_text_open(fd, name, n_threads, &(struct llm_callbacks){.progress = goes_on}, err);
}

static bool read_text(int fd, const char *name, struct strbuf *buf, struct llm_error *err) {
    char block[1 << 16];
    struct llm_text *text = command_open_text(fd, name, 0, err);
    bool ok = text != NULL;
    for (size_t n = sizeof block; ok && n == sizeof block;) {
        ok = llm_text_read(text, block, sizeof block, &n, err);
        if (!ok) break;
        strbuf_append(buf, block, n);
        if (strbuf_ok(buf)) continue;
        ok = buf->size + n <= input_max
                 ? error_memory(err, name)
                 : error_set(err, LLM_ERROR_IO, "%s: is larger than %zu GiB", name, input_max >> 30);
    }
    llm_text_close(text);
    return ok;
}

const char *const quantize_choices[] = {"none", "bf16", "q8", "q4", NULL};
const char *const compute_choices[] = {"f32", "bf16", NULL};

bool command_read_input(const char *path, char **bytes, size_t *size, struct llm_error *err) {
    // Pipes are welcome here, as in `my-llm eval <(head -c 1M book.txt)`, so this is not file_read().
    const bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    const int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return error_errno(err, "%s: cannot open this file", path);
    struct strbuf buf;
    strbuf_init(&buf, input_max);
    bool ok = read_text(fd, name, &buf, err);
    if (!standard) close(fd);
    if (ok) {
        *size = buf.size;
        *bytes = strbuf_take(&buf);
        if (*bytes == NULL) ok = error_memory(err, name);
    }
    strbuf_release(&buf);
    return ok;
}
