// cursor.h: a bounded cursor over bytes from a stranger.
//
// Every read compares the length with what remains before it touches anything. The first failure is
// kept, later reads return zeros, so a parser may read a whole record and ask cursor_ok() once.
// Numbers are little-endian, the only order any of our formats uses.
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include "base/error.h"

struct cursor {
    const uint8_t *bytes; // [size]
    size_t size;
    size_t offset;         // of the next byte to be read; offset <= size
    struct llm_error *err; // receives "at byte N: <what> ..." on the first failure; may be NULL
    bool failed;
};

void cursor_init(struct cursor *cursor, const void *bytes, size_t size, struct llm_error *err);
bool cursor_ok(const struct cursor *cursor);
size_t cursor_left(const struct cursor *cursor);

// `what` names the thing being read, for the error sentence: "block size".
uint8_t cursor_u8(struct cursor *cursor, const char *what);
uint16_t cursor_u16(struct cursor *cursor, const char *what);
uint32_t cursor_u32(struct cursor *cursor, const char *what);
uint64_t cursor_u64(struct cursor *cursor, const char *what);
// Protocol-buffer / LevelDB varint: at most 10 bytes (5 for 32 bits), no overflow.
uint64_t cursor_varint64(struct cursor *cursor, const char *what);
uint32_t cursor_varint32(struct cursor *cursor, const char *what);
// Borrowed pointer to the next `size` bytes, or NULL on failure.
const uint8_t *cursor_take(struct cursor *cursor, uint64_t size, const char *what);
// Fails with a sentence of one's own: "at byte N: <formatted>". Always returns false.
bool cursor_fail(struct cursor *cursor, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
