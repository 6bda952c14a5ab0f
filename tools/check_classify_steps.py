#!/usr/bin/env python3
"""Compares the first 60 steps of the book's recipe at GPT-2's size with PyTorch's (tests/fixtures/classify/steps124.json).

    python tools/make_classify_fixtures.py SMSSpamCollection steps124 MODEL.pth
    build/my-llm classify train --data SMSSpamCollection --preset book -m MODEL.pth --out RUN --steps 60 --eval-freq 10
    python tools/check_classify_steps.py RUN

Prints each evaluation of both sides and the largest difference.
"""

import csv
import json
import sys
from pathlib import Path

FIXTURE = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "classify" / "steps124.json"


def main():
    run, want = Path(sys.argv[1]), json.loads(FIXTURE.read_text())
    with open(run / "log.csv", newline="") as file:
        ours = {int(row["step"]): (float(row["train_loss"]), float(row["val_loss"])) for row in csv.DictReader(file)}
    largest = 0
    for step, train, val in want["evaluations"]:
        largest = max(largest, abs(ours[step][0] - train), abs(ours[step][1] - val))
        print(f"step {step:3}  PyTorch {train:.6f} {val:.6f}  my-llm {ours[step][0]:.6f} {ours[step][1]:.6f}")
    accuracy = list(json.loads((run / "run.json").read_text())["initial_accuracy"].values())
    print(f"initial accuracies: PyTorch {want['initial_accuracy']}, my-llm {accuracy}")
    print(f"largest difference of a loss: {largest:.2e}")


if __name__ == "__main__":
    main()
