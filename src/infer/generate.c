// generate.c: the generation loop: prompt in, tokens out, until each sample has a reason to stop.
//
// The prompt is computed once, in chunks, its keys and values going to the slots of all samples. Then
// every round chooses one token for each unfinished sample and advances them as one batch, so the weights
// are read once a round. Samples march in step: all unfinished ones have equally long timelines.
//
// When the context is full, positions run out: GPT-2 has learned one vector for each. The newest half of
// each timeline is computed again from position 0, all samples packed, and generation goes on.
//
// What grows (ids and text) gets a full context's room at the start, so a round allocates nothing.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "infer/run.h"

static double now_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void llm_generate_options_init(struct llm_generate_options *options) {
    *options = (struct llm_generate_options){
        .max_tokens = 128,
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 1,
        .min_p = 0,
        .repetition_penalty = 1,
        .seed = 123,
        .shift = true,
    };
}

const char *llm_finish_name(enum llm_finish finish) {
    static const char *const names[] = {
        [LLM_FINISH_LENGTH] = "length",       [LLM_FINISH_EOS] = "eos",
        [LLM_FINISH_STOP] = "stop",           [LLM_FINISH_CONTEXT] = "context",
        [LLM_FINISH_CANCELLED] = "cancelled",
    };
    return names[finish];
}

void llm_generation_release(struct llm_generation *generation) {
    if (generation == NULL) return;
    for (int s = 0; s < generation->n_samples; s++) {
        free(generation->samples[s].ids);
        free(generation->samples[s].text);
    }
    free(generation->samples);
    *generation = (struct llm_generation){0};
}

// ---- Before and after -----------------------------------------------------------------------

static bool begin_samples(struct run *run, const int32_t *prompt, size_t n_prompt, struct llm_error *err) {
    for (int s = 0; s < run->session->n_sequences; s++) {
        if (!run_begin(run, s, s, prompt, n_prompt, err)) return false;
    }
    return true;
}

// Moves what the samples hold into the caller's struct.
static bool collect(struct run *run, struct llm_generation *generation, struct llm_error *err) {
    const int n = run->session->n_sequences;
    generation->samples = calloc((size_t)n, sizeof *generation->samples);
    if (generation->samples == NULL) return error_memory(err, "generation");
    generation->n_samples = n;
    for (int s = 0; s < n; s++) {
        struct sample *from = &run->session->samples[s];
        struct llm_sample *to = &generation->samples[s];
        to->finish = from->finish;
        to->ids = from->ids;
        to->n_ids = from->n_ids;
        from->ids = NULL;
        generation->n_generated += to->n_ids;
        if (run->tokenizer == NULL) continue;
        to->size = from->stream.text.size;
        to->text = strbuf_take(&from->stream.text);
        if (to->text == NULL) return error_memory(err, "text of a sample");
    }
    return true;
}

// ---- The prompt -----------------------------------------------------------------------------

// Reports on a prompt long enough to wait for. false: the user wants no more.
static bool report_prompt(const struct llm_engine *engine, int done, int total) {
    const struct llm_progress progress = {.what = "prompt", .unit = "tokens", .done = done, .total = total};
    return engine->callbacks.progress == NULL || engine->callbacks.progress(engine->callbacks.user, &progress);
}

// Computes the prompt after its first n_cached tokens for all samples. Returns the logits after its last
// token [vocab_size]; NULL on failure or when cancelled.
static const float *compute_prompt(struct run *run, const int32_t *prompt, int n_prompt, int n_cached,
                                   struct llm_error *err) {
    struct llm_session *session = run->session;
    for (int s = 0; s < session->n_sequences; s++) session->n_past[s] = n_cached;
    const float *logits = NULL;
    for (int at = n_cached; at < n_prompt;) {
        session_batch_begin(session, session->n_sequences);
        const int room = session_batch_room(session);
        const int n = n_prompt - at < room ? n_prompt - at : room;
        session_batch_add(session, 0, prompt + at, n, at + n == n_prompt ? 1 : 0);
        logits = session_forward(session, err);
        if (logits == NULL) return NULL;
        at += n;
        if (n_prompt - n_cached > room && !report_prompt(session->engine, at, n_prompt)) {
            run->cancelled = true;
            return NULL;
        }
    }
    return logits;
}

// ---- Advancing ------------------------------------------------------------------------------

// Context full: the newest half of each timeline, its newest token included, begins anew at position 0.
static bool shift_context(struct run *run, struct llm_error *err) {
    struct llm_session *session = run->session;
    const int n_ctx = session->engine->config.n_ctx;
    const int keep = n_ctx / 2 > 1 ? n_ctx / 2 - 1 : 0; // besides the newest token, which is not in the cache
    for (int i = 0; i < run->n_active; i++) {
        int32_t *timeline = session->timelines + (size_t)run->active[i] * (size_t)n_ctx;
        memmove(timeline, timeline + n_ctx - keep, (size_t)keep * sizeof *timeline);
        session->n_past[run->active[i]] = 0;
    }
    for (int i = 0; i < run->n_active && keep > 0;) {
        session_batch_begin(session, 1);
        while (i < run->n_active && session_batch_room(session) > 0) {
            const int s = run->active[i];
            const int past = session->n_past[s];
            const int room = session_batch_room(session);
            const int n = keep - past < room ? keep - past : room;
            session_batch_add(session, s, session->timelines + (size_t)s * (size_t)n_ctx + past, n, 0);
            if (past + n == keep) i++;
        }
        if (session_forward(session, err) == NULL) return false;
    }
    return true;
}

// Feeds the newest token of every unfinished sample. Returns their logits [n_active, vocab_size].
static const float *advance(struct run *run, struct llm_error *err) {
    struct llm_session *session = run->session;
    if (session->n_past[run->active[0]] == session->engine->config.n_ctx && !shift_context(run, err)) return NULL;
    session_batch_begin(session, 1);
    for (int i = 0; i < run->n_active; i++) {
        session_batch_add(session, run->active[i], &run->next[run->active[i]], 1, 1);
    }
    return session_forward(session, err);
}

// Ends what is unfinished; text that was not shown is not part of it.
static void cancel_samples(struct run *run) {
    for (int s = 0; s < run->session->n_sequences; s++) {
        struct sample *sample = &run->session->samples[s];
        if (sample->finished) continue;
        sample_finish(sample, LLM_FINISH_CANCELLED);
        sample->stream.text.size = sample->stream.shown;
    }
}

// From the logits after the prompt [vocab_size] to the end of every sample.
static bool generate(struct run *run, const float *logits, struct llm_error *err) {
    struct llm_session *session = run->session;
    const size_t vocab_size = (size_t)session->engine->config.vocab_size;
    run->n_active = 0;
    for (int s = 0; s < session->n_sequences; s++) run->active[run->n_active++] = s;
    size_t stride = 0; // after the prompt all samples look at the same row
    while (!run->cancelled && run->n_active > 0) {
        int n_left = 0;
        for (int i = 0; i < run->n_active && !run->cancelled; i++) {
            const int s = run->active[i];
            if (!run_next(run, s, logits + (size_t)i * stride, err)) return false;
            if (!session->samples[s].finished) run->active[n_left++] = s;
        }
        run->n_active = n_left;
        if (run->cancelled || n_left == 0) break;
        logits = advance(run, err);
        if (logits == NULL) return false;
        stride = vocab_size;
    }
    return true;
}

// Prompt and rounds, with their times.
static bool run_all(struct run *run, const int32_t *prompt, int n_prompt, struct llm_generation *generation,
                    struct llm_error *err) {
    const double started = now_seconds();
    const int shared = session_shared(run->session, prompt, n_prompt);
    // The logits after the last token are needed, so that one is computed in any case.
    const int n_cached = shared < n_prompt ? shared : n_prompt - 1;
    const float *logits = compute_prompt(run, prompt, n_prompt, n_cached, err);
    if (logits == NULL && !run->cancelled) return false;
    const double prompted = now_seconds();
    if (run->options->max_tokens == 0) {
        for (int s = 0; s < run->session->n_sequences; s++) sample_finish(&run->session->samples[s], LLM_FINISH_LENGTH);
    } else if (!run->cancelled && !generate(run, logits, err)) {
        return false;
    }
    cancel_samples(run);
    generation->n_prompt = (size_t)n_prompt;
    generation->n_prompt_cached = (size_t)n_cached;
    generation->prompt_seconds = prompted - started;
    generation->generate_seconds = now_seconds() - prompted;
    return collect(run, generation, err);
}

// Cuts a prompt that is longer than the context to its newest part, if it may.
static bool fit_prompt(const struct llm_engine *engine, const struct llm_generate_options *options,
                       const int32_t **prompt, size_t *n_prompt, struct llm_error *err) {
    const size_t n_ctx = (size_t)engine->config.n_ctx;
    if (*n_prompt <= n_ctx) return true;
    if (!options->shift) {
        return error_set(err, LLM_ERROR_ARGUMENT, "the prompt has %zu tokens and the model's context holds %zu",
                         *n_prompt, n_ctx);
    }
    engine_notice(&engine->callbacks,
                  "the prompt has %zu tokens and the model's context holds %zu: its newest part is used", *n_prompt,
                  n_ctx);
    *prompt += *n_prompt - n_ctx;
    *n_prompt = n_ctx;
    return true;
}

bool llm_session_generate(struct llm_session *session, const int32_t *prompt, size_t n_prompt,
                          const struct llm_generate_options *options, llm_piece_fn *on_piece, void *user,
                          struct llm_generation *generation, struct llm_error *err) {
    const struct llm_engine *engine = session->engine;
    struct llm_generation result = {0};
    if (generation != NULL) *generation = result;
    const int32_t eos = end_of_text(engine);
    if (n_prompt == 0) {
        if (eos < 0) {
            return error_set(err, LLM_ERROR_ARGUMENT,
                             "the prompt is empty, and the model has no end-of-text token to begin with");
        }
        prompt = &eos;
        n_prompt = 1;
    }
    if (!run_check_options(options, engine, err) || !check_ids(&engine->config, prompt, n_prompt, "the prompt", err) ||
        !fit_prompt(engine, options, &prompt, &n_prompt, err)) {
        return false;
    }
    struct run run = {
        .session = session,
        .options = options,
        .on_piece = on_piece,
        .user = user,
    };
    const bool ok = run_init(&run, err) && begin_samples(&run, prompt, n_prompt, err) &&
                    run_all(&run, prompt, (int)n_prompt, &result, err);
    run_release(&run);
    if (ok && generation != NULL) {
        *generation = result;
    } else {
        llm_generation_release(&result);
    }
    return ok;
}
