// cursor.c: see cursor.h.
#include "base/cursor.h"

#include <stdio.h>
#include <string.h>

void cursor_init(struct cursor *cursor, const void *bytes, size_t size, struct llm_error *err) {
    // No bytes may be said by NULL, but no offset may be added to that.
    *cursor = (struct cursor){.bytes = bytes == NULL ? (const uint8_t *)"" : bytes, .size = size, .err = err};
}

bool cursor_ok(const struct cursor *cursor) {
    return !cursor->failed;
}

size_t cursor_left(const struct cursor *cursor) {
    return cursor->size - cursor->offset;
}

bool cursor_fail(struct cursor *cursor, const char *format, ...) {
    if (cursor->failed) return false;
    cursor->failed = true;
    char reason[512];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    return error_set(cursor->err, LLM_ERROR_FORMAT, "at byte %zu: %s", cursor->offset, reason);
}

const uint8_t *cursor_take(struct cursor *cursor, uint64_t size, const char *what) {
    if (cursor->failed) return NULL;
    if (size > cursor_left(cursor)) {
        cursor_fail(cursor, "%s needs %llu bytes, %zu are left", what, (unsigned long long)size, cursor_left(cursor));
        return NULL;
    }
    const uint8_t *bytes = cursor->bytes + cursor->offset;
    cursor->offset += (size_t)size;
    return bytes;
}

static uint64_t cursor_little_endian(struct cursor *cursor, size_t size, const char *what) {
    const uint8_t *bytes = cursor_take(cursor, size, what);
    uint64_t value = 0;
    for (size_t i = 0; bytes != NULL && i < size; i++) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

uint8_t cursor_u8(struct cursor *cursor, const char *what) {
    return (uint8_t)cursor_little_endian(cursor, 1, what);
}

uint16_t cursor_u16(struct cursor *cursor, const char *what) {
    return (uint16_t)cursor_little_endian(cursor, 2, what);
}

uint32_t cursor_u32(struct cursor *cursor, const char *what) {
    return (uint32_t)cursor_little_endian(cursor, 4, what);
}

uint64_t cursor_u64(struct cursor *cursor, const char *what) {
    return cursor_little_endian(cursor, 8, what);
}

// Reads a varint of at most `n_bits` bits.
static uint64_t cursor_varint(struct cursor *cursor, int n_bits, const char *what) {
    uint64_t value = 0;
    for (int shift = 0; shift < n_bits; shift += 7) {
        const uint64_t byte = cursor_u8(cursor, what);
        if (cursor->failed) return 0;
        const int room = n_bits - shift;
        if (room < 7 && (byte & 0x7f) >> room != 0) break;
        value |= (byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) return value;
    }
    cursor_fail(cursor, "%s is a varint of more than %d bits", what, n_bits);
    return 0;
}

uint64_t cursor_varint64(struct cursor *cursor, const char *what) {
    return cursor_varint(cursor, 64, what);
}

uint32_t cursor_varint32(struct cursor *cursor, const char *what) {
    return (uint32_t)cursor_varint(cursor, 32, what);
}
