// split.c: see split.h.
//
// The text goes by in blocks of 64 bytes, each turned into masks of one bit a byte: letters, numbers, white space and
// so on. Bytes below 0x80, nearly all of most texts, are classed 16 or 64 at a time; the others are decoded one by one
// and looked up in unicode_classes.c. Where pieces begin is then a few shifts away:
//
// - A run of letters, of numbers or of symbols begins where the character before is of another class; but if that is a
//   single ' ', the piece begins there.
// - White space is a piece of its own up to its last character, which is one too, or is the ' ' of what follows. So
//   pieces begin with its first character and with its last, except at the end of the text.
// - An apostrophe with which a piece begins may make a contraction: then none begins behind it, and one behind the
//   contraction.
//
// White space looks at the character behind it, so a block is taken apart when the one behind it is classed.
#include "tokenizer/split.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <string.h>

#include "base/utf8.h"
#include "my_llm.h"

enum {
    AHEAD = 2048 // bytes: text is fetched so early, as the processor by itself learns anew at every block of a thread's
};

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

// Length of the contraction that begins with the apostrophe at `text`, or 0.
static unsigned contraction_length(const uint8_t *text, size_t size) {
    if (size < 2) return 0;
    const uint8_t a = text[1];
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (size < 3) return 0;
    const uint8_t b = text[2];
    return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
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

// ---- Blocks ---------------------------------------------------------------------------------

enum {
    BLOCK = 64
};

#if defined(__x86_64__)
static uint64_t bytes_up_to(const __m128i bytes[4], char from, int n) {
    uint64_t mask = 0;
    for (int i = 0; i < 4; i++) {
        const __m128i shifted = _mm_sub_epi8(bytes[i], _mm_set1_epi8(from));
        const __m128i found = _mm_cmpeq_epi8(_mm_min_epu8(shifted, _mm_set1_epi8((char)n)), shifted);
        mask |= (uint64_t)(unsigned)_mm_movemask_epi8(found) << (16 * i);
    }
    return mask;
}

uint64_t split_classify_plain(const uint8_t *text, struct split_block *block) {
    __m128i bytes[4], lower[4];
    uint64_t wide = 0;
    for (int i = 0; i < 4; i++) {
        bytes[i] = _mm_loadu_si128((const __m128i *)(const void *)(text + 16 * i));
        lower[i] = _mm_or_si128(bytes[i], _mm_set1_epi8(0x20));
        wide |= (uint64_t)(unsigned)_mm_movemask_epi8(bytes[i]) << (16 * i);
    }
    block->letter = bytes_up_to(lower, 'a', 25);
    block->number = bytes_up_to(bytes, '0', 9);
    block->blank = bytes_up_to(bytes, ' ', 0);
    block->apostrophe = bytes_up_to(bytes, '\'', 0);
    block->space = block->space_1 = block->blank | bytes_up_to(bytes, '\t', '\r' - '\t');
    return wide;
}

__attribute__((target("avx512bw"))) static uint64_t classify_avx512(const uint8_t *text, struct split_block *block) {
    const __m512i bytes = _mm512_loadu_si512(text);
    const __m512i from_a = _mm512_sub_epi8(_mm512_or_si512(bytes, _mm512_set1_epi8(0x20)), _mm512_set1_epi8('a'));
    const __m512i from_0 = _mm512_sub_epi8(bytes, _mm512_set1_epi8('0'));
    const __m512i from_tab = _mm512_sub_epi8(bytes, _mm512_set1_epi8('\t'));
    block->letter = _mm512_cmple_epu8_mask(from_a, _mm512_set1_epi8(25));
    block->number = _mm512_cmple_epu8_mask(from_0, _mm512_set1_epi8(9));
    block->blank = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(' '));
    block->apostrophe = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\''));
    block->space = block->space_1 = block->blank | _mm512_cmple_epu8_mask(from_tab, _mm512_set1_epi8('\r' - '\t'));
    return _mm512_movepi8_mask(bytes);
}

split_classify_fn *split_classify_best(void) {
    return __builtin_cpu_supports("avx512bw") ? classify_avx512 : split_classify_plain;
}
#else
uint64_t split_classify_plain(const uint8_t *text, struct split_block *block) {
    uint64_t wide = 0;
    for (int i = 0; i < BLOCK; i++) {
        const uint64_t bit = (uint64_t)1 << i;
        const uint8_t class = byte_classes[text[i]];
        if (class == L) block->letter |= bit;
        if (class == N) block->number |= bit;
        if (class == S) block->space = block->space_1 |= bit;
        if (class == W) wide |= bit;
        if (text[i] == ' ') block->blank |= bit;
        if (text[i] == '\'') block->apostrophe |= bit;
    }
    return wide;
}

split_classify_fn *split_classify_best(void) {
    return split_classify_plain;
}
#endif

// Bits from `first` on, `n` of them, 0 <= first < 64.
static uint64_t bits(int first, size_t n) {
    return (n >= BLOCK ? UINT64_MAX : ((uint64_t)1 << n) - 1) << first;
}

static void block_add(struct split_block *block, uint64_t mask, enum char_class class) {
    if (class == CHAR_LETTER) block->letter |= mask;
    if (class == CHAR_NUMBER) block->number |= mask;
    if (class == CHAR_SPACE) block->space |= mask;
}

// Classes the characters that begin at the bytes of `wide`. One may hang over into the block behind.
static void classify_wide(struct splitter *splitter, uint64_t wide, struct split_block *block) {
    if (splitter->overhang > 0) {
        const uint64_t mask = bits(0, (size_t)splitter->overhang);
        block_add(block, mask, splitter->overhang_class);
        wide &= ~mask;
        splitter->overhang = 0;
    }
    while (wide != 0) {
        const int i = __builtin_ctzll(wide);
        const size_t at = splitter->next_at + (size_t)i;
        size_t length = 0;
        const enum char_class class = split_class(splitter->text + at, splitter->size - at, &length);
        const uint64_t mask = bits(i, length);
        block_add(block, mask, class);
        if (class == CHAR_SPACE) *(length == 2 ? &block->space_2 : &block->space_3) |= (uint64_t)1 << i;
        wide &= ~mask;
        if ((size_t)i + length > BLOCK) {
            splitter->overhang = i + (int)length - BLOCK;
            splitter->overhang_class = class;
        }
    }
}

// Classes the block at next_at. What lies behind the text counts as white space, so that the last of the text's has
// more of it behind it.
static void classify_next(struct splitter *splitter) {
    struct split_block block = {0};
    const uint8_t *text = splitter->text + splitter->next_at;
    const size_t left = splitter->size - splitter->next_at;
    uint8_t tail[BLOCK];
    if (left > AHEAD) __builtin_prefetch(text + AHEAD);
    if (left < BLOCK) {
        memset(tail, '\n', sizeof tail);
        if (left > 0) memcpy(tail, text, left);
        text = tail;
    }
    const uint64_t wide = splitter->classify(text, &block);
    if (wide != 0) classify_wide(splitter, wide, &block);
    block.other = ~(block.letter | block.number | block.space);
    splitter->next = block;
}

// ---- Pieces ---------------------------------------------------------------------------------

// `mask` with each bit one byte further on, behind what `before` ended with.
static uint64_t shifted(uint64_t mask, uint64_t before) {
    return mask << 1 | before >> (BLOCK - 1);
}

// Contractions at the apostrophes: changes the starts behind them, here or in the block to come.
static uint64_t contract(struct splitter *splitter, uint64_t starts, uint64_t apostrophes) {
    for (; apostrophes != 0; apostrophes &= apostrophes - 1) {
        const unsigned i = (unsigned)__builtin_ctzll(apostrophes);
        const size_t at = splitter->at + i;
        const unsigned length = contraction_length(splitter->text + at, splitter->size - at);
        if (length == 0) continue;
        const unsigned behind = i + length;
        if (i + 1 < BLOCK) {
            starts &= ~((uint64_t)1 << (i + 1));
        } else {
            splitter->cleared |= 1;
        }
        if (behind < BLOCK) {
            starts |= (uint64_t)1 << behind;
        } else {
            splitter->forced |= (uint64_t)1 << (behind - BLOCK);
        }
    }
    return starts;
}

// Goes on to the next block, and finds what begins in it.
static void advance(struct splitter *splitter) {
    const struct split_block before = splitter->block, block = splitter->next;
    const uint64_t cleared = splitter->cleared, forced = splitter->forced;
    const size_t left = splitter->size - splitter->next_at;
    splitter->block = block;
    splitter->at = splitter->next_at;
    splitter->cleared = splitter->forced = 0;
    splitter->next_at += left < BLOCK ? left : BLOCK;
    classify_next(splitter);
    const uint64_t behind = splitter->next.space;

    uint64_t starts = block.letter & ~shifted(block.letter, before.letter);
    starts |= block.number & ~shifted(block.number, before.number);
    starts |= block.other & ~shifted(block.other, before.other);
    starts &= ~shifted(block.blank, before.blank);
    starts |= block.space & ~shifted(block.space, before.space);
    starts |= block.space_1 & ~(block.space >> 1 | behind << (BLOCK - 1));
    starts |= block.space_2 & ~(block.space >> 2 | behind << (BLOCK - 2));
    starts |= block.space_3 & ~(block.space >> 3 | behind << (BLOCK - 3));
    starts = (starts & ~cleared) | forced;
    if ((starts & block.apostrophe) != 0) starts = contract(splitter, starts, starts & block.apostrophe);
    splitter->starts = left < BLOCK ? starts & bits(0, left) : starts;
}

size_t split_next(struct splitter *splitter, size_t *ends, size_t max) {
    if (!splitter->begun) {
        splitter->begun = true;
        if (splitter->classify == NULL) splitter->classify = split_classify_best();
        classify_next(splitter);
        advance(splitter);
        splitter->starts &= ~(uint64_t)1; // ends nothing
        splitter->ended = splitter->size == 0;
    }
    size_t n = 0;
    while (n < max && !splitter->ended) {
        const size_t at = splitter->at;
        uint64_t starts = splitter->starts;
        if (max - n >= BLOCK) { // there is room for all
            for (; starts != 0; starts &= starts - 1) ends[n++] = at + (size_t)__builtin_ctzll(starts);
        } else {
            for (; starts != 0 && n < max; starts &= starts - 1) ends[n++] = at + (size_t)__builtin_ctzll(starts);
        }
        splitter->starts = starts;
        if (starts != 0 || n == max) break;
        if (splitter->next_at < splitter->size) {
            advance(splitter);
        } else {
            ends[n++] = splitter->size;
            splitter->ended = true;
        }
    }
    return n;
}
