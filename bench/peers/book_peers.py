"""What the peers' sides of `run.py classify` and `run.py instruct` share: the book's class, GPT-2's vocabulary, a clock."""

import json
import time

import torch
from encode_peers import read_vocabulary

N_CTX, N_VOCAB = 1024, 50257


def book_model(n_layer, n_head, n_embd):
    """The book's GPTModel; its weights are random, which costs as much as any others."""
    from llms_from_scratch.ch04 import GPTModel

    torch.manual_seed(1)
    return GPTModel({"vocab_size": N_VOCAB, "context_length": N_CTX, "emb_dim": n_embd, "n_heads": n_head,
                     "n_layers": n_layer, "drop_rate": 0.0, "qkv_bias": True})


def write_vocabulary(folder):
    """GPT-2's, as vocab.json and merges.txt."""
    _, merges, vocab = read_vocabulary()
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    lines = "".join(f"{left} {right}\n" for left, right in merges)
    (folder / "merges.txt").write_text("#version: 0.2\n" + lines, encoding="utf-8")


def open_vocabulary(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers

    bpe = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return bpe


def seconds_of(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
