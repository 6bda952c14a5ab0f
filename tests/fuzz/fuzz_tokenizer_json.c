// fuzz_tokenizer_json.c: any bytes as tokenizer.json. What is accepted must then encode and decode.
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct llm_error err = {0};
    struct llm_tokenizer *tokenizer = tokenizer_parse_json((const char *)data, size, &err);
    if ((tokenizer == NULL) != (err.code != LLM_OK)) abort(); // a sentence with every failure, and only then
    if (tokenizer == NULL) return 0;
    int32_t *ids = NULL;
    size_t n = 0;
    char *text = NULL;
    size_t text_size = 0;
    if (llm_tokenizer_encode(tokenizer, (const char *)data, size, true, &ids, &n, NULL)) {
        if (!llm_tokenizer_decode(tokenizer, ids, n, &text, &text_size, NULL)) abort();
        if (text_size != size || memcmp(text, data, size) != 0) abort();
    }
    llm_free(ids);
    llm_free(text);
    llm_tokenizer_free(tokenizer);
    return 0;
}
