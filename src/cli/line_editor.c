// line_editor.c: see line_editor.h.
//
// libedit's own reader goes on after the first signal, so characters are read here: a Ctrl-C ends the
// line. libedit's handler (EL_SIGNAL) puts the terminal back in order before the program's own one runs.
#include "cli/line_editor.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "cli/command.h"

struct line_editor {
    EditLine *edit;
    History *history;
    char prompt[80];
    char *line;       // the last one, allocated
    sigset_t waiting; // the signals blocked while waiting for a key
};

enum {
    HISTORY_SIZE = 1000 // lines
};

static char *show_prompt(EditLine *edit) {
    struct line_editor *editor = NULL;
    el_get(edit, EL_CLIENTDATA, (void **)&editor);
    return editor->prompt;
}

// Waits until there is something to read. Ctrl-C and SIGTERM are blocked but for this wait (line_editor_read), so
// that none is lost between looking for one and waiting. false: one came, or the terminal is gone.
static bool wait_for_input(const struct line_editor *editor) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!command_interrupted()) {
        if (ppoll(&input, 1, NULL, &editor->waiting) >= 0) return true;
        if (errno != EINTR) return false; // EINTR: Ctrl-C, SIGTERM, the window's size, or back from Ctrl-Z
    }
    return false;
}

// One character from the terminal: 1, 0 at the end, -1 when interrupted. Bytes that are no UTF-8 are dropped.
static int read_character(EditLine *edit, wchar_t *character) {
    struct line_editor *editor = NULL;
    el_get(edit, EL_CLIENTDATA, (void **)&editor);
    mbstate_t state = {0};
    for (;;) {
        if (!wait_for_input(editor)) return -1;
        char byte;
        const ssize_t n = read(STDIN_FILENO, &byte, 1);
        // A Ctrl-D typed ahead, before the terminal was read key by key, arrives as NUL.
        if (n == 0 || (n == 1 && byte == '\0')) return 0;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        const size_t length = mbrtowc(character, &byte, 1, &state);
        if (length == (size_t)-1) state = (mbstate_t){0};
        if (length <= 1) return 1;
    }
}

struct line_editor *line_editor_open(const char *prompt, struct llm_error *err) {
    // In the C locale libedit drops whatever is not ASCII. Text here is UTF-8 in any case.
    if (MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
    struct line_editor *editor = calloc(1, sizeof *editor);
    if (editor == NULL) {
        error_memory(err, "line editor");
        return NULL;
    }
    snprintf(editor->prompt, sizeof editor->prompt, "%s", prompt);
    editor->edit = el_init("my-llm", stdin, isatty(STDERR_FILENO) ? stderr : stdout, stderr);
    editor->history = history_init();
    if (editor->edit == NULL || editor->history == NULL) {
        error_set(err, LLM_ERROR_IO, "the terminal cannot be set up for typing a prompt");
        line_editor_close(editor);
        return NULL;
    }
    HistEvent event;
    history(editor->history, &event, H_SETSIZE, HISTORY_SIZE);
    history(editor->history, &event, H_SETUNIQUE, 1);
    el_set(editor->edit, EL_CLIENTDATA, editor);
    el_set(editor->edit, EL_PROMPT, show_prompt);
    el_set(editor->edit, EL_EDITOR, "emacs");
    el_set(editor->edit, EL_SIGNAL, 1);
    el_set(editor->edit, EL_HIST, history, editor->history);
    el_set(editor->edit, EL_GETCFN, read_character);
    el_source(editor->edit, NULL);
    return editor;
}

void line_editor_close(struct line_editor *editor) {
    if (editor == NULL) return;
    if (editor->history != NULL) history_end(editor->history);
    if (editor->edit != NULL) el_end(editor->edit);
    free(editor->line);
    free(editor);
}

enum line_outcome line_editor_read(struct line_editor *editor, const char **line) {
    int size = 0;
    el_resize(editor->edit);
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigaddset(&interrupt, SIGTERM);
    sigprocmask(SIG_BLOCK, &interrupt, &editor->waiting);
    const char *typed = el_gets(editor->edit, &size);
    sigprocmask(SIG_SETMASK, &editor->waiting, NULL);
    if (command_interrupted()) return LINE_INTERRUPTED;
    if (typed == NULL || size <= 0) return LINE_END;
    free(editor->line);
    editor->line = strdup(typed);
    if (editor->line == NULL) return LINE_END;
    editor->line[strcspn(editor->line, "\n")] = '\0';
    HistEvent event;
    if (editor->line[0] != '\0') history(editor->history, &event, H_ENTER, editor->line);
    *line = editor->line;
    return LINE_TEXT;
}
