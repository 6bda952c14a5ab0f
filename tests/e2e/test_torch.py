"""PyTorch's files through the program: what it writes is looked at with Python's own zipfile and pickletools, what
torch.save() wrote is read. That torch.load() opens ours is checked by tools/check_torch.py, which needs torch."""

import json
import pickletools
import resource
import signal
import struct
import subprocess
import zipfile

import pytest

from conftest import read_tensors


def test_what_is_written(my_llm, models, tmp_path):
    result = my_llm("convert", models / "prefix", tmp_path / "out.pth")
    assert (result.code, result.out) == (0, "")
    assert '"context_length": 64, "emb_dim": 24, "n_heads": 3, "n_layers": 2' in result.err
    with zipfile.ZipFile(tmp_path / "out.pth") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names[:2] == ["archive/data.pkl", "archive/byteorder"] and names[-1] == "archive/version"
        pickle = archive.read("archive/data.pkl")
        assert archive.read("archive/byteorder") == b"little"
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            start = entry.header_offset
            name_size, extra_size = struct.unpack("<HH", (tmp_path / "out.pth").read_bytes()[start + 26:start + 30])
            assert (start + 30 + name_size + extra_size) % 64 == 0
    operations = list(pickletools.genops(pickle))
    pickletools.dis(pickle, out=open("/dev/null", "w"))  # raises where the stack or the memo is wrong
    assert {arg for op, arg, _ in operations if op.name == "GLOBAL"} == {
        "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch FloatStorage"}
    texts = [arg for op, arg, _ in operations if op.name == "BINUNICODE"]
    keys = [text for text in texts if "." in text]
    assert keys[:4] == ["tok_emb.weight", "pos_emb.weight", "trf_blocks.0.att.mask", "trf_blocks.0.att.W_query.weight"]
    assert keys[-3:] == ["final_norm.scale", "final_norm.shift", "out_head.weight"]
    assert len(keys) == len(set(keys)) == 2 + 2 * 17 + 3
    storages = [text for text in texts if text.isdigit()]
    assert len(storages) == len(keys) and len(set(storages)) == len(keys) - 2  # one mask, one embedding and head


def test_the_same_model_gives_the_same_bytes(my_llm, models, tmp_path):
    for name in ("a.pth", "other-name.pt"):
        assert my_llm("convert", models / "text", tmp_path / name).code == 0
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "other-name.pt").read_bytes()


@pytest.mark.parametrize("name", ["prefix", "untied", "f16", "book"])
def test_there_and_back(my_llm, models, tmp_path, name):
    assert my_llm("convert", models / name, tmp_path / "out.pth").code == 0
    assert my_llm("convert", "--n-head", "3", tmp_path / "out.pth", tmp_path / "back").code == 0
    expected = read_tensors((models / name.replace("book", "prefix")) / "model.safetensors")
    assert read_tensors(tmp_path / "back" / "model.safetensors") == expected


def test_a_checkpoint_of_the_book(my_llm, models, tmp_path):
    """pytorch_model.bin of the fixture `book` is {"model_state_dict": ..., "optimizer_state_dict": ...}."""
    (tmp_path / "model_and_optimizer.pth").write_bytes((models / "book" / "pytorch_model.bin").read_bytes())
    (tmp_path / "config.json").write_text((models / "book" / "config.json").read_text())
    info = json.loads(my_llm("info", "--json", tmp_path / "model_and_optimizer.pth").out)
    assert (info["format"], info["n_head"], info["n_layer"], info["tied_head"]) == ("PyTorch", 3, 2, True)
    assert info["n_nonfinite"] == 0
    assert [file["path"] for file in info["files"]] == [str(tmp_path / "config.json"),
                                                        str(tmp_path / "model_and_optimizer.pth")]


def test_generate_from_a_file(my_llm, models, tmp_path):
    """The vocabulary lies beside it; the text is that of the model it was made from."""
    (tmp_path / "m").mkdir()
    for name in ("config.json", "vocab.json", "merges.txt"):
        (tmp_path / "m" / name).write_text((models / "text" / name).read_text())
    assert my_llm("convert", models / "text", tmp_path / "m" / "model.pth").code == 0
    args = ("--temperature", "0", "-n", "12", "the cat")
    ours = my_llm("generate", "-m", tmp_path / "m" / "model.pth", *args)
    theirs = my_llm("generate", "-m", models / "text", *args)
    assert ours.code == theirs.code == 0
    assert ours.out == theirs.out != ""


def test_without_a_config(my_llm, models, tmp_path):
    assert my_llm("convert", models / "head64", tmp_path / "out.pth").code == 0
    result = my_llm("info", "--no-check", tmp_path / "out.pth")
    assert result.code == 0
    assert "architecture  GPT-2: 1 layers, 1 heads, width 64, feed-forward 256\n" in result.out
    assert result.err == (f"my-llm: {tmp_path}/out.pth: there is no config.json beside it; n_head 1 is assumed: heads of "
                          "64 numbers, as GPT-2 has them\n")


def test_classifier(my_llm, models, tmp_path):
    result = my_llm("info", models / "classifier")
    assert result.code == 0
    assert "classifier    3 labels: 'ham', 'spam', '\u00e9'\n" in result.out and "output head " not in result.out.split("param")[0]
    info = json.loads(my_llm("info", "--json", models / "classifier").out)
    assert (info["n_labels"], info["labels"]) == (3, ["ham", "spam", "\u00e9"])
    assert my_llm("convert", models / "classifier", tmp_path / "out").code == 0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["GPT2ForSequenceClassification"]
    assert config["id2label"] == {"0": "ham", "1": "spam", "2": "\u00e9"}
    assert config["label2id"] == {"ham": 0, "spam": 1, "\u00e9": 2}
    assert config["pad_token_id"] == 10
    assert read_tensors(tmp_path / "out" / "model.safetensors") == read_tensors(models / "classifier" / "model.safetensors")
    # One that names no labels.
    assert my_llm("convert", "--n-head", "2", models / "bookclassifier.pth", tmp_path / "book").code == 0
    assert "classifier    2 labels: 'LABEL_0', 'LABEL_1'\n" in my_llm("info", tmp_path / "book").out


def test_classifier_writes_no_text(my_llm, models, tmp_path):
    (tmp_path / "text").write_text("some text")
    model = models / "classifier"
    for args, sentence in (
            (("generate", "-m", model, "text"), "is a classifier of 3 labels, which writes no text; a model with a "
                                                "vocabulary for its output was expected"),
            (("eval", model, tmp_path / "text"), "is a classifier, which writes no text to be scored")):
        result = my_llm(*args)
        assert (result.code, result.out) == (1, "")
        assert result.err == f"my-llm: {model}: {sentence}\n"


@pytest.mark.parametrize("case, sentence", [
    ("os-system", "data.pkl: asks for Python's 'os.system', which no dict of tensors needs, so nothing is read; save the "
                  "model with torch.save(model.state_dict(), PATH)"),
    ("old-pickle", "is a bare pickle, as PyTorch wrote before version 1.6; write it anew with "
                   "torch.save(torch.load(OLD, weights_only=True), NEW)"),
    ("deflate-bomb", "entry 'm/data.pkl': is compressed, as torch.save() never writes it; only stored entries can be used "
                     "as they lie"),
])
def test_hostile_files(my_llm, source, tmp_path, case, sentence):
    """The other 120 are in tests/unit/test_torch_zip.c."""
    path = source / "tests" / "bad" / "torch" / case / "input.pth"
    for args in (("info", path), ("convert", path, tmp_path / "out")):
        result = my_llm(*args)
        assert (result.code, result.out) == (1, "")
        assert result.err == f"my-llm: {path}: {sentence}\n"
    assert not (tmp_path / "out").exists()


def test_full_disk(models, env, program, tmp_path):
    """A limit on file size stands in for a disk that fills up half-way: what was there stays."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))

    (tmp_path / "out.pth").write_bytes(b"old")
    process = subprocess.run([program, "convert", "--force", models / "prefix", tmp_path / "out.pth"], capture_output=True,
                             env=env, preexec_fn=limit, timeout=60)
    assert process.returncode == 1
    assert f"my-llm: {tmp_path}/out.pth: cannot write: File too large\n" in process.stderr.decode()
    assert (tmp_path / "out.pth").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == ["out.pth"]
