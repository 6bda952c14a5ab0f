// bytelevel.c: see bytelevel.h. The map is arithmetic: three runs of printable bytes, three runs of others.
#include "tokenizer/bytelevel.h"

#include "base/utf8.h"

int32_t bytelevel_char(uint8_t byte) {
    if (byte <= 0x20) return 0x100 + byte;
    if (byte < 0x7f) return byte;
    if (byte <= 0xa0) return 0x121 + (byte - 0x7f);
    return byte == 0xad ? 0x143 : byte;
}

int bytelevel_byte(int32_t code) {
    if (code < 0 || code > 0x143) return -1;
    if (code == 0x143) return 0xad;
    if (code >= 0x121) return code - 0x121 + 0x7f;
    if (code >= 0x100) return code - 0x100;
    return bytelevel_char((uint8_t)code) == code ? code : -1;
}

uint8_t bytelevel_gpt2_byte(int id) {
    if (id < 94) return (uint8_t)(0x21 + id);
    if (id < 106) return (uint8_t)(0xa1 + id - 94);
    if (id < 188) return (uint8_t)(0xae + id - 106);
    return (uint8_t)bytelevel_byte(0x100 + id - 188);
}

void bytelevel_spell(struct strbuf *spelling, const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        char utf8[4];
        strbuf_append(spelling, utf8, utf8_encode(bytelevel_char((uint8_t)bytes[i]), utf8));
    }
}

bool bytelevel_read(const char *spelling, size_t size, char *bytes, size_t *n_bytes) {
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        int32_t code = 0;
        at += utf8_decode(spelling + at, size - at, &code);
        const int byte = bytelevel_byte(code);
        if (byte < 0) return false;
        bytes[n++] = (char)byte;
    }
    *n_bytes = n;
    return true;
}
