// train_merge.c: see train_merge.h.
//
// Always the commonest pair of neighbours is joined, the pair of lowest ids among equals, and only the words
// that hold it are looked at. What makes this fast:
// - Words (distinct pieces, each with its count) lie in one flat array of ids and shrink in place.
// - Every pair knows the words in which it arose. Old pairs only lose occurrences, so such a list is written
//   once, when the pair arises, and may name words that have lost it since.
// - The heap is lazy: an entry keeps the count it was pushed with. One that comes to the top with another
//   count than the pair has now goes back with the right one.
// - A step gives birth only to pairs with the new token, so they are gathered in arrays indexed by the other
//   id and enter hash table and heap once, when the step is done.
//
// The order of everything that decides (counts, then left id, then right id; counts of all neighbours, also
// overlapping ones as in "aaa"; merging from left to right; a token whose bytes exist already gets no second
// id) is that of Hugging Face tokenizers' BpeTrainer.
#include "tokenizer/train_merge.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/bytelevel.h"

enum {
    N_BYTES = 256,
    PROGRESS_STEP = 256 // merges between two calls of the progress callback
};

// ---- Growing arrays -------------------------------------------------------------------------

// Makes room for `extra` more items behind n in *items [*capacity] of `size` bytes each.
static bool array_reserve(void **items, size_t *capacity, size_t n, size_t extra, size_t size, struct llm_error *err) {
    if (*capacity - n >= extra) return true;
    size_t wanted = *capacity + *capacity / 2 + 64;
    if (wanted < n + extra) wanted = n + extra;
    void *grown = wanted <= SIZE_MAX / size ? realloc(*items, wanted * size) : NULL;
    if (grown == NULL) return error_memory(err, "tokenizer training");
    *items = grown;
    *capacity = wanted;
    return true;
}

// ---- State ----------------------------------------------------------------------------------

struct pair_slot {
    uint64_t key; // left id << 32 | right id; NO_PAIR: free
    int64_t count;
};

#define NO_PAIR UINT64_MAX

struct heap_entry {
    int64_t count; // when it was pushed
    uint64_t pair;
    size_t words; // its words are positions[words .. words + n_words)
    size_t n_words;
};

// A pair that arises in the present step.
struct fresh_pair {
    uint64_t pair;
    int64_t count;
    size_t words; // where its words begin in `positions`
    uint32_t n_words;
    uint32_t last_word; // the word that was listed last
};

struct arising {
    uint32_t fresh, word;
};

struct merger {
    // Words
    uint32_t *symbols;    // [all] ids
    size_t *starts;       // [n_words] where each begins in `symbols`
    uint32_t *lengths;    // [n_words] ids that it has left
    int64_t *word_counts; // [n_words]
    size_t n_words;
    // Pairs
    struct pair_slot *slots; // [2^bits]
    int bits;
    size_t n_pairs;
    struct heap_entry *heap;
    size_t n_heap, heap_capacity;
    uint32_t *positions; // words of pairs, list after list
    size_t n_positions, positions_capacity;
    // The present step
    struct fresh_pair *fresh;
    size_t n_fresh, fresh_capacity;
    struct arising *arising; // in order of words
    size_t n_arising, arising_capacity;
    uint32_t *before; // [max_tokens] of (id, new token): index into `fresh` plus one, 0: none
    uint32_t *after;  // [max_tokens] of (new token, id)
    // Tokens by their bytes: ids plus one
    uint32_t *ids;
    int id_bits;
};

static void merger_release(struct merger *merger) {
    free(merger->symbols);
    free(merger->starts);
    free(merger->lengths);
    free(merger->word_counts);
    free(merger->slots);
    free(merger->heap);
    free(merger->positions);
    free(merger->fresh);
    free(merger->arising);
    free(merger->before);
    free(merger->after);
    free(merger->ids);
}

void learnt_release(struct learnt *learnt) {
    strbuf_release(&learnt->bytes);
    free(learnt->starts);
    free(learnt->merges);
    *learnt = (struct learnt){0};
}

static uint64_t pair_of(uint32_t left, uint32_t right) {
    return (uint64_t)left << 32 | right;
}

// ---- Pairs: hash table ----------------------------------------------------------------------

// The pair's slot, or the free one where it belongs.
static struct pair_slot *pair_find(const struct merger *merger, uint64_t pair) {
    const size_t mask = ((size_t)1 << merger->bits) - 1;
    size_t at = (pair * 0x9e3779b97f4a7c15u) >> (64 - merger->bits);
    while (merger->slots[at].key != pair && merger->slots[at].key != NO_PAIR) at = (at + 1) & mask;
    return &merger->slots[at];
}

// Makes room for n more pairs, at most half of the slots in use.
static bool pairs_reserve(struct merger *merger, size_t n, struct llm_error *err) {
    const size_t old_slots = merger->slots == NULL ? 0 : (size_t)1 << merger->bits;
    if (merger->n_pairs + n <= old_slots / 2) return true;
    struct pair_slot *old = merger->slots;
    int bits = merger->slots == NULL ? 12 : merger->bits;
    while ((merger->n_pairs + n) > ((size_t)1 << bits) / 2) bits++;
    merger->slots = malloc(sizeof *merger->slots << bits);
    if (merger->slots == NULL) {
        merger->slots = old;
        return error_memory(err, "table of pairs");
    }
    merger->bits = bits;
    for (size_t i = 0; i < (size_t)1 << bits; i++) merger->slots[i] = (struct pair_slot){NO_PAIR, 0};
    for (size_t i = 0; i < old_slots; i++) {
        if (old[i].key != NO_PAIR) *pair_find(merger, old[i].key) = old[i];
    }
    free(old);
    return true;
}

// ---- Heap: commonest pair first, then lowest ids --------------------------------------------

static bool comes_first(const struct heap_entry *a, const struct heap_entry *b) {
    return a->count != b->count ? a->count > b->count : a->pair < b->pair;
}

// Puts `entry` where it belongs at or under `at`, whose present entry is forgotten.
static void heap_sink(struct merger *merger, size_t at, struct heap_entry entry) {
    struct heap_entry *heap = merger->heap;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= merger->n_heap) break;
        if (child + 1 < merger->n_heap && comes_first(&heap[child + 1], &heap[child])) child++;
        if (!comes_first(&heap[child], &entry)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = entry;
}

static bool heap_push(struct merger *merger, struct heap_entry entry, struct llm_error *err) {
    if (!array_reserve((void **)&merger->heap, &merger->heap_capacity, merger->n_heap, 1, sizeof entry, err)) {
        return false;
    }
    size_t at = merger->n_heap++;
    while (at > 0 && comes_first(&entry, &merger->heap[(at - 1) / 2])) {
        merger->heap[at] = merger->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    merger->heap[at] = entry;
    return true;
}

static void heap_drop_top(struct merger *merger) {
    merger->n_heap--;
    if (merger->n_heap > 0) heap_sink(merger, 0, merger->heap[merger->n_heap]);
}

// ---- Fresh pairs ----------------------------------------------------------------------------

// Word `word` gains a pair with the step's new token: (left, right), one of them `token`.
static bool pair_arises(struct merger *merger, uint32_t left, uint32_t right, uint32_t token, uint32_t word,
                        struct llm_error *err) {
    uint32_t *index = right == token ? &merger->before[left] : &merger->after[right];
    if (*index == 0) {
        if (!array_reserve((void **)&merger->fresh, &merger->fresh_capacity, merger->n_fresh, 1, sizeof *merger->fresh,
                           err)) {
            return false;
        }
        merger->fresh[merger->n_fresh++] = (struct fresh_pair){.pair = pair_of(left, right), .last_word = UINT32_MAX};
        *index = (uint32_t)merger->n_fresh;
    }
    struct fresh_pair *fresh = &merger->fresh[*index - 1];
    fresh->count += merger->word_counts[word];
    if (fresh->last_word == word) return true;
    fresh->last_word = word;
    fresh->n_words++;
    if (!array_reserve((void **)&merger->arising, &merger->arising_capacity, merger->n_arising, 1,
                       sizeof *merger->arising, err)) {
        return false;
    }
    merger->arising[merger->n_arising++] = (struct arising){*index - 1, word};
    return true;
}

static void pair_vanishes(struct merger *merger, uint32_t left, uint32_t right, uint32_t token, uint32_t word) {
    uint32_t index = 0;
    if (right == token) {
        index = merger->before[left];
    } else if (left == token) {
        index = merger->after[right];
    }
    if (index > 0) {
        merger->fresh[index - 1].count -= merger->word_counts[word];
        return;
    }
    struct pair_slot *slot = pair_find(merger, pair_of(left, right));
    if (slot->key != NO_PAIR) slot->count -= merger->word_counts[word];
}

// Ends a step: sorts the fresh pairs' words into lists, enters the pairs, and pushes those that occur.
static bool enter_fresh(struct merger *merger, uint32_t token, struct llm_error *err) {
    if (!pairs_reserve(merger, merger->n_fresh, err) ||
        !array_reserve((void **)&merger->positions, &merger->positions_capacity, merger->n_positions, merger->n_arising,
                       sizeof *merger->positions, err)) {
        return false;
    }
    for (size_t i = 0; i < merger->n_fresh; i++) {
        merger->fresh[i].words = merger->n_positions;
        merger->n_positions += merger->fresh[i].n_words;
        merger->fresh[i].n_words = 0;
    }
    for (size_t i = 0; i < merger->n_arising; i++) {
        struct fresh_pair *fresh = &merger->fresh[merger->arising[i].fresh];
        merger->positions[fresh->words + fresh->n_words++] = merger->arising[i].word;
    }
    for (size_t i = 0; i < merger->n_fresh; i++) {
        const struct fresh_pair *fresh = &merger->fresh[i];
        const uint32_t left = (uint32_t)(fresh->pair >> 32);
        const uint32_t right = (uint32_t)fresh->pair;
        *(right == token ? &merger->before[left] : &merger->after[right]) = 0;
        struct pair_slot *slot = pair_find(merger, fresh->pair);
        if (slot->key == NO_PAIR) {
            *slot = (struct pair_slot){fresh->pair, 0};
            merger->n_pairs++;
        }
        slot->count += fresh->count;
        const struct heap_entry entry = {slot->count, fresh->pair, fresh->words, fresh->n_words};
        if (slot->count > 0 && !heap_push(merger, entry, err)) return false;
    }
    merger->n_fresh = 0;
    merger->n_arising = 0;
    return true;
}

// ---- Tokens ---------------------------------------------------------------------------------

static uint64_t hash_token(const char *bytes, size_t size) {
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a
    for (size_t i = 0; i < size; i++) hash = (hash ^ (uint8_t)bytes[i]) * 0x100000001b3;
    return hash * 0x9e3779b97f4a7c15u;
}

// Gives the bytes at the end of `learnt->bytes`, `size` of them, an id: that of a token with the same bytes,
// which are then taken back, else the next.
static uint32_t token_enter(struct merger *merger, struct learnt *learnt, size_t size) {
    const char *bytes = learnt->bytes.bytes + learnt->bytes.size - size;
    const size_t mask = ((size_t)1 << merger->id_bits) - 1;
    size_t at = hash_token(bytes, size) >> (64 - merger->id_bits);
    for (; merger->ids[at] != 0; at = (at + 1) & mask) {
        const uint32_t id = merger->ids[at] - 1;
        if (learnt->starts[id + 1] - learnt->starts[id] != size ||
            memcmp(learnt->bytes.bytes + learnt->starts[id], bytes, size) != 0) {
            continue;
        }
        learnt->bytes.size -= size;
        return id;
    }
    const uint32_t id = (uint32_t)learnt->n_tokens++;
    learnt->starts[id + 1] = (uint32_t)learnt->bytes.size;
    merger->ids[at] = id + 1;
    return id;
}

// Records the merge of a pair; *token is the id it gives.
static bool learn(struct merger *merger, struct learnt *learnt, uint64_t pair, uint32_t *token, struct llm_error *err) {
    size_t capacity = (size_t)learnt->capacity;
    if (!array_reserve((void **)&learnt->merges, &capacity, (size_t)learnt->n_merges, 1, sizeof *learnt->merges, err)) {
        return false;
    }
    learnt->capacity = (int)capacity;
    const uint32_t parts[2] = {(uint32_t)(pair >> 32), (uint32_t)pair};
    size_t size = 0;
    for (int i = 0; i < 2; i++) size += learnt->starts[parts[i] + 1] - learnt->starts[parts[i]];
    char *joined = malloc(size); // appending may move the bytes that it reads
    if (joined == NULL) return error_memory(err, "token");
    size_t at = 0;
    for (int i = 0; i < 2; i++) {
        const size_t n = learnt->starts[parts[i] + 1] - learnt->starts[parts[i]];
        memcpy(joined + at, learnt->bytes.bytes + learnt->starts[parts[i]], n);
        at += n;
    }
    strbuf_append(&learnt->bytes, joined, size);
    free(joined);
    if (!strbuf_ok(&learnt->bytes)) return error_memory(err, "tokens: their bytes no longer fit");
    *token = token_enter(merger, learnt, size);
    int32_t *merge = learnt->merges[learnt->n_merges++];
    merge[0] = (int32_t)parts[0];
    merge[1] = (int32_t)parts[1];
    merge[2] = (int32_t)*token;
    return true;
}

// ---- Setting up -----------------------------------------------------------------------------

// The 256 bytes are the first tokens, in the order of the characters that spell them.
static bool start_tokens(struct merger *merger, struct learnt *learnt, int max_tokens, uint32_t byte_ids[N_BYTES],
                         struct llm_error *err) {
    merger->id_bits = 10;
    while ((size_t)1 << merger->id_bits < 2 * (size_t)max_tokens) merger->id_bits++;
    merger->ids = calloc((size_t)1 << merger->id_bits, sizeof *merger->ids);
    merger->before = calloc((size_t)max_tokens, sizeof *merger->before);
    merger->after = calloc((size_t)max_tokens, sizeof *merger->after);
    learnt->starts = calloc((size_t)max_tokens + 2, sizeof *learnt->starts);
    strbuf_init(&learnt->bytes, UINT32_MAX);
    if (merger->ids == NULL || merger->before == NULL || merger->after == NULL || learnt->starts == NULL) {
        return error_memory(err, "tokenizer training");
    }
    for (int32_t code = 0; learnt->n_tokens < N_BYTES; code++) {
        const int byte = bytelevel_byte(code);
        if (byte < 0) continue;
        const char one = (char)byte;
        strbuf_append(&learnt->bytes, &one, 1);
        if (!strbuf_ok(&learnt->bytes)) return error_memory(err, "tokens");
        byte_ids[byte] = token_enter(merger, learnt, 1);
    }
    return true;
}

// Turns the pieces of at least two bytes into words.
static bool start_words(struct merger *merger, const struct piece_table *pieces, const uint32_t byte_ids[N_BYTES],
                        struct llm_error *err) {
    const size_t n_slots = pieces->slots == NULL ? 0 : (size_t)1 << pieces->bits;
    size_t n_symbols = 0;
    for (size_t i = 0; i < n_slots; i++) {
        size_t size = 0;
        piece_bytes(pieces, &pieces->slots[i], &size);
        if (size < 2) continue;
        if (size > UINT32_MAX) return error_set(err, LLM_ERROR_UNSUPPORTED, "a piece of text of %zu bytes", size);
        merger->n_words++;
        n_symbols += size;
    }
    if (merger->n_words >= UINT32_MAX) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "%zu different pieces of text", merger->n_words);
    }
    merger->symbols = malloc((n_symbols + 1) * sizeof *merger->symbols);
    merger->starts = malloc((merger->n_words + 1) * sizeof *merger->starts);
    merger->lengths = malloc((merger->n_words + 1) * sizeof *merger->lengths);
    merger->word_counts = malloc((merger->n_words + 1) * sizeof *merger->word_counts);
    if (merger->symbols == NULL || merger->starts == NULL || merger->lengths == NULL || merger->word_counts == NULL) {
        return error_memory(err, "words");
    }
    size_t word = 0, at = 0;
    for (size_t i = 0; i < n_slots; i++) {
        size_t size = 0;
        const uint8_t *bytes = piece_bytes(pieces, &pieces->slots[i], &size);
        if (size < 2) continue;
        merger->starts[word] = at;
        merger->lengths[word] = (uint32_t)size;
        merger->word_counts[word++] = pieces->slots[i].count;
        for (size_t k = 0; k < size; k++) merger->symbols[at++] = byte_ids[bytes[k]];
    }
    return true;
}

// The first pairs, of bytes: what (left, right) is in later steps for one new token, gathered for each right
// byte in turn; 256 walks over the words would be slow, so they are counted in a square instead.
static bool start_pairs(struct merger *merger, struct llm_error *err) {
    struct fresh_pair *square = calloc((size_t)N_BYTES * N_BYTES, sizeof *square);
    if (square == NULL) return error_memory(err, "pairs");
    size_t total = 0;
    for (int fill = 0; fill < 2; fill++) { // first how many words each pair has, then which
        for (size_t i = 0; i < (size_t)N_BYTES * N_BYTES; i++) square[i].last_word = UINT32_MAX;
        for (size_t word = 0; word < merger->n_words; word++) {
            const uint32_t *ids = merger->symbols + merger->starts[word];
            for (uint32_t k = 0; k + 1 < merger->lengths[word]; k++) {
                struct fresh_pair *pair = &square[ids[k] * N_BYTES + ids[k + 1]];
                if (fill == 0) pair->count += merger->word_counts[word];
                if (pair->last_word == word) continue;
                pair->last_word = (uint32_t)word;
                if (fill == 1) merger->positions[pair->words + pair->n_words] = (uint32_t)word;
                pair->n_words++;
                total += fill == 0;
            }
        }
        if (fill == 1) break;
        if (!array_reserve((void **)&merger->positions, &merger->positions_capacity, 0, total,
                           sizeof *merger->positions, err)) {
            free(square);
            return false;
        }
        for (size_t i = 0; i < (size_t)N_BYTES * N_BYTES; i++) {
            square[i].words = merger->n_positions;
            merger->n_positions += square[i].n_words;
            square[i].n_words = 0;
        }
    }
    bool ok = true;
    for (uint32_t i = 0; ok && i < N_BYTES * N_BYTES; i++) {
        if (square[i].count == 0) continue;
        const uint64_t pair = pair_of(i / N_BYTES, i % N_BYTES);
        ok = pairs_reserve(merger, 1, err) &&
             heap_push(merger, (struct heap_entry){square[i].count, pair, square[i].words, square[i].n_words}, err);
        if (!ok) break;
        *pair_find(merger, pair) = (struct pair_slot){pair, square[i].count};
        merger->n_pairs++;
    }
    free(square);
    return ok;
}

// ---- Steps ----------------------------------------------------------------------------------

// Joins the pair wherever it stands in the word, from left to right.
static bool merge_word(struct merger *merger, uint32_t word, uint64_t pair, uint32_t token, struct llm_error *err) {
    const uint32_t left = (uint32_t)(pair >> 32);
    const uint32_t right = (uint32_t)pair;
    uint32_t *ids = merger->symbols + merger->starts[word];
    const uint32_t n = merger->lengths[word];
    uint32_t to = 0;
    for (uint32_t from = 0; from < n;) {
        if (ids[from] != left || from + 1 == n || ids[from + 1] != right) {
            ids[to++] = ids[from++];
            continue;
        }
        from += 2;
        if (to > 0) {
            pair_vanishes(merger, ids[to - 1], left, token, word);
            if (!pair_arises(merger, ids[to - 1], token, token, word, err)) return false;
        }
        ids[to++] = token;
        if (from < n) {
            pair_vanishes(merger, right, ids[from], token, word);
            if (!pair_arises(merger, token, ids[from], token, word, err)) return false;
        }
    }
    merger->lengths[word] = to;
    return true;
}

static bool merge_step(struct merger *merger, struct learnt *learnt, struct heap_entry top, struct llm_error *err) {
    uint32_t token = 0;
    if (!learn(merger, learnt, top.pair, &token, err)) return false;
    for (size_t i = 0; i < top.n_words; i++) {
        if (!merge_word(merger, merger->positions[top.words + i], top.pair, token, err)) return false;
    }
    return enter_fresh(merger, token, err);
}

static bool report(const struct learnt *learnt, int max_tokens, const struct llm_callbacks *callbacks,
                   struct llm_error *err) {
    const struct llm_progress progress = {"vocabulary", "tokens", learnt->n_tokens, max_tokens};
    if (callbacks->progress == NULL || callbacks->progress(callbacks->user, &progress)) return true;
    return error_set(err, LLM_ERROR_CANCELLED, "training was cancelled at %d tokens", learnt->n_tokens);
}

static bool merge_all(struct merger *merger, struct learnt *learnt, int max_tokens, int64_t min_frequency,
                      const struct llm_callbacks *callbacks, struct llm_error *err) {
    while (learnt->n_tokens < max_tokens && merger->n_heap > 0) {
        struct heap_entry top = merger->heap[0];
        const int64_t count = pair_find(merger, top.pair)->count;
        if (count != top.count) {
            top.count = count;
            if (count > 0) {
                heap_sink(merger, 0, top);
            } else {
                heap_drop_top(merger);
            }
            continue;
        }
        if (count < min_frequency) break;
        heap_drop_top(merger);
        if (!merge_step(merger, learnt, top, err)) return false;
        if (learnt->n_merges % PROGRESS_STEP == 0 && !report(learnt, max_tokens, callbacks, err)) return false;
    }
    return report(learnt, max_tokens, callbacks, err);
}

bool train_merge(struct learnt *learnt, const struct piece_table *pieces, int max_tokens, int64_t min_frequency,
                 const struct llm_callbacks *callbacks, struct llm_error *err) {
    struct merger merger = {0};
    uint32_t byte_ids[N_BYTES];
    const bool ok = start_tokens(&merger, learnt, max_tokens, byte_ids, err) &&
                    start_words(&merger, pieces, byte_ids, err) && start_pairs(&merger, err) &&
                    merge_all(&merger, learnt, max_tokens, min_frequency, callbacks, err);
    merger_release(&merger);
    return ok;
}
