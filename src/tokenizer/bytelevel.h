// bytelevel.h: how vocabulary files spell bytes.
//
// encoder.json, vocab.json, merges and tokenizer.json hold text, but tokens are bytes. GPT-2 spells each byte as one
// printable character: the 188 bytes that are printable in Latin-1 (0x21-0x7e, 0xa1-0xac, 0xae-0xff) as themselves, the
// other 68 in order as U+0100 and up. A space is U+0120, a newline U+010A.
#ifndef TOKENIZER_BYTELEVEL_H
#define TOKENIZER_BYTELEVEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

// The character (a code point up to 0x143) that stands for a byte.
int32_t bytelevel_char(uint8_t byte);
// The byte that a character stands for, or -1.
int bytelevel_byte(int32_t code);
// The byte whose token is `id` in GPT-2's vocabulary, where ids 0-255 follow the characters above: first the printable
// bytes.
uint8_t bytelevel_gpt2_byte(int id);

// Appends the spelling of `bytes`.
void bytelevel_spell(struct strbuf *spelling, const char *bytes, size_t size);
// Writes the bytes that a spelling [size] stands for (never more than its own size) and their number; false if one of
// its characters stands for no byte.
bool bytelevel_read(const char *spelling, size_t size, char *bytes, size_t *n_bytes);

#endif
