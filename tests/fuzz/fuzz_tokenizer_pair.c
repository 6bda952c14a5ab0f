// fuzz_tokenizer_pair.c: a vocabulary in two files: the JSON, a zero byte, the merges.
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    if (zero == NULL) return 0;
    const size_t vocab_size = (size_t)(zero - data);
    const char *merges = (const char *)zero + 1;
    const size_t merges_size = size - vocab_size - 1;
    struct llm_error err = {0};
    struct llm_tokenizer *tokenizer = tokenizer_parse_pair((const char *)data, vocab_size, merges, merges_size, &err);
    if ((tokenizer == NULL) != (err.code != LLM_OK)) abort(); // a sentence with every failure, and only then
    if (tokenizer == NULL) return 0;
    int32_t *ids = NULL;
    size_t n = 0;
    if (llm_tokenizer_encode(tokenizer, merges, merges_size, true, &ids, &n, NULL) && n > merges_size) abort();
    llm_free(ids);
    llm_tokenizer_free(tokenizer);
    return 0;
}
