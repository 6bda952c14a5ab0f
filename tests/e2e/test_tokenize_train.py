"""my-llm tokenize --train, on the built program: the files it writes and what it refuses."""

import gzip
import json
import lzma

import pytest


@pytest.fixture
def fixtures(source):
    return source / "tests" / "fixtures" / "bpe"


def learn(my_llm, out, *files, size=900, more=(), **run):
    return my_llm("tokenize", "--train", *files, "--vocab-size", size, "--out", out, *more, **run)


def merges_of(folder):
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    assert lines[0].startswith("#version") and lines[-1] == ""
    return lines[1:-1]


def expected(fixtures, name):
    return (fixtures / f"{name}.merges").read_text(encoding="utf-8").split("\n")[1:-1]


def test_merges_are_those_of_tokenizers(my_llm, fixtures, tmp_path):
    result = learn(my_llm, tmp_path / "out", fixtures / "prose.txt")
    assert result.code == 0 and result.out == "", result
    assert result.err.endswith(f"my-llm: {tmp_path / 'out'}: a vocabulary of 900 ids\n")
    assert merges_of(tmp_path / "out") == expected(fixtures, "prose")
    vocab = json.loads((tmp_path / "out" / "vocab.json").read_text(encoding="utf-8"))
    assert len(vocab) == 900 and vocab["<|endoftext|>"] == 899 and vocab["!"] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["merges.txt", "tokenizer.json", "vocab.json"]


def test_files_of_every_kind_and_folders(my_llm, fixtures, tmp_path):
    """Two compressed files and a folder: the same documents as one file with marks between."""
    text = (fixtures / "prose.txt").read_bytes()
    documents = text.split(b"<|endoftext|>")
    third = len(documents) // 3
    parts = [b"<|endoftext|>".join(part) for part in (documents[:third], documents[third : 2 * third], documents[2 * third :])]
    (tmp_path / "a.xz").write_bytes(lzma.compress(parts[0]))
    (tmp_path / "b.gz").write_bytes(gzip.compress(parts[1]))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "c.txt").write_bytes(parts[2])
    files = [tmp_path / "folder", tmp_path / "a.xz", tmp_path / "b.gz"]
    for threads in (1, 2):
        result = learn(my_llm, tmp_path / "out", *files, more=["--threads", threads, "--force"])
        assert result.code == 0, result
        assert merges_of(tmp_path / "out") == expected(fixtures, "prose")


def test_the_vocabulary_can_be_used(my_llm, fixtures, tmp_path):
    assert learn(my_llm, tmp_path / "out", fixtures / "prose.txt").code == 0
    text = (fixtures / "unicode.txt").read_bytes() + b"<|endoftext|>"
    ids = my_llm("tokenize", "-m", tmp_path / "out", "--allow-special", input=text)
    assert ids.code == 0 and ids.out.split()[-1] == "899"
    assert my_llm("tokenize", "-m", tmp_path / "out", "--decode", input=ids.raw).raw == text


def test_a_text_with_few_words(my_llm, fixtures, tmp_path):
    result = learn(my_llm, tmp_path / "out", fixtures / "tiny.txt", size=8192)
    assert result.code == 0
    assert "my-llm: no pair of tokens is left to join after 261 ids, fewer than the 8192 asked for\n" in result.err
    assert merges_of(tmp_path / "out") == expected(fixtures, "tiny")


def test_least_frequency(my_llm, fixtures, tmp_path):
    result = learn(my_llm, tmp_path / "out", fixtures / "frequent.txt", size=2000, more=["--min-frequency", 5])
    assert result.code == 0
    assert merges_of(tmp_path / "out") == expected(fixtures, "frequent")
    n = 257 + len(expected(fixtures, "frequent"))
    assert (f"my-llm: no pair of tokens that is left occurs 5 times, as --min-frequency asks, after {n} ids, fewer than "
            "the 2000 asked for\n") in result.err


def test_a_place_that_cannot_be_written_is_known_at_once(my_llm, fixtures, tmp_path):
    """Before the texts are read: the one that is not there is not missed."""
    for out in (tmp_path / "nowhere" / "out", "/proc/out"):
        result = learn(my_llm, out, fixtures / "prose.txt", tmp_path / "no-such.txt")
        assert result.code == 1 and f"{out}: cannot create a directory here" in result.err, result


def test_what_is_there_stays(my_llm, fixtures, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    result = learn(my_llm, out, fixtures / "prose.txt")
    assert (result.code, result.err) == (1, f"my-llm: {out}: is there already; --force replaces it\n")
    result = learn(my_llm, out, fixtures / "prose.txt", more=["--force"])
    assert (result.code, result.err) == (
        1, f"my-llm: {out}: holds mine, which is no part of a vocabulary, so it is not replaced\n")
    assert [path.name for path in out.iterdir()] == ["mine"]
    (out / "mine").rename(out / "merges.txt")
    bad = tmp_path / "bad.xz"
    bad.write_bytes(lzma.compress(b"text " * 1000)[:-20])
    result = learn(my_llm, out, fixtures / "prose.txt", bad, more=["--force"])
    size = len(bad.read_bytes())
    assert result.code == 1
    assert result.err.endswith(f"my-llm: {bad}: ends after {size} bytes in the middle of its compressed data\n")
    assert [path.name for path in out.iterdir()] == ["merges.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.xz", "home", "out"]
    assert learn(my_llm, out, fixtures / "prose.txt", more=["--force"]).code == 0
    assert (out / "merges.txt").read_text() != "mine"
    (out / "vocab.json").unlink()
    (out / "vocab.json").mkdir()
    assert learn(my_llm, out, fixtures / "prose.txt", more=["--force"]).code == 1


@pytest.mark.parametrize("byte", [b"a", b" "])
def test_a_stretch_without_a_place_to_cut(my_llm, fixtures, tmp_path, byte):
    """A few kB of .xz may hold any amount of one word: it is refused in time, and a long word of a true text is not."""
    text = (fixtures / "prose.txt").read_bytes()
    long = tmp_path / "long.xz"
    long.write_bytes(lzma.compress(text + byte * (70 << 20), preset=0))
    result = learn(my_llm, tmp_path / "out", long)
    sentence = "has more than 67108864 bytes on end in which no white space follows a word; is it text? Break it into lines"
    assert result.code == 1 and result.err.endswith(f"my-llm: {long}: {sentence}\n")
    assert not (tmp_path / "out").exists()
    long.write_bytes(lzma.compress((byte * (3 << 20) + b" x\n") * 8 + text, preset=0))
    result = learn(my_llm, tmp_path / "out", long, size=300, more=["--threads", 1])
    assert result.code == 0, result


def test_missing_files(my_llm, fixtures, tmp_path):
    result = learn(my_llm, tmp_path / "out", fixtures / "prose.txt", "no-such.txt", cwd=tmp_path)
    assert (result.code, result.err) == (1, "my-llm: no-such.txt: cannot open this file: No such file or directory\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "args, sentence",
    [
        (["--train", "--out", "x"], "--train needs at least one FILE or folder"),
        (["--train", "a.txt"], "--train needs --out DIR"),
        (["--out", "x", "a.txt"], "--out needs --train"),
        (["--train", "a.txt", "--out", "x", "--decode"], "--train learns a vocabulary; it does not go with options that use one"),
        (["--train", "a.txt", "--out", "x", "-m", "gpt2"], "--train learns a vocabulary; it does not go with options that use one"),
        (["a.txt", "b.txt"], "only --train takes several files"),
    ],
)  # fmt: skip
def test_wrong_usage(my_llm, tmp_path, args, sentence):
    result = my_llm("tokenize", *args, cwd=tmp_path)
    assert result.code == 2
    assert result.err == f"my-llm tokenize: {sentence}\n'my-llm help tokenize' tells more.\n"


@pytest.mark.parametrize("size", [256, 0, -5, 3000000])
def test_wrong_sizes(my_llm, fixtures, tmp_path, size):
    result = my_llm("tokenize", "--train", fixtures / "tiny.txt", f"--vocab-size={size}", "--out", tmp_path / "out")
    assert result.code == 2 and "--vocab-size" in result.err and "257" in result.err
