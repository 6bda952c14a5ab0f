// encode.c: text to ids; see encode.h.
//
//     text ─ special tokens cut out ─ pieces (split.h) ─ cache ─ merges (merge.h) ─ ids
//
// A text repeats its words, so pieces of up to 15 bytes are kept in a cache with their ids, if those are at most 4. It
// is filled by running the merges: nine pieces of ten then cost one look-up. (Taking a piece that is a token itself
// without merging would be wrong for vocabularies whose merges cannot reach some token.) The cache stays with the
// tokenizer for the next call; while one call has it, another makes its own, so the tokenizer can be shared. It begins
// as large as the text at hand suggests, and grows while it keeps missing, over many short texts as within a long one.
//
// Entries lie in memory as their hashes have it, so a batch of pieces first asks for all of theirs, then looks.
#include "tokenizer/encode.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/pages.h"
#include "tokenizer/split.h"

enum {
    CACHE_KEY = 15, // longest piece, in bytes, that is cached
    CACHE_IDS = 4,  // most ids
    CACHE_WAYS = 2, // entries among which one look-up looks: a cache line
    CACHE_MIN_BITS = 4,
    CACHE_MAX_BITS = 18,   // 262,144 lines, 16 MiB: for a text of 16 MB and more
    CACHE_TEXT_BITS = 6,   // at first, a line for 2^6 bytes of text
    CACHE_GROWTH_BITS = 2, // four times the lines when there were more misses than lines
    SHELF = 16,            // caches kept for as many calls at once
    BATCH = 256,           // pieces split at once
    SHORT = 4096           // bytes of a text
};

struct cache_entry {
    uint64_t key[2];        // the piece, zero-padded, its length in the last byte; all 0: free
    int32_t ids[CACHE_IDS]; // -1 behind the last
};

struct cache_line {
    _Alignas(64) struct cache_entry ways[CACHE_WAYS];
};

struct encode_cache {
    int bits;
    size_t n_misses;           // since it has this size
    struct cache_line lines[]; // [2^bits]
};

struct encode_shelf {
    _Atomic(struct encode_cache *) caches[SHELF]; // NULL: none yet, or a call has it
};

// A piece that has been asked for: where it would be in the cache.
struct request {
    uint64_t key[2];
    struct cache_line *line; // NULL: too long for it
};

// ---- The cache and its shelf ----------------------------------------------------------------

struct encode_shelf *encode_shelf_new(void) {
    return calloc(1, sizeof(struct encode_shelf));
}

void encode_shelf_free(struct encode_shelf *shelf) {
    for (int i = 0; shelf != NULL && i < SHELF; i++) free(atomic_load(&shelf->caches[i]));
    free(shelf);
}

static struct cache_line *cache_find(struct encode_cache *cache, const uint64_t key[2]) {
    const uint64_t mixed = (key[0] ^ (key[1] * 0x9e3779b97f4a7c15u)) * 0xd6e8feb86659fd93u;
    return &cache->lines[(mixed ^ mixed << 32) >> (64 - cache->bits)];
}

// One of 2^bits lines with what is in `from`, a smaller one or NULL. What shares a line now came from one line, so
// there is room. NULL: out of memory.
static struct encode_cache *cache_new(int bits, const struct encode_cache *from) {
    struct encode_cache *cache = pages_alloc(sizeof *cache + ((size_t)1 << bits) * sizeof cache->lines[0]);
    if (cache == NULL) return NULL;
    cache->bits = bits;
    for (size_t i = 0; from != NULL && i >> from->bits == 0; i++) {
        for (int way = 0; way < CACHE_WAYS && from->lines[i].ways[way].key[1] != 0; way++) {
            const struct cache_entry *entry = &from->lines[i].ways[way];
            struct cache_entry *ways = cache_find(cache, entry->key)->ways;
            ways[ways[0].key[1] == 0 ? 0 : 1] = *entry;
        }
    }
    return cache;
}

// Not while anything points into it. Without memory for more it stays as it is.
static void cache_grow(struct encode_cache **cache, int bits) {
    struct encode_cache *larger = cache_new(bits < CACHE_MAX_BITS ? bits : CACHE_MAX_BITS, *cache);
    (*cache)->n_misses = 0;
    if (larger == NULL) return;
    free(*cache);
    *cache = larger;
}

static bool cache_is_small(const struct encode_cache *cache) {
    return cache->n_misses >> cache->bits != 0 && cache->bits < CACHE_MAX_BITS;
}

// One from the shelf, of the size that a text of this size begins with, or a new one.
static struct encode_cache *cache_take(struct encode_shelf *shelf, size_t size) {
    int bits = CACHE_MIN_BITS;
    while (bits < CACHE_MAX_BITS && size >> (bits + CACHE_TEXT_BITS) != 0) bits++;
    struct encode_cache *cache = NULL;
    for (int i = 0; i < SHELF && cache == NULL; i++) {
        if (atomic_load(&shelf->caches[i]) != NULL) cache = atomic_exchange(&shelf->caches[i], NULL);
    }
    if (cache == NULL) return cache_new(bits, NULL);
    if (cache->bits < bits) cache_grow(&cache, bits);
    return cache;
}

static void cache_give_back(struct encode_shelf *shelf, struct encode_cache *cache) {
    for (int i = 0; i < SHELF && cache != NULL; i++) {
        if (atomic_load(&shelf->caches[i]) == NULL) cache = atomic_exchange(&shelf->caches[i], cache);
    }
    free(cache);
}

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
    pages_hint(ids, capacity * sizeof *ids);
    encoder->ids = ids;
    encoder->capacity = capacity;
    return true;
}

bool encoder_init(struct encoder *encoder, const struct llm_tokenizer *tokenizer, size_t size, size_t first,
                  struct llm_error *err) {
    *encoder = (struct encoder){.tokenizer = tokenizer, .cache = cache_take(tokenizer->shelf, size)};
    if (encoder->cache == NULL) return error_memory(err, "tokenizer cache");
    // Four bytes have one id, but a batch wants room for the worst: a short text, for all of it.
    return encoder_reserve(encoder, (first < SHORT ? first : first / 4) + CACHE_IDS, err);
}

void encoder_release(struct encoder *encoder) {
    if (encoder->cache != NULL) cache_give_back(encoder->tokenizer->shelf, encoder->cache);
    merge_scratch_release(&encoder->scratch);
    free(encoder->ids);
    *encoder = (struct encoder){0};
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

static bool encode_piece(struct encoder *encoder, const uint8_t *piece, size_t size, struct llm_error *err) {
    size_t n = 0;
    if (!merge_piece(encoder->tokenizer, &encoder->scratch, piece, size, encoder->ids + encoder->n_ids, &n, err)) {
        return false;
    }
    encoder->n_ids += n;
    return true;
}

static bool entry_is(const struct cache_entry *entry, const uint64_t key[2]) {
    return entry->key[0] == key[0] && entry->key[1] == key[1];
}

// A piece that may be in the cache. There is room for CACHE_IDS ids or `size`, whichever is more.
static void encode_cached(struct encoder *encoder, const uint8_t *piece, size_t size, const struct request *request) {
    struct cache_entry *ways = request->line->ways;
    int32_t *out = encoder->ids + encoder->n_ids;
    const bool first = entry_is(&ways[0], request->key);
    if (first || entry_is(&ways[1], request->key)) {
        const struct cache_entry *entry = &ways[first ? 0 : 1];
        memcpy(out, entry->ids, sizeof entry->ids); // all four, then count: no branch on how many there are
        encoder->n_ids += 1u + (entry->ids[1] >= 0) + (entry->ids[2] >= 0) + (entry->ids[3] >= 0);
        return;
    }
    const size_t n = merge_short(encoder->tokenizer, &encoder->scratch, piece, size, out);
    encoder->n_ids += n;
    if (n > CACHE_IDS) return;
    encoder->cache->n_misses++;
    // Who comes first stays, as frequent words do; the others share what is left.
    struct cache_entry *entry = &ways[ways[0].key[1] == 0 ? 0 : 1];
    memcpy(entry->key, request->key, sizeof entry->key);
    for (size_t i = 0; i < CACHE_IDS; i++) entry->ids[i] = i < n ? out[i] : -1;
}

// `n` pieces that end at ends[i]; the first begins at `at`.
static bool encode_batch(struct encoder *encoder, const uint8_t *text, size_t readable, size_t at, const size_t *ends,
                         size_t n, struct llm_error *err) {
    struct request requests[BATCH];
    if (cache_is_small(encoder->cache)) cache_grow(&encoder->cache, encoder->cache->bits + CACHE_GROWTH_BITS);
    for (size_t i = 0, begin = at; i < n; begin = ends[i++]) {
        const size_t length = ends[i] - begin;
        requests[i].line = NULL;
        if (length > CACHE_KEY) continue;
        cache_key(text + begin, length, readable - begin, requests[i].key);
        requests[i].line = cache_find(encoder->cache, requests[i].key);
        __builtin_prefetch(requests[i].line);
    }
    if (!encoder_reserve(encoder, ends[n - 1] - at + CACHE_IDS, err)) return false;
    for (size_t i = 0; i < n; at = ends[i++]) {
        if (requests[i].line != NULL) {
            encode_cached(encoder, text + at, ends[i] - at, &requests[i]);
        } else if (!encode_piece(encoder, text + at, ends[i] - at, err)) {
            return false;
        }
    }
    return true;
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
        if (!encode_batch(encoder, text, readable, at, ends, n, err)) return false;
        at = ends[n - 1];
    }
}

bool encoder_add(struct encoder *encoder, const char *text, size_t size, bool allow_special, struct llm_error *err) {
    const uint8_t *bytes = (const uint8_t *)text;
    const struct llm_tokenizer *tokenizer = encoder->tokenizer;
    size_t at = 0;
    while (allow_special && tokenizer->eot >= 0) {
        const uint8_t *special = memmem(bytes + at, size - at, EOT_TEXT, strlen(EOT_TEXT));
        if (special == NULL) break;
        const size_t before = (size_t)(special - bytes) - at;
        if (!encode_ordinary(encoder, bytes + at, before, size - at, err)) return false;
        if (!encoder_reserve(encoder, 1, err)) return false;
        encoder->ids[encoder->n_ids++] = tokenizer->eot;
        at += before + strlen(EOT_TEXT);
    }
    return encode_ordinary(encoder, bytes + at, size - at, size - at, err);
}

bool llm_tokenizer_encode(const struct llm_tokenizer *tokenizer, const char *text, size_t size, bool allow_special,
                          int32_t **ids, size_t *n_ids, struct llm_error *err) {
    struct encoder encoder;
    const bool ok =
        encoder_init(&encoder, tokenizer, size, size, err) && encoder_add(&encoder, text, size, allow_special, err);
    if (ok) {
        *ids = encoder.ids;
        *n_ids = encoder.n_ids;
        encoder.ids = NULL;
    }
    encoder_release(&encoder);
    return ok;
}
