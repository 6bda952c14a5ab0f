// gpt2.c: GPT-2's own vocabulary, from the program itself.
//
// Everything follows from the merges: ids 0-255 are the bytes in the order of bytelevel.h, id 256 + r is what merge r
// joins, and <|endoftext|> comes last. So the program carries 50,000 pairs of 16-bit ids (200 KB), made from
// gpt2/vocab.bpe by gpt2/pack.c, and spells the tokens out when asked: under a millisecond, no file, no JSON.
#include <string.h>

#include "tokenizer/bytelevel.h"
#include "tokenizer/core.h"

struct llm_tokenizer *tokenizer_new_gpt2(struct llm_error *err) {
    const int eot = 256 + GPT2_MERGES;
    struct llm_tokenizer *tokenizer = tokenizer_alloc(eot + 1, gpt2_n_bytes, GPT2_MERGES, err);
    if (tokenizer == NULL) return NULL;
    char *bytes = tokenizer->bytes;
    uint32_t *starts = tokenizer->starts;
    for (int id = 0; id < 256; id++) {
        starts[id] = (uint32_t)id;
        bytes[id] = (char)bytelevel_gpt2_byte(id);
    }
    uint32_t end = 256;
    for (int rank = 0; rank < GPT2_MERGES; rank++) {
        starts[256 + rank] = end;
        for (int side = 0; side < 2; side++) {
            const int part = gpt2_merges[rank][side];
            const uint32_t size = starts[part + 1] - starts[part];
            memcpy(bytes + end, bytes + starts[part], size);
            end += size;
            tokenizer->merges[rank][side] = part;
        }
        tokenizer->merges[rank][2] = 256 + rank;
    }
    starts[eot] = end;
    memcpy(bytes + end, EOT_TEXT, strlen(EOT_TEXT));
    starts[eot + 1] = end + (uint32_t)strlen(EOT_TEXT);
    tokenizer->eot = eot;
    if (!tokenizer_index(tokenizer, err)) { // cannot fail with these merges; a broken build would say so here
        llm_tokenizer_free(tokenizer);
        return NULL;
    }
    return tokenizer;
}
