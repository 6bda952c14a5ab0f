// checksum.c: tokenizer_checksum(), by which a file of ids knows the vocabulary it was made with.
#include <stdlib.h>

#include "tokenizer/core.h"

bool tokenizer_checksum(const struct llm_tokenizer *tokenizer, char text[CHECKSUM_TEXT], struct llm_error *err) {
    int32_t(*merges)[2] = tokenizer_list_merges(tokenizer, err);
    if (merges == NULL) return false;
    const int32_t sizes[] = {tokenizer->n_tokens, tokenizer->n_merges, tokenizer->eot};
    const size_t n_merges = (size_t)tokenizer->n_merges;
    struct checksum sum;
    checksum_init(&sum);
    checksum_update(&sum, sizes, sizeof sizes);
    checksum_update(&sum, tokenizer->starts, ((size_t)tokenizer->n_tokens + 1) * sizeof *tokenizer->starts);
    checksum_update(&sum, tokenizer->bytes, tokenizer->starts[tokenizer->n_tokens]);
    checksum_update(&sum, merges, n_merges * sizeof *merges);
    checksum_update(&sum, tokenizer->joined, n_merges * sizeof *tokenizer->joined);
    checksum_text(&sum, text);
    free(merges);
    return true;
}
