"""`run.py instruct`: the book's instruction tuning at GPT-2 medium's size (355M, random weights), beside PyTorch.

Neither side runs the recipe whole, which takes the book's code more than an hour. Timed are the same first optimizer steps
of it on both sides, batches that are only looked at, and answers to test entries, all of as many tokens as an expected
answer has on average; the whole is these, counted as often as the recipe has them. --only takes one of: train, answer.

Needs llms-from-scratch 1.0.19 in the peers' environment, as `run.py classify` does.
"""

import contextlib
import csv
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from peer import peer

STEPS = 232  # of the recipe: 2 epochs of 935 entries in whole batches of 8
EVAL_ITER = 5  # batches of each of two parts in an evaluation
LOOKED_AT = 2 * EVAL_ITER * (47 + 1)  # batches of 47 evaluations and of the one before training
SAMPLED = 2 * 50  # tokens of the two sample answers
ANSWERS, ANSWER_TOKENS = 110, 12  # the test entries' expected answers have 1,344 tokens in all


def ours(run, options, folder, n_steps, eval_freq, *more):
    """(seconds between the evaluations after the first step and after the last, peak bytes) of a run of the program."""
    _, peak = run([options.my_llm, "instruct", "train", "--data", options.file, "-m", folder / "base", "--out",
                   folder / "run", "--loss", options.loss, "--steps", 1 + n_steps, "--eval-freq", eval_freq, "--eval-iter", EVAL_ITER,
                   "--sample-tokens", 0, "--no-pth", "--no-respond", "--force", "-t", options.threads, *more],
                  stderr=subprocess.DEVNULL)  # fmt: skip
    with open(folder / "run" / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return float(rows[-1]["seconds"]) - float(rows[0]["seconds"]), peak


def train(run, options, folder):
    """{name: (seconds of a step, seconds of a batch looked at, peak bytes)}"""
    n = options.steps
    found = {}
    for name, more in {"F32, tied": [], "F32, untied": ["--head", "untied"], "BF16, tied": ["--compute", "bf16"]}.items():
        seldom, peak = ours(run, options, folder, n, n, *more)
        often, _ = ours(run, options, folder, n, 1, *more)
        look = (often - seldom) / (n - 1) / (2 * EVAL_ITER)
        found[name] = ((seldom - 2 * EVAL_ITER * look) / n, look, peak)
        print(f"my-llm, {name}: a step {found[name][0]:.2f} s, a batch looked at {look:.2f} s", flush=True)
    book = peer(options, "instruct_peers.py", "train", "--model", folder / "base", "--file", options.file, "--loss", options.loss,
                "--steps", n)
    found["book"] = (book["step"], book["look"], book["peak_bytes"])
    print(f"the book's code, batches of {book['tokens']} tokens: a step {book['step']:.2f} s, a batch looked at "
          f"{book['look']:.2f} s", flush=True)
    print("\n| 355M, the recipe's own batches | a step | a batch looked at | peak memory | step of ours |\n"
          "| --- | ---: | ---: | ---: | ---: |")  # fmt: skip
    for name, (step, look, peak) in found.items():
        print(f"| {name} | {step:.2f} s | {look:.2f} s | {peak / 1e9:.2f} GB | {book['step'] / step:.2f} × |")
    return found


def answer(options, folder):
    """(seconds of all answers of ours, seconds of a token of the book's code)"""
    start = time.perf_counter()
    entries = json.loads(pathlib.Path(options.file).read_text(encoding="utf-8"))
    first = int(len(entries) * 0.85)
    asked = folder / "asked.json"
    asked.write_text(json.dumps(entries[first : first + ANSWERS]), encoding="utf-8")
    subprocess.run([str(word) for word in (options.my_llm, "instruct", "respond", folder / "base", asked, "-o",
                    folder / "answered.json", "-n", ANSWER_TOKENS, "--force", "-t", options.threads)], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    seconds = time.perf_counter() - start
    token = peer(options, "instruct_peers.py", "answer", "--model", folder / "base", "--file", options.file, "--tokens", ANSWER_TOKENS)["token"]
    book = ANSWERS * ANSWER_TOKENS * token
    print(f"\n{ANSWERS} answers of {ANSWER_TOKENS} tokens: my-llm {seconds:.1f} s; the book's code {token:.2f} s a token, "
          f"{book:.0f} s: {book / seconds:.1f} ×", flush=True)
    return seconds, token


def instruct(run, options):
    if not options.file:
        sys.exit("run.py instruct needs a FILE: instruction-data.json")
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(options.folder or stack.enter_context(tempfile.TemporaryDirectory()))
        if not (folder / "base" / "merges.txt").exists():
            (folder / "base").mkdir(parents=True, exist_ok=True)
            peer(options, "instruct_peers.py", "make", "--model", folder / "base")
        steps = train(run, options, folder) if options.only in "train" else None
        answers = answer(options, folder) if options.only in "answer" else None
        if steps is None or answers is None:
            return
        seconds, token = answers
        step, look, _ = steps["book"]
        book = STEPS * step + LOOKED_AT * look + (SAMPLED + ANSWERS * ANSWER_TOKENS) * token
        print(f"\n| the whole recipe, from {options.steps} steps | min | book's code of ours |\n| --- | ---: | ---: |\n"
              f"| the book's code | {book / 60:.0f} | |")  # fmt: skip
        for name in ("F32, tied", "F32, untied", "BF16, tied"):
            step, look, _ = steps[name]
            whole = STEPS * step + LOOKED_AT * look + seconds * (1 + SAMPLED / (ANSWERS * ANSWER_TOKENS))
            print(f"| my-llm, {name} | {whole / 60:.0f} | {book / whole:.2f} × |")
