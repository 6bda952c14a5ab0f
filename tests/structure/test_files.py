"""What every file of the checkout keeps to."""

import re
import subprocess

import pytest

# Longer than about 500 lines is asking to be two files; a test may take a little more. Those that are longer still, and
# why they stay one:
MOST_LINES = 550
MOST_LINES_OF_TESTS = 600
LONG_FILES = {
    "include/my_llm.h": "the public interface on one page",
}
GENERATED = {"src/tokenizer/unicode_classes.c"}  # tables written by a program under tools/


@pytest.fixture(scope="module")
def tracked(source):
    try:
        listing = subprocess.check_output(["git", "ls-files", "-z"], cwd=source, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [source / name for name in listing.decode().split("\0") if name]


def c_files(source, tracked):
    return [path for path in tracked if path.suffix in (".c", ".h")]


def test_no_file_of_c_is_too_long(source, tracked):
    long = {}
    for path in c_files(source, tracked):
        name = str(path.relative_to(source))
        lines = path.read_text().count("\n")
        most = MOST_LINES_OF_TESTS if name.startswith("tests/") else MOST_LINES
        if lines > most and name not in LONG_FILES and name not in GENERATED:
            long[name] = lines
    assert long == {}


def test_every_file_of_c_says_what_it_is(source, tracked):
    """The first line is "// name: what it is" and the layer's or the reader's reason follows."""
    silent = [
        str(path.relative_to(source))
        for path in c_files(source, tracked)
        if not path.read_text().startswith(f"// {path.name}: ")
    ]
    assert silent == []


def test_nothing_is_left_for_later(source, tracked):
    marks = re.compile(rb"\b(TO" + rb"DO|FIX" + rb"ME|X" + rb"XX|HA" + rb"CK)\b")
    found = []
    for path in tracked:
        if path.suffix not in (".c", ".h", ".py", ".sh", ".md", ".txt", ".cmake", ".json", ".yml") and path.name != "Makefile":
            continue
        if "fixtures" in path.parts or "corpus" in path.parts or "bad" in path.parts or "models" in path.parts:
            continue
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if marks.search(line):
                found.append(f"{path.relative_to(source)}:{number}")
    assert found == []


def test_no_private_path_is_in_the_checkout(source, tracked):
    """Nobody's home, no folder of the machine it was written on."""
    private = re.compile(rb"(?<!\w)/(home|root|work|Users)/(?!me\b)[A-Za-z0-9]")
    found = []
    for path in tracked:
        if path.suffix in (".c", ".h", ".py", ".sh", ".md", ".txt", ".cmake", ".json") or path.name in ("Makefile", "run"):
            for number, line in enumerate(path.read_bytes().splitlines(), 1):
                if private.search(line):
                    found.append(f"{path.relative_to(source)}:{number}")
    assert found == []


def test_no_large_file_is_in_the_checkout(source, tracked):
    large = {
        str(path.relative_to(source)): path.stat().st_size
        for path in tracked
        if path.is_file() and path.stat().st_size > 1_000_000 and not {"models", "starter"} & set(path.parts)
    }
    assert large == {}


def test_every_command_has_its_row(source):
    """A command that is written is in the table."""
    rows = set(re.findall(r"&command_(\w+)\b", (source / "src/cli/commands.c").read_text()))
    written = set()
    for path in (source / "src/cli").glob("*.c"):
        written |= set(re.findall(r"^const struct command command_(\w+) = ", path.read_text(), re.MULTILINE))
    declared = set(re.findall(r"command_(\w+);", (source / "src/cli/command.h").read_text()))
    assert rows == written and rows <= declared


def test_every_fault_symbol_has_its_stand_in(source):
    text = (source / "tests/fault/symbols.txt").read_text()
    names = [line for line in text.splitlines() if line and not line.startswith("#")]
    code = (source / "tests/fault/fault.c").read_text()
    assert [name for name in names if not re.search(rf"\bfault_{name}\(", code)] == []
