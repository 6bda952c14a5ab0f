#!/usr/bin/env python3
"""my-llm and its peers on the same machine, the same shapes, in turn: the ratios that docs/performance.md quotes.

    python3 bench/peers/run.py train                     # optimizer steps, against PyTorch
    python3 bench/peers/run.py train --llm-c FOLDER      # ... and against a checkout of llm.c in which train_gpt2 is built
    python3 bench/peers/run.py encode FILE               # a text to ids with GPT-2's vocabulary, on one thread
    python3 bench/peers/run.py learn FILE                # a vocabulary of 8,192 ids from a text
    python3 bench/peers/run.py classify SMSSpamCollection  # the book's spam recipe and prediction at 124M, against PyTorch
    python3 bench/peers/run.py instruct instruction-data.json  # the book's instruction tuning at 355M, against PyTorch
    python3 bench/peers/run.py generate                  # decoding, a prompt, the first token, against llama.cpp and others
    python3 bench/peers/run.py generate --only Q8_0      # ... of one format

The peers are installed from PyPI (requirements.txt) into an environment of their own, in ~/.cache/my-llm/peers or
--env; --python names one that has them. Each measurement is a process of its own. They take turns, round after round;
a ratio is that of the medians over the rounds, so that what a shared machine does to one, it does to the others too.
"""

import argparse
import collections
import contextlib
import hashlib
import json
import os
import pathlib
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import venv
from functools import partial

from classify import classify
from instruct import instruct

HERE = pathlib.Path(__file__).resolve().parent

# What is trained: a name, PyTorch's --size, ours, examples, tokens of each.
SHAPES = {
    "124M B4 T64": ("124M", ["--synthetic", "124M"], 4, 64),
    "124M B4 T256": ("124M", ["--synthetic", "124M"], 4, 256),
    "124M B1 T1024": ("124M", ["--synthetic", "124M"], 1, 1024),
    "355M B8 T80": ("355M", ["--synthetic", "355M"], 8, 80),
    "6 layers, 256 wide, B16 T256": ("6x4x256x4096x256", [HERE.parents[1] / "tests" / "fixtures" / "starter"], 16, 256),
}


LEARNT = 8192  # ids


def run(command, **options):
    """Runs to the end; returns what was printed, and the most memory it had, in bytes."""
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True, **options)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
    return output, usage.ru_maxrss * 1024


def environment(options):
    """The interpreter that has the peers."""
    if options.python:
        return options.python
    folder = pathlib.Path(options.env)
    python = folder / "bin" / "python"
    wanted = (HERE / "requirements.txt").read_bytes()
    done = folder / "installed.txt"
    if not done.exists() or done.read_bytes() != wanted:
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"], check=True)
        done.write_bytes(wanted)
    return python


# ---- Training -------------------------------------------------------------------------------


def train_ours(options, shape, bf16):
    _, model, batch, tokens = shape
    compute = ["--compute", "bf16"] if bf16 else []
    output, peak = run([options.my_llm, "bench", "--train", "--json", "-r", options.steps, "-t", options.threads, *compute,
                        "--batch-size", batch, "--tokens", tokens, *model])
    [row] = json.loads(output)["results"]
    return batch * tokens / row["tokens_per_second"]["mean"], peak, row["share_of_sgemm"]


def train_pytorch(options, shape, bf16, more):
    size, _, batch, tokens = shape
    words = [options.python, HERE / "train_pytorch.py", "--size", size, "--batch", batch, "--tokens", tokens, "--steps",
             options.steps, "--threads", options.threads, *more, *(["--bf16"] if bf16 else [])]
    result = json.loads(run(words, stderr=subprocess.DEVNULL)[0].splitlines()[-1])
    return statistics.mean(result["seconds"]), result["peak_bytes"]


def write_llm_c(folder):
    """A checkpoint of random weights and a file of random tokens, as llm.c's programs read them."""
    n_ctx, n_vocab, n_layer, n_head, n_embd, n_padded = 1024, 50257, 12, 12, 768, 50304
    sizes = [n_padded * n_embd, n_ctx * n_embd]
    for rows in (1, 1, 3 * n_embd, 3, n_embd, 1, 1, 1, 4 * n_embd, 4, 4 * n_embd, 1):
        sizes.append(n_layer * rows * n_embd)
    n = sum(sizes) + 2 * n_embd
    block = b"".join(struct.pack("<f", ((i * 7919) % 2003 - 1001) / 25000) for i in range(1 << 16))
    with open(folder / "gpt2_124M.bin", "wb") as file:
        file.write(struct.pack("<256i", 20240326, 3, n_ctx, n_vocab, n_layer, n_head, n_embd, n_padded, *[0] * 248))
        while n > 0:
            file.write(block[: 4 * min(n, 1 << 16)])
            n -= 1 << 16
    data = folder / "dev" / "data" / "tinyshakespeare"
    data.mkdir(parents=True)
    for part in ("train", "val"):
        tokens = [(i * 7919) % n_vocab for i in range(1 << 15)]
        with open(data / f"tiny_shakespeare_{part}.bin", "wb") as file:
            file.write(struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253))
            file.write(struct.pack(f"<{len(tokens)}H", *tokens))


def train_llm_c(options, folder):
    """Seconds of its steps after the first; it always takes 4 examples of 64 tokens."""
    command = ["stdbuf", "-oL", pathlib.Path(options.llm_c).resolve() / "train_gpt2"]
    process = subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE,
                               env={**os.environ, "OMP_NUM_THREADS": str(options.threads)})
    seconds = []
    for line in process.stdout:
        found = re.match(r"step \d+: train loss \S+ \(took (\S+) ms\)", line)
        if found:
            seconds.append(float(found[1]) / 1000)
        if len(seconds) == 1 + options.steps:
            break
    process.kill()
    process.wait()
    return statistics.mean(seconds[1:])


def train(options):
    rows = {}  # (shape, compute, who): [(seconds, peak bytes, share)]
    shapes = {name: shape for name, shape in SHAPES.items() if re.search(options.only, name)}
    for round_ in range(options.rounds):
        for name, shape in shapes.items():
            for bf16 in (False, True):
                if bf16 and options.no_bf16:
                    continue
                key = (name, "BF16" if bf16 else "F32")
                ways = {"eager": []} if options.no_compile else {"eager": [], "compile": ["--compile"]}
                rows.setdefault((*key, "my-llm"), []).append(train_ours(options, shape, bf16))
                for who, more in ways.items():
                    rows.setdefault((*key, who), []).append((*train_pytorch(options, shape, bf16, more), None))
                print(f"round {round_ + 1}: {name} {key[1]}: " + ", ".join(
                    f"{who} {rows[*key, who][-1][0]:.3f} s" for who in ("my-llm", *ways)), file=sys.stderr)
    print("| step | compute | my-llm | of sgemm | PyTorch eager | compile | ratio | memory | PyTorch's | ratio |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, compute, who in list(rows):
        if who != "my-llm":
            continue
        seconds = {w: statistics.median(r[0] for r in rows[name, compute, w])
                   for w in ("my-llm", "eager", "compile") if (name, compute, w) in rows}
        peers = {w: s for w, s in seconds.items() if w != "my-llm"}
        best = min(peers, key=peers.get)
        peak = statistics.median(r[1] for r in rows[name, compute, "my-llm"])
        theirs = min(statistics.median(r[1] for r in rows[name, compute, w]) for w in peers)
        share = statistics.median(r[2] for r in rows[name, compute, "my-llm"])
        compiled = f"{seconds['compile']:.3f} s" if "compile" in seconds else "–"
        print(f"| {name} | {compute} | {seconds['my-llm']:.3f} s | {100 * share:.0f} % | {seconds['eager']:.3f} s | "
              f"{compiled} | {peers[best] / seconds['my-llm']:.2f} × | {peak / 1e9:.2f} GB | {theirs / 1e9:.2f} GB | "
              f"{peak / theirs:.2f} × |")
    if options.llm_c:
        with tempfile.TemporaryDirectory() as folder:
            write_llm_c(pathlib.Path(folder))
            ours, theirs = {"F32": [], "BF16": []}, []
            for _ in range(options.rounds):
                for compute, seconds in ours.items():
                    if compute == "F32" or not options.no_bf16:
                        seconds.append(train_ours(options, SHAPES["124M B4 T64"], compute == "BF16")[0])
                theirs.append(train_llm_c(options, folder))
        print(f"\nllm.c, 124M B4 T64, F32: {statistics.median(theirs):.3f} s a step; my-llm " + ", ".join(
            f"{compute} {statistics.median(seconds):.3f} s: {statistics.median(theirs) / statistics.median(seconds):.1f} ×"
            for compute, seconds in ours.items() if seconds))


# ---- Encoding -------------------------------------------------------------------------------


def encode(options):
    if not options.file:
        sys.exit("run.py encode needs a FILE of text")
    size = os.path.getsize(options.file)
    rows = {}  # who: [(MB/s the first time, MB/s when the words are known)]
    for _ in range(options.rounds):
        output, _ = run([options.my_llm, "bench", "--tokenizer", options.file, "-r", 2, "-t", options.threads, "--json"])
        for row in json.loads(output)["results"]:
            who = "my-llm" if row["n_threads"] == 1 else f"my-llm, {row['n_threads']} threads"
            rows.setdefault(who, []).append((row["first_mb_per_second"]["mean"], row["known_mb_per_second"]["mean"]))
        for who in filter(re.compile(options.peers).search, ("gigatoken", "tiktoken")):
            result = json.loads(run([options.python, HERE / "encode_peers.py", who, options.file, "--repetitions", 2])[0])
            rows.setdefault(who, []).append((result["first"], result["known"]))
    medians = {who: [statistics.median(column) for column in zip(*values)] for who, values in rows.items()}
    print(f"{size / 1e6:.1f} MB, GPT-2's vocabulary\n")
    print("| | MB/s, first time | my-llm's ratio | MB/s, words known | my-llm's ratio |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for who, (first, known) in medians.items():
        ours = medians["my-llm"]
        print(f"| {who} | {first:.1f} | {ours[0] / first:.2f} × | {known:.1f} | {ours[1] / known:.2f} × |")


def learn(options):
    """A vocabulary of 8,192 ids from a text. Ours is the whole process, theirs the call alone."""
    if not options.file:
        sys.exit("run.py learn needs a FILE of text")
    rows, merges = {}, {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            run([options.my_llm, "tokenize", "--train", options.file, "--out", f"{folder}/v", "--vocab-size", LEARNT],
                stderr=subprocess.DEVNULL)
            rows.setdefault("my-llm", []).append(time.perf_counter() - start)
            lines = pathlib.Path(folder, "v", "merges.txt").read_text().split("\n", 1)[1]
            merges["my-llm"] = hashlib.sha256(lines.encode()).hexdigest()
        for who in filter(re.compile(options.peers).search, ("gigatoken", "tokenizers")):
            words = [options.python, HERE / "encode_peers.py", who, options.file, "--learn", LEARNT]
            result = json.loads(run(words, stderr=subprocess.DEVNULL)[0].splitlines()[-1])
            rows.setdefault(who, []).append(result["seconds"])
            merges[who] = result["sha256"]
    print(f"{os.path.getsize(options.file) / 1e6:.1f} MB, {LEARNT} ids\n")
    print("| | seconds | my-llm's ratio | merges |\n| --- | ---: | ---: | --- |")
    ours = statistics.median(rows["my-llm"])
    for who, values in rows.items():
        same = "the same" if merges[who] == merges["my-llm"] else "others"
        print(f"| {who} | {statistics.median(values):.2f} | {statistics.median(values) / ours:.2f} × | {same} |")


# ---- Generating -----------------------------------------------------------------------------

# What the weights are converted to, and what CTranslate2 and PyTorch have that is like it. (CTranslate2 has BF16, too, but
# refuses it where it holds the processor to be slow at it, as ours was.)
FORMATS = {
    "F32": (["--dtype", "f32"], "float32", "float32"),
    "BF16": (["--quantize", "bf16"], None, "bfloat16"),
    "Q8_0": (["--quantize", "q8"], "int8", None),
    "Q4_0": (["--quantize", "q4"], None, None),
}
GENERATED, PROMPT, FIRST = 128, 1024, 8
PEERS = {"llama": "llama.cpp", "ctranslate2": "CTranslate2", "pytorch": "PyTorch"}

# GPT-2 in the shape of 124M with random weights. Of the usual deviation they would all but repeat the last token.
MAKE_MODEL = """
import sys, torch
from transformers import GPT2Config, GPT2LMHeadModel
torch.manual_seed(1)
model = GPT2LMHeadModel(GPT2Config())
with torch.no_grad():
    for name, tensor in model.named_parameters():
        if "wte" in name or "wpe" in name:
            tensor.mul_(5)
model.save_pretrained(sys.argv[1])
"""
MAKE_CTRANSLATE2 = """
import sys
from ctranslate2.converters import TransformersConverter
TransformersConverter(sys.argv[1]).convert(sys.argv[2])
"""


def write_vocabulary(folder):
    """GPT-2's, as transformers reads it, from the merges that my-llm is built with."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    words = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    text = (HERE.parents[1] / "src" / "tokenizer" / "gpt2" / "vocab.bpe").read_text(encoding="utf-8")
    words += [line.replace(" ", "") for line in text.splitlines()[1:] if line] + ["<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}), encoding="utf-8")
    (folder / "merges.txt").write_text(text, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}', encoding="utf-8")


def make_models(options):
    """The same weights for everyone: a folder of transformers' and one of CTranslate2's, and a GGUF file a format."""
    folder = pathlib.Path(options.models or pathlib.Path(options.env) / "models")
    folder.mkdir(parents=True, exist_ok=True)
    source, converted = folder / "transformers", folder / "ctranslate2"
    if not (source / "merges.txt").exists():
        run([options.python, "-c", MAKE_MODEL, source], stderr=subprocess.DEVNULL)
        write_vocabulary(source)
    if not (converted / "vocabulary.json").exists():
        run([options.python, "-c", MAKE_CTRANSLATE2, source, converted], stderr=subprocess.DEVNULL)
    for name, (words, _, _) in FORMATS.items():
        if not (folder / f"{name}.gguf").exists():
            run([options.my_llm, "convert", *words, source, folder / f"{name}.gguf"], stderr=subprocess.DEVNULL)
    return folder


def generate_peer(options, peer, model, test, tokens, compute):
    """Seconds of the test, seconds of the whole process, its most memory."""
    begin = time.perf_counter()
    words = [options.python, HERE / "generate_peers.py", peer, model, test, "--tokens", tokens, "--threads",
             options.threads, "--compute", compute]
    output, peak = run(words, stderr=subprocess.DEVNULL)
    whole = time.perf_counter() - begin
    return json.loads(output.splitlines()[-1])["seconds"], whole, peak


def generate_ours(options, file, n_prompt, n, *more):
    """What it says of the time it took, seconds of the whole process, its most memory."""
    begin = time.perf_counter()
    ids = " ".join(str(i * 7919 % 50257) for i in range(n_prompt))
    output, peak = run([options.my_llm, "generate", "-m", file, "--prompt-ids", ids, "--json", "--ignore-eos", "-n", n,
                        "--temperature", 0, "--threads", options.threads, *more], stderr=subprocess.DEVNULL)
    return json.loads(output), time.perf_counter() - begin, peak


def measure_rate(options, folder, name, test, tokens, values):
    """One round of decoding or of a prompt: tokens/s of everyone who has this format, and the memory it took."""
    _, ct2_compute, torch_compute = FORMATS[name]
    file = folder / f"{name}.gguf"
    if test == "decode":
        # The first new token comes from the prompt's logits.
        result, _, peak = generate_ours(options, file, 1, tokens + 1)
        values["my-llm"].append(tokens / result["timings"]["generate_seconds"])
        values["memory"].append(peak)
    else:
        # A prompt in BF16 is one whose products are, as they are PyTorch's and llama.cpp's.
        more = ["--compute", "bf16"] if name == "BF16" and not options.no_bf16 else []
        result, _, _ = generate_ours(options, file, tokens, 1, *more)
        values["my-llm"].append(tokens / result["timings"]["prompt_seconds"])
    peers = [("llama", file, "float32")]
    if ct2_compute is not None:
        peers.append(("ctranslate2", folder / "ctranslate2", ct2_compute))
    if torch_compute is not None:
        peers.append(("pytorch", folder / "transformers", torch_compute))
    for peer, model, compute in peers:
        if not re.search(options.peers, peer):
            continue
        # CTranslate2 wants room for the token to come.
        n = tokens - 1 if peer == "ctranslate2" and test == "prompt" else tokens
        seconds, _, peak = generate_peer(options, peer, model, test, n, compute)
        values[peer].append(n / seconds)
        if peer == "llama" and test == "decode":
            values["llama memory"].append(peak)


def measure_first(options, folder, name, values):
    """One round of whole processes up to the first token behind a short prompt."""
    file = folder / f"{name}.gguf"
    values["my-llm"].append(generate_ours(options, file, FIRST, 1)[1])
    inside, whole, _ = generate_peer(options, "llama", file, "first", FIRST, "float32")
    values["llama"].append(inside)
    values["llama whole"].append(whole)


def print_rates(rows):
    print("| test | my-llm, tokens/s | " + " | ".join(f"{name} | ratio" for name in PEERS.values()) + " |")
    print("| --- | ---: |" + " ---: | ---: |" * len(PEERS))
    for name, values in rows.items():
        if "llama whole" in values:
            continue
        ours = values["my-llm"]
        cells = [f"{values[peer]:.1f} | {ours / values[peer]:.2f} ×" if peer in values else "– | –" for peer in PEERS]
        print(f"| {name} | {ours:.1f} | {' | '.join(cells)} |")


def print_rest(rows, folder):
    for name, values in rows.items():
        if "llama whole" in values:
            ours = values["my-llm"]
            print(f"\n{name}: my-llm {ours:.3f} s from nothing to the end of the process; llama.cpp {values['llama']:.3f} s "
                  f"from opening the file ({ours / values['llama']:.2f} × of it), {values['llama whole']:.3f} s with Python")
        if "llama memory" in values:
            size = os.path.getsize(folder / f"{name.split()[-1]}.gguf")
            print(f"\n{name}: most memory {values['memory'] / 1e6:.0f} MB, {(values['memory'] - size) / 1e6:.0f} MB more "
                  f"than the file; llama.cpp with Python {values['llama memory'] / 1e6:.0f} MB")


def generate(options):
    folder = make_models(options)
    tests = {f"decode {name}": (name, "decode", GENERATED) for name in FORMATS}
    tests |= {f"prompt {PROMPT} {name}": (name, "prompt", PROMPT) for name in ("F32", "BF16")}
    tests |= {f"first token {name}": (name, "first", FIRST) for name in ("F32", "Q8_0")}
    tests = {test: what for test, what in tests.items() if re.search(options.only, test)}
    rows = {test: collections.defaultdict(list) for test in tests}
    for round_ in range(options.rounds):
        for test, (name, kind, tokens) in tests.items():
            if kind == "first":
                measure_first(options, folder, name, rows[test])
            else:
                measure_rate(options, folder, name, kind, tokens, rows[test])
            print(f"round {round_ + 1}: {test}: " + ", ".join(
                f"{who} {values[-1]:.4g}" for who, values in rows[test].items()), file=sys.stderr)
    medians = {test: {who: statistics.median(values) for who, values in row.items()} for test, row in rows.items()}
    print_rates(medians)
    print_rest(medians, folder)


# ---- The whole ------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "encode", "learn", "generate", "classify", "instruct"])
    parser.add_argument("file", nargs="?", help="the text to encode or to learn from; the messages to classify; the instructions")
    parser.add_argument("--my-llm", default=HERE.parents[1] / "build" / "my-llm", help="the program (build/my-llm)")
    parser.add_argument("--env", default=pathlib.Path.home() / ".cache" / "my-llm" / "peers", help="where peers are installed")
    parser.add_argument("--python", help="an interpreter that has them already")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="measured in each process")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="shapes or tests whose name matches this regular expression")
    parser.add_argument("--peers", default="", help="of generate, encode and learn: those whose name matches this: llama, "
                        "ctranslate2, pytorch; gigatoken, tiktoken; gigatoken, tokenizers")
    parser.add_argument("--models", help="where generate keeps the weights it makes (ENV/models, 1.5 GB)")
    parser.add_argument("--no-compile", action="store_true", help="PyTorch eager alone")
    parser.add_argument("--no-bf16", action="store_true", help="my-llm computes in F32 alone")
    parser.add_argument("--llm-c", metavar="FOLDER", help="a checkout of llm.c in which train_gpt2 is built")
    parser.add_argument("--texts", type=int, default=250, help="messages to predict")
    parser.add_argument("--folder", help="classify, instruct: where their random models and runs lie, and stay")
    parser.add_argument("--loss", choices=["all", "response"], default="all", help="instruct: on all tokens, as in the book, "
                        "or on the response only, as in the EPFL project")
    options = parser.parse_args()
    options.python = environment(options)
    with contextlib.suppress(KeyboardInterrupt):
        commands = {"train": train, "encode": encode, "learn": learn, "generate": generate, "classify": classify,
                    "instruct": partial(instruct, run)}
        commands[options.what](options)


if __name__ == "__main__":
    main()
