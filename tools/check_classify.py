#!/usr/bin/env python3
"""Opens what `my-llm classify train` has written in transformers and in the book's class, and compares their answers.

    python tools/check_classify.py build/my-llm RUN          RUN: the classifier's directory

Last run with transformers 5, torch 2.15, llms-from-scratch 1.0.19. Prints the largest difference of the probabilities
that my-llm predicts from those of model/ in transformers, and of review_classifier.pth in the book's GPTModel.
"""

import csv
import json
import subprocess
import sys

import torch
from llms_from_scratch.ch04 import GPTModel
from tokenizers import Tokenizer
from transformers import GPT2ForSequenceClassification

TEXTS = 40


def main():
    program, run = sys.argv[1:]
    with open(f"{run}/test.csv", newline="") as file:
        texts = [row["Text"] for row in csv.DictReader(file) if "\n" not in row["Text"]][:TEXTS]
    out = subprocess.run([program, "classify", "predict", run, "-", "--json"], input="\n".join(texts).encode(),
                         capture_output=True, check=True).stdout
    ours = torch.tensor([list(json.loads(line)["probabilities"].values()) for line in out.splitlines()])
    config = json.load(open(f"{run}/model/config.json"))
    tokenizer = Tokenizer.from_file(f"{run}/model/tokenizer.json")
    padded, eos = config.get("padded_length", 0), config["eos_token_id"]
    ids = [tokenizer.encode(text).ids[: padded or config["n_positions"]] for text in texts]
    ids = [torch.tensor([row + [eos] * (padded - len(row))]) for row in ids]

    hf, loading = GPT2ForSequenceClassification.from_pretrained(f"{run}/model", output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), loading
    book = GPTModel({"vocab_size": config["vocab_size"], "context_length": config["n_positions"],
                     "emb_dim": config["n_embd"], "n_heads": config["n_head"], "n_layers": config["n_layer"],
                     "drop_rate": 0.0, "qkv_bias": True})
    book.out_head = torch.nn.Linear(config["n_embd"], len(config["id2label"]))
    book.load_state_dict(torch.load(f"{run}/review_classifier.pth", weights_only=True))
    with torch.no_grad():
        theirs = torch.cat([hf.eval()(row).logits for row in ids])
        logits = torch.cat([book.eval()(row)[:, -1] for row in ids])
    print(f"{len(texts)} texts; logits of transformers and the book differ by {(theirs - logits).abs().max():.2e}")
    print(f"probabilities: transformers {(theirs.softmax(-1) - ours).abs().max():.2e}, "
          f"the book {(logits.softmax(-1) - ours).abs().max():.2e}")


if __name__ == "__main__":
    main()
