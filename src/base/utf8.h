// utf8.h: UTF-8 as bytes come, valid or not (Unicode 15, table 3-7: no overlong forms, no surrogates).
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Decodes the character at `text` [size > 0]. Returns its length (1-4) and sets *code; for a byte that
// begins no valid character returns 1 and sets *code to -1.
size_t utf8_decode(const char *text, size_t size, int32_t *code);

// Writes a code point (0 .. 0x10ffff) as 1-4 bytes; returns their number.
size_t utf8_encode(int32_t code, char out[4]);

bool utf8_valid(const char *text, size_t size);

// How many bytes at the front can be shown now: all but a valid beginning of one unfinished character
// at the very end. Invalid bytes count as showable.
size_t utf8_complete(const char *text, size_t size);

#endif
