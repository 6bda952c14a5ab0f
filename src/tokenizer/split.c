// split.c: see split.h.
//
// Bytes below 0x80, nearly all of most texts, are classed by one table look-up; the others are decoded and looked up in
// unicode_classes.c. Pieces are found many at a time, so that a vectorised version can take this one's place.
#include "tokenizer/split.h"

#include "base/utf8.h"
#include "my_llm.h"

// Classes of bytes. Wide: the byte is part of a longer character, or of none.
enum {
    O = CHAR_OTHER,
    L = CHAR_LETTER,
    N = CHAR_NUMBER,
    S = CHAR_SPACE,
    W
};

// clang-format off
static const uint8_t byte_classes[256] = {
    O, O, O, O, O, O, O, O, O, S, S, S, S, S, O, O, // 0x00
    O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, // 0x10
    S, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, // 0x20
    N, N, N, N, N, N, N, N, N, N, O, O, O, O, O, O, // 0x30
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, // 0x40
    L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O, // 0x50
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, // 0x60
    L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O, // 0x70
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
};
// clang-format on

static enum char_class code_class(uint32_t code) {
    const uint32_t block = code / 128;
    if (block >= unicode_index_size) return CHAR_OTHER;
    const uint32_t at = code % 128;
    return (enum char_class)(unicode_blocks[unicode_index[block]][at / 4] >> (at % 4 * 2) & 3);
}

enum char_class split_class(const uint8_t *text, size_t size, size_t *length) {
    const uint8_t class = byte_classes[text[0]];
    if (class != W) {
        *length = 1;
        return (enum char_class) class;
    }
    int32_t code = 0;
    *length = utf8_decode((const char *)text, size, &code);
    return code < 0 ? CHAR_OTHER : code_class((uint32_t)code);
}

// End of the run of `class` characters that goes on at `at`. *last gets where its last character begins, if it has one
// at or after `at`.
static size_t run_end(const uint8_t *text, size_t size, size_t at, enum char_class class, size_t *last) {
    for (;;) {
        const size_t from = at;
        while (at < size && byte_classes[text[at]] == class) at++;
        if (at > from) *last = at - 1;
        if (at == size || byte_classes[text[at]] != W) return at;
        size_t length = 0;
        if (split_class(text + at, size - at, &length) != class) return at;
        *last = at;
        at += length;
    }
}

// Length of the contraction that begins with the apostrophe at `text`, or 0.
static size_t contraction_length(const uint8_t *text, size_t size) {
    if (size < 2) return 0;
    const uint8_t a = text[1];
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (size < 3) return 0;
    const uint8_t b = text[2];
    return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

// End of the piece that begins at `at` < size.
static size_t piece_end(const uint8_t *text, size_t size, size_t at) {
    if (text[at] == '\'') {
        const size_t length = contraction_length(text + at, size - at);
        if (length > 0) return at + length;
    }
    size_t last = at;
    const size_t begin = at + (text[at] == ' ');
    if (begin < size) {
        size_t length = 0;
        const enum char_class class = split_class(text + begin, size - begin, &length);
        if (class != CHAR_SPACE) return run_end(text, size, begin + length, class, &last);
    }
    // White space: all of it at the end of the text, else all but its last character, which, if it is a space, belongs
    // to what follows; a lone character is a piece.
    const size_t end = run_end(text, size, at, CHAR_SPACE, &last);
    return end == size || last == at ? end : last;
}

// Whether the character that ends before text[at] (at > 0) is white space; a byte that ends no character is none.
static bool space_ends(const uint8_t *text, size_t at) {
    for (size_t length = at < 4 ? at : 4; length > 1; length--) {
        int32_t code = 0;
        if (utf8_decode((const char *)text + at - length, length, &code) != length || code < 0) continue;
        return code_class((uint32_t)code) == CHAR_SPACE;
    }
    return byte_classes[text[at - 1]] == S;
}

// White space never continues a piece that began with something else, and what stands before it cannot look past it.
// Only ASCII white space counts here, so that no character is cut; nor can <|endoftext|> be, which holds none.
size_t llm_tokenizer_cut(const char *text, size_t size) {
    const uint8_t *bytes = (const uint8_t *)text;
    for (size_t at = size; at-- > 1;) {
        if (byte_classes[bytes[at]] == S && !space_ends(bytes, at)) return at;
    }
    return 0;
}

size_t split_next(struct splitter *splitter, size_t *ends, size_t max) {
    size_t n = 0;
    size_t at = splitter->at;
    while (n < max && at < splitter->size) {
        at = piece_end(splitter->text, splitter->size, at);
        ends[n++] = at;
    }
    splitter->at = at;
    return n;
}
