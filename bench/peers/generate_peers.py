"""The peers' side of `run.py generate`: one peer, one test, one process. Prints one line of JSON.

    generate_peers.py llama FILE.gguf decode|prompt|first ...
    generate_peers.py ctranslate2 FOLDER decode|prompt --compute float32|int8 ...
    generate_peers.py pytorch FOLDER decode|prompt --compute float32|bfloat16 ...

decode: seconds of --tokens greedy tokens behind one token. prompt: seconds of --tokens tokens until the next one is
known. Both are measured once, after a few tokens to warm up. first: seconds from asking for the model to the first token
behind a prompt of --tokens, nothing warmed up; what came before, Python and its modules, the process takes besides.
"""

import argparse
import json
import time

WARM_UP = 8


def prompt_of(n, n_vocab=50257):
    """As bench.c makes it: any ids will do, these are spread over the vocabulary."""
    return [i * 7919 % n_vocab for i in range(n)]


class Llama:
    def __init__(self, options):
        import llama_cpp
        import numpy

        self.llama, self.numpy = llama_cpp, numpy
        self.began = time.perf_counter()
        silent = llama_cpp.llama_log_callback(lambda level, text, user: None)
        llama_cpp.llama_log_set(silent, None)
        self.silent = silent  # llama.cpp goes on calling it
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(options.model.encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = 1024
        params.n_batch = 1024
        params.n_threads = params.n_threads_batch = options.threads
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))

    def feed(self, ids):
        """The likeliest token after these."""
        tokens = (self.llama.llama_token * len(ids))(*ids)
        if self.llama.llama_decode(self.context, self.llama.llama_batch_get_one(tokens, len(ids))) != 0:
            raise RuntimeError("llama_decode() failed")
        logits = self.llama.llama_get_logits_ith(self.context, -1)
        return int(self.numpy.ctypeslib.as_array(logits, shape=(self.n_vocab,)).argmax())

    def forget(self):
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), True)

    def prompt(self, n):
        self.forget()
        ids = prompt_of(n)
        begin = time.perf_counter()
        self.feed(ids)
        return time.perf_counter() - begin

    def decode(self, n):
        self.forget()
        token = self.feed(prompt_of(1))
        begin = time.perf_counter()
        for _ in range(n):
            token = self.feed([token])
        return time.perf_counter() - begin

    def first(self, n):
        self.feed(prompt_of(n))
        return time.perf_counter() - self.began


class CTranslate2:
    def __init__(self, options):
        import ctranslate2

        self.generator = ctranslate2.Generator(options.model, device="cpu", compute_type=options.compute,
                                               intra_threads=options.threads)
        with open(options.model + "/vocabulary.json", encoding="utf-8") as file:
            self.words = json.load(file)

    def generate(self, n_prompt, n):
        words = [self.words[i] for i in prompt_of(n_prompt)]
        begin = time.perf_counter()
        self.generator.generate_batch([words], max_length=n, min_length=n, sampling_topk=1, beam_size=1,
                                      include_prompt_in_result=False)
        return time.perf_counter() - begin

    def prompt(self, n):
        return self.generate(n, 1)

    def decode(self, n):
        return self.generate(1, n)


class PyTorch:
    def __init__(self, options):
        import torch
        from transformers import GPT2LMHeadModel

        torch.set_num_threads(options.threads)
        self.torch = torch
        self.model = GPT2LMHeadModel.from_pretrained(options.model, dtype=getattr(torch, options.compute),
                                                     attn_implementation="sdpa").eval()

    def feed(self, ids, past=None):
        with self.torch.inference_mode():
            out = self.model(self.torch.tensor([ids]), past_key_values=past, use_cache=True, logits_to_keep=1)
            return int(out.logits[0, -1].argmax()), out.past_key_values

    def prompt(self, n):
        begin = time.perf_counter()
        self.feed(prompt_of(n))
        return time.perf_counter() - begin

    def decode(self, n):
        token, past = self.feed(prompt_of(1))
        begin = time.perf_counter()
        for _ in range(n):
            token, past = self.feed([token], past)
        return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=["llama", "ctranslate2", "pytorch"])
    parser.add_argument("model")
    parser.add_argument("test", choices=["decode", "prompt", "first"])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compute", default="float32")
    options = parser.parse_args()
    peer = {"llama": Llama, "ctranslate2": CTranslate2, "pytorch": PyTorch}[options.peer](options)
    if options.test != "first":
        peer.decode(WARM_UP)
    print(json.dumps({"seconds": getattr(peer, options.test)(options.tokens)}))


if __name__ == "__main__":
    main()
