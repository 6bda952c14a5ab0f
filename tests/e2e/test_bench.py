"""my-llm bench: that it runs and says what it should. No test asserts a time."""

import csv
import io
import json
import math
import re
from pathlib import Path

import pytest

RESULT = {"test", "n_tokens", "depth", "batch", "tokens_per_second", "bytes_per_second", "flops_per_second",
          "read_bytes_per_second", "share_of_read", "share_of_sgemm"}


def check_rate(rate):
    assert rate.keys() == {"one", "all"}
    assert all(math.isfinite(value) and value > 0 for value in rate.values())


def measured(report):
    return [(r["test"], r["n_tokens"], r["depth"], r["batch"]) for r in report["results"]]


def test_json_has_every_field(my_llm):
    result = my_llm("bench", "--quick", "--json", "bundled", env={"MY_LLM_THREADS": "1"})
    assert result.code == 0, result
    report = json.loads(result.out)
    assert report.keys() == {"version", "repetitions", "machine", "model", "results"}
    assert report["repetitions"] == 1
    machine = report["machine"]
    assert machine.keys() == {"n_threads", "read_bytes_per_second", "sgemm_flops_per_second", "multiply_add"}
    assert machine["n_threads"] == 1
    check_rate(machine["read_bytes_per_second"])
    check_rate(machine["sgemm_flops_per_second"])
    assert machine["multiply_add"][0]["isa"] == "baseline"
    for level in machine["multiply_add"]:
        check_rate(level["flops_per_second"])
    assert report["model"].keys() == {"path", "format", "dtype", "memory_dtype", "n_params", "bytes_weights",
                                      "bytes_step", "isa", "compute"}
    assert measured(report) == [("prompt", 16, 0, 1), ("generate", 8, 1, 1), ("generate", 8, 1, 8),
                                ("generate", 8, 16, 1), ("generate", 8, 16, 8)]
    for row in report["results"]:
        assert row.keys() == RESULT
        # So small a model is read from the caches: memory is not measured again beside it.
        assert row["read_bytes_per_second"] == machine["read_bytes_per_second"]["all"]
        assert row["share_of_read"] == pytest.approx(row["bytes_per_second"] / row["read_bytes_per_second"], rel=1e-6)
        assert row["tokens_per_second"]["mean"] > 0 and row["tokens_per_second"]["sd"] == 0
        for name in RESULT - {"test", "tokens_per_second"}:
            assert math.isfinite(row[name]) and row[name] >= 0


def test_bytes_and_flops_are_counted(my_llm, source):
    """Against counts made by hand: 2 layers, width 24, feed-forward 96, 101 ids, all F32, head tied."""
    model = source / "tests" / "fixtures" / "models" / "openai"
    result = my_llm("bench", "--quick", "--json", model, env={"MY_LLM_THREADS": "1"})
    assert result.code == 0, result
    rows = {(r["test"], r["depth"], r["batch"]): r for r in json.loads(result.out)["results"]}

    # bytes and FLOPs a token, which are the rates divided by tokens/s (one repetition: mean of one)
    def per_token(row, name):
        return row[name] / row["tokens_per_second"]["mean"]

    weights = 4 * (18456 - 64 * 24)  # all but the positions
    position = 2 * 2 * 24 * 4  # key and value, 2 layers
    products = 2 * 2 * (3 * 24 * 24 + 24 * 24 + 2 * 24 * 96)
    head = 2 * 24 * 101
    for depth in (1, 16):
        seen = depth + (1 + 8) / 2  # positions a step looks at, on average over 8 steps
        for batch in (1, 8):
            row = rows["generate", depth, batch]
            assert per_token(row, "bytes_per_second") == pytest.approx(weights / batch + seen * position, rel=1e-4)
            flops = products + head + 2 * 2 * 2 * 24 * seen
            assert per_token(row, "flops_per_second") == pytest.approx(flops, rel=1e-4)
    # In the last layer the first 15 of 16 tokens are keys and values, and nothing else.
    prompt = rows["prompt", 0, 1]
    qkv, rest, pairs = 2 * 3 * 24 * 24, 2 * (24 * 24 + 2 * 24 * 96), 16 * 17 / 2
    flops = 16 * (qkv + rest) + (2 * 16 + 1) / 3 * qkv + rest + 4 * 24 * (pairs + 16) + head
    assert 16 * per_token(prompt, "flops_per_second") == pytest.approx(flops, rel=1e-4)
    assert 16 * per_token(prompt, "bytes_per_second") == pytest.approx(weights + 16 * position, rel=1e-4)


def test_repetitions_and_a_small_context(my_llm, source):
    """The context of 64 cuts prompts to 64; half of it is left to what comes before generation."""
    model = source / "tests" / "fixtures" / "models" / "openai"
    result = my_llm("bench", "--repetitions", "2", "-t", "1", "--json", "--model", model)
    assert result.code == 0, result
    report = json.loads(result.out)
    assert report["repetitions"] == 2
    assert measured(report) == [("prompt", 64, 0, 1), ("generate", 32, 1, 1), ("generate", 32, 1, 8),
                                ("generate", 32, 32, 1), ("generate", 32, 32, 8)]
    assert any(row["tokens_per_second"]["sd"] > 0 for row in report["results"])


def test_asked_for_by_length(my_llm, source):
    model = source / "tests" / "fixtures" / "models" / "openai"  # its context holds 64
    for words, tests in (
        (["--prompt-tokens", 64], [("prompt", 64, 0, 1)]),
        (["--generate-tokens", 63], [("generate", 63, 1, 1)]),
        (["--prompt-tokens", 5, "--generate-tokens", 7], [("prompt", 5, 0, 1), ("generate", 7, 1, 1)]),
    ):
        result = my_llm("bench", "-r", 2, "-t", 1, "--json", *words, model)
        assert result.code == 0, result
        assert measured(json.loads(result.out)) == tests
    for words, sentence in (
        (["--prompt-tokens", 65], "--prompt-tokens is 65, and the model's context holds 64"),
        (["--generate-tokens", 64], "--generate-tokens is 64, and the model's context holds 64, the token in front included"),
        (["--generate-tokens", 8, "--quick"], "--prompt-tokens and --generate-tokens go without"),
        (["--prompt-tokens", 8, "--train"], "--prompt-tokens and --generate-tokens go without"),
    ):
        result = my_llm("bench", "-t", 1, *words, model)
        assert result.code != 0 and sentence in result.err, result


def test_csv(my_llm):
    result = my_llm("bench", "--quick", "--csv", "bundled", env={"MY_LLM_THREADS": "2"})
    assert result.code == 0, result
    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert all(None not in row and None not in row.values() for row in rows)
    assert [row["test"] for row in rows[:4]] == ["read", "read", "sgemm", "sgemm"]
    assert [row["threads"] for row in rows[:4]] == ["1", "2", "1", "2"]
    assert float(rows[0]["bytes_per_second"]) > 0 and rows[0]["flops_per_second"] == ""
    assert float(rows[2]["flops_per_second"]) > 0 and rows[2]["bytes_per_second"] == ""
    assert [row["test"] for row in rows[-5:]] == ["prompt"] + 4 * ["generate"]
    assert all(float(row["share_of_sgemm"]) > 0 for row in rows[-5:])


def test_markdown_of_a_synthetic_model(my_llm):
    result = my_llm("bench", "--quick", "--synthetic", "124M", env={"MY_LLM_THREADS": "1"}, timeout=300)
    assert result.code == 0, result
    assert result.err == ""
    assert result.out.startswith("my-llm ") and ": synthetic 124M, F32, " in result.out.splitlines()[0]
    tables = [line.count("|") for line in result.out.splitlines() if line.startswith("|")]
    assert set(tables) == {4, 8}
    assert re.search(r"^\| prompt 16 \| 1 \| \d+\.\d\d ± 0\.00 \|", result.out, re.MULTILINE)
    assert "Mean ± standard deviation of 1 repetition after a warm-up." in result.out


def test_training(my_llm, source):
    """Against a count made by hand: 2 layers, width 24, feed-forward 96, 101 ids; backward is twice forward."""
    model = source / "tests" / "fixtures" / "models" / "openai"
    result = my_llm("bench", "--quick", "--train", "--json", model, env={"MY_LLM_THREADS": "1"})
    assert result.code == 0, result
    [row] = json.loads(result.out)["results"]
    assert (row["test"], row["n_tokens"], row["depth"], row["batch"]) == ("train", 16, 0, 4)
    products = 2 * 2 * (3 * 24 * 24 + 24 * 24 + 2 * 24 * 96) + 2 * 24 * 101
    flops = 3 * (products + 2 * 4 * 24 * (16 + 1) / 2)
    assert row["flops_per_second"] / row["tokens_per_second"]["mean"] == pytest.approx(flops, rel=1e-4)
    result = my_llm("bench", "--train", "-r", "2", model, env={"MY_LLM_THREADS": "2"})
    assert result.code == 0, result
    rows = re.findall(r"^\| train (\d+), \d+\.\d{3} s a step \| (\d+) \|.*\| – \| – \|", result.out, re.MULTILINE)
    assert rows == [("64", "4")]  # as far as the context goes
    result = my_llm("bench", "--train", "-r", "1", "--batch-size", "3", "--tokens", "20", "--json", model)
    [row] = json.loads(result.out)["results"]
    assert (row["n_tokens"], row["batch"]) == (20, 3)


def test_tokenizer(my_llm, source, tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(b"Some words, and some more of them.\n" * 30000)
    result = my_llm("bench", "--tokenizer", text, "-r", "2", "-t", "3", "--json")
    assert result.code == 0, result
    report = json.loads(result.out)
    assert report["bytes"] == text.stat().st_size
    assert [row["n_threads"] for row in report["results"]] == [1, 3]
    assert all(row[which]["mean"] > 0 for row in report["results"] for which in ("first_mb_per_second", "known_mb_per_second"))
    result = my_llm("bench", "--tokenizer", text, "-r", "1", "-t", "1", "bundled")
    assert re.search(r"^\| 1 thread \| \d+\.\d ± 0\.0 \| \d+\.\d ± 0\.0 \|$", result.out, re.MULTILINE), result
    result = my_llm("bench", "--tokenizer", text, "-r", "1", "-t", "2", "--csv")
    assert [row["threads"] for row in csv.DictReader(io.StringIO(result.out))] == ["1", "2"]


def test_quantized(my_llm):
    reports = {}
    for bits in ("none", "q8", "q4", "bf16"):
        result = my_llm("bench", "--quick", "--json", "--quantize", bits, "bundled")
        assert result.code == 0, result
        reports[bits] = json.loads(result.out)["model"]
    assert [reports[bits]["memory_dtype"] for bits in reports] == ["F32", "Q8_0", "Q4_0", "BF16"]
    assert {report["dtype"] for report in reports.values()} == {"F32"}  # of the file
    step = {bits: report["bytes_step"] for bits, report in reports.items()}
    linear, head = 12 * 6 * 256 * 256, 4096 * 256
    vectors = 4 * (6 * 13 * 256 + 2 * 256)
    assert step["none"] == 4 * (linear + head) + vectors
    assert step["q8"] == (linear + head) * 34 // 32 + vectors
    assert step["q4"] == linear * 18 // 32 + head * 34 // 32 + vectors
    assert step["bf16"] == 2 * (linear + head) + vectors


def has_bf16():
    return "avx512_bf16" in Path("/proc/cpuinfo").read_text()


def test_compute(my_llm):
    """Prompts in BF16 products where the processor has them, and a sentence where it has not."""
    result = my_llm("bench", "--quick", "--json", "--compute", "bf16", "bundled")
    if has_bf16():
        assert result.code == 0 and json.loads(result.out)["model"]["compute"] == "BF16", result
    else:
        assert result.code == 1 and "this processor has no instructions for BF16 products" in result.err, result
    plain = my_llm("bench", "--quick", "--json", "bundled")
    assert json.loads(plain.out)["model"]["compute"] == "F32"


@pytest.mark.parametrize("args, sentence", [
    (["--tokenizer", "text.txt", "--train"], "--tokenizer goes without --train and --synthetic"),
    (["--batch-size", "2", "bundled"], "--batch-size is for --train"),
    (["--train", "--tokens", "2", "bundled"], "--tokens goes with --batch-size"),
    (["--synthetic", "124M", "bundled"], "MODEL, --model and --synthetic exclude each other"),
    (["-m", "gpt2", "bundled"], "MODEL, --model and --synthetic exclude each other"),
    (["--train", "--quantize", "q8", "bundled"], "--quantize and --train exclude each other: training needs F32"),
    (["--tokenizer", "text.txt", "--quantize", "q8"], "it goes without --quantize and --compute"),
    (["--tokenizer", "text.txt", "--compute", "bf16"], "it goes without --quantize and --compute"),
    (["--csv", "--json"], "--csv and --json exclude each other"),
    (["--synthetic", "125M"], "125M"),
    (["--repetitions", "0"], "repetitions"),
])
def test_wrong_usage(my_llm, args, sentence):
    result = my_llm("bench", *args)
    assert result.code == 2
    assert sentence in result.err and result.out == ""


@pytest.mark.parametrize("content", [None, b""])
def test_no_text(my_llm, tmp_path, content):
    if content is not None:
        (tmp_path / "nothing").write_bytes(content)
    result = my_llm("bench", "--tokenizer", tmp_path / "nothing")
    assert result.code == 1 and result.out == ""
    assert "nothing" in result.err and len(result.err.splitlines()) == 1


def test_no_such_model(my_llm, tmp_path):
    result = my_llm("bench", tmp_path / "nothing")
    assert result.code == 1
    assert "nothing" in result.err and result.out == ""
