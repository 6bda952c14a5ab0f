// encode_parallel.c: a long text to ids on several threads.
//
// The text is cut into blocks where llm_tokenizer_cut() allows. In each round every thread encodes some of them, no
// more than its own cache has room for; then it is known where their ids go, and with the next round each thread begins
// by copying its own there.
#include <stdlib.h>
#include <string.h>

#include "base/pages.h"
#include "base/team.h"
#include "base/threads.h"
#include "tokenizer/encode.h"

enum {
    BLOCK = 1 << 14, // bytes
    PER_THREAD = 32, // blocks a round: many, as they do not all take as long
    ALONE = 1 << 18, // a text of up to so many bytes is not worth a second thread
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

// The blocks of a round.
struct blocks {
    struct block *blocks; // [n], room for as many as a round may have
    int n;
};

struct rounds {
    struct encoder *encoders; // [n_threads]
    bool allow_special;
    const char *text; // [size], of which there are no blocks yet
    size_t size;
    int most;                      // blocks a round
    struct blocks before, present; // of the round before, and of this one
    struct team_counter counter;   // of the present one's
    int32_t *ids;                  // of the whole text so far, [n_ids], room for `capacity`
    size_t n_ids, capacity;
};

// A block from the beginning of text [size]: up to a place where it may be cut, however far that is.
static size_t block_size(const char *text, size_t size) {
    for (size_t most = BLOCK; most < size; most *= 2) {
        const size_t cut = llm_tokenizer_cut(text, most);
        if (cut > 0) return cut;
    }
    return size;
}

// Takes the round's blocks off the text.
static void cut_blocks(struct rounds *rounds) {
    struct blocks *present = &rounds->present;
    for (present->n = 0; rounds->size > 0 && present->n < rounds->most; present->n++) {
        const size_t size = block_size(rounds->text, rounds->size);
        present->blocks[present->n] = (struct block){.text = rounds->text, .size = size};
        rounds->text += size;
        rounds->size -= size;
    }
}

// The ids of the round before that this thread has; all that are left, when it is the only one now.
static void copy_blocks(const struct rounds *rounds, int thread, int n_threads) {
    for (int i = 0; i < rounds->before.n; i++) {
        const struct block *block = &rounds->before.blocks[i];
        if (block->thread % n_threads != thread) continue;
        const int32_t *ids = rounds->encoders[block->thread].ids + block->first;
        memcpy(rounds->ids + block->at, ids, block->n * sizeof *ids);
    }
}

static void encode_blocks(struct rounds *rounds, int thread) {
    struct encoder *encoder = &rounds->encoders[thread];
    const struct blocks *present = &rounds->present;
    encoder->n_ids = 0;
    for (int64_t i = team_take(&rounds->counter); i < present->n; i = team_take(&rounds->counter)) {
        struct block *block = &present->blocks[i];
        block->thread = thread;
        block->first = encoder->n_ids;
        block->failed = !encoder_add(encoder, block->text, block->size, rounds->allow_special, &block->error);
        block->n = encoder->n_ids - block->first;
    }
}

// Memory for the ids of this round and the next, if they are no more than usual.
static void touch_ids(const struct rounds *rounds, int thread, int n_threads) {
    const size_t two_rounds = 2 * (size_t)rounds->most * BLOCK / 4;
    const size_t left = rounds->capacity - rounds->n_ids;
    const size_t n = left < two_rounds ? left : two_rounds;
    pages_touch(rounds->ids + rounds->n_ids, n * sizeof *rounds->ids, thread, n_threads);
}

static void work(void *job, int thread, int n_threads) {
    struct rounds *rounds = job;
    touch_ids(rounds, thread, n_threads);
    copy_blocks(rounds, thread, n_threads);
    encode_blocks(rounds, thread);
}

// Where the ids of the round's blocks go.
static bool place_blocks(struct rounds *rounds, struct llm_error *err) {
    for (int i = 0; i < rounds->present.n; i++) {
        struct block *block = &rounds->present.blocks[i];
        if (block->failed) {
            if (err != NULL) *err = block->error;
            return false;
        }
        block->at = rounds->n_ids;
        rounds->n_ids += block->n;
    }
    if (rounds->n_ids <= rounds->capacity) return true;
    const size_t more = rounds->capacity / 2 * 3;
    const size_t capacity = rounds->n_ids > more ? rounds->n_ids : more;
    int32_t *ids = reallocarray(rounds->ids, capacity, sizeof *ids);
    if (ids == NULL) return error_memory(err, "ids");
    pages_hint(ids, capacity * sizeof *ids);
    rounds->ids = ids;
    rounds->capacity = capacity;
    return true;
}

static bool run_rounds(struct rounds *rounds, struct team *team, int n_threads, struct llm_error *err) {
    do { // the last one has nothing to encode, only to copy
        const struct blocks before = rounds->before;
        rounds->before = rounds->present;
        rounds->present = before;
        cut_blocks(rounds);
        rounds->counter = (struct team_counter){0};
        team_run(team, work, rounds);
        if (!place_blocks(rounds, err)) return false;
        encoders_remember_more(rounds->encoders, n_threads);
    } while (rounds->present.n > 0);
    return true;
}

static bool encode_with(struct team *team, int n_threads, struct rounds *rounds, const struct llm_tokenizer *tokenizer,
                        struct llm_error *err) {
    const int most = PER_THREAD * n_threads;
    struct block *blocks = calloc(2 * (size_t)most, sizeof *blocks);
    rounds->encoders = calloc((size_t)n_threads, sizeof *rounds->encoders);
    rounds->capacity = rounds->size / 4 + 1;
    rounds->ids = reallocarray(NULL, rounds->capacity, sizeof *rounds->ids);
    bool ok = blocks != NULL && rounds->encoders != NULL && rounds->ids != NULL;
    if (!ok) {
        error_memory(err, "ids");
    } else {
        pages_hint(rounds->ids, rounds->capacity * sizeof *rounds->ids);
        rounds->most = most;
        rounds->before.blocks = blocks;
        rounds->present.blocks = blocks + most;
        const size_t first = (size_t)BLOCK * PER_THREAD;
        ok = encoders_init(rounds->encoders, n_threads, tokenizer, rounds->size, first, err) &&
             run_rounds(rounds, team, n_threads, err);
        encoders_release(rounds->encoders, n_threads);
    }
    free(rounds->encoders);
    free(blocks);
    if (!ok) free(rounds->ids);
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
    struct rounds rounds = {.text = text, .size = size, .allow_special = allow_special};
    const bool ok = encode_with(team, n_threads, &rounds, tokenizer, err);
    team_free(team);
    if (!ok) return false;
    *ids = rounds.ids;
    *n_ids = rounds.n_ids;
    return true;
}
