#!/usr/bin/env python3
"""Writes the fixtures and bad inputs for PyTorch's files of tensors.

    python3 tools/make_torch_fixtures.py
    (made with torch 2.15.0, transformers 5.23.0, llms-from-scratch 1.0.19)

tests/fixtures/formats/torch/         model.pth: every dtype that matters, an empty tensor, a scalar, shared and turned
                                      storages; protocol4.pth and protocol5.pth: the same by newer pickles; checkpoint.pth:
                                      with an optimizer's state; nocrc.pth: without checksums
tests/fixtures/formats/torch-shards/  pytorch_model.bin in shards, with its index
    All by torch.save(). expected.txt says what must be read back: one line `NAME DTYPE [SHAPE] BYTES` a tensor, sorted by
    name, the data in hexadecimal as it lies in the storage.
tests/fixtures/models/book, booknobias, reference/book*      the book's GPTModel, with and without bias on query, key and
                                      value, and its own answers, laid out as make_model_fixtures.py has them
tests/fixtures/models/classifier, bookclassifier.pth         GPT2ForSequenceClassification, and the book's classifier
tests/bad/torch/CASE/                 input.pth, and in `error` the sentence it must give: written byte by byte, as no
                                      library makes such files
"""
import json
import os
import pickle
import shutil
import struct
import sys
import zlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from llms_from_scratch.ch04 import GPTModel

import make_model_fixtures as models

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests")
FORMATS = os.path.join(TESTS, "fixtures", "formats")
MODELS = os.path.join(TESTS, "fixtures", "models")
NAMES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
         torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}


def fresh(*parts):
    path = os.path.join(*parts)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


# ---- Good files, by torch.save() -------------------------------------------------------------

def expected(path, tensors):
    with open(os.path.join(path, "expected.txt"), "w") as file:
        for name in sorted(tensors):
            t = tensors[name].detach()
            if t.dim() == 2 and not t.is_contiguous():
                shape, t = t.shape, t.T
            else:
                shape = t.shape
            data = t.contiguous().flatten().view(torch.uint8).numpy().tobytes().hex() if t.numel() else ""
            file.write(f"{name} {NAMES[t.dtype]} [{', '.join(map(str, shape))}] {data or '-'}\n")


def good():
    both = torch.arange(12.0)
    tensors = {
        "bf16": torch.tensor([1.0, -2.5, 3e38], dtype=torch.bfloat16), "f16": torch.tensor([[1.0, 65504.0]]).half(),
        "f32": torch.arange(6.0).reshape(2, 3), "f64": torch.tensor([1.5], dtype=torch.float64),
        "i64": torch.tensor([-1, 2]), "i32": torch.tensor([7], dtype=torch.int32),
        "i16": torch.tensor([-3], dtype=torch.int16), "i8": torch.tensor([-4], dtype=torch.int8),
        "mask": torch.tensor([True, False]), "u8": torch.tensor([255, 1, 2], dtype=torch.uint8),
        "scalar": torch.tensor(0.5), "empty": torch.zeros(0, 3),
        "first": both[:6].view(2, 3), "second": both[6:], "turned": torch.arange(6.0, 12.0).reshape(2, 3).T,
        "parameter": torch.nn.Parameter(torch.ones(2)), "turned_parameter": torch.nn.Parameter(both.view(3, 4).T),
        "\u00e9": torch.ones(1, 1).expand(1, 1),
    }
    path = fresh(FORMATS, "torch")
    torch.save(tensors, os.path.join(path, "model.pth"))
    torch.save(tensors, os.path.join(path, "protocol4.pth"), pickle_protocol=4)
    torch.save(tensors, os.path.join(path, "protocol5.pth"), pickle_protocol=5)
    torch.serialization.set_crc32_options(False)
    torch.save(tensors, os.path.join(path, "nocrc.pth"))
    torch.serialization.set_crc32_options(True)
    expected(path, tensors)

    # As the book's appendix D saves: the state dict and AdamW's.
    torch.manual_seed(1)
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=4e-4, weight_decay=0.1)
    layer(torch.ones(3)).sum().backward()
    optimizer.step()
    path = fresh(FORMATS, "torch-checkpoint")
    torch.save({"model_state_dict": layer.state_dict(), "optimizer_state_dict": optimizer.state_dict(), "epoch": 3,
                "loss": 0.5, "big": 2**40}, os.path.join(path, "model.pth"))
    expected(path, layer.state_dict())


def shards():
    torch.manual_seed(1)
    state = {"wte.weight": torch.randn(3, 2), "wpe.weight": torch.randn(2, 2), "ln_f.bias": torch.randn(2)}
    path = fresh(FORMATS, "torch-shards")
    names = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    for name, keys in zip(names, (["wte.weight"], ["wpe.weight", "ln_f.bias"])):
        torch.save({key: state[key] for key in keys}, os.path.join(path, name))
    weight_map = {key: names[key != "wte.weight"] for key in state}
    with open(os.path.join(path, "pytorch_model.bin.index.json"), "w") as file:
        json.dump({"metadata": {"total_size": 48}, "weight_map": weight_map}, file, indent=2)
    expected(path, state)


# ---- The book's model ------------------------------------------------------------------------

def to_book(state, model):
    """Weights by their Hugging Face names into a GPTModel; turned views, as assigning W.T gives them."""
    book = {"tok_emb.weight": state["wte.weight"], "pos_emb.weight": state["wpe.weight"],
            "final_norm.scale": state["ln_f.weight"], "final_norm.shift": state["ln_f.bias"],
            "out_head.weight": state["wte.weight"]}
    for i in range(len(model.trf_blocks)):
        ours, theirs = "trf_blocks.%d." % i, "h.%d." % i
        for kind in ("weight", "bias"):
            for name, piece in zip(("query", "key", "value"), state[theirs + "attn.c_attn." + kind].chunk(3, -1)):
                book[ours + "att.W_%s.%s" % (name, kind)] = piece.T if kind == "weight" else piece
            for a, b in (("att.out_proj", "attn.c_proj"), ("ff.layers.0", "mlp.c_fc"), ("ff.layers.2", "mlp.c_proj")):
                book[ours + a + "." + kind] = state[theirs + b + "." + kind].T if kind == "weight" else state[theirs + b + "." + kind]
            for a, b in (("norm1", "ln_1"), ("norm2", "ln_2")):
                book[ours + a + (".scale" if kind == "weight" else ".shift")] = state[theirs + b + "." + kind]
    for name, parameter in model.named_parameters():
        value = book[name].clone() if "W_" in name else book[name].clone().contiguous()
        parameter.data = value.detach()  # W_query and its like stay turned in their storage
    return model


class Answers:
    """A GPTModel where make_model_fixtures.py wants one of transformers' models."""

    def __init__(self, model):
        self.model = model.eval()

    def __call__(self, ids, use_cache=False):
        class Output:
            logits = self.model(ids)
        return Output


def settings(qkv_bias, **changes):
    base = {**models.BASE, **changes}
    return {"vocab_size": base["vocab_size"], "context_length": base["n_positions"], "emb_dim": base["n_embd"],
            "n_heads": base["n_head"], "n_layers": base["n_layer"], "drop_rate": 0.0, "qkv_bias": qkv_bias}


def book():
    prompt = open(os.path.join(MODELS, "reference", "prefix.txt")).readline().split()[2:]
    prompt = [int(word) for word in prompt]
    hf = transformers.GPT2LMHeadModel.from_pretrained(os.path.join(MODELS, "prefix"))
    model = to_book(hf.transformer.state_dict(), GPTModel(settings(True)))
    path = fresh(MODELS, "book")
    torch.save({"model_state_dict": model.state_dict(), "optimizer_state_dict": {}}, os.path.join(path, "pytorch_model.bin"))
    write_config(path)
    models.write_reference(MODELS, "book", Answers(model), prompt)

    torch.set_num_threads(1)
    for seed in range(1, 2000):
        torch.manual_seed(seed)
        model = GPTModel(settings(False, n_layer=1))
        with torch.no_grad():
            for name, tensor in model.named_parameters():
                tensor.normal_(1 if "scale" in name else 0, 0.5 if tensor.dim() == 2 else 0.2)
        greedy, logits, margin = models.reference(Answers(model), prompt)
        if margin / abs(logits).max() > 2e-3 and len(set(greedy)) >= 15:
            break
    path = fresh(MODELS, "booknobias")
    torch.save(model.state_dict(), os.path.join(path, "pytorch_model.bin"))
    write_config(path, n_layer=1)
    models.write_reference(MODELS, "booknobias", Answers(model), prompt)


def write_readme():
    """Behind what make_model_fixtures.py wrote."""
    path = os.path.join(MODELS, "README.md")
    text = open(path).read().split("\nBy `python3 tools/make_torch")[0]
    with open(path, "w") as file:
        file.write(text + "\nBy `python3 tools/make_torch_fixtures.py`, which names its versions: `book`, `booknobias` (GPTModel "
                   "of llms-from-scratch, its own answers), `classifier` (transformers), `bookclassifier.pth`.\n")


def write_config(path, **changes):
    with open(os.path.join(path, "config.json"), "w") as file:
        json.dump({"model_type": "gpt2", **models.BASE, **changes}, file, indent=2)
        file.write("\n")


def classifiers():
    torch.manual_seed(5)
    small = dict(vocab_size=11, n_positions=8, n_embd=8, n_head=2, n_layer=1)
    config = transformers.GPT2Config(**small, id2label={0: "ham", 1: "spam", 2: "\u00e9"}, pad_token_id=10,
                                     label2id={"ham": 0, "spam": 1, "\u00e9": 2}, eos_token_id=10, bos_token_id=10)
    path = fresh(MODELS, "classifier")
    transformers.GPT2ForSequenceClassification(config).save_pretrained(path)
    model = GPTModel(settings(True, **small))
    model.out_head = torch.nn.Linear(8, 2)  # chapter 6
    torch.save(model.state_dict(), os.path.join(MODELS, "bookclassifier.pth"))


# ---- Bad files -------------------------------------------------------------------------------

def local(name, data, crc=None, flags=0, method=0, size=None, extra=b"", packed=None):
    size = len(data) if size is None else size
    return struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, flags, method, 0, 0x21, zlib.crc32(data) if crc is None else crc,
                       size if packed is None else packed, size, len(name), len(extra)) + name + extra + data


def central(name, data, offset, crc=None, flags=0, method=0, size=None, extra=b"", packed=None):
    size = len(data) if size is None else size
    return struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, flags, method, 0, 0x21,
                       zlib.crc32(data) if crc is None else crc, size if packed is None else packed, size, len(name),
                       len(extra), 0, 0, 0, 0, offset) + name + extra


def end(n, size, offset, comment=b"", disk=0):
    return struct.pack("<IHHHHIIH", 0x06054B50, disk, 0, n, n, size, offset, len(comment)) + comment


def end64(n, size, offset, at, record_size=44):
    return struct.pack("<IQHHIIQQQQ", 0x06064B50, record_size, 45, 45, 0, 0, n, n, size, offset) + \
        struct.pack("<IIQI", 0x07064B50, 0, at, 1)


def archive(entries, finish=None, before_end=None):
    """entries: (name, data) or (name, data, changes of the local header, changes of the central one)."""
    body, directory = b"", b""
    for name, data, *changes in entries:
        locally, centrally = changes or ({}, {})
        name = name.encode() if isinstance(name, str) else name
        offset = centrally.pop("offset", len(body)) if centrally else len(body)
        directory += central(name, data, offset, **centrally)
        body += local(name if "name" not in locally else locally.pop("name"), data, **locally)
    if finish is not None:
        return finish(body, directory, len(entries))
    return body + directory + end(len(entries), len(directory), len(body))


def text(s):
    s = s.encode() if isinstance(s, str) else s
    return b"X" + struct.pack("<I", len(s)) + s


def number(n):
    return b"\x8a\x08" + struct.pack("<q", n)


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


DICT = b"ccollections\nOrderedDict\n)R"


def storage(kind="FloatStorage", key="0", size=2):
    return b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + number(size) + b"tQ"


def tensor(where=None, offset=0, shape=(2,), strides=(1,)):
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + (storage() if where is None else where) + number(offset) +
            numbers(shape) + numbers(strides) + b"\x89" + DICT + b"tR")


def state(*items):
    return b"\x80\x02" + DICT + b"(" + b"".join(text(name) + value for name, value in items) + b"u."


DATA = struct.pack("<2f", 1, 2)


def torch_file(content, data=DATA, **more):
    return archive([("m/data.pkl", content), ("m/data/0", data)], **more)


GOOD = state(("a", tensor()))
ENTRIES = [("m/data.pkl", GOOD), ("m/data/0", DATA)]
VALID = torch_file(GOOD)
PICKLE = "data.pkl: "
A = "data.pkl: tensor 'a': "
SAVE = ", which no dict of tensors needs, so nothing is read; save the model with torch.save(model.state_dict(), PATH)"
NO_END = "does not end in a zip archive's end record; it was cut short, or something was added behind"
NO_ZIP = "is not a zip archive, as PyTorch's files are"
PLAIN = "its name is not a plain path"
OTHERWISE = "its local header at byte 0 says otherwise than the directory"
NO_DICT = ("data.pkl: holds no dict of tensors; a state dict was expected, or one under model_state_dict, state_dict or "
           "model")


def zip64(body, directory, count, **lies):
    facts = {"n": count, "size": len(directory), "offset": len(body), "at": len(body) + len(directory), **lies}
    return body + directory + end64(**facts) + end(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)


def wide(body, directory, n):
    """A zip64 record that contradicts an end record with numbers of its own."""
    return body + directory + end64(n + 1, len(directory), len(body), len(body) + len(directory)) + \
        end(n, len(directory), len(body))


def zip_cases():
    changed = lambda local_changes=None, central_changes=None: archive(
        [("m/data.pkl", GOOD, local_changes or {}, central_changes or {}), ("m/data/0", DATA)])
    named = lambda name: archive([(name, GOOD), ("m/data/0", DATA)])
    n, size = len(VALID), len(VALID) - 22
    directory = VALID.index(b"PK\1\2")
    yield "empty", b"", NO_ZIP
    yield "one-byte", b"P", NO_ZIP
    yield "web-page", b"<!DOCTYPE html><p>Not found</p>", "is a web page, not a model file"
    yield "git-lfs-pointer", b"version https://git-lfs.github.com/spec/v1\n", \
        "is a Git LFS pointer, not the file itself; fetch it with: git lfs pull"
    yield "old-pickle", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", \
        "is a bare pickle, as PyTorch wrote before version 1.6; write it anew with " \
        "torch.save(torch.load(OLD, weights_only=True), NEW)"
    yield "no-end", VALID[:-22], NO_END
    yield "cut", VALID[:-1], NO_END
    yield "only-a-header", VALID[:20], NO_END
    yield "trailing-byte", VALID + b"\0", NO_END
    yield "two-ends", VALID + end(1, 46, 0), \
        f"states a directory of 46 bytes at byte 0, which does not end at byte {n}, where its end record begins"
    yield "comment", VALID[:-2] + b"\x16\0" + end(0, 0, 0)[:-2] + b"\x01\0", \
        "its end record has a comment or is that of several disks"
    yield "several-disks", VALID[:-18] + b"\1\0" + VALID[-16:], "its end record has a comment or is that of several disks"
    yield "no-entries", b"PK\3\4" + end(0, 0, 4), "is an empty zip archive"
    yield "directory-outside", VALID[:-22] + end(2, 0xFFFFFFF0, 0xFFFFFFF0), \
        "states a directory of 4294967280 bytes at byte 4294967280, which does not end at byte " \
        f"{size}, where its end record begins"
    yield "too-many-entries", VALID[:-22] + end(60000, size - directory, directory), \
        f"states 60000 entries, more than {size - directory} bytes of directory can hold"
    yield "fewer-entries", VALID[:-22] + end(1, size - directory, directory), \
        f"at byte {directory + 46 + 10}: {size - directory - 56} bytes follow the last directory entry"
    yield "no-directory-entry", VALID.replace(b"PK\1\2", b"PK\1\3", 1), f"at byte {directory + 4}: a directory entry was expected"
    yield "zip64-elsewhere", archive(ENTRIES, finish=lambda b, d, k: zip64(b, d, k, at=3)), \
        "its zip64 end record is not at byte 3, where its locator says"
    yield "zip64-past-the-end", archive(ENTRIES, finish=lambda b, d, k: zip64(b, d, k, at=2**64 - 1)), \
        "its zip64 end record is not at byte 18446744073709551615, where its locator says"
    yield "zip64-record-size", archive(ENTRIES, finish=lambda b, d, k: zip64(b, d, k, record_size=2**63)), \
        f"its zip64 end record is not at byte {size}, where its locator says"
    yield "zip64-contradicts", archive(ENTRIES, finish=wide), "its zip64 end record contradicts its end record"
    yield "zip64-many-entries", archive(ENTRIES, finish=lambda b, d, k: zip64(b, d, k, n=2**40)), \
        f"states 1099511627776 entries, more than {size - directory} bytes of directory can hold"
    yield "zip64-offset", archive(ENTRIES, finish=lambda b, d, k: zip64(b, d, k, offset=2**64 - 4)), \
        f"states a directory of {size - directory} bytes at byte 18446744073709551612, which does not end at byte " \
        f"{size}, where its end record begins"
    yield "zip64-field-short", changed({}, {"size": 0xFFFFFFFF, "extra": b"\1\0\4\0abcd"}), \
        "entry 'm/data.pkl': at byte 0: zip64 field needs 8 bytes, 4 are left"
    yield "zip64-field-twice", changed({}, {"extra": b"\1\0\0\0\1\0\0\0"}), "entry 'm/data.pkl': has two zip64 fields"
    yield "extra-past-the-end", changed({}, {"extra": b"FB\xff\0"}), "entry 'm/data.pkl': at byte 4: extra field needs 255 bytes, 0 are left"
    yield "zip64-size", changed({}, {"size": 0xFFFFFFFF, "extra": b"\1\0\x10\0" + struct.pack("<QQ", 2**60, 2**60)}), \
        "entry 'm/data.pkl': " + OTHERWISE
    yield "deflate-bomb", changed({"method": 8}, {"method": 8, "packed": 10, "size": 0xFFFFFFF0}), \
        "entry 'm/data.pkl': is compressed, as torch.save() never writes it; only stored entries can be used as they lie"
    yield "encrypted", changed({"flags": 1}, {"flags": 1}), "entry 'm/data.pkl': is encrypted"
    yield "sizes-differ", changed({}, {"packed": 1}), \
        f"entry 'm/data.pkl': is stored, yet its sizes differ: 1 and {len(GOOD)} bytes"
    yield "other-local-name", changed({"name": b"m/data.pkk"}), "entry 'm/data.pkl': " + OTHERWISE
    yield "other-local-size", changed({"size": 3}), "entry 'm/data.pkl': " + OTHERWISE
    yield "other-local-checksum", changed({"crc": 3}), "entry 'm/data.pkl': " + OTHERWISE
    yield "other-local-method", changed({"method": 8}), "entry 'm/data.pkl': " + OTHERWISE
    yield "other-local-flags", changed({"flags": 8}), "entry 'm/data.pkl': " + OTHERWISE
    yield "no-local-header", b"PK\3\4" + VALID[4:].replace(b"PK\3\4", b"PK\3\5"), \
        f"entry 'm/data/0': its local header at byte {VALID.index(b'PK', 4)} says otherwise than the directory"
    yield "offset-outside", changed({}, {"offset": 0xFFFFFF}), \
        "entry 'm/data.pkl': begins at byte 16777215, past the last entry"
    yield "data-past-the-directory", archive([("m/data.pkl", GOOD), ("m/data/0", DATA, {"size": 999}, {"size": 999})]), \
        f"entry 'm/data/0': has 999 bytes from byte {directory - 8} on, but the directory begins at byte {directory}"
    second = archive(ENTRIES[:1]).index(b"PK\1\2")
    yield "same-place", archive([("m/data/0", DATA), ("m/data/0", DATA, {}, {"offset": 0})]), \
        "entry 'm/data/0': begins at byte 0, inside another entry"
    inner = local(b"m/data/1", DATA)
    yield "inside-another", archive([("m/data.pkl", GOOD), ("m/data/0", inner)],
                                    finish=lambda b, d, k: b + d + central(b"m/data/1", DATA, second + 38) +
                                    end(3, len(d) + 54, len(b))), \
        f"entry 'm/data/1': begins at byte {second + 38}, inside another entry"
    yield "twice", archive(ENTRIES + [("m/data/0", DATA)]), "entry 'data/0': is there twice"
    yield "parent-directory", named("../data.pkl"), "entry '../data.pkl': " + PLAIN
    yield "parent-directory-inside", named("m/../data.pkl"), "entry 'm/../data.pkl': " + PLAIN
    yield "parent-directory-last", named("m/.."), "entry 'm/..': " + PLAIN
    yield "absolute-path", named("/m/data.pkl"), "entry '/m/data.pkl': " + PLAIN
    yield "backslash", named("m\\data.pkl"), "entry 'm\\data.pkl': " + PLAIN
    yield "nul-in-a-name", named("m/data\0pkl"), "entry 'm/data': " + PLAIN
    yield "empty-name", named(""), "entry '': " + PLAIN
    yield "two-folders", named("n/data.pkl"), \
        "entry 'm/data/0': does not lie in one folder with the others, as in PyTorch's files"
    yield "no-folder", archive([("data.pkl", GOOD)]), \
        "entry 'data.pkl': does not lie in one folder with the others, as in PyTorch's files"
    yield "no-data-pkl", archive([("m/data/0", DATA)]), "is a zip archive without data.pkl, so not a file of PyTorch's"
    yield "big-endian", archive(ENTRIES + [("m/byteorder", b"big")]), 'its byteorder is not "little"'
    yield "damaged-pickle", VALID.replace(b"cpu", b"cpv"), \
        "entry 'data.pkl' does not match its checksum: the file is damaged"
    yield "damaged-storage", VALID.replace(DATA, DATA[::-1]), \
        "entry 'data/0' does not match its checksum: the file is damaged"


def pickle_cases():
    asks = lambda name: PICKLE + f"asks for Python's '{name}'" + SAVE
    at = lambda byte, sentence: PICKLE + f"at byte {byte}: {sentence}"
    view = "are those of a part of another tensor; save a copy made by .contiguous()"
    expected = A + "its storage, offset, shape and strides were expected"
    shapes = A + "its shape and strides are not two tuples of as many numbers, at most 8"
    yield "os-system", b"\x80\x02cos\nsystem\n" + text("true") + b"\x85R.", asks("os.system")
    yield "eval", pickle.dumps(eval, 4), asks("builtins.eval")
    yield "whole-module", b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81.", asks("torch.nn.modules.linear.Linear")
    yield "older-tensor", state(("a", b"ctorch._utils\n_rebuild_tensor\n)R")), asks("torch._utils._rebuild_tensor")
    yield "complex", state(("a", tensor(storage("ComplexFloatStorage")))), asks("torch.ComplexFloatStorage")
    yield "dotted", b"\x80\x04" + text("collections.OrderedDict") + text("fromkeys") + b"\x93.", \
        asks("collections.OrderedDict.fromkeys")
    yield "control-characters", b"\x80\x02cos\nsys\x1btem\x07\n.", asks("os.sys?tem?")
    yield "nul-in-a-global", b"\x80\x02ccollections\nOrderedDict\0x\n.", asks("collections.OrderedDict")
    yield "global-without-end", b"\x80\x02cos", at(3, "the name of a global has no end")
    yield "global-of-numbers", b"\x80\x04K\1K\1\x93.", at(7, "the name of a global is not text")
    yield "instance", b"\x80\x02(ios\nsystem\n.", at(3, "operation 0x69 is not one that a dict of tensors needs")
    yield "new-object", b"\x80\x02))\x81.", at(4, "operation 0x81 is not one that a dict of tensors needs")
    yield "extension", b"\x80\x02\x82\1.", at(2, "operation 0x82 is not one that a dict of tensors needs")
    yield "empty-pickle", b"", at(0, "operation needs 1 bytes, 0 are left")
    yield "no-stop", b"\x80\x02N", at(3, "operation needs 1 bytes, 0 are left")
    yield "bytes-behind", b"\x80\x02N.N", at(4, "1 bytes follow the end")
    yield "nothing-left", b"\x80\x02.", at(3, "0 values are left at the end, one was expected")
    yield "two-left", b"\x80\x02NN.", at(5, "2 values are left at the end, one was expected")
    yield "memo-missing", b"\x80\x02h\5.", at(4, "memo entry 5 is asked for, there are 0")
    yield "memo-missing-long", b"\x80\x02j\xff\xff\xff\xff.", at(7, "memo entry 4294967295 is asked for, there are 0")
    yield "memo-far", b"\x80\x02Nr\xff\xff\xff\x7f.", at(8, "memo entry 2147483647 is put, 0 was expected")
    yield "memo-of-nothing", b"\x80\x02q\0.", at(4, "1 values were expected on the stack")
    yield "memo-of-a-mark", b"\x80\x02(q\0.", at(5, "1 values were expected on the stack")
    yield "short-stack", b"\x80\x02N\x87.", at(4, "3 values were expected on the stack")
    yield "no-mark", b"\x80\x02Nt.", at(4, "a mark was expected on the stack")
    yield "text-past-the-end", b"\x80\x02X\xff\xff\xff\xffa.", at(7, "text needs 4294967295 bytes, 2 are left")
    yield "number-of-9-bytes", b"\x80\x02\x8a\x09" + bytes(9) + b".", at(13, "a number has 9 bytes, at most 8 are supported")
    yield "frame-past-the-end", b"\x80\x04\x95\1", at(3, "operand needs 8 bytes, 1 are left")
    yield "append-to-a-number", b"\x80\x02K\1Na.", at(6, "items are added to what is not a list")
    yield "odd-items", b"\x80\x02}(Nu.", at(6, "items are added to what is not a dict, or not in pairs")
    yield "set-on-a-list", b"\x80\x02]NNs.", at(6, "items are added to what is not a dict, or not in pairs")
    yield "marks-among-items", b"\x80\x02}((NNs.", at(8, "items are added to what is not a dict, or not in pairs")
    yield "call-of-a-number", b"\x80\x02K\1)R.", at(6, "what is called is not a global with a tuple of arguments")
    yield "call-of-a-storage", b"\x80\x02ctorch\nFloatStorage\n)R.", \
        at(24, "torch.FloatStorage is called; storages come by persistent id")
    yield "dict-of-something", b"\x80\x02ccollections\nOrderedDict\nN\x85R.", \
        at(30, "collections.OrderedDict is called with arguments")
    yield "parameter-of-nothing", b"\x80\x02ctorch._utils\n_rebuild_parameter\n)R.", \
        at(37, "torch._utils._rebuild_parameter is called without a tensor")
    yield "id-of-a-number", b"\x80\x02K\1Q.", at(5, "a persistent id is not a tuple")
    yield "state-of-a-list", b"\x80\x02]Nb.", at(5, "a state is set on what is not a dict")
    yield "not-a-dict", b"\x80\x02" + tensor() + b".", NO_DICT
    yield "number", b"\x80\x02K\1.", NO_DICT
    yield "no-tensors", state(("a", b"N")), NO_DICT
    yield "nested-elsewhere", state(("weights", DICT + b"(" + text("a") + tensor() + b"u")), NO_DICT
    yield "itself", b"\x80\x02}q\0" + text("model") + b"h\0s.", NO_DICT
    yield "not-a-tensor", state(("b", tensor()), ("a", b"N")), A + "is not a tensor"
    yield "name-is-a-number", b"\x80\x02" + DICT + b"(K\1" + tensor() + b"u.", \
        PICKLE + "a tensor's name is not text of at most 256 bytes"
    yield "nul-in-a-tensor-name", state(("a\0b", tensor())), PICKLE + "a tensor's name is not text of at most 256 bytes"
    yield "long-tensor-name", state(("a" * 257, tensor())), PICKLE + "a tensor's name is not text of at most 256 bytes"
    yield "tensor-twice", state(("a", tensor()), ("a", tensor())), "tensor 'a' is there twice"
    yield "arguments-missing", state(("a", b"ctorch._utils\n_rebuild_tensor_v2\n)R")), expected
    yield "storage-is-a-number", state(("a", tensor(b"K\1"))), expected
    yield "storage-of-two", state(("a", tensor(text("storage") + text("0") + b"\x86Q"))), expected
    yield "storage-of-a-dict", state(("a", tensor(b"(" + text("storage") + b"ccollections\nOrderedDict\n" + text("0") +
                                                  text("cpu") + number(2) + b"tQ"))), expected
    yield "offset-is-text", state(("a", tensor().replace(storage() + number(0), storage() + text("0")))), expected
    yield "strides-missing", state(("a", tensor(strides=()))), shapes
    yield "nine-dimensions", state(("a", tensor(shape=(1,) * 9, strides=(1,) * 9))), shapes
    yield "shape-is-a-number", state(("a", tensor().replace(numbers((2,)), number(2)))), shapes
    yield "storage-missing", state(("a", tensor(storage(key="7")))), A + "its storage, entry 'data/7', is missing"
    yield "storage-elsewhere", state(("a", tensor(storage(key="../../x")))), \
        A + "its storage, entry 'data/../../x', is missing"
    yield "storage-of-another-size", state(("a", tensor(storage(size=3)))), \
        A + "its storage, entry 'data/0', has 8 bytes, but 3 numbers of F32 were expected"
    yield "storage-of-another-type", state(("a", tensor(storage("DoubleStorage")))), \
        A + "its storage, entry 'data/0', has 8 bytes, but 2 numbers of F64 were expected"
    yield "storage-huge", state(("a", tensor(storage(size=2**62 + 2)))), \
        A + "its storage, entry 'data/0', has 8 bytes, but 4611686018427387906 numbers of F32 were expected"
    yield "storage-negative", state(("a", tensor(storage(size=-2)))), \
        A + "its storage, entry 'data/0', has 8 bytes, but -2 numbers of F32 were expected"
    yield "shape-past-the-storage", state(("a", tensor(shape=(3,)))), \
        A + "needs 3 numbers from number 0 on, but its storage has 2"
    yield "offset-past-the-storage", state(("a", tensor(offset=1))), \
        A + "needs 2 numbers from number 1 on, but its storage has 2"
    yield "offset-far", state(("a", tensor(offset=2**63 - 1))), \
        A + "needs 2 numbers from number 9223372036854775807 on, but its storage has 2"
    yield "offset-negative", state(("a", tensor(offset=-1))), A + "needs 2 numbers from number -1 on, but its storage has 2"
    yield "negative-dimension", state(("a", tensor(shape=(-2,)))), A + "dimension 0 of its shape is -2, which is negative"
    yield "shape-overflow", state(("a", tensor(shape=(2**40, 2**40), strides=(2**40, 1)))), \
        A + "shape [1099511627776, 1099511627776] has more elements than 64-bit sizes can count"
    yield "negative-strides", state(("a", tensor(strides=(-1,)))), A + "its strides [-1] " + view
    yield "stride-0", state(("a", tensor(strides=(0,)))), A + "its strides [0] " + view
    yield "every-second", state(("a", tensor(shape=(1, 2), strides=(1, 2)))), A + "its strides [1, 2] " + view


def bad():
    for name, content, sentence in zip_cases():
        write_bad(name, content, sentence)
    for name, content, sentence in pickle_cases():
        write_bad(name, torch_file(content), sentence)


def write_bad(name, content, sentence):
    path = os.path.join(TESTS, "bad", "torch", name)
    os.makedirs(path)  # refuses a name that is there twice
    with open(os.path.join(path, "input.pth"), "wb") as file:
        file.write(content)
    with open(os.path.join(path, "error"), "w") as file:
        file.write(sentence + "\n")


def corpus():
    """Seeds for the fuzzer, without checksums, which it cannot guess."""
    path = fresh(TESTS, "fuzz", "corpus", "torch_zip")
    shutil.copy(os.path.join(FORMATS, "torch", "nocrc.pth"), os.path.join(path, "nocrc"))
    plain = archive([("m/data.pkl", GOOD, {"crc": 0}, {"crc": 0}), ("m/data/0", DATA, {"crc": 0}, {"crc": 0})])
    wide64 = archive([("m/data.pkl", GOOD, {"crc": 0}, {"crc": 0}), ("m/data/0", DATA, {"crc": 0}, {"crc": 0})], finish=zip64)
    for name, content in (("plain", plain), ("zip64", wide64), ("pickle", GOOD), ("pickle4", pickle.dumps({"a": [1, 2.5, True]}, 4))):
        with open(os.path.join(path, name), "wb") as file:
            file.write(content)


def main():
    good()
    shards()
    if "--formats" not in sys.argv:
        book()
        classifiers()
        write_readme()
    fresh(TESTS, "bad", "torch")
    bad()
    corpus()


if __name__ == "__main__":
    main()
