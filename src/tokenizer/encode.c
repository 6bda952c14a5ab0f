// encode.c: text to ids.
//
//     text ─ special tokens cut out ─ pieces (split.h) ─ cache ─ merges (merge.h) ─ ids
//
// A text repeats its words, so each call keeps a cache from pieces of up to 15 bytes to up to 4 ids, filled by running
// the merges: nine pieces of ten then cost one look-up. (Taking a piece that is a token itself without merging would
// be wrong for vocabularies whose merges cannot reach some token.) The cache belongs to the call: the tokenizer stays
// const and can be shared.
#include <stdlib.h>
#include <string.h>

#include "tokenizer/core.h"
#include "tokenizer/merge.h"
#include "tokenizer/split.h"

enum {
    CACHE_KEY = 15,      // longest piece, in bytes, that is cached
    CACHE_IDS = 4,       // most ids
    CACHE_MAX_BITS = 16, // 65,536 entries, 2 MiB
    CACHE_MIN_BITS = 4,
    BATCH = 256 // pieces split at once
};

struct cache_entry {
    uint64_t key[2];        // the piece, zero-padded, its length in the last byte; all 0: free
    int32_t ids[CACHE_IDS]; // -1 behind the last
};

struct encoder {
    const struct llm_tokenizer *tokenizer;
    struct cache_entry *cache; // [2^cache_bits]
    int cache_bits;
    struct merge_scratch scratch;
    int32_t *ids; // [capacity]
    size_t n_ids, capacity;
};

// Room for n more ids.
static bool encoder_reserve(struct encoder *encoder, size_t n, struct llm_error *err) {
    if (encoder->ids != NULL && encoder->capacity - encoder->n_ids >= n) return true;
    size_t capacity = encoder->n_ids + n;
    if (capacity < encoder->capacity / 2 * 3) capacity = encoder->capacity / 2 * 3;
    int32_t *ids = capacity <= SIZE_MAX / sizeof *ids ? realloc(encoder->ids, capacity * sizeof *ids) : NULL;
    if (ids == NULL) {
        error_memory(err, "ids");
        return false;
    }
    encoder->ids = ids;
    encoder->capacity = capacity;
    return true;
}

static bool encoder_init(struct encoder *encoder, const struct llm_tokenizer *tokenizer, size_t size,
                         struct llm_error *err) {
    *encoder = (struct encoder){.tokenizer = tokenizer, .cache_bits = CACHE_MIN_BITS};
    while (encoder->cache_bits < CACHE_MAX_BITS && size >> (encoder->cache_bits + 3) != 0) encoder->cache_bits++;
    encoder->cache = calloc((size_t)1 << encoder->cache_bits, sizeof *encoder->cache);
    if (encoder->cache == NULL) {
        error_memory(err, "tokenizer cache");
        return false;
    }
    return encoder_reserve(encoder, size / 4 + CACHE_IDS, err);
}

// The key of a piece of at most CACHE_KEY bytes. `readable` bytes may be read at `piece`. (The length goes into the
// last byte as little-endian machines have it, the only ones this project's mapped weights allow.)
static void cache_key(const uint8_t *piece, size_t size, size_t readable, uint64_t key[2]) {
    static const uint8_t masks[2 * 16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                          255, 255, 255, 255, 255, 255, 255, 255};
    if (readable >= 16) {
        uint64_t mask[2];
        memcpy(mask, masks + 16 - size, 16); // `size` bytes of ones, then zeros
        memcpy(key, piece, 16);
        key[0] &= mask[0];
        key[1] &= mask[1];
    } else {
        key[0] = key[1] = 0;
        memcpy(key, piece, size);
    }
    key[1] |= (uint64_t)size << 56;
}

static struct cache_entry *cache_find(const struct encoder *encoder, const uint64_t key[2]) {
    const uint64_t mixed = (key[0] ^ (key[1] * 0x9e3779b97f4a7c15u)) * 0xd6e8feb86659fd93u;
    return &encoder->cache[(mixed ^ mixed << 32) >> (64 - encoder->cache_bits)];
}

static bool encode_piece(struct encoder *encoder, const uint8_t *piece, size_t size, struct llm_error *err) {
    size_t n = 0;
    if (!merge_piece(encoder->tokenizer, &encoder->scratch, piece, size, encoder->ids + encoder->n_ids, &n, err)) {
        return false;
    }
    encoder->n_ids += n;
    return true;
}

// A piece of at most CACHE_KEY bytes, by way of the cache. There is room for CACHE_IDS ids or `size`, whichever is
// more.
static void encode_cached(struct encoder *encoder, const uint8_t *piece, size_t size, size_t readable) {
    uint64_t key[2];
    cache_key(piece, size, readable, key);
    struct cache_entry *entry = cache_find(encoder, key);
    int32_t *out = encoder->ids + encoder->n_ids;
    if (entry->key[0] == key[0] && entry->key[1] == key[1]) {
        memcpy(out, entry->ids, sizeof entry->ids); // all four, then count: no branch on how many there are
        encoder->n_ids += 1u + (entry->ids[1] >= 0) + (entry->ids[2] >= 0) + (entry->ids[3] >= 0);
        return;
    }
    const size_t n = merge_short(encoder->tokenizer, &encoder->scratch, piece, size, out);
    encoder->n_ids += n;
    if (n > CACHE_IDS) return;
    memcpy(entry->key, key, sizeof entry->key);
    for (size_t i = 0; i < CACHE_IDS; i++) entry->ids[i] = i < n ? out[i] : -1;
}

// Text without special tokens. `readable` bytes may be read at `text`.
static bool encode_ordinary(struct encoder *encoder, const uint8_t *text, size_t size, size_t readable,
                            struct llm_error *err) {
    struct splitter splitter = {.text = text, .size = size};
    size_t ends[BATCH];
    size_t at = 0;
    for (;;) {
        const size_t n = split_next(&splitter, ends, BATCH);
        if (n == 0) return true;
        if (!encoder_reserve(encoder, ends[n - 1] - at + CACHE_IDS, err)) return false;
        for (size_t i = 0; i < n; i++) {
            const size_t length = ends[i] - at;
            if (length <= CACHE_KEY) {
                encode_cached(encoder, text + at, length, readable - at);
            } else if (!encode_piece(encoder, text + at, length, err)) {
                return false;
            }
            at = ends[i];
        }
    }
}

static bool encode_all(struct encoder *encoder, const uint8_t *text, size_t size, bool allow_special,
                       struct llm_error *err) {
    const struct llm_tokenizer *tokenizer = encoder->tokenizer;
    size_t at = 0;
    while (allow_special && tokenizer->eot >= 0) {
        const uint8_t *special = memmem(text + at, size - at, EOT_TEXT, strlen(EOT_TEXT));
        if (special == NULL) break;
        const size_t before = (size_t)(special - text) - at;
        if (!encode_ordinary(encoder, text + at, before, size - at, err)) return false;
        if (!encoder_reserve(encoder, 1, err)) return false;
        encoder->ids[encoder->n_ids++] = tokenizer->eot;
        at += before + strlen(EOT_TEXT);
    }
    return encode_ordinary(encoder, text + at, size - at, size - at, err);
}

bool llm_tokenizer_encode(const struct llm_tokenizer *tokenizer, const char *text, size_t size, bool allow_special,
                          int32_t **ids, size_t *n_ids, struct llm_error *err) {
    struct encoder encoder;
    const bool ok = encoder_init(&encoder, tokenizer, size, err) &&
                    encode_all(&encoder, (const uint8_t *)text, size, allow_special, err);
    merge_scratch_release(&encoder.scratch);
    free(encoder.cache);
    if (!ok) {
        free(encoder.ids);
        return false;
    }
    *ids = encoder.ids;
    *n_ids = encoder.n_ids;
    return true;
}
