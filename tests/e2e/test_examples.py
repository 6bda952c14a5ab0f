"""examples/ as a user of the installed library builds and runs them: through pkg-config."""

import json
import os
import shutil
import subprocess

import pytest


@pytest.fixture(scope="module")
def prefix(build, tmp_path_factory):
    """The build tree, installed in a folder of its own."""
    path = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", build, "--prefix", path], check=True, stdout=subprocess.DEVNULL)
    return path


def compile_example(source, prefix, tmp_path, name):
    if shutil.which("pkg-config") is None:
        pytest.skip("pkg-config is not installed")
    [package] = prefix.rglob("my-llm.pc")
    env = {**os.environ, "PKG_CONFIG_PATH": str(package.parent)}
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "my-llm"], env=env, check=True, capture_output=True, text=True
    ).stdout.split()
    program = tmp_path / name
    warnings = ["-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["cc", *warnings, source / "examples" / f"{name}.c", *flags, "-o", program], check=True)
    return program, package.parent.parent


def test_generate_example(source, sanitized, prefix, tmp_path, env):
    if sanitized:
        pytest.skip("a library with sanitizers does not link with a program without")
    program, library = compile_example(source, prefix, tmp_path, "generate")
    env = {**env, "LD_LIBRARY_PATH": str(library), "MY_LLM_BUNDLED": str(prefix / "share/my-llm/models/bundled")}
    result = subprocess.run([program, "bundled", "Once upon a time"], env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout) > 40 and result.stderr == ""
    failed = subprocess.run([program, "/no/such/model"], env=env, capture_output=True, text=True)
    assert failed.returncode == 1 and "/no/such/model" in failed.stderr
    models = source / "tests" / "fixtures" / "models"
    failed = subprocess.run([program, models / "prefix"], env=env, capture_output=True, text=True)
    assert failed.returncode == 1 and failed.stderr == "this model has no vocabulary\n"


def test_pretrain_example(source, sanitized, prefix, tmp_path, env, my_llm):
    """Stopped by its callback, called again, finished; the model can be used."""
    if sanitized:
        pytest.skip("a library with sanitizers does not link with a program without")
    program, library = compile_example(source, prefix, tmp_path, "pretrain")
    env = {**env, "LD_LIBRARY_PATH": str(library)}
    text = source / "tests" / "fixtures" / "train" / "tiny.txt"

    def run(*args):
        return subprocess.run([program, *args], env=env, capture_output=True, text=True)

    stopped = run(text, tmp_path / "run", "0.05")
    assert stopped.returncode == 3 and "stopped" in stopped.stderr, stopped
    result = run(text, tmp_path / "run", "1000")
    assert result.returncode == 0 and result.stderr == "", result
    assert f"{tmp_path / 'run'}/model: validation loss " in result.stdout
    assert result.stdout.count("Every effort moves you") >= 1
    assert my_llm("info", tmp_path / "run").code == 0
    failed = run("/no/such/text", tmp_path / "other")
    assert failed.returncode == 1 and "/no/such/text" in failed.stderr
    assert run().returncode == 2


def test_classify_example(source, sanitized, prefix, tmp_path, env):
    """The file of the README: trained, loaded the second time, right about texts it never saw."""
    if sanitized:
        pytest.skip("a library with sanitizers does not link with a program without")
    program, library = compile_example(source, prefix, tmp_path, "classify")
    env = {**env, "LD_LIBRARY_PATH": str(library)}
    texts = {"does it come in blue?": "question", "the button fell off": "complaint"}

    def run(file):
        return subprocess.run([program, file, tmp_path / "mails", *texts], env=env, capture_output=True, text=True)

    answers = "".join(f"{label}: {text}\n" for text, label in texts.items())
    first = run(source / "examples" / "mails.csv")
    assert first.returncode == 0 and first.stdout.startswith("trained after "), first
    assert first.stdout.endswith(answers)
    second = run(source / "examples" / "mails.csv")
    assert second.returncode == 0 and second.stdout.startswith("loaded after ") and second.stdout.endswith(answers)
    failed = run("/no/such/file.csv")
    assert failed.returncode == 1 and "/no/such/file.csv" in failed.stderr


def test_instruct_example(source, sanitized, prefix, tmp_path, env):
    """Trained, loaded the second time; answers as it was taught, and one is none."""
    if sanitized:
        pytest.skip("a library with sanitizers does not link with a program without")
    program, library = compile_example(source, prefix, tmp_path, "instruct")
    env = {**env, "LD_LIBRARY_PATH": str(library)}
    words = ["red", "blue", "warm", "cold", "old", "new", "big"]
    entries = [{"instruction": f"Say {words[i % 7]}.", "output": f"It is {words[i % 7]}."} for i in range(40)]
    (tmp_path / "say.json").write_text(json.dumps(entries))

    def run(file):
        asked = ["Say warm.", "Say blue.", "very " * 400]
        return subprocess.run([program, file, tmp_path / "run", *asked], env=env, capture_output=True, text=True)

    first = run(tmp_path / "say.json")
    assert first.returncode == 0 and first.stdout.startswith("trained after 16 steps, 4 of the entries"), first
    assert "Say warm.: It is warm.\nSay blue.: It is blue.\n" in first.stdout and "(too long)" in first.stdout
    second = run(tmp_path / "say.json")
    assert second.returncode == 0 and second.stdout.startswith("loaded after 16 steps, 0 of the entries"), second
    failed = run("/no/such/file.json")
    assert failed.returncode == 1 and "/no/such/file.json" in failed.stderr
