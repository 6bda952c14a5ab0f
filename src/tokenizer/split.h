// split.h: GPT-2's pre-split: where a text is cut into pieces before any merging.
//
// The rule, as GPT-2 wrote it down, first alternative that matches at a position wins:
//
//     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// Only lower-case contractions; letters, numbers and white space are Unicode's (16.0, as in tiktoken 0.14.0, see
// tools/make_unicode_classes.py). The pattern is written out by hand in split.c: no regex engine, one pass, and no
// step looks back further than the present run of characters.
//
// Text need not be UTF-8: a byte that begins no valid character counts as a symbol of one byte (neither letter, number
// nor white space: the class of U+FFFD, which is what a decoder would put in its place), so it joins a run of symbols
// around it and every byte lands in exactly one piece.
#ifndef TOKENIZER_SPLIT_H
#define TOKENIZER_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum char_class {
    CHAR_OTHER,
    CHAR_LETTER,
    CHAR_NUMBER,
    CHAR_SPACE,
};

// Class of the character at `text` [size > 0]; *length gets its bytes (1 for an invalid byte).
enum char_class split_class(const uint8_t *text, size_t size, size_t *length);

// What 64 bytes of the text are: bit i is about byte i, and a character's class is that of each of its bytes.
struct split_block {
    uint64_t letter, number, space, other;
    uint64_t blank, apostrophe;         // ' ' and '\''
    uint64_t space_1, space_2, space_3; // first bytes of white space of so many bytes
};

// Fills the masks of the ASCII characters in 64 bytes and returns where there are other bytes.
typedef uint64_t split_classify_fn(const uint8_t *text, struct split_block *block);

// For any processor, and the fastest for this one: the same masks.
split_classify_fn split_classify_plain;
split_classify_fn *split_classify_best(void);

// A text being split. Set text and size; the rest is 0 at first.
struct splitter {
    const uint8_t *text; // [size]
    size_t size;
    split_classify_fn *classify; // NULL: the fastest
    bool begun, ended;
    struct split_block block; // whose pieces are given out
    size_t at;                // where it begins
    uint64_t starts;          // of pieces in it, not given out yet
    struct split_block next;  // the block behind it
    size_t next_at;           // where that begins; size: there is none
    uint64_t cleared, forced; // starts in it that a contraction before it takes away, and makes
    int overhang;             // bytes behind it that belong to its last character
    enum char_class overhang_class;
};

// Writes where the next pieces end, at most `max` of them, into ends; returns how many: 0 at the end of the text.
// Pieces lie side by side: each begins where the one before ends.
size_t split_next(struct splitter *splitter, size_t *ends, size_t max);

// unicode_classes.c: two bits a code point, 128 code points a block.
extern const uint32_t unicode_index_size;
extern const uint8_t unicode_index[];
extern const uint8_t unicode_blocks[][32];

#endif
