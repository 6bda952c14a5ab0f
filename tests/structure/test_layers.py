"""The house as designed: who includes whom, where each library lives, headers that compile alone."""

import re
import shlex
import subprocess

import pytest

# What a folder of src/ may include besides its own headers; my_llm.h is open to all.
LAYERS = {
    "base": set(),
    "ops": {"base"},
    "formats": {"base"},
    "tokenizer": {"base"},
    "data": {"tokenizer", "base"},
    "net": {"base"},
    "store": {"net", "base"},
    "plot": {"base"},
    "model": {"ops", "formats", "tokenizer", "store", "base"},
    "infer": {"model", "tokenizer", "ops", "base"},
    "train": {"model", "data", "ops", "base"},
    "tasks": {"train", "infer", "model", "data", "store", "net", "tokenizer", "ops", "plot", "base"},
    "serve": {"base"},
    "cli": {"base"},
}

# Libraries that only one folder may know.
LIBRARIES = {
    r"curl/": "net",
    r"oneapi/": "ops",
    r"(editline|histedit)": "cli",
    r"zip\.h": "store",
    r"(lzma|zlib)\.h": "data",
}


def sources(source, *patterns):
    return sorted(path for pattern in patterns for path in (source / "src").rglob(pattern))


def includes(path):
    return re.findall(r'^\s*#\s*include\s+["<]([^">]+)[">]', path.read_text(), re.MULTILINE)


def test_every_folder_is_a_layer(source):
    folders = {path.name for path in (source / "src").iterdir()}
    assert folders <= LAYERS.keys()


def test_a_layer_includes_only_those_below(source):
    wrong = []
    for path in sources(source, "*.c", "*.h"):
        layer = path.relative_to(source / "src").parts[0]
        for name in includes(path):
            other = name.split("/")[0]
            if other in LAYERS and other != layer and other not in LAYERS[layer]:
                wrong.append(f"{path.relative_to(source)} includes {name}")
    assert wrong == []


def test_a_layer_is_below_itself_only_once():
    """The table has no circle."""
    order = []
    left = dict(LAYERS)
    while left:
        free = [name for name, below in left.items() if below <= set(order)]
        assert free, f"a circle among {sorted(left)}"
        order += free
        for name in free:
            del left[name]


def test_our_headers_are_named_from_src(source):
    """"base/file.h", never "../base/file.h" or "file.h": then the layer of every include can be seen."""
    wrong = []
    for path in sources(source, "*.c", "*.h"):
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE):
            if name != "my_llm.h" and not (source / "src" / name).is_file():
                wrong.append(f"{path.relative_to(source)} includes {name}")
    assert wrong == []


def test_each_library_lives_in_one_layer(source):
    wrong = []
    for path in sources(source, "*.c", "*.h"):
        layer = path.relative_to(source / "src").parts[0]
        for name in includes(path):
            for library, home in LIBRARIES.items():
                if re.match(library, name) and layer != home:
                    wrong.append(f"{path.relative_to(source)} includes {name}")
    assert wrong == []


def all_headers(source):
    return [source / "include" / "my_llm.h"] + sources(source, "*.h")


def test_every_header_compiles_alone(source, tmp_path):
    flags = shlex.split(subprocess.check_output(["pkg-config", "--cflags", "jansson", "libedit"], text=True))
    failures = []
    for header in all_headers(source):
        unit = tmp_path / "alone.c"
        unit.write_text(f'#include "{header}"\n#include "{header}"\ntypedef int something;\n')
        process = subprocess.run(
            ["cc", "-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
            + [f"-I{source / 'include'}", f"-I{source / 'src'}", *flags, unit],
            capture_output=True,
            text=True,
        )
        if process.returncode != 0:
            failures.append(process.stderr)
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("standard", ["c99", "c17"])
def test_the_public_header_is_plain_c(source, tmp_path, standard):
    unit = tmp_path / "public.c"
    unit.write_text('#include "my_llm.h"\nint main(void) { struct llm_error err = {0}; return (int)err.code; }\n')
    subprocess.run(
        ["cc", f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
        + [f"-I{source / 'include'}", unit],
        check=True,
    )


def test_the_public_header_is_good_cplusplus(source, tmp_path):
    unit = tmp_path / "public.cc"
    unit.write_text('#include "my_llm.h"\nint main() { llm_error err = {}; return static_cast<int>(err.code); }\n')
    probe = subprocess.run(["cc", "-x", "c++", "-fsyntax-only", "/dev/null"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip("there is no C++ compiler")
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    subprocess.run(["cc", *flags, f"-I{source / 'include'}", unit], check=True)
