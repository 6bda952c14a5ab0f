#!/usr/bin/env python3
"""my-llm and its peers on the same machine, the same shapes, in turn: the ratios that docs/performance.md quotes.

    python3 bench/peers/run.py train                     # optimizer steps, against PyTorch
    python3 bench/peers/run.py train --llm-c FOLDER      # ... and against a checkout of llm.c in which train_gpt2 is built
    python3 bench/peers/run.py encode FILE               # a text to ids with GPT-2's vocabulary, on one thread
    python3 bench/peers/run.py classify SMSSpamCollection  # the book's spam recipe and prediction at 124M, against PyTorch

The peers are installed from PyPI (requirements.txt) into an environment of their own, in ~/.cache/my-llm/peers or
--env; --python names one that has them. Each measurement is a process of its own. They take turns, round after round;
a ratio is that of the medians over the rounds, so that what a shared machine does to one, it does to the others too.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import venv

from classify import classify

HERE = pathlib.Path(__file__).resolve().parent

# What is trained: a name, PyTorch's --size, ours, examples, tokens of each.
SHAPES = {
    "124M B4 T64": ("124M", ["--synthetic", "124M"], 4, 64),
    "124M B4 T256": ("124M", ["--synthetic", "124M"], 4, 256),
    "124M B1 T1024": ("124M", ["--synthetic", "124M"], 1, 1024),
    "355M B8 T80": ("355M", ["--synthetic", "355M"], 8, 80),
    "6 layers, 256 wide, B16 T256": ("6x4x256x4096x256", ["bundled"], 16, 256),
}


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
            ours, theirs = [], []
            for _ in range(options.rounds):
                ours.append(train_ours(options, SHAPES["124M B4 T64"], False)[0])
                theirs.append(train_llm_c(options, folder))
        print(f"\nllm.c, 124M B4 T64, F32: {statistics.median(theirs):.3f} s a step, my-llm {statistics.median(ours):.3f} s: "
              f"{statistics.median(theirs) / statistics.median(ours):.1f} ×")


# ---- Encoding -------------------------------------------------------------------------------


def encode(options):
    if not options.file:
        sys.exit("run.py encode needs a FILE of text")
    size = os.path.getsize(options.file)
    rows = {}  # who: [(MB/s the first time, MB/s when the words are known)]
    for _ in range(options.rounds):
        output, _ = run([options.my_llm, "bench", "--tokenizer", options.file, "-r", 1, "-t", options.threads, "--json"])
        for row in json.loads(output)["results"]:
            who = "my-llm" if row["n_threads"] == 1 else f"my-llm, {row['n_threads']} threads"
            rows.setdefault(who, []).append((row["first_mb_per_second"]["mean"], row["known_mb_per_second"]["mean"]))
        for who in ("gigatoken", "tiktoken"):
            result = json.loads(run([options.python, HERE / "encode_peers.py", who, options.file])[0])
            rows.setdefault(who, []).append((result["first"], result["known"]))
    medians = {who: [statistics.median(column) for column in zip(*values)] for who, values in rows.items()}
    print(f"{size / 1e6:.1f} MB, GPT-2's vocabulary\n")
    print("| | MB/s, first time | my-llm's ratio | MB/s, words known | my-llm's ratio |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for who, (first, known) in medians.items():
        ours = medians["my-llm"]
        print(f"| {who} | {first:.1f} | {ours[0] / first:.2f} × | {known:.1f} | {ours[1] / known:.2f} × |")


# ---- The whole ------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "encode", "classify"])
    parser.add_argument("file", nargs="?", help="the text to encode; the messages to classify")
    parser.add_argument("--my-llm", default=HERE.parents[1] / "build" / "my-llm", help="the program (build/my-llm)")
    parser.add_argument("--env", default=pathlib.Path.home() / ".cache" / "my-llm" / "peers", help="where peers are installed")
    parser.add_argument("--python", help="an interpreter that has them already")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="measured in each process")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="shapes whose name matches this regular expression")
    parser.add_argument("--no-compile", action="store_true", help="PyTorch eager alone")
    parser.add_argument("--no-bf16", action="store_true")
    parser.add_argument("--llm-c", metavar="FOLDER", help="a checkout of llm.c in which train_gpt2 is built")
    parser.add_argument("--texts", type=int, default=250, help="messages to predict")
    parser.add_argument("--folder", help="classify: where its random models and its runs lie, and stay")
    options = parser.parse_args()
    options.python = environment(options)
    with contextlib.suppress(KeyboardInterrupt):
        {"train": train, "encode": encode, "classify": classify}[options.what](options)


if __name__ == "__main__":
    main()
