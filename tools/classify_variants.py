#!/usr/bin/env python3
"""Trains the variants of chapter 6 with several seeds, and prints their test accuracies as a table for
docs/classification.md.

    python tools/classify_variants.py build/my-llm SMSSpamCollection WORK [SEEDS] [VARIANT ...]

A seed draws the balanced set, its split, the new head and the order of training. Runs lie under WORK; those that are
finished there are not done again, so that this may be stopped and started at any time. SEEDS: 5 when not given. All in
all some hours on two cores.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

BUNDLED = Path(__file__).resolve().parent.parent / "models" / "bundled"
FIRST_SEED = 123
BOOK = ["--preset", "book"]
VARIANTS = {
    "head only": [*BOOK, "--train-layers", "head"],
    "the book's: last block, padded, last position": BOOK,
    "last token of the text": [*BOOK, "--pooling", "last-token"],
    "last two blocks": [*BOOK, "--train-layers", "2"],
    "all layers": [*BOOK, "--train-layers", "all"],
    "all layers, no padding": [*BOOK, "--train-layers", "all", "--pooling", "last-token"],
    "LoRA, rank 16, alpha 16": [*BOOK, "--lora-rank", "16", "--pooling", "last-token"],
    "LoRA, rank 16, alpha 256 (the book's 16)": [*BOOK, "--lora-rank", "16", "--lora-alpha", "256", "--pooling", "last-token"],
    "random weights, all layers": [*BOOK, "--train-layers", "all"],
}  # fmt: skip


def my_llm(program, *words):
    subprocess.run([program, *map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def random_model(program, data, work):
    """Of the bundled model's shape and vocabulary: one step of training that moves nothing."""
    if not (work / "random" / "model").exists():
        text = work / "text.txt"
        text.write_bytes(Path(data).read_bytes())
        my_llm(program, "pretrain", text, "--out", work / "random", "--tokenizer", BUNDLED, "--n-layer", 8, "--n-head", 4,
               "--n-embd", 256, "--context", 512, "--steps", 1, "--lr", 0, "--weight-decay", 0, "--force")  # fmt: skip
    return work / "random"


def measure(program, data, work, name, seed):
    out = work / f"{list(VARIANTS).index(name)}-{seed}"
    if not (out / "report.md").exists():
        model = random_model(program, data, work) if name.startswith("random") else BUNDLED
        my_llm(program, "classify", "train", "--data", data, "-m", model, "--out", out, "--seed", seed, "--force",
               *VARIANTS[name])  # fmt: skip
    run = json.loads((out / "run.json").read_text())
    return 100 * run["final_accuracy"]["test"], run["results"]["seconds"]


def main():
    program, data, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    n_seeds = int(sys.argv[4]) if len(sys.argv) > 4 else 5
    work.mkdir(parents=True, exist_ok=True)
    print("| variant | test accuracy, % | least | most | s |\n| --- | --- | --- | --- | --- |")
    for name in sys.argv[5:] or VARIANTS:
        runs = [measure(program, data, work, name, FIRST_SEED + i) for i in range(n_seeds)]
        tests, seconds = zip(*runs)
        spread = statistics.stdev(tests) if n_seeds > 1 else 0
        print(f"| {name} | {statistics.mean(tests):.2f} ± {spread:.2f} | {min(tests):.2f} | {max(tests):.2f} | "
              f"{statistics.median(seconds):.0f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
