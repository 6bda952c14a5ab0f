"""my-llm info: what it says about the fixtures, as text and as JSON."""

import json

import pytest


def test_text(my_llm, models):
    result = my_llm("info", models / "openai")
    assert result.code == 0
    lines = [line.rstrip() for line in result.out.splitlines()]
    assert f"model         {models / 'openai'}" in lines
    assert "format        TensorFlow checkpoint, F32" in lines
    assert "architecture  GPT-2: 2 layers, 3 heads, width 24, feed-forward 96" in lines
    assert "context       64 tokens" in lines
    assert "vocabulary    101 ids (no vocabulary beside the model)" in lines
    assert "output head   the token embedding" in lines
    assert "  token embedding                 2,424   13.1 %" in lines
    assert "  total                          18,456" in lines
    assert any(line.startswith("  weights                   73.8 kB") for line in lines)
    assert any(line.startswith("  to train ") for line in lines)


def test_no_qkv_bias(my_llm, models):
    result = my_llm("info", models / "noqkvbias")
    assert "attention     scores divided by sqrt(head size); no bias on query, key and value" in result.out


@pytest.mark.parametrize("name, expected", [
    ("bylayer", dict(n_layer=3, scale_attn_by_layer=True, dtype="F32")),
    ("noscale", dict(scale_attn_weights=False)),
    ("inner", dict(n_inner=50)),
    ("relu", dict(activation="relu")),
    ("gelu", dict(activation="gelu")),
    ("epsilon", dict(layer_norm_epsilon=0.03)),
    ("untied", dict(tied_head=False)),
    ("noqkvbias", dict(tied_head=False, qkv_bias=False)),
    ("bf16", dict(dtype="BF16", qkv_bias=True)),
    ("distil", dict(n_layer=6, n_head=12)),
    ("text", dict(has_tokenizer=True, vocab_size=300)),
])
def test_json(my_llm, models, name, expected):
    result = my_llm("info", "--json", models / name)
    assert result.code == 0
    info = json.loads(result.out)
    assert {key: info[key] for key in expected} == expected
    assert info["n_nonfinite"] == 0
    assert sum(part["n_params"] for part in info["parts"]) == info["n_params"]
    assert info["bytes"]["inference"] > info["bytes"]["weights"] + info["bytes"]["kv_cache"]
    for file in info["files"]:
        assert (models / name / file["path"]).stat().st_size == file["size"]


def test_no_check(my_llm, models):
    result = my_llm("info", "--json", "--no-check", models / "prefix")
    assert json.loads(result.out)["n_nonfinite"] is None


def test_isa(my_llm, models):
    result = my_llm("info", "--json", models / "prefix", env={"MY_LLM_ISA": "ref", "MY_LLM_THREADS": "1"})
    info = json.loads(result.out)
    assert (info["isa"], info["n_threads"]) == ("ref", 1)


def test_default_is_the_bundled_model(my_llm, models):
    result = my_llm("info", env={"MY_LLM_BUNDLED": str(models / "text")})
    assert result.code == 0
    assert "no model named; using the bundled one" in result.err
    assert f"model         {models / 'text'}" in result.out


def test_wrong_usage(my_llm):
    assert my_llm("info", "a", "b").code == 2
    assert my_llm("info", "--nonsense").code == 2
