// gpt2.c: GPT-2's own vocabulary, from the program itself.
//
// Everything follows from the merges: ids 0-255 are the bytes in the order of bytelevel.h, id 256 + r is what merge r
// joins, and <|endoftext|> comes last. So the program carries 50,000 pairs of 16-bit ids (200 KB), made from
// gpt2/vocab.bpe by gpt2/pack.c, and spells the tokens out when asked: under a millisecond, no file, no JSON.
#include <string.h>

#include "tokenizer/bytelevel.h"
#include "tokenizer/core.h"

// Copies the bytes of `id` to `end` and returns their number. Nearly all tokens are short: one copy of a fixed size, of
// which the next token overwrites what is too much, beats one of the exact size.
static uint32_t token_copy(struct llm_tokenizer *tokenizer, uint32_t end, int id) {
    char *to = tokenizer->bytes + end;
    const char *from = tokenizer->bytes + tokenizer->starts[id];
    const uint32_t size = tokenizer->starts[id + 1] - tokenizer->starts[id];
    memmove(to, from, TOKEN_SLACK);
    if (size > TOKEN_SLACK) memcpy(to, from, size);
    return size;
}

struct llm_tokenizer *tokenizer_new_gpt2(struct llm_error *err) {
    const int eot = 256 + GPT2_MERGES;
    struct llm_tokenizer *tokenizer = tokenizer_alloc(eot + 1, gpt2_n_bytes, GPT2_MERGES, err);
    if (tokenizer == NULL) return NULL;
    for (int id = 0; id < 256; id++) {
        const uint8_t byte = bytelevel_gpt2_byte(id);
        tokenizer->starts[id] = (uint32_t)id;
        tokenizer->bytes[id] = (char)byte;
        tokenizer->byte_ids[byte] = id;
    }
    uint32_t end = 256;
    bool ok = true;
    for (int rank = 0; ok && rank < GPT2_MERGES; rank++) {
        const uint16_t *merge = gpt2_merges[rank];
        tokenizer->starts[256 + rank] = end;
        end += token_copy(tokenizer, end, merge[0]);
        end += token_copy(tokenizer, end, merge[1]);
        ok = tokenizer_add_merge(tokenizer, rank, merge[0], merge[1], 256 + rank, err);
    }
    if (!ok) { // only if pack.c went wrong
        llm_tokenizer_free(tokenizer);
        return NULL;
    }
    tokenizer->starts[eot] = end;
    memcpy(tokenizer->bytes + end, EOT_TEXT, strlen(EOT_TEXT));
    tokenizer->starts[eot + 1] = end + (uint32_t)strlen(EOT_TEXT);
    tokenizer->eot = eot;
    return tokenizer;
}
