// respond_file.c: `llm_instruct_respond_file`: a file of instructions becomes one of answers.
//
// Until all are answered, what there is lies in OUT.part: {"identity": ..., "responses": [text or null, ...]}. The
// identity is that of weights, entries, template and settings, so that no answer is taken for one of another model.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "data/text.h"
#include "tasks/respond.h"

enum {
    SAVED_AFTER = 8,   // new answers, or
    SAVED_SHARE = 100, // one in so many of the file's, whichever is more
    BLOCK = 1 << 16,
};

static const size_t file_max = (size_t)1 << 30; // bytes

struct answering {
    struct respond_entries *entries;
    const char *part;
    json_t *identity, *responses; // [n] strings, and null where there is none yet
    size_t n_unsaved;
    struct llm_respond_result *result;
};

// The file in which unfinished answers are kept, allocated; NULL when out of memory.
static char *part_path(const char *out) {
    const size_t room = strlen(out) + sizeof ".part";
    char *path = malloc(room);
    if (path != NULL) snprintf(path, room, "%s.part", out);
    return path;
}

// ---- Which answers these are ----------------------------------------------------------------------

static uint32_t weights_checksum(const struct llm_engine *engine) {
    uint32_t crc = 0;
    for (int p = 0; p < PARAM_COUNT; p++) {
        const enum param param = (enum param)p;
        for (int layer = 0; layer < param_count(&engine->config, param); layer++) {
            const struct matrix *matrix = weights_get(&engine->weights, param, layer);
            crc = crc32c(crc, matrix->data, dtype_bytes(matrix->dtype, (size_t)param_size(&engine->config, param)));
        }
    }
    return crc;
}

static uint32_t entries_checksum(const struct respond_entries *entries) {
    uint32_t crc = 0;
    for (size_t i = 0; i < entries->n; i++) {
        const struct instruction *item = &entries->items[i];
        crc = crc32c(crc, item->instruction, strlen(item->instruction) + 1);
        crc = crc32c(crc, item->input, strlen(item->input) + 1);
    }
    return crc;
}

static json_t *identity_of(const struct llm_engine *engine, const struct template *template,
                           const struct respond_entries *entries, const struct llm_generate_options *generate) {
    return json_pack("{s:I, s:I, s:I, s:I, s:i, s:f, s:i, s:f, s:f, s:f, s:I, s:b}", "n", (json_int_t)entries->n,
                     "weights", (json_int_t)weights_checksum(engine), "entries", (json_int_t)entries_checksum(entries),
                     "template", (json_int_t)crc32c(0, template->text, template->size), "max_tokens",
                     generate->max_tokens, "temperature", (double)generate->temperature, "top_k", generate->top_k,
                     "top_p", (double)generate->top_p, "min_p", (double)generate->min_p, "repetition_penalty",
                     (double)generate->repetition_penalty, "seed", (json_int_t)generate->seed, "ignore_eos",
                     generate->ignore_eos);
}

// ---- What is kept -----------------------------------------------------------------------------------

// Answers of an earlier call; of anything else nothing is taken.
static bool take_kept(struct answering *answering, struct llm_error *err) {
    struct llm_error wrong = {0};
    if (!file_exists(answering->part)) return true;
    json_t *json = json_parse_file(answering->part, file_max, &wrong);
    if (json == NULL && wrong.code == LLM_ERROR_MEMORY) return error_set(err, wrong.code, "%s", wrong.text);
    const json_t *kept = json_object_get(json, "responses");
    bool ok = true;
    if (json_equal(json_object_get(json, "identity"), answering->identity) &&
        json_array_size(kept) == answering->entries->n) {
        for (size_t i = 0; ok && i < answering->entries->n; i++) {
            json_t *text = json_array_get(kept, i);
            if (!json_is_string(text)) continue;
            ok = json_array_set(answering->responses, i, text) == 0 || error_memory(err, "answers");
            answering->result->n_kept++;
        }
    }
    json_decref(json);
    return ok;
}

static bool save_part(struct answering *answering, struct llm_error *err) {
    if (answering->n_unsaved == 0) return true;
    json_t *json = json_pack("{s:O, s:O}", "identity", answering->identity, "responses", answering->responses);
    char *text = json == NULL ? NULL : json_dump(json, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    const bool ok = text == NULL ? error_memory(err, "answers") : file_write(answering->part, text, strlen(text), err);
    free(text);
    json_decref(json);
    if (ok) answering->n_unsaved = 0;
    return ok;
}

static bool on_answer(void *user, size_t item, const char *text, size_t size, struct llm_error *err) {
    struct answering *answering = user;
    const size_t share = answering->entries->n / SAVED_SHARE;
    answering->result->n_too_long += text == NULL;
    json_t *value = json_stringn(text == NULL ? "" : text, size);
    if (value == NULL || json_array_set_new(answering->responses, item, value) != 0) {
        return error_memory(err, "answers");
    }
    return ++answering->n_unsaved < (share > SAVED_AFTER ? share : SAVED_AFTER) || save_part(answering, err);
}

// ---- The file ---------------------------------------------------------------------------------------

static bool write_answers(const struct answering *answering, const char *out, struct llm_error *err) {
    const struct respond_entries *entries = answering->entries;
    for (size_t i = 0; i < entries->n; i++) {
        json_t *entry = json_array_get(entries->list, i);
        if (json_object_set(entry, RESPOND_KEY, json_array_get(answering->responses, i)) != 0) {
            return error_memory(err, "answers");
        }
    }
    char *text = json_dump(entries->list, JSON_INDENT(4)); // laid out as Python's json.dump(indent=4)
    const bool ok = text == NULL ? error_memory(err, "answers") : file_write(out, text, strlen(text), err);
    free(text);
    return ok;
}

static bool prepare(struct answering *answering, struct llm_error *err) {
    for (size_t i = 0; i < answering->entries->n; i++) {
        if (json_array_append_new(answering->responses, json_null()) != 0) return error_memory(err, "answers");
    }
    return take_kept(answering, err);
}

// Answers what is not answered yet. Whatever ends it, what there is is kept.
static bool answer(struct answering *answering, struct llm_engine *engine, const struct template *template,
                   const struct llm_respond_options *options, struct llm_error *err) {
    const struct respond_entries *entries = answering->entries;
    struct respond_job job = {
        .engine = engine,
        .template = template,
        .options = options,
        .items = entries->items,
        .n_before = (size_t)answering->result->n_kept,
        .n_all = entries->n,
        .done = on_answer,
        .user = answering,
    };
    size_t *wanted = calloc(entries->n + 1, sizeof *wanted);
    if (wanted == NULL) return error_memory(err, "answers");
    for (size_t i = 0; i < entries->n; i++) {
        if (json_is_null(json_array_get(answering->responses, i))) wanted[job.n_wanted++] = i;
    }
    job.wanted = wanted;
    if (job.n_before > 0) {
        engine_notice(&options->callbacks, "%zu of %zu answers are there already", job.n_before, entries->n);
    }
    const bool ok = respond_run(&job, err);
    free(wanted);
    return save_part(answering, err) && ok;
}

bool respond_entries(struct llm_engine *engine, const struct template *template, struct respond_entries *entries,
                     const char *out, const struct llm_respond_options *options, struct llm_respond_result *result,
                     struct llm_error *err) {
    char *part = part_path(out);
    struct answering answering = {
        .entries = entries,
        .part = part,
        .identity = identity_of(engine, template, entries, &options->generate),
        .responses = json_array(),
        .result = result,
    };
    *result = (struct llm_respond_result){.n_entries = (int64_t)entries->n};
    bool ok =
        (part != NULL && answering.identity != NULL && answering.responses != NULL) || error_memory(err, "answers");
    ok = ok && prepare(&answering, err) && answer(&answering, engine, template, options, err) &&
         write_answers(&answering, out, err);
    if (ok) unlink(part);
    if (ok && result->n_too_long > 0) {
        engine_notice(&options->callbacks,
                      "%s: %lld prompts are longer than the model's context: their answers are empty", entries->file,
                      (long long)result->n_too_long);
    }
    json_decref(answering.identity);
    json_decref(answering.responses);
    free(part);
    return ok;
}

// ---- The call -----------------------------------------------------------------------------------------

// The file's text; .xz and .gz are unpacked.
static bool read_text(const char *path, struct strbuf *text, struct llm_error *err) {
    struct text_file *file = text_file_open(path, 1, err);
    if (file == NULL) return false;
    char *block = malloc(BLOCK);
    size_t n = BLOCK;
    bool ok = block != NULL || error_memory(err, path);
    while (ok && n == BLOCK) {
        ok = text_file_read(file, block, BLOCK, &n, err);
        if (ok) strbuf_append(text, block, n);
    }
    free(block);
    text_file_close(file);
    return ok && (strbuf_ok(text) || error_memory(err, path));
}

// Each line that is not empty is an entry; instructions_read() has been through it, so the lines are good.
static bool append_lines(json_t *list, const char *text, struct llm_error *err) {
    while (*text != '\0') {
        const size_t size = strcspn(text, "\n");
        if (strspn(text, " \t\r") < size) {
            json_t *entry = json_parse(text, size, err);
            if (entry == NULL) return false;
            if (json_array_append_new(list, entry) != 0) return error_memory(err, "entries");
        }
        text += size + (text[size] == '\n');
    }
    return true;
}

// The file's list, or its lines as one; NULL on failure.
static json_t *parse_list(const struct strbuf *text, bool lines, struct llm_error *err) {
    const size_t mark = text->size >= 3 && memcmp(text->bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    json_t *list = lines ? json_array() : json_parse(text->bytes + mark, text->size - mark, err);
    if (list == NULL) {
        error_memory(err, "entries");
    } else if (lines && !append_lines(list, text->bytes + mark, err)) {
        json_decref(list);
        return NULL;
    }
    return list;
}

// Entries first to end of a list; NULL when out of memory.
static json_t *slice(const json_t *list, size_t first, size_t end) {
    json_t *part = json_array();
    for (size_t i = first; part != NULL && i < end; i++) {
        if (json_array_append(part, json_array_get(list, i)) == 0) continue;
        json_decref(part);
        return NULL;
    }
    return part;
}

bool respond_entries_read(struct respond_entries *entries, const char *path, const struct instructions *instructions,
                          size_t first, size_t n, struct llm_error *err) {
    *entries = (struct respond_entries){.items = instructions->items + first, .n = n, .file = path};
    struct strbuf text;
    strbuf_init(&text, file_max);
    json_t *list = NULL;
    if (read_text(path, &text, err)) list = parse_list(&text, strcmp(instructions->records.unit, "line") == 0, err);
    strbuf_release(&text);
    bool ok = list != NULL;
    if (ok && json_array_size(list) != instructions->n) {
        ok = error_set(err, LLM_ERROR_IO, "%s: changed while it was read", path);
    }
    if (ok) entries->list = slice(list, first, first + n);
    json_decref(list);
    return ok && (entries->list != NULL || error_memory(err, "entries"));
}

bool llm_instruct_respond_file(struct llm_engine *engine, const char *file, const char *out,
                               const struct llm_respond_options *options, struct llm_respond_result *result,
                               struct llm_error *err) {
    struct llm_respond_options defaults;
    struct llm_respond_result unwanted;
    llm_respond_options_init(&defaults);
    if (options == NULL) options = &defaults;
    if (result == NULL) result = &unwanted;
    *result = (struct llm_respond_result){0};
    if (path_exists(out) && !options->overwrite) {
        return error_set(err, LLM_ERROR_EXISTS,
                         "%s: is there already; name another file, or allow it to be overwritten", out);
    }
    struct instructions instructions = {0};
    struct template template = {0};
    bool ok = instructions_read(&instructions, file, false, err) &&
              respond_template(&template, engine, options->template_file, err);
    struct respond_entries entries = {0};
    ok = ok && respond_entries_read(&entries, file, &instructions, 0, instructions.n, err) &&
         respond_entries(engine, &template, &entries, out, options, result, err);
    json_decref(entries.list);
    template_release(&template);
    instructions_release(&instructions);
    return ok;
}
