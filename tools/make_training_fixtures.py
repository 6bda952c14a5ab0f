#!/usr/bin/env python3
"""Makes tests/fixtures/training: PyTorch's losses and gradients of small models, and its initial weights.

    python3 tools/make_training_fixtures.py [DIRECTORY]     (default: tests/fixtures/training of this checkout)

Made with torch 2.15.0, transformers 5.23.0 and llms-from-scratch 1.0.19 (the versions in use are written into
DIRECTORY/README.md). The files are committed; neither the program nor its tests need Python packages.

NAME.safetensors, for each row of VARIANTS and WANTED, and for the book's model and dropout:
  losses               [n_rows] cross-entropy of each wanted row (F64)
  <parameter>          the gradient of sum(scales * losses), under GPT2LMHeadModel's names without "transformer."
Weights are not stored: the test draws them from MT19937 as fill() here does, bit for bit. Gradients are computed in
F64, so what a comparison shows is the rounding of the side that is tested; they are stored as F32.

lora.safetensors     adapters of rank 3 and alpha 5, made by PEFT beside all matrices of the layers of "untied":
  <matrix>.A, .B       the gradients of A [n_in, rank] and B [rank, n_out]
  <matrix>.initial     A as the book's LoRALayer has it after torch.manual_seed(7)
  last.<matrix>.A, .B  the same of the batch "last"

initial.txt: lines "<init> <parameter> <n> <sum of bits> <hash of bits>": the bits of all initial weights of GPTModel
after torch.manual_seed(123), and of GPT-2's initialisation in our order, as unsigned 32-bit words.
"""
import importlib.metadata
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from llms_from_scratch.ch04 import GPTModel
from transformers import GPT2Config, GPT2LMHeadModel

# Sizes that no vector width divides.
BASE = dict(vocab_size=37, n_positions=16, n_embd=18, n_head=3, n_layer=2)
VARIANTS = {
    "tied": {},
    "untied": dict(tie_word_embeddings=False),
    "gelu": dict(activation_function="gelu"),
    "relu": dict(activation_function="relu"),
    "bylayer": dict(scale_attn_by_inverse_layer_idx=True, n_layer=3),
    "noscale": dict(scale_attn_weights=False, n_inner=29),
}
# The book's model: no qkv bias, an untied head.
BOOK = dict(vocab_size=37, context_length=16, emb_dim=18, n_heads=3, n_layers=2, drop_rate=0.0, qkv_bias=False)

# Several sequences of different length, the last one of full length; targets are wanted where (position + sequence)
# is not a multiple of 4, and weighed differently.
LENGTHS = [7, 1, 12, 16]

# Batches of which few rows are wanted: the last of each sequence, as for classification, and runs of two with gaps
# between them, in all but one sequence.
WANTED = {
    "last": lambda length: [length - 1],
    "scattered": lambda length: [t for t in range(length) if t % 6 in (2, 3)],
}

# All matrices in the order of our parameter table, with the deviation they are drawn with.
MATRICES = ["wte.weight", "wpe.weight", "attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight",
            "mlp.c_proj.weight", "lm_head.weight"]
TABLE = ["wte.weight", "wpe.weight", "ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias",
         "attn.c_proj.weight", "attn.c_proj.bias", "ln_2.weight", "ln_2.bias", "mlp.c_fc.weight", "mlp.c_fc.bias",
         "mlp.c_proj.weight", "mlp.c_proj.bias", "ln_f.weight", "ln_f.bias", "lm_head.weight"]


def instances(name, n_layer):
    if name in ("wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias", "lm_head.weight"):
        return [name]
    return [f"h.{layer}.{name}" for layer in range(n_layer)]


def short(name):
    return name.removeprefix("transformer.")


def fill(model, n_layer, seed):
    """Every parameter normal, in the table's order: deviation 0.3, norms' weights around 1."""
    torch.manual_seed(seed)
    tensors = {short(name): tensor for name, tensor in model.named_parameters()}
    for name in TABLE:
        for instance in instances(name, n_layer):
            if instance in tensors:
                mean = 1 if "ln_" in name and name.endswith("weight") else 0
                with torch.no_grad():
                    tensors[instance].copy_(torch.empty(tensors[instance].shape).normal_(mean, 0.3))


def sequences(vocab_size, wanted=None):
    """Ids and targets as simple functions of the place, which the test repeats."""
    result = []
    for s, length in enumerate(LENGTHS):
        ids = [(s * 31 + t * t * 7 + t * 3 + 5) % vocab_size for t in range(length + 1)]
        rows = wanted(length) if wanted else [t for t in range(length) if (t + s) % 4 != 0]
        scales = [0.05 + 0.01 * ((t + 2 * s) % 5) for t in rows]
        result.append((ids, rows, scales))
    return result


def losses_and_gradients(model, logits_of, batch):
    """Losses of all wanted rows, and .grad of the sum of scales * losses, each sequence by itself."""
    model.zero_grad()
    losses = []
    for ids, rows, scales in batch:
        if not rows:
            continue
        logits = logits_of(torch.tensor([ids[:-1]]))[0][rows]
        loss = F.cross_entropy(logits, torch.tensor([ids[t + 1] for t in rows]), reduction="none")
        (loss * torch.tensor(scales, dtype=loss.dtype)).sum().backward()
        losses += loss.tolist()
    return losses


def check_padded(model, batch, losses):
    """The same as one padded batch with an attention mask: packed equals padded."""
    length = max(LENGTHS)
    ids = torch.zeros(len(batch), length, dtype=torch.long)
    mask = torch.zeros(len(batch), length, dtype=torch.long)
    for s, (row, _, _) in enumerate(batch):
        ids[s, :len(row) - 1] = torch.tensor(row[:-1])
        mask[s, :len(row) - 1] = 1
    alone = {name: tensor.grad.clone() for name, tensor in model.named_parameters()}
    model.zero_grad()
    logits = model(ids, attention_mask=mask, use_cache=False).logits
    total, padded = 0, []
    for s, (row, rows, scales) in enumerate(batch):
        if not rows:
            continue
        loss = F.cross_entropy(logits[s, rows], torch.tensor([row[t + 1] for t in rows]), reduction="none")
        total = total + (loss * torch.tensor(scales, dtype=loss.dtype)).sum()
        padded += loss.tolist()
    total.backward()
    assert np.allclose(padded, losses, rtol=1e-12)
    for name, tensor in model.named_parameters():
        assert torch.allclose(tensor.grad, alone[name], rtol=1e-9, atol=1e-12), name


def write(root, name, losses, gradients):
    tensors = {key: value.to(torch.float32).contiguous() for key, value in gradients.items()}
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    safetensors.torch.save_file(tensors, os.path.join(root, name + ".safetensors"))


def make_variant(root, name, changes, seed, wanted=None):
    settings = {**BASE, **changes}
    config = GPT2Config(**settings, attn_implementation="eager", resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    model = GPT2LMHeadModel(config)
    fill(model, settings["n_layer"], seed)
    model = model.double()
    batch = sequences(settings["vocab_size"], wanted)
    losses = losses_and_gradients(model, lambda ids: model(ids, use_cache=False).logits, batch)
    check_padded(model, batch, losses)
    write(root, name, losses, {short(key): tensor.grad for key, tensor in model.named_parameters()})


def from_book(tensors, n_layer):
    """GPTModel's parameters (or their gradients) under our names: Conv1D layout, query, key and value joined."""
    out = {"wte.weight": tensors["tok_emb.weight"], "wpe.weight": tensors["pos_emb.weight"],
           "ln_f.weight": tensors["final_norm.scale"], "ln_f.bias": tensors["final_norm.shift"],
           "lm_head.weight": tensors["out_head.weight"]}
    for layer in range(n_layer):
        block, ours = f"trf_blocks.{layer}.", f"h.{layer}."
        parts = [f"{block}att.W_{part}." for part in ("query", "key", "value")]
        out[ours + "attn.c_attn.weight"] = torch.cat([tensors[part + "weight"].T for part in parts], 1)
        if parts[0] + "bias" in tensors:
            out[ours + "attn.c_attn.bias"] = torch.cat([tensors[part + "bias"] for part in parts])
        for theirs, name in (("att.out_proj", "attn.c_proj"), ("ff.layers.0", "mlp.c_fc"),
                             ("ff.layers.2", "mlp.c_proj")):
            out[f"{ours}{name}.weight"] = tensors[f"{block}{theirs}.weight"].T
            out[f"{ours}{name}.bias"] = tensors[f"{block}{theirs}.bias"]
        for theirs, name in (("norm1", "ln_1"), ("norm2", "ln_2")):
            out[f"{ours}{name}.weight"] = tensors[f"{block}{theirs}.scale"]
            out[f"{ours}{name}.bias"] = tensors[f"{block}{theirs}.shift"]
    return out


def book_gradients(model):
    return from_book({name: tensor.grad for name, tensor in model.named_parameters()}, BOOK["n_layers"])


def make_book(root):
    """Initial weights from seed 123; the packed batch, as GPT-2's variants."""
    torch.manual_seed(123)
    model = GPTModel(BOOK).double()
    losses = losses_and_gradients(model, model, sequences(BOOK["vocab_size"]))
    write(root, "book", losses, book_gradients(model))


def make_dropout(root):
    """Two sequences of equal length at once, masks drawn by PyTorch from seed 7; with qkv bias."""
    torch.manual_seed(123)
    model = GPTModel({**BOOK, "drop_rate": 0.3, "qkv_bias": True}).double().train()
    ids = torch.tensor([[(s * 31 + t * t * 7 + t * 3 + 5) % BOOK["vocab_size"] for t in range(14)] for s in range(2)])
    torch.manual_seed(7)
    losses = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    losses.mean().backward()
    gradients = book_gradients(model)
    gradients["next"] = torch.rand(4)  # the generator stands where PyTorch's does
    write(root, "dropout", losses.tolist(), gradients)


def make_lora(root, rank=3, alpha=5):
    """A drawn by the book's layers from seed 7, B normal from seed 8, so that no gradient is zero."""
    import peft
    from llms_from_scratch.appendix_e import LoRALayer

    settings = {**BASE, **VARIANTS["untied"]}
    config = GPT2Config(**settings, attn_implementation="eager", resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    model = GPT2LMHeadModel(config)
    fill(model, settings["n_layer"], list(VARIANTS).index("untied") + 1)
    matrices = [f"h.{layer}.{name}" for layer in range(settings["n_layer"])
                for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")]
    shapes = [model.get_submodule("transformer." + name).weight.shape for name in matrices]
    torch.manual_seed(7)
    a = [LoRALayer(n_in, n_out, rank, alpha).A.detach() for n_in, n_out in shapes]
    torch.manual_seed(8)
    b = [torch.empty(rank, n_out).normal_(0, 0.3) for _, n_out in shapes]
    model = peft.get_peft_model(model.double(), peft.LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True))
    layers = [model.base_model.model.get_submodule("transformer." + name) for name in matrices]
    for layer, first, second in zip(layers, a, b):
        layer.lora_A.default.weight.data = first.T.contiguous().double()
        layer.lora_B.default.weight.data = second.T.contiguous().double()
    tensors = {name + ".initial": first for name, first in zip(matrices, a)}
    for prefix, wanted in (("", None), ("last.", WANTED["last"])):
        losses = losses_and_gradients(model, lambda ids: model(ids, use_cache=False).logits,
                                      sequences(settings["vocab_size"], wanted))
        for name, layer in zip(matrices, layers):
            tensors[f"{prefix}{name}.A"] = layer.lora_A.default.weight.grad.T.clone()
            tensors[f"{prefix}{name}.B"] = layer.lora_B.default.weight.grad.T.clone()
        first_losses = losses if not prefix else first_losses
    write(root, "lora", first_losses, tensors)


def fingerprint(tensor):
    """Count, sum and FNV-1a of the bits, as 32-bit words."""
    words = tensor.detach().contiguous().numpy().astype("<f4").view("<u4").ravel()
    value = 0xcbf29ce484222325
    for word in words.tolist():
        value = ((value ^ word) * 0x100000001b3) & 0xffffffffffffffff
    return f"{len(words)} {int(words.astype(np.uint64).sum())} {value:016x}"


def make_initial(root):
    lines = []
    for name, settings in (("book", BOOK), ("book-qkv-bias", {**BOOK, "qkv_bias": True})):
        torch.manual_seed(123)
        model = GPTModel(settings)
        tensors = from_book(dict(model.named_parameters()), settings["n_layers"])
        lines += [f"{name} {key} {fingerprint(tensor)}" for key, tensor in sorted(tensors.items())]
    model = GPT2LMHeadModel(GPT2Config(**BASE, tie_word_embeddings=False))
    shapes = {short(key): tensor.shape for key, tensor in model.named_parameters()}
    torch.manual_seed(123)
    for name in MATRICES:
        std = 0.02 / (2 * BASE["n_layer"]) ** 0.5 if name.endswith("c_proj.weight") else 0.02
        for instance in instances(name, BASE["n_layer"]):
            lines.append(f"gpt2 {instance} {fingerprint(torch.empty(shapes[instance]).normal_(0, std))}")
    with open(os.path.join(root, "initial.txt"), "w") as out:
        out.write("\n".join(lines) + "\n")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "tests", "fixtures", "training")
    os.makedirs(root, exist_ok=True)
    for seed, (name, changes) in enumerate(VARIANTS.items()):
        make_variant(root, name, changes, seed + 1)
    for name, wanted in WANTED.items():
        make_variant(root, name, VARIANTS["untied"], list(VARIANTS).index("untied") + 1, wanted)
    make_book(root)
    make_dropout(root)
    make_lora(root)
    make_initial(root)
    with open(os.path.join(root, "README.md"), "w") as out:
        versions = ", ".join(f"{package} {importlib.metadata.version(package).split('+')[0]}"
                             for package in ("torch", "transformers", "llms-from-scratch", "peft"))
        out.write("# Training fixtures\n\nLosses, gradients and initial weights of small models from PyTorch, written by\n"
                  f"tools/make_training_fixtures.py with {versions}.\nWhat the files hold is said there.\n")


if __name__ == "__main__":
    main()
