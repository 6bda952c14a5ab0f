#!/usr/bin/env python3
"""Writes tests/fixtures/random/random.json: what PyTorch, NumPy and pandas draw.

    python tools/make_random_fixtures.py

Made with torch 2.15.0 (CPU, AVX2), numpy 2.4.6, pandas 3.1.1.

The file is a list of sequences. A sequence starts from a seed and makes draws, one after another, from
the same generator; each draw has its name, its arguments, the first values (floats as their bits) and the
FNV-1a hash of all of them as bytes. The last draw of each, one word, shows that as many words were taken.
"""

import json
import os

import numpy as np
import pandas as pd
import torch

SHOWN = 20


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def draw(name, values, **args):
    """One draw: values is a numpy array of float32, float64, int64 or uint8."""
    values = np.ascontiguousarray(values).ravel()
    view = {"f": {4: np.uint32, 8: np.uint64}.get(values.itemsize)}.get(values.dtype.kind)
    shown = values.view(view) if view else values
    return {"draw": name, "n": len(values), **args, "first": [str(v) for v in shown[:SHOWN]], "hash": fnv(values.tobytes())}


def torch_word():
    """One word of torch's generator: an int32's random_() is its low 31 bits."""
    return draw("word", torch.empty(1, dtype=torch.int32).random_().numpy().astype(np.int64))


def torch_sequence(seed, *draws):
    torch.manual_seed(seed)
    return {"seed": seed, "draws": [make() for make in draws] + [torch_word()]}


def rand(n):
    return lambda: draw("torch.rand", torch.rand(n).numpy())


def rand64(n):
    return lambda: draw("torch.rand64", torch.rand(n, dtype=torch.float64).numpy())


def uniform(n, low, high):
    return lambda: draw("torch.uniform_", torch.empty(n).uniform_(low, high).numpy(), low=low, high=high)


def normal(n, mean=0.0, std=1.0):
    return lambda: draw("torch.normal_", torch.empty(n).normal_(mean, std).numpy(), mean=mean, std=std)


def embedding(rows, cols):
    return lambda: draw("torch.normal_", torch.nn.Embedding(rows, cols).weight.detach().numpy(), mean=0.0, std=1.0)


def linear(fan_in, fan_out, bias=True):
    def make():
        made = torch.nn.Linear(fan_in, fan_out, bias=bias)
        both = [made.weight.detach().numpy().ravel()] + ([made.bias.detach().numpy()] if bias else [])
        return draw("nn.Linear", np.concatenate(both), fan_in=fan_in, fan_out=fan_out, bias=bias)

    return make


def randperm(n):
    return lambda: draw("torch.randperm", torch.randperm(n).numpy())


def loader(n, shuffle, batch=4):
    def make():
        batches = torch.utils.data.DataLoader(list(range(n)), batch_size=batch, shuffle=shuffle)
        return draw("DataLoader", np.array([int(i) for b in batches for i in b], dtype=np.int64), shuffle=shuffle)

    return make


def bernoulli(n, p):
    return lambda: draw("torch.bernoulli_", torch.empty(n).bernoulli_(p).numpy().astype(np.uint8), p=p)


def dropout(n, p):
    """The mask that dropout(x, p) keeps."""

    def make():
        kept = torch.nn.functional.dropout(torch.ones(n), p).numpy()
        assert set(np.unique(kept)) <= {np.float32(0), np.float32(1 / (1 - p))}
        return draw("torch.bernoulli_", (kept > 0).astype(np.uint8), p=1 - p)

    return make


def numpy_sequence(seed):
    state = np.random.RandomState(seed)
    draws = [draw("numpy.random_sample", state.random_sample(50))]
    for n in (1, 2, 3, 10, 1000, 70000):
        draws.append(draw("numpy.permutation", state.permutation(n).astype(np.int64)))
    shuffled = np.arange(257)
    state.shuffle(shuffled)
    draws.append(draw("numpy.permutation", shuffled))
    draws.append(draw("numpy.random_sample", state.random_sample(1)))
    return {"seed": seed, "draws": draws}


def pandas_sequences(seed):
    """Each sample() of a frame with an integer seed starts from a fresh generator."""
    frame = pd.DataFrame({"row": np.arange(4825)})
    part = frame.sample(n=747, random_state=seed)["row"].to_numpy()
    whole = pd.DataFrame({"row": np.arange(1494)}).sample(frac=1, random_state=seed)["row"].to_numpy()
    return [
        {"seed": seed, "draws": [draw("pandas.sample", part, rows=4825)]},
        {"seed": seed, "draws": [draw("pandas.sample", whole, rows=1494)]},
    ]


def main():
    sequences = [
        torch_sequence(123, rand(700), rand64(30), rand(1), uniform(1000, -0.25, 1.5), uniform(7, 2.0, 2.0)),
        # Scalar normal numbers come in pairs; the second waits through other draws, also through blocks.
        torch_sequence(123, normal(5), rand(3), normal(20), normal(4, 1.0, 0.5), normal(15), normal(16), normal(17)),
        torch_sequence(0, normal(1), normal(1), normal(1)),
        torch_sequence(2**33 + 5, normal(200003, 0.0, 0.02), normal(31)),
        # A small book-style GPT, drawn in the order of its modules.
        torch_sequence(123, embedding(500, 48), embedding(32, 48), linear(48, 48, False), linear(48, 48, False),
                       linear(48, 48, False), linear(48, 48), linear(48, 192), linear(192, 48), linear(48, 500, False),
                       loader(9, False), loader(9, True), dropout(4000, 0.1), loader(9, True)),
        torch_sequence(7, linear(768, 2), linear(3, 5), linear(1, 1), linear(1024, 33)),
        torch_sequence(42, randperm(1), randperm(2), randperm(17), randperm(70000)),
        torch_sequence(1234567890123, loader(1, True, 1), loader(130, True, 8), loader(1045, True, 8)),
        torch_sequence(5, bernoulli(3000, 0.9), dropout(3000, 0.5), bernoulli(10, 0.0), bernoulli(10, 1.0)),
        numpy_sequence(123), numpy_sequence(0), numpy_sequence(4294967295),
        *pandas_sequences(123),
    ]  # fmt: skip
    path = os.path.join(os.path.dirname(__file__), "../tests/fixtures/random/random.json")
    with open(path, "w", encoding="utf-8") as out:
        out.write("[\n" + ",\n".join(
            f'{{"seed": {s["seed"]}, "draws": [\n  ' + ",\n  ".join(json.dumps(d) for d in s["draws"]) + "]}"
            for s in sequences) + "\n]\n")  # fmt: skip


if __name__ == "__main__":
    main()
