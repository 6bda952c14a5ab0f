#!/usr/bin/env python3
"""Compares a run of the book's recipe with PyTorch's: its first 60 steps at GPT-2's size with
tests/fixtures/classify/steps124.json, or a whole one with what make_classify_fixtures.py has printed.

    python tools/make_classify_fixtures.py SMSSpamCollection steps124 MODEL.pth
    build/my-llm classify train --data SMSSpamCollection --preset book -m MODEL.pth --out RUN --steps 60 --eval-freq 10
    python tools/check_classify_steps.py RUN

    python tools/make_classify_fixtures.py SMSSpamCollection recipe MODEL RECIPE.json
    build/my-llm classify train --data SMSSpamCollection --preset book -m MODEL --out RUN
    python tools/check_classify_steps.py RUN RECIPE.json

Prints each evaluation of both sides and the largest difference.
"""

import csv
import json
import sys
from pathlib import Path

FIXTURE = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "classify" / "steps124.json"


def main():
    run, want = Path(sys.argv[1]), json.loads((Path(sys.argv[2]) if len(sys.argv) > 2 else FIXTURE).read_text())
    if "train_losses" in want:
        both = zip(want["train_losses"], want["val_losses"])
        want["evaluations"] = [(50 * i, train, val) for i, (train, val) in enumerate(both)]
    with open(run / "log.csv", newline="") as file:
        ours = {int(row["step"]): (float(row["train_loss"]), float(row["val_loss"])) for row in csv.DictReader(file)}
    largest = 0
    for step, train, val in want["evaluations"]:
        largest = max(largest, abs(ours[step][0] - train), abs(ours[step][1] - val))
        print(f"step {step:3}  PyTorch {train:.6f} {val:.6f}  my-llm {ours[step][0]:.6f} {ours[step][1]:.6f}")
    found = json.loads((run / "run.json").read_text())
    print(f"initial accuracies: PyTorch {want['initial_accuracy']}, my-llm {list(found['initial_accuracy'].values())}")
    if "final_accuracy" in want:
        epochs = list(zip(want["train_accuracies"], want["val_accuracies"]))
        print(f"epochs: PyTorch {epochs}, my-llm {[tuple(epoch.values()) for epoch in found['epoch_accuracy']]}")
        print(f"final: PyTorch {want['final_accuracy']}, my-llm {list(found['final_accuracy'].values())}")
    print(f"largest difference of a loss: {largest:.2e}")


if __name__ == "__main__":
    main()
