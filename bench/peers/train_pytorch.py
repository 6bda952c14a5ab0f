"""PyTorch's side of `run.py train`: full training steps of a GPT-2 of random weights, one process a measurement.

Prints one line of JSON: seconds of each timed step, and the process's peak memory. The model is transformers'
GPT2LMHeadModel with PyTorch's own attention (SDPA) and fused AdamW: the fastest way to train it that takes no work.
"""

import argparse
import json
import resource
import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel

SIZES = {"124M": (12, 12, 768), "355M": (24, 16, 1024), "774M": (36, 20, 1280), "1558M": (48, 25, 1600)}


def make_model(size):
    """A size of GPT-2's, or layers x heads x width x vocabulary x context."""
    if size in SIZES:
        n_layer, n_head, n_embd = SIZES[size]
        vocab_size, n_ctx = 50257, 1024
    else:
        n_layer, n_head, n_embd, vocab_size, n_ctx = map(int, size.split("x"))
    config = GPT2Config(
        n_layer=n_layer, n_head=n_head, n_embd=n_embd, vocab_size=vocab_size, n_positions=n_ctx,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, use_cache=False, bos_token_id=0, eos_token_id=0,
    )
    return GPT2LMHeadModel._from_config(config, attn_implementation="sdpa")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="124M")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(123)
    model = make_model(options.size).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-4, weight_decay=0.1, fused=True)
    ids = torch.randint(0, model.config.vocab_size, (options.batch, options.tokens + 1))
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def loss_of(inputs, targets):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bf16):
            logits = model(input_ids=inputs).logits
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    if options.compile:
        loss_of = torch.compile(loss_of)

    seconds = []
    for step in range(options.steps + 2):  # two to warm up: compilation, then the optimizer's state
        start = time.perf_counter()
        optimizer.zero_grad()
        loss_of(inputs, targets).backward()
        optimizer.step()
        if step >= 2:
            seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
