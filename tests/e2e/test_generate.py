"""`my-llm generate` as a person runs it: at pipes, and at a terminal."""

import json
import os
import signal
import subprocess
import time

import pytest

QUESTION = r"Enter a prompt \(type 'quit' to exit\): "


def reference(models, name):
    """Prompt and greedy ids of a fixture model, from transformers."""
    lines = (models / "reference" / f"{name}.txt").read_text().splitlines()
    prompt = [int(word) for word in lines[0].split()[2:]]
    greedy = [int(word) for word in lines[1].split()[2:]]
    return prompt, greedy


def join(ids):
    return " ".join(map(str, ids))


# ---- Text ------------------------------------------------------------------------------------


def test_text_begins_with_the_prompt_and_speed_goes_to_stderr(my_llm):
    result = my_llm("generate", "-m", "bundled", "-n", "20", "Once upon a time")
    assert result.code == 0
    assert result.out.startswith("Once upon a time") and result.out.endswith("\n")
    assert len(result.out) > 40
    assert "[prompt: " in result.err and "generated: 20 tokens, " in result.err and " tok/s]" in result.err
    bare = my_llm("generate", "-m", "bundled", "-n", "20", "--no-echo", "Once upon a time")
    assert "Once upon a time" + bare.out == result.out


def test_prompt_from_standard_input_and_from_a_file_is_the_same(my_llm, tmp_path):
    args = ["generate", "-m", "bundled", "-n", "12"]
    expected = my_llm(*args, "The king said").out
    file = tmp_path / "prompt.txt"
    file.write_text("The king said\n")
    assert my_llm(*args, "-", input="The king said\n").out == expected
    assert my_llm(*args, input="The king said").out == expected  # no prompt, no terminal
    assert my_llm(*args, "-f", file).out == expected
    assert my_llm(*args, "-f", "-", input="The king said\n").out == expected
    two = my_llm(*args, "-", input="The king said\n\n").out
    assert two.startswith("The king said\n")  # only one newline is the file's


def test_same_seed_same_text_other_seed_other_text(my_llm):
    texts = [
        my_llm("generate", "-m", "bundled", "-n", "30", "--seed", seed, "-t", threads, "It was").out
        for seed, threads in ((1, 1), (1, 2), (2, 1))
    ]
    assert texts[0] == texts[1] != texts[2]


def test_no_model_named_uses_the_bundled_one_and_says_so(my_llm):
    result = my_llm("generate", "-n", "3", "Hello")
    assert result.code == 0 and result.out.startswith("Hello")
    assert "my-llm: no model named; using the bundled one\n" in result.err


def test_empty_prompt_begins_with_end_of_text(my_llm):
    result = my_llm("generate", "-m", "bundled", "-n", "10", "--json", "")
    answer = json.loads(result.out)
    assert answer["prompt"] == "" and answer["timings"]["prompt_tokens"] == 1
    assert len(answer["samples"][0]["ids"]) > 0


def test_end_of_text_in_a_prompt_is_plain_text(my_llm):
    answer = json.loads(my_llm("generate", "-m", "bundled", "-n", "1", "--json", "<|endoftext|>").out)
    assert len(answer["prompt_ids"]) > 1 and 4095 not in answer["prompt_ids"]


def test_long_prompt_keeps_its_newest_part_and_says_so(my_llm):
    text = "the little boy went to the house and " * 100
    result = my_llm("generate", "-m", "bundled", "-n", "5", "-", input=text)
    assert result.code == 0 and result.out.startswith(text)
    assert "tokens and the model's context holds 256: its newest part is used\n" in result.err
    result = my_llm("generate", "-m", "bundled", "--no-shift", "-", input=text)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("my-llm: the prompt has ") and result.err.count("\n") == 1


def test_text_goes_on_past_the_context(my_llm):
    args = ["generate", "-m", "bundled", "--json", "--ignore-eos", "-n", "300", "-t", "1", "Once"]
    sample = json.loads(my_llm(*args).out)["samples"][0]
    assert len(sample["ids"]) == 300 and sample["finish"] == "length"
    stopped = json.loads(my_llm(*args, "--no-shift").out)["samples"][0]
    assert stopped["finish"] == "context" and 200 < len(stopped["ids"]) <= 256
    assert sample["ids"][: len(stopped["ids"])] == stopped["ids"]


def test_stop_texts(my_llm):
    args = ["generate", "-m", "bundled", "-n", "40", "Once upon a time", "--no-echo"]
    whole = my_llm(*args).out
    stop = whole[23:28]
    result = my_llm(*args, "--stop", "never to be seen", "--stop", stop)
    assert result.out == whole[: whole.index(stop)] + "\n"
    answer = json.loads(my_llm(*args, "--stop", stop, "--json").out)
    assert answer["samples"][0]["finish"] == "stop"
    assert answer["samples"][0]["text"] == whole[: whole.index(stop)]


def test_text_streams_as_it_is_made(build, env):
    process = subprocess.Popen(
        [build / "my-llm", "generate", "-m", "bundled", "-n", "1000000", "--ignore-eos", "Once upon"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    )
    first = process.stdout.read(60)  # long before a million tokens are there
    assert first.startswith(b"Once upon")
    # Ctrl-C ends the text; what was made stays, the speed is told, and a script can tell.
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out.endswith(b"\n") and b"generated: " in err


def test_several_samples_at_once(my_llm):
    args = ["generate", "-m", "bundled", "-n", "15", "The sea"]
    one = my_llm(*args).out
    three = my_llm(*args, "--samples", "3").out
    parts = [part.split(" ---\n", 1)[-1] for part in three.split("--- sample ")[1:]]
    assert three.startswith("--- sample 1 of 3 ---\nThe sea")
    assert len(parts) == 3 and len(set(parts)) == 3
    assert parts[0] == one
    assert all(part.startswith("The sea") for part in parts)


# ---- Ids and JSON ----------------------------------------------------------------------------


@pytest.mark.parametrize("isa", ["ref", "baseline", "avx2", "avx512"])
def test_greedy_ids_are_those_of_transformers(my_llm, models, isa):
    for name in ("prefix", "untied", "bylayer", "distil", "openai", "bf16"):
        prompt, greedy = reference(models, name)
        args = ["-m", models / name, "--prompt-ids", join(prompt), "--print-ids", "--no-echo", "--temperature", "0"]
        result = my_llm("generate", *args, "-n", "40", "--ignore-eos", env={"MY_LLM_ISA": isa})
        if "which this processor does not have" in result.err:
            pytest.skip(f"this processor has no {isa}")
        assert result.code == 0, result
        assert result.out == join(greedy) + "\n", name


def test_ids_with_echo_and_commas(my_llm, models):
    prompt, greedy = reference(models, "prefix")
    ids = ",".join(map(str, prompt))
    args = ["generate", "-m", models / "prefix", "--prompt-ids", ids, "--print-ids", "--temperature", "0", "-n", "40"]
    assert my_llm(*args).out == join(prompt + greedy) + "\n"
    two = my_llm(*args, "--samples", "2").out
    assert two == f"--- sample 1 of 2 ---\n{join(prompt + greedy)}\n--- sample 2 of 2 ---\n{join(prompt + greedy)}\n"


def test_model_without_vocabulary_has_only_ids(my_llm, models):
    sentence = (
        f"my-llm: {models / 'prefix'}: the model has no vocabulary, so it has no text; "
        "give --prompt-ids and --print-ids\n"
    )
    for args in (["Hello"], ["--prompt-ids", "1 2"], ["Hello", "--print-ids"]):
        result = my_llm("generate", "-m", models / "prefix", *args)
        assert (result.code, result.out, result.err) == (1, "", sentence)
    result = my_llm("generate", "-m", models / "prefix", "--prompt-ids", "1 2", "--print-ids", "--stop", "x")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "my-llm: stop texts need a vocabulary, and this model has none: only ids can be generated\n"
    )
    answer = json.loads(my_llm("generate", "-m", models / "prefix", "--prompt-ids", "1 2", "--json", "-n", "3").out)
    assert answer["samples"][0]["text"] is None and len(answer["samples"][0]["ids"]) == 3
    assert answer["prompt"] is None and answer["prompt_ids"] == [1, 2]


def test_bad_ids_are_refused(my_llm, models):
    args = ["generate", "-m", models / "prefix", "--print-ids", "--prompt-ids"]
    cases = {
        "1 101": "id 101 at place 1 of the prompt is not one of the model's, 0 to 100",
        "1 -1": "--prompt-ids: '-1' is not an id; decimal numbers were expected",
        "1 2x": "--prompt-ids: '2x' is not an id; decimal numbers were expected",
        "99999999999": "--prompt-ids: '99999999999' is not an id; decimal numbers were expected",
        "": "the prompt is empty, and the model has no end-of-text token to begin with",
    }
    for ids, sentence in cases.items():
        result = my_llm(*args, ids)
        assert (result.code, result.out, result.err) == (1, "", f"my-llm: {sentence}\n")


def test_json_has_text_ids_finish_timings_and_logprobs(my_llm):
    args = ["generate", "-m", "bundled", "-n", "6", "--samples", "2", "--logprobs", "3", "--json", "Once upon a time"]
    result = my_llm(*args)
    answer = json.loads(result.out)
    assert result.code == 0 and answer["model"] == "bundled" and answer["prompt"] == "Once upon a time"
    assert len(answer["samples"]) == 2
    for sample in answer["samples"]:
        assert sample["finish"] == "length" and len(sample["ids"]) == 6
        assert "".join(token["text"] for token in sample["logprobs"]) == sample["text"]
        assert [token["id"] for token in sample["logprobs"]] == sample["ids"]
        for token in sample["logprobs"]:
            logprobs = [each["logprob"] for each in token["top"]]
            assert len(logprobs) == 3 and logprobs == sorted(logprobs, reverse=True)
            assert token["logprob"] <= logprobs[0] <= 0
    timings = answer["timings"]
    assert timings["prompt_tokens"] == len(answer["prompt_ids"]) and timings["generated_tokens"] == 12
    assert timings["prompt_seconds"] > 0 and timings["generated_tokens_per_second"] > 0
    table = my_llm(*[arg for arg in args if arg != "--json"]).out
    assert table.count("  | ") == 12 and '" the"' in table or '"' in table


def test_text_that_is_no_utf8_stays_valid_json(my_llm, models):
    # The tiny model's ids are random bytes.
    args = ["generate", "-m", models / "text", "--temperature", "1000", "--top-k", "0", "-n", "200", "--ignore-eos"]
    result = my_llm(*args, "--json", "--logprobs", "1", "-", input=b"\xff\xe2")
    answer = json.loads(result.raw.decode())  # strict
    assert answer["prompt"] == "\ufffd\ufffd" and "\ufffd" in answer["samples"][0]["text"]
    assert my_llm(*args, "-", input=b"\xff\xe2").raw.startswith(b"\xff\xe2")


# ---- What goes wrong -------------------------------------------------------------------------


def test_wrong_usage(my_llm, models):
    cases = [
        (["Hello", "-f", "x"], "PROMPT, --file and --prompt-ids exclude each other"),
        (["Hello", "--prompt-ids", "1"], "PROMPT, --file and --prompt-ids exclude each other"),
        (["--temperature", "-1", "Hello"], '--temperature is "-1", a number from 0 to 1000 was expected'),
        (["--temperature", "nan", "Hello"], '--temperature is "nan", a number from 0 to 1000 was expected'),
        (["--top-p", "2", "Hello"], '--top-p is "2", a number from 0 to 1 was expected'),
        (["--samples", "0", "Hello"], '--samples is "0", a whole number from 1 to 4096 was expected'),
    ]
    for args, sentence in cases:
        result = my_llm("generate", *args)
        assert (result.code, result.out) == (2, "")
        assert result.err.splitlines()[0] == f"my-llm generate: {sentence}"
    assert my_llm("generate", "one", "two").code == 2


def test_files_that_are_not_there(my_llm):
    result = my_llm("generate", "-m", "bundled", "-f", "/no/such/file")
    assert (result.code, result.out) == (1, "")
    assert result.err == "my-llm: /no/such/file: cannot open this file: No such file or directory\n"
    result = my_llm("generate", "-m", "/no/such/model", "Hello")
    assert (result.code, result.out) == (1, "") and "/no/such/model" in result.err


def test_full_disk_is_a_failure(build, env):
    for more in ([], ["--json"], ["--print-ids"], ["--samples", "2"]):
        with open("/dev/full", "wb") as full:
            process = subprocess.run(
                [build / "my-llm", "generate", "-m", "bundled", "-n", "5", *more, "Hello"],
                stdout=full,
                stderr=subprocess.PIPE,
                env=env,
            )
        assert process.returncode == 1
        assert process.stderr == b"my-llm: cannot write standard output: No space left on device\n"


def test_closed_pipe_ends_the_program(build, env):
    process = subprocess.Popen(
        [build / "my-llm", "generate", "-m", "bundled", "-n", "1000000", "--ignore-eos", "Once upon"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    )
    process.stdout.read(20)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGPIPE, 1)
    assert err in (b"", b"my-llm: cannot write standard output: Broken pipe\n")


def test_nan_weights_are_named(my_llm, models, tmp_path):
    folder = tmp_path / "nan"
    folder.mkdir()
    (folder / "config.json").write_bytes((models / "prefix" / "config.json").read_bytes())
    blob = bytearray((models / "prefix" / "model.safetensors").read_bytes())
    size = int.from_bytes(blob[:8], "little")
    begin = json.loads(blob[8 : 8 + size])["transformer.ln_f.bias"]["data_offsets"][0]
    blob[8 + size + begin : 8 + size + begin + 4] = b"\x00\x00\xc0\x7f"
    (folder / "model.safetensors").write_bytes(blob)
    result = my_llm("generate", "-m", folder, "--prompt-ids", "1 2 3", "--print-ids")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "my-llm: the model's logits are not numbers (NaN for token 0): its weights are damaged or overflow\n"
    )


# ---- At a terminal ---------------------------------------------------------------------------


def generate_at(terminal, *args, **more):
    return terminal("generate", "-m", "bundled", *args, **more)


def test_prompts_at_a_terminal_until_quit(terminal):
    person = generate_at(terminal, "-n", "8")
    person.expect(QUESTION)
    person.send("Once upon a time\n")
    person.expect("Once upon a time.*Once upon a time.+generated: 8 tokens")  # typed, then printed
    person.expect(QUESTION)
    person.send("\n")  # nothing entered: asked again
    person.expect(QUESTION)
    person.send(" quit \n")
    assert person.wait() == 0


def test_ctrl_d_ends_the_conversation(terminal):
    person = generate_at(terminal)
    person.expect(QUESTION)
    person.send(b"\x04")
    assert person.wait() == 0


def test_ctrl_d_typed_ahead_ends_the_conversation_too(terminal):
    person = generate_at(terminal)
    person.send(b"\x04")  # the terminal is not yet read key by key
    assert person.wait() == 0


def test_line_editing_and_history(terminal):
    person = generate_at(terminal, "-n", "3")
    person.expect(QUESTION)
    person.send("The sun\x7f\x7f\x7fmoon\n")  # backspace
    person.expect("The moon.*generated: 3 tokens")
    person.expect(QUESTION)
    person.send("\x1b[A\x01So \n")  # the line before, to its beginning, a word in front
    person.expect("So The moon.*generated: 3 tokens")
    person.expect(QUESTION)
    person.send("quit\n")
    assert person.wait() == 0


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_prompts_may_have_any_character(terminal, locale):
    person = generate_at(terminal, "-n", "2", env={"LC_ALL": locale})
    person.expect(QUESTION)
    person.send("Caf\u00e9 \u20ac\n")
    person.expect("\nCaf\u00e9 \u20ac.*generated: 2 tokens")
    person.send("quit\n")
    assert person.wait() == 0


def test_ctrl_c_ends_the_text_and_not_the_session(terminal):
    person = generate_at(terminal, "-n", "1000000", "--ignore-eos")
    person.expect(QUESTION)
    person.send("Once upon a time\n")
    person.expect("Once upon a time.*Once upon a time.{40}")
    person.interrupt()
    person.expect("generated: ")
    person.expect(QUESTION)
    person.send("And then\n")
    person.expect("And then.*And then.{40}")
    person.interrupt()
    person.expect("generated: ")
    person.expect(QUESTION)
    person.interrupt()  # the second one, with nothing entered between
    assert person.wait() == 130


def test_sigterm_at_the_prompt_ends_the_program(terminal):
    person = generate_at(terminal)
    person.expect(QUESTION)
    person.send("half a line")
    person.expect("half a line")
    os.kill(person.pid, signal.SIGTERM)
    assert person.wait() == 143


def test_second_ctrl_c_at_the_prompt_ends_the_program(terminal):
    person = generate_at(terminal)
    person.expect(QUESTION)
    person.send("half a line")
    person.expect("half a line")
    person.interrupt()
    person.expect("Ctrl-C once more")
    person.expect(QUESTION)
    person.interrupt()
    assert person.wait() == 130


def test_terminal_is_left_as_it_was(terminal):
    import termios

    for keys in (b"quit\n", b"\x04", b"\x03\x03"):
        person = generate_at(terminal)
        before = termios.tcgetattr(person.fd)
        person.expect(QUESTION)
        for key in (keys[i : i + 1] for i in range(len(keys))):
            person.send(key)
            time.sleep(0.1)
        person.expect("$", timeout=1)
        after = None
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                after = termios.tcgetattr(person.fd)
            except termios.error:
                break
            if after[3] == before[3]:
                break
            person._read(0.1)
        assert after is None or after[3] == before[3]
        person.wait()


def test_interactive_goes_on_to_the_prompt_only_at_a_terminal(terminal, my_llm):
    args = ["-n", "5", "-i", "Once upon a time"]
    result = my_llm("generate", "-m", "bundled", *args)
    assert result.code == 0 and "Enter a prompt" not in result.err + result.out
    person = generate_at(terminal, *args)
    person.expect("Once upon a time.*generated: 5 tokens.*" + QUESTION)
    person.send("quit\n")
    assert person.wait() == 0


def test_failure_at_the_prompt_does_not_end_the_conversation(terminal):
    person = generate_at(terminal, "--no-shift", "-n", "2")
    person.expect(QUESTION)
    person.send("a b c d e f g h " * 40 + "\n")
    person.expect("context holds 256")
    person.expect(QUESTION)
    person.send("Hello\n")
    person.expect("generated: 2 tokens")
    person.send("quit\n")
    assert person.wait() == 0
