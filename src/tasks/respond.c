// respond.c: `llm_instruct_respond`: from instructions to answers.
//
// A prompt is the template up to where the answer goes, the response's mark included: the book lets the model write
// that by itself. The answer ends with the model's end of text, or before what the template has behind the answer.
#include "tasks/respond.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "infer/many.h"

enum {
    MAX_RUN = 1 << 24, // bytes of run.json
    MAX_PARALLEL = 1024,
};

void llm_respond_options_init(struct llm_respond_options *options) {
    *options = (struct llm_respond_options){.parallel = 8};
    llm_generate_options_init(&options->generate);
    options->generate.max_tokens = 256;
    options->generate.temperature = 0;
}

// ---- The template -------------------------------------------------------------------------------

// DIR/run.json of a model that lies in DIR/model or DIR/best, allocated; *path NULL: it lies elsewhere.
static bool run_path(const struct llm_engine *engine, char **path, struct llm_error *err) {
    *path = NULL;
    if (engine->directory == NULL) return true;
    char *model = strdup(engine->directory);
    if (model == NULL) return error_memory(err, "path");
    for (size_t n = strlen(model); n > 1 && model[n - 1] == '/'; n--) model[n - 1] = '\0';
    const char *name = path_base(model);
    const bool inside = strcmp(name, "model") == 0 || strcmp(name, "best") == 0;
    char *run = inside ? path_directory(model) : NULL;
    if (run != NULL) *path = path_join(run, "run.json");
    const bool ok = !inside || *path != NULL || error_memory(err, "path");
    free(run);
    free(model);
    return ok;
}

static bool template_of_run(struct template *template, const char *path, struct llm_error *err) {
    json_t *json = json_parse_file(path, MAX_RUN, err);
    if (json == NULL) return false;
    const json_t *value = json_object_get(json_object_get(json, "details"), "template");
    struct llm_error wrong = {0};
    const bool ok = json_is_string(value)
                        ? template_parse(template, json_string_value(value), json_string_length(value), &wrong)
                        : template_alpaca(template, &wrong);
    json_decref(json);
    if (ok) return true;
    error_prefix(&wrong, "%s: its template", path);
    return error_set(err, wrong.code, "%s", wrong.text);
}

bool respond_template(struct template *template, const struct llm_engine *engine, const char *path,
                      struct llm_error *err) {
    *template = (struct template){0};
    if (path != NULL) return template_read(template, path, err);
    char *run = NULL;
    if (!run_path(engine, &run, err)) return false;
    const bool ok =
        run != NULL && file_exists(run) ? template_of_run(template, run, err) : template_alpaca(template, err);
    free(run);
    return ok;
}

// ---- Prompts --------------------------------------------------------------------------------------

struct responding {
    const struct respond_job *job;
    struct many_prompt *prompts; // [n] that fit into the context
    size_t *items;               // [n] whose they are
    size_t n, n_done;
};

static bool encode_prompt(struct responding *work, size_t i, struct strbuf *text, struct llm_error *err) {
    const struct respond_job *job = work->job;
    const struct instruction *item = &job->items[i];
    const struct config *config = &job->engine->config;
    if (item->input[0] != '\0' && job->template->input == SIZE_MAX) {
        return error_set(err, LLM_ERROR_ARGUMENT, "instruction %lld has an input, but the template has no {input}",
                         (long long)item->number);
    }
    strbuf_clear(text);
    template_put_prompt(text, job->template, item);
    template_put_header(text, job->template, item);
    if (!strbuf_ok(text)) return error_memory(err, "prompt");
    int32_t *ids = NULL;
    size_t n = 0;
    if (!llm_tokenizer_encode(job->engine->tokenizer, text->bytes, text->size, false, &ids, &n, err)) return false;
    bool ok = check_ids(config, ids, n, "a prompt", err);
    if (ok && n > 0 && n <= (size_t)config->n_ctx) {
        work->prompts[work->n] = (struct many_prompt){.ids = ids, .n = n};
        work->items[work->n++] = i;
        return true;
    }
    llm_free(ids);
    ok = ok && job->done(job->user, i, NULL, 0, err);
    work->n_done += ok;
    return ok;
}

static bool encode_prompts(struct responding *work, struct llm_error *err) {
    const struct respond_job *job = work->job;
    work->prompts = calloc(job->n_wanted + 1, sizeof *work->prompts);
    work->items = calloc(job->n_wanted + 1, sizeof *work->items);
    if (work->prompts == NULL || work->items == NULL) return error_memory(err, "prompts");
    struct strbuf text;
    strbuf_init(&text, (size_t)RECORDS_MAX_CELL * 4);
    bool ok = true;
    for (size_t i = 0; ok && i < job->n_wanted; i++) {
        ok = encode_prompt(work, job->wanted == NULL ? i : job->wanted[i], &text, err);
    }
    strbuf_release(&text);
    return ok;
}

// ---- Answers --------------------------------------------------------------------------------------

static bool report(const struct responding *work) {
    const struct respond_job *job = work->job;
    const struct llm_callbacks *callbacks = &job->options->callbacks;
    const struct llm_progress progress = {"answering", "answers", (int64_t)(job->n_before + work->n_done),
                                          (int64_t)job->n_all};
    return callbacks->progress == NULL || job->n_all == 1 || callbacks->progress(callbacks->user, &progress);
}

static bool on_piece(void *user, const struct llm_piece *piece) {
    const struct responding *work = user;
    const struct llm_respond_options *options = work->job->options;
    struct llm_piece shown = *piece;
    shown.sample = (int)work->items[piece->sample];
    if (options->on_piece != NULL && !options->on_piece(options->callbacks.user, &shown)) return false;
    return report(work);
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// Bytes that are no UTF-8, which a model can make, become U+FFFD.
static bool hand_over(const struct responding *work, size_t item, const char *text, size_t size,
                      struct llm_error *err) {
    const struct respond_job *job = work->job;
    if (utf8_valid(text, size)) return job->done(job->user, item, text, size, err);
    struct strbuf clean;
    strbuf_init(&clean, 3 * size);
    for (size_t at = 0, n; at < size; at += n) {
        int32_t code;
        n = utf8_decode(text + at, size - at, &code);
        strbuf_append(&clean, code < 0 ? "\xef\xbf\xbd" : text + at, code < 0 ? 3 : n);
    }
    const bool ok =
        strbuf_ok(&clean) ? job->done(job->user, item, clean.bytes, clean.size, err) : error_memory(err, "answer");
    strbuf_release(&clean);
    return ok;
}

static bool on_end(void *user, size_t number, const struct sample *sample, struct llm_error *err) {
    struct responding *work = user;
    const char *text = sample->stream.text.bytes;
    size_t size = sample->stream.text.size;
    while (size > 0 && is_space(text[size - 1])) size--;
    while (size > 0 && is_space(text[0])) text++, size--;
    if (!hand_over(work, work->items[number], text, size, err)) return false;
    work->n_done++;
    return report(work) || error_set(err, LLM_ERROR_CANCELLED, "answering was stopped");
}

static bool check_engine(const struct llm_engine *engine, const struct llm_respond_options *options,
                         struct llm_error *err) {
    if (options->parallel < 1 || options->parallel > MAX_PARALLEL || options->generate.max_tokens < 1) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "parallel is %d and max_tokens %d; from 1 to %d, and at least 1, were expected",
                         options->parallel, options->generate.max_tokens, MAX_PARALLEL);
    }
    return engine_writes_text(engine, err) &&
           (engine->tokenizer != NULL ||
            error_set(err, LLM_ERROR_ARGUMENT, "%s: has no vocabulary, which instructions need", engine->path));
}

// All prompts that fit, in slots of one session.
static bool generate(struct responding *work, struct llm_error *err) {
    const struct respond_job *job = work->job;
    const size_t parallel = (size_t)job->options->parallel;
    struct llm_generate_options generate = job->options->generate;
    const char *behind = template_behind(job->template); // what ends an answer
    generate.stops = &behind;
    generate.n_stops = behind[0] != '\0';
    struct llm_session *session = llm_session_new(job->engine, (int)(work->n < parallel ? work->n : parallel), err);
    const bool ok =
        session != NULL && generate_many(session, work->prompts, work->n, &generate, on_piece, on_end, work, err);
    llm_session_free(session);
    return ok;
}

bool respond_run(const struct respond_job *job, struct llm_error *err) {
    struct responding work = {.job = job};
    if (!check_engine(job->engine, job->options, err)) return false;
    const bool ok = encode_prompts(&work, err) && (work.n == 0 || generate(&work, err));
    for (size_t i = 0; i < work.n; i++) llm_free((void *)work.prompts[i].ids);
    free(work.prompts);
    free(work.items);
    return ok;
}

// ---- The call -------------------------------------------------------------------------------------

static bool keep(void *user, size_t item, const char *text, size_t size, struct llm_error *err) {
    char **responses = user;
    if (text == NULL) return true;
    responses[item] = strndup(text, size);
    return responses[item] != NULL || error_memory(err, "answer");
}

bool llm_instruct_respond(struct llm_engine *engine, const struct llm_instruction *instructions, size_t n,
                          const struct llm_respond_options *options, char **responses, struct llm_error *err) {
    struct llm_respond_options defaults;
    llm_respond_options_init(&defaults);
    if (options == NULL) options = &defaults;
    for (size_t i = 0; i < n; i++) responses[i] = NULL;
    struct instruction *items = calloc(n + 1, sizeof *items);
    if (items == NULL) return error_memory(err, "instructions");
    struct template template;
    bool ok = respond_template(&template, engine, options->template_file, err);
    for (size_t i = 0; ok && i < n; i++) {
        const char *input = instructions[i].input;
        items[i] = (struct instruction){instructions[i].instruction, input == NULL ? "" : input, "", (int64_t)i + 1};
    }
    const struct respond_job job = {
        .engine = engine,
        .template = &template,
        .options = options,
        .items = items,
        .n_wanted = n,
        .n_all = n,
        .done = keep,
        .user = responses,
    };
    ok = ok && respond_run(&job, err);
    for (size_t i = 0; !ok && i < n; i++) {
        free(responses[i]);
        responses[i] = NULL;
    }
    free(items);
    template_release(&template);
    return ok;
}
