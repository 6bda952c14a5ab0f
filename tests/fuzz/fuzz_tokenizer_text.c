// fuzz_tokenizer_text.c: any bytes, encoded with GPT-2's vocabulary: whole, in two parts where llm_tokenizer_cut()
// allows, and with the special token allowed. Decoding must give the bytes back, the parts the ids of the whole, and
// merging by heap the ids of merging by scan.
#include <stdlib.h>
#include <string.h>

#include "tokenizer/merge.h"
#include "tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int32_t *encode(const struct llm_tokenizer *tokenizer, const char *text, size_t size, bool special, size_t *n) {
    int32_t *ids = NULL;
    if (!llm_tokenizer_encode(tokenizer, text, size, special, &ids, n, NULL) || ids == NULL) abort();
    char *back = NULL;
    size_t back_size = 0;
    if (!llm_tokenizer_decode(tokenizer, ids, *n, &back, &back_size, NULL)) abort();
    if (back_size != size || memcmp(back, text, size) != 0) abort();
    llm_free(back);
    return ids;
}

static void check_parts(const struct llm_tokenizer *tokenizer, const char *text, size_t size, bool special) {
    size_t n = 0;
    size_t n_first = 0;
    size_t n_second = 0;
    const size_t cut = llm_tokenizer_cut(text, size);
    int32_t *whole = encode(tokenizer, text, size, special, &n);
    int32_t *first = encode(tokenizer, text, cut, special, &n_first);
    int32_t *second = encode(tokenizer, text + cut, size - cut, special, &n_second);
    if (n != n_first + n_second || memcmp(whole, first, n_first * sizeof *whole) != 0 ||
        memcmp(whole + n_first, second, n_second * sizeof *whole) != 0) {
        abort();
    }
    llm_free(whole);
    llm_free(first);
    llm_free(second);
}

static void check_merge(const struct llm_tokenizer *tokenizer, const uint8_t *piece, size_t size) {
    int32_t by_scan[MERGE_SHORT];
    int32_t by_heap[MERGE_SHORT];
    struct merge_scratch scratch = {0};
    size_t n = 0;
    const size_t n_scan = merge_short(tokenizer, &scratch, piece, size, by_scan);
    if (!merge_long(tokenizer, &scratch, piece, size, by_heap, &n, NULL)) abort();
    if (n != n_scan || memcmp(by_scan, by_heap, n * sizeof *by_heap) != 0) abort();
    merge_scratch_release(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct llm_tokenizer *tokenizer; // made once for all inputs
    if (tokenizer == NULL) tokenizer = tokenizer_new_gpt2(NULL);
    if (tokenizer == NULL) abort();
    check_parts(tokenizer, (const char *)data, size, false);
    check_parts(tokenizer, (const char *)data, size, true);
    if (size > 0) check_merge(tokenizer, data, size < MERGE_SHORT ? size : MERGE_SHORT);
    return 0;
}
