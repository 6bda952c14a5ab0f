// save_gguf.c: a model in one GGUF file, as llama.cpp's converter (conversion/gpt2.py) and its quantizer write it; see
// save.h.
//
// Linear layers are [out, in]; vectors and position embeddings are F32 always. A head that is tied to the token
// embedding is not stored. A bias on query, key and value is, zero where the model has none.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf.h"
#include "model/gguf_model.h"
#include "model/saving.h"

// general.file_type: what most of the matrices are (enum llama_ftype).
static uint32_t file_type(enum dtype dtype) {
    static const uint32_t types[DTYPE_OTHER] = {
        [DTYPE_F32] = 0, [DTYPE_F16] = 1, [DTYPE_BF16] = 32, [DTYPE_Q8_0] = 7, [DTYPE_Q4_0] = 2, [DTYPE_Q6_K] = 18};
    return types[dtype];
}

// ---- Tensors --------------------------------------------------------------------------------

// One tensor of the file.
struct item {
    const struct dialect_row *row;
    int layer;
    struct param_view view;
    enum dtype dtype;
};

typedef bool item_fn(struct saving *saving, struct gguf_writer *writer, const struct item *item, struct llm_error *err);

// What most matrices become.
static enum dtype main_dtype(const struct saving *saving) {
    switch (saving->options->quantize) {
    case LLM_QUANTIZE_Q8:
        return DTYPE_Q8_0;
    case LLM_QUANTIZE_Q4:
        return DTYPE_Q4_0;
    default:
        return saving->options->dtype < 0 ? saving->engine->dtype
                                          : saving_dtype(saving, &(struct param_view){.dtype = DTYPE_F32});
    }
}

static bool param_is_head(enum param param) {
    return param == PARAM_WTE || param == PARAM_HEAD;
}

// What a parameter becomes.
static enum dtype item_dtype(const struct saving *saving, const struct item *item) {
    const enum param param = item->row->param;
    if (!params[param].is_matrix || param == PARAM_WPE) return DTYPE_F32;
    const bool transposed = item->row->layout == LAYOUT_TRANSPOSED;
    enum dtype dtype = main_dtype(saving);
    if (saving->options->quantize == LLM_QUANTIZE_NONE && saving->options->dtype < 0) dtype = item->view.dtype;
    // 4 bits are too few for the head, which is the token embedding: with 8 a small model loses half as much
    // perplexity (docs/formats.md). llama.cpp's quantizer has 6 there, as Q6_K.
    if (dtype == DTYPE_Q4_0 && item->view.dtype != dtype && param_is_head(param)) dtype = DTYPE_Q8_0;
    const int row = transposed ? item->view.rows : item->view.cols;
    return row % (int)dtype_info(dtype)->block == 0 ? dtype : DTYPE_F16; // as llama.cpp has what blocks do not fit
}

static int written_count(const struct config *config, enum param param) {
    return param == PARAM_ATTN_QKV_BIAS ? config->n_layer : param_count(config, param);
}

// Calls `fn` for every tensor: embeddings, one layer after another, what follows.
static bool each_item(struct saving *saving, struct gguf_writer *writer, item_fn *fn, struct llm_error *err) {
    const struct config *config = &saving->engine->config;
    const struct dialect_row *rows = dialect_gguf.rows;
    struct item item = {0};
    for (int first = 0, end; first < dialect_gguf.n_rows; first = end) {
        const bool per_layer = params[rows[first].param].per_layer;
        end = first + 1;
        while (per_layer && end < dialect_gguf.n_rows && params[rows[end].param].per_layer) end++;
        for (item.layer = 0; item.layer < (per_layer ? config->n_layer : 1); item.layer++) {
            for (item.row = &rows[first]; item.row < &rows[end]; item.row++) {
                if (written_count(config, item.row->param) == 0) continue;
                item.view = engine_stored(saving->engine, item.row->param, item.layer);
                item.dtype = item_dtype(saving, &item);
                if (!fn(saving, writer, &item, err)) return false;
            }
        }
    }
    return true;
}

static bool declare_item(struct saving *saving, struct gguf_writer *writer, const struct item *item,
                         struct llm_error *err) {
    char name[128];
    if (!dialect_row_name(item->row, item->layer, name, sizeof name)) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "the name of tensor %.80s is too long", item->row->pattern);
    }
    const bool transposed = item->row->layout == LAYOUT_TRANSPOSED;
    const int64_t rows = item->view.rows, cols = item->view.cols;
    const int64_t shape[2] = {transposed ? cols : rows, transposed ? rows : cols};
    const bool is_matrix = params[item->row->param].is_matrix;
    saving->total += (int64_t)dtype_bytes(item->dtype, (size_t)item->view.n_elements);
    return gguf_writer_declare(writer, name, item->dtype, is_matrix ? 2 : 1, is_matrix ? shape : shape + 1, err);
}

static bool write_data(void *writer, const void *bytes, size_t size, struct llm_error *err) {
    return gguf_writer_data(writer, bytes, size, err);
}

static bool write_item(struct saving *saving, struct gguf_writer *writer, const struct item *item,
                       struct llm_error *err) {
    const struct param_view *view = &item->view;
    const bool transposed = item->row->layout == LAYOUT_TRANSPOSED;
    if (view->n_parts == 1 && view->transposed[0] == transposed && view->dtype == item->dtype) {
        return saving_as_stored(saving, view, write_data, writer, err);
    }
    return transposed ? saving_columns(saving, view, 0, view->cols, item->dtype, write_data, writer, err)
                      : saving_rows(saving, view, item->dtype, write_data, writer, err);
}

// ---- Metadata -------------------------------------------------------------------------------

static void put_config(struct gguf_writer *writer, const struct config *config, enum dtype dtype) {
    gguf_writer_string(writer, "general.architecture", "gpt2");
    gguf_writer_u32(writer, "gpt2.block_count", (uint32_t)config->n_layer);
    gguf_writer_u32(writer, "gpt2.context_length", (uint32_t)config->n_ctx);
    gguf_writer_u32(writer, "gpt2.embedding_length", (uint32_t)config->n_embd);
    gguf_writer_u32(writer, "gpt2.feed_forward_length", (uint32_t)config->n_inner);
    gguf_writer_u32(writer, "gpt2.attention.head_count", (uint32_t)config->n_head);
    gguf_writer_f32(writer, "gpt2.attention.layer_norm_epsilon", config->layer_norm_epsilon);
    gguf_writer_u32(writer, "general.file_type", file_type(dtype));
    if (dtype_info(dtype)->block > 1) gguf_writer_u32(writer, "general.quantization_version", 2);
}

// Rows of the embedding that no token has get one: as many tokens as rows is what llama.cpp wants.
static void add_padding(struct strbuf *tokens, int first, int end) {
    for (int id = first; id < end; id++) {
        char name[32];
        uint8_t front[8] = {(uint8_t)snprintf(name, sizeof name, "[PAD%d]", id)};
        strbuf_append(tokens, front, sizeof front);
        strbuf_puts(tokens, name);
    }
}

// The type of each token as i32, little-endian; NULL when out of memory.
static uint8_t *token_types(const struct config *config, int n_tokens, int32_t eot) {
    uint8_t *types = calloc((size_t)config->vocab_size, 4);
    for (int id = 0; types != NULL && id < config->vocab_size; id++) {
        types[4 * (size_t)id] = id >= n_tokens ? GGUF_TOKEN_UNUSED : id == eot ? GGUF_TOKEN_CONTROL : GGUF_TOKEN_NORMAL;
    }
    return types;
}

static bool put_tokenizer(struct gguf_writer *writer, const struct llm_engine *engine, struct llm_error *err) {
    const struct config *config = &engine->config;
    if (engine->tokenizer == NULL) {
        gguf_writer_string(writer, "tokenizer.ggml.model", GGUF_NO_TOKENIZER);
        gguf_writer_u32(writer, "gpt2.vocab_size", (uint32_t)config->vocab_size);
        return true;
    }
    const int n_tokens = llm_tokenizer_vocab_size(engine->tokenizer);
    const int32_t eot = llm_tokenizer_eot(engine->tokenizer);
    const int32_t eos = config->eos >= 0 ? config->eos : eot;
    if (n_tokens > config->vocab_size) {
        return error_set(err, LLM_ERROR_UNSUPPORTED,
                         "the vocabulary has %d ids and the model %d; a GGUF file has as many of both", n_tokens,
                         config->vocab_size);
    }
    struct strbuf tokens, merges;
    int n_merges = 0;
    uint8_t *types = token_types(config, n_tokens, eot);
    bool ok = tokenizer_write_lists(engine->tokenizer, &tokens, &merges, &n_merges, err);
    add_padding(&tokens, n_tokens, config->vocab_size);
    if (ok && (types == NULL || !strbuf_ok(&tokens))) ok = error_memory(err, "vocabulary");
    if (ok) {
        const uint64_t n = (uint64_t)config->vocab_size;
        gguf_writer_string(writer, "tokenizer.ggml.model", GGUF_TOKENIZER);
        gguf_writer_string(writer, "tokenizer.ggml.pre", GGUF_SPLIT);
        gguf_writer_array(writer, "tokenizer.ggml.tokens", GGUF_STRING, n, tokens.bytes, tokens.size);
        gguf_writer_array(writer, "tokenizer.ggml.token_type", GGUF_I32, n, types, 4 * n);
        gguf_writer_array(writer, "tokenizer.ggml.merges", GGUF_STRING, (uint64_t)n_merges, merges.bytes, merges.size);
        if (eos >= 0) gguf_writer_u32(writer, "tokenizer.ggml.bos_token_id", (uint32_t)eos);
        if (eos >= 0) gguf_writer_u32(writer, "tokenizer.ggml.eos_token_id", (uint32_t)eos);
    }
    free(types);
    strbuf_release(&tokens);
    strbuf_release(&merges);
    return ok;
}

// ---- The file -------------------------------------------------------------------------------

// What llama.cpp's gpt2 cannot be told.
static bool check_gguf(const struct config *config, struct llm_error *err) {
    const char *what = NULL;
    if (config->activation != ACTIVATION_GELU_TANH) what = "an activation other than gelu_new";
    if (!config->scale_attn_weights || config->scale_attn_by_layer) what = "another scale of attention's scores";
    if (config->n_labels > 0) what = "labels (it is a classifier)";
    return what == NULL ||
           error_set(err, LLM_ERROR_UNSUPPORTED,
                     "the model has %s, which llama.cpp's gpt2 has not, as which a GGUF file is written", what);
}

bool save_gguf(const struct llm_engine *engine, const char *path, const struct llm_convert_options *options,
               struct save_counts *counts, struct llm_error *err) {
    if (!check_gguf(&engine->config, err)) return false;
    *counts = (struct save_counts){0};
    struct saving saving = {.engine = engine, .options = options, .counts = counts};
    struct gguf_writer *writer = gguf_writer_new(path, err);
    if (writer == NULL) return false;
    put_config(writer, &engine->config, main_dtype(&saving));
    const bool ok = put_tokenizer(writer, engine, err) && saving_alloc(&saving, err) &&
                    each_item(&saving, writer, declare_item, err) && each_item(&saving, writer, write_item, err);
    saving_release(&saving);
    if (ok) return gguf_writer_finish(writer, err);
    gguf_writer_free(writer);
    return false;
}
