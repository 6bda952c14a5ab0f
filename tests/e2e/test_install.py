"""What `make install` puts where, that it works from there and after being moved, and that `make uninstall`
takes all of it away again; programs of other people built through pkg-config."""

import os
import shlex
import subprocess

import pytest

PROGRAM = r"""
#include <my_llm.h>
#include <stdio.h>

int main(void) {
    struct llm_error err = {0};
    struct llm_tokenizer *tokenizer = llm_tokenizer_open(NULL, NULL, &err);
    int32_t *ids = NULL;
    size_t n = 0;
    if (tokenizer == NULL || !llm_tokenizer_encode(tokenizer, "Hello, world", 12, false, &ids, &n, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("%s %zu %d\n", llm_version(), n, ids[0]);
    llm_free(ids);
    llm_tokenizer_free(tokenizer);
    return 0;
}
"""


@pytest.fixture(scope="module", autouse=True)
def record_of_installation(build):
    """The build's record of what `make install` did last, for `make uninstall`: as it was before these tests."""
    manifest = build / "install_manifest.txt"
    kept = manifest.read_bytes() if manifest.exists() else None
    yield
    if kept is None:
        manifest.unlink(missing_ok=True)
    else:
        manifest.write_bytes(kept)


@pytest.fixture(scope="module")
def prefix(build, tmp_path_factory):
    """An installation, moved after it was made."""
    first = tmp_path_factory.mktemp("install") / "first"
    subprocess.run(["cmake", "--install", build, "--prefix", first], check=True, capture_output=True)
    moved = first.parent / "moved"
    first.rename(moved)
    return moved


def sanitizer_flags(build):
    cache = (build / "CMakeCache.txt").read_text()
    for line in cache.splitlines():
        if line.startswith("MY_LLM_SANITIZE:STRING=") and not line.endswith("="):
            return ["-fsanitize=" + line.split("=")[1]]
    return []


def compiler(build):
    for line in (build / "CMakeCache.txt").read_text().splitlines():
        if line.startswith("CMAKE_C_COMPILER:"):
            return line.split("=")[1]
    return "cc"


def library_folder(prefix):
    return next(prefix.glob("lib/**/pkgconfig")).parent


def installed(prefix):
    return {str(path.relative_to(prefix)) for path in prefix.rglob("*") if not path.is_dir()}


def test_everything_is_there(prefix, source):
    lib = library_folder(prefix).relative_to(prefix)
    version = (source / "CMakeLists.txt").read_text().split("project(my-llm VERSION ")[1].split()[0]
    expected = {
        "bin/my-llm",
        "include/my_llm.h",
        f"{lib}/libmy_llm.a",
        f"{lib}/libmy_llm.so",
        f"{lib}/libmy_llm.so.{version.split('.')[0]}",
        f"{lib}/libmy_llm.so.{version}",
        f"{lib}/pkgconfig/my-llm.pc",
        "share/man/man1/my-llm.1",
        "share/bash-completion/completions/my-llm",
        "share/zsh/site-functions/_my-llm",
        "share/fish/vendor_completions.d/my-llm.fish",
    }
    bundled = source / "models" / "bundled"
    expected |= {f"share/my-llm/models/bundled/{path.relative_to(bundled)}" for path in bundled.rglob("*") if path.is_file()}
    assert installed(prefix) == expected


def test_the_installed_program_runs(prefix, env):
    run = subprocess.run([prefix / "bin/my-llm", "--version"], capture_output=True, text=True, env=env)
    assert run.returncode == 0 and run.stderr == "" and run.stdout.startswith("my-llm ")
    page = subprocess.run([prefix / "bin/my-llm", "help", "--man"], capture_output=True, text=True, env=env)
    assert page.stdout == (prefix / "share/man/man1/my-llm.1").read_text()
    for shell, name in (
        ("bash", "bash-completion/completions/my-llm"),
        ("zsh", "zsh/site-functions/_my-llm"),
        ("fish", "fish/vendor_completions.d/my-llm.fish"),
    ):
        words = subprocess.run(
            [prefix / "bin/my-llm", "help", "--completion", shell], capture_output=True, text=True, env=env
        )
        assert words.stdout == (prefix / "share" / name).read_text()


def pkg_config(prefix, *args):
    environment = {**os.environ, "PKG_CONFIG_PATH": str(library_folder(prefix) / "pkgconfig")}
    return shlex.split(subprocess.check_output(["pkg-config", *args, "my-llm"], text=True, env=environment))


@pytest.mark.parametrize("linkage", ["shared", "static"])
def test_a_program_builds_through_pkg_config(prefix, build, env, tmp_path, linkage):
    (tmp_path / "program.c").write_text(PROGRAM)
    flags = pkg_config(prefix, "--cflags", "--libs", *(["--static"] if linkage == "static" else []))
    if linkage == "static":  # our library alone: the others stay shared
        flags = [str(library_folder(prefix) / "libmy_llm.a") if flag == "-lmy_llm" else flag for flag in flags]
    else:
        flags.append(f"-Wl,-rpath,{library_folder(prefix)}")
    subprocess.run(
        [compiler(build), "-Wall", "-Wextra", "-Werror", *sanitizer_flags(build), tmp_path / "program.c"]
        + ["-o", tmp_path / "program", *flags],
        check=True,
    )
    run = subprocess.run([tmp_path / "program"], capture_output=True, text=True, env=env)
    assert run.returncode == 0 and run.stderr == "", run.stderr
    version, n, first = run.stdout.split()
    assert (n, first) == ("3", "15496")  # "Hello", ",", " world" in GPT-2's vocabulary
    assert pkg_config(prefix, "--modversion") == [version]
    needed = subprocess.check_output(["objdump", "-p", tmp_path / "program"], text=True)
    assert ("libmy_llm.so" in needed) == (linkage == "shared")


def test_uninstall_takes_all_of_it_away(build, tmp_path):
    root = tmp_path / "root"
    environment = {**os.environ, "DESTDIR": str(root)}
    subprocess.run(["cmake", "--install", build], check=True, capture_output=True, env=environment)
    there = [path for path in root.rglob("*") if not path.is_dir()]
    assert len(there) > 10
    stranger = there[0].parent / "somebody-elses"
    stranger.write_text("stays")
    subprocess.run(["ninja", "-C", build, "uninstall"], check=True, capture_output=True, env=environment)
    assert [path for path in root.rglob("*") if not path.is_dir()] == [stranger]
    assert not list(root.rglob("share/my-llm"))
