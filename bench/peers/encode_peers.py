"""The peers' side of `run.py encode`: a text to ids with GPT-2's vocabulary, on one thread, one process a peer.

Prints one line of JSON: MB/s the first time, and once the words are known.
"""

import argparse
import hashlib
import json
import pathlib
import struct
import time


MERGES = pathlib.Path(__file__).resolve().parents[2] / "src" / "tokenizer" / "gpt2" / "vocab.bpe"


def read_vocabulary():
    """How GPT-2 writes each byte, its merges as pairs of such texts, and the ids of all tokens."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    spelling = {byte: chr(byte) for byte in shown} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}
    lines = MERGES.read_text().splitlines()
    merges = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
    tokens = [spelling[byte] for byte in shown + hidden] + [left + right for left, right in merges] + ["<|endoftext|>"]
    return spelling, merges, {token: i for i, token in enumerate(tokens)}


def open_peer(peer):
    """The peer's function from bytes to ids."""
    spelling, merges, vocab = read_vocabulary()
    if peer == "tiktoken":
        import tiktoken

        byte_of = {text: byte for byte, text in spelling.items()}
        ranks = {bytes(byte_of[c] for c in token): i for token, i in vocab.items() if token != "<|endoftext|>"}
        pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
        encoding = tiktoken.Encoding("gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        return lambda text: encoding.encode_ordinary(text.decode())

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if peer == "tokenizers":
        return lambda text: tokenizer.encode(text.decode()).ids

    import gigatoken

    return gigatoken.Tokenizer.from_json(tokenizer.to_str()).encode


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=["gigatoken", "tiktoken", "tokenizers"])
    parser.add_argument("file", type=pathlib.Path)
    options = parser.parse_args()
    encode = open_peer(options.peer)
    text = options.file.read_bytes()
    rates = []
    for _ in range(2):
        start = time.perf_counter()
        ids = encode(text)
        rates.append(1e-6 * len(text) / (time.perf_counter() - start))
    checksum = hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).hexdigest()
    print(json.dumps({"first": rates[0], "known": rates[1], "n": len(ids), "sha256": checksum}))


if __name__ == "__main__":
    main()
