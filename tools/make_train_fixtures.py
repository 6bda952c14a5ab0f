#!/usr/bin/env python3
"""Writes tests/fixtures/optimizer/: what PyTorch's AdamW and clip_grad_norm_ do.

    python tools/make_train_fixtures.py

Made with torch 2.15 (CPU) and llms-from-scratch 1.0.19.

steps.txt: ten steps. Two tensors, "matrix" (weight decay 0.1) and "vector" (none), as one optimizer with two
groups; each step has its own learning rate, and gradients that are clipped to norm 1 or not, by their size. The file is
lines of numbers, F32 with all digits: first both tensors; then for each step the learning rate, the norm that
clip_grad_norm_ returned, both gradients before clipping, both tensors after the step.

norms.txt: the norm of the gradients of the book's GPTModel, a model a line: layers, heads, width, context, vocabulary,
whether q, k, v have a bias; then the norm that clip_grad_norm_ returns, and the same in float64, both as hexadecimal
floats. The gradients are what numbers() says, drawn on through the model's parameters.
"""

import os

import numpy
import torch
from llms_from_scratch.ch04 import GPTModel

FOLDER = os.path.join(os.path.dirname(__file__), "../tests/fixtures/optimizer")
SHAPES = [(3, 4), (5,)]
DECAYS = [0.1, 0.0]
MODELS = [(2, 2, 12, 7, 1001, 1), (1, 4, 64, 16, 40000, 0), (1, 1, 5, 3, 7, 1), (3, 1, 3, 1, 9, 0), (1, 1, 7, 3, 11, 1)]


def numbers(first, n):
    """Numbers first .. first + n - 1 of a sequence, exact in F32."""
    hashes = (numpy.arange(first, first + n, dtype=numpy.uint64) * 2654435761) % 2**32 // 256
    return torch.from_numpy((hashes.astype(numpy.float64) / 2**24 - 0.5).astype(numpy.float32))


def norms():
    for model in MODELS:
        n_layer, n_head, n_embd, n_ctx, n_vocab, bias = model
        parameters = list(GPTModel({"vocab_size": n_vocab, "context_length": n_ctx, "emb_dim": n_embd, "n_heads": n_head,
                                    "n_layers": n_layer, "drop_rate": 0.0, "qkv_bias": bool(bias)}).parameters())
        first, squares = 0, 0.0
        for parameter in parameters:
            parameter.grad = numbers(first, parameter.numel()).reshape(parameter.shape)
            squares += float((parameter.grad.double() ** 2).sum())
            first += parameter.numel()
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, max_norm=1.0))
        yield f"{' '.join(map(str, model))} {norm.hex()} {(squares**0.5).hex()}"


def steps():
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
    return lines


def main():
    os.makedirs(FOLDER, exist_ok=True)
    for name, lines in (("steps.txt", steps()), ("norms.txt", norms())):
        with open(os.path.join(FOLDER, name), "w") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
