"""`my-llm download` against a server that cuts, stalls, lies and redirects, against mirrors on disk, against
a full disk, and against being killed. Nothing here needs a network; three tests need the data sets in
../shared and are skipped by name where it is missing.
"""
import hashlib
import io
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
import zipfile

import pytest

import http_server as web
from conftest import PROGRAM, SOURCE

SHARED = SOURCE.parent / "shared" / "data"
GPT2 = "/gpt-2/models/124M/"
FILES = ["checkpoint", "hparams.json", "encoder.json", "vocab.bpe", "model.ckpt.index", "model.ckpt.meta",
         "model.ckpt.data-00000-of-00001"]
WEIGHTS = FILES[-1]
VERDICT = "/rasbt/LLMs-from-scratch/main/ch02/01_main-chapter-code/the-verdict.txt"
SMS_ZIP = "/static/public/228/sms+spam+collection.zip"
RESUMES = "; %d bytes are kept, the next try goes on from there\n"


# ---- What the tests share -----------------------------------------------------------------------

def vocabulary():
    """GPT-2's vocab.bpe as it is in the sources, and encoder.json, which follows from it byte for byte."""
    merges = (SOURCE / "src" / "tokenizer" / "gpt2" / "vocab.bpe").read_bytes()
    shown = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = [256 + i for i in range(256 - len(shown))]
    tokens = [chr(code) for code in shown + others]
    tokens += [line.replace(" ", "") for line in merges.decode().split("\n")[1:-1]] + ["<|endoftext|>"]
    return merges, json.dumps({token: i for i, token in enumerate(tokens)}).encode()


@pytest.fixture(scope="module")
def gpt2():
    """The seven files as a mirror may have them, the weights small: {name: bytes}."""
    merges, encoder = vocabulary()
    data = random.Random(1)
    return {"checkpoint": b'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n',
            "hparams.json": b'{"n_vocab": 50257, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}\n',
            "encoder.json": encoder, "vocab.bpe": merges, "model.ckpt.index": data.randbytes(5215),
            "model.ckpt.meta": data.randbytes(40000), WEIGHTS: data.randbytes(2_000_000)}


@pytest.fixture
def server(gpt2):
    with web.Server() as server:
        server.files = {GPT2 + name: body for name, body in gpt2.items()}
        yield server


class Runner:
    """Runs `my-llm download`. `home` is where models and data go."""

    def __init__(self, environment):
        self.environment = environment
        self.home = pathlib.Path(environment["MY_LLM_HOME"])

    def start(self, *arguments, **options):
        return subprocess.Popen([PROGRAM, "download", *arguments], env=self.environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def __call__(self, *arguments, **options):
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def fails(self, *arguments, **options):
        """The sentence of a run that must fail with exit code 1: the last line of stderr."""
        code, out, err = self(*arguments, **options)
        assert (code, out) == (1, ""), err
        return err.splitlines()[-1] + "\n"

    def files(self, below):
        """{name: bytes} of what is visible there; names of partial files are left out."""
        directory = self.home / below
        return {path.name: path.read_bytes() for path in directory.iterdir() if ".part" not in path.name}

    def partial(self, below):
        directory = self.home / below
        return sorted(path.name for path in directory.iterdir() if ".part" in path.name)


@pytest.fixture
def download(env):
    return Runner(env)


def shared_file(*parts):
    path = SHARED.joinpath(*parts)
    if not path.is_file():
        pytest.skip("needs ../shared/data/" + "/".join(parts))
    return path.read_bytes()


def requests_of(server, path):
    return [headers for requested, headers in server.requests if requested == path]


# ---- The good case --------------------------------------------------------------------------------

def test_model_from_mirror(download, server, gpt2):
    code, out, err = download("gpt2", "--from", server.url)
    assert (code, out) == (0, "%s/models/gpt2\n" % download.home), err
    assert download.files("models/gpt2") == gpt2
    assert download.partial("models/gpt2") == []
    record = (download.home / "downloads" / "gpt2.sha256").read_text()
    assert sorted(record.splitlines()) == sorted("%s %d %s" % (hashlib.sha256(body).hexdigest(), len(body), name)
                                                 for name, body in gpt2.items())


def test_what_is_there_is_not_fetched_again(download, server):
    assert download("gpt2", "--from", server.url)[0] == 0
    server.requests.clear()
    code, out, err = download("gpt2", "--from", server.url)
    assert (code, out, err) == (0, "%s/models/gpt2\n" % download.home, "")
    assert server.requests == []


def test_force_fetches_again(download, server):
    assert download("gpt2", "--from", server.url)[0] == 0
    server.requests.clear()
    assert download("gpt2", "--from", server.url, "--force")[0] == 0
    assert len(server.requests) == 7


def test_missing_file_makes_a_model_incomplete(download, server, gpt2):
    assert download("gpt2", "--from", server.url)[0] == 0
    (download.home / "models" / "gpt2" / "hparams.json").unlink()
    (download.home / "models" / "gpt2" / WEIGHTS).write_bytes(b"shorter than recorded")
    server.requests.clear()
    assert download("gpt2", "--from", server.url)[0] == 0
    assert [path for path, _ in server.requests] == [GPT2 + "hparams.json", GPT2 + WEIGHTS]
    assert download.files("models/gpt2") == gpt2


def test_mirror_from_the_environment(download, server, gpt2):
    download.environment["MY_LLM_MIRROR"] = server.url + "/"  # a slash at the end does no harm
    assert download("gpt2")[0] == 0
    assert download.files("models/gpt2") == gpt2


@pytest.mark.parametrize("below", [GPT2, "/"], ids=["paths", "files"])
def test_mirror_on_disk(download, gpt2, tmp_path, below):
    """The origin's paths, or just the files in one directory; the URL may need decoding."""
    mirror = tmp_path / "a mirror"
    (mirror / below.strip("/")).mkdir(parents=True)
    for name, body in gpt2.items():
        (mirror / below.strip("/") / name).write_bytes(body)
    code, _, err = download("gpt2", "--from", "file://" + str(mirror).replace(" ", "%20"))
    assert code == 0, err
    assert download.files("models/gpt2") == gpt2


def test_several_names(download, server, gpt2):
    for name, body in gpt2.items():
        server.files["/gpt-2/models/355M/" + name] = body
    code, out, _ = download("gpt2", "gpt2-medium", "--from", server.url)
    assert (code, out) == (0, "{0}/models/gpt2\n{0}/models/gpt2-medium\n".format(download.home))


@pytest.mark.parametrize("name,path,file", [
    ("instructions", "/rasbt/LLMs-from-scratch/main/ch07/01_main-chapter-code/instruction-data.json",
     ("instruct", "instruction-data.json")),
    ("the-verdict", VERDICT, ("text", "the-verdict.txt")),
    ("sms-spam", "/static/public/228/SMSSpamCollection", ("sms", "SMSSpamCollection")),
], ids=["instructions", "the-verdict", "sms-spam"])
def test_data_set_with_published_sum(download, server, name, path, file):
    server.files[path] = shared_file(*file)
    code, out, err = download(name, "--from", server.url)
    assert (code, out) == (0, "%s/data/%s\n" % (download.home, name)), err
    assert download.files("data/" + name) == {file[-1]: server.files[path]}


def test_sms_spam_out_of_its_zip(download, server):
    body = shared_file("sms", "SMSSpamCollection")
    server.files[SMS_ZIP] = zip_of({"readme": b"...", "SMSSpamCollection": body})
    code, _, err = download("sms-spam", "--from", server.url)
    assert code == 0, err
    assert download.files("data/sms-spam") == {"SMSSpamCollection": body}
    assert download.partial("data/sms-spam") == []


def test_list(download):
    code, out, err = download("--list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "sms-spam",
                                                   "instructions", "the-verdict"]
    column = lines[0].index("LICENCE")
    assert all(line[column - 2:column] == "  " and line[column] != " " for line in lines)
    items = json.loads(download("--list", "--json")[1])
    assert items[0] == {"name": "gpt2", "size": 499734388, "approximate": False, "licence": "Modified MIT (OpenAI)",
                        "description": "GPT-2 124M, OpenAI's TensorFlow checkpoint"}
    assert [item["approximate"] for item in items] == [False, False, True, True, False, False, False]


def test_model_that_is_not_there_is_downloaded(my_llm, server, gpt2, env):
    """By any command that opens it; when that fails, the sentence names the way without a network."""
    mirror = {"MY_LLM_MIRROR": server.url}
    server.plan[GPT2 + "checkpoint"] = [web.status(500), web.ok]
    result = my_llm("info", "gpt2", env=mirror)
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines()[-1] == (
        "my-llm: gpt2 is not here and could not be downloaded: %s%scheckpoint: the server answered 500; "
        '"-m bundled" runs the model that comes with my-llm' % (server.url, GPT2))
    my_llm("info", "gpt2", env=mirror)
    assert Runner(env).files("models/gpt2") == gpt2


# ---- Wrong usage ----------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments,sentence", [
    ([], "my-llm download: a name is missing; --list shows them all"),
    (["--json"], "my-llm download: --json goes with --list"),
    (["--list", "gpt2"], "my-llm download: --list goes without a name"),
])
def test_wrong_usage(download, arguments, sentence):
    code, out, err = download(*arguments)
    assert (code, out, err.splitlines()[0]) == (2, "", sentence)


def test_unknown_name(download):
    assert download.fails("gpt3") == (
        'my-llm: cannot download gpt3: there is nothing called "gpt3" to download; known are gpt2, gpt2-medium, '
        "gpt2-large, gpt2-xl, sms-spam, instructions, the-verdict\n")


def test_mirror_of_another_kind(download):
    assert download.fails("gpt2", "--from", "ftp://example.org") == (
        "my-llm: cannot download gpt2: ftp://example.org: a mirror's URL begins with http://, https:// or file://\n")


# ---- Servers that do not answer as they should ------------------------------------------------------

def failure(download, server, behaviour, path=GPT2 + "checkpoint", name="gpt2", options=("--timeout", "2")):
    """Runs against a server that behaves so at `path`; the sentence after "<URL>: "."""
    server.plan[path] = [behaviour]
    sentence = download.fails(name, "--from", server.url, *options)
    prefix = "my-llm: cannot download %s: %s%s: " % (name, server.url, path)
    assert sentence.startswith(prefix)
    return sentence[len(prefix):]


def test_connection_refused(download):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = "http://127.0.0.1:%d" % unused.getsockname()[1]
        assert download.fails("gpt2", "--from", url) == (
            "my-llm: cannot download gpt2: %s/gpt-2/models/124M/checkpoint: cannot connect: Connection refused\n" % url)


def test_not_found(download, server):
    server.files.clear()
    assert download.fails("gpt2", "--from", server.url) == (
        "my-llm: cannot download gpt2: {0}/gpt-2/models/124M/checkpoint: the server answered 404 (not found); "
        "then: {0}/checkpoint: the server answered 404 (not found)\n".format(server.url))
    assert download.files("models/gpt2") == {}


def test_not_found_on_disk(download, tmp_path):
    url = "file://%s" % tmp_path
    assert download.fails("gpt2", "--from", url) == (
        "my-llm: cannot download gpt2: {0}/gpt-2/models/124M/checkpoint: cannot open this file: No such file or "
        "directory; then: {0}/checkpoint: cannot open this file: No such file or directory\n".format(url))


def test_fifo_on_disk(download, tmp_path):
    os.mkfifo(tmp_path / "checkpoint")
    assert "/checkpoint: is not a regular file\n" in download.fails("gpt2", "--from", "file://%s" % tmp_path)


SENTENCES = {
    "500": (web.status(500), "the server answered 500\n"),
    "403": (web.status(403), "the server answered 403 (not allowed)\n"),
    "204": (web.status(204, b""), "the server answered 204, 200 was expected\n"),
    "206 unasked": (web.unasked_part, "the server answered 206, 200 was expected\n"),
    "redirect to file": (web.redirect("file:///etc/passwd"), "the server redirects to file:///etc/passwd, which is not followed\n"),
    "redirect to ftp": (web.redirect("ftp://127.0.0.1/x"), "the server redirects to ftp://127.0.0.1/x, which is not followed\n"),
    "redirect loop": (web.redirect(GPT2 + "checkpoint"), "the server redirects more than 5 times\n"),
    "html": (web.page("text/html; charset=utf-8"),
     "the server sends a web page (text/html; charset=utf-8) in place of the file\n"),
    "html by another name": (web.page("application/octet-stream"), "the server sends a web page in place of the file\n"),
    "html as text": (web.page("text/plain", b"\n\n  <HTML><head>"), "the server sends a web page in place of the file\n"),
    "empty": (web.page("application/octet-stream", b""), "is empty\n"),
    "silent": (web.silent, "stalled: fewer than 100 bytes/s for 2 s, after 0 bytes\n"),
    "stall": (web.stall(20), "stalled: fewer than 100 bytes/s for 2 s, after 20 bytes" + RESUMES % 20),
    "drip": (web.slowly(3, 0.1), "stalled: fewer than 100 bytes/s for 2 s, after "),
    "cut": (web.cut(20), "the connection ended after 20 of 77 bytes" + RESUMES % 20),
    "cut at once": (web.cut(0), "the connection ended after 0 of 77 bytes\n"),
    "announces more": (web.announced(+7), "the connection ended after 77 of 84 bytes" + RESUMES % 77),
    "chunks cut": (web.chunked(cut_short=True), "the connection ended early, after 77 bytes\n"),
    "endless": (web.endless, "sends more than the 1048653 bytes that were expected at most\n"),
    "endless headers": (web.endless_headers, "the server sent more than 262144 bytes of headers\n"),
    "no http": (web.not_http, "Received HTTP/0.9 when not allowed\n"),
}


@pytest.mark.parametrize("behaviour,sentence", SENTENCES.values(), ids=SENTENCES)
def test_server_misbehaves(download, server, behaviour, sentence):
    answer = failure(download, server, behaviour)
    assert answer == sentence or (not sentence.endswith("\n") and answer.startswith(sentence))
    assert download.files("models/gpt2") == {}  # nothing passes for whole


@pytest.mark.parametrize("behaviour,sentence", SENTENCES.values(), ids=SENTENCES)
def test_server_recovers(download, server, gpt2, behaviour, sentence):
    """After each of these failures the same command does its work once the server behaves."""
    failure(download, server, behaviour)
    server.plan.clear()
    code, _, err = download("gpt2", "--from", server.url)
    assert code == 0, err
    assert download.files("models/gpt2") == gpt2


def test_too_large_is_refused_before_it_is_fetched(download, server):
    server.files[GPT2 + "checkpoint"] = b"x" * 3_000_000
    assert failure(download, server, web.ok) == "has 3000000 bytes, at most 1048653 were expected\n"


def test_shorter_than_published(download, server):
    """Content-Length and body agree with each other, not with the size that is known."""
    server.files[VERDICT] = b"I HAD always thought"
    assert failure(download, server, web.ok, VERDICT, "the-verdict") == "has 20 bytes, 20479 were expected\n"


def test_announced_too_short(download, server):
    """The server announces less than it sends: what HTTP calls the body ends early, and the sum tells."""
    server.files[VERDICT] = b"x" * 20479
    assert failure(download, server, web.announced(-1), VERDICT, "the-verdict") == (
        "has 20478 bytes, 20479 were expected\n")


def test_chunked_has_no_length_to_check(download, server, gpt2):
    server.plan["*"] = [web.chunked(cut_short=False)]
    code, _, err = download("gpt2", "--from", server.url)
    assert code == 0, err
    assert download.files("models/gpt2") == gpt2


def test_published_sum(download, server):
    body = b"x" * 20479
    server.files[VERDICT] = body
    assert failure(download, server, web.ok, VERDICT, "the-verdict") == (
        "its SHA-256 is %s, the published one is b41e41a68f0398a3154ae69e2e4c0e2694e17fe0d66730536837f1b01935b31f\n"
        % hashlib.sha256(body).hexdigest())
    assert list((download.home / "data" / "the-verdict").iterdir()) == []


def test_redirects_are_followed(download, server, gpt2):
    server.plan[GPT2 + "checkpoint"] = [web.redirect("/elsewhere")]
    server.files["/elsewhere"] = gpt2["checkpoint"]
    assert download("gpt2", "--from", server.url)[0] == 0
    assert download.files("models/gpt2") == gpt2


# ---- https --------------------------------------------------------------------------------------------

CERTIFICATES = SOURCE / "tests" / "fixtures" / "net"


@pytest.fixture
def secure(gpt2):
    with web.Server(CERTIFICATES / "server.crt", CERTIFICATES / "server.key") as server:
        server.files = {GPT2 + name: body for name, body in gpt2.items()}
        yield server


def test_https(download, secure, gpt2):
    download.environment["SSL_CERT_FILE"] = str(CERTIFICATES / "server.crt")
    code, _, err = download("gpt2", "--from", secure.url)
    assert code == 0, err
    assert download.files("models/gpt2") == gpt2


def test_certificate_of_a_stranger(download, secure):
    sentence = download.fails("gpt2", "--from", secure.url)
    assert sentence.startswith("my-llm: cannot download gpt2: %s%scheckpoint: server certificate verification failed"
                               % (secure.url, GPT2))
    assert secure.requests == []


def test_https_does_not_fall_back_to_http(download, secure, server):
    download.environment["SSL_CERT_FILE"] = str(CERTIFICATES / "server.crt")
    target = server.url + GPT2 + "checkpoint"
    assert failure(download, secure, web.redirect(target)) == (
        "the server redirects to %s, which is not followed\n" % target)
    assert server.requests == []


# ---- Sums of the first download ---------------------------------------------------------------------

def test_later_download_is_held_to_the_first(download, server, gpt2):
    assert download("gpt2", "--from", server.url)[0] == 0
    changed = bytes(reversed(gpt2["hparams.json"]))
    server.files[GPT2 + "hparams.json"] = changed
    record = download.home / "downloads" / "gpt2.sha256"
    sentence = failure(download, server, web.ok, GPT2 + "hparams.json", options=("--force",))
    assert sentence == "its SHA-256 is %s, at the first download it was %s; if that is as it should be, remove %s\n" % (
        hashlib.sha256(changed).hexdigest(), hashlib.sha256(gpt2["hparams.json"]).hexdigest(), record)
    assert download.files("models/gpt2") == gpt2  # what was there stays
    record.unlink()
    assert download("gpt2", "--from", server.url, "--force")[0] == 0
    assert download.files("models/gpt2")["hparams.json"] == changed


def test_damaged_record(download, server):
    record = download.home / "downloads" / "gpt2.sha256"
    record.parent.mkdir(parents=True)
    record.write_text("some\nthing\n")
    assert download.fails("gpt2", "--from", server.url) == (
        "my-llm: cannot download gpt2: %s: line 1 is damaged; remove this file to start anew\n" % record)


# ---- Resuming ----------------------------------------------------------------------------------------

def interrupted(download, server, at=700_000):
    server.plan[GPT2 + WEIGHTS] = [web.cut(at)]
    assert download("gpt2", "--from", server.url)[0] == 1
    assert download.partial("models/gpt2") == [WEIGHTS + ".part", WEIGHTS + ".part.source"]
    assert (download.home / "models" / "gpt2" / (WEIGHTS + ".part")).stat().st_size == at
    server.plan.clear()
    server.requests.clear()


def resumed(download, server, gpt2):
    """Finishes an interrupted download; the Range of each request that was needed for the weights."""
    code, _, err = download("gpt2", "--from", server.url)
    assert code == 0, err
    assert download.files("models/gpt2") == {**gpt2, WEIGHTS: server.files[GPT2 + WEIGHTS]}
    assert download.partial("models/gpt2") == []
    return [headers.get("Range") for headers in requests_of(server, GPT2 + WEIGHTS)]


def test_resume(download, server, gpt2):
    interrupted(download, server)
    assert resumed(download, server, gpt2) == ["bytes=700000-"]
    assert requests_of(server, GPT2 + "checkpoint") == []  # whole files are not asked for again


def test_resume_again_and_again(download, server, gpt2):
    interrupted(download, server)
    server.plan[GPT2 + WEIGHTS] = [web.cut(300_000), web.cut(300_000), web.ok]
    for have in (1_000_000, 1_300_000):
        assert download.fails("gpt2", "--from", server.url).endswith(RESUMES % have)
    assert resumed(download, server, gpt2)[-1] == "bytes=1300000-"


@pytest.mark.parametrize("behaviour,ranges", [
    (web.ignores_ranges, ["bytes=700000-"]),
    (web.range_not_satisfiable, ["bytes=700000-", None]),
    (web.wrong_range, ["bytes=700000-", None]),
], ids=["ignores ranges", "416", "another range"])
def test_server_cannot_resume(download, server, gpt2, behaviour, ranges):
    interrupted(download, server)
    server.plan[GPT2 + WEIGHTS] = [behaviour]
    assert resumed(download, server, gpt2) == ranges


def test_resume_of_what_has_changed(download, server, gpt2):
    interrupted(download, server)
    server.files[GPT2 + WEIGHTS] = random.Random(2).randbytes(1_500_000)
    assert resumed(download, server, gpt2) == ["bytes=700000-"]  # and If-Range made it the whole


def test_without_validator_nothing_is_resumed(download, server, gpt2):
    def cut_without_validator(handler, body):
        web.send(handler, 200, body[:700_000], length=len(body))
        handler.close_connection = True
    server.plan[GPT2 + WEIGHTS] = [cut_without_validator, web.without_validator]
    assert download.fails("gpt2", "--from", server.url).endswith(
        "%s: the connection ended after 700000 of 2000000 bytes\n" % WEIGHTS)
    assert resumed(download, server, gpt2) == [None, None]


def test_last_modified_serves_as_validator(download, server, gpt2):
    """Of a server without ETag; only when the date is older than the answer, so that it names one version."""
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    seen = []

    def dated(handler, body):
        begin = 0
        headers = [("Last-Modified", date)]
        if handler.headers.get("If-Range") == date:
            seen.append(handler.headers["Range"])
            begin = int(handler.headers["Range"][6:-1])
            headers.append(("Content-Range", "bytes %d-%d/%d" % (begin, len(body) - 1, len(body))))
        first = begin == 0
        web.send(handler, 200 if first else 206, body[begin:700_000 if first else None], headers, len(body) - begin)
        handler.close_connection = True
    server.plan[GPT2 + WEIGHTS] = [dated]
    assert download("gpt2", "--from", server.url)[0] == 1
    resumed(download, server, gpt2)
    assert seen == ["bytes=700000-"]


def test_damaged_partial_of_a_file_with_a_sum(download, server, gpt2):
    """What a resumed download gives is checked as a whole, and fetched once more when it is wrong."""
    server.plan[GPT2 + "encoder.json"] = [web.cut(500_000)]
    assert download("gpt2", "--from", server.url)[0] == 1
    server.plan.clear()
    server.requests.clear()
    partial = download.home / "models" / "gpt2" / "encoder.json.part"
    partial.write_bytes(b"?" + partial.read_bytes()[1:])
    code, _, err = download("gpt2", "--from", server.url)
    assert code == 0, err
    assert download.files("models/gpt2") == gpt2
    assert [h.get("Range") for h in requests_of(server, GPT2 + "encoder.json")] == ["bytes=500000-", None]


@pytest.mark.parametrize("damage", [
    lambda part, record: record.write_text(record.read_text()[:-1]),
    lambda part, record: record.unlink(),
    lambda part, record: part.unlink(),
    lambda part, record: part.write_bytes(b"x" * 3_000_000),
], ids=["record cut", "no record", "no partial", "partial too long"])
def test_partial_file_and_record_disagree(download, server, gpt2, damage):
    interrupted(download, server)
    part = download.home / "models" / "gpt2" / (WEIGHTS + ".part")
    damage(part, part.with_name(part.name + ".source"))
    assert resumed(download, server, gpt2) == [None]


def test_partial_file_that_only_lacks_its_name(download, server, gpt2):
    """Killed between the last byte and the rename: nothing needs to be fetched."""
    interrupted(download, server)
    part = download.home / "models" / "gpt2" / (WEIGHTS + ".part")
    part.write_bytes(gpt2[WEIGHTS])
    assert resumed(download, server, gpt2) == []


def test_resume_on_disk(download, gpt2, tmp_path):
    """From a mirror on disk too: a partial file goes on where it stopped if the file is the same."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for name, body in gpt2.items():
        (mirror / name).write_bytes(body)
    limited(download, 1_200_000)("gpt2", "--from", "file://%s" % mirror)
    part = download.home / "models" / "gpt2" / (WEIGHTS + ".part")
    assert part.stat().st_size == 1_200_000
    part.write_bytes(bytes(1_200_000))  # what lies there is not fetched again, so these zeros will stay
    code, _, err = download("gpt2", "--from", "file://%s" % mirror)
    assert code == 0, err
    assert download.files("models/gpt2")[WEIGHTS] == bytes(1_200_000) + gpt2[WEIGHTS][1_200_000:]


# ---- Killed, full, forbidden, at once ----------------------------------------------------------------

def test_killed_at_any_moment(download, server, gpt2):
    """kill -9, thirty times: what is visible is whole, and going on ends right."""
    server.plan["*"] = [web.slowly(20_000, 0.002)]
    begun = time.monotonic()
    assert download("gpt2", "--from", server.url)[0] == 0
    whole_run = time.monotonic() - begun
    shutil.rmtree(download.home)
    moments, killed = random.Random(123), 0
    while killed < 30:
        process = download.start("gpt2", "--from", server.url)
        try:
            _, err = process.communicate(timeout=moments.uniform(0, whole_run))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
            visible = download.files("models/gpt2") if (download.home / "models" / "gpt2").exists() else {}
            assert all(body == gpt2[name] for name, body in visible.items())
            continue
        assert process.returncode == 0, err
        assert download.files("models/gpt2") == gpt2
        # Killed between the last rename and the removal of its record, that record is all that may be left.
        assert download.partial("models/gpt2") in ([], [WEIGHTS + ".part.source"])
        shutil.rmtree(download.home)
    code, _, err = download("gpt2", "--from", server.url)
    assert code == 0, err
    assert download.files("models/gpt2") == gpt2
    assert any("Range" in headers for _, headers in server.requests)


def test_interrupted_by_the_user(download, server):
    server.plan[GPT2 + WEIGHTS] = [web.stall(1000)]
    process = download.start("gpt2", "--from", server.url)
    while not requests_of(server, GPT2 + WEIGHTS):
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err.splitlines()[-1]) == (130, "my-llm: interrupted")


def limited(download, size):
    """Runs with files of at most `size` bytes: what a full disk looks like to write()."""
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return lambda *arguments: download.fails(*arguments, preexec_fn=limit)


def test_disk_full(download, server, gpt2):
    part = download.home / "models" / "gpt2" / (WEIGHTS + ".part")
    assert limited(download, 1_200_000)("gpt2", "--from", server.url) == (
        "my-llm: cannot download gpt2: %s: cannot write: File too large" % part + RESUMES % 1_200_000)
    server.requests.clear()
    assert resumed(download, server, gpt2) == ["bytes=1200000-"]


@pytest.mark.parametrize("size", [0, 30, 100, 1000])
def test_disk_full_from_the_start(download, server, gpt2, size):
    assert "cannot write: File too large" in limited(download, size)("gpt2", "--from", server.url)
    assert resumed(download, server, gpt2)


def test_home_that_cannot_be_created(download, server, tmp_path):
    (tmp_path / "file").write_text("")
    download.environment["MY_LLM_HOME"] = str(tmp_path / "file" / "home")
    assert download.fails("gpt2", "--from", server.url) == (
        "my-llm: cannot download gpt2: %s/file: cannot create this directory: File exists\n" % tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_home_that_is_read_only(download, server):
    download.home.mkdir()
    download.home.chmod(0o555)
    assert download.fails("gpt2", "--from", server.url) == (
        "my-llm: cannot download gpt2: %s/downloads: cannot create this directory: Permission denied\n" % download.home)


def test_no_home_at_all(download, server):
    for name in ("MY_LLM_HOME", "HOME"):
        del download.environment[name]
    assert download.fails("gpt2", "--from", server.url) == (
        "my-llm: cannot download gpt2: no place for models and data: none of MY_LLM_HOME, XDG_DATA_HOME and HOME is "
        "set\n")


def test_two_at_once(download, server, gpt2):
    server.plan["*"] = [web.slowly(40_000, 0.01)]
    both = [download.start("gpt2", "--from", server.url) for _ in range(2)]
    ends = [process.communicate(timeout=60) + (process.returncode,) for process in both]
    assert [end[2] for end in ends] == [0, 0]
    assert [end[0] for end in ends] == ["%s/models/gpt2\n" % download.home] * 2
    waited = [end for end in ends if "my-llm: another process is downloading gpt2; waiting for it\n" in end[1]]
    assert len(waited) == 1
    assert len(server.requests) == 7  # the second one found the work done
    assert download.files("models/gpt2") == gpt2


def test_many_at_once_with_kills(download, server, gpt2):
    """Three processes that take turns being killed do not disturb the one that is left."""
    server.plan["*"] = [web.slowly(40_000, 0.003)]
    doomed = [download.start("gpt2", "--from", server.url) for _ in range(3)]
    last = download.start("gpt2", "--from", server.url)
    timers = [threading.Timer(0.1 * (i + 1), process.kill) for i, process in enumerate(doomed)]
    for timer in timers:
        timer.start()
    _, err = last.communicate(timeout=60)
    for process in doomed:
        process.communicate()
    assert last.returncode == 0, err
    assert download.files("models/gpt2") == gpt2


# ---- Zips ----------------------------------------------------------------------------------------------

def zip_of(members, method=zipfile.ZIP_DEFLATED):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", method) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return memory.getvalue()


def flipped(body):
    """The same archive with a bit of its compressed data changed."""
    at = 30 + len("SMSSpamCollection") + 40
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]


def claims(body, size):
    """The same archive whose directory claims another uncompressed size for its only member."""
    at = body.index(b"PK\x01\x02") + 24
    return body[:at] + size.to_bytes(4, "little") + body[at + 4:]


LINES = b"ham\tHello there.\n" * 40000
SMS_SHA256 = "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"

ZIPS = {
    "no zip": (b"PK\x03\x04 no archive after all", "cannot be read as a zip archive: Not a zip archive\n"),
    "cut": (zip_of({"SMSSpamCollection": LINES})[:300], "cannot be read as a zip archive: Not a zip archive\n"),
    "no member": (zip_of({"readme": b"nothing else"}), "SMSSpamCollection: No such file\n"),
    "parent": (zip_of({"../SMSSpamCollection": LINES}), "SMSSpamCollection: No such file\n"),
    "short": (zip_of({"SMSSpamCollection": b"short"}),
              "SMSSpamCollection: has fewer than the 477907 bytes that were expected\n"),
    "bomb": (zip_of({"SMSSpamCollection": bytes(50_000_000)}),
             "SMSSpamCollection: has more than the 477907 bytes that were expected\n"),
    "bomb that claims less": (claims(zip_of({"SMSSpamCollection": bytes(50_000_000)}), 477907), "SMSSpamCollection: "),
    "short that claims more": (claims(zip_of({"SMSSpamCollection": b"short"}), 477907), "SMSSpamCollection: "),
    "damaged": (flipped(zip_of({"SMSSpamCollection": random.Random(3).randbytes(477907)}, zipfile.ZIP_STORED)),
                "SMSSpamCollection: CRC error\n"),
    "other contents": (zip_of({"SMSSpamCollection": bytes(477907)}),
                       "SMSSpamCollection: its SHA-256 is %s, %s was expected\n"
                       % (hashlib.sha256(bytes(477907)).hexdigest(), SMS_SHA256)),
}


@pytest.mark.parametrize("body,sentence", ZIPS.values(), ids=ZIPS)
def test_bad_zip(download, server, body, sentence):
    server.files[SMS_ZIP] = body
    answer = failure(download, server, web.ok, SMS_ZIP, "sms-spam")
    assert answer == sentence or (not sentence.endswith("\n") and answer.startswith(sentence))
    assert list((download.home / "data" / "sms-spam").iterdir()) == []
