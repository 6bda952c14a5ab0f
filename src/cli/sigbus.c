// sigbus.c: see sigbus.h.
//
// Weights are used where they lie in the mapped file. When somebody cuts that file short meanwhile,
// the kernel can only send SIGBUS. Which file it was is found in /proc/self/maps, with nothing but
// system calls, since that is all a signal handler may do. It lives in the program: a library has no
// business with its host's signals.
#include "cli/sigbus.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE_MAX_LENGTH = 4096 + 128 // PATH_MAX and the numbers before the path
};

// Reads one line without its newline; a longer one is cut. false at the end.
static bool read_line(int fd, char *line) {
    size_t n = 0;
    char c;
    while (read(fd, &c, 1) == 1) {
        if (c == '\n') {
            line[n] = '\0';
            return true;
        }
        if (n < LINE_MAX_LENGTH - 1) line[n++] = c;
    }
    return false;
}

static uintptr_t parse_hex(const char **at) {
    uintptr_t value = 0;
    for (;; (*at)++) {
        const char c = **at;
        if (c >= '0' && c <= '9') {
            value = value * 16 + (uintptr_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = value * 16 + (uintptr_t)(c - 'a' + 10);
        } else {
            return value;
        }
    }
}

// Finds the path of the mapping that holds `address`: NULL when there is none. The path lies in `line`.
static const char *mapped_path(uintptr_t address, char *line) {
    const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    const char *path = NULL;
    while (path == NULL && read_line(fd, line)) { // "7f00-7f80 r--s 00000000 fe:01 123   /path"
        const char *at = line;
        const uintptr_t begin = parse_hex(&at);
        if (*at++ != '-') break;
        const uintptr_t end = parse_hex(&at);
        if (address < begin || address >= end) continue;
        path = strchr(at, '/');
        if (path == NULL) break;
    }
    close(fd);
    return path;
}

static void say(const char *text) {
    // Nothing can be done about a failure to say it.
    if (write(STDERR_FILENO, text, strlen(text)) < 0) return;
}

static void on_sigbus(int number, siginfo_t *info, void *context) {
    (void)context;
    if (info->si_code != BUS_ADRERR) { // a fault of ours, or somebody's kill -BUS: end as one ends of it
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    char line[LINE_MAX_LENGTH];
    const char *path = mapped_path((uintptr_t)info->si_addr, line);
    say("\nmy-llm: ");
    say(path != NULL ? path : "a mapped file");
    say(": became shorter, or could not be read, while it was in use; it must stay as it is while my-llm runs\n");
    _exit(1);
}

void sigbus_catch(void) {
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
