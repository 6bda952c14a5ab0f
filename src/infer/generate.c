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

#include "infer/session.h"

// One call of llm_session_generate().
struct run {
    struct llm_session *session;
    const struct llm_generate_options *options;
    llm_piece_fn *on_piece;
    void *user;
    const struct llm_tokenizer *tokenizer; // NULL: no text
    int32_t eos;                           // -1: none
    struct llm_logprob *top;               // [n_top]
    int n_top;
    int *active; // [n_sequences] unfinished samples, ascending
    int n_active;
    int32_t *next; // [n_sequences] each sample's newest token, not yet in the cache
    bool cancelled;
};

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

static bool check_options(const struct llm_generate_options *options, const struct llm_engine *engine,
                          struct llm_error *err) {
    if (!sampler_check_options(options, err)) return false;
    if (options->max_tokens < 0) {
        return error_set(err, LLM_ERROR_ARGUMENT, "max_tokens is %d, 0 or more was expected", options->max_tokens);
    }
    if (options->n_stops > 0 && engine->tokenizer == NULL) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "stop texts need a vocabulary, and this model has none: only ids can be generated");
    }
    for (int i = 0; i < options->n_stops; i++) {
        if (options->stops[i] == NULL || options->stops[i][0] == '\0') {
            return error_set(err, LLM_ERROR_ARGUMENT, "a stop text is empty");
        }
    }
    return true;
}

// The end-of-text token: the config's, else the vocabulary's.
static int32_t end_of_text(const struct llm_engine *engine) {
    if (engine->config.eos >= 0) return engine->config.eos;
    return engine->tokenizer != NULL ? llm_tokenizer_eot(engine->tokenizer) : -1;
}

// The longest text a token of this vocabulary has.
static size_t longest_token(const struct llm_tokenizer *tokenizer) {
    size_t longest = 0;
    for (int id = 0; id < llm_tokenizer_vocab_size(tokenizer); id++) {
        size_t size = 0;
        if (llm_tokenizer_token(tokenizer, id, &size) != NULL && size > longest) longest = size;
    }
    return longest;
}

static void run_release(struct run *run) {
    for (int s = 0; s < run->session->n_sequences; s++) {
        struct sample *sample = &run->session->samples[s];
        stream_release(&sample->stream);
        free(sample->ids);
        sample->ids = NULL;
    }
    free(run->top);
    free(run->active);
    free(run->next);
}

// Makes the samples ready: random streams, room for what they will hold, tokens the prompt has seen.
static bool run_init(struct run *run, const int32_t *prompt, size_t n_prompt, struct llm_error *err) {
    struct llm_session *session = run->session;
    const struct config *config = &session->engine->config;
    const struct llm_generate_options *options = run->options;
    const size_t n = (size_t)session->n_sequences;
    const size_t room = (size_t)(options->max_tokens < config->n_ctx ? options->max_tokens : config->n_ctx) + 1;
    const size_t text_room = run->tokenizer != NULL ? room * longest_token(run->tokenizer) : 0;
    run->n_top = options->n_logprobs < config->vocab_size ? options->n_logprobs : config->vocab_size;
    run->top = calloc((size_t)run->n_top + 1, sizeof *run->top);
    run->active = calloc(n, sizeof *run->active);
    run->next = calloc(n, sizeof *run->next);
    if (run->top == NULL || run->active == NULL || run->next == NULL) return error_memory(err, "generation");
    for (int s = 0; s < session->n_sequences; s++) {
        struct sample *sample = &session->samples[s];
        bool *seen = sample->seen;
        *sample = (struct sample){.seen = seen, .capacity = room};
        sampler_seed(&sample->random, options->seed, s);
        memset(seen, 0, (size_t)config->vocab_size * sizeof *seen);
        for (size_t i = 0; i < n_prompt; i++) seen[prompt[i]] = true;
        sample->ids = malloc(room * sizeof *sample->ids);
        if (sample->ids == NULL) return error_memory(err, "tokens of a sample");
        if (!stream_init(&sample->stream, options->stops, options->n_stops, text_room, err)) return false;
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

// ---- One token ------------------------------------------------------------------------------

static void finish_sample(struct sample *sample, enum llm_finish finish) {
    sample->finished = true;
    sample->finish = finish;
}

// Takes back the tokens that lie wholly behind the end of the text, which a stop text has cut.
static void drop_stop_tokens(struct sample *sample, const struct llm_tokenizer *tokenizer, size_t end) {
    while (sample->n_ids > 0) {
        size_t size = 0;
        llm_tokenizer_token(tokenizer, sample->ids[sample->n_ids - 1], &size);
        const size_t start = end - size;
        if (start < sample->stream.text.size) break;
        end = start;
        sample->n_ids--;
    }
}

// Hands one piece to the callback. id -1: text that was held back, without a new token.
static void emit(struct run *run, int s, int32_t id, float logprob, const char *text, size_t size) {
    if (run->on_piece == NULL) return;
    const struct llm_piece piece = {
        .sample = s,
        .id = id,
        .text = text,
        .size = size,
        .logprob = logprob,
        .top = run->top,
        .n_top = id < 0 ? 0 : run->n_top,
    };
    if (!run->on_piece(run->user, &piece)) run->cancelled = true;
}

// Appends a token to the sample's ids, growing them when generation outlives a context.
static bool append_id(struct sample *sample, int32_t id, struct llm_error *err) {
    if (sample->n_ids == sample->capacity) {
        int32_t *ids = realloc(sample->ids, 2 * sample->capacity * sizeof *ids);
        if (ids == NULL) return error_memory(err, "tokens of a sample");
        sample->ids = ids;
        sample->capacity *= 2;
    }
    sample->ids[sample->n_ids++] = id;
    sample->seen[id] = true;
    return true;
}

// Adds the token's bytes to the text and shows what became certain. `ended`: no token comes after this one.
static bool accept_token(struct run *run, int s, int32_t id, float logprob, bool ended, struct llm_error *err) {
    struct sample *sample = &run->session->samples[s];
    if (!append_id(sample, id, err)) return false;
    const char *text = "";
    size_t size = 0;
    if (run->tokenizer != NULL) {
        size_t n_bytes = 0;
        const char *bytes = llm_tokenizer_token(run->tokenizer, id, &n_bytes);
        const size_t end = sample->stream.text.size + n_bytes;
        if (bytes != NULL && !stream_add(&sample->stream, bytes, n_bytes, err)) return false;
        size = stream_show(&sample->stream, ended, &text);
        if (sample->stream.stopped) {
            drop_stop_tokens(sample, run->tokenizer, end);
            finish_sample(sample, LLM_FINISH_STOP);
        }
    }
    emit(run, s, id, logprob, text, size);
    return true;
}

// Ends a sample without a new token; what its text still held back is shown.
static void end_sample(struct run *run, int s, enum llm_finish finish) {
    struct sample *sample = &run->session->samples[s];
    finish_sample(sample, finish);
    if (run->tokenizer == NULL) return;
    const char *text = NULL;
    const size_t size = stream_show(&sample->stream, true, &text);
    if (size > 0) emit(run, s, -1, 0, text, size);
}

// Chooses the sample's next token from its logits; the sample may end with it.
static bool next_token(struct run *run, int s, const float *logits, struct llm_error *err) {
    struct llm_session *session = run->session;
    struct sample *sample = &session->samples[s];
    const struct llm_generate_options *options = run->options;
    int32_t id = 0;
    if (!sampler_pick(&session->sampler, logits, options, sample->seen, &sample->random, &id, err)) return false;
    if (id == run->eos && !options->ignore_eos) {
        end_sample(run, s, LLM_FINISH_EOS);
        return true;
    }
    float logprob = 0;
    if (run->n_top > 0) logprob = sampler_logprobs(&session->sampler, logits, id, run->n_top, run->top);
    run->next[s] = id;
    const bool is_last = sample->n_ids + 1 >= (size_t)options->max_tokens;
    const bool is_full = !options->shift && session->n_past[s] == session->engine->config.n_ctx;
    if (!accept_token(run, s, id, logprob, is_last || is_full, err)) return false;
    if (!sample->finished && is_last) finish_sample(sample, LLM_FINISH_LENGTH);
    if (!sample->finished && is_full) finish_sample(sample, LLM_FINISH_CONTEXT);
    return true;
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
        finish_sample(sample, LLM_FINISH_CANCELLED);
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
            if (!next_token(run, s, logits + (size_t)i * stride, err)) return false;
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
        for (int s = 0; s < run->session->n_sequences; s++) finish_sample(&run->session->samples[s], LLM_FINISH_LENGTH);
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
    if (!check_options(options, engine, err) || !check_ids(&engine->config, prompt, n_prompt, "the prompt", err) ||
        !fit_prompt(engine, options, &prompt, &n_prompt, err)) {
        return false;
    }
    struct run run = {
        .session = session,
        .options = options,
        .on_piece = on_piece,
        .user = user,
        .tokenizer = engine->tokenizer,
        .eos = eos,
    };
    const bool ok = run_init(&run, prompt, n_prompt, err) && run_all(&run, prompt, (int)n_prompt, &result, err);
    run_release(&run);
    if (ok && generation != NULL) {
        *generation = result;
    } else {
        llm_generation_release(&result);
    }
    return ok;
}
