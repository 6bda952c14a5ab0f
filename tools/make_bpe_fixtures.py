#!/usr/bin/env python3
"""Writes tests/fixtures/bpe/: small texts, and the merges that Hugging Face tokenizers learn from them.

    python tools/make_bpe_fixtures.py [books.txt.xz]

Made with tokenizers 0.23.3. For each case NAME.txt is the text, in which <|endoftext|> parts documents, and
NAME.merges what BpeTrainer learns: the first line is "#vocab_size min_frequency", each further line a merge as in
merges.txt. With books.txt.xz as an argument, books.fnv gets the hash of the merges of its first 50 MB, as the text
itself is not committed.
"""

import json
import lzma
import os
import random
import re
import sys

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

FOLDER = os.path.join(os.path.dirname(__file__), "../tests/fixtures/bpe")
EOT = "<|endoftext|>"


def learn(text, vocab_size, min_frequency=0):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[EOT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.split(EOT), trainer)
    return [f"{a} {b}" for a, b in json.loads(tokenizer.to_str())["model"]["merges"]]


def prose(n_words):
    """Words of a made-up language, common ones often (Zipf), in sentences: made, so that it may be committed."""
    draw = random.Random(4)
    starts, middles, ends = "b d f g k l m n p r s t th st".split(), "a e i o u ai ou ee".split(), "n r s t nd ng".split()
    words = ["".join(draw.choice(part) for part in (starts, middles, starts, middles, ends)[: draw.randint(2, 5)])
             for _ in range(400)]  # fmt: skip
    text = []
    while len(text) < n_words:
        sentence = draw.choices(words, [1 / rank for rank in range(1, 401)], k=draw.randint(3, 12))
        sentence[0] = sentence[0].capitalize()
        text += [" ".join(sentence) + draw.choice([".", ".", ".\n", "?", "!", ", he'll say, it's 1914.", EOT])]
    return " ".join(text)


CASES = {
    # Every pair once: only the order of ids decides.
    "ties": ("zy xw vu ts rq po nm lk ji hg fe dc ba 98 76 54 32 10", 400, 0),
    "ties-deep": (" ".join("".join(sorted(set(word))) for word in "bcda dcba abcd cabd dbca".split() * 3), 500, 0),
    # Overlapping pairs: counted each, merged from left to right.
    "runs": ("aaa aaaa aaaaa aaaaaaa " * 3 + "ababababa bababab " * 2 + "=" * 67 + "\n" * 9 + " " * 41 + "x", 700, 0),
    "tiny": ("hug hugs", 8192, 0),
    "one-character": ("a", 300, 0),
    "empty": ("", 300, 0),
    "unicode": ("Füße, naïve café; 日本語の文。日本語、日本 한국어 한국 Привет, приветы! 😀😀😃 e\u0301e\u0301 ١٢٣ ½½ "
                "zero\u200bwidth nb\u00a0sp\u3000wide \ufeffbom I'll we've they're 'S 's ''s", 700, 0),
    "documents": (f"one two{EOT}two three{EOT}{EOT}three\n{EOT}\nthree <|endoftext> endoftext <|endoftext|", 400, 0),
    "white-space": ("a  b\t\tc\r\n\r\nd   \n   e\n\n\nf \u2028 g\u0085h\x1ci\x0b\x0cj  ", 400, 0),
    "prose": (prose(300), 900, 0),
    "frequent": (prose(300), 2000, 5),
}  # fmt: skip


def hash_of(lines):
    value = 0xCBF29CE484222325
    for byte in "".join(line + "\n" for line in lines).encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def books(path, size=50_000_000, vocab_size=8192):
    data = lzma.open(path).read(size)
    # Where llm_tokenizer_cut() cuts: before the last white space that follows something else.
    cut = [match.start() + 1 for match in re.finditer(rb"[!-~][ \t-\r]", data[-1000:])][-1] + size - 1000
    lines = learn(data[:cut].decode(), vocab_size)
    with open(os.path.join(FOLDER, "books.fnv"), "w") as out:
        out.write(f"{size} {vocab_size} {len(lines)} {hash_of(lines)}\n")


def main():
    for name, (text, vocab_size, min_frequency) in CASES.items():
        with open(os.path.join(FOLDER, name + ".txt"), "w", newline="", encoding="utf-8") as out:
            out.write(text)
        with open(os.path.join(FOLDER, name + ".merges"), "w", newline="", encoding="utf-8") as out:
            lines = [f"#{vocab_size} {min_frequency}", *learn(text, vocab_size, min_frequency)]
            out.write("".join(line + "\n" for line in lines))
    if len(sys.argv) > 1:
        books(sys.argv[1])


if __name__ == "__main__":
    main()
