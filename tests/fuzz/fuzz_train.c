// fuzz_train.c: learning a vocabulary from any bytes. The first byte chooses its size, the rest is the text, learnt
// from once whole and once in two parts. Both must agree, and what was learnt must give the text back.
#include <stdlib.h>
#include <string.h>

#include "tokenizer/core.h"
#include "tokenizer/train.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds) abort();
}

static struct llm_tokenizer *learn(const char *text, size_t cut, size_t size, int vocab_size) {
    const struct llm_callbacks callbacks = {0};
    struct bpe_trainer *trainer = bpe_trainer_new(2, NULL);
    check(trainer != NULL);
    check(bpe_trainer_count(trainer, 0, text, cut, NULL) &&
          bpe_trainer_count(trainer, 1, text + cut, size - cut, NULL));
    struct llm_tokenizer *tokenizer = bpe_trainer_finish(trainer, vocab_size, 0, &callbacks, NULL);
    check(tokenizer != NULL);
    bpe_trainer_free(trainer);
    return tokenizer;
}

static void check_same(const struct llm_tokenizer *a, const struct llm_tokenizer *b) {
    check(a->n_tokens == b->n_tokens && a->n_merges == b->n_merges);
    check(memcmp(a->starts, b->starts, sizeof *a->starts * ((size_t)a->n_tokens + 1)) == 0);
    check(memcmp(a->bytes, b->bytes, a->starts[a->n_tokens]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const int vocab_size = 257 + 8 * data[0];
    const char *text = (const char *)data + 1;
    size--;
    struct llm_tokenizer *whole = learn(text, 0, size, vocab_size);
    struct llm_tokenizer *parts = learn(text, llm_tokenizer_cut(text, size), size, vocab_size);
    check_same(whole, parts);

    int32_t *ids = NULL;
    char *back = NULL;
    size_t n_ids = 0, n_back = 0;
    check(llm_tokenizer_encode(whole, text, size, true, &ids, &n_ids, NULL));
    check(llm_tokenizer_decode(whole, ids, n_ids, &back, &n_back, NULL));
    check(n_back == size && memcmp(back, text, size) == 0);
    llm_free(ids);
    llm_free(back);
    llm_tokenizer_free(whole);
    llm_tokenizer_free(parts);
    return 0;
}
