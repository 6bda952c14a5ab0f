"""my-llm convert: what comes out, what is refused, and that a killed conversion leaves nothing that passes for whole."""

import json
import random
import resource
import signal
import subprocess
import time

import pytest

import tiny


def read_header(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8:8 + size]), data[8 + size:]


def test_names_and_numbers(my_llm, models, tmp_path):
    """From TensorFlow's file to what transformers would have written: same names, same bytes."""
    result = my_llm("convert", models / "openai", tmp_path / "out")
    assert (result.code, result.out) == (0, "")
    ours, our_data = read_header(tmp_path / "out" / "model.safetensors")
    theirs, their_data = read_header(models / "prefix" / "model.safetensors")
    assert ours["__metadata__"] == {"format": "pt"}
    assert set(ours) == set(theirs)
    for name in set(theirs) - {"__metadata__"}:
        assert ours[name]["shape"] == theirs[name]["shape"]
        a, b = ours[name]["data_offsets"], theirs[name]["data_offsets"]
        assert our_data[a[0]:a[1]] == their_data[b[0]:b[1]]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["GPT2LMHeadModel"]
    assert (config["n_positions"], config["n_embd"], config["vocab_size"]) == (64, 24, 101)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.json", "model.safetensors"]


def test_same_text_and_bits_after_converting(my_llm, models, tmp_path):
    """f32 -> f32 shards -> one file: identical tensors; the vocabulary comes along."""
    assert my_llm("convert", "--shard-size", "10kB", models / "text", tmp_path / "a").code == 0
    assert len(list((tmp_path / "a").glob("model-*.safetensors"))) > 1
    assert my_llm("convert", tmp_path / "a", tmp_path / "b").code == 0
    first, first_data = read_header(models / "text" / "model.safetensors")
    last, last_data = read_header(tmp_path / "b" / "model.safetensors")
    for name in set(first) - {"__metadata__"}:
        a, b = first[name]["data_offsets"], last[name]["data_offsets"]
        assert first_data[a[0]:a[1]] == last_data[b[0]:b[1]]
    for name in ("vocab.json", "merges.txt", "tokenizer.json"):
        assert (tmp_path / "b" / name).exists()


@pytest.mark.parametrize("dtype, size", [("f32", 4), ("f16", 2), ("bf16", 2)])
def test_dtypes(my_llm, models, tmp_path, dtype, size):
    assert my_llm("convert", "--dtype", dtype, models / "untied", tmp_path / "out").code == 0
    info = json.loads(my_llm("info", "--json", tmp_path / "out").out)
    assert info["dtype"] == dtype.upper()
    assert info["tied_head"] is False
    header, data = read_header(tmp_path / "out" / "model.safetensors")
    assert len(data) == size * info["n_params"]
    assert {value["dtype"] for name, value in header.items() if name != "__metadata__"} == {dtype.upper()}


def test_overflow_is_told(my_llm, tmp_path):
    named = tiny.tensors()
    named["ln_f.bias"] = tiny.tensor([4], value=1e6)
    result = my_llm("convert", "--dtype", "f16", tiny.write_model(tmp_path / "m", named), tmp_path / "out")
    assert result.code == 0
    assert "4 weights are too large for F16 and became infinite; BF16 has their range" in result.err


def test_destination_is_there(my_llm, models, tmp_path):
    assert my_llm("convert", models / "prefix", tmp_path / "out").code == 0
    result = my_llm("convert", models / "inner", tmp_path / "out")
    assert result.code == 1
    assert result.err == f"my-llm: {tmp_path}/out: is there already; name another place, or allow it to be replaced\n"
    assert my_llm("convert", "--force", models / "inner", tmp_path / "out").code == 0
    assert json.loads(my_llm("info", "--json", tmp_path / "out").out)["n_inner"] == 50
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["out"]


def test_force_replaces_models_only(my_llm, models, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear-aunt.txt").write_text("Dear Aunt")
    result = my_llm("convert", "--force", models / "prefix", tmp_path / "letters")
    assert result.code == 1
    assert result.err == f"my-llm: {tmp_path}/letters: is there and holds no model, so it is not replaced\n"
    assert (tmp_path / "letters" / "dear-aunt.txt").exists()
    (tmp_path / "letters" / "config.json").write_text("{}")  # many things have one
    assert my_llm("convert", "--force", models / "prefix", tmp_path / "letters").code == 1
    (tmp_path / "empty").mkdir()
    assert my_llm("convert", models / "prefix", tmp_path / "empty").code == 1
    assert my_llm("convert", "--force", models / "prefix", tmp_path / "empty").code == 0
    for other in ["notes.txt", ".git"]:
        (tmp_path / "empty" / other).mkdir()
        result = my_llm("convert", "--force", models / "prefix", tmp_path / "empty")
        assert (result.code, result.err) == (
            1, f"my-llm: {tmp_path}/empty: holds {other}, which is no part of a model, so it is not replaced\n")
        (tmp_path / "empty" / other).rmdir()
    assert my_llm("convert", "--force", models / "prefix", tmp_path / "empty").code == 0
    result = my_llm("convert", models / "prefix", "")
    assert (result.code, result.err) == (1, "my-llm: the destination's name is empty\n")


def test_source_and_destination(my_llm, models, tmp_path):
    assert my_llm("convert", models / "prefix", tmp_path / "m").code == 0
    (tmp_path / "link").symlink_to("m")
    for destination in ("m", "m/", "./m", "link", "m/../m"):
        result = my_llm("convert", "--force", tmp_path / "m", destination, cwd=tmp_path)
        assert result.code == 1
        assert result.err.startswith(f"my-llm: {destination}: is the source itself")
    assert my_llm("info", tmp_path / "m").code == 0


def test_names_of_files_that_are_not_written(my_llm, models, tmp_path):
    """They are read, or nearly written: nobody means a directory by them, unless it is there."""
    for name in ("x.bin", "model.safetensors", "x.PTH", "x.Gguf"):
        result = my_llm("convert", models / "prefix", name, cwd=tmp_path)
        assert (result.code, result.err) == (
            1, f"my-llm: {name}: models are written as a .gguf file, as a .pth or .pt file, or as a directory, whose "
               f"name may not end in {name[name.index('.'):]}\n")
        assert not (tmp_path / name).exists()
    (tmp_path / "x.bin").mkdir()
    assert my_llm("convert", "--force", models / "prefix", "x.bin", cwd=tmp_path).code == 0
    for name in ("missing/x.gguf", "missing/x.pth", "missing/x"):
        result = my_llm("convert", models / "prefix", name, cwd=tmp_path)
        assert (result.code, result.err) == (1, f"my-llm: {name}: the folder missing does not exist; create it first\n")


def test_a_link_is_not_replaced(my_llm, models, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    for name in ("link", "link/"):
        result = my_llm("convert", "--force", models / "prefix", name, cwd=tmp_path)
        assert (result.code, result.err) == (
            1, f"my-llm: {name}: is a symbolic link, which is not replaced; name the directory it leads to\n")
    assert (tmp_path / "link").is_symlink() and list((tmp_path / "there").iterdir()) == []
    assert my_llm("convert", "--force", models / "prefix", "there", cwd=tmp_path).code == 0


def test_read_only_directory(my_llm, models, tmp_path):
    # /proc takes no directories, whoever asks: root, as CI runs, is not stopped by permissions.
    result = my_llm("convert", models / "prefix", "/proc/out")
    assert result.code == 1
    assert result.err == "my-llm: /proc/out: cannot create a directory here: No such file or directory\n"


def test_full_disk(models, env, build, tmp_path):
    """A limit on file size stands in for a disk that fills up half-way."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))

    process = subprocess.run([build / "my-llm", "convert", models / "prefix", tmp_path / "out"], capture_output=True, env=env,
                             preexec_fn=limit, timeout=60)
    assert process.returncode == 1
    assert f"my-llm: {tmp_path}/out/model.safetensors: cannot write: File too large\n" in process.stderr.decode()
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []


def test_kill_at_any_moment(my_llm, env, build, tmp_path):
    """After SIGKILL there is no destination, or a whole one; with --force the old or the new, whole."""
    sizes = dict(n_layer=2, n_embd=256, n_inner=1024, n_positions=64, vocab_size=2000)
    big = tiny.write_model(tmp_path / "big", tiny.tensors(**sizes), n_layer=2, n_embd=256, n_positions=64,
                           vocab_size=2000)
    out = tmp_path / "out"
    start = time.monotonic()
    assert my_llm("convert", big, tmp_path / "probe").code == 0
    whole_run = time.monotonic() - start
    outcomes = []
    for attempt in range(24):
        subprocess.run(["rm", "-rf", out], check=True)
        replace = attempt % 2 == 1
        if replace:
            tiny.write_model(out)  # the old model has one layer, the new one two
        process = subprocess.Popen([build / "my-llm", "convert", big, out] + (["--force"] if replace else []), env=env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.Random(attempt).uniform(0, 1.2 * whole_run))
        process.kill()
        process.wait()
        n_layer = None
        if out.exists():
            result = my_llm("info", "--json", out)
            assert result.code == 0, result
            n_layer = json.loads(result.out)["n_layer"]
        assert n_layer in ((1, 2) if replace else (None, 2))
        outcomes.append(n_layer)
    assert None in outcomes and 1 in outcomes  # some were killed half-way
