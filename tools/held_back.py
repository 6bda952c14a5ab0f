#!/usr/bin/env python3
"""Prints what the card of the bundled model is about: 30,000 characters of each document that its training held back.

    tools/held_back.py books.txt.xz > held-back.txt && my-llm eval bundled held-back.txt

The documents are parted by <|endoftext|>; with `--val-split 0.02` every fiftieth is held back (src/data/tokens.h).
"""

import lzma
import sys

OF_EACH = 30000

if len(sys.argv) != 2:
    sys.exit(f"usage: {sys.argv[0]} BOOKS.xz")
with lzma.open(sys.argv[1], "rt", encoding="utf-8", newline="") as file:
    documents = file.read().split("<|endoftext|>")
sys.stdout.reconfigure(encoding="utf-8", newline="")
sys.stdout.write("\n".join(document[:OF_EACH] for document in documents[49::50]))
