// encode_parallel.c: a long text to ids on several threads.
//
// The text is cut into blocks where llm_tokenizer_cut() allows. In each round every thread encodes some of them; then
// it is known where their ids go, and the threads copy them there while they are still in the processor's caches.
#include <stdlib.h>
#include <string.h>

#include "base/pages.h"
#include "base/team.h"
#include "base/threads.h"
#include "tokenizer/encode.h"

enum {
    BLOCK = 1 << 17,   // bytes
    ROUND = 64,        // blocks; many more than there are threads, as they do not all take as long
    PER_THREAD = 8,    // at least
    ALONE = 2 * BLOCK, // a text up to this size is not worth a second thread
};

struct block {
    const char *text; // [size]
    size_t size;
    int thread;      // whose encoder has the ids,
    size_t first, n; // from this one on
    size_t at;       // where they go
    bool failed;
    struct llm_error error;
};

struct round {
    struct encoder *encoders; // [n_threads]
    bool allow_special;
    struct block *blocks; // [n]
    int n;
    struct team_counter counter;
    int32_t *ids; // of the whole text
};

static void encode_blocks(void *job, int thread, int n_threads) {
    (void)n_threads;
    struct round *round = job;
    struct encoder *encoder = &round->encoders[thread];
    encoder->n_ids = 0;
    for (int64_t i = team_take(&round->counter); i < round->n; i = team_take(&round->counter)) {
        struct block *block = &round->blocks[i];
        block->thread = thread;
        block->first = encoder->n_ids;
        block->failed = !encoder_add(encoder, block->text, block->size, round->allow_special, &block->error);
        block->n = encoder->n_ids - block->first;
    }
}

static void copy_blocks(void *job, int thread, int n_threads) {
    (void)thread;
    (void)n_threads;
    struct round *round = job;
    for (int64_t i = team_take(&round->counter); i < round->n; i = team_take(&round->counter)) {
        const struct block *block = &round->blocks[i];
        const int32_t *ids = round->encoders[block->thread].ids + block->first;
        memcpy(round->ids + block->at, ids, block->n * sizeof *ids);
    }
}

// A block from the beginning of text [size]: up to a place where it may be cut, however far that is.
static size_t block_size(const char *text, size_t size) {
    for (size_t most = BLOCK; most < size; most *= 2) {
        const size_t cut = llm_tokenizer_cut(text, most);
        if (cut > 0) return cut;
    }
    return size;
}

// Takes blocks off text [*size].
static void round_fill(struct round *round, const char **text, size_t *size, int most) {
    round->n = 0;
    while (*size > 0 && round->n < most) {
        const size_t taken = block_size(*text, *size);
        round->blocks[round->n++] = (struct block){.text = *text, .size = taken};
        *text += taken;
        *size -= taken;
    }
}

// Appends the ids of the round's blocks to ids [*n_ids], with room for *capacity.
static bool round_run(struct round *round, struct team *team, size_t *n_ids, size_t *capacity, struct llm_error *err) {
    round->counter = (struct team_counter){0};
    team_run(team, encode_blocks, round);
    size_t n = *n_ids;
    for (int i = 0; i < round->n; i++) {
        struct block *block = &round->blocks[i];
        if (block->failed) {
            if (err != NULL) *err = block->error;
            return false;
        }
        block->at = n;
        n += block->n;
    }
    if (n > *capacity) {
        const size_t wanted = n > *capacity / 2 * 3 ? n : *capacity / 2 * 3;
        int32_t *ids = reallocarray(round->ids, wanted, sizeof *ids);
        if (ids == NULL) return error_memory(err, "ids");
        pages_hint(ids, wanted * sizeof *ids);
        round->ids = ids;
        *capacity = wanted;
    }
    *n_ids = n;
    round->counter = (struct team_counter){0};
    team_run(team, copy_blocks, round);
    return true;
}

static bool encode_rounds(struct round *round, struct team *team, int most, const char *text, size_t size,
                          size_t *n_ids, struct llm_error *err) {
    size_t capacity = size / 4 + 1;
    round->ids = reallocarray(NULL, capacity, sizeof *round->ids);
    if (round->ids == NULL) return error_memory(err, "ids");
    pages_hint(round->ids, capacity * sizeof *round->ids);
    *n_ids = 0;
    bool ok = true;
    while (ok && size > 0) {
        round_fill(round, &text, &size, most);
        ok = round_run(round, team, n_ids, &capacity, err);
    }
    return ok;
}

static bool encode_with(struct team *team, int n_threads, const struct llm_tokenizer *tokenizer, const char *text,
                        size_t size, bool allow_special, int32_t **ids, size_t *n_ids, struct llm_error *err) {
    const int most = n_threads < ROUND / PER_THREAD ? ROUND : PER_THREAD * n_threads;
    struct round round = {.allow_special = allow_special};
    round.blocks = calloc((size_t)most, sizeof *round.blocks);
    round.encoders = calloc((size_t)n_threads, sizeof *round.encoders);
    bool ok = round.blocks != NULL && round.encoders != NULL;
    if (!ok) error_memory(err, "ids");
    for (int i = 0; ok && i < n_threads; i++) {
        ok = encoder_init(&round.encoders[i], tokenizer, size, (size_t)BLOCK * PER_THREAD, err);
    }
    ok = ok && encode_rounds(&round, team, most, text, size, n_ids, err);
    for (int i = 0; round.encoders != NULL && i < n_threads; i++) encoder_release(&round.encoders[i]);
    free(round.encoders);
    free(round.blocks);
    if (!ok) free(round.ids);
    *ids = ok ? round.ids : NULL;
    return ok;
}

bool llm_tokenizer_encode_parallel(const struct llm_tokenizer *tokenizer, const char *text, size_t size,
                                   bool allow_special, int n_threads, int32_t **ids, size_t *n_ids,
                                   struct llm_error *err) {
    if (n_threads < 0) return error_set(err, LLM_ERROR_ARGUMENT, "%d threads", n_threads);
    if (!threads_choose(n_threads, &n_threads, err)) return false;
    if (n_threads == 1 || size <= ALONE) {
        return llm_tokenizer_encode(tokenizer, text, size, allow_special, ids, n_ids, err);
    }
    struct team *team = team_new(n_threads, err);
    if (team == NULL) return false;
    const bool ok = encode_with(team, n_threads, tokenizer, text, size, allow_special, ids, n_ids, err);
    team_free(team);
    return ok;
}
