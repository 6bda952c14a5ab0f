#!/usr/bin/env python3
"""Checks that transformers opens what `my-llm convert` writes, for every fixture and dtype.

    python3 tools/check_convert.py [--build build]

Written for torch 2.15.0 and transformers 5.23.0. The model's logits in float32 must be those of the fixture's
reference to 1e-5 of the largest where no weight was rounded; where weights were, of the original rounded by torch.
Needs a built program; the repository's own tests need neither torch nor transformers.
"""
import argparse
import os
import subprocess
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def read_reference(models, name):
    with open(os.path.join(models, "reference", name + ".txt")) as f:
        lines = {line.split()[0]: line.split()[1:] for line in f}
    ids = [int(word) for word in lines["prompt"][1:] + lines["greedy"][1:]]
    rows, columns = map(int, lines["logits"])
    return ids, np.fromfile(os.path.join(models, "reference", name + ".bin"), "<f4").reshape(rows, columns)


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].numpy()


def check(program, models, name, dtype, folder):
    out = os.path.join(folder, name + "-" + dtype)
    more = [] if dtype == "stored" else ["--dtype", dtype]
    more += ["--shard-size", "30kB"] if dtype == "f32" else []
    subprocess.run([program, "convert", *more, os.path.join(models, name), out], check=True, stderr=subprocess.DEVNULL)
    model, notes = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager",
                                                        output_loading_info=True)
    assert not any(notes[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), (name, dtype, notes)
    ids, expected = read_reference(models, name)
    if dtype in ("f16", "bf16"):
        exact = os.path.join(folder, name + "-stored")
        rounded = AutoModelForCausalLM.from_pretrained(exact, dtype=DTYPES[dtype], attn_implementation="eager").float()
        expected = logits(rounded.eval(), ids)
    difference = np.abs(logits(model.eval(), ids) - expected).max() / np.abs(expected).max()
    assert difference < 1e-5, (name, dtype, difference)
    if os.path.exists(os.path.join(models, name, "vocab.json")):
        text = "the cat sat on the mat; that was that. é"
        ours, theirs = (AutoTokenizer.from_pretrained(path) for path in (out, os.path.join(models, name)))
        assert ours(text).input_ids == theirs(text).input_ids
    return difference


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(os.path.dirname(HERE), "build"))
    program = os.path.join(os.path.abspath(parser.parse_args().build), "my-llm")
    models = os.path.join(os.path.dirname(HERE), "tests", "fixtures", "models")
    names = sorted(name for name in os.listdir(models) if os.path.isdir(os.path.join(models, name)) and name != "reference")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            print(name, *["%s %.0e" % (dtype, check(program, models, name, dtype, folder))
                          for dtype in ("stored", "f32", "f16", "bf16")])


if __name__ == "__main__":
    main()
