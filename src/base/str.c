// str.c: see str.h.
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

void strbuf_init(struct strbuf *buf, size_t max) {
    *buf = (struct strbuf){.max = max};
}

void strbuf_release(struct strbuf *buf) {
    free(buf->bytes);
    strbuf_init(buf, buf->max);
}

bool strbuf_reserve(struct strbuf *buf, size_t extra) {
    if (buf->failed) return false;
    if (extra > buf->max - buf->size) {
        buf->failed = true;
        return false;
    }
    const size_t needed = buf->size + extra + 1;
    if (needed <= buf->capacity) return true;
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity * 2;
    if (capacity < needed) capacity = needed;
    char *bytes = realloc(buf->bytes, capacity);
    if (bytes == NULL) {
        buf->failed = true;
        return false;
    }
    buf->bytes = bytes;
    buf->capacity = capacity;
    return true;
}

void strbuf_append(struct strbuf *buf, const void *bytes, size_t size) {
    if (!strbuf_reserve(buf, size)) return;
    if (size > 0) memcpy(buf->bytes + buf->size, bytes, size);
    buf->size += size;
    buf->bytes[buf->size] = '\0';
}

void strbuf_puts(struct strbuf *buf, const char *text) {
    strbuf_append(buf, text, strlen(text));
}

void strbuf_printf(struct strbuf *buf, const char *format, ...) {
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    const int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0) {
        buf->failed = true;
    } else if (strbuf_reserve(buf, (size_t)size)) {
        vsnprintf(buf->bytes + buf->size, (size_t)size + 1, format, again);
        buf->size += (size_t)size;
    }
    va_end(again);
}

void strbuf_clear(struct strbuf *buf) {
    buf->size = 0;
    buf->failed = false;
    if (buf->bytes != NULL) buf->bytes[0] = '\0';
}

bool strbuf_ok(const struct strbuf *buf) {
    return !buf->failed;
}

char *strbuf_take(struct strbuf *buf) {
    strbuf_append(buf, "", 0); // an empty string still has its NUL
    char *bytes = NULL;
    if (!buf->failed) {
        bytes = buf->bytes;
        buf->bytes = NULL;
    }
    strbuf_release(buf);
    return bytes;
}

// Copies the character at `text` to `out`, or '?' if it cannot be shown. Advances *used by what was
// written and returns the length of what was read.
static size_t copy_clean(const char *text, size_t size, char *out, size_t *used) {
    int32_t code = 0;
    const size_t length = utf8_decode(text, size, &code);
    if (code >= 0x20 && (code < 0x7f || code > 0x9f)) {
        memmove(out + *used, text, length); // str_clean() works in place
        *used += length;
    } else {
        out[(*used)++] = '?';
    }
    return length;
}

void str_clean(char *text) {
    const size_t size = strlen(text);
    size_t used = 0;
    for (size_t at = 0; at < size;) at += copy_clean(text + at, size - at, text, &used);
    text[used] = '\0';
}

char *str_quote(const char *text, char out[STR_QUOTE_SIZE]) {
    // A character has at most 4 bytes; behind them come at most "...", the quote and the NUL.
    const size_t room = STR_QUOTE_SIZE - 5 - 4;
    // No more than what fits is looked at: names can be megabytes long.
    const size_t size = strnlen(text, STR_QUOTE_SIZE + 4);
    size_t used = 0;
    out[used++] = '\'';
    size_t at = 0;
    while (at < size && used <= room) at += copy_clean(text + at, size - at, out, &used);
    memcpy(out + used, at < size ? "...'" : "'", at < size ? 5 : 2);
    return out;
}
