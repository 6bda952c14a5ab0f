"""The model that comes with my-llm, whichever it is: what its card promises of it."""

import json

import pytest

from conftest import STARTER, read_tensors


@pytest.fixture
def bundled(source):
    return source / "models" / "bundled"


def test_what_it_is(my_llm, bundled):
    info = json.loads(my_llm("info", "--json", bundled).out)
    assert (info["dtype"], info["n_nonfinite"]) == ("F16", 0)
    assert sum(path.stat().st_size for path in bundled.iterdir()) <= 40e6
    assert {dtype for dtype, _, _ in read_tensors(bundled / "model.safetensors").values()} == {"F16"}
    card = (bundled / "README.md").read_text()
    for number in (info["n_params"], info["n_ctx"], info["vocab_size"]):
        assert f" {number:,} " in card


def test_it_is_better_than_its_predecessor(my_llm, source, bundled):
    """Of a text that is not among the books: nats for all of it, as the vocabularies differ."""
    text = source.parent / "shared" / "data" / "text" / "the-verdict.txt"
    if not text.exists():
        pytest.skip("../shared has no texts")
    results = [json.loads(my_llm("eval", model, text, "--json").out) for model in (bundled, STARTER)]
    new, old = (result["loss"] * result["tokens"] for result in results)
    assert new < old
