// frozen.c: see frozen.h.
//
// Passes over the examples are shuffled, so a batch often holds some that are kept and some that are not: only those
// are computed then. But a few tokens would take the other way through the products (ops/ops.h), and with it the last
// bits of an example would depend on what else is kept; of them, the whole batch is computed.
#include "train/frozen.h"

#include <stdlib.h>
#include <string.h>

enum {
    FEW_TOKENS = 64
};

bool frozen_init(struct frozen *frozen, const int64_t n_examples[FROZEN_SIDES], int max_tokens, int max_examples,
                 int n_embd, int64_t room, struct llm_error *err) {
    *frozen = (struct frozen){.n_embd = n_embd, .room = room};
    if (!packed_init(&frozen->missing, max_tokens, max_examples, err)) return false;
    frozen->entering = malloc((size_t)max_tokens * (size_t)n_embd * sizeof *frozen->entering);
    bool ok = frozen->entering != NULL;
    for (int side = 0; side < FROZEN_SIDES && ok; side++) {
        const size_t n = n_examples[side] > 0 ? (size_t)n_examples[side] : 1;
        frozen->examples[side] = calloc(n, sizeof *frozen->examples[side]);
        frozen->n_examples[side] = n_examples[side];
        ok = frozen->examples[side] != NULL;
    }
    if (ok) return true;
    frozen_release(frozen);
    return error_memory(err, "activations of frozen layers");
}

void frozen_release(struct frozen *frozen) {
    for (int side = 0; side < FROZEN_SIDES; side++) {
        for (int64_t i = 0; frozen->examples[side] != NULL && i < frozen->n_examples[side]; i++) {
            free(frozen->examples[side][i]);
        }
        free(frozen->examples[side]);
    }
    free(frozen->entering);
    packed_release(&frozen->missing);
    *frozen = (struct frozen){0};
}

// Elements of one example of the batch, and where they begin.
static size_t extent(const struct frozen *frozen, const struct batch *batch, int sequence, size_t *first) {
    const size_t n_embd = (size_t)frozen->n_embd;
    *first = (size_t)batch->starts[sequence] * n_embd;
    return (size_t)(batch->starts[sequence + 1] - batch->starts[sequence]) * n_embd;
}

// Keeps what was computed, as far as there is room; running out of memory is no failure here.
static void keep(struct frozen *frozen, const struct packed *packed, int side) {
    for (int s = 0; s < packed->batch.n_sequences; s++) {
        float **kept = &frozen->examples[side][packed->examples[s]];
        size_t first;
        const size_t bytes = extent(frozen, &packed->batch, s, &first) * sizeof **kept;
        if (*kept != NULL || (int64_t)bytes > frozen->room) continue;
        *kept = malloc(bytes);
        if (*kept == NULL) return;
        memcpy(*kept, frozen->entering + first, bytes);
        frozen->room -= (int64_t)bytes;
    }
}

static bool is_kept(const struct frozen *frozen, const struct packed *packed, int side, int sequence) {
    return frozen->examples[side][packed->examples[sequence]] != NULL;
}

// The sequences of the batch that are not kept, one after another.
static void collect_missing(struct frozen *frozen, const struct packed *packed, int side) {
    struct packed *missing = &frozen->missing;
    const struct batch *batch = &packed->batch;
    packed_clear(missing);
    for (int s = 0; s < batch->n_sequences; s++) {
        if (is_kept(frozen, packed, side, s)) continue;
        const int first = batch->starts[s], n = batch->starts[s + 1] - first, at = missing->batch.n_tokens;
        memcpy(missing->ids + at, batch->ids + first, (size_t)n * sizeof *batch->ids);
        memcpy(missing->positions + at, batch->positions + first, (size_t)n * sizeof *batch->positions);
        missing->batch.n_tokens += n;
        missing->starts[++missing->batch.n_sequences] = missing->batch.n_tokens;
    }
}

// Moves what was computed of the missing sequences from where they lie one after another to their places in the batch:
// the last first, as none of these lies before where it was.
static void spread_missing(struct frozen *frozen, const struct packed *packed, int side) {
    int m = frozen->missing.batch.n_sequences;
    for (int s = packed->batch.n_sequences; s-- > 0;) {
        if (is_kept(frozen, packed, side, s)) continue;
        size_t first, from;
        const size_t n = extent(frozen, &packed->batch, s, &first);
        extent(frozen, &frozen->missing.batch, --m, &from);
        memmove(frozen->entering + first, frozen->entering + from, n * sizeof *frozen->entering);
    }
}

static void fetch_kept(struct frozen *frozen, const struct packed *packed, int side) {
    for (int s = 0; s < packed->batch.n_sequences; s++) {
        if (!is_kept(frozen, packed, side, s)) continue;
        size_t first;
        const size_t n = extent(frozen, &packed->batch, s, &first);
        memcpy(frozen->entering + first, frozen->examples[side][packed->examples[s]], n * sizeof *frozen->entering);
    }
}

const float *frozen_entering(struct frozen *frozen, struct pass *pass, const struct packed *packed, int side,
                             struct llm_error *err) {
    collect_missing(frozen, packed, side);
    const struct batch *missing = &frozen->missing.batch;
    if (missing->n_tokens > 0 && missing->n_tokens < FEW_TOKENS) {
        if (!pass_entering(pass, &packed->batch, frozen->entering, err)) return NULL;
    } else {
        if (missing->n_tokens > 0 && !pass_entering(pass, missing, frozen->entering, err)) return NULL;
        spread_missing(frozen, packed, side);
        fetch_kept(frozen, packed, side);
    }
    keep(frozen, packed, side);
    return frozen->entering;
}
