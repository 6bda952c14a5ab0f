#!/usr/bin/env python3
"""Makes tests/fixtures/ops/*.bin: operations of src/ops computed by PyTorch in double precision.

Made with torch 2.15 (CPU), numpy 2.x. Run from the repository root:

    python tools/make_ops_fixtures.py

Each file is raw little-endian float32, the arrays one after another in the order they are listed in
write(), inputs first, expected output last. Shapes are constants here and in tests/ops/test_ops.c.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F

OUT = pathlib.Path("tests/fixtures/ops")


def random(*shape, scale=1.0):
    """Numbers that are the same in float32 and float64."""
    return (torch.randn(*shape, dtype=torch.float64) * scale).float().double()


def write(name, *arrays):
    with open(OUT / f"{name}.bin", "wb") as file:
        for array in arrays:
            file.write(array.detach().numpy().astype("<f4").tobytes())


def linear():
    n, n_in, n_out = 5, 24, 20
    x, weight, bias, residual = random(n, n_in), random(n_in, n_out), random(n_out), random(n, n_out)
    product = x @ weight + bias
    activations = [product, F.gelu(product, approximate="tanh"), F.gelu(product), F.relu(product)]
    write("linear", x, weight, bias, residual, *[a + residual for a in activations])


def activation():
    x = torch.linspace(-14, 14, 2049, dtype=torch.float64).float().double()
    write("activation", x, F.gelu(x, approximate="tanh"), F.gelu(x))


def layer_norm():
    n, n_embd = 4, 48
    x, weight, bias = random(n, n_embd, scale=3) + 5, random(n_embd), random(n_embd)
    x = x.float().double()
    write("layer_norm", x, weight, bias, F.layer_norm(x, (n_embd,), weight, bias, 1e-5))


def attention():
    # One sequence of 9 tokens, 3 heads of 8, as fused qkv rows.
    n, n_head, head_size = 9, 3, 8
    qkv = random(n, 3 * n_head * head_size, scale=2)
    q, k, v = (part.view(n, n_head, head_size).transpose(0, 1) for part in qkv.chunk(3, dim=1))
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    write("attention", qkv, out.transpose(0, 1).reshape(n, -1))


def head_loss():
    n, n_embd, vocab_size = 6, 16, 50
    x, weight = random(n, n_embd), random(vocab_size, n_embd)
    targets = torch.tensor([0, 49, 7, 7, 23, 31])
    write("head_loss", x, weight, targets.double(), F.cross_entropy(x @ weight.T, targets, reduction="none"))


def main():
    torch.manual_seed(1)
    OUT.mkdir(parents=True, exist_ok=True)
    for make in (linear, activation, layer_norm, attention, head_loss):
        make()


if __name__ == "__main__":
    main()
