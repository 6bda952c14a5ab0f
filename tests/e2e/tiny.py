"""Tiny GPT-2 files written by hand, so that each can be wrong in one way: config.json and model.safetensors."""

import json
import struct

CONFIG = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 4, "n_positions": 3, "vocab_size": 5}


def shapes(n_layer=1, n_embd=4, n_inner=16, n_positions=3, vocab_size=5):
    """name -> shape, as Hugging Face has them."""
    result = {"wte.weight": [vocab_size, n_embd], "wpe.weight": [n_positions, n_embd]}
    for layer in range(n_layer):
        for name, shape in {
            "ln_1.weight": [n_embd], "ln_1.bias": [n_embd],
            "attn.c_attn.weight": [n_embd, 3 * n_embd], "attn.c_attn.bias": [3 * n_embd],
            "attn.c_proj.weight": [n_embd, n_embd], "attn.c_proj.bias": [n_embd],
            "ln_2.weight": [n_embd], "ln_2.bias": [n_embd],
            "mlp.c_fc.weight": [n_embd, n_inner], "mlp.c_fc.bias": [n_inner],
            "mlp.c_proj.weight": [n_inner, n_embd], "mlp.c_proj.bias": [n_embd],
        }.items():
            result[f"h.{layer}.{name}"] = shape
    result["ln_f.weight"] = [n_embd]
    result["ln_f.bias"] = [n_embd]
    return result


def tensor(shape, value=0.5, dtype="F32"):
    """(dtype, shape, bytes), every number the same."""
    n = 1
    for size in shape:
        n *= size
    code = {"F32": "f", "F64": "d", "I64": "q", "F16": "e"}[dtype]
    return dtype, shape, struct.pack(f"<{n}{code}", *[int(value) if dtype == "I64" else value] * n)


def tensors(**sizes):
    return {name: tensor(shape) for name, shape in shapes(**sizes).items()}


def write_safetensors(path, named):
    header, data = {}, b""
    for name, (dtype, shape, content) in named.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_model(directory, named=None, **config):
    """A whole model; `named` replaces the tensors, keywords change config.json."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps({**CONFIG, **config}))
    write_safetensors(directory / "model.safetensors", tensors() if named is None else named)
    return directory
