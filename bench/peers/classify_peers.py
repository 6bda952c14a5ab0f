"""The peers' side of `run.py classify`: PyTorch at GPT-2's size, one process a measurement, one line of JSON.

    make     writes random weights and GPT-2's vocabulary for both sides: base/, classifier/ and padded/ in --model
    train    steps of the book's chapter 6 (its GPTModel, llms-from-scratch on PyPI), seconds of a step and of a batch
             that is only looked at; medians
    predict  seconds for all texts: transformers with SDPA, one text at a time and batches of equally long ones, and the
             book's class on batches of 8 texts padded to 120 tokens; least of the rounds
"""

import argparse
import itertools
import json
import pathlib
import statistics

import torch
from book_peers import book_model, open_vocabulary, seconds_of, write_vocabulary

N_EMBD, N_LAYER, N_HEAD, EOT, PADDED, BATCH = 768, 12, 12, 50256, 120, 8


def make(folder):
    from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

    torch.manual_seed(1)
    base = GPT2LMHeadModel(GPT2Config(pad_token_id=EOT))
    classifier = GPT2ForSequenceClassification(GPT2Config(pad_token_id=EOT, num_labels=2))
    classifier.transformer.load_state_dict(base.transformer.state_dict())
    for name, model in (("base", base), ("classifier", classifier), ("padded", classifier)):
        model.save_pretrained(folder / name)
        write_vocabulary(folder / name)
    config = json.loads((folder / "padded" / "config.json").read_text())
    (folder / "padded" / "config.json").write_text(json.dumps({**config, "pad_token_id": None, "padded_length": PADDED}))
    return {"made": str(folder)}


def book_classifier():
    model = book_model(N_LAYER, N_HEAD, N_EMBD)
    for param in model.parameters():
        param.requires_grad = False
    model.out_head = torch.nn.Linear(N_EMBD, 2)
    for part in (model.trf_blocks[-1], model.final_norm):
        for param in part.parameters():
            param.requires_grad = True
    return model


def train(n_steps):
    from llms_from_scratch.ch06 import calc_loss_batch

    model, device = book_classifier(), torch.device("cpu")
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.1)
    inputs, targets = torch.randint(0, 50257, (BATCH, PADDED)), torch.randint(0, 2, (BATCH,))

    def step():
        optimizer.zero_grad()
        calc_loss_batch(inputs, targets, model, device).backward()
        optimizer.step()

    def look():
        with torch.no_grad():
            calc_loss_batch(inputs, targets, model, device)

    model.train()
    step()  # the first is slower
    steps = [seconds_of(step) for _ in range(n_steps)]
    model.eval()
    forwards = [seconds_of(look) for _ in range(n_steps)]
    return {"step": statistics.median(steps), "forward": statistics.median(forwards)}


def batches(items, size):
    return (items[at : at + size] for at in range(0, len(items), size))


def predict(model, path, rounds):
    from transformers import GPT2ForSequenceClassification

    bpe = open_vocabulary(model)
    texts = json.loads(path.read_text())
    hf = GPT2ForSequenceClassification.from_pretrained(model, attn_implementation="sdpa", dtype=torch.float32).eval()
    book = book_classifier().eval()

    def one_at_a_time():
        for text in texts:
            hf(torch.tensor([bpe.encode(text).ids]), use_cache=False).logits.argmax(-1)

    def equally_long():
        ids = sorted((bpe.encode(text).ids for text in texts), key=len)
        for _, group in itertools.groupby(ids, key=len):
            for batch in batches(list(group), 32):
                hf(torch.tensor(batch), use_cache=False).logits.argmax(-1)

    def padded():
        for batch in batches(texts, BATCH):
            ids = [bpe.encode(text).ids[:PADDED] for text in batch]
            book(torch.tensor([row + [EOT] * (PADDED - len(row)) for row in ids]))[:, -1, :].argmax(-1)

    found = {}
    with torch.inference_mode():
        for name, call in (("transformers, one text at a time", one_at_a_time),
                           ("transformers, batches of equally long texts", equally_long),
                           ("the book's class, padded to 120", padded)):
            found[name] = min(seconds_of(call) for _ in range(rounds))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "train", "predict"])
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--texts", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "make":
        result = make(options.model)
    elif options.what == "train":
        result = train(options.steps)
    else:
        result = predict(options.model, options.texts, options.rounds)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
