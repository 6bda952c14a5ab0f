#!/usr/bin/env python3
"""Makes tests/fixtures/infer: transformers' answers where the context is full, and its losses.

    python3 tools/make_infer_fixtures.py [DIRECTORY]        (default: tests/fixtures/infer of this checkout)

Made with torch 2.15.0, transformers 5.23.0, numpy 2.4.6, from the models in tests/fixtures/models (see
tools/make_model_fixtures.py). Everything is computed in float32 with eager attention by whole-context passes,
so a KV cache has no part in it.

  shift.txt     per model a line "MODEL n_prompt n_new <prompt ids> <greedy ids> margin": greedy generation across
                context shifts. When a token is to be fed and the context is full, the newest n_ctx / 2 tokens, it
                included, become the context, at positions 0 and on. margin: smallest gap between best and second logit.
  evaluate.txt  "sequences N", N lines "length <ids>", then per case a line "MODEL window stride n_tokens loss error":
                mean cross-entropy of every token but each sequence's first and its standard error, in float64 from
                float32 logits. A window's tokens predict their successors; those not yet scored are counted.
"""
import math
import os
import sys

import numpy as np
import torch
from transformers import GPT2LMHeadModel

N_PROMPT, N_NEW = 20, 150
SHIFT_MODELS = ("prefix", "untied", "bylayer", "text")
CASES = (("prefix", 64, 64), ("prefix", 32, 32), ("prefix", 32, 16), ("prefix", 48, 1), ("untied", 64, 20),
         ("bylayer", 64, 64), ("bf16", 64, 64), ("text", 10, 3))
LENGTHS = (1, 2, 64, 65, 66, 0, 200)


def load(root, name):
    folder = os.path.join(root, "tests", "fixtures", "models", name)
    return GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0]


def greedy_with_shift(model, prompt):
    n_ctx = model.config.n_positions
    context, new, margin = list(prompt), [], math.inf
    for _ in range(N_NEW):
        if len(context) > n_ctx:
            context = context[-(n_ctx // 2):]
        best = torch.topk(logits_of(model, context)[-1], 2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        new.append(int(best.indices[0]))
        context.append(new[-1])
    return new, margin


def losses_of(model, ids, window, stride):
    """Cross-entropy of ids[1:], each once."""
    losses, scored = [], 1
    for begin in range(0, len(ids) - 1, stride):
        inputs = ids[begin:begin + window]
        targets = ids[begin + 1:begin + window + 1]
        logits = logits_of(model, inputs[:len(targets)]).double()
        logp = torch.log_softmax(logits, dim=-1)
        for i, target in enumerate(targets):
            if begin + 1 + i >= scored:
                losses.append(-float(logp[i, target]))
        scored = begin + 1 + len(targets)
        if scored == len(ids):
            break
    assert len(losses) == max(0, len(ids) - 1)
    return losses


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "tests", "fixtures", "infer")
    os.makedirs(out, exist_ok=True)
    torch.set_num_threads(1)

    with open(os.path.join(out, "shift.txt"), "w") as f:
        for name in SHIFT_MODELS:
            model = load(here, name)
            best = None
            for seed in range(100):  # the prompt whose margin leaves least to rounding
                prompt = np.random.RandomState(seed).randint(0, 100, N_PROMPT).tolist()
                new, margin = greedy_with_shift(model, prompt)
                if best is None or margin > best[2]:
                    best = (prompt, new, margin)
            print(name, N_PROMPT, N_NEW, *best[0], *best[1], "%.6g" % best[2], file=f)
            print(name, "margin", best[2], "different ids", len(set(best[1])))

    random = np.random.RandomState(11)
    sequences = [random.randint(0, 100, n).tolist() for n in LENGTHS]
    with open(os.path.join(out, "evaluate.txt"), "w") as f:
        print("sequences", len(sequences), file=f)
        for ids in sequences:
            print(len(ids), *ids, file=f)
        for name, window, stride in CASES:
            model = load(here, name)
            losses = [loss for ids in sequences for loss in losses_of(model, ids, window, stride)]
            error = np.std(losses, ddof=1) / math.sqrt(len(losses))
            print(name, window, stride, len(losses), "%.9g %.9g" % (np.mean(losses), error), file=f)


if __name__ == "__main__":
    main()
