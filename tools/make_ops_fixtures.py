#!/usr/bin/env python3
"""Makes tests/fixtures/ops/*.bin: operations of src/ops computed by PyTorch in double precision.

Made with torch 2.15 (CPU), numpy 2.x. Run from the repository root:

    python tools/make_ops_fixtures.py

Each file is raw little-endian float32, the arrays one after another in the order they are listed in
write(), inputs first, expected output last. Shapes are constants here and in tests/ops/test_ops.c.
"""

import pathlib

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


def leaf(x):
    """An input that gradients are wanted of."""
    return x.float().double().requires_grad_()


def embed_backward():
    vocab_size, n_ctx, n_embd = 7, 6, 5
    ids, positions = torch.tensor([3, 0, 6, 3, 3, 1, 0, 6]), torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
    wte, wpe, dout = leaf(random(vocab_size, n_embd)), leaf(random(n_ctx, n_embd)), random(len(ids), n_embd)
    grads = torch.autograd.grad(wte[ids] + wpe[positions], (wte, wpe), dout)
    write("embed_backward", ids.double(), positions.double(), dout, *grads)


def layer_norm_backward():
    n, n_embd = 5, 48
    x, weight, bias = leaf(random(n, n_embd, scale=3) + 5), leaf(random(n_embd)), leaf(random(n_embd))
    dout = random(n, n_embd)
    out = F.layer_norm(x, (n_embd,), weight, bias, 1e-5)
    write("layer_norm_backward", x, weight, dout, *torch.autograd.grad(out, (x, weight, bias), dout))


def activation_backward():
    x = leaf(torch.linspace(-14, 14, 1025, dtype=torch.float64))
    results = [F.gelu(x, approximate="tanh"), F.gelu(x), F.relu(x)]
    write("activation_backward", x, *results, *[torch.autograd.grad(y.sum(), x)[0] for y in results])


def linear_backward():
    n, n_in, n_out = 5, 24, 20
    x, weight, bias, dout = leaf(random(n, n_in)), leaf(random(n_in, n_out)), leaf(random(n_out)), random(n, n_out)
    write("linear_backward", x, weight, dout, *torch.autograd.grad(x @ weight + bias, (x, weight, bias), dout))


def attention_backward():
    # One sequence of 9 tokens, 3 heads of 8, as fused qkv rows; without and with dropout of a third of the weights.
    n, n_head, head_size = 9, 3, 8
    qkv = leaf(random(n, 3 * n_head * head_size, scale=2))
    dout = random(n, n_head * head_size)
    keep = (torch.rand(n_head, n, n) > 1 / 3).double()
    q, k, v = (part.view(n, n_head, head_size).transpose(0, 1) for part in qkv.chunk(3, dim=1))
    scores = q @ k.transpose(1, 2) / head_size**0.5
    scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), float("-inf"))
    arrays = [qkv, dout, keep, scores.logsumexp(-1)]
    for mask in (1, keep * 1.5):
        out = ((scores.softmax(-1) * mask) @ v).transpose(0, 1).reshape(n, -1)
        arrays += [out, torch.autograd.grad(out, qkv, dout, retain_graph=True)[0]]
    write("attention_backward", *arrays)


def head_loss_backward():
    n, n_embd, vocab_size = 6, 16, 50
    x, weight = leaf(random(n, n_embd)), leaf(random(vocab_size, n_embd))
    targets, scales = torch.tensor([0, 49, 7, 7, 23, 31]), random(n)
    loss = F.cross_entropy(x @ weight.T, targets, reduction="none")
    grads = torch.autograd.grad((loss * scales).sum(), (x, weight))
    write("head_loss_backward", x, weight, targets.double(), scales, loss, *grads)


def adamw():
    # Ten steps in float32 by torch.optim.AdamW: first with decay on everything, then on the first half alone and with
    # gradients scaled as clipping does. Weights of the default (for-each) step and of the fused one; m and v are the
    # same in both. Halves of 32, a multiple of what PyTorch's vectors take, since what is left over is rounded otherwise.
    n, steps = 64, 10
    start, gradients, scales = random(n).float(), random(steps, n, scale=0.1).float(), torch.rand(steps)
    rates = [1e-3 * min(1, (step + 1) / 4) for step in range(steps)]
    arrays = [start, gradients, torch.tensor(rates), scales]
    for half in (False, True):
        weights, moments = {}, {}
        for fused in (False, True):
            parts = [part.clone().requires_grad_() for part in start.split(n // 2)]
            groups = [{"params": parts[:1]}, {"params": parts[1:], "weight_decay": 0.0 if half else 0.1}]
            optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=fused)
            for step in range(steps):
                gradient = gradients[step] * (scales[step] if half else 1)
                for weight, part in zip(parts, gradient.split(n // 2)):
                    weight.grad = part.clone()
                for group in optimizer.param_groups:
                    group["lr"] = rates[step]
                optimizer.step()
            weights[fused] = parts
            moments[fused] = [optimizer.state[part][key] for key in ("exp_avg", "exp_avg_sq") for part in parts]
        assert all(torch.equal(a, b) for a, b in zip(moments[False], moments[True]))
        arrays += weights[False] + weights[True] + moments[True]
    write("adamw", *arrays)


def main():
    torch.manual_seed(1)
    OUT.mkdir(parents=True, exist_ok=True)
    for make in (
        linear,
        activation,
        layer_norm,
        attention,
        head_loss,
        embed_backward,
        layer_norm_backward,
        activation_backward,
        linear_backward,
        attention_backward,
        head_loss_backward,
        adamw,
    ):
        make()


if __name__ == "__main__":
    main()
