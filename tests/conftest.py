"""What all pytest tests share: the built program, run as a person runs it, at a pipe or at a terminal.

The program is build/my-llm, or that of the folder named in $MY_LLM_BUILD (a sanitizer's build). It gets a
home of its own, so that what the tester has downloaded changes nothing, and no other MY_LLM_ variables.
"""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("MY_LLM_BUILD", SOURCE / "build")).resolve()
PROGRAM = BUILD / "my-llm"


def pytest_configure():
    if not PROGRAM.exists():
        pytest.exit(f"{PROGRAM} is not there: build it first (make)", returncode=2)


@pytest.fixture(scope="session")
def source():
    """The checkout."""
    return SOURCE


@pytest.fixture(scope="session")
def build():
    """The folder that the program and the libraries were built in."""
    return BUILD


@pytest.fixture(scope="session")
def program():
    """Path of my-llm, for tests that run it in ways of their own."""
    return PROGRAM


@pytest.fixture(scope="session")
def models(source):
    """The folder of small models that tests share."""
    return source / "tests" / "fixtures" / "models"


# The model that tests generate with, evaluate and tune, "bundled" for them: the one that my-llm came with at first. The
# numbers of PyTorch's in fixtures are its; what comes with my-llm now may be exchanged (test_bundled.py).
STARTER = SOURCE / "tests" / "fixtures" / "starter"


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """A model that is quick to tune: the starter's vocabulary and context, 3 layers, 64 wide, barely trained."""
    folder = tmp_path_factory.mktemp("toy")
    words = "the rain and the sun, a soup with bread, the boss at a desk. It is red, blue, warm, cold, old, new and big."
    (folder / "text.txt").write_text("\n".join(f"{i}: {words} Number {i}." for i in range(40)))
    subprocess.run([PROGRAM, "pretrain", folder / "text.txt", "--out", folder / "run", "--tokenizer", STARTER,
                    "--n-layer", "3", "--n-head", "2", "--n-embd", "64", "--context", "256", "--batch-size", "2",
                    "--lr", "3e-3", "--steps", "30", "--eval-freq", "0", "--sample-tokens", "0"],
                   check=True, capture_output=True, env={**os.environ, "MY_LLM_HOME": str(folder)})
    return (folder / "run" / "model").rename(folder / "toy")


@pytest.fixture(scope="session")
def sanitized(build):
    """Whether the program checks itself, which takes it several times as long."""
    cache = (build / "CMakeCache.txt").read_text().splitlines()
    return any(line.startswith(("MY_LLM_SANITIZE:", "CMAKE_C_FLAGS:")) and ("sanitize" in line or "=address" in line)
               for line in cache)


def read_tensors(path):
    """safetensors: name without prefix -> (dtype, shape, bytes)"""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8:8 + size]), content[8 + size:]
    header.pop("__metadata__")
    return {name.removeprefix("transformer."): (value["dtype"], value["shape"], data[slice(*value["data_offsets"])])
            for name, value in header.items()}


@pytest.fixture
def env(tmp_path):
    """The program's environment: nothing of the tester's but what running needs."""
    kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "MY_LLM_THREADS", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
            "OMP_WAIT_POLICY")
    result = {name: os.environ[name] for name in kept if name in os.environ}
    result["HOME"] = str(tmp_path / "home")
    result["MY_LLM_HOME"] = str(tmp_path / "home" / "my-llm")
    result["MY_LLM_BUNDLED"] = str(STARTER)
    (tmp_path / "home").mkdir()
    return result


class Result:
    """How one run ended. out and err are text; raw is stdout as it came."""

    def __init__(self, process):
        self.code = process.returncode
        self.raw = process.stdout
        self.out = process.stdout.decode(errors="replace")
        self.err = process.stderr.decode(errors="replace")

    def __repr__(self):
        return f"<exit {self.code}>\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@pytest.fixture
def my_llm(env):
    """my_llm("info", "bundled", input=..., env={...}, cwd=..., timeout=...): a run at pipes, as a Result."""

    def run(*args, input=b"", timeout=120, **more):
        if isinstance(input, str):
            input = input.encode()
        merged = {**env, **more.pop("env", {})}
        process = subprocess.run(
            [PROGRAM, *map(str, args)], input=input, capture_output=True, timeout=timeout, env=merged, **more
        )
        return Result(process)

    return run


class Terminal:
    """The program at a pseudo-terminal: stdin, stdout and stderr are its other end."""

    def __init__(self, args, env, columns=100):
        self.screen = b""  # all that was printed so far
        self.seen = 0  # of it, by expect()
        self.code = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(PROGRAM, ["my-llm", *args], {**env, "TERM": "xterm", "COLUMNS": str(columns)})

    def _read(self, seconds):
        """Reads what is there; False at the end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # Linux's way of saying that the other end is closed
            data = b""
        self.screen += data
        return data != b""

    def expect(self, pattern, timeout=60):
        """Waits until the regular expression appears after what was expected before; returns the match."""
        end = time.monotonic() + timeout
        open_ = True
        while True:
            match = re.compile(pattern.encode(), re.DOTALL).search(self.screen, self.seen)
            if match:
                self.seen = match.end()
                return match
            if not open_ or time.monotonic() > end:
                raise AssertionError(f"{pattern!r} did not appear in:\n{self.screen[self.seen:].decode(errors='replace')}")
            open_ = self._read(0.1)

    def send(self, text):
        os.write(self.fd, text.encode() if isinstance(text, str) else text)

    def interrupt(self):
        """Ctrl-C, typed."""
        self.send(b"\x03")

    def wait(self, timeout=60):
        """Reads to the end and returns the exit code (negative: the signal that ended it)."""
        end = time.monotonic() + timeout
        while self._read(0.1):
            if time.monotonic() > end:
                raise AssertionError(f"still running; the screen:\n{self.screen.decode(errors='replace')}")
        return self._reap()

    def _reap(self):
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self.fd)
        return self.code

    def close(self):
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self._reap()


@pytest.fixture
def terminal(env):
    """terminal("generate", ...): the program at a pseudo-terminal, as a Terminal."""
    opened = []

    def spawn(*args, **more):
        merged = {**env, **more.pop("env", {})}
        opened.append(Terminal([str(arg) for arg in args], merged, **more))
        return opened[-1]

    yield spawn
    for each in opened:
        each.close()
