// gnuplot.c: running gnuplot, as a process of its own and without a shell.
//
// Its own process group, so that a Ctrl-C meant for the training does not reach it; default settings, so that nobody's
// ~/.gnuplot changes the pictures; and a time limit, as nothing waits for ever on someone else's program.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <fcntl.h>

#include "base/str.h"
#include "plot/picture.h"

enum {
    LONGEST = 60 // seconds
};

static int64_t milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Starts gnuplot in `folder` with its complaints going to the descriptor `complaints`. Returns 0 or an errno.
static int start(pid_t *pid, const char *folder, char *script, int complaints) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed != 0) return failed;
    failed = posix_spawnattr_init(&attributes);
    if (failed != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return failed;
    }
    sigset_t none, defaulted;
    sigemptyset(&none);
    sigemptyset(&defaulted);
    sigaddset(&defaulted, SIGPIPE);
    sigaddset(&defaulted, SIGINT);
    sigaddset(&defaulted, SIGXFSZ);
    char program[] = "gnuplot", defaults[] = "--default-settings";
    char *const arguments[] = {program, defaults, script, NULL};
    if ((failed = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)) == 0 &&
        (failed = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)) == 0 &&
        (failed = posix_spawn_file_actions_adddup2(&actions, complaints, STDERR_FILENO)) == 0 &&
        (failed = posix_spawn_file_actions_addchdir_np(&actions, folder)) == 0 &&
        (failed = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                            POSIX_SPAWN_SETSIGDEF)) == 0 &&
        (failed = posix_spawnattr_setsigmask(&attributes, &none)) == 0 &&
        (failed = posix_spawnattr_setsigdefault(&attributes, &defaulted)) == 0) {
        failed = posix_spawnp(pid, program, &actions, &attributes, arguments, environ);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

// Reads the complaints until gnuplot closes them, keeping the first line of them that says something. False when it
// took too long.
static bool listen_to(int complaints, char *why, size_t size) {
    const int64_t end = milliseconds() + 1000 * LONGEST;
    size_t kept = 0;
    for (;;) {
        struct pollfd waiting = {.fd = complaints, .events = POLLIN};
        const int64_t left = end - milliseconds();
        const int ready = left <= 0 ? 0 : poll(&waiting, 1, (int)left);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return false;
        char text[512];
        const ssize_t n = read(complaints, text, sizeof text);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return true;
        for (ssize_t i = 0; i < n && kept + 1 < size; i++) why[kept++] = text[i];
        why[kept] = '\0';
    }
}

// gnuplot shows where in the line it stumbled, on lines of their own, and then says why on a line that has the file's
// name in front. Keeps that one, else the first.
static void keep_one_line(char *why) {
    char *line = strstr(why, " line ");
    while (line != NULL && line > why && line[-1] != '\n') line--;
    if (line == NULL) line = why;
    line[strcspn(line, "\n")] = '\0';
    memmove(why, line, strlen(line) + 1);
    str_clean(why);
}

bool gnuplot_run(const char *folder, const char *name, char *why, size_t size) {
    char script[256];
    snprintf(script, sizeof script, "%s.gp", name);
    int ends[2];
    why[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) != 0) {
        snprintf(why, size, "%s", strerror(errno));
        return false;
    }
    pid_t pid = -1;
    const int failed = start(&pid, folder, script, ends[1]);
    close(ends[1]);
    bool ok = failed == 0;
    if (!ok) {
        snprintf(why, size, "%s", failed == ENOENT ? "gnuplot is not installed" : strerror(failed));
    } else if (!listen_to(ends[0], why, size)) {
        kill(-pid, SIGKILL);
        snprintf(why, size, "gnuplot took more than %d seconds", LONGEST);
        ok = false;
    }
    int status = 0;
    while (failed == 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    close(ends[0]);
    if (ok && status != 0) {
        keep_one_line(why);
        if (why[0] == '\0') snprintf(why, size, "gnuplot ended with status %d", status);
        ok = false;
    }
    return ok;
}
