"""What the libraries give to a program that links them, and what they must not use or hold."""

import re
import subprocess

import pytest


def public_functions(source):
    header = (source / "include" / "my_llm.h").read_text()
    header = re.sub(r"//.*", "", header)
    names = re.findall(r"\bLLM_API\b[^;{]*?\b(llm_\w+)\s*\(", header)
    assert len(names) > 20 and len(names) == len(set(names))
    return sorted(names)


def nm(*args):
    lines = subprocess.check_output(["nm", *args], text=True).splitlines()
    return [line.split() for line in lines if line and not line.endswith(":")]


def sanitized(build):
    cache = (build / "CMakeCache.txt").read_text()
    return re.search(r"^MY_LLM_SANITIZE:STRING=.+$|-fsanitize", cache, re.MULTILINE) is not None


def test_the_header_marks_every_function(source):
    """A prototype without LLM_API would be hidden from programs."""
    header = re.sub(r"//.*", "", (source / "include" / "my_llm.h").read_text())
    prototypes = re.findall(r"^(?!typedef)([^\n#}]*\b(llm_\w+)\([^;{]*\);)", header, re.MULTILINE)
    assert [name for text, name in prototypes if "LLM_API" not in text and "typedef" not in text] == []


def test_shared_library_exports_the_header(source, build):
    exported = sorted(fields[-1] for fields in nm("-D", "--defined-only", build / "libmy_llm.so"))
    assert [name for name in exported if not name.startswith("__")] == public_functions(source)


def test_static_library_exports_the_header(source, build):
    exported = sorted(fields[-1] for fields in nm("--extern-only", "--defined-only", build / "libmy_llm.a"))
    assert [name for name in exported if not name.startswith("__")] == public_functions(source)


def test_shared_library_has_a_versioned_name(source, build):
    version = re.search(r"project\(my-llm VERSION (\S+)", (source / "CMakeLists.txt").read_text())[1]
    dynamic = subprocess.check_output(["objdump", "-p", build / "libmy_llm.so"], text=True)
    assert re.search(r"SONAME\s+(\S+)", dynamic)[1] == f"libmy_llm.so.{version.split('.')[0]}"
    assert (build / "libmy_llm.so").resolve().name == f"libmy_llm.so.{version}"


def test_the_library_never_prints_exits_or_catches_signals(build):
    """Exit codes, stdout, stderr and signals belong to the program."""
    used = {fields[-1].split("@")[0] for fields in nm("--undefined-only", build / "libmy_llm.a")}
    exits = {"exit", "_exit", "_Exit", "quick_exit", "abort", "err", "errx", "perror", "__assert_fail"}
    prints = {"printf", "vprintf", "puts", "putchar", "stdout", "stderr", "__printf_chk"}
    signals = {"signal", "sigaction", "sigprocmask", "raise"}
    unsafe = {"strcpy", "strcat", "sprintf", "vsprintf", "gets", "strtok", "rand", "srand", "setlocale", "system"}
    assert used & (exits | prints | signals | unsafe) == set()


def test_the_library_has_no_state(build):
    """No variable that can change: not .data, .bss or thread-local (constant tables with pointers are .data.rel.ro)."""
    if sanitized(build):
        pytest.skip("sanitizers add variables of their own")
    table = subprocess.check_output(["objdump", "-t", build / "my_llm.o"], text=True)
    changing = re.findall(r"^\S+ .{7} (\.data|\.bss|\.tdata|\.tbss|\*COM\*)\s+(\S+)\s+(?:\.hidden )?(\S+)$", table, re.MULTILINE)
    assert [name for _, size, name in changing if int(size, 16) > 0] == []
