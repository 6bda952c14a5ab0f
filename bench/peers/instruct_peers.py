"""PyTorch's side of `run.py instruct`: the book's chapter 7 at GPT-2 medium's size, one process a measurement, one line of JSON.

    make     writes random weights in Hugging Face layout for both sides to --model; GPT-2's initialisation
    train    seconds of the recipe's first --steps optimizer steps and of as many batches that are only looked at, both
             on the recipe's own batches, and the process's peak memory; --loss response ignores the targets before the
             response, as the EPFL project does
    answer   seconds a token of the book's generate, which has no KV cache, for the first test entries
"""

import argparse
import json
import resource
import statistics
from functools import partial

import torch
from book_peers import N_CTX, book_model, open_vocabulary, seconds_of, write_vocabulary

SHAPE = N_LAYER, N_HEAD, N_EMBD = 24, 16, 1024
RESPONSE = "\n\n### Response:\n"


def make(options):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    GPT2LMHeadModel(GPT2Config(n_layer=N_LAYER, n_head=N_HEAD, n_embd=N_EMBD)).save_pretrained(options.model)
    write_vocabulary(options.model)
    return {"made": str(options.model)}


def tokenizer(options):
    """One with the `encode` that the book's dataset calls."""
    bpe = open_vocabulary(options.model)

    class Ids:
        def encode(self, text):
            return bpe.encode(text).ids

    return Ids()


def parts(options):
    entries = json.loads(options.file.read_text(encoding="utf-8"))
    end = int(len(entries) * 0.85)
    return entries[:end], entries[end : end + int(len(entries) * 0.1)]


def train(options):
    from llms_from_scratch.ch05 import calc_loss_batch
    from llms_from_scratch.ch07 import InstructionDataset, custom_collate_fn, format_input
    from torch.utils.data import DataLoader

    model, device = book_model(*SHAPE), torch.device("cpu")
    entries, ids = parts(options)[0], tokenizer(options)
    data = InstructionDataset(entries, ids)
    ignored = [len(ids.encode(format_input(entry) + RESPONSE)) - 1 if options.loss == "response" else 0 for entry in entries]

    def collate(items):
        inputs, targets = custom_collate_fn([text for _, text in items], allowed_max_length=N_CTX)
        for row, (number, _) in enumerate(items):
            targets[row, : ignored[number]] = -100
        return inputs, targets

    torch.manual_seed(123)
    loader = DataLoader([(i, data[i]) for i in range(len(data))], batch_size=8, shuffle=True, drop_last=True,
                        collate_fn=collate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.1)
    torch.manual_seed(123)
    batches = [batch for _, batch in zip(range(options.steps), loader)]

    def step(inputs, targets):
        optimizer.zero_grad()
        calc_loss_batch(inputs, targets, model, device).backward()
        optimizer.step()

    def look(inputs, targets):
        with torch.no_grad():
            calc_loss_batch(inputs, targets, model, device)

    model.train()
    step(*batches[0])  # the first is slower
    steps = [seconds_of(partial(step, *batch)) for batch in batches]
    model.eval()
    looks = [seconds_of(partial(look, *batch)) for batch in batches]
    return {"step": statistics.mean(steps), "look": statistics.mean(looks),
            "tokens": [inputs.shape[1] for inputs, _ in batches],
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def answer(options):
    from llms_from_scratch.ch05 import generate
    from llms_from_scratch.ch07 import format_input

    model, ids = book_model(*SHAPE).eval(), tokenizer(options)
    seconds = 0
    entries = parts(options)[1][: options.entries]
    for entry in entries:
        prompt = torch.tensor([ids.encode(format_input(entry) + RESPONSE)])
        seconds += seconds_of(partial(generate, model, prompt, options.tokens, N_CTX))
    return {"token": seconds / (len(entries) * options.tokens)}


def main():
    from pathlib import Path

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "train", "answer"])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--file", type=Path, help="the instructions")
    parser.add_argument("--loss", choices=["all", "response"], default="all")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--entries", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=20, help="of an answer")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps({"make": make, "train": train, "answer": answer}[options.what](options)))


if __name__ == "__main__":
    main()
