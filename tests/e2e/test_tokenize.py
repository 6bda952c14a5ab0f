"""`my-llm tokenize` as a person runs it: text to ids and back, in every format, and what it says when it cannot."""

import gzip
import json
import lzma
import os
import struct
import subprocess

import pytest

EOT = "<|endoftext|>"


@pytest.fixture
def small(source):
    """A model directory with a vocabulary of 320 tokens and nothing else."""
    return source / "tests/fixtures/tokenizer/small"


@pytest.fixture
def big(tmp_path, small):
    """A vocabulary of more than 65,536 tokens: the small one and many words that no merge makes."""
    vocab = json.loads((small / "vocab.json").read_text(encoding="utf-8"))
    for i in range(70000):
        vocab[f"word{i}"] = len(vocab)
    folder = tmp_path / "big"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder / "merges.txt").write_text((small / "merges.txt").read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def test_ids_on_one_line(my_llm):
    result = my_llm("tokenize", input="Hello world")
    assert (result.code, result.out, result.err) == (0, "15496 995\n", "")


def test_nothing_gives_an_empty_line(my_llm):
    assert my_llm("tokenize").out == "\n"
    assert my_llm("tokenize", "--format", "u16").raw == b""
    assert my_llm("tokenize", "--count").out == "0\n"
    assert my_llm("tokenize", "--decode").raw == b""


def test_file_operand(my_llm, tmp_path):
    (tmp_path / "text").write_text("Hello world")
    assert my_llm("tokenize", tmp_path / "text").out == "15496 995\n"
    assert my_llm("tokenize", "-", input="Hello world").out == "15496 995\n"
    assert my_llm("tokenize", "--count", tmp_path / "text").out == "2\n"


@pytest.mark.parametrize("ending, compress", [("gz", gzip.compress), ("xz", lzma.compress)])
def test_compressed_text_is_unpacked(my_llm, tmp_path, ending, compress):
    text = b"".join(b"%d words, and %d more\n" % (i, i * i) for i in range(1000))
    packed = tmp_path / f"text.{ending}"
    packed.write_bytes(compress(text))
    wanted = my_llm("tokenize", input=text).out
    assert my_llm("tokenize", packed).out == wanted
    assert my_llm("tokenize", input=packed.read_bytes()).out == wanted
    packed.write_bytes(compress(text)[:-20])
    result = my_llm("tokenize", "--count", packed)
    assert (result.code, result.out) == (1, "")
    assert f"{packed}: ends after {packed.stat().st_size} bytes in the middle of its compressed data" in result.err
    # Raw ids may begin with any bytes: 0x8b1f is one.
    assert my_llm("tokenize", "--decode", "--format", "u16", input=b"\x1f\x8b").raw == \
        my_llm("tokenize", "--decode", input="35615").raw


def test_raw_formats_are_little_endian(my_llm):
    assert my_llm("tokenize", "--format", "u16", input="Hello world").raw == struct.pack("<2H", 15496, 995)
    assert my_llm("tokenize", "--format=u32", input="Hello world").raw == struct.pack("<2I", 15496, 995)


@pytest.mark.parametrize("name", ["text", "u16", "u32"])
def test_any_bytes_come_back(my_llm, name):
    data = bytes(range(256)) * 300 + b"\xff\xfe \xe2\x80 's\r\n\0" + " naïve 🙂 中文\n".encode() + b"a" * 5000
    encoded = my_llm("tokenize", "--format", name, input=data)
    assert encoded.code == 0
    assert my_llm("tokenize", "--decode", "--format", name, input=encoded.raw).raw == data


def test_end_of_text_is_text_unless_allowed(my_llm):
    assert my_llm("tokenize", input=f"a{EOT}b").out == "64 27 91 437 1659 5239 91 29 65\n"
    assert my_llm("tokenize", "--allow-special", input=f"a{EOT}b").out == "64 50256 65\n"
    assert my_llm("tokenize", "--decode", input="64 50256 65").out == f"a{EOT}b"


def test_model_of_ones_own(my_llm, small):
    assert my_llm("tokenize", "-m", small, "--allow-special", input=f"!{EOT}").out == "1 0\n"
    assert my_llm("tokenize", "--model", small, "--decode", input="1 0").out == f"!{EOT}"


def test_names_of_openais_models_need_no_download(my_llm, tmp_path):
    """Their vocabulary is built in; but a vocabulary that lies there under such a name goes before it."""
    mirror = {"MY_LLM_MIRROR": f"file://{tmp_path}/none"}  # nothing may be asked of it
    for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"):
        result = my_llm("tokenize", "-m", name, input="Hello world", env=mirror, cwd=tmp_path)
        assert (result.code, result.out, result.err) == (0, "15496 995\n", "")
    (tmp_path / "gpt2").mkdir()
    assert my_llm("tokenize", "-m", "gpt2", input="Hello", env=mirror, cwd=tmp_path).out == "15496\n"
    text = tmp_path / "text.txt"
    text.write_text("a b c d a b")
    assert my_llm("tokenize", "--train", text, "--vocab-size", 258, "--out", "gpt2", "--force", cwd=tmp_path).code == 0
    assert my_llm("tokenize", "-m", "gpt2", input="a b", env=mirror, cwd=tmp_path).out == "64 256\n"


def test_blocks_give_the_ids_of_the_whole(my_llm):
    """20 MB in blocks of 8 MB; the period of the text has nothing to do with their size."""
    line = "The quick brown fox's 1,234 naïve jumps,  over\tthe lazy dog!\n"
    per_line = [int(i) for i in my_llm("tokenize", input=line).out.split()]
    n = 20_000_000 // len(line.encode())
    result = my_llm("tokenize", "--format", "u16", input=line * n)
    assert result.raw == struct.pack(f"<{len(per_line)}H", *per_line) * n


def test_text_without_a_place_to_cut(my_llm):
    """A single stretch longer than a block."""
    result = my_llm("tokenize", "--format", "u16", input=b" " * 9_000_000 + b"x")
    assert result.code == 0
    assert result.raw == struct.pack("<H", 220) * 8_999_999 + struct.pack("<H", 2124)


def test_words_cut_by_reads(build, env):
    """Ids that arrive in pieces."""
    process = subprocess.Popen([build / "my-llm", "tokenize", "--decode"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
    for part in (b"1549", b"6 9", b"95\n", b"\n 0"):
        process.stdin.write(part)
        process.stdin.flush()
    assert process.communicate()[0] == b"Hello world!"


@pytest.mark.parametrize(
    "args, data, sentence",
    [
        ([], b"15496 x", "standard input: at byte 6: decimal ids with spaces between were expected"),
        ([], b"-1", "standard input: at byte 0: decimal ids with spaces between were expected"),
        ([], b"1,2", "standard input: at byte 0: decimal ids with spaces between were expected"),
        ([], b"12345678901", "standard input: at byte 0: decimal ids with spaces between were expected"),
        ([], b"1" * 100_000, "standard input: at byte 0: decimal ids with spaces between were expected"),
        ([], b"1 50257", "standard input: there is no token 50257: ids run from 0 to 50256"),
        ([], b"9999999999", "standard input: there is no token 9999999999: ids run from 0 to 50256"),
        (["--format", "u16"], b"\0\0\0", "standard input: has 3 bytes, a multiple of 2 was expected (--format u16)"),
        (["--format", "u32"], b"\0" * 6, "standard input: has 6 bytes, a multiple of 4 was expected (--format u32)"),
        (["--format", "u16"], b"\xff\xff", "standard input: there is no token 65535: ids run from 0 to 50256"),
        (["--format", "u32"], b"\xff" * 4, "standard input: there is no token 4294967295: ids run from 0 to 50256"),
    ],
)  # fmt: skip
def test_ids_that_are_none(my_llm, args, data, sentence):
    result = my_llm("tokenize", "--decode", *args, input=data)
    assert (result.code, result.err) == (1, f"my-llm: {sentence}\n")


def test_ids_that_16_bits_do_not_hold(my_llm, big):
    assert my_llm("tokenize", "-m", big, "--decode", "--format", "u32", input=struct.pack("<I", 70319)).out == "word69999"
    result = my_llm("tokenize", "-m", big, "--format", "u16", input="a")
    assert result.code == 1
    assert result.err == "my-llm: ids of this vocabulary go up to 70319, which 16 bits do not hold: use --format u32\n"


def test_files_that_cannot_be_read(my_llm, tmp_path):
    result = my_llm("tokenize", tmp_path / "none")
    assert (result.code, result.out) == (1, "")
    assert result.err == f"my-llm: {tmp_path}/none: cannot open this file: No such file or directory\n"
    result = my_llm("tokenize", tmp_path)
    assert (result.code, result.err) == (1, f"my-llm: {tmp_path}: cannot read: Is a directory\n")
    result = my_llm("tokenize", "-m", tmp_path, input="a")
    assert result.code == 1
    assert "no vocabulary" in result.err and str(tmp_path) in result.err


@pytest.mark.parametrize(
    "args", [["--decode", "--count"], ["--decode", "--allow-special"], ["--format", "u8"], ["a", "b"], ["--no-such"]]
)
def test_wrong_usage(my_llm, args):
    result = my_llm("tokenize", *args)
    assert result.code == 2
    assert result.err.startswith("my-llm tokenize: ") and result.out == ""


@pytest.mark.parametrize("option", [["--out", "x"], ["--vocab-size", "300"], ["--min-frequency", "2"], ["--force"]])
def test_options_for_training_are_for_nothing_else(my_llm, option):
    result = my_llm("tokenize", *option, input="Hello")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"my-llm tokenize: {option[0]} needs --train\n")


@pytest.mark.parametrize("size", [10, 1_000_000])
@pytest.mark.parametrize("more", [[], ["--format", "u32"], ["--count"]])
def test_full_disk(build, env, size, more):
    with open("/dev/full", "wb") as full:
        process = subprocess.run(
            [build / "my-llm", "tokenize", *more], input=b"some words " * size, stdout=full, stderr=subprocess.PIPE, env=env
        )
    assert process.returncode == 1
    assert process.stderr == b"my-llm: cannot write standard output: No space left on device\n"


def test_closed_stdout(build, env):
    process = subprocess.run(
        [build / "my-llm", "tokenize"], input=b"a", stderr=subprocess.PIPE, env=env, preexec_fn=lambda: os.close(1)
    )
    assert process.returncode == 1
    assert process.stderr == b"my-llm: cannot write standard output: Bad file descriptor\n"


def test_a_reader_that_leaves_ends_it_quietly(build, env):
    process = subprocess.run(
        ["bash", "-c", f"yes 'some words' | '{build}/my-llm' tokenize | head -c 20; echo \" ${{PIPESTATUS[1]}}\""],
        capture_output=True, env=env, timeout=60,
    )  # fmt: skip
    assert process.stdout.startswith(b"11246 2456 198 11246")
    assert process.stdout.endswith(b" 141\n")  # SIGPIPE, as of any filter
    assert process.stderr == b""
