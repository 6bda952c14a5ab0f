#!/usr/bin/env python3
"""Writes tests/fixtures/classify/: how pandas reads and writes, balances and splits, and how scikit-learn measures.

    python tools/make_classify_fixtures.py SMSSpamCollection
    python tools/make_classify_fixtures.py SMSSpamCollection recipe
    python tools/make_classify_fixtures.py SMSSpamCollection recipe MODEL RECIPE.json
    python tools/make_classify_fixtures.py SMSSpamCollection steps124 MODEL.pth

Made with pandas 3.1.1, numpy 2.0.2, scikit-learn 1.9.1; the data is the SMS Spam Collection. The recipe: the book's own
code (llms-from-scratch 1.0.19 on PyPI) in torch 2.15 on the CPU.

csv.json      texts and the records that pandas' C parser finds in them (null: it refuses)
sms.json      the 5,572 rows of the collection, the balanced set, its split, and the three files, as FNV-1a hashes
metrics.json  true and predicted labels, and what scikit-learn says of them
losses.json   batches of logits and labels with weights of the labels, scikit-learn's "balanced" for n_label texts of
              each; PyTorch's weighted cross-entropy (mean) of each batch, and its gradient
recipe.json   every number of the book's chapter 6, whole, begun from tests/fixtures/starter: losses and accuracies; or, of
              another MODEL of ours, RECIPE.json, for tools/check_classify_steps.py
steps124.json the first 60 steps of it at GPT-2's size (124M) and vocabulary, evaluated every 10 steps, begun from the
              random weights that PyTorch gives the book's class with seed 1; these are written to MODEL.pth (650 MB),
              for tools/check_classify_steps.py
"""

import io
import json
import os
import random
import sys

import numpy as np
import pandas as pd
import sklearn.metrics as measure

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "fixtures", "classify")
COLUMNS = 6


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def write(name, value):
    os.makedirs(HERE, exist_ok=True)
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


# ---- Quotes and line ends ---------------------------------------------------------------------

def read(text, separator):
    """The records; None when a quote is never closed."""
    try:
        frame = pd.read_csv(
            io.BytesIO(text.encode()), sep=separator, header=None, names=range(COLUMNS), index_col=False,
            dtype=str, keep_default_na=False, encoding="utf-8",
        )
    except pd.errors.EmptyDataError:
        return []
    except pd.errors.ParserError as error:
        assert "EOF inside string" in str(error), error
        return None
    return [without_padding(row) for row in frame.values.tolist()]


def without_padding(row):
    """pandas pads short records with empty fields: empty ones at the end are left out."""
    while row and row[-1] == "":
        row = row[:-1]
    return row


def csv_cases():
    made = [
        'a,b\nc,d\n', 'a,b\r\nc,d', 'a,b\rc,d\r', '"a,b",c\n', '"a""b",c\n', '"a"b,c\n', 'a"b"c,d\n', ' "a",b\n',
        '"a\nb",c\n', '"a\r\nb",c\r\n', '"",""\n', ',\n', 'a,\n,b\n', '\n\na,b\n\n', '   \na,b\n', '"open,b\nc,d\n',
        '"a" ,b\n', 'é,日本\n', 'a,b', '"a","b"', '""""\n', '"a"""b,c\n', 'a,"b""",c\n',
    ]
    chance = random.Random(123)
    while len(made) < 240:
        made.append("".join(chance.choice('aaab,,,""\n\n\r ') for _ in range(chance.randint(3, 18))))
    cases = []
    for text in made:
        if any(line.count(",") >= COLUMNS for line in text.replace("\r", "\n").split("\n")):
            continue
        if "\r," in text:  # behind an empty line pandas loses this separator
            continue
        separator = "," if len(cases) % 2 == 0 else "\t"
        shown = text.replace(",", separator)
        cases.append({"text": shown, "separator": separator, "records": read(shown, separator)})
    return cases


# ---- The SMS Spam Collection --------------------------------------------------------------------

def rows_hash(frame):
    joined = "".join(f"{label}\x01{text}\x02" for label, text in zip(frame["Label"], frame["Text"]))
    return {"n": len(frame), "hash": fnv(joined.encode())}


def sms(path):
    frame = pd.read_csv(path, sep="\t", header=None, names=["Label", "Text"])
    spam = frame[frame["Label"] == "spam"]
    ham = frame[frame["Label"] == "ham"].sample(len(spam), random_state=123)
    balanced = pd.concat([ham, spam])
    shuffled = balanced.copy()
    shuffled["Label"] = shuffled["Label"].map({"ham": 0, "spam": 1})
    shuffled = shuffled.sample(frac=1, random_state=123).reset_index(drop=True)
    first = int(len(shuffled) * 0.7)
    second = first + int(len(shuffled) * 0.1)
    parts = {"train": shuffled[:first], "validation": shuffled[first:second], "test": shuffled[second:]}
    return {
        "rows": rows_hash(frame),
        "balanced": {**rows_hash(balanced), "index": fnv(np.asarray(balanced.index, dtype="<i8").tobytes())},
        "files": {
            name: {"n": len(part), "size": len(part.to_csv(index=None).encode()), "hash": fnv(part.to_csv(index=None).encode())}
            for name, part in parts.items()
        },
    }


# ---- Orders of other sizes ----------------------------------------------------------------------

def orders():
    """Balance by sample() of each label and a shuffle, over labels drawn at random."""
    made = []
    for n, n_labels, seed in [(1, 2, 1), (10, 2, 123), (57, 3, 7), (400, 5, 42)]:
        labels = np.random.RandomState(n).randint(0, n_labels, n)
        frame = pd.DataFrame({"label": labels})
        least = min(frame["label"].value_counts())
        kept = []
        for label in range(n_labels):
            part = frame[frame["label"] == label]
            kept.append(part.sample(least, random_state=seed) if len(part) > least else part)
        balanced = pd.concat(kept)
        shuffled = balanced.sample(frac=1, random_state=seed)
        made.append({"labels": labels.tolist(), "n_labels": n_labels, "seed": seed,
                     "balanced": balanced.index.tolist(), "shuffled": shuffled.index.tolist()})
    return made


# ---- Measures -----------------------------------------------------------------------------------

def metrics():
    cases = []
    for n, n_labels, wrong in [(1, 2, 0.0), (40, 2, 0.2), (200, 3, 0.4), (300, 5, 0.7), (30, 4, 1.0)]:
        chance = np.random.RandomState(n)
        true = chance.randint(0, n_labels, n)
        if n_labels > 2:
            true[true == n_labels - 1] = 0  # a label that never is the true one
        other = chance.randint(0, n_labels, n)
        predicted = np.where(chance.random_sample(n) < wrong, other, true)
        if n_labels == 4:
            predicted = (true + 1) % 3  # all wrong, and label 3 never predicted
        labels = list(range(n_labels))
        each = measure.precision_recall_fscore_support(true, predicted, labels=labels, zero_division=0)
        macro = measure.precision_recall_fscore_support(true, predicted, labels=labels, average="macro", zero_division=0)
        micro = measure.precision_recall_fscore_support(true, predicted, labels=labels, average="micro", zero_division=0)
        cases.append({
            "n_labels": n_labels, "true": true.tolist(), "predicted": predicted.tolist(),
            "accuracy": measure.accuracy_score(true, predicted),
            "precision": each[0].tolist(), "recall": each[1].tolist(), "f1": each[2].tolist(), "support": each[3].tolist(),
            "macro": list(macro[:3]), "micro": list(micro[:3]),
            "confusion": measure.confusion_matrix(true, predicted, labels=labels).tolist(),
        })
    return cases


# ---- Weighted losses ----------------------------------------------------------------------------

def losses():
    import torch
    from sklearn.utils.class_weight import compute_class_weight

    torch.manual_seed(123)
    cases = []
    for n_label, labels, spread in [
        ([700, 45], [0, 1, 0, 0, 0, 0, 0, 0], 2),  # one of the rare label in the batch
        ([700, 45], [0, 0, 0, 0], 2),  # none: the weight cancels
        ([12, 90, 3], [1, 1, 0, 2, 1, 1, 2], 2),
        ([12, 90, 3], [2], 2),
        ([40, 40, 40], [0, 1, 2, 2, 0], 2),
        ([9, 1, 5], [0, 1, 2, 0, 2, 1], 60),  # exp() of such a logit does not fit into F32
    ]:
        texts = np.repeat(np.arange(len(n_label)), n_label)
        weights = torch.tensor(compute_class_weight("balanced", classes=np.arange(len(n_label)), y=texts), dtype=torch.float32)
        logits = (spread * torch.randn(len(labels), len(n_label))).requires_grad_()
        loss = torch.nn.CrossEntropyLoss(weight=weights)(logits, torch.tensor(labels))
        loss.backward()
        cases.append({"n_label": n_label, "class_weights": weights.tolist(), "labels": labels, "logits": logits.tolist(),
                      "loss": loss.item(), "gradient": logits.grad.tolist()})
    return cases


# ---- The book's recipe --------------------------------------------------------------------------

STARTER = os.path.join(HERE, "..", "starter")


class Tokenizer:
    """A model's vocabulary with the method of tiktoken that the book calls."""

    def __init__(self, folder=STARTER):
        from tokenizers import Tokenizer as Bpe, models, pre_tokenizers

        self.bpe = Bpe(models.BPE.from_file(os.path.join(folder, "vocab.json"), os.path.join(folder, "merges.txt")))
        self.bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def encode(self, text):
        return self.bpe.encode(text).ids


def book_model(folder=STARTER):
    """The book's GPTModel with the weights of a model in Hugging Face layout, put there by the book's own function."""
    from llms_from_scratch.ch04 import GPTModel
    from llms_from_scratch.ch05 import load_weights_into_gpt
    from safetensors.numpy import load_file

    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    model = GPTModel({"vocab_size": config["vocab_size"], "context_length": config["n_positions"],
                      "emb_dim": config["n_embd"], "n_heads": config["n_head"], "n_layers": config["n_layer"],
                      "drop_rate": 0.0, "qkv_bias": True})
    tensors = {name.removeprefix("transformer."): value.astype("float32")
               for name, value in load_file(os.path.join(folder, "model.safetensors")).items()}

    def pair(name, first="w", second="b"):
        return {first: tensors[name + ".weight"], second: tensors[name + ".bias"]}

    params = {"wte": tensors["wte.weight"], "wpe": tensors["wpe.weight"], "g": tensors["ln_f.weight"],
              "b": tensors["ln_f.bias"], "blocks": []}
    for i in range(config["n_layer"]):
        at = f"h.{i}."
        params["blocks"].append({
            "attn": {"c_attn": pair(at + "attn.c_attn"), "c_proj": pair(at + "attn.c_proj")},
            "mlp": {"c_fc": pair(at + "mlp.c_fc"), "c_proj": pair(at + "mlp.c_proj")},
            "ln_1": pair(at + "ln_1", "g", "b"), "ln_2": pair(at + "ln_2", "g", "b"),
        })
    load_weights_into_gpt(model, params)
    return model, config


def random_model(path):
    """The book's GPTModel at GPT-2's size, as PyTorch makes it."""
    import torch
    from llms_from_scratch.ch04 import GPTModel

    torch.manual_seed(1)
    model = GPTModel({"vocab_size": 50257, "context_length": 1024, "emb_dim": 768, "n_heads": 12, "n_layers": 12,
                      "drop_rate": 0.0, "qkv_bias": True})
    torch.save(model.state_dict(), path)
    return model, {"n_embd": 768, "eos_token_id": 50256}


def train_last_block(model):
    """With its norms and the final one; the new head is trained anyway."""
    for part in (model.trf_blocks[-1], model.final_norm):
        for param in part.parameters():
            param.requires_grad = True


def training(path, tokenizer, model, config, choose=train_last_block):
    """Chapter 6 up to the optimizer, its functions unchanged; choose(model) says what is trained."""
    import tempfile

    import torch
    from llms_from_scratch import ch06
    from torch.utils.data import DataLoader

    device, pad = torch.device("cpu"), config["eos_token_id"]
    frame = pd.read_csv(path, sep="\t", header=None, names=["Label", "Text"])
    balanced = ch06.create_balanced_dataset(frame)
    balanced["Label"] = balanced["Label"].map({"ham": 0, "spam": 1})
    loaders = []
    torch.manual_seed(123)
    with tempfile.TemporaryDirectory() as folder:
        length = None
        for i, part in enumerate(ch06.random_split(balanced, 0.7, 0.1)):
            name = os.path.join(folder, f"{i}.csv")
            part.to_csv(name, index=None)
            data = ch06.SpamDataset(name, tokenizer, max_length=length, pad_token_id=pad)
            length = data.max_length
            loaders.append(DataLoader(data, batch_size=8, shuffle=i == 0, drop_last=i == 0))
    for param in model.parameters():
        param.requires_grad = False
    torch.manual_seed(123)
    model.out_head = torch.nn.Linear(config["n_embd"], 2)
    choose(model)
    torch.manual_seed(123)
    initial = [ch06.calc_accuracy_loader(loader, model, device, num_batches=10) for loader in loaders]
    with torch.no_grad():
        untrained = [ch06.calc_loss_loader(loader, model, device, num_batches=5) for loader in loaders[:2]]
    torch.manual_seed(123)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.1)
    return loaders, optimizer, {"padded_length": length, "initial_accuracy": initial, "initial_loss": untrained}


def recipe(path, choose=train_last_block, folder=STARTER):
    """Chapter 6 from data to accuracies; losses are heard where they are computed."""
    import torch
    from llms_from_scratch import ch06

    device = torch.device("cpu")
    model, config = book_model(folder)
    loaders, optimizer, made = training(path, Tokenizer(folder), model, config, choose)
    train_losses, val_losses, train_accuracies, val_accuracies, examples = ch06.train_classifier_simple(
        model, loaders[0], loaders[1], optimizer, device, num_epochs=5, eval_freq=50, eval_iter=5)
    final = [ch06.calc_accuracy_loader(loader, model, device) for loader in loaders]
    return {**made, "examples": examples, "train_losses": train_losses, "val_losses": val_losses,
            "train_accuracies": train_accuracies, "val_accuracies": val_accuracies, "final_accuracy": final}


class Over(Exception):
    """The last step that is wanted."""


def first_steps(path, model_path, n_steps=60):
    """The book's training function, left from within after n_steps; the loss of every step and each evaluation."""
    import torch
    from llms_from_scratch import ch06
    from make_tokenizer_fixtures import gpt2

    torch.set_num_threads(2)
    model, config = random_model(model_path)
    loaders, optimizer, made = training(path, gpt2(), model, config)
    losses, evaluations = [], []
    loss_batch, evaluate = ch06.calc_loss_batch, ch06.evaluate_model

    def calc_loss_batch(*arguments):
        loss = loss_batch(*arguments)
        if model.training:
            if len(losses) == n_steps:
                raise Over
            losses.append(loss.item())
            print(len(losses) - 1, losses[-1], flush=True)
        return loss

    def evaluate_model(*arguments):
        evaluations.append([len(losses) - 1, *evaluate(*arguments)])
        return evaluations[-1][1:]

    ch06.calc_loss_batch, ch06.evaluate_model = calc_loss_batch, evaluate_model
    try:
        ch06.train_classifier_simple(model, loaders[0], loaders[1], optimizer, torch.device("cpu"), num_epochs=1,
                                     eval_freq=10, eval_iter=5)
    except Over:
        return {**made, "step_losses": losses, "evaluations": evaluations}


def main():
    if sys.argv[2:3] == ["recipe"] and len(sys.argv) == 5:
        with open(sys.argv[4], "w") as file:
            json.dump(recipe(sys.argv[1], folder=sys.argv[3]), file)
        return
    if sys.argv[2:] == ["recipe"]:
        write("recipe.json", recipe(sys.argv[1]))
        return
    if sys.argv[2:3] == ["steps124"]:
        write("steps124.json", first_steps(sys.argv[1], sys.argv[3]))
        return
    write("csv.json", csv_cases())
    write("sms.json", {**sms(sys.argv[1]), "orders": orders()})
    write("metrics.json", metrics())
    write("losses.json", losses())


if __name__ == "__main__":
    main()
