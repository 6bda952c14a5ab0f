#!/usr/bin/env python3
"""Makes tests/fixtures/models: tiny GPT-2s of every variant we read, with transformers' own answers.

    python3 tools/make_model_fixtures.py [DIRECTORY]        (default: tests/fixtures/models of this checkout)

Empties the directory; make_torch_fixtures.py makes the rest of what belongs there.

Made with torch 2.15.0, transformers 5.23.0, tokenizers 0.23.3, safetensors 0.8.0, tensorflow 2.21.0 (the
versions in use are written into DIRECTORY/README.md). The files are committed; neither the program nor its
tests need Python packages.

Per model NAME:
  NAME/                  config.json and model.safetensors, as save_pretrained() writes them (or hparams.json
                         and model.ckpt.*, as tf.compat.v1.train.Saver writes them)
  reference/NAME.txt     lines of a key and numbers: "prompt 24 <ids>", "greedy 40 <ids>", "logits 64 <vocab_size>",
                         "max_abs <x>", "margin <x>" (smallest gap between best and second logit while greedy)
  reference/NAME.bin     float32 little-endian [64, vocab_size]: logits after each of prompt + greedy
  reference/NAME.original.bin    (half types) the same from the weights before they were rounded
Everything is computed by transformers in float32 with eager attention, by whole-context passes (no KV cache).
"""
import json
import os
import shutil
import struct
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import safetensors
import safetensors.torch
import tokenizers
import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel

N_PROMPT, N_GREEDY = 24, 40
# Sizes that no vector width divides, so that every kernel's tail is used.
BASE = dict(vocab_size=101, n_positions=64, n_embd=24, n_head=3, n_layer=2)


def make(seed, qkv_bias=True, **changes):
    """A model with weights large enough that its answers differ clearly, in float32, on evaluation."""
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(GPT2Config(**{**BASE, **changes}, attn_implementation="eager")).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.dim() == 2:
                tensor.normal_(0, 0.4 if "wte" in name or "wpe" in name or "lm_head" in name else 0.5)
            elif "ln_" in name and name.endswith("weight"):
                tensor.normal_(1, 0.2)
            else:
                tensor.normal_(0, 0.2)
            if not qkv_bias and name.endswith("c_attn.bias"):
                tensor.zero_()
    return model


def reference(model, prompt):
    """Greedy ids, logits [N_PROMPT + N_GREEDY, vocab_size], and the smallest margin met while choosing."""
    ids, margin = list(prompt), float("inf")
    with torch.no_grad():
        for _ in range(N_GREEDY):
            last = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
            best = torch.topk(last, 2)
            margin = min(margin, float(best.values[0] - best.values[1]))
            ids.append(int(best.indices[0]))
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    return ids[len(prompt):], logits.numpy().astype("<f4"), margin


def write_reference(root, name, model, prompt, original=None):
    greedy, logits, margin = reference(model, prompt)
    folder = os.path.join(root, "reference")
    os.makedirs(folder, exist_ok=True)
    logits.tofile(os.path.join(folder, name + ".bin"))
    if original is not None:
        with torch.no_grad():
            ids = torch.tensor([list(prompt) + greedy])
            original(ids, use_cache=False).logits[0].numpy().astype("<f4").tofile(
                os.path.join(folder, name + ".original.bin"))
    with open(os.path.join(folder, name + ".txt"), "w") as out:
        print("prompt", len(prompt), *prompt, file=out)
        print("greedy", len(greedy), *greedy, file=out)
        print("logits", *logits.shape, file=out)
        print("max_abs %.9g" % np.abs(logits).max(), file=out)
        print("margin %.9g" % margin, file=out)
    return margin / np.abs(logits).max()


def shows(model, key, logits, ids):
    """Whether the logits tell that config.<key> is not at its default: by 5 times the tests' tolerance."""
    if key in ("n_inner", "reorder_and_upcast_attn"):  # another shape; changes nothing in float32
        return True
    config = model.config.to_dict()
    config[key] = getattr(GPT2Config(), key)
    other = GPT2LMHeadModel(GPT2Config(**config, attn_implementation="eager")).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        difference = np.abs(other(torch.tensor([ids]), use_cache=False).logits[0].numpy() - logits).max()
    return difference > 5e-4 * np.abs(logits).max()


def make_clear(prompt, matters=None, **changes):
    """The first seed with varied greedy ids whose margin no rounding can close.

    matters: further changes of the config, which must show in the logits far above the tests' tolerance
    of 1e-4: a reader that forgets them has to fail.
    """
    matters = matters or {}
    torch.set_num_threads(1)  # tiny matrices
    for seed in range(1, 2000):
        model = make(seed, **changes, **matters)
        greedy, logits, margin = reference(model, prompt)
        if margin / np.abs(logits).max() < 2e-3 or len(set(greedy)) < 15:
            continue
        if all(shows(model, key, logits, prompt + greedy) for key in matters):
            return model
    raise SystemExit("no seed gives a clear margin")


def edit_tensors(folder, change):
    """Rewrites model.safetensors with `change` applied to the dictionary of tensors."""
    path = os.path.join(folder, "model.safetensors")
    tensors = safetensors.torch.load_file(path)
    change(tensors)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def edit_config(folder, **changes):
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        config = json.load(f)
    for key, value in changes.items():
        if value is None:
            config.pop(key, None)
        else:
            config[key] = value
    with open(path, "w") as f:
        json.dump(config, f, indent=2, sort_keys=True)
        f.write("\n")


def save(model, folder, **options):
    model.save_pretrained(folder, **options)
    generation = os.path.join(folder, "generation_config.json")
    if os.path.exists(generation):
        os.remove(generation)


def save_openai(model, folder):
    arrays = {k.removeprefix("transformer."): v.numpy() for k, v in model.state_dict().items()}
    return save_openai_arrays(arrays, model.config.to_dict(), folder)


def save_openai_arrays(arrays, config, folder):
    """Arrays by their Hugging Face names, as OpenAI's variables, written by TensorFlow itself."""
    import tensorflow as tf

    os.makedirs(folder, exist_ok=True)
    names = {"wte.weight": "wte", "wpe.weight": "wpe", "ln_f.weight": "ln_f/g", "ln_f.bias": "ln_f/b"}
    for layer in range(config["n_layer"]):
        for norm in ("ln_1", "ln_2"):
            names["h.%d.%s.weight" % (layer, norm)] = "h%d/%s/g" % (layer, norm)
            names["h.%d.%s.bias" % (layer, norm)] = "h%d/%s/b" % (layer, norm)
        for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
            names["h.%d.%s.weight" % (layer, part)] = "h%d/%s/w" % (layer, part.replace(".", "/"))
            names["h.%d.%s.bias" % (layer, part)] = "h%d/%s/b" % (layer, part.replace(".", "/"))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = []
        for ours, theirs in names.items():
            array = arrays[ours][None] if theirs.endswith("/w") else arrays[ours]
            # Fed, not a constant: a graph may hold 2 GB at most.
            start = tf.compat.v1.placeholder(tf.float32, array.shape)
            variable = tf.compat.v1.Variable(start, name="model/" + theirs)
            session.run(variable.initializer, {start: array})
            variables.append(variable)
        tf.compat.v1.train.Saver(variables).save(session, os.path.join(folder, "model.ckpt"), write_meta_graph=False)
    with open(os.path.join(folder, "hparams.json"), "w") as out:
        json.dump({"n_vocab": config["vocab_size"], "n_ctx": config["n_positions"], "n_embd": config["n_embd"],
                   "n_head": config["n_head"], "n_layer": config["n_layer"]}, out, indent=2)
        out.write("\n")
    with open(os.path.join(folder, "checkpoint"), "w") as out:  # Saver writes the absolute path of this machine
        out.write('model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n')
    return tf.__version__


def make_vocabulary(folder):
    """A byte-level BPE of 300 ids, end-of-text last; vocab.json and merges.txt."""
    text = ["the little cat sat on the mat and the dog ran to the cat; then they all went home, and that was that. " * 20]
    tokenizer = tokenizers.ByteLevelBPETokenizer(add_prefix_space=False)
    tokenizer.train_from_iterator(text, vocab_size=299, min_frequency=1, show_progress=False)
    tokenizer.save_model(folder)
    path = os.path.join(folder, "vocab.json")
    with open(path, encoding="utf-8") as f:
        vocab = json.load(f)
    assert len(vocab) == 299, len(vocab)
    vocab["<|endoftext|>"] = 299
    with open(path, "w", encoding="utf-8") as f:
        json.dump(vocab, f, ensure_ascii=False)


def write_readme(root, rows, tensorflow_version):
    with open(os.path.join(root, "README.md"), "w") as out:
        print("# Tiny GPT-2 models with transformers' answers\n", file=out)
        print("Made by `python3 tools/make_model_fixtures.py` with torch %s, transformers %s, tokenizers %s, "
              "safetensors %s, tensorflow %s, numpy %s. Layout of the reference files: see the script's opening.\n"
              % (torch.__version__.split("+")[0], transformers.__version__, tokenizers.__version__,
                 safetensors.__version__, tensorflow_version, np.__version__), file=out)
        print("| model | what it is for | smallest greedy margin / largest logit |\n| --- | --- | --- |", file=out)
        for name, what, margin in rows:
            print("| `%s` | %s | %.1e |" % (name, what, margin), file=out)


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "tests", "fixtures", "models")
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    prompt = np.random.RandomState(7).randint(0, BASE["vocab_size"], N_PROMPT).tolist()
    rows = []

    def add(name, what, model, original=None):
        rows.append((name, what, write_reference(root, name, model, prompt, original)))

    def path(name):
        return os.path.join(root, name)

    # One set of weights in every clothing.
    base = make_clear(prompt)
    save(base, path("prefix"))
    add("prefix", "names begin with `transformer.`, head tied", base)
    save(base.transformer, path("plain"))
    add("plain", "a GPT2Model: no prefix", base)
    save(base, path("shards"), max_shard_size="20KB")
    add("shards", "several files and an index", base)
    save(base, path("stored"))
    edit_tensors(path("stored"), lambda t: t.update({"lm_head.weight": t["transformer.wte.weight"].clone()}))
    add("stored", "tied, but lm_head.weight is stored too, equal", base)
    save(base, path("headonly"))
    edit_tensors(path("headonly"), lambda t: t.update({"lm_head.weight": t.pop("transformer.wte.weight")}))
    add("headonly", "tied, and only lm_head.weight is stored", GPT2LMHeadModel.from_pretrained(path("headonly")).eval())
    save(base, path("padded"))
    add("padded", "data of the tensors starts at an odd offset, so that nothing is aligned", base)
    misalign(os.path.join(path("padded"), "model.safetensors"))
    for name, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
        half = GPT2LMHeadModel.from_pretrained(path("prefix"), dtype=dtype, attn_implementation="eager")
        save(half, path(name))
        rounded = GPT2LMHeadModel.from_pretrained(path(name), dtype=torch.float32, attn_implementation="eager").eval()
        add(name, "the weights of `prefix` rounded to %s" % name.upper(), rounded, base)
    tensorflow_version = save_openai(base, path("openai"))
    add("openai", "the weights of `prefix` in a TensorFlow checkpoint with OpenAI's names", base)

    # The choices of config.json.
    untied = make_clear(prompt, tie_word_embeddings=False, eos_token_id=100, bos_token_id=100)
    save(untied, path("untied"))
    add("untied", "tie_word_embeddings false; end-of-text is 100", untied)
    save(untied, path("untiedflag"))
    edit_config(path("untiedflag"), tie_word_embeddings=True)
    reread = GPT2LMHeadModel.from_pretrained(path("untiedflag"), attn_implementation="eager").eval()
    add("untiedflag", "says it is tied, but stores another lm_head.weight, which counts", reread)
    for name, what, changes in (
            ("inner", "n_inner 50", dict(n_inner=50)),
            ("relu", "activation relu", dict(activation_function="relu")),
            ("gelu", "activation gelu (erf)", dict(activation_function="gelu")),
            ("epsilon", "layer_norm_epsilon 0.03", dict(layer_norm_epsilon=0.03)),
            ("noscale", "scale_attn_weights false", dict(scale_attn_weights=False)),
            ("bylayer", "scale_attn_by_inverse_layer_idx and reorder_and_upcast_attn, 3 layers",
             dict(scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True)),
            ("head64", "one head of 64, as in the real sizes", {}),
    ):
        shape = {"bylayer": dict(n_layer=3), "gelu": dict(n_layer=3), "head64": dict(n_embd=64, n_head=1, n_layer=1)}.get(name, {})
        model = make_clear(prompt, matters=changes, **shape)
        save(model, path(name))
        add(name, what, model)

    # What distilgpt2's files look like: 6 layers, 12 heads, no prefix, mask buffers, keys of old configs.
    distil = make_clear(prompt, n_layer=6, n_head=12, n_embd=24)
    save(distil.transformer, path("distil"))
    mask = torch.tril(torch.ones(64, 64)).view(1, 1, 64, 64).to(torch.uint8)

    def add_buffers(tensors):
        for layer in range(6):
            tensors["h.%d.attn.bias" % layer] = mask.clone() if layer < 2 else mask[..., :8, :8].clone().bool()
            tensors["h.%d.attn.masked_bias" % layer] = torch.tensor(-1e4)

    edit_tensors(path("distil"), add_buffers)
    edit_config(path("distil"), architectures=["GPT2LMHeadModel"], n_ctx=64, _num_labels=1,
                task_specific_params={"text-generation": {"do_sample": True, "max_length": 50}},
                tie_word_embeddings=None, dtype=None, transformers_version="4.3.0.dev0")
    add("distil", "like distilgpt2: mask buffers, 6 layers of 12 heads", distil)

    # The book's model: transformers needs a bias, which is zero.
    book = make_clear(prompt, qkv_bias=False, tie_word_embeddings=False)
    save(book, path("noqkvbias"))
    edit_config(path("noqkvbias"), qkv_bias=False)
    add("noqkvbias", "the book's model: no bias on query, key and value (stored as zeros), head of its own", book)

    # With a vocabulary, so that text goes in and comes out.
    text = make_clear(prompt, vocab_size=300, n_embd=16, n_head=2, n_layer=1, eos_token_id=299, bos_token_id=299)
    save(text, path("text"))
    make_vocabulary(path("text"))
    add("text", "with vocab.json and merges.txt of 300 ids", text)
    write_readme(root, rows, tensorflow_version)


def misalign(path):
    """Pads the header with spaces until the data begins at an odd offset (the format allows it)."""
    with open(path, "rb") as f:
        blob = f.read()
    size = struct.unpack("<Q", blob[:8])[0]
    pad = 1 if size % 2 == 0 else 2
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", size + pad) + blob[8:8 + size] + b" " * pad + blob[8 + size:])


if __name__ == "__main__":
    main()
