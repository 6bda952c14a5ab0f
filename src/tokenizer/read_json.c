// read_json.c: Hugging Face's tokenizer.json.
//
// One object describes a whole pipeline: normalizer, pre_tokenizer, model, post_processor, decoder, added tokens. Only
// GPT-2's pipeline is done here, so every member is compared with it, and whatever would change a single id is refused
// by name. Not looked at: "version", and "truncation" and "padding", which tell how to batch texts, not how to read
// them. Of the added tokens only <|endoftext|> can come from text (llm_tokenizer_encode); the others have an id and
// can be decoded.
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tokenizer/core.h"
#include "tokenizer/draft.h"

// How a member must look for GPT-2's pipeline. null always means that nothing is asked for.
enum member_rule {
    MEMBER_FALSE,
    MEMBER_TRUE,
    MEMBER_ZERO,
    MEMBER_EMPTY, // "" or {}
    MEMBER_ANY,   // has no influence on ids, or is read elsewhere
};

struct member {
    const char *key;
    enum member_rule rule;
};

static const struct member top_members[] = {
    {"version", MEMBER_ANY},        {"truncation", MEMBER_ANY},
    {"padding", MEMBER_ANY},        {"added_tokens", MEMBER_ANY},
    {"normalizer", MEMBER_FALSE},   {"pre_tokenizer", MEMBER_ANY},
    {"post_processor", MEMBER_ANY}, {"decoder", MEMBER_ANY},
    {"model", MEMBER_ANY},          {NULL, MEMBER_ANY},
};

static const struct member byte_level_members[] = {
    {"type", MEMBER_ANY}, {"add_prefix_space", MEMBER_FALSE}, {"trim_offsets", MEMBER_ANY}, {"use_regex", MEMBER_TRUE},
    {NULL, MEMBER_ANY},
};

// What follows encoding or comes with decoding: byte-level flags do nothing there.
static const struct member harmless_members[] = {
    {"type", MEMBER_ANY}, {"add_prefix_space", MEMBER_ANY}, {"trim_offsets", MEMBER_ANY}, {"use_regex", MEMBER_ANY},
    {NULL, MEMBER_ANY},
};

static const struct member template_members[] = {
    {"type", MEMBER_ANY}, {"single", MEMBER_ANY}, {"pair", MEMBER_ANY}, {"special_tokens", MEMBER_EMPTY},
    {NULL, MEMBER_ANY}, // with none there is nothing that a template could add
};

static const struct member model_members[] = {
    {"type", MEMBER_ANY},
    {"dropout", MEMBER_ZERO},
    {"unk_token", MEMBER_ANY}, // never needed: every byte has a token
    {"fuse_unk", MEMBER_ANY},
    {"continuing_subword_prefix", MEMBER_EMPTY},
    {"end_of_word_suffix", MEMBER_EMPTY},
    {"byte_fallback", MEMBER_FALSE},
    {"ignore_merges", MEMBER_FALSE},
    {"vocab", MEMBER_ANY},
    {"merges", MEMBER_ANY},
    {NULL, MEMBER_ANY},
};

static const struct member added_token_members[] = {
    {"id", MEMBER_ANY},       {"content", MEMBER_ANY},    {"single_word", MEMBER_FALSE}, {"lstrip", MEMBER_FALSE},
    {"rstrip", MEMBER_FALSE}, {"normalized", MEMBER_ANY}, {"special", MEMBER_ANY},       {NULL, MEMBER_ANY},
};

static bool member_fits(const json_t *value, enum member_rule rule) {
    if (json_is_null(value)) return true;
    switch (rule) {
    case MEMBER_FALSE:
        return json_is_false(value);
    case MEMBER_TRUE:
        return json_is_true(value);
    case MEMBER_ZERO:
        return json_is_number(value) && json_number_value(value) == 0;
    case MEMBER_EMPTY:
        return json_is_string(value) ? json_string_length(value) == 0
                                     : json_is_object(value) && json_object_size(value) == 0;
    case MEMBER_ANY:
        break;
    }
    return true;
}

// "<key> is <value>, which my-llm does not do". Always returns false.
static bool not_done(const char *key, const json_t *value, struct llm_error *err) {
    const size_t flags = JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6);
    char *text = value != NULL ? json_dumps(value, flags) : NULL;
    error_set(err, LLM_ERROR_UNSUPPORTED, "%s is %.80s%s, which my-llm does not do", key,
              text != NULL ? text : "missing", text != NULL && strlen(text) > 80 ? "..." : "");
    free(text);
    return false;
}

// Compares every member of an object with the list; one that is not listed must be null or false.
static bool check_members(json_t *object, const struct member *members, struct llm_error *err) {
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(object, key, value) {
        const struct member *member = members;
        while (member->key != NULL && strcmp(member->key, key) != 0) member++;
        if (!member_fits(value, member->key != NULL ? member->rule : MEMBER_FALSE)) {
            return not_done(member->key != NULL ? key : show_name(key, strlen(key)).text, value, err);
        }
    }
    return true;
}

// Checks the part `key` of the pipeline: an object of one of two types (the second may be NULL) with its members.
static bool check_part(const json_t *top, const char *key, const char *type, const struct member *members,
                       const char *other_type, const struct member *other_members, struct llm_error *err) {
    json_t *part = json_object_get(top, key);
    const char *found = json_string_value(json_object_get(part, "type"));
    const bool is_other = found != NULL && other_type != NULL && strcmp(found, other_type) == 0;
    if (found == NULL || (!is_other && strcmp(found, type) != 0)) return not_done(key, part, err);
    if (check_members(part, is_other ? other_members : members, err)) return true;
    error_prefix(err, "%s", key);
    return false;
}

static bool check_pipeline(json_t *top, struct llm_error *err) {
    if (!json_is_object(top)) return error_set(err, LLM_ERROR_FORMAT, "an object was expected");
    if (!check_members(top, top_members, err)) return false;
    if (!check_part(top, "pre_tokenizer", "ByteLevel", byte_level_members, NULL, NULL, err)) return false;
    // Hugging Face itself has no default for this one.
    json_t *prefix = json_object_get(json_object_get(top, "pre_tokenizer"), "add_prefix_space");
    if (!json_is_false(prefix)) return not_done("pre_tokenizer: add_prefix_space", prefix, err);
    json_t *after = json_object_get(top, "post_processor");
    if (after != NULL && !json_is_null(after) &&
        !check_part(top, "post_processor", "ByteLevel", harmless_members, "TemplateProcessing", template_members,
                    err)) {
        return false;
    }
    json_t *decoder = json_object_get(top, "decoder");
    return decoder == NULL || json_is_null(decoder) ||
           check_part(top, "decoder", "ByteLevel", harmless_members, NULL, NULL, err);
}

// The model: checked, and its vocabulary taken over by the draft.
static bool read_model(json_t *top, struct draft *draft, struct llm_error *err) {
    json_t *model = json_object_get(top, "model");
    if (!json_is_object(model)) return error_set(err, LLM_ERROR_FORMAT, "an object was expected");
    json_t *type = json_object_get(model, "type"); // older files have none
    if (type != NULL && (!json_is_string(type) || strcmp(json_string_value(type), "BPE") != 0)) {
        return not_done("type", type, err);
    }
    if (!check_members(model, model_members, err)) return false;
    json_t *vocab = json_object_get(model, "vocab");
    if (vocab == NULL)
        return error_set(err, LLM_ERROR_FORMAT, "vocab: an object with the id of each token was expected");
    if (draft_init(draft, json_incref(vocab), err)) return true;
    error_prefix(err, "vocab");
    return false;
}

static bool read_added_token(json_t *token, struct draft *draft, struct llm_error *err) {
    const char *content = NULL;
    int64_t id = -1;
    if (!json_get_string(token, "content", &content, err) || !json_get_int(token, "id", 0, MAX_TOKENS, &id, err)) {
        return false;
    }
    if (content == NULL || content[0] == '\0' || id < 0) {
        return error_set(err, LLM_ERROR_FORMAT, "an object with id and content was expected");
    }
    if (strcmp(content, EOT_TEXT) == 0 && !check_members(token, added_token_members, err)) return false;
    return draft_add_special(draft, content, id, err);
}

static bool read_added_tokens(json_t *top, struct draft *draft, struct llm_error *err) {
    json_t *tokens = json_object_get(top, "added_tokens");
    if (tokens == NULL || json_is_null(tokens)) return true;
    if (!json_is_array(tokens)) return error_set(err, LLM_ERROR_FORMAT, "added_tokens: an array was expected");
    size_t i = 0;
    json_t *token = NULL;
    json_array_foreach(tokens, i, token) {
        if (read_added_token(token, draft, err)) continue;
        error_prefix(err, "added_tokens: entry %zu", i + 1);
        return false;
    }
    return true;
}

// A merge is "left right", or, since spellings may then hold spaces, ["left", "right"].
static bool read_merge(json_t *merge, struct draft *draft, struct llm_error *err) {
    if (json_is_string(merge)) {
        return draft_add_merge_line(draft, json_string_value(merge), json_string_length(merge), err);
    }
    const json_t *left = json_array_get(merge, 0);
    const json_t *right = json_array_get(merge, 1);
    if (json_array_size(merge) != 2 || json_string_length(left) == 0 || json_string_length(right) == 0) {
        return error_set(err, LLM_ERROR_FORMAT, "\"left right\" or [\"left\", \"right\"] was expected");
    }
    return draft_add_merge(draft, json_string_value(left), json_string_length(left), json_string_value(right),
                           json_string_length(right), err);
}

static bool read_merges(json_t *top, struct draft *draft, struct llm_error *err) {
    json_t *merges = json_object_get(json_object_get(top, "model"), "merges");
    if (!json_is_array(merges)) return error_set(err, LLM_ERROR_FORMAT, "model: merges: an array was expected");
    size_t i = 0;
    json_t *merge = NULL;
    json_array_foreach(merges, i, merge) {
        if (read_merge(merge, draft, err)) continue;
        error_prefix(err, "merge %zu", i + 1);
        return false;
    }
    return true;
}

static struct llm_tokenizer *read_all(json_t *top, struct draft *draft, struct llm_error *err) {
    if (!check_pipeline(top, err)) return NULL;
    if (!read_model(top, draft, err)) {
        error_prefix(err, "model");
        return NULL;
    }
    if (!read_added_tokens(top, draft, err)) return NULL;
    if (!draft_finish_tokens(draft, err)) {
        error_prefix(err, "vocab");
        return NULL;
    }
    return read_merges(top, draft, err) ? draft_build(draft, err) : NULL;
}

struct llm_tokenizer *tokenizer_parse_json(const char *bytes, size_t size, struct llm_error *err) {
    json_t *top = json_parse(bytes, size, err);
    if (top == NULL) return NULL;
    struct draft draft = {0};
    struct llm_tokenizer *tokenizer = read_all(top, &draft, err);
    draft_release(&draft);
    json_decref(top);
    return tokenizer;
}
