// str.h: a growing string that cannot be made without a maximum.
//
// Errors are sticky: after the first failure every call does nothing, and strbuf_ok() tells. So a
// caller appends freely and checks once. `bytes` is always NUL-terminated (once anything was appended
// or strbuf_init was called); it may hold NULs inside.
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

struct strbuf {
    char *bytes;     // [size + 1]
    size_t size;     // bytes in use, the final NUL not counted
    size_t capacity; // bytes allocated
    size_t max;      // `size` may not grow past this
    bool failed;     // out of memory, or max was reached
};

void strbuf_init(struct strbuf *buf, size_t max);
void strbuf_release(struct strbuf *buf);
// Makes room for `extra` more bytes (and the NUL), so that appending them allocates nothing.
bool strbuf_reserve(struct strbuf *buf, size_t extra);
void strbuf_append(struct strbuf *buf, const void *bytes, size_t size);
void strbuf_puts(struct strbuf *buf, const char *text);
void strbuf_printf(struct strbuf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Empties the string, keeps the memory, clears the failure.
void strbuf_clear(struct strbuf *buf);
bool strbuf_ok(const struct strbuf *buf);
// Hands the bytes to the caller (free) and leaves the buffer empty. NULL after a failure.
char *strbuf_take(struct strbuf *buf);

// Makes a stranger's text fit for a sentence, in place: control characters, which could drive a
// terminal, and invalid UTF-8 become '?'.
void str_clean(char *text);

enum {
    STR_QUOTE_SIZE = 96
};

// A stranger's name for a sentence: cleaned, in single quotes, a long one cut with "...". Returns out.
char *str_quote(const char *text, char out[STR_QUOTE_SIZE]);

#endif
