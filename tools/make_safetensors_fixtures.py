"""Writes the safetensors fixtures and bad inputs, and checks what our own writer wrote.

    python tools/make_safetensors_fixtures.py
    (made with safetensors 0.8.0, torch 2.15.0, transformers 5.23.0)

tests/fixtures/formats/safetensors/         one file with every dtype that matters, a scalar, an empty tensor
tests/fixtures/formats/safetensors-shards/  a tiny GPT-2 as transformers saves it in shards
    Both by the reference implementation. expected.txt says what must be read back: one line
    `NAME DTYPE [SHAPE] BYTES` a tensor, sorted by name, the data in hexadecimal.
tests/fixtures/formats/safetensors-written/ made by tests/unit/test_safetensors_writer.c, read back here
tests/bad/safetensors/CASE/                 input.safetensors, and in `error` the sentence it must give
tests/bad/safetensors-shards/CASE/          the same for a directory with an index; @ is its path
"""
import json
import os
import shutil
import struct

import safetensors
import safetensors.torch
import torch
import transformers

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests")
FORMATS = os.path.join(TESTS, "fixtures", "formats")
NAMES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16",
         torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL"}


def fresh(*parts):
    path = os.path.join(*parts)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def lines(tensors):
    for name in sorted(tensors):
        t = tensors[name].contiguous()
        data = t.flatten().view(torch.uint8).numpy().tobytes().hex() if t.numel() else ""
        yield f"{name} {NAMES[t.dtype]} [{', '.join(map(str, t.shape))}] {data or '-'}\n"


def expected(path, tensors):
    with open(os.path.join(path, "expected.txt"), "w") as file:
        file.writelines(lines(tensors))


# ---- Good files, by the reference implementation ---------------------------------------------

def good():
    tensors = {
        "bf16": torch.tensor([1.0, -2.5, 3e38], dtype=torch.bfloat16), "f16": torch.tensor([[1.0, 65504.0]]).half(),
        "f32": torch.arange(6.0).reshape(2, 3), "f64": torch.tensor([1.5], dtype=torch.float64),
        "i64": torch.tensor([-1, 2]), "i32": torch.tensor([7], dtype=torch.int32), "mask": torch.tensor([True, False]),
        "u8": torch.tensor([255, 1, 2], dtype=torch.uint8), "scalar": torch.tensor(0.5), "empty": torch.zeros(0, 3),
    }
    path = fresh(FORMATS, "safetensors")
    safetensors.torch.save_file(tensors, os.path.join(path, "model.safetensors"), {"format": "pt", "note": "\u00e9"})
    expected(path, tensors)


def shards():
    torch.manual_seed(1)
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=4, n_positions=6, vocab_size=10)
    model = transformers.GPT2LMHeadModel(config)
    path = fresh(FORMATS, "safetensors-shards")
    model.save_pretrained(path, max_shard_size="1KB")
    for name in os.listdir(path):
        if not name.startswith("model"):
            os.remove(os.path.join(path, name))
    expected(path, {n: t for n, t in model.state_dict().items() if n != "lm_head.weight"})


def check_written():
    path = os.path.join(FORMATS, "safetensors-written")
    if not os.path.isdir(path):
        return
    index = json.load(open(os.path.join(path, "model.safetensors.index.json")))
    tensors = {}
    for shard in sorted(set(index["weight_map"].values())):
        part = safetensors.torch.load_file(os.path.join(path, shard))
        assert all(index["weight_map"][name] == shard for name in part)
        tensors.update(part)
    assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in tensors.values())
    with open(os.path.join(path, "expected.txt")) as file:
        assert list(lines(tensors)) == file.readlines(), "our writer's files read back differently"


# ---- Bad files -------------------------------------------------------------------------------

def container(header, data=b"", size=None):
    header = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(header) if size is None else size) + header + data


def one(dtype='"F32"', shape="[2]", offsets="[0,8]", data=8, name='"a"'):
    return container(f'{{{name}:{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}}}', bytes(data))


def two(a, b, data):
    return container('{"a":{"dtype":"F32","shape":[2],"data_offsets":%s},"b":{"dtype":"F32","shape":[2],'
                     '"data_offsets":%s}}' % (a, b), bytes(data))


A = "tensor 'a': "
BEGINS = "a safetensors file begins with 8 bytes of header size"
OFFSETS = A + "data_offsets is missing or not an array of two integers"
JSON = "header: not valid JSON: line 1, column "
BAD = {
    "empty": (b"", "has 0 bytes; " + BEGINS),
    "one-byte": (b"\x10", "has 1 bytes; " + BEGINS),
    "seven-bytes": (b"\x10" + bytes(6), "has 7 bytes; " + BEGINS),
    "header-size-zero": (container(b"", bytes(8)), "its header of 0 bytes does not begin with '{'"),
    "header-over-100-mb": (container("{}", size=100000001),
                           "states a header of 100000001 bytes, at most 100000000 are allowed"),
    "header-past-the-end": (container("{}", size=3), "states a header of 3 bytes, but only 2 follow"),
    "header-near-2-64": (container("{}", size=2**64 - 1),
                         "states a header of 18446744073709551615 bytes, at most 100000000 are allowed"),
    "not-utf-8": (container(b'{"\xff":1}'), JSON + "2: unable to decode byte 0xff near '\"'"),
    "overlong-utf-8": (container(b'{"\xc0\xaf":1}'), JSON + "2: unable to decode byte 0xc0 near '\"'"),
    "not-json": (container("{nonsense}"), JSON + "9: string or '}' expected near 'nonsense'"),
    "trailing-comma": (container('{"a":{},}'), JSON + "9: string or '}' expected near '}'"),
    "cut-json": (container('{"a":'), JSON + "5: unexpected token near end of file"),
    "two-values": (container("{}{}"), JSON + "3: end of file expected near '{'"),
    "array": (container("[]"), "its header of 2 bytes does not begin with '{'"),
    "leading-space": (container(" {}"), "its header of 3 bytes does not begin with '{'"),
    "byte-order-mark": (container(b"\xef\xbb\xbf{}"), "its header of 5 bytes does not begin with '{'"),
    "deep-nesting": (container('{"a":' + "[" * 10000 + "]" * 10000 + "}"),
                     "its header of 20006 bytes has 10001 brackets and 0 commas, more than tensors need"),
    "deep-nesting-in-much-space": (container('{"a":' + ("[" * 2100).ljust(40000) + "]" * 2100 + "}"),
                                   JSON + "2053: maximum parsing depth reached near '['"),
    "many-small-objects": (container('{"a":[' + "{}," * 1000 + "0]}"),
                           "its header of 3009 bytes has 1002 brackets and 1000 commas, more than tensors need"),
    "many-numbers": (container('{"a":[' + "0," * 1000 + "0]}"),
                     "its header of 2009 bytes has 2 brackets and 1000 commas, more than tensors need"),
    "duplicate-name": (container('{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],'
                                 '"data_offsets":[4,8]}}', bytes(8)),
                       JSON + "56: duplicate object key near '\"a\"'"),
    "duplicate-property": (container('{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
                           JSON + "27: duplicate object key near '\"dtype\"'"),
    "name-with-nul": (container('{"a\\u0000b":{}}'), JSON + "11: NUL byte in object key not supported near '\"a\\u0000b\"'"),
    "overlap": (two("[0,8]", "[4,12]", 12), "tensor 'b' overlaps tensor 'a'"),
    "same-place": (two("[0,8]", "[0,8]", 8), "tensor 'b' overlaps tensor 'a'"),
    "empty-inside-another": (container('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32",'
                                       '"shape":[0],"data_offsets":[4,4]}}', bytes(8)),
                             "tensor 'b' overlaps tensor 'a'"),
    "gap": (two("[0,8]", "[12,20]", 20), "tensor 'b' begins at byte 12 of the data, byte 8 was expected"),
    "first-offset": (one(offsets="[4,12]", data=12), "tensor 'a' begins at byte 4 of the data, byte 0 was expected"),
    "trailing-bytes": (one(data=9), "has 9 bytes of data, but its tensors end at byte 8"),
    "no-tensors-but-data": (container("{}", b"x"), "has 1 bytes of data, but its tensors end at byte 0"),
    "cut-data": (one(data=7), A + "data_offsets [0, 8] go past the end of the data, which has 7 bytes"),
    "begin-after-end": (one(offsets="[8,0]"), A + "data_offsets [8, 0] are not a range"),
    "negative-offset": (one(offsets="[-8,0]"), A + "data_offsets [-8, 0] are not a range"),
    "fractional-offset": (one(offsets="[0,8.0]"), OFFSETS),
    "offset-as-text": (one(offsets='[0,"8"]'), OFFSETS),
    "one-offset": (one(offsets="[8]"), OFFSETS),
    "three-offsets": (one(offsets="[0,4,8]"), OFFSETS),
    "no-offsets": (container('{"a":{"dtype":"F32","shape":[2]}}', bytes(8)), OFFSETS),
    "huge-offset": (one(offsets="[0,9223372036854775807]"),
                    A + "data_offsets [0, 9223372036854775807] go past the end of the data, which has 8 bytes"),
    "offset-beyond-64-bits": (one(offsets="[0,18446744073709551616]"),
                              JSON + "70: too big integer near '18446744073709551616'"),
    "number-beyond-doubles": (one(offsets="[0,1e400]"), JSON + "55: real number overflow near '1e400'"),
    "shape-overflow": (one(shape="[4294967296,4294967296]"),
                       A + "shape [4294967296, 4294967296] has more elements than 64-bit sizes can count"),
    "shape-overflow-in-bytes": (one(shape="[4611686018427387904]"),
                                A + "shape [4611686018427387904] has more elements than 64-bit sizes can count"),
    "shape-overflow-before-zero": (one(shape="[4611686018427387904,4,0]", offsets="[0,0]", data=0),
                                   A + "shape [4611686018427387904, 4, 0] has more elements than 64-bit sizes can count"),
    "shape-against-range": (one(shape="[3]"), A + "data_offsets [0, 8] hold 8 bytes, but F32 of shape [3] needs 12"),
    "dtype-against-range": (one(dtype='"F64"'), A + "data_offsets [0, 8] hold 8 bytes, but F64 of shape [2] needs 16"),
    "half-a-byte": (one(dtype='"F4"', shape="[3]", offsets="[0,2]", data=2),
                    A + "its 3 elements of 4 bits do not fill whole bytes"),
    "negative-dimension": (one(shape="[2,-1]"), A + "dimension 1 of its shape is -1, which is negative"),
    "fractional-dimension": (one(shape="[2.0]"), A + "dimension 0 of its shape is not an integer"),
    "nine-dimensions": (one(shape="[1,1,1,1,1,1,1,1,2]"), A + "has 9 dimensions, at most 8 are supported"),
    "shape-not-an-array": (one(shape="2"), A + "shape is missing or not an array"),
    "no-shape": (container('{"a":{"dtype":"F32","data_offsets":[0,8]}}', bytes(8)),
                 A + "shape is missing or not an array"),
    "unknown-dtype": (one(dtype='"F33"'), A + "dtype 'F33' is not one that safetensors has"),
    "lower-case-dtype": (one(dtype='"f32"'), A + "dtype 'f32' is not one that safetensors has"),
    "dtype-not-text": (one(dtype="32"), A + "dtype is missing or not a string"),
    "no-dtype": (container('{"a":{"shape":[2],"data_offsets":[0,8]}}', bytes(8)), A + "dtype is missing or not a string"),
    "unknown-property": (container('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"scale":2}}', bytes(8)),
                         A + "has 4 properties; only dtype, shape and data_offsets were expected"),
    "tensor-not-an-object": (container('{"a":[2]}'), A + "is not described by an object"),
    "name-with-escapes": (container('{"\\u001b[31m\\u009b":null}'), "tensor '?[31m?': is not described by an object"),
    "metadata-not-an-object": (container('{"__metadata__":"pt"}'), "__metadata__ is not an object"),
    "metadata-not-text": (container('{"__metadata__":{"format":1}}'), "__metadata__ entry 'format' is not a string"),
    "git-lfs-pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 548105171\n",
                        "is a Git LFS pointer, not the file itself; fetch it with: git lfs pull"),
    "web-page": (b"<!DOCTYPE html><html><body>Not found</body></html>", "is a web page, not a model file"),
    "zip": (b"PK\x03\x04" + bytes(60),
            "is a zip archive (perhaps a PyTorch file), not a model file of the expected format"),
}


def shard(*names):
    header = {n: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i, n in enumerate(names)}
    return container(json.dumps(header, separators=(",", ":")), bytes(4 * len(names)))


S1, S2, INDEX = "one.safetensors", "two.safetensors", "model.safetensors.index.json"
MAP = "weight_map is missing or not an object that names each tensor's shard"


def index(**weight_map):
    return json.dumps({"metadata": {"total_size": 8}, "weight_map": weight_map}).encode()


def sharded(weight_map, one=("a",), two=("b",)):
    return {S1: shard(*one), S2: shard(*two), INDEX: index(**weight_map)}


BAD_SHARDS = {
    "parent-directory": ({INDEX: index(a="../one.safetensors")},
                         f"@/{INDEX}: shard '../one.safetensors' is not a plain file name"),
    "absolute-path": ({INDEX: index(a="/etc/passwd")}, f"@/{INDEX}: shard '/etc/passwd' is not a plain file name"),
    "dot-dot": ({INDEX: index(a="..")}, f"@/{INDEX}: shard '..' is not a plain file name"),
    "no-name": ({INDEX: index(a="")}, f"@/{INDEX}: shard '' is not a plain file name"),
    "missing-shard": ({S1: shard("a"), INDEX: index(a=S1, b=S2)}, f"@/{S2}: is missing, though {INDEX} lists it"),
    "tensor-listed-twice": ({S1: shard("a"), S2: shard("b"),
                             INDEX: b'{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}'},
                            f"@/{INDEX}: not valid JSON: line 1, column 40: duplicate object key near '\"a\"'"),
    "same-tensor-in-two-shards": (sharded({"a": S1, "b": S2}, one=("a",), two=("b", "a")),
                                  f"@/{S2}: tensor 'a' is also in {S1}"),
    "wrong-shard": (sharded({"a": S2, "b": S1}), f"@/{INDEX}: lists tensor 'a' in {S2}, but it is in {S1}"),
    "tensor-not-listed": (sharded({"a": S1, "b": S2}, one=("a", "c")),
                          f"@/{INDEX}: does not list tensor 'c', which is in {S1}"),
    "tensor-not-there": (sharded({"a": S1, "b": S2, "c": S2}),
                         f"@/{INDEX}: lists tensor 'c' in {S2}, which does not hold it"),
    "bad-shard": ({S1: shard("a"), S2: b"", INDEX: index(a=S1, b=S2)}, f"@/{S2}: has 0 bytes; " + BEGINS),
    "no-weight-map": ({INDEX: b'{"metadata":{}}'}, f"@/{INDEX}: {MAP}"),
    "empty-weight-map": ({INDEX: b'{"weight_map":{}}'}, f"@/{INDEX}: {MAP}"),
    "weight-map-not-an-object": ({INDEX: b'{"weight_map":[]}'}, f"@/{INDEX}: {MAP}"),
    "index-not-an-object": ({INDEX: b"[]"}, f"@/{INDEX}: {MAP}"),
    "shard-not-text": ({INDEX: b'{"weight_map":{"a":1}}'}, f"@/{INDEX}: weight_map entry 'a' is not a string"),
    "index-not-json": ({INDEX: b"{"}, f"@/{INDEX}: not valid JSON: line 1, column 1: string or '}}' expected near end of file"),
}


def bad():
    root = fresh(TESTS, "bad", "safetensors")
    for case, (data, error) in BAD.items():
        write(os.path.join(root, case), {"input.safetensors": data}, error)
    root = fresh(TESTS, "bad", "safetensors-shards")
    for case, (files, error) in BAD_SHARDS.items():
        write(os.path.join(root, case), files, error)


def write(path, files, error):
    os.makedirs(path)
    for name, data in {**files, "error": error.encode() + b"\n"}.items():
        with open(os.path.join(path, name), "wb") as file:
            file.write(data)


if __name__ == "__main__":
    print("safetensors", safetensors.__version__, "torch", torch.__version__, "transformers", transformers.__version__)
    good()
    shards()
    bad()
    check_written()
