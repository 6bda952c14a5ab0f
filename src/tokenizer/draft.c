// draft.c: see draft.h.
#include "tokenizer/draft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/bytelevel.h"
#include "tokenizer/core.h"

struct shown show_name(const char *name, size_t size) {
    struct shown shown = {"\""};
    size_t n = 1;
    size_t at = 0;
    while (at < size && at < 40) {
        int32_t code = 0;
        const size_t length = utf8_decode(name + at, size - at, &code);
        const bool plain = code >= 0x20 && (code < 0x7f || code >= 0xa0); // no control characters
        for (size_t i = at; i < at + length; i++) {
            if (plain) {
                shown.text[n++] = name[i];
            } else {
                n += (size_t)snprintf(shown.text + n, sizeof "\\xNN", "\\x%02x", (uint8_t)name[i]);
            }
        }
        at += length;
    }
    snprintf(shown.text + n, sizeof shown.text - n, at < size ? "...\"" : "\"");
    return shown;
}

bool draft_init(struct draft *draft, json_t *ids, struct llm_error *err) {
    *draft = (struct draft){.ids = ids};
    strbuf_init(&draft->bytes, VOCABULARY_FILE_MAX);
    strbuf_init(&draft->joined, VOCABULARY_FILE_MAX);
    if (json_is_object(ids)) return true;
    return error_set(err, LLM_ERROR_FORMAT, "an object with the id of each token was expected");
}

void draft_release(struct draft *draft) {
    json_decref(draft->ids);
    free(draft->names);
    free(draft->starts);
    free(draft->merges);
    strbuf_release(&draft->bytes);
    strbuf_release(&draft->joined);
    *draft = (struct draft){0};
}

// ---- Tokens ---------------------------------------------------------------------------------

static bool same_id(const json_t *value, const char *text, int64_t id, struct llm_error *err) {
    if (json_is_integer(value) && json_integer_value(value) == id) return true;
    char *known = json_dumps(value, JSON_ENCODE_ANY);
    error_set(err, LLM_ERROR_FORMAT, "the added token %s has id %lld, but the vocabulary gives it %.40s",
              show_name(text, strlen(text)).text, (long long)id, known != NULL ? known : "another");
    free(known);
    return false;
}

bool draft_add_special(struct draft *draft, const char *text, int64_t id, struct llm_error *err) {
    struct strbuf buf;
    strbuf_init(&buf, VOCABULARY_FILE_MAX);
    bytelevel_spell(&buf, text, strlen(text));
    char *spelling = strbuf_take(&buf);
    if (spelling == NULL) return error_memory(err, "vocabulary");
    bool ok = true;
    if (strcmp(spelling, text) != 0) {
        // Vocabularies that list it have it under its text.
        const json_t *listed = json_object_get(draft->ids, text);
        ok = listed == NULL || same_id(listed, text, id, err);
        if (ok && listed != NULL) json_object_del(draft->ids, text);
    }
    const json_t *listed = ok ? json_object_get(draft->ids, spelling) : NULL;
    if (listed != NULL) {
        ok = same_id(listed, text, id, err);
    } else if (ok && json_object_set_new(draft->ids, spelling, json_integer(id)) != 0) {
        ok = error_memory(err, "vocabulary");
    }
    free(spelling);
    return ok;
}

// Puts the name under its id.
static bool place_name(struct draft *draft, const char *name, const json_t *id, struct llm_error *err) {
    if (!json_is_integer(id)) {
        return error_set(err, LLM_ERROR_FORMAT, "the id of token %s is not an integer",
                         show_name(name, strlen(name)).text);
    }
    const json_int_t number = json_integer_value(id);
    if (number < 0 || number >= draft->n_tokens) {
        return error_set(err, LLM_ERROR_FORMAT,
                         "token %s has id %lld, but %d tokens must have the ids 0 to %d, without gaps",
                         show_name(name, strlen(name)).text, (long long)number, draft->n_tokens, draft->n_tokens - 1);
    }
    const char **slot = &draft->names[number];
    if (*slot != NULL) {
        return error_set(err, LLM_ERROR_FORMAT, "tokens %s and %s have the same id, %lld",
                         show_name(*slot, strlen(*slot)).text, show_name(name, strlen(name)).text, (long long)number);
    }
    *slot = name;
    return true;
}

// Appends the bytes that `name` stands for.
static bool append_bytes(struct draft *draft, const char *name, struct llm_error *err) {
    const size_t size = strlen(name);
    const size_t before = draft->bytes.size;
    strbuf_append(&draft->bytes, name, size); // makes room: the bytes are never more
    if (!strbuf_ok(&draft->bytes)) return error_memory(err, "vocabulary");
    size_t n_bytes = 0;
    if (!bytelevel_read(name, size, draft->bytes.bytes + before, &n_bytes)) {
        return error_set(err, LLM_ERROR_FORMAT, "token %s has a character that byte-level BPE does not use",
                         show_name(name, size).text);
    }
    draft->bytes.size = before + n_bytes;
    return true;
}

// Every text must have ids, so each byte must be a token.
static bool check_byte_tokens(const struct draft *draft, struct llm_error *err) {
    for (int byte = 0; byte < 256; byte++) {
        char name[4];
        const size_t size = utf8_encode(bytelevel_char((uint8_t)byte), name);
        if (json_object_getn(draft->ids, name, size) == NULL) {
            return error_set(err, LLM_ERROR_FORMAT, "no token for byte 0x%02x (%s): byte-level BPE needs all 256", byte,
                             show_name(name, size).text);
        }
    }
    return true;
}

bool draft_finish_tokens(struct draft *draft, struct llm_error *err) {
    const size_t n_tokens = json_object_size(draft->ids);
    if (n_tokens < 1 || n_tokens > MAX_TOKENS) {
        return error_set(err, LLM_ERROR_FORMAT, "%zu tokens, 1 to %d were expected", n_tokens, MAX_TOKENS);
    }
    draft->n_tokens = (int)n_tokens;
    draft->names = calloc(n_tokens, sizeof *draft->names);
    draft->starts = calloc(n_tokens + 1, sizeof *draft->starts);
    if (draft->names == NULL || draft->starts == NULL) return error_memory(err, "vocabulary");

    const char *name = NULL;
    json_t *id = NULL;
    json_object_foreach(draft->ids, name, id) {
        if (!place_name(draft, name, id, err)) return false;
    }
    for (size_t i = 0; i < n_tokens; i++) {
        if (draft->names[i] == NULL) return error_set(err, LLM_ERROR_FORMAT, "no token has id %zu", i);
        if (!append_bytes(draft, draft->names[i], err)) return false;
        draft->starts[i + 1] = (uint32_t)draft->bytes.size;
    }
    return check_byte_tokens(draft, err);
}

// ---- Merges ---------------------------------------------------------------------------------

static int32_t find_token(const struct draft *draft, const char *name, size_t size) {
    const json_t *id = json_object_getn(draft->ids, name, size);
    return id != NULL ? (int32_t)json_integer_value(id) : -1;
}

static bool merges_reserve(struct draft *draft, struct llm_error *err) {
    if (draft->n_merges < draft->merges_capacity) return true;
    if (draft->n_merges == MAX_MERGES) return error_set(err, LLM_ERROR_FORMAT, "more than %d merges", MAX_MERGES);
    const int capacity = draft->merges_capacity > 0 ? 2 * draft->merges_capacity : 1024;
    int32_t(*merges)[3] = realloc(draft->merges, (size_t)capacity * sizeof *merges);
    if (merges == NULL) return error_memory(err, "merges");
    draft->merges = merges;
    draft->merges_capacity = capacity;
    return true;
}

bool draft_add_merge(struct draft *draft, const char *left, size_t left_size, const char *right, size_t right_size,
                     struct llm_error *err) {
    if (!merges_reserve(draft, err)) return false;
    strbuf_clear(&draft->joined);
    strbuf_append(&draft->joined, left, left_size);
    strbuf_append(&draft->joined, right, right_size);
    if (!strbuf_ok(&draft->joined)) return error_memory(err, "merges");
    int32_t *merge = draft->merges[draft->n_merges];
    merge[0] = find_token(draft, left, left_size);
    merge[1] = find_token(draft, right, right_size);
    merge[2] = find_token(draft, draft->joined.bytes, draft->joined.size);
    for (int i = 0; i < 3; i++) {
        if (merge[i] >= 0) continue;
        const struct shown missing = i == 0   ? show_name(left, left_size)
                                     : i == 1 ? show_name(right, right_size)
                                              : show_name(draft->joined.bytes, draft->joined.size);
        return error_set(err, LLM_ERROR_FORMAT, "the merge %s %s, which is not in the vocabulary",
                         i < 2 ? "names" : "gives", missing.text);
    }
    draft->n_merges++;
    return true;
}

bool draft_add_merge_line(struct draft *draft, const char *line, size_t size, struct llm_error *err) {
    const char *space = memchr(line, ' ', size);
    const size_t left_size = space != NULL ? (size_t)(space - line) : 0;
    const size_t right_size = space != NULL ? size - left_size - 1 : 0;
    if (left_size == 0 || right_size == 0 || memchr(space + 1, ' ', right_size) != NULL) {
        return error_set(err, LLM_ERROR_FORMAT, "two tokens with one space between them were expected, not %s",
                         show_name(line, size).text);
    }
    return draft_add_merge(draft, line, left_size, space + 1, right_size, err);
}

struct llm_tokenizer *draft_build(const struct draft *draft, struct llm_error *err) {
    const struct vocabulary vocabulary = {
        .n_tokens = draft->n_tokens,
        .bytes = draft->bytes.bytes,
        .starts = draft->starts,
        .n_merges = draft->n_merges,
        .merges = (const int32_t(*)[3])draft->merges,
        .eot = find_token(draft, EOT_TEXT, strlen(EOT_TEXT)),
    };
    return tokenizer_new(&vocabulary, err);
}
