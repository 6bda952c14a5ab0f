#!/usr/bin/env python3
"""Writes src/tokenizer/unicode_classes.c: which code points GPT-2's pre-split takes for letters, numbers, white space.

    python tools/make_unicode_classes.py > src/tokenizer/unicode_classes.c

The pattern says \\p{L}, \\p{N} and \\s, so the answer depends on the Unicode version of the regex engine. The ids to
match are tiktoken's, hence the engine asked is tiktoken's own: an encoding whose pattern is just `\\p{L}` drops every
character that is not one. Made with tiktoken 0.14.0, whose engine knows Unicode 16.0 (checked below).

The table has two stages: a block number per 128 code points, and blocks of 128 two-bit classes, equal blocks stored
once.
"""
import tiktoken

BLOCK = 128
CLASSES = [("\\p{L}", 1), ("\\p{N}", 2), ("\\s", 3)]  # enum char_class in split.h; 0: anything else
TEXT = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)


def matched(pattern):
    encoding = tiktoken.Encoding(
        "probe", pat_str=pattern, mergeable_ranks={bytes([b]): b for b in range(256)}, special_tokens={}
    )
    return {ord(c) for c in bytes(encoding.encode_ordinary(TEXT)).decode()}


def rows(numbers, width):
    for i in range(0, len(numbers), width):
        yield "    " + " ".join(f"{n}," for n in numbers[i : i + width])


def main():
    classes = bytearray(0x110000)
    for pattern, number in CLASSES:
        for code in matched(pattern):
            assert classes[code] == 0
            classes[code] = number
    # First letters of Unicode 16.0 (Todhri) and of 17.0 (CJK extension J).
    assert classes[0x105C0] == 1 and classes[0x323B0] == 0, "another Unicode version: say so in the comments"

    blocks, index = [], []
    for start in range(0, 0x110000, BLOCK):
        block = bytes(
            sum(classes[start + i + k] << (2 * k) for k in range(4)) for i in range(0, BLOCK, 4)
        )
        if block not in blocks:
            blocks.append(block)
        index.append(blocks.index(block))
    # Everything from the last block that differs from "other" on is not stored.
    other = blocks.index(bytes(BLOCK // 4))
    while index[-1] == other:
        index.pop()
    assert len(blocks) <= 256

    print("// unicode_classes.c: letters, numbers and white space of Unicode 16.0, as tiktoken 0.14.0 has them.")
    print("//")
    print("// Made by tools/make_unicode_classes.py, which says how and why; do not edit. Two stages: a block number")
    print("// per 128 code points, then 128 two-bit classes a block, lowest bits first. Code points past the index")
    print("// are neither letter, number nor white space.")
    print("// clang-format off")
    print('#include "tokenizer/split.h"')
    print()
    print(f"const uint32_t unicode_index_size = {len(index)};")
    print()
    print(f"const uint8_t unicode_index[{len(index)}] = {{")
    print("\n".join(rows(index, 20)))
    print("};")
    print()
    print(f"const uint8_t unicode_blocks[{len(blocks)}][32] = {{")
    for block in blocks:
        print("    {" + ", ".join(str(n) for n in block[:16]) + ",")
        print("     " + ", ".join(str(n) for n in block[16:]) + "},")
    print("};")


if __name__ == "__main__":
    main()
