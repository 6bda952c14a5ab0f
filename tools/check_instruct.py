#!/usr/bin/env python3
"""Compares a run of `my-llm instruct train` with transformers and the book's class.

    python tools/check_instruct.py RUN [ENTRIES]

Answers the first ENTRIES test entries (all) of RUN/instruction-data-with-response.json with transformers' GPT2LMHeadModel
on RUN/model, greedily as far as the context goes, and says how many answers are the same; loads RUN/*-sft.pth into the
book's GPTModel, strictly, and compares its logits. For models with a vocabulary of vocab.json and merges.txt.
"""

import glob
import json
import sys

import torch
from llms_from_scratch.ch04 import GPTModel
from llms_from_scratch.ch07 import format_input
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2LMHeadModel

run, most = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None
torch.set_num_threads(2)
model, loading = GPT2LMHeadModel.from_pretrained(f"{run}/model", dtype=torch.float32, output_loading_info=True)
assert not loading["missing_keys"] and not loading["unexpected_keys"], loading
config = model.config
bpe = Tokenizer(models.BPE.from_file(f"{run}/model/vocab.json", f"{run}/model/merges.txt"))
bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
bpe.decoder = decoders.ByteLevel()
with open(f"{run}/instruction-data-with-response.json", encoding="utf-8") as file:
    entries = json.load(file)[:most]
same = 0
for entry in entries:
    ids = bpe.encode(format_input(entry) + "\n\n### Response:\n").ids
    room = min(config.n_positions + 1 - len(ids), 256)
    out = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=room, pad_token_id=config.eos_token_id)
    new = out[0, len(ids):].tolist()
    new = new[: new.index(config.eos_token_id)] if config.eos_token_id in new else new
    same += bpe.decode(new).strip() == entry["model_response"]
print(f"{same} of {len(entries)} answers are transformers'")
for path in glob.glob(f"{run}/*-sft.pth"):
    book = GPTModel({"vocab_size": config.vocab_size, "context_length": config.n_positions, "emb_dim": config.n_embd,
                     "n_heads": config.n_head, "n_layers": config.n_layer, "drop_rate": 0.0, "qkv_bias": True})
    book.load_state_dict(torch.load(path, weights_only=True), strict=True)
    ids = torch.tensor([bpe.encode(format_input(entries[0])).ids])
    with torch.no_grad():
        want, got = model(ids).logits, book.eval()(ids)
    print(f"{path}: logits differ by {(want - got).abs().max() / want.abs().max():.1e} of the largest")
