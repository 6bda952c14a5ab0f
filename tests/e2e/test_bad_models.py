"""Model files that are wrong in one way each: one sentence that names file, place and what was expected; exit 1.

Damage to every single byte is in tests/unit/test_open.c and test_config.c; the containers' own defects are in
tests/bad. Run with MY_LLM_BUILD=build-asan these cases go through the sanitizers.
"""

import os
import struct

import pytest

import tiny


def refused(result, sentence):
    assert result.out == ""
    assert result.err == f"my-llm: {sentence}\n"
    assert result.code == 1


def changed(**changes):
    """The tensors of a whole model with some replaced (None: left out); keys have __ for a dot."""
    named = tiny.tensors()
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del named[name]
        else:
            named[name] = value
    return named


def test_the_tiny_model_is_whole(my_llm, tmp_path):
    assert my_llm("info", tiny.write_model(tmp_path / "m")).code == 0


@pytest.mark.parametrize("bias", [None, tiny.tensor([12], value=0)], ids=["absent", "zero"])
def test_a_model_without_qkv_bias(my_llm, tmp_path, bias):
    named = changed(h__0__attn__c_attn__bias=bias)
    assert my_llm("info", tiny.write_model(tmp_path / "m", named, qkv_bias=False)).code == 0


# case: tensors, changes of config.json, the sentence behind "<model>/"; {m} is the model's directory
TENSOR_CASES = {
    "transposed": (changed(h__0__attn__c_attn__weight=tiny.tensor([12, 4])), {},
                   "{m}/model.safetensors: tensor h.0.attn.c_attn.weight has shape [12, 4], [4, 12] was expected "
                   "(it is transposed)"),
    "transposed-mlp": (changed(h__0__mlp__c_proj__weight=tiny.tensor([4, 16])), {},
                       "{m}/model.safetensors: tensor h.0.mlp.c_proj.weight has shape [4, 16], [16, 4] was expected "
                       "(it is transposed)"),
    "rank-3": (changed(h__0__attn__c_attn__weight=tiny.tensor([1, 4, 12])), {},
               "{m}/model.safetensors: tensor h.0.attn.c_attn.weight has shape [1, 4, 12], [4, 12] was expected "
               "(n_embd 4)"),
    "rank-0": (changed(ln_f__bias=tiny.tensor([])), {},
               "{m}/model.safetensors: tensor ln_f.bias has shape [], [4] was expected (n_embd 4)"),
    "empty-tensor": (changed(ln_f__bias=tiny.tensor([0])), {},
                     "{m}/model.safetensors: tensor ln_f.bias has shape [0], [4] was expected (n_embd 4)"),
    "vector-as-row": (changed(ln_f__bias=tiny.tensor([1, 4])), {},
                      "{m}/model.safetensors: tensor ln_f.bias has shape [1, 4], [4] was expected (n_embd 4)"),
    "vocab-size": (None, dict(vocab_size=6),
                   "{m}/model.safetensors: tensor wte.weight has shape [5, 4], [6, 4] was expected "
                   "(vocab_size 6, n_embd 4)"),
    "n-positions": (None, dict(n_positions=7),
                    "{m}/model.safetensors: tensor wpe.weight has shape [3, 4], [7, 4] was expected "
                    "(n_positions 7, n_embd 4)"),
    "n-inner": (None, dict(n_inner=15),
                "{m}/model.safetensors: tensor h.0.mlp.c_fc.bias has shape [16], [15] was expected "
                "(n_embd 4, n_inner 15)"),
    "n-embd": (None, dict(n_embd=8),
               "{m}/model.safetensors: tensor h.0.attn.c_attn.bias has shape [12], [24] was expected (n_embd 8)"),
    "missing": (changed(h__0__ln_2__bias=None), {}, "{m}: tensor h.0.ln_2.bias is missing"),
    "missing-several": (changed(h__0__ln_2__bias=None, wpe__weight=None, ln_f__bias=None), {},
                        "{m}: tensor wpe.weight is missing, and 2 more"),
    "missing-layer": (None, dict(n_layer=2), "{m}: tensor h.1.ln_1.weight is missing, and 11 more"),
    "missing-head": (None, dict(tie_word_embeddings=False), "{m}: tensor lm_head.weight is missing"),
    "qkv-bias": (None, dict(qkv_bias=False),
                 "{m}: tensor h.0.attn.c_attn.bias is not zero, but the config has qkv_bias false"),
    "missing-embedding": (changed(wte__weight=None), {}, "{m}: tensor wte.weight is missing"),
    "one-layer-too-many": (tiny.tensors(n_layer=2), {},
                           "{m}/model.safetensors: tensor h.1.attn.c_attn.bias belongs to layer 1, but the config "
                           "has n_layer 1"),
    "unknown": (changed(h__0__attn__q_norm__weight=tiny.tensor([4])), {},
                "{m}/model.safetensors: tensor h.0.attn.q_norm.weight is not a part of GPT-2 (names as Hugging Face "
                "has them)"),
    "cross-attention": (changed(h__0__crossattention__c_attn__bias=tiny.tensor([8])), {},
                        "{m}/model.safetensors: tensor h.0.crossattention.c_attn.bias is not a part of GPT-2 (names "
                        "as Hugging Face has them)"),
    "twice": (changed(transformer__wte__weight=tiny.tensor([5, 4])), {},
              "{m}/model.safetensors: tensors transformer.wte.weight and wte.weight are the same parameter"),
    "another-model": ({"model.layers.0.self_attn.q_proj.weight": tiny.tensor([4, 4])}, {},
                      "{m}: holds no tensor of a GPT-2 (the first of its 1 is "
                      "model.layers.0.self_attn.q_proj.weight; wte.weight, model/wte, tok_emb.weight or "
                      "token_embd.weight was expected)"),
    "no-tensors": ({}, {}, "{m}: holds no tensors"),
    "f64": (changed(ln_f__bias=tiny.tensor([4], dtype="F64")), {},
            "{m}/model.safetensors: tensor ln_f.bias is F64; F32, F16 and BF16 are supported"),
    "i64": (changed(wte__weight=tiny.tensor([5, 4], dtype="I64")), {},
            "{m}/model.safetensors: tensor wte.weight is I64; F32, F16 and BF16 are supported"),
    "wrong-head": (changed(lm_head__weight=tiny.tensor([4, 5])), {},
                   "{m}/model.safetensors: tensor lm_head.weight has shape [4, 5], [5, 4] was expected "
                   "(it is transposed)"),
    # Only the config is wrong; its other refusals are in tests/unit/test_config.c.
    "n-head": (None, dict(n_head=3), "{m}/config.json: n_head is 3, which does not divide n_embd, 4"),
    "n-layer": (None, dict(n_layer=10**9),
                "{m}/config.json: n_layer is 1000000000, a number from 1 to 16384 was expected"),
    "zero": (None, dict(n_embd=0), "{m}/config.json: n_embd is 0, a number from 1 to 262144 was expected"),
    "model-type": (None, dict(model_type="gpt_neo"),
                   '{m}/config.json: model_type is "gpt_neo"; gpt2 is supported'),
    "classifier": (None, dict(architectures=["GPT2ForSequenceClassification"]),
                   "{m}: tensor score.weight is missing"),
    "class": (None, dict(architectures=["GPT2ForTokenClassification"]),
              "{m}/config.json: the model is a GPT2ForTokenClassification; GPT2LMHeadModel, which generates text, and "
              "GPT2ForSequenceClassification are supported"),
    "labels": ({**tiny.tensors(), "score.weight": tiny.tensor([3, 4])},
               dict(architectures=["GPT2ForSequenceClassification"], id2label={"0": "ham", "1": "spam"}),
               "{m}/model.safetensors: tensor score.weight has shape [3, 4], [2, 4] was expected (2 labels, n_embd 4)"),
    "label-ids": ({**tiny.tensors(), "score.weight": tiny.tensor([2, 4])},
                  dict(architectures=["GPT2ForSequenceClassification"], id2label={"0": "ham", "2": "spam"}),
                  "{m}/config.json: id2label does not name label 1"),
    "activation": (None, dict(activation_function="silu"),
                   '{m}/config.json: activation_function is "silu"; gelu_new, gelu, relu and their aliases are '
                   "supported"),
}


@pytest.mark.parametrize("case", TENSOR_CASES)
def test_tensors_and_config(my_llm, tmp_path, case):
    named, config, sentence = TENSOR_CASES[case]
    model = tiny.write_model(tmp_path / "m", named, **config)
    refused(my_llm("info", model), sentence.format(m=model))


@pytest.mark.parametrize("command", [["info"], ["convert"]])
def test_every_command_refuses_alike(my_llm, tmp_path, command):
    model = tiny.write_model(tmp_path / "m", changed(ln_f__bias=None))
    more = [tmp_path / "out"] if command == ["convert"] else []
    refused(my_llm(*command, model, *more), f"{model}: tensor ln_f.bias is missing")
    assert not (tmp_path / "out").exists()


def test_config_is_not_there(my_llm, tmp_path):
    model = tiny.write_model(tmp_path / "m")
    (model / "config.json").unlink()
    sentence = f"{model}: holds neither config.json nor hparams.json, so what model this is cannot be told"
    refused(my_llm("info", model), sentence)
    refused(my_llm("info", model / "model.safetensors"), sentence)


@pytest.mark.parametrize("content, sentence", [
    (b"", "not valid JSON: line 1, column 0: unexpected token near end of file"),
    (b"{", "not valid JSON: line 1, column 1: string or '}' expected near end of file"),
    (b"\xff", "not valid JSON: line 1, column 0: unable to decode byte 0xff"),
    (b"[1]", "is not a JSON object, which was expected"),
    (b'{"n_layer": 1,}', "not valid JSON: line 1, column 15: string or '}' expected near '}'"),
    (b'{"a\\u0000b": 1}', "not valid JSON: line 1, column 11: NUL byte in object key not supported near "
                          "'\"a\\u0000b\"'"),
])
def test_config_is_damaged(my_llm, tmp_path, content, sentence):
    model = tiny.write_model(tmp_path / "m")
    (model / "config.json").write_bytes(content)
    refused(my_llm("info", model), f"{model}/config.json: {sentence}")


def test_config_is_something_else(my_llm, tmp_path):
    model = tiny.write_model(tmp_path / "m")
    config = model / "config.json"
    config.unlink()
    config.mkdir()
    refused(my_llm("info", model), f"{config}: is a directory, a file was expected")
    config.rmdir()
    os.mkfifo(config)
    refused(my_llm("info", model, timeout=20), f"{config}: is not a regular file")
    config.unlink()
    config.symlink_to("nowhere")
    refused(my_llm("info", model), f"{config}: cannot open this file: No such file or directory")
    config.unlink()
    with open(config, "wb") as f:
        f.truncate(1 << 40)  # sparse: takes no room here, and must take none in memory
    refused(my_llm("info", model), f"{config}: has 1099511627776 bytes, at most 16777216 were expected")


@pytest.mark.parametrize("content", [b"", b"\x00", b"{" * 7])
def test_weights_are_damaged(my_llm, tmp_path, content):
    model = tiny.write_model(tmp_path / "m")
    (model / "model.safetensors").write_bytes(content)
    result = my_llm("info", model)
    assert result.code == 1
    assert result.err.startswith(f"my-llm: {model}/model.safetensors: ")
    assert result.err.count("\n") == 1


def test_weights_are_a_fifo(my_llm, tmp_path):
    model = tiny.write_model(tmp_path / "m")
    (model / "model.safetensors").unlink()
    os.mkfifo(model / "model.safetensors")
    result = my_llm("info", model, timeout=20)
    assert result.code == 1
    assert result.err.count("\n") == 1


def test_hparams(my_llm, source, tmp_path):
    model = tmp_path / "m"
    model.mkdir()
    for file in (source / "tests" / "fixtures" / "models" / "openai").iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    assert my_llm("info", model).code == 0
    (model / "hparams.json").write_text('{"n_vocab": 101, "n_ctx": "64"}')
    refused(my_llm("info", model), f'{model}/hparams.json: n_ctx is "64", an integer was expected')
    (model / "hparams.json").write_text('{"n_vocab": 101, "n_ctx": 64, "n_embd": 24, "n_head": 3}')
    refused(my_llm("info", model), f"{model}/hparams.json: n_layer is missing")
    (model / "hparams.json").write_text('{"n_vocab": 102, "n_ctx": 64, "n_embd": 24, "n_head": 3, "n_layer": 2}')
    refused(my_llm("info", model), f"{model}/model.ckpt.data-00000-of-00001: tensor model/wte has shape [101, 24], "
                                   "[102, 24] was expected (vocab_size 102, n_embd 24)")
    (model / "hparams.json").write_text('{"n_vocab": 101, "n_ctx": 64, "n_embd": 24, "n_head": 3, "n_layer": 3}')
    refused(my_llm("info", model), f"{model}: tensor model/h2/ln_1/g is missing, and 11 more")


def test_nonfinite_weights_load_and_are_told(my_llm, tmp_path):
    dtype, shape, data = tiny.tensor([5, 4])
    data = struct.pack("<3f", float("nan"), float("inf"), float("-inf")) + data[12:]
    model = tiny.write_model(tmp_path / "m", changed(wte__weight=(dtype, shape, data)))
    result = my_llm("info", model)
    assert result.code == 0
    assert "  NaN or infinite                     3\n" in result.out


def test_half_precision_and_mixed_dtypes_load(my_llm, tmp_path):
    named = changed(ln_f__bias=tiny.tensor([4], dtype="F16"), h__0__attn__c_attn__weight=tiny.tensor([4, 12], dtype="F16"))
    result = my_llm("info", tiny.write_model(tmp_path / "m", named))
    assert result.code == 0
    assert "format        safetensors, F32\n" in result.out
