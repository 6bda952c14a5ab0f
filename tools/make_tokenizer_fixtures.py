#!/usr/bin/env python3
"""Makes tests/fixtures/tokenizer/: what tiktoken and Hugging Face's tokenizers say, for the tests of src/tokenizer.

    python tools/make_tokenizer_fixtures.py [DATA]

DATA (default ../shared/data) holds text/books.txt.xz. Made with tiktoken 0.14.0 and tokenizers 0.23.3. tiktoken's GPT-2
encoding is built from src/tokenizer/gpt2/vocab.bpe, with tiktoken's own pattern, as it would itself.

  cases.txt    one text a line: 0 or 1 (special tokens allowed), the text in hexadecimal ("-": empty), its ids
  hashes.txt   name, bytes, ids, FNV-1a (64 bits) over the ids as 32-bit little-endian numbers, for texts that the tests
               make again themselves: every code point, runs, the first 20 MB of the books
  small/       a vocabulary of 320 tokens trained here, in each layout: tokenizer.json as tokenizer_save() writes it (and
               as `tokenizers` opens it), strings.json with merges as strings, vocab.json, merges.txt; its own cases.txt
"""
import json
import lzma
import pathlib
import sys

import tiktoken
import tokenizers
from tiktoken_ext.openai_public import r50k_pat_str

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "tests/fixtures/tokenizer"
EOT = "<|endoftext|>"

CASES = [
    "", " ", "  ", "\n", "\n\n", "\t", " \n", "\r\n", "a", " a", "  a", "a ", "a  ", "a\n", "a \n b", "\n a", "\n\n a",
    "Hello world", "Hello, world! How's it going? I'm fine; we've, they'll, he'd, you're, don't.", "'S 'T 'RE I'M WE'VE",
    "'s't're've'm'll'd", "''s", " 's", "'", "''", "'x", "'l", "'lL", "'r", "a'b'c", "!'s", "'s's", "1's", "\n's",
    "3.14159 1,000,000 007 2nd", "½ ² Ⅷ ٣ १२३ 一二三", "x=1;y+=2;//z", "    def f(x):\n        return x  # ok\n\n\n",
    "\u00a0a\u00a0\u00a0b \u00a0c\u00a0 d", "\u3000全角　空白\u3000", "a\u2028b\u2029c\u0085d\u200be\ufefff", "\x1c\x1d\x1e\x1f\x0b\x0c",
    "naïve café Ärger œuvre ß ŉ ǆ", "Привет, мир! Ёлка", "مرحبا بالعالم", "नमस्ते दुनिया", "안녕하세요 세계", "こんにちは世界", "ไทยแลนด์", "e\u0301 a\u0308\u0304",
    "🙂 🙂🙂 👩‍👩‍👧‍👦 🇨🇭", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 𝟘𝟙𝟚", "\u0000\u0001\u007f\u0080\u00ad", "\ufffd\uffff\U0010ffff\U000e0001",
    "----------------------------------------------------------------", "=" * 100, " " * 100, " " * 17 + "x", "\n" * 33 + " ",
    "a" * 15, "a" * 16, "a" * 17, " " + "a" * 14, " " + "a" * 15, "b" * 63, "b" * 64, "b" * 65, "ab" * 100,
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft", "pneumonoultramicroscopicsilicovolcanoconiosis",
    EOT, f"a{EOT}b", f"{EOT}{EOT}", f" {EOT} ", f"a {EOT}\n\n{EOT} b", "<|endoftext|", "|endoftext|>", "<|endoftext|><|endoftext", "<<|endoftext|>>",
    "https://example.org/a?b=c&d=%20#e", "C:\\dir\\file.txt", "SolidGoldMagikarp petertodd  rawdownloadcloneembedreportprint",
]  # fmt: skip


def byte_characters():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return printable + others, {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def gpt2():
    order, characters = byte_characters()
    bytes_of = {c: b for b, c in characters.items()}
    ranks = {bytes([b]): i for i, b in enumerate(order)}
    for line in (ROOT / "src/tokenizer/gpt2/vocab.bpe").read_text(encoding="utf-8").split("\n")[1:-1]:
        ranks[bytes(bytes_of[c] for c in line.replace(" ", ""))] = len(ranks)
    return tiktoken.Encoding(
        "gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={EOT: 50256}, explicit_n_vocab=50257
    )


def fnv(ids):
    value = 0xCBF29CE484222325
    for number in ids:
        for byte in number.to_bytes(4, "little"):
            value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def case_line(special, text, ids):
    return f"{special} {text.encode().hex() or '-'}{''.join(f' {i}' for i in ids)}\n"


def long_texts(data):
    codes = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    near = [c for c in codes if ord(c) < 0x40000 or 0xE0000 <= ord(c) < 0xF0000]
    with lzma.open(data / "text/books.txt.xz") as file:
        books = file.read(20_000_000).decode("utf-8", "ignore")  # ignore: the last character may be cut
    return {
        "code-points": "".join(codes),
        "code-points-in-context": "".join(f"a{c} {c}{c}1{c}  " for c in near),
        "million-spaces": " " * 1_000_000,
        "million-a": "a" * 1_000_000,
        "million-newlines": "\n" * 1_000_000,
        "books": books,
    }


def make_gpt2(data):
    encoding = gpt2()
    with open(OUT / "cases.txt", "w") as file:
        for text in CASES:
            file.write(case_line(0, text, encoding.encode_ordinary(text)))
            if "<|" in text:
                file.write(case_line(1, text, encoding.encode(text, allowed_special="all")))
    with open(OUT / "hashes.txt", "w") as file:
        for name, text in long_texts(data).items():
            ids = encoding.encode_ordinary(text)
            file.write(f"{name} {len(text.encode())} {len(ids)} {fnv(ids):016x}\n")


def tokenizer_json(vocab, merges):
    """Byte for byte what tokenizer_save() writes."""
    part = '"add_prefix_space": %s, "trim_offsets": %s, "use_regex": true}'
    spelled = json.dumps(vocab, ensure_ascii=False)
    return (
        '{\n  "version": "1.0",\n  "truncation": null,\n  "padding": null,\n  "added_tokens": [\n'
        f'    {{"id": {vocab[EOT]}, "content": "{EOT}", "single_word": false, "lstrip": false, "rstrip": false, '
        '"normalized": true, "special": true}\n  ],\n  "normalizer": null,\n'
        f'  "pre_tokenizer": {{"type": "ByteLevel", {part % ("false", "true")},\n'
        f'  "post_processor": {{"type": "ByteLevel", {part % ("true", "false")},\n'
        f'  "decoder": {{"type": "ByteLevel", {part % ("true", "true")},\n'
        '  "model": {\n    "type": "BPE",\n    "dropout": null,\n    "unk_token": null,\n'
        '    "continuing_subword_prefix": "",\n    "end_of_word_suffix": "",\n    "fuse_unk": false,\n'
        '    "byte_fallback": false,\n    "ignore_merges": false,\n'
        f'    "vocab": {spelled},\n    "merges": {json.dumps(merges, ensure_ascii=False)}\n  }}\n}}\n'
    )


def make_small():
    folder = OUT / "small"
    folder.mkdir(exist_ok=True)
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320, special_tokens=[EOT], initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    trained.train_from_iterator([__doc__, *CASES], trainer)
    model = json.loads(trained.to_str())["model"]
    vocab = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    merges = model["merges"]

    text = tokenizer_json(vocab, merges)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    strings = json.loads(text)
    strings["model"]["merges"] = [" ".join(pair) for pair in merges]
    (folder / "strings.json").write_text(json.dumps(strings), encoding="utf-8")
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    lines = "".join(f"{left} {right}\n" for left, right in merges)
    (folder / "merges.txt").write_text("#version: 0.2\n" + lines, encoding="utf-8")

    opened = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    with open(folder / "cases.txt", "w") as file:
        for text in CASES:
            ids = opened.encode(text).ids  # always takes <|endoftext|> for itself
            assert opened.decode(ids, skip_special_tokens=False) == text
            file.write(case_line(1, text, ids))


def main():
    data = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared/data"
    OUT.mkdir(parents=True, exist_ok=True)
    make_small()
    make_gpt2(data)


if __name__ == "__main__":
    main()
