// session.c: see session.h.
#include "infer/session.h"

#include <stdlib.h>
#include <string.h>

enum {
    // Tokens a prompt is processed by at once. From 256 on the products run at their full rate and
    // activations are small beside the weights.
    CHUNK_TOKENS = 512,
    // Rows of logits in memory at least: llm_session_logits() goes forward by as many.
    MIN_ROWS = 16,
    MAX_SEQUENCES = 4096
};

static int min_int(int a, int b) {
    return a < b ? a : b;
}

static int max_int(int a, int b) {
    return a > b ? a : b;
}

// The host's arrays; sizes are small and bounded, so calloc's own overflow check is enough.
static bool allocate_arrays(struct llm_session *session, int max_tokens, int max_rows) {
    const struct config *config = &session->engine->config;
    const size_t n = (size_t)session->n_sequences;
    session->timelines = calloc(n * (size_t)config->n_ctx, sizeof *session->timelines);
    session->n_past = calloc(n, sizeof *session->n_past);
    session->ids = calloc((size_t)max_tokens, sizeof *session->ids);
    session->positions = calloc((size_t)max_tokens, sizeof *session->positions);
    session->starts = calloc(n + 1, sizeof *session->starts);
    session->slots = calloc(n, sizeof *session->slots);
    session->rows = calloc((size_t)max_rows, sizeof *session->rows);
    session->samples = calloc(n, sizeof *session->samples);
    session->seen = calloc(n * (size_t)config->vocab_size, sizeof *session->seen);
    if (session->timelines == NULL || session->n_past == NULL || session->ids == NULL || session->positions == NULL ||
        session->starts == NULL || session->slots == NULL || session->rows == NULL || session->samples == NULL ||
        session->seen == NULL) {
        return false;
    }
    for (size_t s = 0; s < n; s++) session->samples[s].seen = session->seen + s * (size_t)config->vocab_size;
    return true;
}

struct llm_session *llm_session_new(struct llm_engine *engine, int n_sequences, struct llm_error *err) {
    if (n_sequences < 1 || n_sequences > MAX_SEQUENCES) {
        error_set(err, LLM_ERROR_ARGUMENT, "a session of %d sequences was asked for, 1 to %d are possible", n_sequences,
                  MAX_SEQUENCES);
        return NULL;
    }
    if (!engine_writes_text(engine, err)) return NULL;
    struct llm_session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        error_memory(err, "session");
        return NULL;
    }
    session->engine = engine;
    session->n_sequences = n_sequences;
    const int max_tokens = max_int(min_int(CHUNK_TOKENS, engine->config.n_ctx), n_sequences);
    const int max_rows = max_int(MIN_ROWS, n_sequences);
    if (!allocate_arrays(session, max_tokens, max_rows)) {
        error_memory(err, "session");
    } else if (kv_cache_init(&session->cache, engine, n_sequences, err) &&
               activations_init(&session->activations, engine, max_tokens, max_rows, n_sequences, true, err) &&
               sampler_init(&session->sampler, engine->config.vocab_size, err)) {
        return session;
    }
    llm_session_free(session);
    return NULL;
}

void llm_session_free(struct llm_session *session) {
    if (session == NULL) return;
    sampler_release(&session->sampler);
    activations_release(&session->activations, session->engine);
    kv_cache_release(&session->cache, session->engine);
    free(session->timelines);
    free(session->n_past);
    free(session->ids);
    free(session->positions);
    free(session->starts);
    free(session->slots);
    free(session->rows);
    free(session->samples);
    free(session->seen);
    free(session);
}

// ---- Batches --------------------------------------------------------------------------------

void session_batch_begin(struct llm_session *session, int fan_out) {
    session->starts[0] = 0;
    session->batch = (struct batch){
        .ids = session->ids,
        .positions = session->positions,
        .starts = session->starts,
        .slots = session->slots,
        .rows = session->rows,
        .fan_out = fan_out,
    };
}

int session_batch_room(const struct llm_session *session) {
    return session->activations.max_tokens - session->batch.n_tokens;
}

void session_batch_add(struct llm_session *session, int slot, const int32_t *ids, int n, int n_wanted) {
    struct batch *batch = &session->batch;
    const int n_ctx = session->engine->config.n_ctx;
    const int past = session->n_past[slot];
    for (int i = 0; i < n; i++) {
        session->ids[batch->n_tokens + i] = ids[i];
        session->positions[batch->n_tokens + i] = past + i;
    }
    for (int copy = 0; copy < batch->fan_out; copy++) {
        int32_t *timeline = session->timelines + (size_t)(slot + copy) * (size_t)n_ctx;
        memmove(timeline + past, ids, (size_t)n * sizeof *ids); // ids may be the timeline's own (a shift)
        session->n_past[slot + copy] = past + n;
    }
    session->slots[batch->n_sequences++] = slot;
    batch->n_tokens += n;
    session->starts[batch->n_sequences] = batch->n_tokens;
    for (int i = n_wanted; i > 0; i--) session->rows[batch->n_rows++] = batch->n_tokens - i;
}

const float *session_forward(struct llm_session *session, struct llm_error *err) {
    struct llm_engine *engine = session->engine;
    const struct batch *batch = &session->batch;
    if (!forward_logits(engine, &session->activations, batch, &session->cache, err)) {
        for (int s = 0; s < session->n_sequences; s++) session->n_past[s] = 0;
        return NULL;
    }
    const size_t n = (size_t)batch->n_rows * (size_t)engine->config.vocab_size;
    return engine->ops->get(engine->ops, session->activations.logits, n);
}

int session_slot_shared(const struct llm_session *session, int slot, const int32_t *ids, int n) {
    const int32_t *timeline = session->timelines + (size_t)slot * (size_t)session->engine->config.n_ctx;
    int shared = 0;
    while (shared < n && shared < session->n_past[slot] && timeline[shared] == ids[shared]) shared++;
    return shared;
}

int session_shared(const struct llm_session *session, const int32_t *ids, int n) {
    int shared = n;
    for (int s = 0; s < session->n_sequences; s++) shared = session_slot_shared(session, s, ids, shared);
    return shared;
}

bool check_ids(const struct config *config, const int32_t *ids, size_t n, const char *what, struct llm_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= 0 && ids[i] < config->vocab_size) continue;
        return error_set(err, LLM_ERROR_ARGUMENT, "id %d at place %zu of %s is not one of the model's, 0 to %d", ids[i],
                         i, what, config->vocab_size - 1);
    }
    return true;
}

// ---- Logits of given tokens -----------------------------------------------------------------

bool llm_session_logits(struct llm_session *session, const int32_t *ids, size_t n_ids, float *logits,
                        struct llm_error *err) {
    const struct config *config = &session->engine->config;
    if (n_ids > (size_t)config->n_ctx) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%zu tokens are more than the model's context of %d", n_ids,
                         config->n_ctx);
    }
    if (!check_ids(config, ids, n_ids, "the tokens", err)) return false;
    session->n_past[0] = 0;
    const int step = min_int(session->activations.max_rows, session->activations.max_tokens);
    for (int at = 0; at < (int)n_ids;) {
        const int n = min_int(step, (int)n_ids - at);
        session_batch_begin(session, 1);
        session_batch_add(session, 0, ids + at, n, n);
        const float *rows = session_forward(session, err);
        if (rows == NULL) return false;
        const size_t width = (size_t)config->vocab_size;
        memcpy(logits + (size_t)at * width, rows, (size_t)n * width * sizeof *rows);
        at += n;
    }
    return true;
}
