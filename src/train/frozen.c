// frozen.c: see frozen.h.
//
// Passes over the examples are shuffled, so a batch often holds some that are kept and some that are not: only those
// are computed then. But few tokens take other ways through the products (ops/ops.h), and with them the last bits of an
// example would depend on what else is kept, which resuming changes. So of a large batch no few tokens are computed
// alone, and what a small batch gave is kept for batches of exactly as many tokens.
#include "train/frozen.h"

#include <stdlib.h>
#include <string.h>

enum {
    FEW_TOKENS = 64
};

// A text whose activations are kept: in one piece of memory with its ids, which follow them.
struct frozen_text {
    struct frozen_text *next;
    uint64_t hash;
    int n_tokens;
    int n_few;        // see few_tokens()
    float entering[]; // [n_tokens, n_embd], then the ids [n_tokens]
};

bool frozen_init(struct frozen *frozen, int64_t n_examples, int max_tokens, int max_examples, int n_embd, int64_t room,
                 struct llm_error *err) {
    *frozen = (struct frozen){.n_embd = n_embd, .room = room, .n_buckets = 1};
    while ((int64_t)frozen->n_buckets < n_examples) frozen->n_buckets *= 2;
    if (!packed_init(&frozen->missing, max_tokens, max_examples, err)) return false;
    frozen->entering = malloc((size_t)max_tokens * (size_t)n_embd * sizeof *frozen->entering);
    frozen->buckets = calloc(frozen->n_buckets, sizeof(struct frozen_text *));
    if (frozen->entering != NULL && frozen->buckets != NULL) return true;
    frozen_release(frozen);
    return error_memory(err, "activations of frozen layers");
}

void frozen_release(struct frozen *frozen) {
    for (size_t i = 0; frozen->buckets != NULL && i < frozen->n_buckets; i++) {
        for (struct frozen_text *text = frozen->buckets[i], *next; text != NULL; text = next) {
            next = text->next;
            free(text);
        }
    }
    free(frozen->buckets);
    free(frozen->entering);
    packed_release(&frozen->missing);
    *frozen = (struct frozen){0};
}

// ---- What is kept ---------------------------------------------------------------------------

static int n_tokens(const struct batch *batch, int sequence) {
    return batch->starts[sequence + 1] - batch->starts[sequence];
}

static const int32_t *ids(const struct batch *batch, int sequence) {
    return batch->ids + batch->starts[sequence];
}

// Elements of n tokens' activations.
static size_t elements(const struct frozen *frozen, int n) {
    return (size_t)n * (size_t)frozen->n_embd;
}

// The tokens of a batch that has few of them, else 0: batches where this is the same give a text the same bits.
static int few_tokens(const struct batch *batch) {
    return batch->n_tokens < FEW_TOKENS ? batch->n_tokens : 0;
}

// FNV-1a (Fowler, Noll, Vo) of the ids of a sequence.
static uint64_t hash_ids(const struct batch *batch, int sequence) {
    uint64_t hash = 0xcbf29ce484222325U;
    for (int i = 0; i < n_tokens(batch, sequence); i++) {
        hash = (hash ^ (uint32_t)ids(batch, sequence)[i]) * 0x100000001b3U;
    }
    return hash ^ hash >> 32;
}

// NULL: it is not kept.
static const struct frozen_text *find(const struct frozen *frozen, const struct batch *batch, int sequence) {
    const int n = n_tokens(batch, sequence);
    const uint64_t hash = hash_ids(batch, sequence);
    const struct frozen_text *text = frozen->buckets[hash & (frozen->n_buckets - 1)];
    for (; text != NULL; text = text->next) {
        if (text->hash == hash && text->n_tokens == n && text->n_few == few_tokens(batch) &&
            memcmp(text->entering + elements(frozen, n), ids(batch, sequence), (size_t)n * sizeof(int32_t)) == 0) {
            return text;
        }
    }
    return NULL;
}

// Keeps what was computed, as far as there is room; running out of memory is no failure here.
static void keep(struct frozen *frozen, const struct batch *batch) {
    for (int s = 0; s < batch->n_sequences; s++) {
        const int n = n_tokens(batch, s);
        const size_t size = elements(frozen, n) * sizeof(float), size_ids = (size_t)n * sizeof(int32_t);
        const int64_t bytes = (int64_t)(sizeof(struct frozen_text) + size + size_ids);
        if (bytes > frozen->room || find(frozen, batch, s) != NULL) continue;
        struct frozen_text *text = malloc((size_t)bytes);
        if (text == NULL) return;
        text->hash = hash_ids(batch, s);
        text->n_tokens = n;
        text->n_few = few_tokens(batch);
        memcpy(text->entering, frozen->entering + elements(frozen, batch->starts[s]), size);
        memcpy(text->entering + elements(frozen, n), ids(batch, s), size_ids);
        struct frozen_text **bucket = &frozen->buckets[text->hash & (frozen->n_buckets - 1)];
        text->next = *bucket;
        *bucket = text;
        frozen->room -= bytes;
    }
}

// ---- A batch --------------------------------------------------------------------------------

// The sequences of the batch that are not kept, one after another.
static void collect_missing(struct frozen *frozen, const struct batch *batch) {
    struct packed *missing = &frozen->missing;
    packed_clear(missing);
    for (int s = 0; s < batch->n_sequences; s++) {
        if (find(frozen, batch, s) != NULL) continue;
        const int first = batch->starts[s], n = n_tokens(batch, s), at = missing->batch.n_tokens;
        memcpy(missing->ids + at, batch->ids + first, (size_t)n * sizeof *batch->ids);
        memcpy(missing->positions + at, batch->positions + first, (size_t)n * sizeof *batch->positions);
        missing->batch.n_tokens += n;
        missing->starts[++missing->batch.n_sequences] = missing->batch.n_tokens;
    }
}

// Fills entering with what is kept, and moves what was computed of the missing sequences from where it lies one after
// another to its places in the batch: the last first, as none of these lies before where it was.
static void spread(struct frozen *frozen, const struct batch *batch) {
    int m = frozen->missing.batch.n_sequences;
    for (int s = batch->n_sequences; s-- > 0;) {
        float *to = frozen->entering + elements(frozen, batch->starts[s]);
        const size_t size = elements(frozen, n_tokens(batch, s)) * sizeof *to;
        const struct frozen_text *text = find(frozen, batch, s);
        if (text == NULL) {
            memmove(to, frozen->entering + elements(frozen, frozen->missing.batch.starts[--m]), size);
        } else {
            memcpy(to, text->entering, size);
        }
    }
}

const float *frozen_entering(struct frozen *frozen, struct pass *pass, const struct packed *packed,
                             struct llm_error *err) {
    const struct batch *batch = &packed->batch, *missing = &frozen->missing.batch;
    collect_missing(frozen, batch);
    if (missing->n_tokens > 0 && missing->n_tokens < FEW_TOKENS) {
        if (!pass_entering(pass, batch, frozen->entering, err)) return NULL;
    } else {
        if (missing->n_tokens > 0 && !pass_entering(pass, missing, frozen->entering, err)) return NULL;
        spread(frozen, batch);
    }
    keep(frozen, batch);
    return frozen->entering;
}
