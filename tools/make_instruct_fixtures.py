#!/usr/bin/env python3
"""Writes tests/fixtures/instruct/: how the book's chapter 7 turns instructions into batches.

    python tools/make_instruct_fixtures.py instruction-data.json
    python tools/make_instruct_fixtures.py instruction-data.json recipe [EVALUATIONS [THREADS]]
    python tools/make_instruct_fixtures.py instruction-data.json steps355 FOLDER
    python tools/make_instruct_fixtures.py instruction-data.json answers

Made with torch 2.15.0, tiktoken 0.14.0 (its GPT-2 encoding as make_tokenizer_fixtures.py builds it) and
llms-from-scratch 1.0.19, whose InstructionDataset and custom_collate_fn are
run unchanged, with torch.manual_seed(123) before the loaders.

small.json    a few entries with their prompts, ids, and batches as they are
book.json     the 1,100 entries: the split, and an FNV-1a hash for each batch of two passes over the shuffled
              training loader and one each over the two others
recipe.json   the losses that the book's chapter 7 prints, begun from tests/fixtures/starter, with the loss on all tokens and on
              the response only, on 2 threads; on others recipe-N-threads.json
steps355.json the same of the first 20 steps at GPT-2 medium's size (355M) and vocabulary, evaluated every 2 steps on one
              batch, begun from random weights, which are written to FOLDER (1.4 GB), for tools/check_instruct_steps.py
answers.json  what transformers 5 makes of the starter, greedily, for a few test entries

The targets with the loss on the response only are the collated ones with as many in front ignored as prompt and
"\\n\\n### Response:\\n", tokenised alone, have tokens, less one. The packed batch is the padded one without its padding.
"""

import json
import os
import sys
from functools import partial

import torch
from llms_from_scratch.ch07 import InstructionDataset, custom_collate_fn, format_input
from torch.utils.data import DataLoader

from make_tokenizer_fixtures import EOT, ROOT, byte_characters, gpt2

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


# ---- The recipe, from the starter --------------------------------------------------------------

def split(path):
    with open(path, encoding="utf-8") as file:
        data = json.load(file)
    train_end = int(len(data) * 0.85)
    test_end = train_end + int(len(data) * 0.1)
    return data[:train_end], data[train_end:test_end], data[test_end:]


def recipe_loader(entries, tokenizer, config, train, response_only):
    """The book's dataset and collate function; response_only: more targets are ignored."""
    dataset = InstructionDataset(entries, tokenizer)
    numbered = [(i, dataset[i]) for i in range(len(dataset))]
    ignored = [len(tokenizer.encode(format_input(entry) + HEADER)) - 1 for entry in entries]

    def collate(items):
        inputs, targets = custom_collate_fn([ids for _, ids in items], pad_token_id=config["eos_token_id"],
                                            allowed_max_length=config["n_positions"])
        for row, (number, _) in enumerate(items):
            if response_only:
                targets[row, : ignored[number]] = -100
        return inputs, targets

    return DataLoader(numbered, batch_size=8, shuffle=train, drop_last=train, collate_fn=collate)


class Enough(Exception):
    pass


def starter():
    from make_classify_fixtures import Tokenizer, book_model

    tokenizer = Tokenizer()
    tokenizer.encode = lambda text, allowed_special=None, bpe=tokenizer.bpe: bpe.encode(text).ids
    tokenizer.decode = lambda ids: tokenizer.bpe.decode(ids)
    return tokenizer, *book_model()


def write_vocabulary(folder):
    """GPT-2's, as vocab.json and merges.txt."""
    order, characters = byte_characters()
    merges = (ROOT / "src/tokenizer/gpt2/vocab.bpe").read_text(encoding="utf-8")
    tokens = [characters[byte] for byte in order] + [line.replace(" ", "") for line in merges.split("\n")[1:-1]] + [EOT]
    with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as file:
        json.dump({token: i for i, token in enumerate(tokens)}, file)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as file:
        file.write(merges)


def medium(folder):
    """Random weights of GPT-2 medium's shape, as transformers draws them; the same each time."""
    from make_classify_fixtures import book_model
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    GPT2LMHeadModel(GPT2Config(n_layer=24, n_head=16, n_embd=1024)).save_pretrained(folder)
    write_vocabulary(folder)
    return TOKENIZER, *book_model(folder)


def recipe(path, response_only, evaluations, begin=starter, eval_freq=5, eval_iter=5):
    """Chapter 7, its functions unchanged; losses are heard where they are computed, so many evaluations at most."""
    import contextlib
    import io

    from llms_from_scratch import ch05

    (tokenizer, model, config), device = begin(), torch.device("cpu")
    train, _, validation = split(path)
    torch.manual_seed(123)
    loaders = [recipe_loader(part, tokenizer, config, part is train, response_only) for part in (train, validation)]
    model.eval()
    with torch.no_grad():
        initial = [ch05.calc_loss_loader(loader, model, device, num_batches=5) for loader in loaders]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.00005, weight_decay=0.1)
    torch.manual_seed(123)
    heard = {"initial": initial, "train": [], "val": []}
    evaluate = ch05.evaluate_model

    def listen(*args):
        losses = evaluate(*args)
        heard["train"].append(losses[0])
        heard["val"].append(losses[1])
        if len(heard["val"]) == evaluations:
            raise Enough
        return losses

    ch05.evaluate_model = listen
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            ch05.train_model_simple(model, loaders[0], loaders[1], optimizer, device, num_epochs=2, eval_freq=eval_freq,
                                    eval_iter=eval_iter, start_context=format_input(validation[0]), tokenizer=tokenizer)
    except Enough:
        pass
    ch05.evaluate_model = evaluate
    return {name: [round(x, 7) for x in values] for name, values in heard.items()}


# ---- Answers, by transformers -------------------------------------------------------------------

def answers(path):
    from make_classify_fixtures import STARTER, Tokenizer
    from tokenizers import decoders
    from transformers import GPT2LMHeadModel

    tokenizer = Tokenizer()
    tokenizer.bpe.decoder = decoders.ByteLevel()
    model = GPT2LMHeadModel.from_pretrained(STARTER, dtype=torch.float32)
    made = []
    for entry in split(path)[1][:12]:
        ids = tokenizer.encode(format_input(entry) + HEADER)
        out = model.generate(torch.tensor([ids]), do_sample=False, max_length=len(ids) + 40, pad_token_id=0,
                             repetition_penalty=1.0)[0, len(ids):].tolist()
        end = out.index(4095) if 4095 in out else len(out)
        made.append({**entry, "model_response": tokenizer.bpe.decode(out[:end]).strip()})
    return made


def main():
    if sys.argv[2:3] == ["recipe"]:
        most = int(sys.argv[3]) if len(sys.argv) > 3 else 0
        n_threads = int(sys.argv[4]) if len(sys.argv) > 4 else 2
        torch.set_num_threads(n_threads)
        name = "recipe.json" if n_threads == 2 else f"recipe-{n_threads}-threads.json"
        write(name, {"book": recipe(sys.argv[1], False, most), "epfl": recipe(sys.argv[1], True, most)})
        return
    if sys.argv[2:3] == ["steps355"]:
        torch.set_num_threads(2)
        begin = partial(medium, sys.argv[3])
        write("steps355.json", {preset: recipe(sys.argv[1], preset == "epfl", 11, begin, 2, 1) for preset in ("book", "epfl")})
        return
    if sys.argv[2:] == ["answers"]:
        write("answers.json", answers(sys.argv[1]))
        return
    write("small.json", small())
    write("book.json", book(sys.argv[1]))


if __name__ == "__main__":
    main()
