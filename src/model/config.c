// config.c: see config.h.
//
// Defaults are those of transformers' GPT2Config (configuration_gpt2.py), so a config.json that leaves a
// key out means here what it means there. Keys that change nothing about the numbers (dropout, cache,
// summary_*, task settings) are ignored; keys that would change them and that we do not do are refused.
#include "model/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/labels.h"

// Limits far above any GPT-2 and low enough that no count of bytes made of these overflows 63 bits (the
// largest is info's estimate for training, n_layer * n_ctx * n_inner times a small number), and that
// 4 * n_embd fits an int. What a file really may claim is bounded by its tensors.
enum {
    MAX_LAYERS = 1 << 14,
    MAX_HEADS = 1 << 14,
    MAX_EMBD = 1 << 18,
    MAX_INNER = 1 << 20,
    MAX_CTX = 1 << 20,
    MAX_VOCAB = 1 << 24
};

// transformers' names (activations.py, ACT2CLS) for what we compute. The first row of each kind is the
// name that config_json() writes.
static const struct {
    const char *name;
    enum activation activation;
} activations[] = {
    {"gelu_new", ACTIVATION_GELU_TANH},      {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH},
    {"gelu_fast", ACTIVATION_GELU_TANH},     {"gelu_python_tanh", ACTIVATION_GELU_TANH},
    {"gelu_accurate", ACTIVATION_GELU_TANH}, {"gelu", ACTIVATION_GELU_ERF},
    {"gelu_python", ACTIVATION_GELU_ERF},    {"relu", ACTIVATION_RELU},
};
enum {
    N_ACTIVATIONS = sizeof activations / sizeof activations[0]
};

const char *activation_name(enum activation activation) {
    for (int i = 0; i < N_ACTIVATIONS; i++) {
        if (activations[i].activation == activation) return activations[i].name;
    }
    return "none";
}

static bool activation_from_name(const char *name, enum activation *activation, struct llm_error *err) {
    for (int i = 0; i < N_ACTIVATIONS; i++) {
        if (strcmp(activations[i].name, name) == 0) {
            *activation = activations[i].activation;
            return true;
        }
    }
    return error_set(err, LLM_ERROR_UNSUPPORTED,
                     "activation_function is \"%.60s\"; gelu_new, gelu, relu and their aliases are supported", name);
}

// A dimension, as one of two names (transformers' attribute_map lets either stand in config.json).
static bool get_size(const json_t *object, const char *key, const char *alias, int max, int *value,
                     struct llm_error *err) {
    int64_t number = *value;
    if (alias != NULL && !json_get_int(object, alias, 1, max, &number, err)) return false;
    if (!json_get_int(object, key, 1, max, &number, err)) return false;
    *value = (int)number;
    return true;
}

static json_t *parse_object(const char *bytes, size_t size, struct llm_error *err) {
    json_t *object = json_parse(bytes, size, err);
    if (object != NULL && !json_is_object(object)) {
        error_set(err, LLM_ERROR_FORMAT, "is not a JSON object, which was expected");
        json_decref(object);
        object = NULL;
    }
    return object;
}

// A key that must be absent, null, false or empty, for it asks for a different network.
static bool refuse_feature(const json_t *object, const char *key, struct llm_error *err) {
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value) || json_is_false(value)) return true;
    if ((json_is_object(value) && json_object_size(value) == 0) ||
        (json_is_array(value) && json_array_size(value) == 0)) {
        return true;
    }
    return error_set(err, LLM_ERROR_UNSUPPORTED, "asks for %s, which is not supported", key);
}

// "architectures" names the class that was saved; null and [] say nothing.
static bool check_architectures(const json_t *object, bool *is_classifier, struct llm_error *err) {
    const json_t *list = json_object_get(object, "architectures");
    if (list == NULL || json_is_null(list)) return true;
    if (!json_is_array(list)) return error_set(err, LLM_ERROR_FORMAT, "architectures is not a list of strings");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name == NULL) return error_set(err, LLM_ERROR_FORMAT, "architectures is not a list of strings");
        if (strcmp(name, "GPT2ForSequenceClassification") == 0) {
            *is_classifier = true;
        } else if (strcmp(name, "GPT2LMHeadModel") != 0 && strcmp(name, "GPT2Model") != 0) {
            return error_set(err, LLM_ERROR_UNSUPPORTED,
                             "the model is a %.60s; GPT2LMHeadModel, which generates text, and "
                             "GPT2ForSequenceClassification are supported",
                             name);
        }
    }
    return true;
}

static bool check_features(const json_t *object, bool *is_classifier, struct llm_error *err) {
    const char *model_type = "gpt2";
    if (!json_get_string(object, "model_type", &model_type, err)) return false;
    if (strcmp(model_type, "gpt2") != 0) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "model_type is \"%.60s\"; gpt2 is supported", model_type);
    }
    return check_architectures(object, is_classifier, err) && refuse_feature(object, "add_cross_attention", err) &&
           refuse_feature(object, "is_encoder_decoder", err) && refuse_feature(object, "quantization_config", err) &&
           refuse_feature(object, "pruned_heads", err);
}

// An id, a list of ids (the first one counts), null or nothing (`otherwise`). transformers keeps its default
// eos_token_id of 50256 in configs of small vocabularies, so an id outside the vocabulary means there is none.
static bool get_id(const json_t *object, const char *key, int64_t otherwise, int vocab_size, int32_t *result,
                   struct llm_error *err) {
    const json_t *value = json_object_get(object, key);
    if (json_is_array(value)) value = json_array_size(value) > 0 ? json_array_get(value, 0) : json_null();
    int64_t id = otherwise;
    if (json_is_null(value)) {
        id = -1;
    } else if (json_is_integer(value)) {
        id = json_integer_value(value);
    } else if (value != NULL) {
        return error_set(err, LLM_ERROR_FORMAT, "%s is neither an integer nor a list of integers", key);
    }
    *result = id >= 0 && id < vocab_size ? (int32_t)id : -1;
    return true;
}

// The length that a classifier's texts are padded to, if they are.
static bool get_padded(const json_t *object, struct config *config, struct llm_error *err) {
    int64_t length = 0;
    if (!json_get_int(object, "padded_length", 0, config->n_ctx, &length, err)) return false;
    config->n_padded = (int)length;
    return length == 0 || config->eos >= 0 ||
           error_set(err, LLM_ERROR_FORMAT, "padded_length is %d, but there is no eos_token_id to pad with",
                     config->n_padded);
}

static bool config_from_object(struct config *config, const json_t *object, struct llm_error *err) {
    *config = (struct config){.n_layer = 12,
                              .n_head = 12,
                              .n_embd = 768,
                              .n_ctx = 1024,
                              .vocab_size = 50257,
                              .scale_attn_weights = true,
                              .qkv_bias = true,
                              .tied_head = true,
                              .eos = -1,
                              .pad = -1};
    bool is_classifier = false;
    const char *activation = "gelu_new";
    double epsilon = 1e-5;
    if (!check_features(object, &is_classifier, err)) return false;
    // n_ctx is the older name of n_positions, and of no effect where both are given.
    if (!get_size(object, "n_layer", "num_hidden_layers", MAX_LAYERS, &config->n_layer, err) ||
        !get_size(object, "n_head", "num_attention_heads", MAX_HEADS, &config->n_head, err) ||
        !get_size(object, "n_embd", "hidden_size", MAX_EMBD, &config->n_embd, err) ||
        !get_size(object, "n_ctx", "max_position_embeddings", MAX_CTX, &config->n_ctx, err) ||
        !get_size(object, "n_positions", NULL, MAX_CTX, &config->n_ctx, err) ||
        !get_size(object, "vocab_size", NULL, MAX_VOCAB, &config->vocab_size, err)) {
        return false;
    }
    config->n_inner = 4 * config->n_embd;
    if (!get_size(object, "n_inner", NULL, MAX_INNER, &config->n_inner, err) ||
        !json_get_string(object, "activation_function", &activation, err) ||
        !activation_from_name(activation, &config->activation, err) ||
        !json_get_double(object, "layer_norm_epsilon", &epsilon, err) ||
        !json_get_bool(object, "scale_attn_weights", &config->scale_attn_weights, err) ||
        !json_get_bool(object, "scale_attn_by_inverse_layer_idx", &config->scale_attn_by_layer, err) ||
        !json_get_bool(object, "qkv_bias", &config->qkv_bias, err) ||
        !json_get_bool(object, "tie_word_embeddings", &config->tied_head, err) ||
        !get_id(object, "eos_token_id", 50256, config->vocab_size, &config->eos, err) ||
        !get_id(object, "pad_token_id", -1, config->vocab_size, &config->pad, err) ||
        (is_classifier && !labels_count(object, &config->n_labels, err)) ||
        (is_classifier && !get_padded(object, config, err))) {
        return false;
    }
    config->layer_norm_epsilon = (float)epsilon;
    return config_check(config, err);
}

bool config_parse(struct config *config, const char *bytes, size_t size, struct llm_error *err) {
    json_t *object = parse_object(bytes, size, err);
    if (object == NULL) return false;
    const bool ok = config_from_object(config, object, err);
    json_decref(object);
    return ok;
}

// A dimension that hparams.json must state.
static bool require_size(const json_t *object, const char *key, int max, int *value, struct llm_error *err) {
    const json_t *found = json_object_get(object, key);
    if (found == NULL || json_is_null(found)) return error_set(err, LLM_ERROR_FORMAT, "%s is missing", key);
    return get_size(object, key, NULL, max, value, err);
}

// What OpenAI's code fixed in itself (src/model.py of openai/gpt-2): tanh GELU, epsilon 1e-5, scores
// divided by sqrt(head size), head tied, feed-forward four times as wide.
bool config_parse_hparams(struct config *config, const char *bytes, size_t size, struct llm_error *err) {
    json_t *object = parse_object(bytes, size, err);
    if (object == NULL) return false;
    *config = (struct config){.activation = ACTIVATION_GELU_TANH,
                              .layer_norm_epsilon = 1e-5F,
                              .scale_attn_weights = true,
                              .qkv_bias = true,
                              .tied_head = true};
    const bool ok = require_size(object, "n_vocab", MAX_VOCAB, &config->vocab_size, err) &&
                    require_size(object, "n_ctx", MAX_CTX, &config->n_ctx, err) &&
                    require_size(object, "n_embd", MAX_EMBD, &config->n_embd, err) &&
                    require_size(object, "n_head", MAX_HEADS, &config->n_head, err) &&
                    require_size(object, "n_layer", MAX_LAYERS, &config->n_layer, err);
    json_decref(object);
    if (!ok) return false;
    config->n_inner = 4 * config->n_embd;
    config->eos = config->vocab_size > 50256 ? 50256 : -1;
    config->pad = -1;
    return config_check(config, err);
}

static bool check_size(const char *name, int value, int max, struct llm_error *err) {
    if (value >= 1 && value <= max) return true;
    return error_set(err, LLM_ERROR_FORMAT, "%s is %d, a number from 1 to %d was expected", name, value, max);
}

bool config_check(const struct config *config, struct llm_error *err) {
    if (!check_size("n_layer", config->n_layer, MAX_LAYERS, err) ||
        !check_size("n_head", config->n_head, MAX_HEADS, err) || !check_size("n_embd", config->n_embd, MAX_EMBD, err) ||
        !check_size("n_inner", config->n_inner, MAX_INNER, err) ||
        !check_size("n_positions", config->n_ctx, MAX_CTX, err) ||
        !check_size("vocab_size", config->vocab_size, MAX_VOCAB, err)) {
        return false;
    }
    if (config->n_labels != 0 && !check_size("number of labels", config->n_labels, MAX_LABELS, err)) return false;
    if (config->n_embd % config->n_head != 0) {
        return error_set(err, LLM_ERROR_FORMAT, "n_head is %d, which does not divide n_embd, %d", config->n_head,
                         config->n_embd);
    }
    // Written so that NaN fails too.
    if (!(config->layer_norm_epsilon > 0.0F && config->layer_norm_epsilon < 1.0F)) {
        return error_set(err, LLM_ERROR_FORMAT, "layer_norm_epsilon is %g, a number between 0 and 1 was expected",
                         (double)config->layer_norm_epsilon);
    }
    return true;
}

double config_epsilon(const struct config *config) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)config->layer_norm_epsilon);
        if (strtof(text, NULL) == config->layer_norm_epsilon) break;
    }
    return strtod(text, NULL);
}

char *config_json(const struct config *config, enum dtype dtype) {
    static const char *const torch_names[DTYPE_OTHER] = {"float32", "float16", "bfloat16"};
    json_t *inner = config->n_inner == 4 * config->n_embd ? json_null() : json_integer(config->n_inner);
    json_t *eos = config->eos < 0 ? json_null() : json_integer(config->eos);
    // bos_token_id: GPT-2 begins a text with the id that ends one. n_ctx is for readers of the older name.
    json_t *object =
        json_pack("{s:s, s:[s], s:O, s:o, s:f, s:s, s:i, s:i, s:i, s:o, s:i, s:i, s:b, s:b, s:b, s:s, s:i}",
                  "activation_function", activation_name(config->activation), "architectures",
                  config->n_labels > 0 ? "GPT2ForSequenceClassification" : "GPT2LMHeadModel", "bos_token_id", eos,
                  "eos_token_id", eos, "layer_norm_epsilon", config_epsilon(config), "model_type", "gpt2", "n_ctx",
                  config->n_ctx, "n_embd", config->n_embd, "n_head", config->n_head, "n_inner", inner, "n_layer",
                  config->n_layer, "n_positions", config->n_ctx, "scale_attn_by_inverse_layer_idx",
                  config->scale_attn_by_layer, "scale_attn_weights", config->scale_attn_weights, "tie_word_embeddings",
                  config->tied_head, "torch_dtype", torch_names[dtype], "vocab_size", config->vocab_size);
    if (object == NULL) return NULL;
    // transformers knows no such key and leaves it alone; the tensor is there for it, and zero.
    if ((!config->qkv_bias && json_object_set_new(object, "qkv_bias", json_false()) != 0) ||
        (config->n_labels > 0 && !labels_write(object, config)) ||
        (config->n_padded > 0 && json_object_set_new(object, "padded_length", json_integer(config->n_padded)) != 0)) {
        json_decref(object);
        return NULL;
    }
    char *text = json_dump(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(object);
    char *line = NULL;
    if (text == NULL || asprintf(&line, "%s\n", text) < 0) line = NULL;
    free(text);
    return line;
}

// ---- GPT-2's own ----------------------------------------------------------------------------

// Radford et al. 2019, table 2, with the sizes as OpenAI corrected them.
static const struct {
    const char *name;
    int n_layer, n_head, n_embd;
} sizes[] = {{"124M", 12, 12, 768}, {"355M", 24, 16, 1024}, {"774M", 36, 20, 1280}, {"1558M", 48, 25, 1600}};

bool config_gpt2(struct config *config, const char *size, struct llm_error *err) {
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (strcmp(sizes[i].name, size) != 0) continue;
        *config = (struct config){
            .n_layer = sizes[i].n_layer,
            .n_head = sizes[i].n_head,
            .n_embd = sizes[i].n_embd,
            .n_inner = 4 * sizes[i].n_embd,
            .n_ctx = 1024,
            .vocab_size = 50257,
            .activation = ACTIVATION_GELU_TANH,
            .layer_norm_epsilon = 1e-5F,
            .scale_attn_weights = true,
            .qkv_bias = true,
            .tied_head = true,
            .eos = 50256,
        };
        return true;
    }
    return error_set(err, LLM_ERROR_ARGUMENT,
                     "there is no GPT-2 of size \"%.40s\"; 124M, 355M, 774M or 1558M was expected", size);
}
