// dialect_infer.c: a config for tensors that come without one; see dialect.h.
#include <limits.h>

#include "model/dialect.h"

enum {
    HEAD_SIZE = 64, // of every GPT-2 that OpenAI published
    GPT2_VOCAB_SIZE = 50257
};

// What the tensors tell.
struct facts {
    const struct tensor_view *wte, *wpe, *fc, *head, *score, *score_bias;
    int n_layer;
};

static struct facts look_at(const struct dialect *dialect, const struct container *container) {
    struct facts facts = {0};
    for (int t = 0; t < container->n_tensors; t++) {
        int layer;
        const struct tensor_view *tensor = &container->tensors[t];
        const struct dialect_row *row = dialect_match(dialect, NULL, tensor->name, &layer);
        if (row == NULL) continue;
        if (row->param == PARAM_WTE) facts.wte = tensor;
        if (row->param == PARAM_WPE) facts.wpe = tensor;
        if (row->param == PARAM_MLP_FC_BIAS) facts.fc = tensor;
        if (row->param == PARAM_HEAD) facts.head = tensor;
        if (row->param == PARAM_SCORE) facts.score = tensor;
        if (row->param == PARAM_SCORE_BIAS) facts.score_bias = tensor;
        if (row->param != PARAM_COUNT && params[row->param].per_layer && layer >= facts.n_layer) {
            facts.n_layer = layer + 1;
        }
    }
    return facts;
}

// Dimension `dim` of a tensor that need not be there, as a config has it; 0 is refused by config_check().
static int size_of(const struct tensor_view *tensor, int dim) {
    if (tensor == NULL || tensor->rank <= dim || tensor->shape[dim] > INT_MAX) return 0;
    return (int)tensor->shape[dim];
}

// In the book one name stands for both heads: it is a classifier's when it has a bias, or not one row for each token.
static int find_labels(const struct dialect *dialect, const struct facts *facts, int vocab_size) {
    if (facts->score != NULL) return size_of(facts->score, 0);
    if (dialect != &dialect_book || facts->head == NULL) return 0;
    const int rows = size_of(facts->head, 0);
    return facts->score_bias != NULL || rows != vocab_size ? rows : 0;
}

static bool infer(struct config *config, const struct dialect *dialect, const struct facts *facts, int n_head,
                  struct llm_error *err) {
    const struct tensor_view *wte = facts->wte != NULL ? facts->wte : facts->head;
    if (wte == NULL || facts->wpe == NULL || facts->fc == NULL) {
        return error_set(err, LLM_ERROR_FORMAT,
                         "there is no config.json beside it, and not all tensors that its sizes can be read off");
    }
    *config = (struct config){.n_layer = facts->n_layer,
                              .n_embd = size_of(wte, 1),
                              .n_inner = size_of(facts->fc, 0),
                              .n_ctx = size_of(facts->wpe, 0),
                              .vocab_size = size_of(wte, 0),
                              .activation = ACTIVATION_GELU_TANH,
                              .layer_norm_epsilon = 1e-5F,
                              .scale_attn_weights = true,
                              .qkv_bias = true,
                              .tied_head = dialect != &dialect_book || facts->head != NULL,
                              .eos = -1,
                              .pad = -1};
    config->n_labels = find_labels(dialect, facts, config->vocab_size);
    if (config->vocab_size >= GPT2_VOCAB_SIZE) config->eos = GPT2_VOCAB_SIZE - 1;
    if (config->n_labels > 0) config->pad = config->eos;
    config->n_head = n_head > 0 ? n_head : config->n_embd / HEAD_SIZE;
    if (n_head == 0 && (config->n_embd == 0 || config->n_embd % HEAD_SIZE != 0)) {
        return error_set(err, LLM_ERROR_UNSUPPORTED,
                         "how many heads it has cannot be told: n_embd %d is no multiple of GPT-2's %d; put a "
                         "config.json beside it, or convert it with --n-head",
                         config->n_embd, HEAD_SIZE);
    }
    return config_check(config, err);
}

bool dialect_infer_config(struct config *config, const struct container *container, int n_head, const char *path,
                          struct llm_error *err) {
    const struct dialect *dialect = dialect_detect(container, path, err);
    if (dialect == NULL) return false;
    const struct facts facts = look_at(dialect, container);
    if (infer(config, dialect, &facts, n_head, err)) return true;
    error_prefix(err, "%s", path);
    return false;
}
