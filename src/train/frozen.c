// frozen.c: see frozen.h.
#include "train/frozen.h"

#include <stdlib.h>
#include <string.h>

bool frozen_init(struct frozen *frozen, const int64_t n_examples[FROZEN_SIDES], int max_tokens, int n_embd,
                 int64_t room, struct llm_error *err) {
    *frozen = (struct frozen){.n_embd = n_embd, .room = room};
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

const float *frozen_entering(struct frozen *frozen, struct pass *pass, const struct packed *packed, int side,
                             struct llm_error *err) {
    bool all = true;
    for (int s = 0; s < packed->batch.n_sequences && all; s++) {
        const float *kept = frozen->examples[side][packed->examples[s]];
        size_t first;
        const size_t n = extent(frozen, &packed->batch, s, &first);
        all = kept != NULL;
        if (all) memcpy(frozen->entering + first, kept, n * sizeof *kept);
    }
    if (!all) {
        if (!pass_entering(pass, &packed->batch, frozen->entering, err)) return NULL;
        keep(frozen, packed, side);
    }
    return frozen->entering;
}
