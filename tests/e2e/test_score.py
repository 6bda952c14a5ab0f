"""`my-llm instruct score` against a judge that is good, slow, broken, endless, wrong, or gone."""
import json
import re
import shutil
import signal
import socket
import statistics
import subprocess

import pytest

import judge_server as says
from conftest import PROGRAM
from judge_server import Judge


def number_of(question):
    """Which entry a question is about: its response is "answer <number>"."""
    return int(re.search(r"score the model response `answer (\d+)`", question)[1])


def score_of(number):
    return number * 37 % 101


def good(question, times):
    return str(score_of(number_of(question)))


@pytest.fixture
def entries():
    return [{"instruction": f"Instruktion é {i}", "input": "" if i % 2 else f"input {i}", "output": f"right {i}",
             "id": i, "model_response": f"answer {i}"} for i in range(30)]


@pytest.fixture
def file(tmp_path, entries):
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(entries, indent=4))
    return path


@pytest.fixture
def score(my_llm, file):
    """score(judge, options...): one run on the file."""
    def run(judge, *options, **more):
        url = judge if isinstance(judge, str) else judge.url
        return my_llm("instruct", "score", file, "--url", url, *options, **more)
    return run


def scores_in(file):
    return [entry.get("score", "none") for entry in json.loads(file.read_text())]


# ---- Scores -------------------------------------------------------------------------------------


def test_answers_are_scored(score, file, entries):
    with Judge(good) as judge:
        result = score(judge)
    scores = [score_of(i) for i in range(30)]
    assert (result.code, result.err.count("\n") > 0) == (0, True)
    lines = result.out.splitlines()
    assert lines[0] == "Number of entries scored: 30"
    assert lines[1] == "Average score: %.2f" % statistics.mean(scores)
    assert lines[2] == "Spread: standard deviation %.2f, median %g, from %d to %d" % (
        statistics.pstdev(scores), statistics.median(scores), min(scores), max(scores))
    assert lines[3] == "Failed: 0"
    best, worst = max(range(30), key=score_of), min(range(30), key=score_of)
    assert lines[4:8] == ["Best:", f"  entry {best + 1}: {score_of(best)}", f"    instruction 'Instruktion é {best}'",
                          f"    answer      'answer {best}'"]
    assert lines[14:16] == ["Worst:", f"  entry {worst + 1}: {score_of(worst)}"]
    # Beside the answers, with all that was there before, as Python writes JSON.
    expected = [{**entry, "score": score_of(entry["id"]), "score_judge": "llama3"} for entry in entries]
    assert json.loads(file.read_text()) == expected
    assert file.read_text(encoding="utf-8") == json.dumps(expected, indent=4, ensure_ascii=False)


def test_the_question_is_the_books(my_llm, tmp_path, source):
    fixture = json.loads((source / "tests" / "fixtures" / "instruct" / "small.json").read_text())
    entries = [{**entry, "model_response": "so `it` goes\n"} for entry in fixture["entries"]]
    file = tmp_path / "small.json"
    file.write_text(json.dumps(entries))
    with Judge(lambda question, times: "50") as judge:
        assert my_llm("instruct", "score", file, "--url", judge.url).code == 0
    assert len(judge.requests) == len(entries)
    for (path, headers, body), entry, prompt in zip(judge.requests, entries, fixture["prompts"]):
        question = (
            f"Given the input `{prompt}` and correct output `{entry['output']}`, score the model response "
            f"`{entry['model_response']}` on a scale from 0 to 100, where 100 is the best score. "
            "Respond with the integer number only."
        )
        assert path == "/api/chat" and headers["Content-Type"] == "application/json"
        assert body == {"model": "llama3", "messages": [{"role": "user", "content": question}], "stream": True,
                        "options": {"seed": 123, "temperature": 0, "num_ctx": 2048}}


@pytest.mark.parametrize("options", [[], ["--no-stream"], ["--api", "openai"], ["--api", "openai", "--no-stream"],
                                     ["--parallel", "4"]])
def test_every_way_of_asking(score, file, options):
    with Judge(good) as judge:
        result = score(judge, "--judge", "m", *options, env={"OPENAI_API_KEY": "secret-1"})
    assert result.code == 0
    assert scores_in(file) == [score_of(i) for i in range(30)]
    for path, headers, body in judge.requests:
        assert body["model"] == "m" and body["stream"] == ("--no-stream" not in options)
        if "openai" in options:
            assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret-1"
            assert body["seed"] == 123 and body["temperature"] == 0
        else:
            assert path == "/api/chat" and "Authorization" not in headers
    assert "secret-1" not in result.out + result.err + file.read_text()


def test_an_address_may_be_more_or_less_whole(score, file):
    with Judge(good) as judge:
        assert score(judge.url + "/").code == 0
        assert score(judge.url + "/api/chat", "--again").code == 0
        assert {path for path, _, _ in judge.requests} == {"/api/chat"}
        judge.requests.clear()
        for url in (judge.url + "/v1", judge.url + "/v1/", judge.url + "/v1/chat/completions"):
            assert score(url, "--again", "--api", "openai").code == 0
        assert {path for path, _, _ in judge.requests} == {"/v1/chat/completions"}


def test_several_requests_at_a_time(score, file):
    with Judge(good) as judge:
        judge.plan = [says.slow(0.2)]
        assert score(judge, "-j", "6").code == 0
    assert judge.most_at_once == 6
    assert scores_in(file) == [score_of(i) for i in range(30)]


def test_json_for_scripts(score):
    with Judge(lambda question, times: "?" if number_of(question) == 3 else good(question, times)) as judge:
        result = score(judge, "--json")
    scores = [score_of(i) for i in range(30) if i != 3]
    value = json.loads(result.out)
    assert result.code == 0
    assert value["scores"] == [None if i == 3 else score_of(i) for i in range(30)]
    assert (value["judge"], value["n_scored"], value["n_failed"], value["n_kept"]) == ("llama3", 29, 1, 0)
    assert value["average"] == pytest.approx(statistics.mean(scores), rel=1e-9)
    assert value["deviation"] == pytest.approx(statistics.pstdev(scores), rel=1e-9)
    assert (value["median"], value["lowest"], value["highest"]) == (statistics.median(scores), min(scores), max(scores))


# ---- Answers that are no scores -----------------------------------------------------------------


NO_SCORES = ["", "I'd say 85", "85.", "85.0", "101", "-1", "85/100", "8 5", "+85", "1e2", "٨٥", "0x10", "9999999999999999999"]


def test_only_an_integer_is_a_score(score, file):
    """What is no integer from 0 to 100 is asked about once more, then counted and listed."""
    good_ones = {13: "0", 14: "100", 15: " 85\n", 16: "7"}

    def say(question, times):
        number = number_of(question)
        return NO_SCORES[number] if number < len(NO_SCORES) else good_ones.get(number, "50")

    with Judge(say) as judge:
        result = score(judge)
    assert result.code == 0
    assert "Number of entries scored: 17\n" in result.out
    assert "Failed: 13 (asked twice, no integer from 0 to 100 came)\n  entry 1: ''\n  entry 2: 'I'd say 85'\n" in result.out
    assert scores_in(file) == [None] * 13 + [0, 100, 85, 7] + [50] * 13
    assert [entry.get("score_answer") for entry in json.loads(file.read_text())] == NO_SCORES + [None] * 17
    assert sorted(judge.asked.values()) == [1] * 17 + [2] * 13


def test_a_second_answer_counts(score, file):
    with Judge(lambda question, times: "well" if times == 1 else "12") as judge:
        assert score(judge).code == 0
    assert scores_in(file) == [12] * 30 and len(judge.requests) == 60


def test_failed_ones_are_asked_again_by_the_next_run(score, file):
    with Judge(lambda question, times: "well" if number_of(question) in (4, 5) else "10") as judge:
        assert "Failed: 2" in score(judge).out
    with Judge(lambda question, times: "90") as judge:
        result = score(judge)
    assert result.code == 0 and len(judge.requests) == 2
    assert scores_in(file) == [90 if i in (4, 5) else 10 for i in range(30)]
    assert all("score_answer" not in entry for entry in json.loads(file.read_text()))


def test_no_score_at_all_is_a_failure(score, file):
    with Judge(lambda question, times: "\x1b[31mno" * 100) as judge:
        result = score(judge)
    assert result.code == 1
    assert result.err.endswith(f"my-llm: {file}: the judge llama3 scored none of the answers\n")
    assert "\x1b" not in result.out


@pytest.mark.parametrize("behave", [says.endless, says.one_line_without_end])
def test_an_answer_without_end_is_no_score(score, file, behave):
    with Judge(good) as judge:
        judge.plan = [behave, behave, says.answer]
        result = score(judge)
    assert result.code == 0 and "Failed: 1 " in result.out
    assert scores_in(file) == [None] + [score_of(i) for i in range(1, 30)]


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_question_that_is_refused_is_no_score(score, file, code):
    """As servers do with one that is longer than the judge's context: the others are asked nevertheless."""
    reason = b'{"error": {"message": "Requested tokens (2100) exceed context window of 2048", "type": "invalid_request_error"}}'
    with Judge(good) as judge:
        judge.plan = [says.answer, says.status(code, reason), says.status(code, reason), says.answer]
        result = score(judge)
    assert result.code == 0 and "Failed: 1 " in result.out
    assert scores_in(file) == [score_of(0), None] + [score_of(i) for i in range(2, 30)]
    refusal = json.loads(file.read_text())[1]["score_answer"]
    assert refusal.endswith(f"/api/chat: the server answered {code}: 'Requested tokens (2100) exceed context window of 2048'")


@pytest.mark.parametrize("behave, expected", [
    (says.status(200, b" \n"), "/api/chat: sent an empty answer"),
    (says.broken_off, "/api/chat: the connection ended early, after 0 bytes"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_question_that_gets_no_word_is_no_score(score, file, behave, expected):
    """As a server does that streams and finds out late that the question is too long; with three in a row it is broken."""
    with Judge(good) as judge:
        judge.plan = [says.answer, behave, behave, says.answer, behave, behave, behave, behave, says.answer]
        result = score(judge)
    assert result.code == 0 and "Failed: 3 " in result.out
    assert scores_in(file) == [score_of(0), None, score_of(2), None, None] + [score_of(i) for i in range(5, 30)]
    assert expected in json.loads(file.read_text())[1]["score_answer"]
    with Judge(good) as judge:
        judge.plan = [behave]
        result = score(judge)
        assert expected in sentence(result) and len(judge.requests) == 6
        judge.plan = [says.answer]
        assert score(judge).code == 0 and len(judge.requests) == 6 + 3
    assert scores_in(file) == [score_of(i) for i in range(30)]


# ---- Servers that fail --------------------------------------------------------------------------


def sentence(result):
    """The last line, for an exit with 1."""
    assert result.code == 1 and result.out == ""
    last = result.err.splitlines()[-1]
    assert last.startswith("my-llm: ")
    return last[len("my-llm: "):]


def test_no_server(score, file):
    before = file.read_text()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = "http://127.0.0.1:%d" % free.getsockname()[1]
    assert sentence(score(url)) == (
        f"{url}/api/chat: cannot connect: Connection refused; is Ollama running there? `ollama serve` starts it "
        "(`ollama pull llama3` gets the model), --url names another place"
    )
    assert sentence(score(url, "--api", "openai")) == (
        f"{url}/v1/chat/completions: cannot connect: Connection refused; is the server running there? "
        "--url names another place"
    )
    assert file.read_text() == before


@pytest.mark.parametrize("behave, expected", [
    (says.page, "/api/chat: answered '<!DOCTYPE html>', which no chat API does; is it the right address, and --api?"),
    (says.status(200, b"[1, 2]"), "/api/chat: answered '[1, 2]', which no chat API does"),
    (says.status(200, b'{"response": "85"}'), "which no chat API does"),
    (says.status(200, b'{"error": "out of memory"}'), "/api/chat: answered with an error: 'out of memory'"),
    (says.status(200, b'{"message": {"content": 85}' + b"[" * 20000), "which no chat API does"),
    (says.status(404), "/api/chat: the server answered 404 (not found): 'model 'llama3' not found'"),
    (says.status(401, b'{"error": {"message": "bad key"}}'), "/api/chat: the server answered 401 (not allowed): 'bad key'"),
    (says.status(503, b"<html>" * 10000, "text/html"), "/api/chat: the server answered 503"),
    (says.status(204, b""), "/api/chat: the server answered 204, 200 was expected"),
    (says.redirect("file:///etc/passwd"), "/api/chat: the server redirects to file:///etc/passwd, which is not followed"),
    (says.redirect("/api/chat"), "/api/chat: the server redirects more than 5 times"),
    (says.half_a_stream, "which no chat API does"),
    (says.reset, "/api/chat: the connection broke after 20 bytes"),
    (says.silent, "/api/chat: no whole answer within 1 s, 0 bytes of it came"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_server_that_fails_ends_the_run(score, file, behave, expected):
    with Judge(good) as judge:
        judge.plan = [says.answer, says.answer, behave]
        result = score(judge, "--timeout", "1")
    assert expected in sentence(result)
    assert "2 of 30 entries have been asked about; the same call goes on from there" in result.err
    assert scores_in(file) == [score_of(0), score_of(1)] + ["none"] * 28
    assert len(judge.requests) >= 4  # it was asked again before giving up


def test_a_server_that_recovers_is_no_failure(score, file):
    with Judge(good) as judge:
        judge.plan = [says.status(500), says.answer, says.reset, says.answer, says.redirect("/elsewhere/api/chat"), says.answer]
        assert score(judge).code == 0
    assert scores_in(file) == [score_of(i) for i in range(30)]
    assert "/elsewhere/api/chat" in [path for path, _, _ in judge.requests]


def test_it_goes_on_where_it_stopped(score, file):
    with Judge(good) as judge:
        judge.plan = [says.answer] * 17 + [says.status(500)]
        assert score(judge, "-j", "3").code == 1
        first = [number_of(body["messages"][0]["content"]) for _, _, body in judge.requests][:17]
    done = [i for i, value in enumerate(scores_in(file)) if value != "none"]
    assert sorted(first) == done and len(done) == 17
    with Judge(good) as judge:
        result = score(judge)
        asked = [number_of(body["messages"][0]["content"]) for _, _, body in judge.requests]
    assert result.code == 0 and "Number of entries scored: 30\n" in result.out
    assert asked == [i for i in range(30) if i not in done]
    assert scores_in(file) == [score_of(i) for i in range(30)]
    # All there: nobody is asked, and no server is needed. Another judge begins anew, and so does --again.
    result = score("http://127.0.0.1:9")
    assert result.code == 0 and "Number of entries scored: 30\n" in result.out
    with Judge(lambda question, times: "3") as judge:
        assert score(judge, "--judge", "other").code == 0
        assert score(judge, "--judge", "other", "--again").code == 0
        assert len(judge.requests) == 60


def test_killed_at_any_time_the_file_is_whole(file, env, entries):
    with Judge(good) as judge:
        judge.plan = [says.slow(0.01)]
        process = subprocess.Popen([PROGRAM, "instruct", "score", file, "--url", judge.url], env=env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        judge.wait_for(20)
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = scores_in(file)
    assert len(found) == len(entries)
    kept = [value for value in found if value != "none"]
    assert 8 <= len(kept) < 30 and kept == [score_of(i) for i in range(len(kept))]


def test_ctrl_c_keeps_what_is_scored(terminal, file):
    with Judge(good) as judge:
        judge.plan = [says.answer] * 5 + [says.slow(30)]
        program = terminal("instruct", "score", file, "--url", judge.url)
        judge.wait_for(6)
        program.interrupt()
        program.expect("interrupted")
        assert program.wait() == 130
    assert scores_in(file) == [score_of(i) for i in range(5)] + ["none"] * 25


def test_scores_that_cannot_be_written(my_llm, tmp_path, entries):
    """The folder is gone when the first scores are to be kept: no other answer is asked for in vain."""
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "answers.json"
    file.write_text(json.dumps(entries))

    def say(question, times):
        if folder.exists():
            shutil.rmtree(folder)
        return good(question, times)

    with Judge(say) as judge:
        result = my_llm("instruct", "score", file, "--url", judge.url)
    assert sentence(result) == f"{file}: cannot create a file here: No such file or directory"
    assert len(judge.requests) == 8


# ---- Behind training ----------------------------------------------------------------------------


ANSWERS = "instruction-data-with-response.json"
TESTED = [25, 26, 27]  # of 30 entries the first 85 per cent are learned from, the next 10 are for the test


@pytest.fixture
def train(my_llm, source, models, tmp_path):
    """train(out, url): three steps of a tiny model, its answers, their scores, in one command."""
    data = tmp_path / "say.json"
    data.write_text(json.dumps([{"instruction": f"say {i}", "input": "", "output": f"it is {i}"} for i in range(30)]))
    template = source / "tests" / "fixtures" / "instruct" / "short-template.txt"

    def run(out, url):
        return my_llm("instruct", "train", "--data", data, "-m", models / "text", "--template", template, "--out", out,
                      "--steps", 3, "--batch-size", 2, "-n", 4, "--sample-tokens", 0, "--score", "--url", url, "--judge", "m")
    return run


def say_number(question, times):
    return re.search(r"correct output `it is (\d+)`", question)[1]


def shows_scores(result, lines_before):
    """The losses come first, the scores last."""
    lines = result.out.splitlines()
    assert result.code == 0 and any(line.startswith("Ep 1 (Step 000000)") for line in lines[:-24]) == lines_before, result
    assert lines[-24:-19] == ["Number of entries scored: 3", "Average score: 26.00",
                              "Spread: standard deviation 0.82, median 26, from 25 to 27", "Failed: 0", "Best:"]
    assert (lines[-19], lines[-10], lines[-9]) == ("  entry 3: 27", "Worst:", "  entry 1: 25")


def test_training_goes_on_to_scoring(train, tmp_path):
    with Judge(say_number) as judge:
        shows_scores(train(tmp_path / "run", judge.url), True)
        assert [body["model"] for _, _, body in judge.requests] == ["m"] * 3
        questions = [body["messages"][0]["content"] for _, _, body in judge.requests]
    answered = json.loads((tmp_path / "run" / ANSWERS).read_text())
    for number, entry, question in zip(TESTED, answered, questions, strict=True):
        assert list(entry) == ["instruction", "input", "output", "model_response", "score", "score_judge"]
        assert (entry["output"], entry["score"], entry["score_judge"]) == (f"it is {number}", number, "m")
        assert f"the model response `{entry['model_response']}`" in question
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["finished"] is True and run["results"]["steps"] == 3


def test_a_judge_that_is_not_there_costs_no_training(train, tmp_path):
    out = tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = "http://127.0.0.1:%d" % free.getsockname()[1]
    alone = train(out, url)
    assert alone.code == 1 and "Number of entries" not in alone.out
    last = alone.err.splitlines()[-1]
    assert last.startswith(f"my-llm: {url}/api/chat: cannot connect: ") and alone.err.count("cannot connect") == 1
    model = out / "model" / "model.safetensors"
    weights, written = model.read_bytes(), model.stat().st_mtime_ns
    answered = json.loads((out / ANSWERS).read_text())
    assert [list(entry) for entry in answered] == [["instruction", "input", "output", "model_response"]] * 3
    with Judge(say_number) as judge:
        result = train(out, judge.url)
        assert len(judge.requests) == 3
    shows_scores(result, False)
    assert "holds the finished model" in result.err and "answering" not in result.err
    assert model.read_bytes() == weights and model.stat().st_mtime_ns == written
    scored = json.loads((out / ANSWERS).read_text())
    assert scored == [{**entry, "score": number, "score_judge": "m"} for entry, number in zip(answered, TESTED)]
    # All is there: a third time nobody is asked.
    shows_scores(train(out, url), False)


# ---- Wrong files and options --------------------------------------------------------------------


ENTRY = {"instruction": "a", "input": "", "output": "b", "model_response": "c"}


@pytest.mark.parametrize("text, expected", [
    ("", "not valid JSON"),
    ("[]", "holds no entries"),
    ("{}", "is not a JSON list of entries"),
    ('["a"]', "entry 1: is not an object"),
    (json.dumps([ENTRY, {**ENTRY, "model_response": None}]), 'entry 2: its "model_response" is null, a string was expected'),
    (json.dumps([ENTRY, {"instruction": "a", "output": "b"}]), 'entry 2: its "model_response" is missing'),
    (json.dumps([{**ENTRY, "output": 3}]), 'entry 1: its "output" is something else, a string was expected'),
    (json.dumps([{**ENTRY, "input": ["x"]}]), 'entry 1: its "input" is something else'),
    ('[{"instruction": "a", "instruction": "b"}]', "duplicate object key"),
    ("[" * 20000, "not valid JSON"),
    (json.dumps([ENTRY]) + "\n" + json.dumps([ENTRY]), "not valid JSON: line 2"),
], ids=range(11))
def test_bad_files_are_refused_before_anybody_is_asked(score, file, text, expected):
    file.write_text(text)
    with Judge(good) as judge:
        result = score(judge)
        assert judge.requests == []
    assert sentence(result).startswith(f"{file}: ") and expected in result.err
    assert file.read_text() == text


def test_the_answer_may_have_another_key(score, file, entries):
    file.write_text(json.dumps([{**{k: v for k, v in entry.items() if k != "model_response"}, "mine": entry["model_response"]}
                                for entry in entries]))
    with Judge(good) as judge:
        assert score(judge, "--response-key", "mine").code == 0
    assert scores_in(file) == [score_of(i) for i in range(30)]


def test_wrong_usage(my_llm, score, file):
    assert my_llm("instruct", "score").code == 2
    assert score("localhost:11434").code == 1
    assert "one such as http://localhost:11434 was expected" in score("localhost:11434").err
    assert "was expected" in score("file:///etc/passwd").err
    assert score("http://a/", "--parallel", "0").code == 2
    result = my_llm("instruct", "score", file, "--api", "openai")
    assert result.code == 2 and "--api openai needs the server's --url" in result.err
    assert "control characters" in score("http://a/", "--api", "openai", env={"OPENAI_API_KEY": "a\r\nX: y"}).err
    missing = my_llm("instruct", "score", file.parent / "no.json")
    assert missing.code == 1 and "no.json: cannot open this file" in missing.err
