// gguf_model.c: see gguf_model.h. Keys: docs/gguf.md of ggml; src/llama-arch.cpp, src/llama-vocab.cpp of llama.cpp.
//
// Divisions: single values; the config; the vocabulary.
#include "model/gguf_model.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "formats/gguf.h"

// ---- Single values --------------------------------------------------------------------------

static bool is_integer(const struct gguf_value *value) {
    return value->type != GGUF_F32 && value->type != GGUF_F64 && value->type != GGUF_BOOL &&
           value->type != GGUF_STRING && value->type != GGUF_ARRAY;
}

// A string for a sentence and for comparing: cut when long, cleaned.
static const char *string_of(const struct gguf_value *value, char out[STR_QUOTE_SIZE]) {
    const int size = value->size < STR_QUOTE_SIZE ? (int)value->size : STR_QUOTE_SIZE - 1;
    snprintf(out, STR_QUOTE_SIZE, "%.*s", size, (const char *)value->data);
    str_clean(out);
    return out;
}

// A string that must be the only one supported; a missing one is as good when it may be.
static bool check_string(const struct container *container, const char *key, const char *expected, bool required,
                         struct llm_error *err) {
    const struct gguf_value *value = gguf_find(container, key);
    char text[STR_QUOTE_SIZE];
    if (value == NULL && required) return error_set(err, LLM_ERROR_FORMAT, "metadata %s is missing", key);
    if (value == NULL) return true;
    if (value->type != GGUF_STRING) return error_set(err, LLM_ERROR_FORMAT, "metadata %s is not a string", key);
    if (strcmp(string_of(value, text), expected) == 0 && value->size == strlen(expected)) return true;
    return error_set(err, LLM_ERROR_UNSUPPORTED, "%s is \"%s\"; %s is supported", key, text, expected);
}

// A whole number in *number, as it is when there is none and none is required.
static bool get_int(const struct container *container, const char *key, bool required, int64_t *number,
                    struct llm_error *err) {
    const struct gguf_value *value = gguf_find(container, key);
    if (value == NULL) return !required || error_set(err, LLM_ERROR_FORMAT, "metadata %s is missing", key);
    if (!is_integer(value)) return error_set(err, LLM_ERROR_FORMAT, "metadata %s is not a whole number", key);
    *number = value->integer;
    return true;
}

// A size, which config_check() looks at further.
static bool get_size(const struct container *container, const char *key, int *size, struct llm_error *err) {
    int64_t number = 0;
    if (!get_int(container, key, true, &number, err)) return false;
    if (number < 1 || number > INT_MAX) {
        return error_set(err, LLM_ERROR_FORMAT, "metadata %s is %lld, a number from 1 to %d was expected", key,
                         (long long)number, INT_MAX);
    }
    *size = (int)number;
    return true;
}

// ---- The config -----------------------------------------------------------------------------

static bool get_epsilon(const struct container *container, float *epsilon, struct llm_error *err) {
    static const char key[] = "gpt2.attention.layer_norm_epsilon";
    const struct gguf_value *value = gguf_find(container, key);
    if (value == NULL) return error_set(err, LLM_ERROR_FORMAT, "metadata %s is missing", key);
    if (value->type != GGUF_F32 && value->type != GGUF_F64) {
        return error_set(err, LLM_ERROR_FORMAT, "metadata %s is not a real number", key);
    }
    *epsilon = (float)value->real;
    return true;
}

// An id that need not be there; one outside the vocabulary is none.
static bool get_id(const struct container *container, const char *key, int vocab_size, int32_t *id,
                   struct llm_error *err) {
    int64_t number = -1;
    if (!get_int(container, key, false, &number, err)) return false;
    *id = number >= 0 && number < vocab_size ? (int32_t)number : -1;
    return true;
}

// llama.cpp splits large models into files of a part of the tensors each.
static bool check_whole(const struct container *container, struct llm_error *err) {
    int64_t count = 1;
    if (!get_int(container, "split.count", false, &count, err)) return false;
    return count == 0 || count == 1 ||
           error_set(err, LLM_ERROR_UNSUPPORTED,
                     "is one of %lld files of a model; one file was expected (llama-gguf-split --merge joins them)",
                     (long long)count);
}

// Heads that share keys and values, which no GPT-2 has.
static bool check_heads(const struct container *container, const struct config *config, struct llm_error *err) {
    int64_t n_head_kv = config->n_head;
    if (!get_int(container, "gpt2.attention.head_count_kv", false, &n_head_kv, err)) return false;
    return n_head_kv == config->n_head ||
           error_set(err, LLM_ERROR_UNSUPPORTED,
                     "gpt2.attention.head_count_kv is %lld and head_count %d; equal ones are supported",
                     (long long)n_head_kv, config->n_head);
}

bool gguf_config(struct config *config, const struct container *container, struct llm_error *err) {
    const struct tensor_view *wte = container_find(container, "token_embd.weight");
    if (wte == NULL) wte = container_find(container, "output.weight");
    *config = (struct config){.activation = ACTIVATION_GELU_TANH, // of llama.cpp's graph of this architecture
                              .scale_attn_weights = true,
                              .qkv_bias = true,
                              .tied_head = true, // until an output.weight that differs is seen
                              .eos = -1,
                              .pad = -1};
    if (!check_string(container, "general.architecture", "gpt2", true, err) || !check_whole(container, err) ||
        !get_size(container, "gpt2.block_count", &config->n_layer, err) ||
        !get_size(container, "gpt2.context_length", &config->n_ctx, err) ||
        !get_size(container, "gpt2.embedding_length", &config->n_embd, err) ||
        !get_size(container, "gpt2.feed_forward_length", &config->n_inner, err) ||
        !get_size(container, "gpt2.attention.head_count", &config->n_head, err) ||
        !check_heads(container, config, err) || !get_epsilon(container, &config->layer_norm_epsilon, err)) {
        return false;
    }
    if (wte == NULL) return error_set(err, LLM_ERROR_FORMAT, "tensor token_embd.weight is missing");
    config->vocab_size = wte->shape[0] <= INT_MAX ? (int)wte->shape[0] : 0; // which the check refuses
    return get_id(container, "tokenizer.ggml.eos_token_id", config->vocab_size, &config->eos, err) &&
           config_check(config, err);
}

// ---- The vocabulary -------------------------------------------------------------------------

// An array of `element`; NULL, without an error, when there is none and none is required.
static const struct gguf_value *get_array(const struct container *container, const char *key, enum gguf_type element,
                                          bool required, struct llm_error *err) {
    const struct gguf_value *value = gguf_find(container, key);
    if (value == NULL) {
        if (required) error_set(err, LLM_ERROR_FORMAT, "metadata %s is missing", key);
        return NULL;
    }
    if (value->type == GGUF_ARRAY && value->element == element) return value;
    error_set(err, LLM_ERROR_FORMAT, "metadata %s is not an array of %s", key,
              element == GGUF_STRING ? "strings" : "numbers of type i32");
    return NULL;
}

static bool has_tokenizer(const struct container *container, struct llm_error *err) {
    static const char key[] = "tokenizer.ggml.model";
    const struct gguf_value *value = gguf_find(container, key);
    char text[STR_QUOTE_SIZE];
    if (value == NULL || (value->type == GGUF_STRING && strcmp(string_of(value, text), GGUF_NO_TOKENIZER) == 0)) {
        return error_set(err, LLM_ERROR_NOT_FOUND, "holds no vocabulary");
    }
    return check_string(container, key, GGUF_TOKENIZER, true, err) &&
           check_string(container, "tokenizer.ggml.pre", GGUF_SPLIT, false, err);
}

struct llm_tokenizer *gguf_tokenizer(const struct container *container, struct llm_error *err) {
    static const char types_key[] = "tokenizer.ggml.token_type";
    if (!has_tokenizer(container, err)) return NULL;
    struct llm_error reason = {0};
    const struct gguf_value *tokens = get_array(container, "tokenizer.ggml.tokens", GGUF_STRING, true, &reason);
    const struct gguf_value *merges = get_array(container, "tokenizer.ggml.merges", GGUF_STRING, true, &reason);
    const struct gguf_value *types = get_array(container, types_key, GGUF_I32, false, &reason);
    if (reason.code == LLM_OK && types != NULL && types->n != tokens->n) {
        error_set(&reason, LLM_ERROR_FORMAT, "metadata %s has %llu elements, but there are %llu tokens", types_key,
                  (unsigned long long)types->n, (unsigned long long)tokens->n);
    }
    if (reason.code != LLM_OK) {
        error_set(err, reason.code, "%s", reason.text);
        return NULL;
    }
    const struct vocabulary_lists lists = {
        .tokens = {tokens->data, tokens->size, tokens->n},
        .types = types != NULL ? types->data : NULL,
        .merges = {merges->data, merges->size, merges->n},
    };
    return tokenizer_parse_lists(&lists, err);
}

struct llm_tokenizer *gguf_open_tokenizer(const char *path, struct llm_error *err) {
    struct container *container = gguf_open(path, err);
    if (container == NULL) return NULL;
    struct llm_tokenizer *tokenizer = gguf_tokenizer(container, err);
    if (tokenizer == NULL) error_prefix(err, "%s", path);
    container_free(container);
    return tokenizer;
}
