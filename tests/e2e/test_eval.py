"""`my-llm eval` against transformers' losses, and what it refuses."""

import gzip
import json
import lzma
import re
import subprocess
from pathlib import Path

import pytest

from conftest import STARTER


@pytest.fixture
def cases(source):
    """The sequences as lines of ids, and [(model, window, stride, tokens, loss, error)]."""
    lines = (source / "tests" / "fixtures" / "infer" / "evaluate.txt").read_text().splitlines()
    n = int(lines[0].split()[1])
    ids = "".join(" ".join(line.split()[1:]) + "\n" for line in lines[1 : n + 1])
    rows = [line.split() for line in lines[n + 1 :]]
    return ids, [(r[0], int(r[1]), int(r[2]), int(r[3]), float(r[4]), float(r[5])) for r in rows]


def test_losses_are_those_of_transformers(my_llm, models, cases):
    ids, rows = cases
    for name, window, stride, tokens, loss, error in rows:
        args = ["eval", models / name, "--ids", "-", "--json", "--window", window, "--stride", stride]
        result = my_llm(*args, input=ids)
        assert result.code == 0, result
        answer = json.loads(result.out)
        assert answer["tokens"] == tokens
        assert answer["loss"] == pytest.approx(loss, rel=5e-6)
        assert answer["loss_error"] == pytest.approx(error, rel=5e-5)
        assert answer["perplexity"] == pytest.approx(2.718281828459045 ** answer["loss"], rel=1e-6)
        assert answer["perplexity_error"] == pytest.approx(answer["perplexity"] * answer["loss_error"], rel=1e-6)


def test_window_and_stride_default_to_the_context(my_llm, models, cases):
    ids, rows = cases
    plain = json.loads(my_llm("eval", "-m", models / "prefix", "--ids", "-", "--json", input=ids).out)
    assert plain["loss"] == pytest.approx(rows[0][4], rel=5e-6)  # 64, 64


def test_text_of_a_file_and_of_standard_input(my_llm, tmp_path):
    text = "Once upon a time there was a king who had three sons. " * 3
    file = tmp_path / "text.txt"
    file.write_text(text)
    result = my_llm("eval", "bundled", file)
    assert result.code == 0
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines] == ["cross-entropy", "perplexity", "tokens"]
    assert all(" \u00b1 " in line for line in lines[:2])
    assert my_llm("eval", "-m", "bundled", "-", input=text).out == result.out
    assert my_llm("eval", file).out == result.out  # no model named: the bundled one here
    assert 1 < float(lines[1].split()[1]) < 500


@pytest.mark.parametrize("ending, compress", [("gz", gzip.compress), ("xz", lzma.compress)])
def test_compressed_text_is_unpacked(my_llm, tmp_path, ending, compress):
    """As pretrain and tokenize --train do: what is scored is the text, not the archive's bytes."""
    text = b"".join(b"Line %d of %d: once upon a time there was a king.\n" % (i, i * i) for i in range(40))
    plain, packed = tmp_path / "text.txt", tmp_path / f"text.txt.{ending}"
    plain.write_bytes(text)
    packed.write_bytes(compress(text))
    wanted = my_llm("eval", "bundled", plain).out
    assert wanted != ""
    assert my_llm("eval", "bundled", packed).out == wanted
    assert my_llm("eval", "bundled", "-", input=packed.read_bytes()).out == wanted
    packed.write_bytes(compress(text)[:-20])
    result = my_llm("eval", "bundled", packed)
    assert (result.code, result.out) == (1, "")
    assert f"{packed}: ends after {packed.stat().st_size} bytes in the middle of its compressed data" in result.err
    packed.write_bytes(text)
    result = my_llm("eval", "bundled", packed)
    assert result.code == 1 and f"{packed}: does not begin as .{ending} data does" in result.err


def test_end_of_text_is_text_unless_allowed(my_llm):
    text = "Once upon a time there was a king.<|endoftext|>It was a dark night."
    as_text = json.loads(my_llm("eval", "bundled", "-", "--json", input=text).out)
    special = json.loads(my_llm("eval", "bundled", "-", "--json", "--allow-special", input=text).out)
    assert special["tokens"] < as_text["tokens"]
    ids = my_llm("tokenize", "-m", "bundled", "--allow-special", input=text).out
    by_ids = json.loads(my_llm("eval", "bundled", "-", "--json", "--ids", input=ids).out)
    assert (special["tokens"], special["loss"]) == (by_ids["tokens"], by_ids["loss"])


def test_what_makes_no_sense_is_refused(my_llm, models):
    model = models / "prefix"
    nothing = "there is no token to predict: a sequence of at least two is needed"
    cases = [
        (["--ids", "-"], "", f"standard input: {nothing}"),
        (["--ids", "-"], "5\n\n7\n", f"standard input: {nothing}"),
        (["--ids", "-"], "1 2\n3 x\n", "standard input: line 2: 'x' is not an id; decimal numbers were expected"),
        (["--ids", "-"], "1 2 101", "standard input: id 101 at place 2 of a sequence is not one of the model's, 0 to 100"),
        (["-"], "Hello", "standard input: the model has no vocabulary, so it cannot read text; give its ids with --ids"),
        (["/no/such/file"], "", "/no/such/file: cannot open this file: No such file or directory"),
    ]
    for args, text, sentence in cases:
        result = my_llm("eval", model, *args, input=text)
        assert (result.code, result.out) == (1, ""), result
        assert result.err == f"my-llm: {sentence}\n"
    for args, sentence in (
        (["--window", "65"], "window is 65, 1 to the model's context of 64 tokens was expected"),
        (["--window", "8", "--stride", "9"], "stride is 9, 1 to the window of 8 tokens was expected"),
    ):
        result = my_llm("eval", model, "--ids", "-", *args, input="1 2 3")
        assert result.code == 1 and sentence in result.err


def test_a_number_of_threads_that_is_none(my_llm):
    """Refused as a wrong MY_LLM_ISA is, unless --threads says it."""
    for value in ("abc", "0", "5000"):
        env = {"MY_LLM_THREADS": value}
        result = my_llm("eval", "bundled", "-", input="Once upon a time", env=env)
        assert (result.code, result.err) == (
            1, f"my-llm: MY_LLM_THREADS is '{value}'; a number from 1 to 1024 was expected\n")
        assert my_llm("eval", "bundled", "-", "--threads", 1, input="Once upon a time", env=env).code == 0


def test_wrong_usage(my_llm):
    assert my_llm("eval").code == 2
    result = my_llm("eval", "-m", "bundled", "gpt2", "text.txt")
    assert result.code == 2 and "the model is given twice: --model bundled and gpt2" in result.err
    result = my_llm("eval", "--ids", "--allow-special", "x")
    assert result.code == 2 and "--allow-special is about text; it does not go with --ids" in result.err
    result = my_llm("eval", "--window", "0", "x")
    assert result.code == 2 and '--window is "0", a whole number from 1' in result.err


def test_progress_bar_at_a_terminal(terminal, tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("The little boy went home and told his mother. " * 60)
    person = terminal("eval", "bundled", file)
    person.expect(r"evaluating \[#+\.*\].*perplexity +\d")
    assert person.wait() == 0


def test_quantized_weights(my_llm):
    """Fewer bits cost little, and the same on every level of kernels."""
    text = (STARTER / "README.md").read_text()

    def perplexity(bits, isa="auto"):
        result = my_llm("eval", "bundled", "-", "--json", "--quantize", bits, input=text, env={"MY_LLM_ISA": isa})
        assert result.code == 0, result
        return json.loads(result.out)["perplexity"]

    plain = perplexity("none")
    assert perplexity("bf16") == pytest.approx(plain, rel=2e-3)
    for bits, near in (("q8", 5e-3), ("q4", 0.1)):
        wanted = perplexity(bits)
        assert wanted != plain
        assert wanted == pytest.approx(plain, rel=near)
        for isa in ("baseline", "avx2"):
            assert perplexity(bits, isa) == pytest.approx(wanted, rel=1e-3)


def test_compute(my_llm):
    """Rounding the operands of large products changes the last digits, and one token at a time is exact."""
    env = {"MY_LLM_ISA": "avx2"}
    refused = my_llm("eval", "bundled", "-", "--compute", "bf16", input="a", env=env)
    assert refused.code == 1 and "BF16 products" in refused.err
    if "avx512_bf16" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX512_BF16")
    env["MY_LLM_ISA"] = "auto"
    text = (STARTER / "README.md").read_text()
    plain, rounded = (json.loads(my_llm("eval", "bundled", "-", "--json", "--compute", how, input=text, env=env).out)
                      for how in ("f32", "bf16"))
    assert rounded["perplexity"] != plain["perplexity"]
    assert rounded["perplexity"] == pytest.approx(plain["perplexity"], rel=2e-3)
    words = ["generate", "-m", "bundled", "The king", "-n", 20]  # two tokens of prompt: nothing large
    assert my_llm(*words, "--compute", "bf16", env=env).out == my_llm(*words, env=env).out


def test_widths_that_are_not_whole_blocks_are_refused(my_llm, models):
    result = my_llm("eval", models / "prefix", "--ids", "-", "--quantize", "q8", input="1 2 3")
    assert result.code == 1
    assert "n_embd is 24, but Q8_0 stores blocks of 32 numbers, so a multiple of 32 was expected" in result.err
    assert my_llm("eval", models / "prefix", "--ids", "-", "--quantize", "bf16", input="1 2 3").code == 0


def test_quantized_weights_take_the_place_of_the_files(program, env, sanitized):
    """At no time are both in memory, or `--quantize` would cost what it is to spare."""
    if sanitized:
        pytest.skip("sanitizers take memory of their own")
    peaks = {}
    for bits in ("none", "q4"):
        words = [program, "generate", "-m", "bundled", "-n", "1000000", "--ignore-eos", "--quantize", bits, "Once upon"]
        with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            process.stdout.read(40)  # more than the prompt: all weights have been used
            status = Path(f"/proc/{process.pid}/status").read_text()
            process.kill()
        peaks[bits] = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    spared = (STARTER / "model.safetensors").stat().st_size * (1 - 5 / 32)  # 4.5 bits a number, 8.5 in the embedding
    assert peaks["none"] - peaks["q4"] > spared / 2
