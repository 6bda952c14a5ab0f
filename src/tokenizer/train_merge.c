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
#include "tokenizer/train_pairs.h"

enum {
    N_BYTES = 256,
    PROGRESS_STEP = 256 // merges between two calls of the progress callback
};

// ---- State ----------------------------------------------------------------------------------

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
    struct pair_table pairs;
    struct pair_heap heap;
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
    pair_table_release(&merger->pairs);
    pair_heap_release(&merger->heap);
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
    pair_table_find(&merger->pairs, pair_of(left, right))->count -= merger->word_counts[word];
}

// Ends a step: sorts the fresh pairs' words into lists, enters the pairs, and pushes those that occur.
static bool enter_fresh(struct merger *merger, uint32_t token, struct llm_error *err) {
    if (!pair_table_reserve(&merger->pairs, merger->n_fresh, err) ||
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
        const uint32_t left = pair_left(fresh->pair);
        const uint32_t right = pair_right(fresh->pair);
        *(right == token ? &merger->before[left] : &merger->after[right]) = 0;
        const int64_t count = pair_table_add(&merger->pairs, fresh->pair, fresh->count);
        const struct pair_entry entry = {count, fresh->pair, fresh->words, fresh->n_words};
        if (count > 0 && !pair_heap_push(&merger->heap, entry, err)) return false;
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

// The id of the token with these bytes: one that is there already, else the next one.
static bool token_enter(struct merger *merger, struct learnt *learnt, const char *bytes, size_t size, uint32_t *token,
                        struct llm_error *err) {
    const size_t mask = ((size_t)1 << merger->id_bits) - 1;
    size_t at = hash_token(bytes, size) >> (64 - merger->id_bits);
    for (; merger->ids[at] != 0; at = (at + 1) & mask) {
        *token = merger->ids[at] - 1;
        const uint32_t start = learnt->starts[*token];
        if (learnt->starts[*token + 1] - start == size && memcmp(learnt->bytes.bytes + start, bytes, size) == 0) {
            return true;
        }
    }
    strbuf_append(&learnt->bytes, bytes, size);
    if (!strbuf_ok(&learnt->bytes)) return error_memory(err, "tokens");
    *token = (uint32_t)learnt->n_tokens++;
    learnt->starts[*token + 1] = (uint32_t)learnt->bytes.size;
    merger->ids[at] = *token + 1;
    return true;
}

// Records the merge of a pair; *token is the id it gives.
static bool learn(struct merger *merger, struct learnt *learnt, uint64_t pair, uint32_t *token, struct llm_error *err) {
    const uint32_t left = pair_left(pair);
    const uint32_t right = pair_right(pair);
    const size_t n_left = learnt->starts[left + 1] - learnt->starts[left];
    const size_t n_right = learnt->starts[right + 1] - learnt->starts[right];
    char *joined = malloc(n_left + n_right);
    if (joined == NULL) return error_memory(err, "token");
    memcpy(joined, learnt->bytes.bytes + learnt->starts[left], n_left);
    memcpy(joined + n_left, learnt->bytes.bytes + learnt->starts[right], n_right);
    const bool ok = token_enter(merger, learnt, joined, n_left + n_right, token, err);
    free(joined);
    if (!ok || !array_reserve((void **)&learnt->merges, &learnt->capacity, (size_t)learnt->n_merges, 1,
                              sizeof *learnt->merges, err)) {
        return false;
    }
    int32_t *merge = learnt->merges[learnt->n_merges++];
    merge[0] = (int32_t)left;
    merge[1] = (int32_t)right;
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
        if (!token_enter(merger, learnt, &one, 1, &byte_ids[byte], err)) return false;
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

// The first pairs, of bytes. Any two bytes may be neighbours, so they are counted in a square, not a hash table: in one
// walk over the words how often each pair occurs and in how many words, in a second one in which.
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
        const struct pair_entry entry = {square[i].count, pair, square[i].words, square[i].n_words};
        ok = pair_table_reserve(&merger->pairs, 1, err) && pair_heap_push(&merger->heap, entry, err);
        if (ok) pair_table_add(&merger->pairs, pair, square[i].count);
    }
    free(square);
    return ok;
}

// ---- Steps ----------------------------------------------------------------------------------

// Joins the pair wherever it stands in the word, from left to right.
static bool merge_word(struct merger *merger, uint32_t word, uint64_t pair, uint32_t token, struct llm_error *err) {
    const uint32_t left = pair_left(pair);
    const uint32_t right = pair_right(pair);
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

static bool merge_step(struct merger *merger, struct learnt *learnt, struct pair_entry top, struct llm_error *err) {
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
    struct pair_heap *heap = &merger->heap;
    while (learnt->n_tokens < max_tokens && heap->n > 0) {
        const struct pair_entry top = heap->entries[0];
        const int64_t count = pair_table_find(&merger->pairs, top.pair)->count;
        if (count != top.count) { // other merges took some of its places
            if (count > 0) {
                pair_heap_sink_top(heap, count);
            } else {
                pair_heap_drop_top(heap);
            }
            continue;
        }
        if (count < min_frequency) break;
        pair_heap_drop_top(heap);
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
