#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/tokens/: files of ids as docs/token-cache.md has them, whole ones and bad ones.

    python tools/make_tokens_corpus.py

Needs nothing but Python, and none of our code: the layout and the CRC-32C are written down here a second time. The
checksums of the bad ones are right, so that what else is wrong with them must be seen.
"""

import os
import struct

FOLDER = os.path.join(os.path.dirname(__file__), "../tests/fuzz/corpus/tokens")


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def tokens_file(ids, starts, vocab_size, eot, by_documents=1, n_tokens=None, n_documents=None):
    body = b"my-llm tokens 1\n" + struct.pack(f"<{len(ids)}{'H' if vocab_size <= 65536 else 'I'}", *ids)
    body += bytes(-len(body) % 8) + struct.pack(f"<{len(starts)}Q", *starts)
    trailer = b"a" * 64
    trailer += struct.pack("<QQQ", n_tokens or len(ids), n_documents or len(starts), 9)
    trailer += struct.pack("<IIII", vocab_size, eot & 0xFFFFFFFF, by_documents, crc32c(body))
    trailer = trailer.ljust(156, b"\0")
    return body + trailer + struct.pack("<I", crc32c(trailer))


CORPUS = {
    "small": tokens_file([1, 2, 3, 9, 4, 5, 9], [0, 4], 10, 9),
    "large-vocabulary": tokens_file([1, 2, 69999], [0], 70000, 69999, 0),
    "empty": tokens_file([], [], 512, -1),
    "zero-bytes": b"",
    "cut": tokens_file([1, 2, 3], [0], 10, 9)[:100],
    "id-out-of-range": tokens_file([1, 2, 10], [0], 10, 9),
    "starts-descend": tokens_file([1, 2, 3, 4], [0, 2, 1], 10, 9),
    "start-behind": tokens_file([1, 2, 3, 4], [4], 10, 9),
    "huge-count": tokens_file([1, 2], [0], 10, 9, n_tokens=2**63 + 1),
    "overflowing-count": tokens_file([1, 2], [0], 10, 9, n_tokens=2**60 - 1, n_documents=2**60 - 1),
    "no-vocabulary": tokens_file([], [], 0, -1),
    "eot-out-of-range": tokens_file([1, 2], [0], 10, 11),
}


def main():
    os.makedirs(FOLDER, exist_ok=True)
    for name, data in CORPUS.items():
        with open(os.path.join(FOLDER, name), "wb") as out:
            out.write(data)


if __name__ == "__main__":
    main()
