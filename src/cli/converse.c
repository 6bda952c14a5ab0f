// converse.c: see converse.h.
#include "cli/converse.h"

#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/line_editor.h"

// Is the line `quit`, with white space around it or not?
static bool is_quit(const char *line) {
    static const char *const white = " \t\r";
    line += strspn(line, white);
    return strncmp(line, "quit", 4) == 0 && line[4 + strspn(line + 4, white)] == '\0';
}

// An answer to a line, or why there is none.
static bool answer_line(const char *line, converse_fn *answer, void *user) {
    struct llm_error err = {0};
    if (!answer(user, line, &err) && err.code != LLM_ERROR_CANCELLED) command_failed(&err);
    return command_interrupted();
}

int converse(const char *prompt, converse_fn *answer, void *user, const bool *over) {
    struct llm_error err = {0};
    struct line_editor *editor = line_editor_open(prompt, &err);
    if (editor == NULL) return command_failed(&err);
    bool interrupted = command_interrupted(); // the text before
    int code = -1;
    while (code < 0) {
        const char *line = NULL;
        command_clear_interrupt();
        const enum line_outcome outcome = line_editor_read(editor, &line);
        if (outcome == LINE_END) {
            fputc('\n', stderr);
            code = 0;
        } else if (outcome == LINE_INTERRUPTED && command_terminated()) {
            fputc('\n', stderr);
            code = command_interrupt_code();
        } else if (outcome == LINE_INTERRUPTED) {
            fputs(interrupted ? "\n" : "\n(Ctrl-C once more, Ctrl-D or 'quit' ends the program)\n", stderr);
            if (interrupted) code = command_interrupt_code();
            interrupted = true;
        } else if (is_quit(line)) {
            code = 0;
        } else {
            interrupted = line[0] != '\0' && answer_line(line, answer, user);
            if (*over) code = 1; // main() says why
        }
    }
    line_editor_close(editor);
    return code;
}
