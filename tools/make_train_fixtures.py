#!/usr/bin/env python3
"""Writes tests/fixtures/optimizer/steps.txt: what PyTorch's AdamW and clip_grad_norm_ do in ten steps.

    python tools/make_train_fixtures.py

Made with torch 2.15 (CPU). Two tensors, "matrix" (weight decay 0.1) and "vector" (none), as one optimizer with two
groups; each step has its own learning rate, and gradients that are clipped to norm 1 or not, by their size. The file is
lines of numbers, F32 with all digits: first both tensors; then for each step the learning rate, the norm that
clip_grad_norm_ returned, both gradients before clipping, both tensors after the step.
"""

import os

import torch

FOLDER = os.path.join(os.path.dirname(__file__), "../tests/fixtures/optimizer")
SHAPES = [(3, 4), (5,)]
DECAYS = [0.1, 0.0]


def main():
    torch.manual_seed(7)
    tensors = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    optimizer = torch.optim.AdamW([{"params": [t], "weight_decay": d} for t, d in zip(tensors, DECAYS)])
    lines = []

    def line(values):
        lines.append(" ".join(f"{float(value):.9g}" for value in values))

    for tensor in tensors:
        line(tensor.detach().flatten())
    for step in range(10):
        lr = 1e-2 / (1 + step)
        size = [0.02, 3.0, 0.3, 40.0, 1e-6, 0.25, 1.0, 1e-3, 0.27, 2.0][step]
        for group in optimizer.param_groups:
            group["lr"] = lr
        for tensor in tensors:
            tensor.grad = torch.randn_like(tensor) * size
        gradients = [tensor.grad.clone() for tensor in tensors]
        norm = torch.nn.utils.clip_grad_norm_(tensors, max_norm=1.0)
        optimizer.step()
        line([lr])
        line([norm])
        for values in gradients + [tensor.detach() for tensor in tensors]:
            line(values.flatten())
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, "steps.txt"), "w") as file:
        file.write("\n".join(lines) + "\n")


main()
