"""`run.py classify`: the book's spam recipe and prediction at GPT-2's size (124M, random weights), beside PyTorch.

Our program runs the recipe whole, from the file to the saved classifier. The book's code would take most of half an hour:
a few of its steps and a few batches that are only looked at are timed, and counted as often as the recipe has them.
Prediction is timed whole on both sides, without opening the model. --only takes one of: last-position, last-token,
predict.

Needs llms-from-scratch 1.0.19 in the peers' environment, installed without what it asks for but does not need here:
`pip install --no-deps llms-from-scratch==1.0.19 && pip install matplotlib pandas`.
"""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from peer import peer

STEPS = 650  # of the recipe: 5 epochs of 1,045 messages
# Its batches that are only looked at: before training 10 of each part, 5 of two parts in 13 evaluations and after 5
# epochs, and at the end all of 1,045 (in whole batches), 149 and 300 messages.
LOOKED_AT = 3 * 10 + 2 * 5 * (13 + 5) + 130 + 19 + 38


def messages(path):
    """(label, text) of the SMS Spam Collection."""
    return [line.split("\t", 1) for line in path.read_text(encoding="utf-8").splitlines() if "\t" in line and '"' not in line]


def ours(options, *words, **more):
    """Seconds of one call of the program."""
    start = time.perf_counter()
    subprocess.run([str(word) for word in (options.my_llm, *words)], check=True, stdout=subprocess.PIPE,
                   stderr=subprocess.DEVNULL, **more)
    return time.perf_counter() - start


def train(options, folder, poolings):
    seconds = {}
    for pooling in poolings:
        seconds[pooling] = ours(options, "classify", "train", "--data", options.file, "--preset", "book", "-m",
                                folder / "base", "--out", folder / pooling, "--pooling", pooling, "-t", options.threads,
                                "--force")
        print(f"my-llm, {pooling}: {seconds[pooling]:.1f} s", flush=True)
    book = peer(options, "classify_peers.py", "train", "--steps", options.steps)
    whole = STEPS * book["step"] + LOOKED_AT * book["forward"]
    print(f"the book's code: {STEPS} steps of {book['step']:.3f} s, {LOOKED_AT} batches that are only looked at of "
          f"{book['forward']:.3f} s")
    print("\n| the recipe, 124M | s | book's code of ours |\n| --- | ---: | ---: |")
    print(f"| the book's code, extrapolated | {whole:.0f} | |")
    for pooling, value in seconds.items():
        print(f"| my-llm, {pooling} | {value:.0f} | {whole / value:.1f} × |")


def predict(options, folder):
    texts = [text for _, text in messages(pathlib.Path(options.file))[: options.texts]]
    lines = "\n".join(texts).encode()
    seconds = {}
    for name, model in (("my-llm, unpadded", "classifier"), ("my-llm, padded to 120", "padded")):
        command = ("classify", "predict", folder / model, "-", "-t", options.threads)
        opening = min(ours(options, *command, input=b"Hello") for _ in range(2))
        seconds[name] = min(ours(options, *command, input=lines) for _ in range(options.rounds)) - opening
    (folder / "texts.json").write_text(json.dumps(texts))
    found = peer(options, "classify_peers.py", "predict", "--model", folder / "classifier", "--texts", folder / "texts.json", "--rounds",
                 options.rounds)
    seconds.update(found)
    print(f"\n| {len(texts)} messages, 124M | s | my-llm unpadded is faster by |\n| --- | ---: | ---: |")
    for name, value in seconds.items():
        print(f"| {name} | {value:.2f} | {value / seconds['my-llm, unpadded']:.2f} × |")


def classify(options):
    if not options.file:
        sys.exit("run.py classify needs a FILE: the SMSSpamCollection")
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(options.folder or stack.enter_context(tempfile.TemporaryDirectory()))
        if not (folder / "padded" / "merges.txt").exists():
            peer(options, "classify_peers.py", "make", "--model", folder)
        poolings = [name for name in ("last-position", "last-token") if options.only in name]
        if poolings:
            train(options, folder, poolings)
        if options.only in "predict":
            predict(options, folder)
