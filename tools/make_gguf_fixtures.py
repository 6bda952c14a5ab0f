#!/usr/bin/env python3
"""Writes the fixtures for GGUF, with llama.cpp's own Python package.

    python3 tools/make_gguf_fixtures.py
    (made with gguf 0.19.0, torch 2.15.0, transformers 5.23.0, numpy 2.4.6)

tests/fixtures/models/text.gguf, f16.gguf, bf16.gguf    the models of those names as llama.cpp's converter writes them
                                 (conversion/gpt2.py): linear layers [out, in], vectors and positions F32
tests/fixtures/models/q8_0.gguf, q4_0.gguf, reference/q8_0.*, q4_0.*    all matrices but the positions in blocks, and
                                 transformers' answers about the numbers that gguf reads out of these blocks
tests/fixtures/models/q6_k.gguf, reference/q6_k.*    the same with the token embedding in Q6_K, as llama.cpp's quantizer has
                                 it, which only our own rounding below makes; the other matrices Q4_0
tests/fixtures/formats/gguf/numbers.bin, q8_0.bin, q4_0.bin    float32 numbers, blocks of 32, and what gguf.quants makes
                                 of them
tests/fixtures/formats/gguf/q6_k.bin, q6_k.f32    blocks of Q6_K of random bytes, and the numbers that gguf.quants reads
tests/fuzz/corpus/gguf/          models of a few numbers, and one with a vocabulary of 260 tokens
"""
import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gguf
import numpy as np
import safetensors.torch
import torch

import make_model_fixtures as models

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests")
MODELS = os.path.join(TESTS, "fixtures", "models")
BLOCKS = os.path.join(TESTS, "fixtures", "formats", "gguf")
CORPUS = os.path.join(TESTS, "fuzz", "corpus", "gguf")
TYPE = gguf.GGMLQuantizationType
FILE_TYPES = {TYPE.F32: 0, TYPE.F16: 1, TYPE.BF16: 32, TYPE.Q8_0: 7, TYPE.Q4_0: 2, TYPE.Q6_K: 2}
PARTS = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "lm_head": "output", "ln_1": "attn_norm",
         "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up",
         "mlp.c_proj": "ffn_down"}


def renamed(name):
    """transformer.h.0.attn.c_attn.weight -> blk.0.attn_qkv.weight"""
    name = name.removeprefix("transformer.")
    stem, kind = name.rsplit(".", 1)
    if not stem.startswith("h."):
        return f"{PARTS[stem]}.{kind}"
    _, layer, part = stem.split(".", 2)
    return f"blk.{layer}.{PARTS[part]}.{kind}"


def gguf_tensors(state):
    """name -> float32 array as GGUF has it."""
    result = {}
    for name, tensor in state.items():
        array = tensor.detach().float().numpy()
        if name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
            array = array.T
        result[renamed(name)] = np.ascontiguousarray(array)
    return result


def type_of(name, array, dtype):
    if array.ndim == 1 or name == "position_embd.weight":
        return TYPE.F32
    return TYPE.Q4_0 if dtype == TYPE.Q6_K and name != "token_embd.weight" else dtype


def rounded(array, kind):
    """In blocks. gguf.quants reads Q6_K but does not make it: scales by the largest magnitude, of 16 and of all."""
    if kind != TYPE.Q6_K:
        return gguf.quants.quantize(array, kind)
    x = array.reshape(-1, 16, 16).astype(np.float32)
    fine = np.abs(x).max(axis=2) / 31
    d = (fine.max(axis=1) / 127).astype(np.float16)
    scales = np.round(fine / d.astype(np.float32)[:, None]).clip(1, 127)
    q = (np.round(x / (d.astype(np.float32)[:, None] * scales)[:, :, None]).clip(-32, 31) + 32).astype(np.uint8)
    q = q.reshape(-1, 2, 4, 32)  # halves, quarters
    low = np.concatenate([q[:, :, :2] & 15 | (q[:, :, 2:] & 15) << 4], axis=2).reshape(len(q), 128)
    high = (q[:, :, 0] >> 4 | q[:, :, 1] >> 4 << 2 | q[:, :, 2] >> 4 << 4 | q[:, :, 3] >> 4 << 6).reshape(len(q), 64)
    blocks = np.concatenate([low, high, scales.astype(np.int8).view(np.uint8), d.view(np.uint8).reshape(-1, 2)], axis=1)
    return blocks.reshape(len(array), -1)


def add_vocabulary(writer, folder):
    tokens = json.load(open(os.path.join(folder, "vocab.json"), encoding="utf-8"))
    merges = [line for line in open(os.path.join(folder, "merges.txt"), encoding="utf-8").read().split("\n")
              if line and not line.startswith("#version")]
    names = sorted(tokens, key=tokens.get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(names)
    writer.add_token_types([gguf.TokenType.CONTROL if name == "<|endoftext|>" else gguf.TokenType.NORMAL for name in names])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokens["<|endoftext|>"])
    writer.add_eos_token_id(tokens["<|endoftext|>"])


def write(path, tensors, config, dtype, vocabulary=None):
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_block_count(config["n_layer"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_file_type(FILE_TYPES[dtype])
    if vocabulary is not None:
        add_vocabulary(writer, vocabulary)
    for name, array in tensors.items():
        kind = type_of(name, array, dtype)
        writer.add_tensor(name, rounded(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def convert(name, dtype, vocabulary=False):
    folder = os.path.join(MODELS, name)
    state = safetensors.torch.load_file(os.path.join(folder, "model.safetensors"))
    config = json.load(open(os.path.join(folder, "config.json")))
    write(os.path.join(MODELS, name + ".gguf"), gguf_tensors(state), config, dtype, folder if vocabulary else None)


def quantized(name, dtype, **changes):
    """A model whose weights are first rounded to blocks, so that its answers are those of what is in the file."""
    changes = {"n_embd": 32, "n_head": 2, **changes}
    prompt = list(range(3, 3 + models.N_PROMPT))
    for seed in range(1, 2000):
        model = models.make(seed, **changes)
        tensors = gguf_tensors({key: value for key, value in model.state_dict().items() if key != "lm_head.weight"})
        with torch.no_grad():
            for key, value in model.named_parameters():
                array = tensors[renamed(key)]
                kind = type_of(renamed(key), array, dtype)
                array = gguf.quants.dequantize(rounded(array, kind), kind)
                value.copy_(torch.from_numpy(array if array.shape == tuple(value.shape) and not key.endswith(
                    (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")) else array.T.copy()))
        greedy, logits, margin = models.reference(model, prompt)
        if margin / np.abs(logits).max() >= 2e-3 and len(set(greedy)) >= 15:
            break
    else:
        raise SystemExit("no seed gives a clear margin")
    write(os.path.join(MODELS, name + ".gguf"), tensors, {**models.BASE, **changes, "layer_norm_epsilon": 1e-5}, dtype)
    print(name, "margin", models.write_reference(MODELS, name, model, prompt))


def blocks():
    """Numbers of many sizes; whole steps and halves, which must be rounded as ggml rounds them; zeros; two of the same
    magnitude, of which the first one counts; so small that the scale is no normal number, and none at all."""
    random = np.random.RandomState(7)
    rows = [random.standard_normal(32) * 10.0 ** exponent for exponent in range(-9, 5) for _ in range(4)]
    rows += [np.arange(32) - 16, (np.arange(32) - 16) / 2, (np.arange(32) - 15.5), np.zeros(32)]
    for sign in (1, -1):
        pair = random.standard_normal(32)
        pair[[5, 20]] = [4 * sign, -4 * sign]
        rows += [pair, np.where(np.arange(32) == 31, sign * 127.0, (np.arange(32) % 8) + 0.5)]
        rows += [np.where(np.arange(32) == 0, sign * 8.0, ((np.arange(32) % 15) - 7) + 0.5)]
    numbers = np.array(rows, dtype=np.float32)
    os.makedirs(BLOCKS, exist_ok=True)
    numbers.astype("<f4").tofile(os.path.join(BLOCKS, "numbers.bin"))
    gguf.quants.quantize(numbers, TYPE.Q8_0).tofile(os.path.join(BLOCKS, "q8_0.bin"))
    gguf.quants.quantize(numbers, TYPE.Q4_0).tofile(os.path.join(BLOCKS, "q4_0.bin"))
    six = random.randint(0, 256, (4, 210)).astype(np.uint8)
    six[:, 208:] = np.array([0.01, -3.5, 6e-8, 100], np.float16).view(np.uint8).reshape(4, 2)
    six.tofile(os.path.join(BLOCKS, "q6_k.bin"))
    gguf.quants.dequantize(six, TYPE.Q6_K).astype("<f4").tofile(os.path.join(BLOCKS, "q6_k.f32"))


def corpus():
    os.makedirs(CORPUS, exist_ok=True)
    for name, dtype, width in (("f32", TYPE.F32, 4), ("q8_0", TYPE.Q8_0, 32), ("q4_0", TYPE.Q4_0, 32)):
        shape = dict(vocab_size=5, n_positions=3, n_embd=width, n_head=2, n_layer=1, n_inner=max(width, 8))
        state = models.make(1, **shape).state_dict()
        if name != "q4_0":  # this one has a head of its own
            del state["lm_head.weight"]
        write(os.path.join(CORPUS, name), gguf_tensors(state), {**shape, "layer_norm_epsilon": 1e-5}, dtype)
    writer = gguf.GGUFWriter(os.path.join(CORPUS, "vocabulary"), "gpt2")
    names = [bytelevel(byte) for byte in range(256)] + ["he", "ll", "<|endoftext|>", "[PAD259]"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(names)
    writer.add_token_types([1] * 258 + [3, 5])
    writer.add_token_merges(["h e", "l l"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def bytelevel(byte):
    """GPT-2's character for a byte."""
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    return chr(byte if byte in printable else 256 + sum(other not in printable for other in range(byte)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    convert("text", TYPE.F32, vocabulary=True)
    convert("f16", TYPE.F16)
    convert("bf16", TYPE.BF16)
    quantized("q8_0", TYPE.Q8_0)
    quantized("q4_0", TYPE.Q4_0)
    quantized("q6_k", TYPE.Q6_K, n_embd=256, n_inner=64, n_layer=1)
    blocks()
    corpus()
