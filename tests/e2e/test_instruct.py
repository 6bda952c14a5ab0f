"""my-llm instruct train, respond and chat, on the built program: PyTorch's losses, transformers' answers, what is left
and what is refused."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from conftest import PROGRAM, STARTER

ANSWERS = "instruction-data-with-response.json"


@pytest.fixture
def fixtures(source):
    return source / "tests" / "fixtures" / "instruct"


def entries(n):
    words = ["red", "blue", "warm", "cold", "old", "new", "big"]
    for i in range(n):
        word = words[i % len(words)]
        yield {"instruction": f"Say {word}.", "input": "" if i % 3 else f"number {i}", "output": f"It is {word}.", "id": i}


def write_json(path, value):
    path.write_text(json.dumps(value))
    return path


def options(toy, data):
    return ["--data", data, "-m", toy, "--batch-size", 4, "--epochs", 2, "--lr", 1e-3, "--max-tokens", 6]


@pytest.fixture
def data(tmp_path):
    return write_json(tmp_path / "say.json", list(entries(40)))


@pytest.fixture
def small(toy, data):
    return options(toy, data)


def tune(model, folder):
    data = write_json(folder / "say.json", list(entries(40)))
    words = map(str, options(model, data))
    env = {**os.environ, "HOME": str(folder), "MY_LLM_HOME": str(folder)}
    result = subprocess.run([PROGRAM, "instruct", "train", *words, "--out", folder / "run"], env=env, capture_output=True)
    assert result.returncode == 0, result
    return folder / "run"


@pytest.fixture(scope="module")
def trained_once(toy, tmp_path_factory):
    return tune(toy, tmp_path_factory.mktemp("trained"))


@pytest.fixture
def trained(trained_once, tmp_path):
    """The same run for all tests, a copy for each."""
    return shutil.copytree(trained_once, tmp_path / "trained")


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run that began with a model that can learn something in so few steps."""
    return tune(STARTER, tmp_path_factory.mktemp("learned"))


def weights(run):
    return (run / "model" / "model.safetensors").read_bytes()


# ---- Against PyTorch and transformers -------------------------------------------------------------


@pytest.mark.parametrize("preset", ["book", "epfl"])
def test_the_first_losses_are_pytorchs(my_llm, source, sanitized, fixtures, tmp_path, preset):
    """The beginning of chapter 7 in PyTorch, from the same weights and the seed alone."""
    if sanitized:
        pytest.skip("minutes with sanitizers, for numbers that the other build is tested for")
    data = source.parent / "shared" / "data" / "instruct" / "instruction-data.json"
    if not data.exists():
        pytest.skip("../shared has no instructions")
    want = json.loads((fixtures / "recipe.json").read_text())[preset]
    out = tmp_path / "run"
    result = my_llm("instruct", "train", "--data", data, "--preset", preset, "-m", STARTER, "--out", out, "--steps", 6,
                    "--no-respond", "--no-pth", "--sample-tokens", 0, timeout=600)
    assert result.code == 0, result
    assert "Before training: Train loss {:.3f}, Val loss {:.3f}\n".format(*want["initial"]) in result.out
    log = list(csv.DictReader((out / "log.csv").open()))
    for i in range(2):
        train, val = want["train"][i], want["val"][i]
        assert int(log[i]["step"]) == 5 * i
        assert float(log[i]["train_loss"]) == pytest.approx(train, abs=2e-5)
        assert float(log[i]["val_loss"]) == pytest.approx(val, abs=2e-5)
        assert f"Ep 1 (Step {5 * i:06d}): Train loss {train:.3f}, Val loss {val:.3f}\n" in result.out
    run = json.loads((out / "run.json").read_text())
    assert run["run"]["task"]["loss"] == ("all" if preset == "book" else "response")
    assert [run["details"][f"{part}_entries"] for part in ("train", "test", "validation")] == [935, 110, 55]
    config = json.loads((out / "model" / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    assert not (out / ANSWERS).exists() and not list(out.glob("*.pth"))


@pytest.mark.parametrize("parallel", [1, 5, 12])
def test_answers_are_transformers(my_llm, fixtures, tmp_path, parallel):
    want = json.loads((fixtures / "answers.json").read_text())
    asked = [{key: value for key, value in entry.items() if key != "model_response"} for entry in want]
    file = write_json(tmp_path / "ask.json", asked)
    out = tmp_path / "answers.json"
    result = my_llm("instruct", "respond", STARTER, file, "-o", out, "-n", 40, "-j", parallel)
    assert result.code == 0, result
    assert json.loads(out.read_text()) == want
    one = my_llm("instruct", "respond", STARTER, want[0]["instruction"], "--input", want[0]["input"], "-n", 40)
    assert one.out.strip() == want[0]["model_response"]
    assert not (tmp_path / "answers.json.part").exists()


# ---- Own data -------------------------------------------------------------------------------------


def test_what_a_run_leaves(trained, data):
    answers = json.loads((trained / ANSWERS).read_text())
    asked = list(entries(40))[34:38]
    assert [{**entry, "model_response": answer["model_response"]} for entry, answer in zip(asked, answers)] == answers
    assert [list(answer) for answer in answers] == [["instruction", "input", "output", "id", "model_response"]] * 4
    assert (trained / "toy-sft.pth").stat().st_size > 1 << 19
    for name in ("loss_plot.gp", "loss_plot.csv"):
        assert (trained / "plots" / name).exists()
    assert json.loads((trained / "model" / "config.json").read_text())["tie_word_embeddings"] is True
    assert not (trained / "checkpoint").exists() and not (trained / f"{ANSWERS}.part").exists()
    run = json.loads((trained / "run.json").read_text())
    assert run["finished"] and run["details"]["task"] == "instruct" and run["results"]["steps"] == 16


def test_it_learns(my_llm, learned):
    result = my_llm("instruct", "respond", learned, "Say warm.", "-n", 8)
    assert result.code == 0 and result.out == "It is warm.\n", result
    assert my_llm("instruct", "respond", learned / "model", "-n", 8, input="Say warm.\n").out == result.out


def test_chat(terminal, learned):
    chat = terminal("instruct", "chat", str(learned), "-n", "8")
    chat.expect("Instruction")
    chat.send("Say warm.\n")
    chat.expect("It is warm.")
    chat.expect("Instruction")
    chat.send("quit\n")
    assert chat.wait() == 0


def test_quantized_weights(my_llm, terminal, trained, models, fixtures, tmp_path):
    """The answers are those of a file of such weights; what cannot be stored so is refused."""
    assert my_llm("convert", "--quantize", "q4", trained / "model", tmp_path / "q4.gguf").code == 0
    for words in (["Say warm."], ["Tell me of the sea."]):
        at_once = my_llm("instruct", "respond", "--quantize", "q4", trained, *words, "-n", 24)
        assert at_once.code == 0 and at_once.out == my_llm("instruct", "respond", tmp_path / "q4.gguf", *words, "-n", 24).out
    style = ["--template", fixtures / "short-template.txt", "-n", 60]
    assert my_llm("convert", "--quantize", "bf16", models / "text", tmp_path / "bf16").code == 0
    plain, at_once, stored = (my_llm("instruct", "respond", *words, *style, "Hello").raw for words in (
        [models / "text"], ["--quantize", "bf16", models / "text"], [tmp_path / "bf16"]))
    assert at_once == stored != plain
    refused = my_llm("instruct", "respond", "--quantize", "q8", models / "text", "Hello")
    assert refused.code == 1 and refused.out == "" and "n_embd is 16, but Q8_0 stores blocks of 32" in refused.err
    chat = terminal("instruct", "chat", "--quantize", "q4", models / "text")
    chat.expect("n_embd is 16, but Q8_0 stores blocks of 32")
    assert chat.wait() == 1
    chat = terminal("instruct", "chat", "--quantize", "q8", trained, "-n", 8)
    chat.expect("Instruction")
    chat.send("Say warm.\n")
    chat.expect(re.escape(my_llm("instruct", "respond", "--quantize", "q8", trained, "Say warm.", "-n", 8).out.strip()))
    chat.expect("Instruction")


def test_a_finished_run_is_not_done_again(my_llm, small, trained):
    before = (trained / "model" / "model.safetensors").stat().st_mtime_ns
    answers = (trained / ANSWERS).read_bytes()
    again = my_llm("instruct", "train", *small, "--out", trained)
    assert again.code == 0 and "holds the finished model" in again.err, again
    (trained / ANSWERS).unlink()
    again = my_llm("instruct", "train", *small, "--out", trained)
    assert again.code == 0 and (trained / ANSWERS).read_bytes() == answers
    assert (trained / "model" / "model.safetensors").stat().st_mtime_ns == before
    other = my_llm("instruct", "train", *small, "--out", trained, "--loss", "all")
    assert other.code == 1 and "loss response, now it is all" in other.err
    anew = my_llm("instruct", "train", *small, "--out", trained, "--retrain", "--steps", 2, "--no-respond", "--no-pth")
    assert anew.code == 0 and not (trained / ANSWERS).exists() and not list(trained.glob("*.pth"))


def test_a_template_is_remembered(my_llm, small, data, tmp_path):
    (tmp_path / "style.txt").write_text("Q: {instruction}\n\nAbout: {input}\n\nA: {output}\n\nThe end.\n")
    out = tmp_path / "styled"
    result = my_llm("instruct", "train", *small, "--template", tmp_path / "style.txt", "--out", out, "--no-pth",
                    "--sample-tokens", 8, "--epochs", 60, "--lr", 3e-3)
    assert result.code == 0, result
    assert "Q: " in result.out and "Below is" not in result.out
    answer = my_llm("instruct", "respond", out, "Say warm.", "-n", 20)
    assert answer.out == "It is warm.\n"  # what stands behind the answer ends it
    as_named = my_llm("instruct", "respond", out, "Say warm.", "-n", 20, "--template", tmp_path / "style.txt")
    assert as_named.out == answer.out


def test_stopped_and_resumed(small, my_llm, tmp_path, env):
    """Ctrl-C, then kill -9, then --resume: the same model to the bit, and the same answers."""
    out, whole = tmp_path / "stopped", tmp_path / "whole"
    small = [*small, "--epochs", 6, "--no-pth", "--sample-tokens", 0, "--eval-iter", 1]
    assert my_llm("instruct", "train", *small, "--out", whole).code == 0
    command = [PROGRAM, "instruct", "train", *map(str, small), "--out", str(out), "--save-every", "3"]
    for word, how, code in [("(Step 000010)", signal.SIGINT, 130), ("(Step 000025)", signal.SIGKILL, -9)]:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True) as process:
            for line in process.stdout:
                if word in line:
                    process.send_signal(how)
                    break
            process.stdout.read()
            process.stderr.read()
        assert process.returncode == code
        if "--resume" not in command:
            command.append("--resume")
    assert my_llm("instruct", "train", *small, "--out", out).code == 1
    resumed = my_llm("instruct", "train", *small, "--out", out, "--resume")
    assert resumed.code == 0, resumed
    assert weights(out) == weights(whole)
    assert (out / ANSWERS).read_bytes() == (whole / ANSWERS).read_bytes()


# ---- Files of instructions ------------------------------------------------------------------------


def test_lines_and_other_keys(my_llm, toy, tmp_path):
    lines = [{"id": i, "instruction": f"Say {i}.", "more": {"a": [1.5, None]}} for i in range(3)]
    (tmp_path / "q.jsonl").write_text("\ufeff" + "\n".join(map(json.dumps, lines)) + "\n\n")
    result = my_llm("instruct", "respond", toy, tmp_path / "q.jsonl", "-n", 3, cwd=tmp_path)
    assert result.code == 0, result
    made = json.loads((tmp_path / "q-with-response.json").read_text())
    assert [{key: value for key, value in entry.items() if key != "model_response"} for entry in made] == lines
    again = my_llm("instruct", "respond", toy, tmp_path / "q.jsonl", "-n", 3, cwd=tmp_path)
    assert again.code == 1 and "q-with-response.json: is there already" in again.err


def test_interrupted_answers_are_kept(my_llm, toy, tmp_path, env):
    file = write_json(tmp_path / "many.json", [{"instruction": f"Tell me of {i}."} for i in range(150)])
    out, part = tmp_path / "out.json", tmp_path / "out.json.part"
    words = ["instruct", "respond", toy, file, "-n", 30, "-j", 4, "-o", out]
    with subprocess.Popen([PROGRAM, *map(str, words)], stderr=subprocess.PIPE, env=env, text=True) as process:
        while not part.exists() and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130 and "the same command goes on" in said
    kept = json.loads(part.read_text())["responses"]
    n_kept = sum(text is not None for text in kept)
    assert 0 < n_kept < 150 and not out.exists()
    # Another setting takes none of them.
    short = write_json(tmp_path / "part.json", json.loads(part.read_text()))
    result = my_llm(*words)
    assert result.code == 0 and f"{n_kept} of 150 answers are there already" in result.err
    answers = [entry["model_response"] for entry in json.loads(out.read_text())]
    assert all(before in (None, after) for before, after in zip(kept, answers)) and not part.exists()
    shutil.copy(short, part)
    other = my_llm("instruct", "respond", toy, file, "-n", 1, "-o", out, "--force")
    assert other.code == 0 and "there already" not in other.err


def test_a_prompt_longer_than_the_context(my_llm, toy, tmp_path):
    long = "very " * 400
    file = write_json(tmp_path / "q.json", [{"instruction": "Say a."}, {"instruction": long}])
    result = my_llm("instruct", "respond", toy, file, "-n", 3, "-o", tmp_path / "a.json")
    assert result.code == 0 and "1 prompts are longer than the model's context" in result.err
    assert [bool(entry["model_response"]) for entry in json.loads((tmp_path / "a.json").read_text())] == [True, False]
    one = my_llm("instruct", "respond", toy, long)
    assert one.code == 1 and "longer than the model's context" in one.err


# ---- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("content, sentence", [
    ("[]", "holds no instructions"),
    ("", "bad.json"),
    ("{", "bad.json"),
    ("[1]", "entry 1"),
    ('[{"instruction": "a", "instruction": "b", "output": "c"}]', "duplicate"),
    ('[{"instruction": "a"}]', 'has no "output"'),
    ('[{"instruction": null, "output": "b"}]', 'has no "instruction"'),
    ('[{"instruction": 7, "output": "b"}]', "a string was expected"),
    ('[{"instruction": " ", "output": "b"}]', 'its "instruction" is empty'),
    ("[" * 5000, "bad.json"),
])
def test_bad_data(my_llm, toy, tmp_path, content, sentence):
    path = tmp_path / "bad.json"
    path.write_text(content)
    result = my_llm("instruct", "train", "--data", path, "-m", toy, "--out", tmp_path / "run")
    assert result.code == 1 and sentence in result.err and "bad.json" in result.err, result
    assert len(result.err.splitlines()) <= 2 and not (tmp_path / "run").exists()
    if "output" not in sentence:
        asked = my_llm("instruct", "respond", toy, path, "-o", tmp_path / "out.json")
        assert asked.code == 1 and sentence in asked.err and not (tmp_path / "out.json").exists()


def test_bad_settings(my_llm, small, toy, trained, tmp_path):
    (tmp_path / "unmarked.txt").write_text("{instruction}\n")
    (tmp_path / "no-input.txt").write_text("{instruction} {output}")
    long = write_json(tmp_path / "long.json", [{"instruction": "very " * 300, "output": "yes"}] * 20)
    for more, sentence in [
        (["--data", tmp_path / "none.json"], "none.json"),
        (["--data", tmp_path], str(tmp_path)),
        (["--template", tmp_path / "unmarked.txt"], "has no response mark"),
        (["--template", tmp_path / "no-input.txt"], "has an input, but the template has no {input}"),
        (["--max-length", 999], "context of 256"),
        (["--train-share", 0.9, "--test-share", 0.5], "together at most 1"),
        (["--data", long], "no prompt leaves room for an answer"),
        (["-m", trained / "none"], "none"),
    ]:
        result = my_llm("instruct", "train", *small, "--out", tmp_path / "run", *more)
        assert result.code == 1 and sentence in result.err, (more, result)
    for more in (["--resume", "--retrain"], ["--score", "--no-respond"], ["--loss", "none"]):
        assert my_llm("instruct", "train", *small, "--out", tmp_path / "run", *more).code == 2
    for words, sentence in [
        ([toy, tmp_path / "none.json"], "none.json"),
        ([toy, ""], "instruction is empty"),
        ([toy, "Say a.", "--template", tmp_path / "unmarked.txt"], "has no response mark"),
        ([tmp_path, "Say a."], str(tmp_path)),
    ]:
        result = my_llm("instruct", "respond", *words)
        assert result.code == 1 and sentence in result.err and result.out == "", (words, result)
    assert my_llm("instruct", "respond", toy, "Say a.", "-o", "x.json").code == 2
    assert my_llm("instruct", "chat", toy, input="").code == 2


def test_examples_without_an_answer_left(my_llm, toy, tmp_path):
    """A batch in which no target is left changes nothing and fails nothing."""
    made = [{"instruction": "very " * (300 if i % 2 else 1), "output": "yes"} for i in range(20)]
    data = write_json(tmp_path / "d.json", made)
    result = my_llm("instruct", "train", *options(toy, data), "--batch-size", 1, "--steps", 8, "--out",
                    tmp_path / "run", "--no-respond")
    assert result.code == 0 and "longer than 256 tokens" in result.err, result
