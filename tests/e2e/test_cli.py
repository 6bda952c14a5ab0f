"""The program's way in: commands, help, wrong usage, and what is printed from the option tables."""

import os
import re
import shutil
import subprocess

import pytest

from conftest import STARTER


def commands_of(my_llm):
    listing = my_llm("help").out.split("Commands:\n")[1].split("\n\n")[0]
    return [re.split(r"\s{2,}", line.strip())[0] for line in listing.splitlines()]


def options_of(my_llm, command):
    """[(letter or None, name, placeholder or None)] as --help shows them, without --help itself."""
    text = my_llm(*command.split(), "--help").out.split("\nOptions:\n")[1].split("\nExamples:")[0]
    rows = re.findall(r"^  (?:-(\w), |    )--([a-z0-9-]+)(?: ([A-Z]\S*))?(?:$| )", text, re.MULTILINE)
    return [(letter or None, name, value or None) for letter, name, value in rows if name != "help"]


def test_help_and_version_are_answers(my_llm):
    for words in (["help"], ["--help"], ["-h"]):
        result = my_llm(*words)
        assert result.code == 0 and result.err == ""
        assert result.out.startswith("usage: my-llm COMMAND")
    version = my_llm("--version")
    assert version.code == 0 and re.fullmatch(r"my-llm \d+\.\d+\.\d+\n", version.out)
    assert my_llm("-V").out == version.out


def test_version_is_the_projects(my_llm, source):
    version = re.search(r"project\(my-llm VERSION (\S+)", (source / "CMakeLists.txt").read_text())[1]
    assert my_llm("--version").out == f"my-llm {version}\n"


def test_no_command_is_wrong_usage(my_llm):
    result = my_llm()
    assert result.code == 2 and result.out == "" and "Commands:" in result.err


def test_every_command_has_help(my_llm):
    for command in commands_of(my_llm):
        result = my_llm(*command.split(), "--help")
        assert result.code == 0 and result.err == ""
        assert result.out.startswith(f"usage: my-llm {command} ")
        assert my_llm("help", *command.split()).out == result.out
        assert my_llm(*command.split(), "-h").out == result.out
        # Words are wrapped; examples and usage are the command's own lines.
        assert max(map(len, result.out.splitlines())) <= 100, result.out


def test_unknown_commands_have_neighbours(my_llm):
    result = my_llm("hepl")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        'my-llm: there is no command "hepl"; did you mean "help"?\n' "'my-llm help' lists the commands.\n"
    )
    assert my_llm("help", "hepl").code == 2
    assert "did you mean" not in my_llm("zzzzzz").err


def test_commands_of_two_words(my_llm, tmp_path):
    group = my_llm("instruct", "--help")
    assert group.code == 0 and group.err == ""
    assert group.out.startswith("usage: my-llm instruct COMMAND [options] [operands]\n\nCommands to ")
    assert re.search(r"^  score  +\S", group.out, re.MULTILINE)
    assert my_llm("help", "instruct").out == group.out
    alone = my_llm("instruct")
    assert (alone.code, alone.out, alone.err) == (2, "", group.out)
    for words in (["instruct", "scroe"], ["help", "instruct", "scroe"]):
        wrong = my_llm(*words)
        assert (wrong.code, wrong.out) == (2, "")
        assert wrong.err == (
            'my-llm instruct: there is no command "scroe"; did you mean "score"?\n'
            "'my-llm help instruct' lists the commands.\n"
        )
    assert 'did you mean "instruct"?' in my_llm("instrcut", "score").err
    assert my_llm("help", "info", "score").err.startswith('my-llm help: "score" is one too many\n')
    assert "score" in bash_completions(my_llm, tmp_path, "instruct", "")
    assert bash_completions(my_llm, tmp_path, "instruct", "sc") == ["score"]
    assert bash_completions(my_llm, tmp_path, "instruct", "score", "--api", "") == ["ollama", "openai"]


def test_wrong_options_end_with_2(my_llm):
    for command in commands_of(my_llm):
        result = my_llm(*command.split(), "--no-such-option-here")
        assert (result.code, result.out) == (2, "")
        assert result.err == (
            f"my-llm {command}: there is no option --no-such-option-here\n'my-llm help {command}' tells more.\n"
        )


def test_manual_or_completion(my_llm):
    result = my_llm("help", "--man", "--completion", "bash")
    assert (result.code, result.out) == (2, "") and "--man and --completion exclude each other" in result.err


def test_the_manual_has_every_variable(my_llm, source):
    read = set()
    for path in (source / "src").rglob("*.c"):
        read |= set(re.findall(r'(?:getenv|environment)\("(MY_LLM_\w+)"\)', path.read_text()))
    manual = my_llm("help", "--man").out.split(".SH ENVIRONMENT")[1]
    assert len(read) >= 5 and {name for name in read if f".B {name}\n" not in manual} == set()


def test_full_disk_is_a_failure(my_llm, build, env):
    with open("/dev/full", "wb") as full:
        process = subprocess.run([build / "my-llm", "help"], stdout=full, stderr=subprocess.PIPE, env=env)
    assert process.returncode == 1
    assert process.stderr == b"my-llm: cannot write standard output: No space left on device\n"


def test_a_model_that_shrinks_while_in_use_ends_with_a_message(terminal, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(STARTER, model)
    program = terminal("generate", "-m", model, "-n", "5")
    program.expect("Enter a prompt")
    os.truncate(model / "model.safetensors", 4096)
    program.send("Once upon a time\r")
    program.expect(re.escape(f"my-llm: {model}/model.safetensors: became shorter"))
    assert program.wait() == 1


# ---- The manual page ------------------------------------------------------------------------


def test_manual_page_has_every_option(my_llm):
    page = my_llm("help", "--man")
    assert page.code == 0
    text = page.out.replace("\\-", "-")
    for command in commands_of(my_llm):
        assert f"\n.SS {command}\n" in text
        section = text.split(f"\n.SS {command}\n")[1].split("\n.S")[0]
        for letter, name, value in options_of(my_llm, command):
            flag = (f"\\fB-{letter}\\fR, " if letter else "") + f"\\fB--{name}\\fR"
            if value:
                flag += f" \\fI{value}\\fR"
            assert f".TP\n{flag}\n" in section, f"{command} --{name}"


def test_manual_page_renders_without_warnings(my_llm, tmp_path):
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    page = tmp_path / "my-llm.1"
    page.write_text(my_llm("help", "--man").out)
    # "table" and "break" need macros of full groff; what matters here is requests and escapes.
    process = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-Wbreak", page], capture_output=True, text=True)
    assert process.returncode == 0 and process.stderr == ""


# ---- Completions ----------------------------------------------------------------------------


def bash_completions(my_llm, tmp_path, *words):
    """What bash offers for the last of the words."""
    script = tmp_path / "completion.bash"
    script.write_text(my_llm("help", "--completion", "bash").out)
    line = " ".join("'" + word + "'" for word in words)
    # compopt works only while bash itself completes.
    program = (
        f"source {script}; compopt() {{ :; }}; COMP_WORDS=(my-llm {line}); COMP_CWORD={len(words)}; _my_llm; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    process = subprocess.run(["bash", "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 0 and process.stderr == ""
    return process.stdout.split()


def test_bash_completes_commands_and_options(my_llm, tmp_path):
    commands = commands_of(my_llm)
    first_words = list(dict.fromkeys(command.split()[0] for command in commands))
    assert bash_completions(my_llm, tmp_path, "") == first_words + ["--help", "--version"]
    assert bash_completions(my_llm, tmp_path, "hel") == ["help"]
    for command in commands:
        expected = [f"--{name}" for _, name, _ in options_of(my_llm, command)] + ["--help"]
        assert bash_completions(my_llm, tmp_path, *command.split(), "-") == expected


def test_bash_completes_values(my_llm, tmp_path):
    assert bash_completions(my_llm, tmp_path, "help", "--completion", "") == ["bash", "zsh", "fish"]
    assert bash_completions(my_llm, tmp_path, "help", "--completion", "z") == ["zsh"]
    assert bash_completions(my_llm, tmp_path, "help", "--completion", "=", "f") == ["fish"]
    assert bash_completions(my_llm, tmp_path, "help", "--completion", "=") == ["bash", "zsh", "fish"]
    assert bash_completions(my_llm, tmp_path, "help", "he") == ["help"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_have_every_option(my_llm, shell, tmp_path):
    script = my_llm("help", "--completion", shell)
    assert script.code == 0
    for command in commands_of(my_llm):
        for word in command.split():
            assert re.search(rf"\b{word}\b", script.out)
        for _, name, _ in options_of(my_llm, command):
            option = f"-l {name}" if shell == "fish" else f"--{name}"
            assert re.search(rf"{option}(?![a-z0-9-])", script.out), f"{command} --{name}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_good_shell(my_llm, shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(my_llm("help", "--completion", shell).out)
    process = subprocess.run([shell, "-n", script], capture_output=True, text=True)
    assert process.returncode == 0 and process.stderr == ""


@pytest.mark.parametrize("command", ["pretrain", "classify train", "instruct train"])
def test_settings_of_training_that_would_do_nothing(my_llm, tmp_path, command):
    operands = ["a.txt"] if command == "pretrain" else []
    result = my_llm(*command.split(), *operands, "--out", tmp_path / "run", "--lora-alpha", 8)
    assert result.code == 2 and "--lora-alpha is of adapters, and there are none" in result.err, result
