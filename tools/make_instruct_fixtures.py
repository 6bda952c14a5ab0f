#!/usr/bin/env python3
"""Writes tests/fixtures/instruct/: how the book's chapter 7 turns instructions into batches.

    python tools/make_instruct_fixtures.py instruction-data.json

Made with torch 2.15.0, tiktoken 0.14.0 (its GPT-2 encoding as make_tokenizer_fixtures.py builds it) and
llms-from-scratch 1.0.19, whose InstructionDataset and custom_collate_fn are
run unchanged, with torch.manual_seed(123) before the loaders.

small.json    a few entries with their prompts, ids, and batches as they are
book.json     the 1,100 entries: the split, and an FNV-1a hash for each batch of two passes over the shuffled
              training loader and one each over the two others

The targets with the loss on the response only are the collated ones with as many in front ignored as prompt and
"\\n\\n### Response:\\n", tokenised alone, have tokens, less one. The packed batch is the padded one without its padding.
"""

import json
import os
import sys
from functools import partial

import numpy as np
import torch
from llms_from_scratch.ch07 import InstructionDataset, custom_collate_fn, format_input
from torch.utils.data import DataLoader

from make_tokenizer_fixtures import gpt2

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "fixtures", "instruct")
HEADER = "\n\n### Response:\n"
TOKENIZER = gpt2()

SMALL = [
    {"instruction": "Name a colour.", "input": "", "output": "Blue."},
    {"instruction": "Spell it.", "input": "freind --> friend", "output": "The correct spelling is \"friend\"."},
    {"instruction": "Say nothing.", "input": "", "output": ""},
    {"instruction": "Übersetze:\n\n### Input:", "input": " ", "output": "\n\nzwei Zeilen\n"},
    {"instruction": "Repeat.", "input": "{output} {input}", "output": "word " * 30},
    {"instruction": "{instruction}", "input": "a\n\nb", "output": " <tag>"},
    {"instruction": "1+1?", "input": "", "output": "2"},
]


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def write(name, value):
    os.makedirs(HERE, exist_ok=True)
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


def loader(entries, batch_size, shuffle, drop_last, max_length):
    """A loader whose batches also tell which entries they hold."""
    dataset = InstructionDataset(entries, TOKENIZER)
    numbered = [(i, dataset[i]) for i in range(len(dataset))]
    collate = partial(custom_collate_fn, allowed_max_length=max_length)
    return DataLoader(numbered, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last,
                      collate_fn=lambda items: ([i for i, _ in items], *collate([ids for _, ids in items])))


def response_only(entries, numbers, targets):
    masked = targets.clone()
    for row, number in enumerate(numbers):
        masked[row, : len(TOKENIZER.encode(format_input(entries[number]) + HEADER)) - 1] = -100
    return masked


def packed(entries, numbers, inputs, targets):
    """The rows one after another, each as long as its entry is."""
    lengths = [min(len(TOKENIZER.encode(format_input(entries[n]) + HEADER + entries[n]["output"])), inputs.shape[1])
               for n in numbers]
    return (torch.cat([row[:length] for row, length in zip(inputs, lengths)]),
            torch.cat([row[:length] for row, length in zip(targets, lengths)]))


def as_bytes(*tensors):
    return b"".join(t.numpy().astype("<i4").tobytes() for t in tensors)


def batch_facts(entries, batch):
    numbers, inputs, targets = batch
    masked = response_only(entries, numbers, targets)
    flat, flat_targets = packed(entries, numbers, inputs, masked)
    return {"padded": fnv(as_bytes(inputs, targets, masked)), "packed": fnv(as_bytes(flat, flat_targets)),
            "tokens": inputs.numel(), "targets": int((masked != -100).sum())}


def small():
    torch.manual_seed(123)
    batches = []
    for max_length in (1024, 40):
        for batch in loader(SMALL, 3, False, False, max_length):
            numbers, inputs, targets = batch
            batches.append({"max_length": max_length, "numbers": numbers, "inputs": inputs.tolist(), "targets": targets.tolist(),
                            "response": response_only(SMALL, numbers, targets).tolist()})
    return {
        "entries": SMALL,
        "prompts": [format_input(entry) for entry in SMALL],
        "ids": [TOKENIZER.encode(format_input(entry) + HEADER + entry["output"]) for entry in SMALL],
        "response": [len(TOKENIZER.encode(format_input(entry) + HEADER)) for entry in SMALL],
        "batches": batches,
    }


def book(path):
    with open(path, encoding="utf-8") as file:
        data = json.load(file)
    train_end = int(len(data) * 0.85)
    test_end = train_end + int(len(data) * 0.1)
    parts = {"train": data[:train_end], "test": data[train_end:test_end], "validation": data[test_end:]}
    torch.manual_seed(123)
    loaders = {name: loader(part, 8, name == "train", name == "train", 1024) for name, part in parts.items()}
    passes = []
    for name in ("train", "train", "validation", "test"):
        passes.append({"part": name, "batches": [batch_facts(parts[name], batch) for batch in loaders[name]]})
    prompts = "\x01".join(format_input(entry) for entry in data)
    return {"n": {name: len(part) for name, part in parts.items()}, "prompts": fnv(prompts.encode()), "passes": passes}


def main():
    write("small.json", small())
    write("book.json", book(sys.argv[1]))


if __name__ == "__main__":
    main()
