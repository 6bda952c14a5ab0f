// utf8.c: see utf8.h.
#include "base/utf8.h"

// Length of the character that `lead` begins and the bounds of its second byte; 0 for no lead byte.
static size_t utf8_lead(uint8_t lead, uint8_t *low, uint8_t *high) {
    *low = 0x80;
    *high = 0xbf;
    if (lead < 0x80) return 1;
    if (lead >= 0xc2 && lead <= 0xdf) return 2;
    if (lead >= 0xe0 && lead <= 0xef) {
        if (lead == 0xe0) *low = 0xa0;  // no overlong forms
        if (lead == 0xed) *high = 0x9f; // no surrogates
        return 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (lead == 0xf0) *low = 0x90;
        if (lead == 0xf4) *high = 0x8f; // nothing above U+10FFFF
        return 4;
    }
    return 0;
}

// Length of the character at `text`, 0 if invalid, or -k if the k bytes there begin a character that the end cuts off.
static int utf8_scan(const uint8_t *text, size_t size) {
    uint8_t low = 0;
    uint8_t high = 0;
    const size_t length = utf8_lead(text[0], &low, &high);
    for (size_t i = 1; i < length; i++) {
        if (i == size) return -(int)size;
        if (text[i] < low || text[i] > high) return 0;
        low = 0x80;
        high = 0xbf;
    }
    return (int)length;
}

size_t utf8_decode(const char *text, size_t size, int32_t *code) {
    const uint8_t *bytes = (const uint8_t *)text;
    const int length = utf8_scan(bytes, size);
    if (length <= 0) {
        *code = -1;
        return 1;
    }
    static const uint8_t lead_bits[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    int32_t value = bytes[0] & lead_bits[length];
    for (int i = 1; i < length; i++) value = value << 6 | (bytes[i] & 0x3f);
    *code = value;
    return (size_t)length;
}

size_t utf8_encode(int32_t code, char out[4]) {
    const uint32_t c = (uint32_t)code;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

bool utf8_valid(const char *text, size_t size) {
    size_t at = 0;
    while (at < size) {
        int32_t code = 0;
        at += utf8_decode(text + at, size - at, &code);
        if (code < 0) return false;
    }
    return true;
}

size_t utf8_complete(const char *text, size_t size) {
    const uint8_t *bytes = (const uint8_t *)text;
    // An unfinished character is at most 3 bytes long.
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        if (utf8_scan(bytes + size - back, back) == -(int)back) return size - back;
    }
    return size;
}
