"""my-llm pretrain, on the built program: PyTorch's numbers, what a run leaves, how it stops and goes on.

The texts are small and the models tiny: a run takes a second or two. No test asserts a time.
"""

import array
import csv
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess

import pytest
import tiny

COLUMNS = ["step", "epoch", "examples", "tokens", "train_loss", "val_loss", "learning_rate", "seconds"]


@pytest.fixture
def env(env):
    """Without gnuplot: dozens of runs need no pictures."""
    return {**env, "PATH": "/nonexistent"}


@pytest.fixture
def fixtures(source):
    return source / "tests" / "fixtures" / "train"


@pytest.fixture
def recipe(fixtures):
    """The tiny model of tools/make_pretrain_fixtures.py."""
    return ["--n-layer", 2, "--n-head", 4, "--n-embd", 64, "--context", 32, "--tokenizer", fixtures / "tokenizer"]


@pytest.fixture
def small(fixtures):
    """A run of 48 steps on an even smaller one, with everything random that there is."""
    return [fixtures / "tiny.txt", "--tokenizer", fixtures / "tokenizer", "--n-layer", 1, "--n-head", 2, "--n-embd", 16,
            "--context", 16, "--batch-size", 4, "--epochs", 2, "--eval-freq", 10, "--eval-iter", 2, "--dropout", 0.1,
            "--save-every", 5, "--sample-tokens", 5]


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def log_of(run):
    """log.csv without the seconds, which no two runs share."""
    return [line.rsplit(",", 1)[0] for line in (run / "log.csv").read_text().splitlines()]


def weights(run, name="model"):
    return (run / name / "model.safetensors").read_bytes()


@pytest.fixture
def reference(my_llm, small, tmp_path):
    """The run that nothing disturbed."""
    result = my_llm("pretrain", *small, "--out", tmp_path / "reference")
    assert result.code == 0, result
    return tmp_path / "reference"


@pytest.fixture
def longer(small):
    """A run that --max-minutes stops somewhere in between."""
    return [*small, "--epochs", 50]


@pytest.fixture
def undisturbed(my_llm, longer, tmp_path):
    assert my_llm("pretrain", *longer, "--out", tmp_path / "undisturbed").code == 0
    return tmp_path / "undisturbed"


# ---- Numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", ["", "-dropout"])
@pytest.mark.parametrize("name", ["ch5", "appendix-d"])
def test_losses_are_pytorchs(my_llm, fixtures, recipe, tmp_path, name, dropout):
    """Every evaluation of the book's recipes, from the seed alone: weights, order, dropout, schedule, clipping."""
    more = [] if dropout else ["--dropout", 0]
    result = my_llm("pretrain", fixtures / "tiny.txt", "--out", tmp_path / "run", "--preset", f"book-{name}", *recipe, *more)
    assert result.code == 0, result
    expected = {row["step"]: row for row in rows(fixtures / f"tiny-{name}{dropout}.csv")}
    log = rows(tmp_path / "run" / "log.csv")
    before = expected.pop("-1")
    assert f"Before training: Train loss {float(before['train_loss']):.3f}, Val loss {float(before['val_loss']):.3f}\n" in result.out
    assert [row["step"] for row in log][: len(expected)] == list(expected)
    for row in log[: len(expected)]:
        want = expected[row["step"]]
        assert (row["epoch"], row["tokens"]) == (want["epoch"], want["tokens"])
        for column in ("train_loss", "val_loss"):
            assert float(row[column]) == pytest.approx(float(want[column]), abs=2e-5)
        assert float(row["learning_rate"]) == pytest.approx(float(want["learning_rate"]), rel=1e-8)
        line = f"Ep {row['epoch']} (Step {int(row['step']):06d}): Train loss {float(row['train_loss']):.3f}, "
        assert line in result.out


def numbers(path):
    """All weights of a safetensors file of F32."""
    content = path.read_bytes()
    result = array.array("f")
    result.frombytes(content[8 + int.from_bytes(content[:8], "little") :])
    return result


def test_batches_may_be_accumulated(my_llm, small, tmp_path):
    """Four examples at once, two by two, one by one: the same steps but for rounding (without dropout)."""
    models = []
    for batch, accumulate in ((4, 1), (2, 2), (1, 4)):
        out = tmp_path / f"batch{batch}"
        result = my_llm("pretrain", *small, "--out", out, "--dropout", 0, "--batch-size", batch, "--grad-accum", accumulate,
                        "--eval-freq", 0)
        assert result.code == 0, result
        models.append(numbers(out / "model" / "model.safetensors"))
    begun = numbers_of_the_beginning(my_llm, small, tmp_path)
    moved = max(abs(a - b) for a, b in zip(begun, models[0]))
    for other in models[1:]:
        assert max(abs(a - b) for a, b in zip(models[0], other)) < 1e-3 * moved


def numbers_of_the_beginning(my_llm, small, tmp_path):
    """The weights that runs begin with: those after a step without a learning rate."""
    out = tmp_path / "begun"
    assert my_llm("pretrain", *small, "--out", out, "--steps", 1, "--lr", 0).code == 0
    return numbers(out / "model" / "model.safetensors")


def test_what_changes_no_bit(my_llm, small, reference, tmp_path):
    """Recomputation, the number of checkpoints, the place of the cache, keeping the best model."""
    for more in (["--recompute"], ["--save-every", 0], ["--cache", tmp_path / "ids"], ["--keep-best"]):
        result = my_llm("pretrain", *small, "--out", tmp_path / "run", "--force", *more)
        assert result.code == 0, result
        assert weights(tmp_path / "run") == weights(reference), more
    assert (tmp_path / "ids" / "train.tokens").exists()


def test_threads_agree(my_llm, small, tmp_path):
    losses = []
    for threads in (1, 2):
        assert my_llm("pretrain", *small, "--out", tmp_path / f"{threads}", "--threads", threads).code == 0
        losses.append([float(row["val_loss"]) for row in rows(tmp_path / f"{threads}" / "log.csv")])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_bf16_where_the_processor_has_it(my_llm, small, reference, tmp_path):
    result = my_llm("pretrain", *small, "--out", tmp_path / "run", "--compute", "bf16")
    if result.code != 0:
        assert "BF16 products" in result.err, result
        return
    losses = [[float(row["val_loss"]) for row in rows(run / "log.csv")] for run in (reference, tmp_path / "run")]
    assert losses[0] == pytest.approx(losses[1], abs=0.02) and losses[0] != losses[1]


# ---- What a run leaves ----------------------------------------------------------------------


def test_the_directory(my_llm, small, reference):
    log = rows(reference / "log.csv")
    assert list(log[0]) == COLUMNS
    steps = [int(row["step"]) for row in log]
    assert steps[:-1] == list(range(0, steps[-1], 10)) and steps[-1] > 20
    for row in log:
        assert len(row["train_loss"].split(".")[1]) == 6 and len(row["val_loss"].split(".")[1]) == 6
        assert int(row["examples"]) == 4 * (int(row["step"]) + 1)
        assert int(row["tokens"]) == 16 * int(row["examples"])
    assert float(log[-1]["train_loss"]) < float(log[0]["train_loss"])

    run = json.loads((reference / "run.json").read_text())
    assert run["finished"] is True
    assert run["run"]["settings"]["seed"] == 123 and run["run"]["settings"]["batch_size"] == 4
    assert len(run["run"]["task"]["data"]) == 64
    assert run["plan"]["steps"] == steps[-1] + 1 == run["results"]["steps"]
    assert run["results"]["val_loss"] == pytest.approx(float(log[-1]["val_loss"]), abs=1e-6)
    assert run["results"]["tokens"] == int(log[-1]["tokens"])
    assert not (reference / "checkpoint").exists()
    assert sorted(path.name for path in (reference / "model").iterdir()) == [
        "config.json", "merges.txt", "model.safetensors", "tokenizer.json", "vocab.json"]
    assert not [path for path in reference.iterdir() if path.name.startswith(".")]


def test_plots(my_llm, small, tmp_path):
    if shutil.which("gnuplot") is None:
        pytest.skip("gnuplot is not installed")
    result = my_llm("pretrain", *small, "--out", tmp_path / "run", env={"PATH": os.environ["PATH"]})
    assert result.code == 0 and "gnuplot" not in result.err, result
    plots = {path.name for path in (tmp_path / "run" / "plots").iterdir()}
    kinds = ("csv", "gp", "pdf", "svg", "png")
    assert plots == {f"{name}.{kind}" for name in ("loss", "learning-rate") for kind in kinds}
    data = rows(tmp_path / "run" / "plots" / "loss.csv")
    assert len(data) == len(rows(tmp_path / "run" / "log.csv"))


def test_without_gnuplot_there_are_data_and_script(my_llm, reference):
    assert {path.name for path in (reference / "plots").iterdir()} == {
        f"{name}.{kind}" for name in ("loss", "learning-rate") for kind in ("csv", "gp")}


def test_the_model_can_be_used(my_llm, reference):
    """By the directory's own name."""
    result = my_llm("info", reference)
    assert result.code == 0 and "512" in result.out, result
    result = my_llm("generate", "-m", reference, "-n", 5, "--temperature", 0, "Every effort moves you")
    assert result.code == 0, result


def test_what_is_seen(my_llm, small, tmp_path):
    result = my_llm("pretrain", *small, "--out", tmp_path / "run")
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines[:6]] == ["parameters", "examples", "steps", "memory", "time", "Before"]
    assert lines[6].startswith("Ep 1 (Step 000000): Train loss 6.")
    samples = [line for line in lines if line.startswith("Every effort moves you")]
    assert len(samples) == 2
    steps = json.loads((tmp_path / "run" / "run.json").read_text())["results"]["steps"]
    assert f"my-llm: {tmp_path / 'run'}/model: the model, after {steps} steps and " in result.err


def test_progress_at_a_terminal(terminal, small, tmp_path):
    screen = terminal("pretrain", *small, "--out", tmp_path / "run", "--epochs", 20)
    screen.expect(r"\rstep \d+ of \d+, epoch \d+, loss \d\.\d{3}, lr [\d.e-]+, \d+ tokens/s, \d+:\d\d left")
    assert screen.wait() == 0


def test_a_dry_run_trains_nothing(my_llm, small, tmp_path):
    result = my_llm("pretrain", *small, "--out", tmp_path / "run", "--dry-run")
    assert result.code == 0, result
    assert [line.split()[0] for line in result.out.splitlines()] == ["parameters", "examples", "steps", "memory", "time"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["tokens"]
    assert my_llm("pretrain", *small, "--out", tmp_path / "run").code == 0


def test_why_standard_output_failed(program, env, small, tmp_path):
    """The reason of its failure, not of what failed after it: a run goes on and opens files."""
    with open("/dev/full", "wb") as full:
        process = subprocess.run([program, "pretrain", *map(str, small), "--out", tmp_path / "run"], stdout=full,
                                 stderr=subprocess.PIPE, env=env, timeout=120)
    assert process.returncode == 1
    assert process.stderr.endswith(b"my-llm: cannot write standard output: No space left on device\n")


def test_gpt2s_vocabulary_by_its_name_needs_no_download(my_llm, fixtures, tmp_path):
    result = my_llm("pretrain", fixtures / "tiny.txt", "--out", tmp_path / "run", "--dry-run", "--tokenizer",
                    "gpt2", "--n-layer", 1, "--n-head", 1, "--n-embd", 16, "--context", 16,
                    env={"MY_LLM_MIRROR": f"file://{tmp_path}/none"})
    assert result.code == 0 and "downloading" not in result.err, result


def test_the_best_model(my_llm, small, tmp_path):
    """A learning rate that soon does harm: the best model is not the last."""
    result = my_llm("pretrain", *small, "--out", tmp_path / "run", "--keep-best", "--lr", 0.3, "--schedule", "constant",
                    "--clip", 0, "--eval-freq", 3)
    assert result.code == 0, result
    results = json.loads((tmp_path / "run" / "run.json").read_text())["results"]
    log = {int(row["step"]): float(row["val_loss"]) for row in rows(tmp_path / "run" / "log.csv")}
    assert results["best_step"] == min(log, key=log.get) != max(log)
    assert results["best_val_loss"] == pytest.approx(min(log.values()), abs=1e-6)
    assert weights(tmp_path / "run", "best") != weights(tmp_path / "run")


def test_steps_end_a_run_within_an_epoch(my_llm, small, tmp_path):
    result = my_llm("pretrain", *small, "--out", tmp_path / "run", "--steps", 13)
    assert result.code == 0, result
    assert [row["step"] for row in rows(tmp_path / "run" / "log.csv")] == ["0", "10", "12"]


def test_going_on_from_a_model(my_llm, small, fixtures, reference, tmp_path):
    """--init begins where the other run ended."""
    result = my_llm("pretrain", fixtures / "tiny.txt", "--out", tmp_path / "run", "--init", reference, "--epochs", 1,
                    "--batch-size", 4, "--eval-iter", 0, "--eval-freq", 0)
    assert result.code == 0, result
    before = float(result.out.split("Before training: Train loss ")[1].split(",")[0])
    last = float(rows(reference / "log.csv")[-1]["train_loss"])
    assert abs(before - last) < 0.3
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert (config["n_embd"], config["n_positions"], config["vocab_size"]) == (16, 16, 512)


def test_every_setting_is_written_down(my_llm, small, tmp_path):
    """Also what became of those that were not given."""
    out = tmp_path / "run"
    more = ["--save-every", 7, "--keep-best", "--prompt", "Once", "--init-scheme", "book", "--warmup", 8]
    assert my_llm("pretrain", *small, "--out", out, *more, "--val-split", 0.3).code == 0
    run = json.loads((out / "run.json").read_text())
    assert run["details"] | {"split": "characters", "prompt": "Once", "init_scheme": "book", "sample_tokens": 5} == run["details"]
    assert run["run"]["task"]["data_parts"]["split"] == "documents"  # of which there is only one
    assert run["sitting"] | {"save_every": 7, "keep_best": True, "recompute": False, "max_minutes": 0} == run["sitting"]
    assert run["run"]["settings"]["min_lr"] == -1
    assert (run["plan"]["initial_lr"], run["plan"]["min_lr"]) == (pytest.approx(5e-4 / 8), pytest.approx(5e-5))
    constant = [*more, "--warmup", 0, "--schedule", "constant"]
    assert my_llm("pretrain", *small, "--out", tmp_path / "other", *constant).code == 0
    plan = json.loads((tmp_path / "other" / "run.json").read_text())["plan"]
    assert (plan["initial_lr"], plan["min_lr"]) == (None, None)


def test_links_in_a_folder_of_texts(my_llm, small, tmp_path):
    """As docs/training.md has it: to a file they count, to a folder or to nothing they do not."""
    folder, elsewhere = tmp_path / "texts", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    shutil.copy(small[0], elsewhere / "text.txt")
    (folder / "folder").symlink_to(elsewhere)
    (folder / "nothing.txt").symlink_to(tmp_path / "nothing.txt")
    result = my_llm("pretrain", folder, *small[1:], "--out", tmp_path / "run", "--dry-run")
    assert result.code == 1 and str(folder) in result.err, result
    (folder / "text.txt").symlink_to(elsewhere / "text.txt")
    result = my_llm("pretrain", folder, *small[1:], "--out", tmp_path / "run", "--dry-run")
    assert result.code == 0, result


def test_nothing_held_back(my_llm, small, tmp_path):
    result = my_llm("pretrain", *small, "--out", tmp_path / "run", "--val-split", 0)
    assert result.code == 0, result
    assert all(row["val_loss"] == "" for row in rows(tmp_path / "run" / "log.csv"))
    assert "Val loss" not in result.out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["results"]["val_loss"] is None


def test_patience_says_why_a_run_ends(my_llm, small, tmp_path):
    out = tmp_path / "run"
    result = my_llm("pretrain", *small, "--out", out, "--patience", 2, "--eval-freq", 3, "--lr", 0, "--dropout", 0)
    assert result.code == 0, result
    best = json.loads((out / "run.json").read_text())["results"]["best_val_loss"]
    assert (f"{out}: the run ends after step 6: 2 evaluations in a row brought nothing better than the validation loss of "
            f"step 0, which is {best:.4g}\n") in result.err
    assert [row["step"] for row in rows(out / "log.csv")] == ["0", "3", "6"]


# ---- Stopping and going on ------------------------------------------------------------------


def test_killed_at_any_moment(program, env, small, reference, tmp_path):
    """kill -9 at twenty random moments, in as many runs as that takes: the same bits in the end, and the same log."""
    draw = random.Random(11)
    kills = finished = 0
    while kills < 20 or finished == 0:
        out = tmp_path / f"run{finished}"
        # Before it has begun its log, there is no run to resume.
        begun = any((out / name).exists() for name in ("log.csv", "checkpoint", "run.json"))
        command = [program, "pretrain", *map(str, small), "--out", out, *(["--resume"] if begun else [])]
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            process.wait(timeout=draw.uniform(0, 0.5) if kills < 20 else 60)
        except subprocess.TimeoutExpired:
            process.kill()
        errors = process.communicate()[1].decode()
        if process.returncode == 0:
            finished += 1
            assert weights(out) == weights(reference)
            assert log_of(out) == log_of(reference)
            left = {path.name for path in out.iterdir()} - {path.name for path in reference.iterdir()}
            assert left <= {"checkpoint"}  # killed between the last word of run.json and clearing up
            continue
        assert process.returncode == -signal.SIGKILL, errors
        kills += 1


def test_ctrl_c_writes_a_checkpoint(terminal, my_llm, small, tmp_path):
    out, whole = tmp_path / "run", tmp_path / "whole"
    longer = [*small, "--save-every", 0, "--epochs", 60]  # not over before Ctrl-C arrives
    assert my_llm("pretrain", *longer, "--out", whole).code == 0
    screen = terminal("pretrain", *longer, "--out", out)
    screen.expect(r"Step 000010")
    screen.interrupt()
    assert screen.wait() == 130
    assert b"resume goes on from there" in screen.screen and b"interrupted" in screen.screen
    assert (out / "checkpoint").exists() and not (out / "model").exists()
    assert json.loads((out / "run.json").read_text())["finished"] is False
    result = my_llm("pretrain", *longer, "--out", out, "--resume")
    assert result.code == 0, result
    assert "resumed     after step" in result.out
    assert weights(out) == weights(whole) and log_of(out) == log_of(whole)


def test_sigterm_writes_a_checkpoint(program, env, my_llm, small, tmp_path):
    """As shutdown, systemd and batch systems end a program; timeout(1) sends it twice."""
    out, whole = tmp_path / "run", tmp_path / "whole"
    longer = [*map(str, small), "--save-every", "0", "--epochs", "60"]  # not over before the signal arrives
    assert my_llm("pretrain", *longer, "--out", whole).code == 0
    process = subprocess.Popen([program, "pretrain", *longer, "--out", out], env=env, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    while "Step 000010" not in (line := process.stdout.readline()):
        assert line
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 143 and "resume goes on from there" in said and "my-llm: terminated" in said, said
    assert (out / "checkpoint").exists()
    result = my_llm("pretrain", *longer, "--out", out, "--resume")
    assert result.code == 0, result
    assert weights(out) == weights(whole) and log_of(out) == log_of(whole)


def test_the_time_is_over(my_llm, small, reference, tmp_path):
    """In sittings of a few milliseconds, each at least one step."""
    out = tmp_path / "run"
    result = my_llm("pretrain", *small, "--out", out, "--max-minutes", 0.001)
    sittings = 1
    while result.code == 0 and not (out / "model").exists() and sittings < 100:
        assert "the time is over; --resume goes on after step" in result.err
        result = my_llm("pretrain", *small, "--out", out, "--max-minutes", 0.001, "--resume")
        sittings += 1
    assert result.code == 0, result
    assert weights(out) == weights(reference) and log_of(out) == log_of(reference)


def interrupted(my_llm, small, out):
    """A run with a checkpoint, stopped."""
    result = my_llm("pretrain", *small, "--out", out, "--max-minutes", 0.001, "--epochs", 50)
    assert result.code == 0 and (out / "checkpoint").exists(), result
    return [*small, "--out", out, "--epochs", 50, "--resume"]


@pytest.mark.parametrize("more, sentence", [
    (["--lr", 0.1], "the run was begun with lr 0.0005, now it is 0.1"),
    (["--seed", 5], "the run was begun with seed 123, now it is 5"),
    (["--n-embd", 32], "the run was begun with n-embd 16, now it is 32"),
    (["--context", 8], "now it is 8"),
    (["--val-split", 0.2], "the run was begun with val-split 0.1, now it is 0.2"),
    (["--split", "characters"], "the run was begun with split documents, now it is characters"),
    (["--init-scheme", "book"], "the run was begun with other initial weights"),
])
def test_another_run_is_not_resumed(my_llm, small, tmp_path, more, sentence):
    arguments = interrupted(my_llm, small, tmp_path / "run")
    before = (tmp_path / "run" / "checkpoint").read_bytes()
    result = my_llm("pretrain", *arguments, *more)
    assert result.code == 1, result
    assert sentence in result.err and str(tmp_path / "run" / "checkpoint") in result.err
    assert (tmp_path / "run" / "checkpoint").read_bytes() == before


def test_other_texts_are_not_resumed(my_llm, small, fixtures, tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes((fixtures / "tiny.txt").read_bytes())
    arguments = interrupted(my_llm, [text, *small[1:]], tmp_path / "run")
    text.write_bytes((fixtures / "tiny.txt").read_bytes() + b" And more.")
    result = my_llm("pretrain", *arguments)
    assert result.code == 1
    assert "the run was begun with other texts\n" in result.err


def test_a_damaged_checkpoint(my_llm, small, tmp_path):
    arguments = interrupted(my_llm, small, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint"
    good = path.read_bytes()
    for damaged, sentence in (
        (good[:1000], "is cut short or damaged"),
        (good[: len(good) // 2], "bytes of numbers"),
        (b"", "is not a checkpoint of this version of my-llm"),
        (good[:-100] + b"?" + good[-99:], "the checksum of its numbers does not agree"),
    ):
        path.write_bytes(damaged)
        result = my_llm("pretrain", *arguments)
        assert result.code == 1 and f"{path}: " in result.err and sentence in result.err, result
    path.write_bytes(good)
    (tmp_path / "run" / "log.csv").write_text("step\n")
    result = my_llm("pretrain", *arguments)
    assert result.code == 1 and "log.csv: has 5 bytes, the checkpoint was written after" in result.err


def test_a_finished_run_stays_finished(my_llm, small, reference):
    """So that a script may resume until it succeeds."""
    before = {path: path.read_bytes() for path in reference.rglob("*") if path.is_file()}
    result = my_llm("pretrain", *small, "--out", reference, "--resume")
    assert result.code == 0 and f"{reference}: this run is finished" in result.err, result
    assert {path: path.read_bytes() for path in reference.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("more, sentence", [
    (["--lr", 0.1], "the run was begun with lr 0.0005, now it is 0.1"),
    (["--val-split", 0.2], "the run was begun with "),
    (["--steps", 60], "the run was begun with steps 0, now it is 60, and it is finished, so its checkpoint is gone: begin a "
                      "run in another place, with init {out}/model"),
])
def test_another_run_than_the_finished_one(my_llm, small, reference, more, sentence):
    before = (reference / "run.json").read_bytes(), weights(reference)
    result = my_llm("pretrain", *small, "--out", reference, "--resume", *more)
    assert result.code == 1 and f"{reference}: {sentence.format(out=reference)}" in result.err, result
    assert ((reference / "run.json").read_bytes(), weights(reference)) == before


def test_nothing_to_resume(my_llm, small, tmp_path):
    result = my_llm("pretrain", *small, "--out", tmp_path / "run", "--resume")
    assert result.code == 1 and "there is no run to resume here" in result.err
    assert not (tmp_path / "run").exists()


def test_an_existing_run_stays(my_llm, small, reference):
    before = {path: path.read_bytes() for path in reference.rglob("*") if path.is_file()}
    result = my_llm("pretrain", *small, "--out", reference)
    assert result.code == 1 and "holds a run already" in result.err
    assert result.err.endswith("my-llm: --force overwrites it, --out DIR names another place\n")
    stopped = reference.parent / "stopped"
    assert my_llm("pretrain", *small, "--epochs", 50, "--out", stopped, "--max-minutes", 0.001).code == 0
    result = my_llm("pretrain", *small, "--epochs", 50, "--out", stopped)
    assert result.err.endswith("my-llm: --resume resumes it, --force overwrites it, --out DIR names another place\n")
    assert {path: path.read_bytes() for path in reference.rglob("*") if path.is_file()} == before
    result = my_llm("pretrain", *small, "--out", reference, "--force", "--steps", 3)
    assert result.code == 0, result
    assert len(rows(reference / "log.csv")) == 2


def test_one_run_at_a_time(program, env, my_llm, small, tmp_path):
    out = tmp_path / "run"
    arguments = interrupted(my_llm, small, out)
    process = subprocess.Popen([program, "pretrain", *map(str, arguments)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout.readline()  # the plan: it holds the log by now
        result = my_llm("pretrain", *arguments)
        assert result.code == 1 and "another run is writing here" in result.err, result
    finally:
        process.kill()
        process.communicate()


# ---- What goes wrong ------------------------------------------------------------------------


def limited(program, env, bytes_, *args):
    """A run in which no file may grow beyond so many bytes, as on a disk that is full, or after `ulimit -f`."""
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and that would be inherited
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))

    return subprocess.run([program, *map(str, args)], env=env, capture_output=True, text=True, timeout=120,
                          preexec_fn=limit, restore_signals=False)


def test_a_full_disk_stops_the_run(program, env, my_llm, small, reference, tmp_path):
    """The checkpoint does not fit (three times the weights), the rest does; with room, the run goes on."""
    out = tmp_path / "run"
    result = limited(program, env, len(weights(reference)) + 20000, "pretrain", *small, "--out", out)
    assert result.returncode == 1 and f"{out}/checkpoint: cannot write" in result.stderr, result
    assert not (out / "checkpoint").exists()
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    result = my_llm("pretrain", *small, "--out", out, "--resume")
    assert result.code == 0 and "no checkpoint was written yet, so the run begins anew" in result.err, result
    assert weights(out) == weights(reference)


def test_a_disk_full_at_the_end_keeps_the_checkpoint(program, env, my_llm, longer, undisturbed, tmp_path):
    """Not even the model fits: what was saved before stays, and the rest is done later."""
    out = tmp_path / "run"
    arguments = ["pretrain", *longer, "--out", out]
    assert my_llm(*arguments, "--max-minutes", 0.001).code == 0
    before = (out / "checkpoint").read_bytes()
    result = limited(program, env, 8000, *arguments, "--resume", "--save-every", 0)
    assert result.returncode == 1 and "cannot write" in result.stderr, result
    assert (out / "checkpoint").read_bytes() == before and not (out / "model").exists()
    assert my_llm(*arguments, "--resume").code == 0
    assert weights(out) == weights(undisturbed) and log_of(out) == log_of(undisturbed)


def test_results_that_cannot_be_written_are_written_later(my_llm, longer, undisturbed, tmp_path):
    """A checkpoint of the last step takes the place of an older one, and resuming only writes what is missing."""
    out = tmp_path / "run"
    assert my_llm("pretrain", *longer, "--out", out, "--max-minutes", 0.001).code == 0
    assert not (out / "model").exists()
    (out / "model").write_text("in the way")
    result = my_llm("pretrain", *longer, "--out", out, "--resume", "--save-every", 0)
    assert result.code == 1 and f"{out}/model: is not a directory" in result.err, result
    (out / "model").unlink()
    result = my_llm("pretrain", *longer, "--out", out, "--resume")
    assert result.code == 0 and "Ep " not in result.out, result  # no step was left to do
    assert weights(out) == weights(undisturbed) and log_of(out) == log_of(undisturbed)
    assert not (out / "checkpoint").exists()


def test_pictures_that_cannot_be_written(my_llm, longer, undisturbed, tmp_path):
    out = tmp_path / "run"
    assert my_llm("pretrain", *longer, "--out", out, "--max-minutes", 0.001).code == 0
    shutil.rmtree(out / "plots")
    (out / "plots").write_text("in the way")
    result = my_llm("pretrain", *longer, "--out", out, "--resume")
    assert result.code == 0, result
    assert f"{out}/plots: cannot create this directory: File exists; there is no picture loss" in result.err
    assert weights(out) == weights(undisturbed)
    assert json.loads((out / "run.json").read_text())["finished"] is True


def test_what_is_not_the_runs_stays(my_llm, small, tmp_path):
    thesis = tmp_path / "precious" / "thesis"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    out = tmp_path / "run"
    # A folder with a model/ and no run, with and without leave to overwrite.
    (out / "model").mkdir(parents=True)
    for more in ([], ["--force"]):
        result = my_llm("pretrain", *small, "--out", out, *more)
        assert result.code == 1, result
        assert result.err.endswith(f"{out}: holds model, but no run that it could be of; name another place\n")
    (out / "model").rmdir()
    # What a link leads to.
    assert my_llm("pretrain", *small, "--out", out, "--steps", 2).code == 0
    shutil.rmtree(out / "model")
    (out / "model").symlink_to(thesis.parent)
    (out / "best").symlink_to(thesis.parent)
    assert my_llm("pretrain", *small, "--out", out, "--steps", 2, "--force").code == 0
    assert thesis.read_text() == "mine" and not (out / "model").is_symlink()
    # A model that no checkpoint goes with.
    (out / "run.json").unlink()
    before = weights(out)
    result = my_llm("pretrain", *small, "--out", out, "--steps", 2, "--resume")
    assert result.code == 1 and "holds a model and no checkpoint to go on from" in result.err, result
    assert weights(out) == before


def test_a_run_in_the_folder_of_its_texts(my_llm, longer, fixtures, undisturbed, tmp_path):
    """The merges.txt of the models there is no text to learn from."""
    texts = tmp_path / "texts"
    texts.mkdir()
    shutil.copy(fixtures / "tiny.txt", texts)
    arguments = ["pretrain", texts, *longer[1:], "--out", texts / "run", "--keep-best"]
    assert my_llm(*arguments, "--max-minutes", 0.001).code == 0
    result = my_llm(*arguments, "--resume")
    assert result.code == 0, result
    assert (texts / "run" / "best" / "merges.txt").exists()
    assert weights(texts / "run") == weights(undisturbed)
    assert my_llm("pretrain", texts, *longer[1:], "--out", tmp_path / "again").code == 0
    assert weights(tmp_path / "again") == weights(undisturbed)


def test_another_vocabulary_ends_texts_with_its_own_token(my_llm, small, fixtures, tmp_path):
    shapes = dict(n_layer=1, n_embd=4, n_inner=16, n_positions=16, vocab_size=600)
    model = tiny.write_model(tmp_path / "model", tiny.tensors(**shapes), n_positions=16, vocab_size=600, eos_token_id=599)
    result = my_llm("pretrain", fixtures / "tiny.txt", "--init", model, "--tokenizer", fixtures / "tokenizer", "--out",
                    tmp_path / "run", "--context", 8, "--steps", 1, "--sample-tokens", 0)
    assert result.code == 0, result
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["eos_token_id"] == 511


def test_a_classifier_writes_no_text(my_llm, fixtures, tmp_path):
    shapes = dict(n_layer=1, n_embd=4, n_inner=16, n_positions=16, vocab_size=512)
    tensors = {**tiny.tensors(**shapes), "score.weight": tiny.tensor([2, 4], 0.1)}
    model = tiny.write_model(tmp_path / "model", tensors, n_positions=16, vocab_size=512,
                             architectures=["GPT2ForSequenceClassification"], id2label={"0": "a", "1": "b"},
                             label2id={"a": 0, "b": 1})
    result = my_llm("pretrain", fixtures / "tiny.txt", "--init", model, "--tokenizer", fixtures / "tokenizer", "--out",
                    tmp_path / "run", "--context", 8, "--steps", 1)
    assert result.code == 1 and "is a classifier of 2 labels, which writes no text" in result.err, result
    assert not (tmp_path / "run" / "log.csv").exists()


def test_a_loss_that_is_not_a_number(my_llm, fixtures, tmp_path):
    shapes = dict(n_layer=1, n_embd=4, n_inner=16, n_positions=16, vocab_size=512)
    tensors = tiny.tensors(**shapes)
    tensors["h.0.mlp.c_fc.bias"] = tiny.tensor([16], float("nan"))
    model = tiny.write_model(tmp_path / "model", tensors, n_positions=16, vocab_size=512)
    result = my_llm("pretrain", fixtures / "tiny.txt", "--init", model, "--tokenizer", fixtures / "tokenizer", "--out",
                    tmp_path / "run", "--context", 8)
    assert result.code == 1
    assert ("step 0: the loss is nan, so the run stops: among the weights that the model began with are some that are "
            "not numbers\n") in result.err, result
    assert not (tmp_path / "run" / "model").exists() and not (tmp_path / "run" / "checkpoint").exists()


def test_memory_that_is_too_little(my_llm, small, tmp_path):
    result = my_llm("pretrain", *small, "--out", tmp_path / "run", "--memory", "100kB")
    assert result.code == 1
    assert re.search(r"this run takes 0\.[2-9] MB and 0\.1 MB are available", result.err), result
    assert "memory is short: activations are computed again in backward" in result.err  # which was not enough


@pytest.mark.parametrize("make, sentence", [
    (lambda folder: folder / "nothing.txt", "nothing.txt"),
    (lambda folder: (folder / "empty.txt").write_text("") and None or folder / "empty.txt", "empty.txt"),
    (lambda folder: (folder / "short.txt").write_text("Too short.") and folder / "short.txt", "give it more text or a shorter context"),
    (lambda folder: (folder / "folder").mkdir() or folder / "folder", "folder"),
])
def test_texts_that_cannot_be_learnt_from(my_llm, small, tmp_path, make, sentence):
    result = my_llm("pretrain", make(tmp_path), *small[1:], "--out", tmp_path / "run")
    assert result.code == 1 and sentence in result.err, result
    assert result.err.count("\n") <= 3
    assert not (tmp_path / "run" / "log.csv").exists()


def test_fewer_examples_than_a_step_takes(my_llm, small, tmp_path):
    result = my_llm("pretrain", *small, "--out", tmp_path / "run", "--batch-size", 5000)
    assert result.code == 1 and "one step takes 5000 (batch-size 5000, grad-accum 1)" in result.err, result


def test_places_that_cannot_be_written(my_llm, small, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "run", "/proc/run"):
        result = my_llm("pretrain", *small, "--out", out)
        assert result.code == 1, result
        assert str(tmp_path / "file") in result.err or "/proc/run" in result.err, result
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("more, sentence", [
    ([], "--out DIR says where"),
    (["--out", "x", "--lr", "fast"], "--lr is \"fast\", a number from 0 to 100 was expected"),
    (["--out", "x", "--epochs", "0"], "--epochs is \"0\", a whole number from 1 to"),
    (["--out", "x", "--dropout", "1"], "--dropout is \"1\", a number from 0 to 0.99 was expected"),
    (["--out", "x", "--preset", "book"], "book-ch5 or book-appendix-d"),
    (["--out", "x", "--size", "125M"], "124M, 355M, 774M or 1558M was expected"),
    (["--out", "x", "--n-head", "5", "--n-embd", "64"], "--n-head does not divide --n-embd"),
    (["--out", "x", "--init", "bundled", "--n-layer", "2"], "--init has a shape already"),
    (["--out", "x", "--resume", "--force"], "--resume and --force exclude each other"),
    (["--out", "x", "--schedule", "constant", "--min-lr", "0.1"], "--min-lr is where cosine or cooldown end"),
    (["--out", "x", "--cooldown", "5"], "cooldown is how a constant rate ends"),
    (["--out", "x", "--min-lr", "0.1", "--lr", "0.01"], "min-lr is 0.1, higher than lr"),
    (["--out", "x", "--initial-lr", "0.1", "--lr", "0.01"], "initial-lr is 0.1, higher than lr"),
    (["--out", "x", "--initial-lr", "0.1", "--lr", "0.2", "--warmup", "0"], "--initial-lr is where warm-up begins"),
    (["--out", "x", "--val-split", "0", "--keep-best"], "--val-split 0 holds nothing back"),
    (["--out", "x", "--val-split", "0", "--patience", "2"], "--val-split 0 holds nothing back"),
    (["--out", "x", "--patience", "2", "--eval-freq", "0"], "--patience counts evaluations"),
    (["--out", "x", "--lora-alpha", "8"], "--lora-alpha is of adapters, and there are none"),
    (["--out", "x", "--clip", "0", "--clip-after-warmup"], "--clip-after-warmup says when to clip"),
    (["--out", "x", "--clip", "0", "--torch-norm"], "--torch-norm is how the norm to clip is computed"),
    (["--out", "x", "--compute", "f16"], "f32 or bf16"),
])
def test_wrong_usage(my_llm, fixtures, more, sentence, tmp_path):
    result = my_llm("pretrain", fixtures / "tiny.txt", *more, cwd=tmp_path)
    assert result.code in (1, 2) and sentence in result.err, result
    assert not (tmp_path / "x").exists()


def test_a_preset_may_set_what_another_option_makes_useless(my_llm, small, tmp_path):
    result = my_llm("pretrain", *small, "--out", tmp_path / "x", "--preset", "book-appendix-d", "--clip", 0, "--dry-run")
    assert result.code == 0, result


def test_too_little_held_back_to_go_by(my_llm, small, tmp_path):
    result = my_llm("pretrain", *small, "--out", tmp_path / "run", "--val-split", 0.0001, "--keep-best")
    assert result.code == 1 and "keep-best goes by the validation loss, and there is no example" in result.err, result
    assert not (tmp_path / "run" / "log.csv").exists()


def test_no_text_at_all(my_llm, tmp_path):
    result = my_llm("pretrain", "--out", tmp_path / "run")
    assert result.code == 2 and "something is missing" in result.err
