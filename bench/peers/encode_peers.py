"""The peers' side of `run.py encode` and `run.py learn`, one process a peer.

A text to ids with GPT-2's vocabulary, on one thread: prints one line of JSON, MB/s the first time, and once the words
are known. With --learn N a vocabulary of N ids from the text instead: prints the seconds it takes and a checksum of the
merges, so that it is seen that all learn the same.
"""

import argparse
import hashlib
import json
import pathlib
import statistics
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


def learn(peer, text, size):
    """Seconds, and the merges as in merges.txt."""
    if peer == "gigatoken":
        import gigatoken

        spelling, _, _ = read_vocabulary()
        start = time.perf_counter()
        _, merges = gigatoken.train_bpe(text, size, ["<|endoftext|>"])
        seconds = time.perf_counter() - start
        return seconds, [[b"".join(spelling[byte].encode() for byte in side).decode() for side in pair] for pair in merges]

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=size - 1, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    documents = text.decode().split("<|endoftext|>")
    start = time.perf_counter()
    tokenizer.train_from_iterator(documents, trainer)
    seconds = time.perf_counter() - start
    return seconds, json.loads(tokenizer.to_str())["model"]["merges"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=["gigatoken", "tiktoken", "tokenizers"])
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--learn", type=int, metavar="N")
    options = parser.parse_args()
    text = options.file.read_bytes()
    if options.learn:
        seconds, merges = learn(options.peer, text, options.learn)
        lines = "".join(f"{left} {right}\n" for left, right in merges)
        print(json.dumps({"seconds": seconds, "sha256": hashlib.sha256(lines.encode()).hexdigest()}))
        return
    rates = []
    for _ in range(1 + options.repetitions):  # the first is a warm-up, as in `my-llm bench --tokenizer`
        encode = open_peer(options.peer)
        rates.append([])
        for _ in range(2):
            start = time.perf_counter()
            ids = encode(text)
            rates[-1].append(1e-6 * len(text) / (time.perf_counter() - start))
    first, known = (statistics.mean(column) for column in zip(*rates[1:]))
    checksum = hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).hexdigest()
    print(json.dumps({"first": first, "known": known, "n": len(ids), "sha256": checksum}))


if __name__ == "__main__":
    main()
