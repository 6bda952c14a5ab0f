#!/usr/bin/env python3
"""Checks my-llm against transformers at the real sizes, with random weights.

    python3 tools/check_full_size.py [--build build] [--work DIR] [--sizes 124M,355M] [--keep]

Written for torch 2.15.0, transformers 5.23.0, safetensors 0.8.0, tensorflow 2.21.0. Per size: makes a model with
transformers, writes it as safetensors and (with TensorFlow) as OpenAI's checkpoint, and compares
- 64 greedy ids after a prompt of 32: the same;
- the logits after each of these 96 tokens: within 1e-3;
- both files: the same bits;
- `my-llm convert` of the checkpoint: transformers opens it, every tensor the same.
Each step is a process of its own, so that memory is given back: 355M needs about 6 GB and 6 GB of disk in DIR.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

N_PROMPT, N_GREEDY = 32, 64
SIZES = {"124M": (12, 12, 768), "355M": (24, 16, 1024), "774M": (36, 20, 1280), "1558M": (48, 25, 1600)}
HERE = os.path.dirname(os.path.abspath(__file__))


def step_make(folder, size):
    """HF directory, prompt and answers. Weights are larger than a fresh model's, so that layers matter."""
    import numpy as np
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    n_layer, n_head, n_embd = SIZES[size]
    torch.manual_seed(1)
    model = GPT2LMHeadModel(GPT2Config(n_layer=n_layer, n_head=n_head, n_embd=n_embd)).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.dim() == 2:
                tensor.normal_(0, 0.06)
            elif name.endswith("bias"):
                tensor.normal_(0, 0.05)
            else:
                tensor.normal_(1, 0.1)
        model.save_pretrained(os.path.join(folder, "hf"))
        ids = np.random.RandomState(2).randint(0, 50257, N_PROMPT).tolist()
        prompt, cache, given = list(ids), None, torch.tensor([ids])
        for _ in range(N_GREEDY):
            out = model(given, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            given = out.logits[:, -1:].argmax(-1)
            ids.append(int(given))
        logits = model(torch.tensor([ids]), use_cache=False).logits[0].numpy().astype("<f4")
    logits.tofile(os.path.join(folder, "reference.bin"))
    with open(os.path.join(folder, "reference.json"), "w") as out:
        json.dump({"prompt": prompt, "greedy": ids[N_PROMPT:]}, out)


def step_checkpoint(folder, _):
    """OpenAI's directory from the HF one, by TensorFlow."""
    from safetensors.numpy import load_file
    from make_model_fixtures import save_openai_arrays

    with open(os.path.join(folder, "hf", "config.json")) as f:
        config = json.load(f)
    arrays = {k.removeprefix("transformer."): v
              for k, v in load_file(os.path.join(folder, "hf", "model.safetensors")).items()}
    save_openai_arrays(arrays, config, os.path.join(folder, "openai"))


def step_compare_converted(folder, _):
    """Every tensor of the converted model, as transformers opens it, is that of the original."""
    import torch
    from transformers import AutoModelForCausalLM

    ours, notes = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "converted"), output_loading_info=True)
    assert not notes["missing_keys"] and not notes["unexpected_keys"] and not notes["mismatched_keys"], notes
    theirs = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "hf"))
    state = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def step_compare_logits(folder, name):
    import numpy as np

    theirs = np.fromfile(os.path.join(folder, "reference.bin"), "<f4")
    ours = np.fromfile(os.path.join(folder, name), "<f4")
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    difference, largest = np.abs(ours - theirs).max(), np.abs(theirs).max()
    top = np.sort(theirs.reshape(N_PROMPT + N_GREEDY, -1)[N_PROMPT - 1:-1], axis=1)[:, -2:]
    print("   logits differ by %.2e at most (largest %.1f; smallest gap between first and second choice %.1e)"
          % (difference, largest, (top[:, 1] - top[:, 0]).min()))
    assert difference <= 1e-3, "more than 1e-3"


def separately(step, *args):
    """Runs a step in a process of its own."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    subprocess.run([sys.executable, os.path.abspath(__file__), "--step", step.__name__, *args], check=True,
                   env=environment)


def check(size, folder, build, tool):
    print(size, flush=True)
    separately(step_make, folder, size)
    separately(step_checkpoint, folder, size)
    with open(os.path.join(folder, "reference.json")) as f:
        reference = json.load(f)
    outputs = []
    for form in ("hf", "openai"):
        logits = os.path.join(folder, form + ".bin")
        out = subprocess.run([tool, os.path.join(folder, form), str(N_GREEDY), logits, *map(str, reference["prompt"])],
                             check=True, stdout=subprocess.PIPE, text=True).stdout
        assert [int(word) for word in out.split()] == reference["greedy"], (form, "greedy ids differ", out)
        print("   %s: %d greedy ids are the same" % (form, N_GREEDY), flush=True)
        separately(step_compare_logits, folder, form + ".bin")
        with open(logits, "rb") as f:
            outputs.append(f.read())
    assert outputs[0] == outputs[1], "the two forms give different bits"
    print("   both forms give the same bits", flush=True)
    start = time.monotonic()
    subprocess.run([os.path.join(build, "my-llm"), "convert", os.path.join(folder, "openai"),
                    os.path.join(folder, "converted")], check=True, stderr=subprocess.DEVNULL)
    print("   converted in %.1f s" % (time.monotonic() - start), flush=True)
    separately(step_compare_converted, folder, size)
    print("   the converted model opens in transformers, every tensor the same", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(os.path.dirname(HERE), "build"))
    parser.add_argument("--work", default=None)
    parser.add_argument("--sizes", default="124M,355M")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--step", nargs="*")
    args = parser.parse_args()
    if args.step:
        globals()[args.step[0]](*args.step[1:], *[None] * (3 - len(args.step)))
        return
    build = os.path.abspath(args.build)
    work = tempfile.mkdtemp(prefix="my-llm-full-size-", dir=args.work)
    try:
        tool = os.path.join(work, "full_size")
        subprocess.run(["cc", "-O2", "-I", os.path.join(os.path.dirname(HERE), "include"),
                        os.path.join(HERE, "full_size.c"), "-o", tool, "-L", build, "-lmy_llm", "-Wl,-rpath," + build],
                       check=True)
        for size in args.sizes.split(","):
            folder = os.path.join(work, size)
            os.mkdir(folder)
            check(size, folder, build, tool)
            if not args.keep:
                shutil.rmtree(folder)
    finally:
        if not args.keep:
            shutil.rmtree(work, ignore_errors=True)
    print("all as it should be")


if __name__ == "__main__":
    main()
