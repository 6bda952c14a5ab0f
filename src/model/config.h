// config.h: the shape of a GPT-2 and its few choices.
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include "base/error.h"
#include "ops/ops.h"

struct config {
    int n_layer, n_head, n_embd;
    int n_inner; // width of the feed-forward; 4 * n_embd unless the file says otherwise
    int n_ctx;
    int vocab_size;
    enum activation activation;
    float layer_norm_epsilon;
    bool scale_attn_weights;   // scores divided by sqrt(n_embd / n_head)
    bool scale_attn_by_layer;  // and by layer number + 1 (scale_attn_by_inverse_layer_idx)
    bool qkv_bias;             // false: attn.c_attn has no bias, as in the book's model
    bool tied_head;            // the output head is wte
    int32_t eos;               // end-of-text id, or -1
    int32_t pad;               // id that a classifier's texts are padded with, or -1
    int n_labels;              // 0: it writes text; else a classifier
    int n_padded;              // a classifier's texts are padded with eos to so many tokens, and read at the last
                               // position; 0: each is read at its own last token
    bool score_bias;           // the classifier's head has a bias, which Hugging Face's has not
    const char *const *labels; // [n_labels] their names, borrowed; NULL: LABEL_0, LABEL_1, ...
};

// From Hugging Face's config.json, or OpenAI's hparams.json. Unknown keys are ignored; what asks for
// something we do not do (another model_type, add_cross_attention, an unknown activation, ...) is
// refused by name. Checks config_check().
bool config_parse(struct config *config, const char *bytes, size_t size, struct llm_error *err);
bool config_parse_hparams(struct config *config, const char *bytes, size_t size, struct llm_error *err);

// The GPT-2 of this size: "124M", "355M", "774M", "1558M".
bool config_gpt2(struct config *config, const char *size, struct llm_error *err);

// Every number within what the program can hold (n_head divides n_embd, no overflow in any product).
bool config_check(const struct config *config, struct llm_error *err);

// transformers' name of an activation: "gelu_new", "gelu", "relu".
const char *activation_name(enum activation activation);

// layer_norm_epsilon as a person writes it: the shortest decimal that is this float, 1e-05.
double config_epsilon(const struct config *config);

// config.json as transformers writes it for GPT2LMHeadModel, allocated; NULL when out of memory. A model without qkv
// bias gets one key more, "qkv_bias": false, that only this program looks at.
// A classifier's is that of GPT2ForSequenceClassification, with "padded_length" if texts are padded: also ours alone.
char *config_json(const struct config *config, enum dtype dtype);

#endif
