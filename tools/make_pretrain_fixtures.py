#!/usr/bin/env python3
"""Writes tests/fixtures/train/: what the book's own code gives for its two recipes of pretraining.

    python tools/make_pretrain_fixtures.py tiny
    python tools/make_pretrain_fixtures.py book-ch5 book-appendix-d ... --text the-verdict.txt

Made with llms-from-scratch 1.0.19, torch 2.15 (CPU), tiktoken, tokenizers 0.23. The package's own training functions
run (ch05.train_model_simple, appendix_d.train_model); this script only listens, by putting itself around the
functions that they call: the loss of each step, each evaluation, each sample. Rows are written as they come, with
all digits, so that an interrupted run leaves what it had.

    NAME.csv          step,epoch,tokens,train_loss,val_loss,learning_rate: the evaluations, after the step's update.
                      Step -1 is before the first: the mean over all batches of both loaders (the book's "initial").
    NAME-steps.csv    step,loss,learning_rate: the loss of each training batch, before the update
    NAME-samples.txt  after each epoch the ids of the sample, a tab, and its text, line ends shown as spaces, as the
                      book prints it

    tiny-windows.txt  for "train" and "validation" the ids of the two parts of tiny.txt, and for some contexts and
                      strides how many examples GPTDatasetV1 makes of them, and the last one's input and target

"book-*" is the book's 124M model (context 256, GPT-2's vocabulary) on the book's text. "tiny-*" are the same recipes,
the same code, on a small model and tiny.txt, which is made here and may be committed: for tests that take seconds.
A name with -dropout is the book's recipe to the letter (0.1), one without has dropout 0, so that it can be compared
number by number; with -seedN another seed than 123; with -1thread on one thread and -double in float64, to see where PyTorch leaves itself.
"""

import argparse
import contextlib
import io
import os
import random
import re
import subprocess
import sys

import torch
from torch.utils.data import DataLoader

from llms_from_scratch import appendix_d, ch05
from llms_from_scratch.ch02 import GPTDatasetV1
from llms_from_scratch.ch04 import GPTModel

FOLDER = os.path.join(os.path.dirname(__file__), "../tests/fixtures/train")
EOT = "<|endoftext|>"
SHAPES = {
    "book": {"context_length": 256, "emb_dim": 768, "n_heads": 12, "n_layers": 12},
    "tiny": {"context_length": 32, "emb_dim": 64, "n_heads": 4, "n_layers": 2},
}
TINY_VOCABULARY = 512


def tiny_text(n_characters=5600):
    """Sentences in a made-up language, some letters of two bytes, so that 90 % of the characters are not 90 % of
    the bytes."""
    draw = random.Random(123)
    starts, ends = "b d f g k l m n p r s t th st".split(), "n r s t nd ng".split()
    middles = "a e i o u ai ou ee é ø".split()
    parts = [starts, middles, starts, middles, ends]
    words = ["".join(draw.choice(part) for part in parts[: draw.randint(2, 5)]) for _ in range(150)]
    text = ""
    while len(text) < n_characters:
        sentence = draw.choices(words, [1 / rank for rank in range(1, 151)], k=draw.randint(3, 12))
        text += " ".join(sentence).capitalize() + draw.choice([". ", ". ", "? ", ", he'll say.\n", ".\n\n"])
    return text


class TinyTokenizer:
    """tokenizers' BPE with the two methods of tiktoken that the book calls."""

    def __init__(self, text):
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        self.bpe = Tokenizer(models.BPE())
        self.bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self.bpe.decoder = decoders.ByteLevel()
        # The special token is added behind the others, as GPT-2 has it.
        trainer = trainers.BpeTrainer(
            vocab_size=TINY_VOCABULARY - 1,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        self.bpe.train_from_iterator([text], trainer)
        self.bpe.add_special_tokens([EOT])
        assert self.bpe.get_vocab_size() == TINY_VOCABULARY and self.bpe.token_to_id(EOT) == TINY_VOCABULARY - 1

    def save(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.bpe.save(os.path.join(folder, "tokenizer.json"))

    def encode(self, text, allowed_special=()):
        return self.bpe.encode(text).ids

    def decode(self, ids):
        return self.bpe.decode(ids, skip_special_tokens=False)


def windows(text, tokenizer):
    split = int(0.90 * len(text))
    with open(os.path.join(FOLDER, "tiny-windows.txt"), "w", newline="\n") as out:
        for name, part in (("train", text[:split]), ("validation", text[split:])):
            out.write(f"{name} {' '.join(map(str, tokenizer.encode(part)))}\n")
            for context, stride in ((32, 32), (32, 1), (4, 7), (7, 4), (1, 1)):
                data = GPTDatasetV1(part, tokenizer, context, stride)
                last = [*data[-1][0].tolist(), *data[-1][1].tolist()]
                out.write(f"{context} {stride} {len(data)} {' '.join(map(str, last))}\n")


class Listener:
    """Puts itself around the functions that the package's training loops call, and writes what passes."""

    def __init__(self, name):
        self.files = {part: open(os.path.join(FOLDER, name + part), "w", newline="\n", encoding="utf-8")
                      for part in (".csv", "-steps.csv", "-samples.txt")}  # fmt: skip
        self.write(".csv", "step,epoch,tokens,train_loss,val_loss,learning_rate")
        self.write("-steps.csv", "step,loss,learning_rate")
        self.step, self.tokens, self.epoch = -1, 0, 1

    def write(self, part, line):
        self.files[part].write(line + "\n")
        self.files[part].flush()
        print(line, flush=True)

    def row(self, epoch, train_loss, val_loss, lr):
        self.write(".csv", f"{self.step},{epoch},{self.tokens},{train_loss!r},{val_loss!r},{lr!r}")

    def listen(self, module, optimizer):
        """For the rest of this process: so one run a process."""
        loss_batch, evaluate, sample = ch05.calc_loss_batch, ch05.evaluate_model, ch05.generate_and_print_sample
        to_text = ch05.token_ids_to_text
        lr = lambda: optimizer.param_groups[0]["lr"]

        def calc_loss_batch(inputs, targets, model, device):
            loss = loss_batch(inputs, targets, model, device)
            if model.training:
                self.step += 1
                self.tokens += inputs.numel()
                self.write("-steps.csv", f"{self.step},{loss.item()!r},{lr()!r}")
            return loss

        def evaluate_model(*arguments):
            train_loss, val_loss = evaluate(*arguments)
            self.row(self.epoch, train_loss, val_loss, lr())
            return train_loss, val_loss

        def token_ids_to_text(ids, tokenizer):
            self.ids = ids.squeeze(0).tolist()
            return to_text(ids, tokenizer)

        def generate_and_print_sample(*arguments):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                sample(*arguments)
            self.write("-samples.txt", " ".join(map(str, self.ids)) + "\t" + out.getvalue().rstrip("\n"))
            self.epoch += 1

        module.calc_loss_batch = calc_loss_batch
        module.evaluate_model = evaluate_model
        module.generate_and_print_sample = generate_and_print_sample
        ch05.token_ids_to_text = token_ids_to_text


def run(name, text, tokenizer):
    shape, recipe = re.match(r"(book|tiny)-(ch5|appendix-d)", name).groups()
    seed = int((re.search(r"-seed(\d+)", name) or [0, 123])[1])
    torch.set_num_threads(1 if "-1thread" in name or shape == "tiny" and "-2threads" not in name else 2)
    config = dict(SHAPES[shape], vocab_size=50257 if shape == "book" else TINY_VOCABULARY, qkv_bias=False,
                  drop_rate=0.1 if "-dropout" in name else 0.0)  # fmt: skip
    context = config["context_length"]
    split = int(0.90 * len(text))
    data = [GPTDatasetV1(part, tokenizer, context, context) for part in (text[:split], text[split:])]
    train_loader = DataLoader(data[0], batch_size=2, shuffle=True, drop_last=True)
    val_loader = DataLoader(data[1], batch_size=2, shuffle=False, drop_last=False)

    torch.manual_seed(seed)
    model = GPTModel(config)
    if "-double" in name:
        model.double()
    listener, device = Listener(name), torch.device("cpu")
    common = dict(eval_freq=5, start_context="Every effort moves you", tokenizer=tokenizer)

    state = torch.get_rng_state()
    model.eval()
    with torch.no_grad():
        losses = [ch05.calc_loss_loader(loader, model, device) for loader in (train_loader, val_loader)]
    listener.row(0, *losses, 0.0)
    torch.set_rng_state(state)

    if recipe == "ch5":
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0004, weight_decay=0.1)
        listener.listen(ch05, optimizer)
        ch05.train_model_simple(model, train_loader, val_loader, optimizer, device, num_epochs=10, eval_iter=5,
                                **common)  # fmt: skip
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.001, weight_decay=0.1)
        listener.listen(appendix_d, optimizer)
        n_epochs = 15
        appendix_d.train_model(model, train_loader, val_loader, optimizer, device, n_epochs=n_epochs, eval_iter=1,
                               warmup_steps=int(0.2 * len(train_loader) * n_epochs), initial_lr=1e-5, min_lr=1e-5,
                               **common)  # fmt: skip


TINY = [f"tiny-{recipe}{dropout}" for recipe in ("ch5", "appendix-d") for dropout in ("", "-dropout")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help='"tiny" for all of them, or names such as book-ch5-dropout')
    parser.add_argument("--text", help="the-verdict.txt, for the runs of the book's shape")
    arguments = parser.parse_args()
    names = TINY if arguments.names == ["tiny"] else arguments.names
    if len(names) > 1:  # each in a process of its own
        for name in names:
            text = [f"--text={arguments.text}"] if arguments.text else []
            subprocess.run([sys.executable, __file__, name, *text], check=True)
        return
    if names[0].startswith("tiny"):
        text = tiny_text()
        tokenizer = TinyTokenizer(text)
        tokenizer.save(os.path.join(FOLDER, "tokenizer"))
        with open(os.path.join(FOLDER, "tiny.txt"), "w", newline="", encoding="utf-8") as out:
            out.write(text)
        windows(text, tokenizer)
    else:
        with open(arguments.text, encoding="utf-8") as file:
            text = file.read()
        from make_tokenizer_fixtures import gpt2  # tiktoken's, from the merges in this repository

        tokenizer = gpt2()
    print(f"# {names[0]}", flush=True)
    run(names[0], text, tokenizer)


if __name__ == "__main__":
    main()
