#!/usr/bin/env python3
"""Compares the first 20 steps of chapter 7 at GPT-2 medium's size with PyTorch's (tests/fixtures/instruct/steps355.json).

    python tools/make_instruct_fixtures.py instruction-data.json steps355 FOLDER
    build/my-llm instruct train --data instruction-data.json --preset book -m FOLDER --out RUN --steps 21 --eval-freq 2 \\
        --eval-iter 1 --no-respond --no-pth
    python tools/check_instruct_steps.py RUN book

Prints each evaluation of both sides and the largest difference. For --preset epfl, epfl.
"""

import csv
import json
import sys
from pathlib import Path

FIXTURE = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "instruct" / "steps355.json"


def main():
    run, want = Path(sys.argv[1]), json.loads(FIXTURE.read_text())[sys.argv[2]]
    with open(run / "log.csv", newline="") as file:
        ours = [(int(row["step"]), float(row["train_loss"]), float(row["val_loss"])) for row in csv.DictReader(file)]
    largest = 0
    for (step, train, val), want_train, want_val in zip(ours, want["train"], want["val"], strict=True):
        largest = max(largest, abs(train - want_train), abs(val - want_val))
        print(f"step {step:3}  PyTorch {want_train:.6f} {want_val:.6f}  my-llm {train:.6f} {val:.6f}")
    print(f"largest difference of a loss: {largest:.2e}")


if __name__ == "__main__":
    main()
