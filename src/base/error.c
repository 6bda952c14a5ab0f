// error.c: see error.h. Nothing here allocates: reporting an error cannot fail. Sentences quote files from strangers,
// so what would move a terminal's cursor or change its colours does not get into them.
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static bool error_is_open(const struct llm_error *err) {
    return err != NULL && err->code == LLM_OK;
}

bool error_set(struct llm_error *err, enum llm_error_code code, const char *format, ...) {
    if (!error_is_open(err)) return false;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    str_clean(err->text);
    err->code = code;
    return false;
}

bool error_errno(struct llm_error *err, const char *format, ...) {
    const int number = errno;
    if (!error_is_open(err)) return false;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    str_clean(err->text);
    const size_t used = strlen(err->text);
    char reason[128];
    const char *text = strerror_r(number, reason, sizeof reason); // the GNU form: returns the text
    snprintf(err->text + used, sizeof err->text - used, ": %s", text);
    err->code = number == ENOENT ? LLM_ERROR_NOT_FOUND : number == ENOMEM ? LLM_ERROR_MEMORY : LLM_ERROR_IO;
    return false;
}

bool error_memory(struct llm_error *err, const char *what) {
    return error_set(err, LLM_ERROR_MEMORY, "out of memory (%s)", what);
}

void error_prefix(struct llm_error *err, const char *format, ...) {
    if (err == NULL || err->code == LLM_OK) return;
    char prefix[4096 + 256]; // the longest path there is, and some
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    str_clean(prefix);

    const size_t room = sizeof err->text - 3; // ": " and the final NUL
    const size_t prefix_size = strlen(prefix);
    // What does not fit is cut: first the front of the prefix, but its last 256 bytes tell which file it
    // is, so then the end of the sentence.
    const size_t needed = prefix_size < 256 ? prefix_size : 256;
    size_t text_size = strlen(err->text);
    if (text_size > room - needed) text_size = room - needed;
    const size_t kept = prefix_size < room - text_size ? prefix_size : room - text_size;
    memmove(err->text + kept + 2, err->text, text_size);
    err->text[kept + 2 + text_size] = '\0';
    memcpy(err->text, prefix + prefix_size - kept, kept);
    memcpy(err->text + kept, ": ", 2);
}
