#!/usr/bin/env python3
"""Opens what training with --lora-rank N --adapter has written in PEFT, and compares it with the merged model.

    python tools/check_lora.py RUN BASE          RUN: a directory with model/ and adapter/; BASE: the model it began with

Last run with peft 0.21.2, transformers 5.23.0, torch 2.15.0. Prints the largest difference of the logits of
BASE + adapter/ from those of model/, of some random ids, and how far the adapter moved them; fails above 1e-4.
"""

import json
import sys

import torch
from peft import PeftModel
from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel

N_TEXTS, LENGTH = 8, 40


def main():
    run, base = sys.argv[1:]
    with open(f"{run}/model/config.json") as file:
        config = json.load(file)
    labels = {int(key): value for key, value in config.get("id2label", {}).items()}
    if config["architectures"] == ["GPT2ForSequenceClassification"]:
        kind = GPT2ForSequenceClassification
        more = {"num_labels": len(labels), "id2label": labels, "pad_token_id": config["pad_token_id"]}
    else:
        kind, more = GPT2LMHeadModel, {}
    merged = kind.from_pretrained(f"{run}/model").eval()
    plain = kind.from_pretrained(base, **more).eval()
    torch.manual_seed(1)
    ids = torch.randint(0, config["vocab_size"] - 1, (N_TEXTS, LENGTH))
    with torch.no_grad():
        # Texts one by one: a model that was trained with padding has no pad id.
        want = torch.cat([merged(row[None]).logits for row in ids])
        before = torch.cat([plain(row[None]).logits for row in ids])
        adapted = PeftModel.from_pretrained(plain, f"{run}/adapter").eval()
        missing = [name for name in adapted.state_dict() if "lora_" in name and adapted.state_dict()[name].abs().sum() == 0]
        got = torch.cat([adapted(row[None]).logits for row in ids])
    difference = (want - got).abs().max().item()
    print(f"{kind.__name__}: {len([n for n in adapted.state_dict() if 'lora_A' in n])} adapters; logits differ by "
          f"{difference:.2e}; without the adapter by {(want - before).abs().max():.2e}")
    if difference > 1e-4 or missing:
        sys.exit(f"too much, or adapters of zeros: {missing}")


if __name__ == "__main__":
    main()
