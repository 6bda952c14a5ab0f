"""Files, folders and models whose names are no UTF-8, which Linux allows: they work like any other, and what is JSON
shows U+FFFD for what is none."""

import json
import shutil

import pytest

NAME, SHOWN = "caf\udce9", "caf\ufffd"  # the byte 0xe9 to the file system, and as JSON has it


@pytest.fixture
def model(toy, tmp_path):
    return shutil.copytree(toy, tmp_path / f"{NAME}-model")


def run_of(folder):
    """What run.json says of a finished run's data and model."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["finished"]
    return run["details"]


def test_a_classifier(my_llm, model, tmp_path):
    data, out = tmp_path / f"{NAME}.csv", tmp_path / f"{NAME}-run"
    data.write_text("text,label\n" + "".join(f"number {i},{'ab'[i % 2]}\n" for i in range(40)))
    words = ["classify", "train", "--data", data, "-m", model, "--out", out, "--epochs", 1]
    words += ["--lora-rank", 2, "--adapter"]
    result = my_llm(*words)
    assert result.code == 0, result
    assert run_of(out)["file"].endswith(f"/{SHOWN}.csv") and run_of(out)["model"].endswith(f"/{SHOWN}-model")
    adapter = json.loads((out / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert adapter["base_model_name_or_path"].endswith(f"/{SHOWN}-model")
    again = my_llm(*words)
    assert again.code == 0 and "it is taken as it is" in again.err, again
    result = my_llm("classify", "eval", "--json", out, out / "test.csv")
    assert result.code == 0 and json.loads(result.out)["n_texts"] == 8, result


def test_pretraining_and_going_on(my_llm, model, tmp_path):
    text, out = tmp_path / f"{NAME}.txt", tmp_path / "run"
    text.write_text("a few words to learn from. " * 400)
    words = ["pretrain", text, "--out", out, "--tokenizer", model, "--n-layer", 1, "--n-head", 1, "--n-embd", 8]
    words += ["--context", 16, "--sample-tokens", 0]
    words += ["--steps", 400]
    assert my_llm(*words, "--max-minutes", 0.001).code == 0
    assert not json.loads((out / "run.json").read_text(encoding="utf-8"))["finished"]
    result = my_llm(*words, "--resume")
    assert result.code == 0, result
    assert run_of(out)["files"][0].endswith(f"/{SHOWN}.txt")
    assert run_of(out)["tokenizer"].endswith(f"/{SHOWN}-model")
    result = my_llm("pretrain", text, "--out", tmp_path / "more", "--init", model, "--context", 16, "--steps", 1)
    assert result.code == 0, result
    assert run_of(tmp_path / "more")["init"].endswith(f"/{SHOWN}-model")


def test_instructions(my_llm, model, tmp_path):
    data = tmp_path / f"{NAME}.json"
    data.write_text(json.dumps([{"instruction": f"say {i}", "input": "", "output": f"it is {i}"} for i in range(40)]))
    result = my_llm("instruct", "train", "--data", data, "-m", model, "--out", tmp_path / "run", "--steps", 1,
                    "--max-tokens", 2)  # fmt: skip
    assert result.code == 0, result
    details = run_of(tmp_path / "run")
    assert details["file"].endswith(f"/{SHOWN}.json") and details["model"].endswith(f"/{SHOWN}-model")


def test_what_scripts_read(my_llm, model, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("some words")
    info = my_llm("info", model, "--json")
    assert info.code == 0 and json.loads(info.out)["path"].endswith(f"/{SHOWN}-model"), info
    assert all(f"/{SHOWN}-model/" in file["path"] for file in json.loads(info.out)["files"])
    for words in (["generate", "-m", model, "-n", 1, "--json", "hi"], ["eval", model, text, "--json"]):
        result = my_llm(*words)
        assert result.code == 0 and json.loads(result.out)["model"].endswith(f"/{SHOWN}-model"), result


def test_a_judge_has_a_name_for_servers(my_llm, tmp_path):
    file = tmp_path / "answers.json"
    file.write_text(json.dumps([{"instruction": "say", "input": "", "output": "it", "model_response": "that"}]))
    result = my_llm("instruct", "score", file, "--judge", NAME)
    assert result.code == 1, result
    assert result.err == "my-llm: the judge's name is 'caf?', which is not UTF-8 as a server's must be\n"
