// run.c: see run.h.
//
// What grows (ids and text) gets a full context's room at the start, so a token allocates nothing.
#include "infer/run.h"

#include <stdlib.h>
#include <string.h>

// ---- Before and after -----------------------------------------------------------------------

bool run_check_options(const struct llm_generate_options *options, const struct llm_engine *engine,
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

int32_t end_of_text(const struct llm_engine *engine) {
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

void run_forget(struct run *run, int s) {
    struct sample *sample = &run->session->samples[s];
    stream_release(&sample->stream);
    free(sample->ids);
    sample->ids = NULL;
}

void run_release(struct run *run) {
    for (int s = 0; s < run->session->n_sequences; s++) run_forget(run, s);
    free(run->top);
    free(run->active);
    free(run->next);
}

bool run_init(struct run *run, struct llm_error *err) {
    const struct llm_session *session = run->session;
    const struct config *config = &session->engine->config;
    const struct llm_generate_options *options = run->options;
    const size_t n = (size_t)session->n_sequences;
    run->tokenizer = session->engine->tokenizer;
    run->eos = end_of_text(session->engine);
    run->room = (size_t)(options->max_tokens < config->n_ctx ? options->max_tokens : config->n_ctx) + 1;
    run->text_room = run->tokenizer != NULL ? run->room * longest_token(run->tokenizer) : 0;
    run->n_top = options->n_logprobs < config->vocab_size ? options->n_logprobs : config->vocab_size;
    run->top = calloc((size_t)run->n_top + 1, sizeof *run->top);
    run->active = calloc(n, sizeof *run->active);
    run->next = calloc(n, sizeof *run->next);
    return (run->top != NULL && run->active != NULL && run->next != NULL) || error_memory(err, "generation");
}

bool run_begin(struct run *run, int s, int number, const int32_t *prompt, size_t n_prompt, struct llm_error *err) {
    struct sample *sample = &run->session->samples[s];
    const struct llm_generate_options *options = run->options;
    bool *seen = sample->seen;
    *sample = (struct sample){.seen = seen, .number = number, .capacity = run->room};
    sampler_seed(&sample->random, options->seed, number);
    memset(seen, 0, (size_t)run->session->engine->config.vocab_size * sizeof *seen);
    for (size_t i = 0; i < n_prompt; i++) seen[prompt[i]] = true;
    sample->ids = malloc(run->room * sizeof *sample->ids);
    if (sample->ids == NULL) return error_memory(err, "tokens of a sample");
    return stream_init(&sample->stream, options->stops, options->n_stops, run->text_room, err);
}

// ---- One token ------------------------------------------------------------------------------

void sample_finish(struct sample *sample, enum llm_finish finish) {
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
        .sample = run->session->samples[s].number,
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
            sample_finish(sample, LLM_FINISH_STOP);
        }
    }
    emit(run, s, id, logprob, text, size);
    return true;
}

// Ends a sample without a new token; what its text still held back is shown.
static void end_sample(struct run *run, int s, enum llm_finish finish) {
    struct sample *sample = &run->session->samples[s];
    sample_finish(sample, finish);
    if (run->tokenizer == NULL) return;
    const char *text = NULL;
    const size_t size = stream_show(&sample->stream, true, &text);
    if (size > 0) emit(run, s, -1, 0, text, size);
}

bool run_next(struct run *run, int s, const float *logits, struct llm_error *err) {
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
    if (!sample->finished && is_last) sample_finish(sample, LLM_FINISH_LENGTH);
    if (!sample->finished && is_full) sample_finish(sample, LLM_FINISH_CONTEXT);
    return true;
}
