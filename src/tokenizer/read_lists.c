// read_lists.c: vocabularies as GGUF has them: two lists of strings.
//
// The first are the tokens in the order of their ids, spelled as in vocab.json, but for those that stand beside the
// others (<|endoftext|>, padding), which are as they are; the second are the merges, "left right", by rank.
#include <string.h>

#include "base/cursor.h"
#include "base/utf8.h"
#include "tokenizer/core.h"
#include "tokenizer/draft.h"
#include "tokenizer/read.h"

enum {
    NORMAL_TOKEN = 1 // of the types that llama.cpp gives tokens
};

// The next string of a list.
static bool next_string(struct cursor *list, const char **string, size_t *size) {
    const uint64_t stated = cursor_u64(list, "size of a string");
    *string = (const char *)cursor_take(list, stated, "string");
    *size = (size_t)stated;
    return cursor_ok(list);
}

static bool add_normal(json_t *ids, const char *name, size_t size, uint64_t id, struct llm_error *err) {
    if (json_object_getn(ids, name, size) != NULL) {
        return error_set(err, LLM_ERROR_FORMAT, "it is there twice: token %lld is the same",
                         (long long)json_integer_value(json_object_getn(ids, name, size)));
    }
    return json_object_setn_new_nocheck(ids, name, size, json_integer((json_int_t)id)) == 0 ||
           error_memory(err, "vocabulary");
}

// Those of one kind: first the normal ones, which draft_init() wants, then the others.
static bool add_tokens(const struct vocabulary_lists *lists, json_t *ids, struct draft *draft, struct llm_error *err) {
    struct cursor names, types;
    cursor_init(&names, lists->tokens.bytes, lists->tokens.size, err);
    cursor_init(&types, lists->types, lists->types != NULL ? 4 * lists->tokens.n : 0, err);
    for (uint64_t id = 0; id < lists->tokens.n; id++) {
        const char *name;
        size_t size;
        if (!next_string(&names, &name, &size)) return false;
        const uint32_t type = lists->types != NULL ? cursor_u32(&types, "type of a token") : NORMAL_TOKEN;
        if ((type == NORMAL_TOKEN) != (draft == NULL)) continue;
        bool ok;
        if (memchr(name, '\0', size) != NULL || !utf8_valid(name, size)) {
            ok = error_set(err, LLM_ERROR_FORMAT, "it is not text in UTF-8");
        } else if (draft == NULL) {
            ok = add_normal(ids, name, size, id, err);
        } else {
            char *text = strndup(name, size);
            ok = text != NULL ? draft_add_special(draft, text, (int64_t)id, err) : error_memory(err, "vocabulary");
            free(text);
        }
        if (ok) continue;
        error_prefix(err, "token %llu, %s", (unsigned long long)id, show_name(name, size).text);
        return false;
    }
    return true;
}

static bool add_merges(const struct vocabulary_lists *lists, struct draft *draft, struct llm_error *err) {
    struct cursor merges;
    cursor_init(&merges, lists->merges.bytes, lists->merges.size, err);
    for (uint64_t rank = 0; rank < lists->merges.n; rank++) {
        const char *line;
        size_t size;
        if (!next_string(&merges, &line, &size)) return false;
        if (draft_add_merge_line(draft, line, size, err)) continue;
        error_prefix(err, "merge %llu", (unsigned long long)rank);
        return false;
    }
    return true;
}

struct llm_tokenizer *tokenizer_parse_lists(const struct vocabulary_lists *lists, struct llm_error *err) {
    const struct read_file tokens = {"tokens", (const char *)lists->tokens.bytes, lists->tokens.size};
    const struct read_file merges = {"merges", (const char *)lists->merges.bytes, lists->merges.size};
    if (known_gpt2_lists(&tokens, &merges)) return tokenizer_new_gpt2(err);
    if (lists->tokens.n > MAX_TOKENS) {
        error_set(err, LLM_ERROR_FORMAT, "%llu tokens, 1 to %d were expected", (unsigned long long)lists->tokens.n,
                  MAX_TOKENS);
        return NULL;
    }
    json_t *ids = json_object();
    if (ids == NULL) {
        error_memory(err, "vocabulary");
        return NULL;
    }
    struct draft draft;
    struct llm_tokenizer *tokenizer = NULL;
    if (!add_tokens(lists, ids, NULL, err)) {
        json_decref(ids);
        return NULL;
    }
    if (draft_init(&draft, ids, err) && add_tokens(lists, ids, &draft, err) && draft_finish_tokens(&draft, err) &&
        add_merges(lists, &draft, err)) {
        tokenizer = draft_build(&draft, err);
    }
    draft_release(&draft);
    return tokenizer;
}
