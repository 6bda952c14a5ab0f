#!/usr/bin/env python3
"""Checks that PyTorch, the book's code and transformers agree with my-llm about files of PyTorch's.

    python3 tools/check_torch.py [--build build]

Written for torch 2.15.0, transformers 5.23.0, llms-from-scratch 1.0.19. For every fixture that the book's GPTModel can
hold, and every dtype: `my-llm convert` writes a .pth; torch.load() opens it, with weights_only, mapped and not; the
class takes it with strict=True; its logits are those of the fixture's reference to 1e-5 of the largest where no weight was
rounded. Then the other way: what torch.save() writes of that class, alone and in a checkpoint with its optimizer's state,
comes back as the same weights, bit for bit; a classifier of chapter 6 too, and a pytorch_model.bin of transformers.
Needs a built program; the repository's own tests need none of these packages.
"""
import argparse
import json
import os
import subprocess
import tempfile
import zipfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import safetensors.torch
import torch
import transformers
from llms_from_scratch.ch04 import GPTModel

from check_convert import DTYPES, read_reference

NAMES = ("prefix", "f16", "bf16", "openai", "padded", "untied", "head64", "book", "booknobias", "text")


def run(program, *args):
    result = subprocess.run([program, *args], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stderr


def settings(program, model):
    info = json.loads(subprocess.run([program, "info", "--json", model], check=True, capture_output=True).stdout)
    return {"vocab_size": info["vocab_size"], "context_length": info["n_ctx"], "emb_dim": info["n_embd"],
            "n_heads": info["n_head"], "n_layers": info["n_layer"], "drop_rate": 0.0, "qkv_bias": info["qkv_bias"]}


def load(path, config):
    """The class, from a file, by both ways of loading."""
    model = GPTModel(config).eval()
    for mapped in (True, False):
        state = torch.load(path, weights_only=True, mmap=mapped)
        assert not any(model.load_state_dict({k: v.float() for k, v in state.items()}, strict=True))
    masks = [value for name, value in state.items() if name.endswith("att.mask")]
    fresh = GPTModel(config).trf_blocks[0].att.mask
    assert masks and all(torch.equal(mask, fresh) for mask in masks)
    assert zipfile.ZipFile(path).testzip() is None
    return model


def weights(directory):
    return {name.removeprefix("transformer."): tensor for name, tensor in
            safetensors.torch.load_file(os.path.join(directory, "model.safetensors")).items()}


def same(a, b):
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def check(program, models, name, dtype, folder):
    source, out = os.path.join(models, name), os.path.join(folder, name + dtype + ".pth")
    more = [] if dtype == "stored" else ["--dtype", dtype]
    said = run(program, "convert", *more, source, out)
    config = settings(program, source)
    assert json.dumps(config["emb_dim"]) in said and "for GPTModel(" in said
    model = load(out, config)
    ids, expected = read_reference(models, name)
    with torch.no_grad():
        logits = model(torch.tensor([ids]))[0].numpy()
    difference = np.abs(logits - expected).max() / np.abs(expected).max()
    assert dtype in ("f16", "bf16") or difference < 1e-5, (name, dtype, difference)

    heads = ["--n-head", str(config["n_heads"])]
    direct = os.path.join(folder, "direct")
    run(program, "convert", "--force", *more, source, direct)
    dtypes = {"stored": None, **DTYPES}[dtype]
    state = {key: value.to(dtypes) if dtypes and "mask" not in key else value for key, value in model.state_dict().items()}
    if dtypes is None:
        state = torch.load(out, weights_only=True)
    optimizer = torch.optim.AdamW(model.parameters())
    for content in (state, {"model_state_dict": state, "optimizer_state_dict": optimizer.state_dict()}):
        theirs, back = os.path.join(folder, "theirs.pth"), os.path.join(folder, "back")
        torch.save(content, theirs)
        run(program, "convert", "--force", *heads, theirs, back)
        same(weights(back), weights(direct))
    return difference


def check_transformers(program, folder):
    """A GPT2LMHeadModel and a GPT2ForSequenceClassification as pytorch_model.bin."""
    torch.manual_seed(3)
    config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=12, n_head=3, n_layer=2, num_labels=3)
    for kind in (transformers.GPT2LMHeadModel, transformers.GPT2ForSequenceClassification):
        model = kind(config)
        path, out = os.path.join(folder, kind.__name__), os.path.join(folder, kind.__name__ + "-out")
        model.save_pretrained(path)
        os.remove(os.path.join(path, "model.safetensors"))
        torch.save(model.state_dict(), os.path.join(path, "pytorch_model.bin"))
        run(program, "convert", path, out)
        again, notes = kind.from_pretrained(out, output_loading_info=True)
        assert not any(notes[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), notes
        same(dict(again.state_dict()), dict(model.state_dict()))
        assert again.config.num_labels == 3 or kind is transformers.GPT2LMHeadModel


def check_classifier(program, folder):
    """Chapter 6: out_head has the labels and a bias."""
    torch.manual_seed(4)
    config = {"vocab_size": 50, "context_length": 16, "emb_dim": 64, "n_heads": 1, "n_layers": 2, "drop_rate": 0.0,
              "qkv_bias": True}
    model = GPTModel(config)
    model.out_head = torch.nn.Linear(64, 2)
    theirs, ours = os.path.join(folder, "classifier.pth"), os.path.join(folder, "ours.pth")
    torch.save(model.state_dict(), theirs)
    run(program, "convert", theirs, ours)
    same(torch.load(ours, weights_only=True), dict(model.state_dict()))


def main():
    parser = argparse.ArgumentParser()
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--build", default=os.path.join(os.path.dirname(here), "build"))
    program = os.path.join(os.path.abspath(parser.parse_args().build), "my-llm")
    models = os.path.join(os.path.dirname(here), "tests", "fixtures", "models")
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            print(name, *["%s %.0e" % (dtype, check(program, models, name, dtype, folder))
                          for dtype in ("stored", "f32", "f16", "bf16")])
        check_transformers(program, folder)
        check_classifier(program, folder)
        print("transformers' pytorch_model.bin and the book's classifier: the same")


if __name__ == "__main__":
    main()
