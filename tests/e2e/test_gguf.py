"""GGUF files through the program: what it writes, there and back, what it refuses. Files made by llama.cpp's own package
are in tests/fixtures/models; that llama.cpp opens ours and says the same is checked by tools/check_gguf.py."""

import json
import os
import resource
import signal
import subprocess

import pytest

import gguf_file
from conftest import read_tensors
from gguf_file import ARRAY, F32, I32, STRING, U32


# ---- What is written ---------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["text", "f16", "bf16"])
def test_what_is_written_is_what_llama_cpp_writes(my_llm, models, tmp_path, name):
    result = my_llm("convert", models / name, tmp_path / "out.gguf")
    assert (result.code, result.out) == (0, "")
    metadata, tensors = gguf_file.read(tmp_path / "out.gguf")
    their_metadata, their_tensors = gguf_file.read(models / f"{name}.gguf")
    assert tensors == their_tensors
    ours = {key: value for key, value in metadata.items()
            if key not in ("gpt2.vocab_size", "tokenizer.ggml.model") or name == "text"}
    assert ours == their_metadata
    if name != "text":
        assert metadata["tokenizer.ggml.model"] == (STRING, "no_vocab")
        assert metadata["gpt2.vocab_size"] == (U32, 101)


@pytest.mark.parametrize("name, options", [
    ("text", []), ("prefix", []), ("untied", []), ("stored", []), ("inner", []), ("f16", ["--dtype", "f16"]),
    ("bf16", ["--quantize", "bf16"]), ("noqkvbias", []), ("epsilon", [])])
def test_there_and_back(my_llm, models, tmp_path, name, options):
    assert my_llm("convert", models / name, tmp_path / "out.gguf").code == 0
    assert my_llm("convert", *options, tmp_path / "out.gguf", tmp_path / "back").code == 0
    expected = read_tensors(models / name / "model.safetensors")
    if name == "stored":
        del expected["lm_head.weight"]  # equal to wte.weight, and so not written
    assert read_tensors(tmp_path / "back" / "model.safetensors") == expected
    ours, theirs = (json.loads((path / "config.json").read_text()) for path in (tmp_path / "back", models / name))
    for key in ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size", "activation_function", "layer_norm_epsilon"):
        assert ours[key] == theirs[key]
    assert (ours.get("n_inner") or 4 * ours["n_embd"]) == (theirs["n_inner"] or 4 * theirs["n_embd"])
    if name == "text":
        assert json.loads((tmp_path / "back" / "vocab.json").read_text()) == json.loads(
            (models / name / "vocab.json").read_text())
        assert (tmp_path / "back" / "merges.txt").read_text() == (models / name / "merges.txt").read_text()
        assert ours["eos_token_id"] == 299


def loss(my_llm, model, *options):
    result = my_llm("eval", *options, model, "-", "--ids", "--json", input="1 2 3 4 5 6 7 8 9")
    assert result.code == 0, result
    return json.loads(result.out)["loss"]


@pytest.mark.parametrize("option, kinds", [("q8", {8, 0}), ("q4", {2, 8, 0})])
def test_blocks_there_and_back(my_llm, models, tmp_path, option, kinds):
    """Rounding to blocks once more changes nothing, so what comes back as F32 gives the same file again."""
    assert my_llm("convert", "--quantize", option, models / "head64", tmp_path / "a.gguf").code == 0
    assert my_llm("convert", tmp_path / "a.gguf", tmp_path / "back").code == 0
    assert my_llm("convert", "--quantize", option, tmp_path / "back", tmp_path / "b.gguf").code == 0
    assert my_llm("convert", tmp_path / "a.gguf", tmp_path / "c.gguf").code == 0  # as stored
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes() == (
        tmp_path / "c.gguf").read_bytes()
    _, tensors = gguf_file.read(tmp_path / "a.gguf")
    assert {kind for kind, _, _ in tensors.values()} == kinds
    assert tensors["token_embd.weight"][0] == 8 and tensors["position_embd.weight"][0] == 0
    assert {kind for name, (kind, shape, _) in tensors.items() if len(shape) == 1} == {0}
    back = read_tensors(tmp_path / "back" / "model.safetensors")
    assert {dtype for dtype, _, _ in back.values()} == {"F32"}
    # Beside blocks few rows are rounded to 16 bits.
    assert loss(my_llm, tmp_path / "a.gguf") == pytest.approx(loss(my_llm, tmp_path / "back"), rel=1e-4)


def test_layers_in_different_blocks(my_llm, tmp_path):
    """Each layer is taken for what it is: Q4_0 stays, F32 becomes the Q8_0 that was asked for."""
    files = {}
    for name, options in {"f32": [], "q8": ["--quantize", "q8"], "q4": ["--quantize", "q4"]}.items():
        assert my_llm("convert", *options, "bundled", tmp_path / f"{name}.gguf").code == 0
        files[name] = gguf_file.read(tmp_path / f"{name}.gguf")
    for name in ("f32", "q8"):
        metadata, tensors = files[name]
        mixed = {key: files["q4"][1][key] if key.startswith("blk.0.") else value for key, value in tensors.items()}
        gguf_file.write(tmp_path / f"mixed-{name}.gguf", metadata, mixed)
    as_stored = loss(my_llm, tmp_path / "mixed-q8.gguf")
    assert loss(my_llm, tmp_path / "mixed-f32.gguf", "--quantize", "q8") == as_stored
    assert len({as_stored, *(loss(my_llm, tmp_path / f"{name}.gguf") for name in files)}) == 4


def test_six_bits_are_read(my_llm, models, tmp_path):
    """What llama.cpp's quantizer makes of the embedding: computed with as F32, copied as it is, widened for others."""
    stored = loss(my_llm, models / "q6_k.gguf")
    for name, options in (("copy.gguf", []), ("f32.gguf", ["--dtype", "f32"]), ("back", [])):
        assert my_llm("convert", *options, models / "q6_k.gguf", tmp_path / name).code == 0
        assert loss(my_llm, tmp_path / name) == pytest.approx(stored, rel=1e-5)
    kinds = [{name: kind for name, (kind, _, _) in gguf_file.read(tmp_path / name)[1].items()}
             for name in ("copy.gguf", "f32.gguf")]
    assert kinds[0]["token_embd.weight"] == 14 and kinds[0]["blk.0.attn_qkv.weight"] == 2
    assert set(kinds[1].values()) == {0}
    assert my_llm("convert", "--quantize", "q4", models / "q6_k.gguf", tmp_path / "q4.gguf").code == 0
    assert gguf_file.read(tmp_path / "q4.gguf")[1]["token_embd.weight"][0] == 8
    info = json.loads(my_llm("info", "--json", models / "q6_k.gguf").out)
    assert info["n_nonfinite"] == 0 and info["dtype"] == "Q4_0"
    assert loss(my_llm, models / "q6_k.gguf", "--quantize", "q8") == pytest.approx(stored, rel=0.02)


def test_rows_that_are_no_whole_blocks_are_f16(my_llm, models, tmp_path):
    assert my_llm("convert", "--quantize", "q4", models / "text", tmp_path / "out.gguf").code == 0
    _, tensors = gguf_file.read(tmp_path / "out.gguf")
    assert tensors["blk.0.attn_qkv.weight"][:2] == (1, [48, 16])
    assert tensors["blk.0.ffn_down.weight"][:2] == (2, [16, 64])


def test_the_same_model_gives_the_same_bytes(my_llm, models, tmp_path):
    for name in ("a.gguf", "other-name.gguf"):
        assert my_llm("convert", models / "text", tmp_path / name).code == 0
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "other-name.gguf").read_bytes()


def test_a_file_has_its_own_vocabulary(my_llm, models, tmp_path):
    expected = my_llm("generate", "-m", models / "text", "--temperature", "0", "-n", "12", "he").out
    assert expected.startswith("he")
    assert my_llm("generate", "-m", models / "text.gguf", "--temperature", "0", "-n", "12", "he").out == expected
    ids = my_llm("tokenize", "-m", models / "text.gguf", input="hello").out
    assert ids == my_llm("tokenize", "-m", models / "text", input="hello").out
    info = json.loads(my_llm("info", "--json", models / "text.gguf").out)
    assert (info["format"], info["dtype"], info["n_head"], info["has_tokenizer"]) == ("GGUF", "F32", 2, True)


def test_more_rows_than_tokens_are_padded(my_llm, models, tmp_path):
    metadata, tensors = gguf_file.read(models / "text.gguf")
    kind, (rows, width), content = tensors["token_embd.weight"]
    tensors["token_embd.weight"] = (kind, [rows + 4, width], content + bytes(4 * 4 * width))
    gguf_file.write(tmp_path / "a.gguf", metadata, tensors)
    assert my_llm("convert", tmp_path / "a.gguf", tmp_path / "b.gguf").code == 0
    metadata, _ = gguf_file.read(tmp_path / "b.gguf")
    assert metadata["tokenizer.ggml.tokens"][1][1][-5:] == ["<|endoftext|>", "[PAD300]", "[PAD301]", "[PAD302]",
                                                            "[PAD303]"]
    assert metadata["tokenizer.ggml.token_type"][1][1][-6:] == [1, 3, 5, 5, 5, 5]
    assert my_llm("tokenize", "-m", tmp_path / "b.gguf", input="hello").out == my_llm(
        "tokenize", "-m", models / "text", input="hello").out


# ---- What is refused ---------------------------------------------------------------------------

@pytest.mark.parametrize("args, sentence", [
    (["--quantize", "q8", "prefix", "out"], "{t}/out: weights in blocks of 8 or 4 bits are written to GGUF files; a name "
                                            "that ends in .gguf was expected"),
    (["--quantize", "q4", "prefix", "out.pth"], "{t}/out.pth: weights in blocks of 8 or 4 bits are written to GGUF files; "
                                                "a name that ends in .gguf was expected"),
    (["--quantize", "q4", "--dtype", "f16", "prefix", "out.gguf"],
     "a number format and fewer bits cannot both be asked for"),
    (["--shard-size", "1MB", "prefix", "out.gguf"], "{t}/out.gguf: GGUF files are not written in shards"),
    (["relu", "out.gguf"], "the model has an activation other than gelu_new, which llama.cpp's gpt2 has not, as which a "
                           "GGUF file is written"),
    (["noscale", "out.gguf"], "the model has another scale of attention's scores, which llama.cpp's gpt2 has not, as "
                              "which a GGUF file is written"),
    (["classifier", "out.gguf"], "the model has labels (it is a classifier), which llama.cpp's gpt2 has not, as which a "
                                 "GGUF file is written"),
    (["--n-head", "2", "text.gguf", "out"], "{m}/text.gguf: says how many heads there are, so they cannot be chosen"),
])
def test_what_cannot_be_written(my_llm, models, tmp_path, args, sentence):
    result = my_llm("convert", *args[:-2], models / args[-2], tmp_path / args[-1])
    assert result.code in (1, 2)
    assert result.err == f"my-llm: {sentence.format(t=tmp_path, m=models)}\n"
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []


def test_what_is_there_stays(my_llm, models, tmp_path):
    (tmp_path / "out.gguf").write_bytes(b"old")
    result = my_llm("convert", models / "text", tmp_path / "out.gguf")
    assert (result.code, (tmp_path / "out.gguf").read_bytes()) == (1, b"old")
    assert "is there already" in result.err
    assert my_llm("convert", "--force", models / "text", tmp_path / "out.gguf").code == 0
    assert (tmp_path / "out.gguf").read_bytes()[:4] == b"GGUF"


def test_full_disk(models, env, program, tmp_path):
    """A limit on file size stands in for a disk that fills up half-way: what was there stays."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))

    (tmp_path / "out.gguf").write_bytes(b"old")
    process = subprocess.run([program, "convert", "--force", models / "prefix", tmp_path / "out.gguf"],
                             capture_output=True, env=env, preexec_fn=limit, timeout=60)
    assert process.returncode == 1
    assert f"my-llm: {tmp_path}/out.gguf: cannot write: File too large\n" in process.stderr.decode()
    assert (tmp_path / "out.gguf").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == ["out.gguf"]


# key -> its entry in place of the one that text.gguf has (None: it goes), and the sentence
METADATA = {
    "no-architecture": ({"general.architecture": None}, "metadata general.architecture is missing"),
    "architecture": ({"general.architecture": (STRING, "llama")}, 'general.architecture is "llama"; gpt2 is supported'),
    "architecture-type": ({"general.architecture": (U32, 1)}, "metadata general.architecture is not a string"),
    "no-layers": ({"gpt2.block_count": None}, "metadata gpt2.block_count is missing"),
    "layers-0": ({"gpt2.block_count": (U32, 0)},
                 "metadata gpt2.block_count is 0, a number from 1 to 2147483647 was expected"),
    "layers-1e9": ({"gpt2.block_count": (U32, 10**9)}, "n_layer is 1000000000, a number from 1 to 16384 was expected"),
    "layers-real": ({"gpt2.block_count": (F32, 1.0)}, "metadata gpt2.block_count is not a whole number"),
    "layers-array": ({"gpt2.block_count": (ARRAY, (U32, [1]))}, "metadata gpt2.block_count is not a whole number"),
    "layers-negative": ({"gpt2.block_count": (I32, -1)},
                        "metadata gpt2.block_count is -1, a number from 1 to 2147483647 was expected"),
    "more-layers": ({"gpt2.block_count": (U32, 2)}, "tensor blk.1.attn_norm.weight is missing, and 11 more"),
    "heads": ({"gpt2.attention.head_count": (U32, 3)}, "n_head is 3, which does not divide n_embd, 16"),
    "kv-heads": ({"gpt2.attention.head_count_kv": (U32, 1)},
                 "gpt2.attention.head_count_kv is 1 and head_count 2; equal ones are supported"),
    "width": ({"gpt2.embedding_length": (U32, 32)},
              "tensor blk.0.attn_norm.bias has shape [16], [32] was expected (n_embd 32)"),
    "context": ({"gpt2.context_length": (U32, 128)},
                "tensor position_embd.weight has shape [64, 16], [128, 16] was expected (n_positions 128, n_embd 16)"),
    "epsilon": ({"gpt2.attention.layer_norm_epsilon": (U32, 1)},
                "metadata gpt2.attention.layer_norm_epsilon is not a real number"),
    "epsilon-nan": ({"gpt2.attention.layer_norm_epsilon": (F32, float("nan"))},
                    "layer_norm_epsilon is nan, a number between 0 and 1 was expected"),
    "split": ({"split.count": (2, 3)}, "is one of 3 files of a model; one file was expected (llama-gguf-split --merge "
                                       "joins them)"),
    "tokenizer": ({"tokenizer.ggml.model": (STRING, "llama")}, 'tokenizer.ggml.model is "llama"; gpt2 is supported'),
    "pre-split": ({"tokenizer.ggml.pre": (STRING, "llama-bpe")}, 'tokenizer.ggml.pre is "llama-bpe"; gpt-2 is supported'),
    "no-tokens": ({"tokenizer.ggml.tokens": None}, "metadata tokenizer.ggml.tokens is missing"),
    "no-merges": ({"tokenizer.ggml.merges": None}, "metadata tokenizer.ggml.merges is missing"),
    "tokens-type": ({"tokenizer.ggml.tokens": (ARRAY, (U32, [1, 2]))},
                    "metadata tokenizer.ggml.tokens is not an array of strings"),
    "merges-type": ({"tokenizer.ggml.merges": (STRING, "a b")}, "metadata tokenizer.ggml.merges is not an array of strings"),
    "types-type": ({"tokenizer.ggml.token_type": (ARRAY, (U32, [1] * 300))},
                   "metadata tokenizer.ggml.token_type is not an array of numbers of type i32"),
    "types-few": ({"tokenizer.ggml.token_type": (ARRAY, (I32, [1] * 299))},
                  "metadata tokenizer.ggml.token_type has 299 elements, but there are 300 tokens"),
    "no-tokens-at-all": ({"tokenizer.ggml.tokens": (ARRAY, (STRING, [])),
                          "tokenizer.ggml.token_type": None}, "0 tokens, 1 to 2097151 were expected"),
    "twice": ({"tokenizer.ggml.tokens": (ARRAY, (STRING, ["a", "b", "a"])), "tokenizer.ggml.token_type": None},
              'token 2, "a": it is there twice: token 0 is the same'),
    "special-twice": ({"tokenizer.ggml.tokens": (ARRAY, (STRING, ["a", "b", "a"])),
                       "tokenizer.ggml.token_type": (ARRAY, (I32, [1, 1, 3]))},
                      'token 2, "a": the added token "a" has id 2, but the vocabulary gives it 0'),
    "no-utf8": ({"tokenizer.ggml.tokens": (ARRAY, (STRING, [b"a", b"\xff"])), "tokenizer.ggml.token_type": None},
                'token 1, "\\xff": it is not text in UTF-8'),
    "nul": ({"tokenizer.ggml.tokens": (ARRAY, (STRING, [b"a", b"b\0c"])), "tokenizer.ggml.token_type": None},
            'token 1, "b\\x00c": it is not text in UTF-8'),
    "few-bytes": ({"tokenizer.ggml.tokens": (ARRAY, (STRING, ["a", "b"])), "tokenizer.ggml.token_type": None},
                  "no token for byte 0x00 (\"Ā\"): byte-level BPE needs all 256"),
    "merge": ({"tokenizer.ggml.merges": (ARRAY, (STRING, ["x"]))},
              'merge 0: two tokens with one space between them were expected, not "x"'),
    "merge-unknown": ({"tokenizer.ggml.merges": (ARRAY, (STRING, ["h zzzz"]))},
                      'merge 0: the merge names "zzzz", which is not in the vocabulary'),
}


@pytest.mark.parametrize("case", METADATA)
def test_hostile_metadata(my_llm, models, tmp_path, case):
    """What is wrong with a container is in tests/unit/test_gguf.c."""
    changes, sentence = METADATA[case]
    metadata, tensors = gguf_file.read(models / "text.gguf")
    for key, entry in changes.items():
        metadata.pop(key, None)
        if entry is not None:
            metadata[key] = entry
    path = tmp_path / "bad.gguf"
    gguf_file.write(path, metadata, tensors)
    result = my_llm("generate", "-m", path, "-n", "1", "he")
    assert (result.code, result.out) == (1, "")
    assert result.err == f"my-llm: {path}: {sentence}\n"


def change_shape(tensors):
    kind, shape, content = tensors["blk.0.attn_qkv.weight"]
    tensors["blk.0.attn_qkv.weight"] = (kind, shape[::-1], content)


TENSORS = {
    "missing": (lambda tensors: tensors.pop("blk.0.ffn_up.bias"), "tensor blk.0.ffn_up.bias is missing"),
    "no-embedding": (lambda tensors: tensors.pop("token_embd.weight"), "tensor token_embd.weight is missing"),
    "unknown": (lambda tensors: tensors.update({"rope_freqs.weight": (0, [2], bytes(8))}),
                "tensor rope_freqs.weight is not a part of GPT-2 (names as llama.cpp has them)"),
    "transposed": (change_shape, "tensor blk.0.attn_qkv.weight has shape [16, 48], [48, 16] was expected (it is "
                                 "transposed)"),
    "none": (lambda tensors: tensors.clear(), "tensor token_embd.weight is missing"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_hostile_tensors(my_llm, models, tmp_path, case):
    change, sentence = TENSORS[case]
    metadata, tensors = gguf_file.read(models / "text.gguf")
    change(tensors)
    path = tmp_path / "bad.gguf"
    gguf_file.write(path, metadata, tensors)
    result = my_llm("convert", path, tmp_path / "out")
    assert (result.code, result.out, result.err) == (1, "", f"my-llm: {path}: {sentence}\n")


def test_nan_is_counted(my_llm, models, tmp_path):
    """A block whose scale is no number is 32 weights that are none."""
    metadata, tensors = gguf_file.read(models / "q8_0.gguf")
    kind, shape, content = tensors["blk.0.ffn_up.weight"]
    tensors["blk.0.ffn_up.weight"] = (kind, shape, b"\x00\x7e" + content[2:])
    gguf_file.write(tmp_path / "nan.gguf", metadata, tensors)
    assert json.loads(my_llm("info", "--json", tmp_path / "nan.gguf").out)["n_nonfinite"] == 32


def test_what_is_no_file(my_llm, tmp_path):
    (tmp_path / "directory.gguf").mkdir()
    os.mkfifo(tmp_path / "fifo.gguf")
    (tmp_path / "empty.gguf").write_bytes(b"")
    for name, sentence in (("fifo", "is not a regular file"), ("empty", "magic needs 4 bytes"),
                           ("none", "there is no such model"), ("directory", "holds neither config.json nor")):
        result = my_llm("info", tmp_path / f"{name}.gguf", timeout=20)
        assert (result.code, result.out) == (1, "") and sentence in result.err, result.err
