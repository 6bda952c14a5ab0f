// fuzz_tokens.c: any bytes as a .tokens file, once as they are and once with the checksums made right, as random bytes
// never have them. Whatever is accepted must lie inside the file and be in range.
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "data/tokens_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds) abort();
}

static void parse(const uint8_t *bytes, size_t size) {
    struct llm_error err = {0};
    struct token_file file = {0};
    const bool ok = token_file_parse(&file, bytes, size, &err);
    check(ok == (err.code == LLM_OK));
    if (!ok) return;
    check((uint64_t)file.n_tokens < size && (uint64_t)file.n_documents < size && file.eot < file.vocab_size);
    const struct token_windows windows = token_windows(&file, 3, 2);
    for (int64_t i = 0; i < windows.n; i++) {
        int32_t ids[4];
        check(token_windows_read(&windows, i, ids, NULL));
        for (int j = 0; j < 4; j++) check(ids[j] >= 0 && ids[j] < file.vocab_size);
    }
    for (int64_t i = 0; i < file.n_documents; i++) {
        int32_t id = -1;
        check(token_file_read(&file, (int64_t)file.starts[i], 1, &id, NULL));
    }
}

static void store_u32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (8 * i));
}

// The trailer is 64 digits, three u64, three u32, the checksum of the body, zeros, its own checksum.
static void make_right(uint8_t *bytes, size_t size) {
    memcpy(bytes, TOKENS_MAGIC, TOKENS_MAGIC_SIZE);
    uint8_t *trailer = bytes + size - TOKENS_TRAILER_SIZE;
    memset(trailer, 'a', CHECKSUM_TEXT - 1);
    store_u32(trailer + CHECKSUM_TEXT - 1 + 3 * 8 + 3 * 4, crc32c(0, bytes, size - TOKENS_TRAILER_SIZE));
    store_u32(trailer + TOKENS_TRAILER_SIZE - 4, crc32c(0, trailer, TOKENS_TRAILER_SIZE - 4));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *bytes =
        calloc(1, size == 0 ? 1 : size); // of the very size, for AddressSanitizer, and aligned as a mapping is
    check(bytes != NULL);
    if (size > 0) memcpy(bytes, data, size);
    parse(bytes, size);
    if (size >= TOKENS_MAGIC_SIZE + TOKENS_TRAILER_SIZE) {
        make_right(bytes, size);
        parse(bytes, size);
    }
    free(bytes);
    return 0;
}
