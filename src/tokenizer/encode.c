// encode.c: text to ids; see encode.h.
//
//     text ─ special tokens cut out ─ pieces (split.h) ─ cache ─ merges (merge.h) ─ ids
//
// A text repeats its words, so pieces of up to 15 bytes are kept in a cache with their ids, if those are at most 4. It
// is filled by running the merges: nine pieces of ten then cost one look-up. (Taking a piece that is a token itself
// without merging would be wrong for vocabularies whose merges cannot reach some token.) The cache stays with the
// tokenizer for the next call; while one call has it, another makes its own, so the tokenizer can be shared. It begins
// as large as the text at hand suggests, and grows while it keeps missing, over many short texts as within a long one.
// When it keeps missing at its largest, it is full of other texts' words, and begins anew.
//
// The threads of one call share a cache: an entry is written once, by whoever takes it, and then only read.
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
    CACHE_WAYS = 2, // entries of a line; when they are others' words, the line beside it is looked at too
    CACHE_MIN_BITS = 4,
    CACHE_MAX_BITS = 18,   // 262,144 lines, 16 MiB: for a text of 16 MB and more
    CACHE_TEXT_BITS = 6,   // at first, a line for 2^6 bytes of text
    CACHE_GROWTH_BITS = 2, // four times the lines when there were more misses than lines,
    CACHE_ANEW_BITS = 2,   // a new one when there were four times as many at its largest
    SHELF = 16,            // caches kept for as many calls at once
    BATCH = 256,           // pieces split at once
    SHORT = 4096           // bytes of a text
};

static const uint64_t entry_free = 0, entry_taken = UINT64_MAX;

// A piece, zero-padded. Who finds `end` free makes it taken, writes the rest, and then what it shall be.
struct cache_entry {
    uint64_t begin;         // the first 8 bytes
    _Atomic(uint64_t) end;  // the other 7, and the length in the last byte; or one of the two above
    int32_t ids[CACHE_IDS]; // -1 behind the last
};

struct cache_line {
    _Alignas(64) struct cache_entry ways[CACHE_WAYS];
};

struct encode_cache {
    int bits;
    _Alignas(64) _Atomic(size_t) n_misses; // since it has this size
    struct cache_line lines[];             // [2^bits]
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

// The line that takes what a full one cannot.
static struct cache_line *cache_beside(struct encode_cache *cache, const struct cache_line *line) {
    return &cache->lines[(line - cache->lines) ^ 1];
}

// Whether there was a free entry in the line, which now has these.
static bool line_add(struct cache_line *line, const uint64_t key[2], const int32_t ids[CACHE_IDS]) {
    for (int way = 0; way < CACHE_WAYS; way++) {
        struct cache_entry *entry = &line->ways[way];
        uint64_t end = atomic_load_explicit(&entry->end, memory_order_relaxed);
        if (end != entry_free || !atomic_compare_exchange_strong(&entry->end, &end, entry_taken)) continue;
        entry->begin = key[0];
        memcpy(entry->ids, ids, sizeof entry->ids);
        atomic_store_explicit(&entry->end, key[1], memory_order_release);
        return true;
    }
    return false;
}

// A piece that has no entry yet gets one, if there is room in its line or beside it.
static void cache_add(struct encode_cache *cache, struct cache_line *line, const uint64_t key[2],
                      const int32_t ids[CACHE_IDS]) {
    if (!line_add(line, key, ids)) line_add(cache_beside(cache, line), key, ids);
}

// One of 2^bits lines with what is in `from`, a smaller one or NULL. What shares two lines now came from two, so there
// is room. NULL: out of memory.
static struct encode_cache *cache_new(int bits, struct encode_cache *from) {
    struct encode_cache *cache = pages_alloc(sizeof *cache + ((size_t)1 << bits) * sizeof cache->lines[0]);
    if (cache == NULL) return NULL;
    cache->bits = bits;
    for (size_t i = 0; from != NULL && i >> from->bits == 0; i++) {
        for (int way = 0; way < CACHE_WAYS; way++) {
            const struct cache_entry *entry = &from->lines[i].ways[way];
            const uint64_t key[2] = {entry->begin, entry->end};
            if (key[1] != entry_free) cache_add(cache, cache_find(cache, key), key, entry->ids);
        }
    }
    return cache;
}

// Not while anything points into it. Without memory for more it stays as it is.
static void cache_grow(struct encode_cache **cache, int bits) {
    struct encode_cache *larger = (*cache)->bits < CACHE_MAX_BITS
                                      ? cache_new(bits < CACHE_MAX_BITS ? bits : CACHE_MAX_BITS, *cache)
                                      : cache_new(CACHE_MAX_BITS, NULL);
    (*cache)->n_misses = 0;
    if (larger == NULL) return;
    free(*cache);
    *cache = larger;
}

static bool cache_is_small(const struct encode_cache *cache) {
    const size_t n_misses = atomic_load_explicit(&cache->n_misses, memory_order_relaxed);
    return n_misses >> cache->bits >> (cache->bits < CACHE_MAX_BITS ? 0 : CACHE_ANEW_BITS) != 0;
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

bool encoders_init(struct encoder *encoders, int n, const struct llm_tokenizer *tokenizer, size_t size, size_t first,
                   struct llm_error *err) {
    memset(encoders, 0, (size_t)n * sizeof *encoders);
    struct encode_cache *cache = cache_take(tokenizer->shelf, size);
    if (cache == NULL) {
        error_memory(err, "tokenizer cache");
        return false;
    }
    // Four bytes have one id, but a batch wants room for the worst: a short text, for all of it.
    const size_t room = (first < SHORT ? first : first / 4) + CACHE_IDS;
    bool ok = true;
    for (int i = 0; i < n; i++) {
        encoders[i] = (struct encoder){.tokenizer = tokenizer, .cache = cache, .alone = n == 1};
        ok = ok && encoder_reserve(&encoders[i], room, err);
    }
    return ok;
}

void encoders_release(struct encoder *encoders, int n) {
    if (encoders[0].cache != NULL) cache_give_back(encoders[0].tokenizer->shelf, encoders[0].cache);
    for (int i = 0; i < n; i++) {
        merge_scratch_release(&encoders[i].scratch);
        free(encoders[i].ids);
    }
    memset(encoders, 0, (size_t)n * sizeof *encoders);
}

void encoders_remember_more(struct encoder *encoders, int n) {
    struct encode_cache *cache = encoders[0].cache;
    if (!cache_is_small(cache)) return;
    cache_grow(&cache, cache->bits + CACHE_GROWTH_BITS);
    for (int i = 0; i < n; i++) encoders[i].cache = cache;
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
    return atomic_load_explicit(&entry->end, memory_order_acquire) == key[1] && entry->begin == key[0];
}

static void encode_entry(struct encoder *encoder, const struct cache_entry *entry) {
    // All four, then count: no branch on how many there are.
    memcpy(encoder->ids + encoder->n_ids, entry->ids, sizeof entry->ids);
    encoder->n_ids += 1u + (entry->ids[1] >= 0) + (entry->ids[2] >= 0) + (entry->ids[3] >= 0);
}

// A piece that is in neither entry of its line.
static void encode_missed(struct encoder *encoder, const uint8_t *piece, size_t size, const struct request *request) {
    const struct cache_entry *beside = cache_beside(encoder->cache, request->line)->ways;
    for (int way = 0; way < CACHE_WAYS; way++) {
        if (entry_is(&beside[way], request->key)) {
            encode_entry(encoder, &beside[way]);
            return;
        }
    }
    int32_t *out = encoder->ids + encoder->n_ids;
    const size_t n = merge_short(encoder->tokenizer, &encoder->scratch, piece, size, out);
    encoder->n_ids += n;
    if (n > CACHE_IDS) return;
    atomic_fetch_add_explicit(&encoder->cache->n_misses, 1, memory_order_relaxed);
    int32_t ids[CACHE_IDS];
    for (size_t i = 0; i < CACHE_IDS; i++) ids[i] = i < n ? out[i] : -1;
    cache_add(encoder->cache, request->line, request->key, ids);
}

// A piece that may be in the cache. There is room for CACHE_IDS ids or `size`, whichever is more.
static void encode_cached(struct encoder *encoder, const uint8_t *piece, size_t size, const struct request *request) {
    const struct cache_entry *ways = request->line->ways;
    const bool first = entry_is(&ways[0], request->key);
    if (first || entry_is(&ways[1], request->key)) {
        encode_entry(encoder, &ways[first ? 0 : 1]);
    } else {
        encode_missed(encoder, piece, size, request);
    }
}

// `n` pieces that end at ends[i]; the first begins at `at`.
static bool encode_batch(struct encoder *encoder, const uint8_t *text, size_t readable, size_t at, const size_t *ends,
                         size_t n, struct llm_error *err) {
    struct request requests[BATCH];
    if (encoder->alone) encoders_remember_more(encoder, 1);
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
        encoders_init(&encoder, 1, tokenizer, size, size, err) && encoder_add(&encoder, text, size, allow_special, err);
    if (ok) {
        *ids = encoder.ids;
        *n_ids = encoder.n_ids;
        encoder.ids = NULL;
    }
    encoders_release(&encoder, 1);
    return ok;
}
