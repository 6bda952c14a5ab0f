// generate_output.c: see generate_output.h.
//
// With several samples the first one streams and the others follow when all are done: lines of texts that
// grow at once cannot be read.
#include "cli/generate_output.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "cli/command.h"
#include "cli/progress.h"

bool output_init(struct output *output, struct llm_error *err) {
    if (output->n_logprobs == 0) return true;
    output->scored = calloc((size_t)output->n_samples, sizeof *output->scored);
    return output->scored != NULL || error_memory(err, "log probabilities");
}

void output_release(struct output *output) {
    for (int s = 0; s < output->n_samples && output->scored != NULL; s++) {
        for (size_t i = 0; i < output->scored[s].n; i++) free(output->scored[s].tokens[i].top);
        free(output->scored[s].tokens);
    }
    free(output->scored);
    output->scored = NULL;
}

// ---- Text -----------------------------------------------------------------------------------

static void put(struct output *output, const char *text, size_t size) {
    if (size == 0) return;
    if (fwrite(text, 1, size, stdout) != size) output->failed = true;
    output->line_open = text[size - 1] != '\n';
}

static void put_line_end(struct output *output) {
    if (output->line_open) put(output, "\n", 1);
}

// The line above each of several samples, and the prompt.
static void begin_sample(struct output *output, int sample) {
    if (output->n_samples > 1) {
        put_line_end(output);
        if (printf("--- sample %d of %d ---\n", sample + 1, output->n_samples) < 0) output->failed = true;
    }
    if (output->echo && !output->print_ids) put(output, output->prompt, output->prompt_size);
}

static bool append_scored(struct scored_tokens *list, const struct llm_piece *piece) {
    if (list->n == list->capacity) {
        const size_t capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
        struct scored_token *tokens = realloc(list->tokens, capacity * sizeof *tokens);
        if (tokens == NULL) return false;
        list->tokens = tokens;
        list->capacity = capacity;
    }
    struct scored_token *token = &list->tokens[list->n];
    *token = (struct scored_token){.id = piece->id, .logprob = piece->logprob};
    token->top = malloc((size_t)piece->n_top * sizeof *token->top);
    if (token->top == NULL) return false;
    for (int i = 0; i < piece->n_top; i++) token->top[i] = piece->top[i];
    list->n++;
    return true;
}

bool output_piece(void *user, const struct llm_piece *piece) {
    struct output *output = user;
    if (piece->id >= 0) output->n_top = piece->n_top;
    if (output->scored != NULL && piece->id >= 0 && !append_scored(&output->scored[piece->sample], piece)) {
        output->failed = true;
    }
    if (piece->sample == 0 && !output->json && !output->print_ids) {
        if (!output->begun) begin_sample(output, 0);
        output->begun = true;
        put(output, piece->text, piece->size);
        if (!command_flush()) output->failed = true;
    }
    return !output->failed && !command_interrupted();
}

static void put_ids(struct output *output, const struct llm_sample *sample) {
    const char *separator = "";
    for (size_t i = 0; output->echo && i < output->n_prompt_ids; i++) {
        if (printf("%s%d", separator, output->prompt_ids[i]) < 0) output->failed = true;
        separator = " ";
    }
    for (size_t i = 0; i < sample->n_ids; i++) {
        if (printf("%s%d", separator, sample->ids[i]) < 0) output->failed = true;
        separator = " ";
    }
    put(output, "\n", 1);
}

// A token as a JSON string, which shows spaces and newlines.
static json_t *token_text(const struct output *output, int32_t id) {
    size_t size = 0;
    const char *text = output->tokenizer == NULL ? NULL : llm_tokenizer_token(output->tokenizer, id, &size);
    return text == NULL ? json_null() : json_text(text, size);
}

static void put_scored(const struct output *output, int32_t id, float logprob) {
    json_t *text = token_text(output, id);
    char *quoted = text == NULL ? NULL : json_dump(text, JSON_ENCODE_ANY);
    printf("  %9.4f %6d %s", (double)logprob, id, quoted == NULL || json_is_null(text) ? "" : quoted);
    free(quoted);
    json_decref(text);
}

// A line a token: log probability, id and text of the chosen one, then of the likeliest.
static void put_logprobs(const struct output *output, int s, size_t n_ids) {
    const struct scored_tokens *list = &output->scored[s];
    for (size_t i = 0; i < list->n && i < n_ids; i++) {
        put_scored(output, list->tokens[i].id, list->tokens[i].logprob);
        fputs("  |", stdout);
        for (int t = 0; t < output->n_top; t++) {
            put_scored(output, list->tokens[i].top[t].id, list->tokens[i].top[t].logprob);
        }
        putchar('\n');
    }
}

static double rate(double n, double seconds) {
    return seconds > 0 ? n / seconds : 0;
}

static void print_speed(const struct llm_generation *generation) {
    const double n_computed = (double)(generation->n_prompt - generation->n_prompt_cached);
    fprintf(stderr, "[prompt: %zu tokens, %.0f tok/s; generated: %zu tokens, %.1f tok/s]\n", generation->n_prompt,
            rate(n_computed, generation->prompt_seconds), generation->n_generated,
            rate((double)generation->n_generated, generation->generate_seconds));
}

static void print_text(struct output *output, const struct llm_generation *generation) {
    for (int s = 0; s < generation->n_samples; s++) {
        const struct llm_sample *sample = &generation->samples[s];
        const bool streamed = s == 0 && output->begun;
        if (!streamed) begin_sample(output, s);
        if (output->print_ids) {
            put_ids(output, sample);
        } else {
            if (!streamed) put(output, sample->text, sample->size);
            put_line_end(output);
        }
        if (output->scored != NULL) put_logprobs(output, s, sample->n_ids);
    }
    if (!command_flush()) output->failed = true;
}

// ---- JSON -----------------------------------------------------------------------------------

static json_t *ids_json(const int32_t *ids, size_t n) {
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(array, json_integer(ids[i]));
    return array;
}

// JSON has no infinity: the log probability of what the model holds impossible is null.
static json_t *logprob_json(float logprob) {
    return isfinite(logprob) ? json_real((double)logprob) : json_null();
}

static json_t *scored_json(const struct output *output, int s, size_t n_ids) {
    const struct scored_tokens *list = &output->scored[s];
    json_t *array = json_array();
    for (size_t i = 0; i < list->n && i < n_ids; i++) {
        const struct scored_token *token = &list->tokens[i];
        json_t *top = json_array();
        for (int t = 0; t < output->n_top; t++) {
            json_array_append_new(top, json_pack("{s:i, s:o, s:o}", "id", token->top[t].id, "text",
                                                 token_text(output, token->top[t].id), "logprob",
                                                 logprob_json(token->top[t].logprob)));
        }
        json_array_append_new(array,
                              json_pack("{s:i, s:o, s:o, s:o}", "id", token->id, "text", token_text(output, token->id),
                                        "logprob", logprob_json(token->logprob), "top", top));
    }
    return array;
}

static json_t *sample_json(const struct output *output, const struct llm_sample *sample, int s) {
    json_t *object = json_object();
    json_object_set_new(object, "text", sample->text == NULL ? json_null() : json_text(sample->text, sample->size));
    json_object_set_new(object, "ids", ids_json(sample->ids, sample->n_ids));
    json_object_set_new(object, "finish", json_string(llm_finish_name(sample->finish)));
    if (output->scored != NULL) json_object_set_new(object, "logprobs", scored_json(output, s, sample->n_ids));
    return object;
}

static json_t *timings_json(const struct llm_generation *generation) {
    const double n_computed = (double)(generation->n_prompt - generation->n_prompt_cached);
    return json_pack(
        "{s:I, s:I, s:f, s:f, s:I, s:f, s:f}", "prompt_tokens", (json_int_t)generation->n_prompt,
        "prompt_tokens_cached", (json_int_t)generation->n_prompt_cached, "prompt_seconds", generation->prompt_seconds,
        "prompt_tokens_per_second", rate(n_computed, generation->prompt_seconds), "generated_tokens",
        (json_int_t)generation->n_generated, "generate_seconds", generation->generate_seconds,
        "generated_tokens_per_second", rate((double)generation->n_generated, generation->generate_seconds));
}

static bool print_json(struct output *output, const struct llm_generation *generation) {
    json_t *samples = json_array();
    for (int s = 0; s < generation->n_samples; s++) {
        json_array_append_new(samples, sample_json(output, &generation->samples[s], s));
    }
    json_t *prompt = output->prompt == NULL ? json_null() : json_text(output->prompt, output->prompt_size);
    json_t *object = json_pack("{s:o, s:o, s:o, s:o, s:o}", "model", json_name(output->model), "prompt", prompt,
                               "prompt_ids", ids_json(output->prompt_ids, output->n_prompt_ids), "samples", samples,
                               "timings", timings_json(generation));
    char *text = object == NULL ? NULL : json_dump(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (text != NULL && puts(text) < 0) command_output_failed();
    if (text != NULL && !command_flush()) output->failed = true;
    free(text);
    json_decref(object);
    return text != NULL;
}

// ---- The end --------------------------------------------------------------------------------

bool output_end(struct output *output, const struct llm_generation *generation, struct llm_error *err) {
    progress_clear();
    if (output->json) return print_json(output, generation) || error_memory(err, "JSON");
    print_text(output, generation);
    if (!output->failed) print_speed(generation);
    return true;
}

void output_abort(struct output *output) {
    progress_clear();
    put_line_end(output);
    command_flush();
}
