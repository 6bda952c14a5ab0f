#!/usr/bin/env python3
"""Compares the whole recipe of the book's appendix E (LoRA, rank 16, its alpha 16) with PyTorch's, from tests/fixtures/starter.

    build/my-llm classify train --data SMSSpamCollection --preset book -m tests/fixtures/starter --lora-rank 16 --lora-alpha 256 --out RUN
    python tools/check_classify_lora.py SMSSpamCollection RUN

Runs the book's functions (llms-from-scratch 1.0.19: chapter 6, appendix_e's replace_linear_with_lora) in torch 2.15, with
two differences that my-llm has: queries, keys and values are one Linear (the book's PyTorchMultiHeadAttention), and the
generator is seeded once more before the adapters are drawn. The model has no dropout. Prints every number of both sides
that the book's code prints, and the largest difference of a loss. Takes some minutes.
"""

import csv
import json
import sys
from pathlib import Path

import torch
from llms_from_scratch.appendix_e import replace_linear_with_lora
from llms_from_scratch.ch03 import PyTorchMultiHeadAttention
from make_classify_fixtures import recipe


def with_one_matrix(att):
    """The same attention, its three matrices in one."""
    n_embd = att.d_out
    fused = PyTorchMultiHeadAttention(n_embd, n_embd, att.num_heads, 0.0, qkv_bias=True)
    parts = (att.W_query, att.W_key, att.W_value)
    with torch.no_grad():
        fused.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
        fused.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
        fused.proj.load_state_dict(att.out_proj.state_dict())
    return fused


def add_adapters(model):
    for block in model.trf_blocks:
        block.att = with_one_matrix(block.att)
    for param in model.parameters():
        param.requires_grad = False
    torch.manual_seed(123)
    replace_linear_with_lora(model, rank=16, alpha=16)
    n = sum(param.numel() for param in model.parameters() if param.requires_grad)
    print(f"trained parameters: {n}")


def main():
    data, run = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(2)
    ours = json.loads((run / "run.json").read_text())
    with open(run / "log.csv", newline="") as file:
        log = [(float(row["train_loss"]), float(row["val_loss"])) for row in csv.DictReader(file)]
    print(f"my-llm's: {ours['plan']['trained_parameters']}")
    want = recipe(data, add_adapters)
    steps = list(zip(want["train_losses"], want["val_losses"]))
    # my-llm evaluates after the last step as well.
    differences = [abs(a - b) for mine, theirs in zip(log, steps) for a, b in zip(mine, theirs)]
    for i, (mine, theirs) in enumerate(zip(log, steps)):
        print("step {:3}: PyTorch {:.6f} {:.6f}, my-llm {:.6f} {:.6f}".format(50 * i, *theirs, *mine))
    print(f"largest difference of {len(differences)} losses: {max(differences):.2e}")
    print(f"accuracies before: {want['initial_accuracy']}, {list(ours['initial_accuracy'].values())}")
    epochs = [list(epoch.values()) for epoch in ours["epoch_accuracy"]]
    print(f"after each epoch: {list(zip(want['train_accuracies'], want['val_accuracies']))}, {epochs}")
    print(f"at the end: {want['final_accuracy']}, {list(ours['final_accuracy'].values())}")


if __name__ == "__main__":
    main()
