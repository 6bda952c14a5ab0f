// line_editor.h: one line from a person at a terminal, with editing and history (libedit).
//
// Keys are libedit's, ~/.editrc may change them. What is typed and its prompt are conversation: they go to
// stderr when that is a terminal, so that stdout may be a file.
#ifndef CLI_LINE_EDITOR_H
#define CLI_LINE_EDITOR_H

#include "base/error.h"

struct line_editor;

enum line_outcome {
    LINE_TEXT,
    LINE_END,        // Ctrl-D, or the terminal is gone
    LINE_INTERRUPTED // Ctrl-C or SIGTERM; what was typed is forgotten
};

// `prompt` is copied; it has 79 bytes at most.
struct line_editor *line_editor_open(const char *prompt, struct llm_error *err);
void line_editor_close(struct line_editor *editor);

// Reads a line. *line is borrowed until the next call and has no newline; it is not empty-checked, and
// enters the history unless it is empty.
enum line_outcome line_editor_read(struct line_editor *editor, const char **line);

#endif
