#!/usr/bin/env python3
"""What llama.cpp makes of our GGUF files, and what we make of its own, by hand: needs llama-cpp-python and the sources it
was built from (the converter is not in the package).

    python3 tools/check_gguf.py --program build/my-llm [--model SRC] [--llama SOURCES] [--prompt TEXT ...] [-n 40]

(last run with llama-cpp-python 0.3.36 and gguf 0.19.0)

SRC is a model directory in Hugging Face layout (default: the bundled one), or `synthetic`: random weights in the shape of
124M with GPT-2's vocabulary. In a temporary directory:
  - ours, F32, F16, BF16, Q8_0 and Q4_0: llama.cpp opens them, and gives the greedy text that we give; for blocks, whose
    products llama.cpp makes with activations rounded to 8 bits, the same numbers as F32 must give it;
  - llama.cpp's own quantizer on our F32 file, Q8_0 and Q4_0 (--pure): we open them, and they hold the same blocks as
    ours, byte for byte (but for the head, which Q4_0 has in 8 bits here);
  - with --llama: convert_hf_to_gguf.py on SRC, which must have GPT-2's vocabulary, F32, F16 and BF16: the same tensors as
    ours, and the same text.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

import gguf
import llama_cpp
import numpy as np

PROMPTS = ["Once upon a time", "The old man said", "It was a dark and stormy night; the rain fell in torrents,"]


def ours(program, path, prompt, n):
    return subprocess.run([program, "generate", "--threads", "1", "-m", path, "--temperature", "0", "-n", str(n), prompt],
                          capture_output=True, check=True).stdout.decode("utf-8", "replace").removesuffix("\n")


def theirs(model, prompt, n):
    ids = model.tokenize(prompt.encode(), add_bos=False)
    out = []
    for token in model.generate(ids, temp=0.0, top_k=1, repeat_penalty=1.0):
        if token == model.token_eos() or len(out) == n:
            break
        out.append(token)
    return prompt + model.detokenize(out).decode("utf-8", "replace")


def compare(args, path, what, widened=None):
    """`widened`: what llama.cpp reads in place of `path`."""
    model = llama_cpp.Llama(widened or path, n_ctx=256, n_threads=1, n_threads_batch=1, verbose=False)
    same = 0
    for prompt in args.prompt:
        a, b = ours(args.program, path, prompt, args.n), theirs(model, prompt, args.n)
        same += a == b
        if a != b:
            print(f"  {what}, {prompt!r}:\n    we say          {a!r}\n    llama.cpp says  {b!r}")
    print(f"{what}: {same} of {len(args.prompt)} greedy texts of {args.n} tokens are the same")
    return same == len(args.prompt)


def tensors(path):
    return {tensor.name: (tensor.tensor_type, tuple(tensor.shape), bytes(np.ascontiguousarray(tensor.data).view(np.uint8)))
            for tensor in gguf.GGUFReader(path).tensors}


def same_tensors(a, b, what):
    x, y = tensors(a), tensors(b)
    wrong = [name for name in sorted(set(x) | set(y)) if x.get(name) != y.get(name)]
    print(f"{what}: {len(x)} tensors, {len(wrong)} differ", *wrong[:4])
    return not wrong


def quantize(source, path, kind):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.pure = kind, 1, True
    return llama_cpp.llama_model_quantize(source.encode(), path.encode(), params) == 0


def synthetic(folder):
    """124M with random weights, as safetensors, and GPT-2's vocabulary."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel
    torch.manual_seed(1)
    model = GPT2LMHeadModel(GPT2Config())
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "wte" in name or "wpe" in name:
                tensor.mul_(5)  # so that answers differ clearly
    model.save_pretrained(folder)


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=os.path.join(root, "build", "my-llm"))
    parser.add_argument("--model")
    parser.add_argument("--vocabulary", help="directory with vocab.json (or encoder.json) and merges.txt, for synthetic")
    parser.add_argument("--llama", help="sources of llama.cpp")
    parser.add_argument("--prompt", action="append")
    parser.add_argument("-n", type=int, default=40)
    args = parser.parse_args()
    args.prompt = args.prompt or PROMPTS
    ok = True
    with tempfile.TemporaryDirectory() as folder:
        source = args.model or "bundled"
        if source == "synthetic":
            source = os.path.join(folder, "synthetic")
            synthetic(source)
            names = {"encoder.json": "vocab.json", "vocab.bpe": "merges.txt"}
            for name in os.listdir(args.vocabulary):
                if name.endswith((".json", ".bpe", ".txt")):
                    shutil.copy(os.path.join(args.vocabulary, name), os.path.join(source, names.get(name, name)))
        files = {}
        for name, options in {"F32": ["--dtype", "f32"], "F16": ["--dtype", "f16"], "BF16": ["--quantize", "bf16"],
                              "Q8_0": ["--quantize", "q8"], "Q4_0": ["--quantize", "q4"]}.items():
            files[name] = os.path.join(folder, f"ours-{name}.gguf")
            subprocess.run([args.program, "convert", *options, source, files[name]], check=True, stderr=subprocess.DEVNULL)
            if name in ("Q8_0", "Q4_0"):
                compare(args, files[name], f"our {name}")  # llama.cpp rounds activations, too, so its choices may differ
                widened = os.path.join(folder, f"widened-{name}.gguf")
                subprocess.run([args.program, "convert", "--dtype", "f32", files[name], widened], check=True,
                               stderr=subprocess.DEVNULL)
                ok &= compare(args, files[name], f"our {name}, widened to F32 for llama.cpp", widened)
            else:
                ok &= compare(args, files[name], f"our {name}")
        for name, kind in (("Q8_0", 7), ("Q4_0", 2)):
            path = os.path.join(folder, f"theirs-{name}.gguf")
            ok &= quantize(files["F32"], path, kind)
            ours(args.program, path, args.prompt[0], args.n)  # raises unless we open it
            if name == "Q8_0":
                ok &= same_tensors(files[name], path, f"our and llama.cpp's {name}")
            else:
                ours_q4, theirs_q4 = tensors(files[name]), tensors(path)
                wrong = [key for key in ours_q4 if key != "token_embd.weight" and ours_q4[key] != theirs_q4[key]]
                print(f"our and llama.cpp's {name}: {len(ours_q4) - 1} tensors, {len(wrong)} differ", *wrong[:4])
                ok &= not wrong
        if args.llama:
            # Through our directory, whose config.json says n_ctx, which the converter wants. It knows the vocabularies
            # that it has seen: GPT-2's.
            directory = os.path.join(folder, "directory")
            subprocess.run([args.program, "convert", source, directory], check=True, stderr=subprocess.DEVNULL)
            for name in ("F32", "F16", "BF16"):
                path = os.path.join(folder, f"converted-{name}.gguf")
                subprocess.run([sys.executable, os.path.join(args.llama, "convert_hf_to_gguf.py"), directory, "--outfile",
                                path, "--outtype", name.lower()], check=True, capture_output=True)
                ok &= same_tensors(files[name], path, f"our and the converter's {name}")
                ok &= compare(args, path, f"the converter's {name}")
    sys.exit(not ok)


if __name__ == "__main__":
    main()
