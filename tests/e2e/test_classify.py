"""my-llm classify, on the built program: the book's numbers, what a run leaves, what it refuses.

Own data is a made-up task that a tiny model learns in a second or two: which of three words is in a sentence.
"""

import csv
import io
import json
import os
import random
import shutil
import signal
import statistics
import subprocess

import pytest

from conftest import PROGRAM, STARTER

WORDS = {"weather": ["rain", "sun", "snow"], "food": ["soup", "bread", "rice"], "work": ["desk", "boss", "mail"]}


def sentences(n, seed=1):
    draw = random.Random(seed)
    for i in range(n):
        label = sorted(WORDS)[i % 3]
        yield label, f"The {draw.choice(['old', 'new', 'big'])} {draw.choice(WORDS[label])}, number {draw.randint(1, 99)}"


def write_csv(path, rows, head=("topic", "sentence")):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        if head:
            writer.writerow(head)
        writer.writerows(rows)
    return path


def options(toy, data):
    """A run of 15 steps an epoch on few tokens."""
    return ["--data", data, "-m", toy, "--batch-size", 4, "--epochs", 2, "--eval-freq", 5, "--lr", 1e-3]


@pytest.fixture
def data(tmp_path):
    return write_csv(tmp_path / "topics.csv", sentences(90))


@pytest.fixture
def small(toy, data):
    return options(toy, data)


def tune(model, folder):
    data = write_csv(folder / "topics.csv", sentences(90))
    words = map(str, options(model, data))
    env = {**os.environ, "HOME": str(folder), "MY_LLM_HOME": str(folder)}
    result = subprocess.run([PROGRAM, "classify", "train", *words, "--out", folder / "run"], env=env, capture_output=True)
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


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# ---- The book -------------------------------------------------------------------------------


def test_the_books_numbers(my_llm, source, sanitized, tmp_path):
    """The first epoch of chapter 6 in PyTorch, number by number, from the same weights and the seed alone."""
    if sanitized:
        pytest.skip("minutes with sanitizers, for numbers that the other build is tested for")
    sms = source.parent / "shared" / "data" / "sms" / "SMSSpamCollection"
    if not sms.exists():
        pytest.skip("../shared has no SMS Spam Collection")
    want = json.loads((source / "tests" / "fixtures" / "classify" / "recipe.json").read_text())
    out = tmp_path / "run"
    result = my_llm("classify", "train", "--data", sms, "--preset", "book", "-m", STARTER, "--out", out, "--epochs", 1,
                    timeout=600)
    assert result.code == 0, result
    run = json.loads((out / "run.json").read_text())
    assert run["run"]["task"]["max_tokens"] == want["padded_length"]
    assert list(run["initial_accuracy"].values()) == pytest.approx(want["initial_accuracy"], abs=1e-9)
    before = "Train loss {:.3f}, Val loss {:.3f}".format(*want["initial_loss"])
    assert f"Before training: {before}\n" in result.out
    log = rows_of(out / "log.csv")
    for i, row in enumerate(log[:3]):
        assert int(row["step"]) == 50 * i
        train, val = want["train_losses"][i], want["val_losses"][i]
        assert float(row["train_loss"]) == pytest.approx(train, abs=2e-5)
        assert float(row["val_loss"]) == pytest.approx(val, abs=2e-5)
        assert f"Ep 1 (Step {50 * i:06d}): Train loss {train:.3f}, Val loss {val:.3f}\n" in result.out
    accuracies = want["train_accuracies"][0], want["val_accuracies"][0]
    assert "Training accuracy: {:.2f}% | Validation accuracy: {:.2f}%\n".format(*(100 * a for a in accuracies)) in result.out
    assert list(run["epoch_accuracy"][0].values()) == pytest.approx(accuracies, abs=1e-9)


# ---- Own data -------------------------------------------------------------------------------


def test_what_a_run_leaves(learned, data):
    parts = {name: rows_of(learned / f"{name}.csv") for name in ("train", "validation", "test")}
    assert {name: len(part) for name, part in parts.items()} == {"train": 63, "validation": 9, "test": 18}
    for part in parts.values():
        assert list(part[0]) == ["Label", "Text"]
        counts = [sum(row["Label"] == label for row in part) for label in WORDS]
        assert len(set(counts)) == 1  # each part has its share of each label
    texts = sorted(row["Text"] for part in parts.values() for row in part)
    assert texts == sorted(row["sentence"] for row in rows_of(data))

    run = json.loads((learned / "run.json").read_text())
    assert run["finished"] is True and run["run"]["task"]["labels"] == ["food", "weather", "work"]
    for name in ("initial_accuracy", "final_accuracy"):
        assert set(run[name]) == {"train", "validation", "test"}
        assert all(0 <= value <= 1 for value in run[name].values())
    assert len(run["epoch_accuracy"]) == 2
    assert run["final_accuracy"]["test"] > 0.9 > run["initial_accuracy"]["test"]

    config = json.loads((learned / "model" / "config.json").read_text())
    assert config["architectures"] == ["GPT2ForSequenceClassification"] and config["pad_token_id"] == config["vocab_size"] - 1
    assert config["id2label"] == {"0": "food", "1": "weather", "2": "work"} and "padded_length" not in config
    head = (learned / "model" / "model.safetensors").read_bytes()[:20000]
    assert b'"score.weight"' in head and b"score.bias" not in head
    for name in ("loss_plot.gp", "accuracy_plot.gp", "confusion_matrix.gp"):
        assert (learned / "plots" / name).exists()
    report = (learned / "report.md").read_text()
    assert "| food |" in report and "## Confusion" in report
    assert (learned / "review_classifier.pth").stat().st_size > 1 << 20
    assert not (learned / "checkpoint").exists()


@pytest.mark.parametrize("n", [200, 201])
def test_many_labels(my_llm, toy, tmp_path, n):
    """An id taken for the label: it is wondered at, and neither pictures nor JSON grow with the square of its values."""
    rows = [(f"user{i}", f"the rain {i} {k}") for i in range(n) for k in range(4)]
    data, out = write_csv(tmp_path / "users.csv", rows, head=("id", "text")), tmp_path / "out"
    result = my_llm("classify", "train", "--data", data, "--text-column", "text", "--label-column", "id", "-m", toy,
                    "--out", out, "--steps", 2, "--eval-freq", 0, "--train-layers", "head")  # fmt: skip
    assert result.code == 0, result
    many = n > 200
    said = f"my-llm: {data}: column id has {n} different labels, which is a lot; is another one the label (--label-column)?\n"
    assert (said in result.err) == many
    assert (out / "plots" / "confusion_matrix.csv").exists() == (not many)
    report = (out / "report.md").read_text()
    assert ("The whole matrix is left out, as there are 201 labels, more than 200." in report) == many
    assert ("(plots/confusion_matrix.svg)" in report) == (not many)
    assert report.count("\n| user") >= n + 10 and "| true | predicted | texts |" in report
    result = my_llm("classify", "eval", out, out / "test.csv", "--json")
    assert result.code == 0, result
    labels = json.loads(result.out)["labels"]
    assert len(labels) == n and sum(label["n_predicted"] for label in labels) == n
    for label in labels:
        assert label["predicted_as"] is None if many else sum(label["predicted_as"]) == label["n_true"] == 1


def test_predict(my_llm, learned):
    one = my_llm("classify", "predict", learned, "The old soup, number 7")
    assert one.code == 0 and one.out.split("\t")[0] == "food", one
    assert 0.34 < float(one.out.split("\t")[1]) <= 1
    texts = [text for _, text in sentences(700, seed=2)]
    want = [label for label, _ in sentences(700, seed=2)]
    many = my_llm("classify", "predict", learned, "-", "--csv", input="\n".join(texts))
    rows = list(csv.DictReader(io.StringIO(many.out)))
    assert list(rows[0]) == ["label", "food", "weather", "work"] and len(rows) == 700
    assert sum(row["label"] == label for row, label in zip(rows, want)) > 630
    for row in rows:
        assert sum(float(row[label]) for label in WORDS) == pytest.approx(1, abs=1e-5)
    lines = my_llm("classify", "predict", learned, "--json", input=texts[0] + "\r\n\n")
    first, empty = map(json.loads, lines.out.splitlines())
    assert first["label"] == rows[0]["label"] and set(first["probabilities"]) == set(WORDS)
    assert first["probabilities"][first["label"]] == pytest.approx(float(rows[0][first["label"]]), abs=1e-5)
    assert empty["label"] in WORDS


def test_predict_takes_any_bytes(my_llm, trained):
    text = b"a\0b\n\xff\xfe\n" + b"soup " * 300000 + b"\nend"
    result = my_llm("classify", "predict", trained, "-", input=text)
    assert result.code == 0 and len(result.out.splitlines()) == 4, result


def test_eval(my_llm, trained, tmp_path):
    result = my_llm("classify", "eval", trained, trained / "test.csv", "--json")
    assert result.code == 0, result
    measured = json.loads(result.out)
    run = json.loads((trained / "run.json").read_text())
    assert measured["accuracy"] == pytest.approx(run["final_accuracy"]["test"]) and measured["n_texts"] == 18
    assert [label["n_true"] for label in measured["labels"]] == [6, 6, 6]
    text = my_llm("classify", "eval", trained, trained / "test.csv")
    assert text.code == 0 and "of 18" in text.out and "| food |" in text.out
    other = write_csv(tmp_path / "other.csv", [("food", "soup"), ("sport", "a ball")])
    wrong = my_llm("classify", "eval", trained, other)
    assert wrong.code == 1 and "sport" in wrong.err and wrong.out == ""


def test_a_finished_run_is_not_done_again(my_llm, small, trained):
    before = (trained / "model" / "model.safetensors").stat().st_mtime_ns
    again = my_llm("classify", "train", *small, "--out", trained)
    assert again.code == 0 and "holds the finished classifier" in again.err and "Test accuracy" in again.out
    assert (trained / "model" / "model.safetensors").stat().st_mtime_ns == before
    other = my_llm("classify", "train", *small, "--out", trained, "--lr", 1e-4)
    assert other.code == 1 and other.err.endswith(
        f"{trained}: the run was begun with lr 0.001, now it is 0.0001; name another place, or allow what is there to "
        "be overwritten\nmy-llm: --force overwrites it, --out DIR names another place\n")
    assert (trained / "model" / "model.safetensors").stat().st_mtime_ns == before
    csvs = {name: (trained / f"{name}.csv").read_bytes() for name in ("train", "validation", "test")}
    others = write_csv(trained.parent / "others.csv", sentences(60, seed=2))
    refused = my_llm("classify", "train", *small, "--data", others, "--out", trained, "--retrain", "--memory", "1M")
    assert refused.code == 1 and "memory" in refused.err
    assert csvs == {name: (trained / f"{name}.csv").read_bytes() for name in csvs}
    anew = my_llm("classify", "train", *small, "--out", trained, "--retrain", "--epochs", 1)
    assert anew.code == 0 and json.loads((trained / "run.json").read_text())["run"]["settings"]["epochs"] == 1


def weights(run):
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("more", [["--cache-memory", 0], ["--cache-memory", "100kB"], ["--recompute"]])
def test_what_changes_no_bit(my_llm, small, trained, tmp_path, more):
    result = my_llm("classify", "train", *small, *more, "--out", tmp_path / "other")
    assert result.code == 0, result
    assert weights(tmp_path / "other") == weights(trained)


def test_half_a_batch_that_is_kept(my_llm, small, tmp_path):
    """Of larger batches only the texts that are not kept yet are computed: the same bits, and the same log."""
    runs = []
    for name, memory in [("kept", []), ("some", ["--cache-memory", "20kB"]), ("none", ["--cache-memory", 0])]:
        out = tmp_path / name
        result = my_llm("classify", "train", *small, "--batch-size", 16, "--pooling", "last-position", "--eval-freq", 1,
                        "--out", out, *memory)
        assert result.code == 0, result
        log = [{key: value for key, value in row.items() if key != "seconds"} for row in rows_of(out / "log.csv")]
        runs.append((weights(out), log))
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("more", [
    ["--pooling", "last-position"], ["--train-layers", "all"], ["--train-layers", "head"], ["--train-layers", "2"],
    ["--class-weights"], ["--balance"], ["--patience", "1", "--lr", "0"]])
def test_variants(my_llm, small, trained, tmp_path, more):
    out = tmp_path / "variant"
    result = my_llm("classify", "train", *small, *more, "--out", out)
    assert result.code == 0, result
    run = json.loads((out / "run.json").read_text())
    if "--patience" in more:
        assert run["results"]["steps"] == 6  # steps 0 and 5 are evaluated, and the second is no better
    if "last-position" in more:
        assert json.loads((out / "model" / "config.json").read_text())["padded_length"] == run["run"]["task"]["max_tokens"]
        result = my_llm("classify", "eval", out, out / "test.csv", "--json")
        assert json.loads(result.out)["accuracy"] == pytest.approx(run["final_accuracy"]["test"])
    # The labels are as many already: weights of theirs change nothing.
    assert (weights(out) == weights(trained)) == (more == ["--class-weights"])


def test_killed_and_resumed(small, my_llm, tmp_path, env):
    """Ctrl-C in the middle, then --resume: the same classifier to the bit, and the same measures."""
    out, whole = tmp_path / "stopped", tmp_path / "whole"
    small = [*small, "--epochs", 12]  # not over before Ctrl-C arrives
    assert my_llm("classify", "train", *small, "--out", whole).code == 0
    command = [PROGRAM, "classify", "train", *map(str, small), "--out", str(out), "--save-every", "3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True)
    for line in process.stdout:
        if line.startswith("Ep 1 (Step 000010)"):
            process.send_signal(signal.SIGINT)
            break
    process.stdout.read()
    process.stderr.read()
    assert process.wait() == 130
    assert my_llm("classify", "train", *small, "--out", out).code == 1
    resumed = my_llm("classify", "train", *small, "--out", out, "--resume")
    assert resumed.code == 0, resumed
    assert weights(out) == weights(whole)
    runs = [json.loads((folder / "run.json").read_text()) for folder in (out, whole)]
    for name in ("initial_accuracy", "epoch_accuracy", "final_accuracy"):
        assert runs[0][name] == runs[1][name]


LORA = ["--lora-rank", 4, "--lora-alpha", 32, "--train-layers", 2, "--adapter"]
LORA_ALL = ["--lora-rank", 4, "--lora-alpha", 16, "--adapter", "--lr", 3e-4, "--epochs", 4]


def everything_in(out):
    names = ["model/model.safetensors", "model/config.json", "review_classifier.pth", "test.csv", "report.md",
             "adapter/adapter_model.safetensors"]
    return {name: (out / name).read_bytes() for name in names}


def test_killed_at_any_moment(small, my_llm, tmp_path, env):
    """kill -9 at six random moments, in as many runs as that takes, with adapters: the same files to the bit."""
    small = [*small, *LORA, "--save-every", 2]
    whole = tmp_path / "whole"
    assert my_llm("classify", "train", *small, "--out", whole).code == 0
    want, draw = everything_in(whole), random.Random(5)
    kills = finished = 0
    while kills < 6 or finished == 0:
        out = tmp_path / f"run{finished}"
        begun = any((out / name).exists() for name in ("log.csv", "checkpoint", "run.json"))
        command = [PROGRAM, "classify", "train", *map(str, small), "--out", out, *(["--resume"] if begun else [])]
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            process.wait(timeout=draw.uniform(0, 0.6) if kills < 6 else 60)
        except subprocess.TimeoutExpired:
            process.kill()
        errors = process.communicate()[1].decode()
        if process.returncode == 0:
            finished += 1
            assert everything_in(out) == want
            continue
        assert process.returncode == -signal.SIGKILL, errors
        kills += 1


# ---- Adapters -------------------------------------------------------------------------------


def tensors_of(path):
    """Shapes and bytes of a safetensors file."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + size])
    head.pop("__metadata__", None)
    return {name: (each["shape"], data[8 + size + each["data_offsets"][0] : 8 + size + each["data_offsets"][1]])
            for name, each in head.items()}


def test_lora(my_llm, learned, data, tmp_path):
    """Adapters of all layers learn the task; merged, nothing but the matrices beside which they lie has changed."""
    out = tmp_path / "lora"
    result = my_llm("classify", "train", *options(STARTER, data), "--out", out, *LORA_ALL)
    assert result.code == 0, result
    run = json.loads((out / "run.json").read_text())
    assert run["run"]["settings"]["lora"] == {"lora_rank": 4, "lora_alpha": 16.0, "adapter": True}
    shape = json.loads((STARTER / "config.json").read_text())
    n_layer, n_embd = shape["n_layer"], shape["n_embd"]
    assert run["plan"]["trained_parameters"] == 4 * (n_layer * 4 * 4 * n_embd + n_embd + 3)
    assert run["final_accuracy"]["test"] > 0.9
    assert my_llm("classify", "predict", out, "The old soup, number 7").out.split("\t")[0] == "food"
    merged, base = tensors_of(out / "model" / "model.safetensors"), tensors_of(learned / "model" / "model.safetensors")
    for name, (shape, numbers) in merged.items():
        if name.startswith(f"transformer.h.{n_layer - 1}") or name.startswith("transformer.ln_f") or name == "score.weight":
            continue  # trained in both, or the head's bias lies there
        adapted = len(shape) == 2 and ".h." in name
        assert (numbers == base[name][1]) == (not adapted), name
    adapter = tensors_of(out / "adapter" / "adapter_model.safetensors")
    assert len(adapter) == n_layer * 4 * 2 + 3
    first = "base_model.model.transformer.h.0.attn.c_attn.lora_"
    assert adapter[first + "A.weight"][0] == [4, n_embd] and adapter[first + "B.weight"][0] == [3 * n_embd, 4]
    for name in ("score.weight", "transformer.ln_f.weight", "transformer.ln_f.bias"):
        assert adapter["base_model.model." + name][1] == merged[name][1]
    config = json.loads((out / "adapter" / "adapter_config.json").read_text())
    assert config["r"] == 4 and config["lora_alpha"] == 16 and config["task_type"] == "SEQ_CLS"
    assert config["layers_to_transform"] is None


def test_what_changes_no_bit_of_adapters(my_llm, small, tmp_path):
    whole, small = tmp_path / "whole", [*small, "--epochs", 1]
    assert my_llm("classify", "train", *small, *LORA, "--out", whole).code == 0
    want = everything_in(whole)
    config = json.loads((whole / "adapter" / "adapter_config.json").read_text())
    assert config["layers_to_transform"] == [1, 2] and config["layers_pattern"] == "h"
    for more in (["--cache-memory", 0], ["--recompute"]):
        out = tmp_path / more[0]
        assert my_llm("classify", "train", *small, *LORA, *more, "--out", out).code == 0
        assert everything_in(out) == want
    # Of the head alone there is nothing that PEFT calls an adapter; trained it can be.
    head = ["--lora-rank", 4, "--train-layers", "head"]
    assert my_llm("classify", "train", *small, *head, "--out", tmp_path / "head").code == 0
    refused = my_llm("classify", "train", *small, *head, "--adapter", "--out", tmp_path / "refused")
    assert refused.code == 1 and "those of one block at least" in refused.err
    refused = my_llm("classify", "train", *small, "--adapter", "--out", tmp_path / "refused")
    assert refused.code == 1 and "lora-rank is 0" in refused.err
    other = my_llm("classify", "train", *small, *LORA, "--lora-rank", 5, "--out", whole)
    assert other.code == 1 and "lora-rank 4, now it is 5" in other.err


def test_seeds(my_llm, small, trained, tmp_path):
    """Each as if it had been trained alone; what is finished is not trained again."""
    out = tmp_path / "seeds"
    assert my_llm("classify", "train", *small, "--seeds", 3, "--out", out, "--dry-run").code == 0
    assert not out.exists()
    result = my_llm("classify", "train", *small, "--seeds", 3, "--out", out)
    assert result.code == 0, result
    assert weights(out / "seed-123") == weights(trained) != weights(out / "seed-124")
    seeds = json.loads((out / "seeds.json").read_text())
    runs = [json.loads((out / f"seed-{seed}" / "run.json").read_text()) for seed in (123, 124, 125)]
    for side in ("train", "validation", "test"):
        values = [run["final_accuracy"][side] for run in runs]
        assert seeds[side]["accuracy"] == pytest.approx(values)
        assert seeds[side]["mean"] == pytest.approx(statistics.mean(values))
        assert seeds[side]["sd"] == pytest.approx(statistics.stdev(values))
        assert f"{100 * statistics.mean(values):.2f}% ± {100 * statistics.stdev(values):.2f}" in result.out
    best = max(range(3), key=lambda i: runs[i]["final_accuracy"]["validation"])
    assert f"The best on the validation part is in {out}/seed-{123 + best}" in result.out
    before = (out / "seed-124" / "model" / "model.safetensors").stat().st_mtime_ns
    (out / "seed-125" / "run.json").unlink()
    again = my_llm("classify", "train", *small, "--seeds", 3, "--out", out, "--resume")
    assert again.code == 1, again  # a folder with half a run is not touched
    shutil.rmtree(out / "seed-125")
    again = my_llm("classify", "train", *small, "--seeds", 3, "--out", out, "--resume")
    assert again.code == 0, again
    assert (out / "seed-124" / "model" / "model.safetensors").stat().st_mtime_ns == before
    assert again.out.splitlines()[-8:] == result.out.splitlines()[-8:]


# ---- What is refused ------------------------------------------------------------------------


@pytest.mark.parametrize("content, sentence", [
    (b"Label,Text\na,one\na,two\n", "two labels at least were expected"),
    (b"Label,Text\na,one\nb,two\na,three\nb,four\n", "examples to learn from"),
    (b"", "bad.csv"),
])
def test_bad_data(my_llm, toy, tmp_path, content, sentence):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    result = my_llm("classify", "train", "--data", path, "-m", toy, "--out", tmp_path / "run")
    assert result.code == 1 and sentence in result.err, result
    assert len([line for line in result.err.splitlines() if sentence in line]) == 1


def test_a_line_without_end(program, toy, tmp_path, env):
    """A gigabyte in one field is refused after the first megabytes, in little memory."""
    path = tmp_path / "long.csv"
    with open(path, "wb") as file:
        file.write(b"text,label\nshort one,a\nshort two,b\n" + b"x" * (20 << 20))
        file.truncate(1 << 30)  # the rest is a hole, which takes no disk
    command = ["classify", "train", "--data", path, "-m", toy, "--out", tmp_path / "run"]
    process = subprocess.Popen([program, *map(str, command)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 1 and "line 4: a field has more than 16 MiB" in errors, errors
    assert usage.ru_maxrss < (1 << 20)  # KiB; sanitizers take some
    assert not (tmp_path / "run").exists()


def test_bad_places(my_llm, small, toy, tmp_path):
    (tmp_path / "file").write_text("")
    for more, sentence in [
        (["--data", tmp_path / "none.csv"], "none.csv"),
        (["--data", tmp_path], str(tmp_path)),
        (["--text-column", "nothing"], "nothing"),
        (["--out", tmp_path / "file" / "run"], "file"),
        (["--out", "/proc/run"], "/proc/run"),
        (["--train-layers", "7"], "the model has 3 blocks"),
        (["--max-length", "999"], "context of 256"),
    ]:
        result = my_llm("classify", "train", *small, "--out", tmp_path / "run", *more)
        assert result.code == 1 and sentence in result.err, (more, result)
    for more in (["--train-layers", "none"], ["--balance", "--no-balance"], ["--resume", "--retrain"]):
        assert my_llm("classify", "train", *small, "--out", tmp_path / "run", *more).code == 2
    result = my_llm("classify", "predict", toy, "text")
    assert result.code == 1 and "a classifier was expected" in result.err


def test_labels_and_head_disagree(my_llm, trained, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "wrong")
    config = json.loads((tmp_path / "wrong" / "config.json").read_text())
    config["id2label"] = {"0": "food", "1": "weather"}
    (tmp_path / "wrong" / "config.json").write_text(json.dumps(config))
    result = my_llm("classify", "predict", tmp_path / "wrong", "text")
    assert result.code == 1 and "labels" in result.err and result.out == ""


def test_a_label_that_was_not_trained(my_llm, trained, tmp_path):
    path = write_csv(tmp_path / "new.csv", [("food", "The old soup"), ("travel", "The old train")])
    result = my_llm("classify", "eval", trained, path)
    assert result.code == 1 and result.out == "", result
    assert f"{path}: line 3: its label 'travel' is not one of the 3 that were trained" in result.err
