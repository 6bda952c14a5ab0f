// save_torch.c: the state dict of the book's GPTModel in one file of PyTorch's; see save.h.
//
// load_state_dict(strict=True) wants every tensor that the class has: its mask buffers too, which are one storage here,
// and an output head of its own, which is the embedding's storage where the head is tied.
#include <stdlib.h>
#include <string.h>

#include "formats/torch_zip.h"
#include "model/saving.h"

// One tensor of the file, in the order of the state dict.
struct item {
    const struct dialect_row *row;
    int layer;
    int number; // of the tensor
};

typedef bool item_fn(struct saving *saving, struct torch_zip_writer *writer, const struct item *item,
                     struct llm_error *err);

static bool is_layered(const struct dialect_row *row) {
    return strstr(row->pattern, "%d") != NULL;
}

// Whether the model has this tensor in the book's class. A classifier's head has a bias there.
static bool is_written(const struct config *config, const struct dialect_row *row) {
    if (row->param == PARAM_COUNT) return true;
    if (row->param == PARAM_ATTN_QKV_BIAS) return config->qkv_bias;
    return param_possible(config, row->param);
}

// Calls `fn` for every tensor: rows of the dialect in their order, those of a layer together.
static bool each_item(struct saving *saving, struct torch_zip_writer *writer, item_fn *fn, struct llm_error *err) {
    const struct config *config = &saving->engine->config;
    const struct dialect_row *rows = dialect_book.rows;
    struct item item = {0};
    for (int first = 0, end; first < dialect_book.n_rows; first = end) {
        end = first + 1;
        while (is_layered(&rows[first]) && end < dialect_book.n_rows && is_layered(&rows[end])) end++;
        const int n_layers = is_layered(&rows[first]) ? config->n_layer : 1;
        for (item.layer = 0; item.layer < n_layers; item.layer++) {
            for (item.row = &rows[first]; item.row < &rows[end]; item.row++) {
                if (!is_written(config, item.row)) continue;
                if (!fn(saving, writer, &item, err)) return false;
                item.number++;
            }
        }
    }
    return true;
}

// The tensor whose storage this one uses, or -1: masks that of the first layer (tensor 2), a tied head that of the
// embedding (tensor 0), which are where the state dict has them.
static int shared_with(const struct saving *saving, const struct item *item) {
    if (item->row->param == PARAM_COUNT && item->layer > 0) return 2;
    return item->row->param == PARAM_HEAD && saving->engine->config.tied_head ? 0 : -1;
}

static bool declare_item(struct saving *saving, struct torch_zip_writer *writer, const struct item *item,
                         struct llm_error *err) {
    const struct dialect_row *row = item->row;
    const int64_t n_ctx = saving->engine->config.n_ctx;
    int64_t shape[2] = {n_ctx, n_ctx};
    enum dtype dtype = DTYPE_F32;
    int rank = 2;
    if (row->param != PARAM_COUNT) {
        const enum param param = shared_with(saving, item) == 0 ? PARAM_WTE : row->param;
        const struct param_view view = engine_stored(saving->engine, param, item->layer);
        const bool is_matrix = params[param].is_matrix;
        const int64_t cols = row->piece == PIECE_WHOLE ? view.cols : view.cols / MAX_PIECES;
        rank = is_matrix ? 2 : 1;
        shape[0] = is_matrix ? view.rows : cols;
        shape[1] = cols;
        if (row->layout == LAYOUT_TRANSPOSED) {
            shape[0] = cols;
            shape[1] = view.rows;
        }
        dtype = saving_dtype(saving, &view);
    }
    char name[128];
    if (!dialect_row_name(row, item->layer, name, sizeof name)) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "the name of tensor %.80s is too long", row->pattern);
    }
    const int shared = shared_with(saving, item);
    if (shared < 0) saving->total += (int64_t)dtype_bytes(dtype, (size_t)(shape[0] * (rank == 2 ? shape[1] : 1)));
    return torch_zip_writer_declare(writer, name, dtype, rank, shape, shared, err);
}

static bool write_data(void *writer, const void *bytes, size_t size, struct llm_error *err) {
    return torch_zip_writer_data(writer, bytes, size, err);
}

// torch.triu(torch.ones(n, n), diagonal=1): 1 where a token must not look, behind itself. A buffer stays F32, whatever
// the weights become.
static bool write_mask(struct saving *saving, struct torch_zip_writer *writer, struct llm_error *err) {
    const int n = saving->engine->config.n_ctx;
    float *row = malloc((size_t)n * sizeof *row);
    if (row == NULL) return error_memory(err, "mask");
    bool ok = true;
    for (int i = 0; ok && i < n; i++) {
        for (int j = 0; j < n; j++) row[j] = j > i ? 1.0F : 0.0F;
        ok = torch_zip_writer_data(writer, row, (size_t)n * sizeof *row, err);
    }
    saving->done += (int64_t)n * n * (int64_t)sizeof *row;
    free(row);
    return ok;
}

static bool write_item(struct saving *saving, struct torch_zip_writer *writer, const struct item *item,
                       struct llm_error *err) {
    const struct dialect_row *row = item->row;
    if (shared_with(saving, item) >= 0) return true;
    if (row->param == PARAM_COUNT) return write_mask(saving, writer, err);
    const struct param_view view = engine_stored(saving->engine, row->param, item->layer);
    const enum dtype dtype = saving_dtype(saving, &view);
    if (row->layout == LAYOUT_SAME && row->piece == PIECE_WHOLE) {
        return saving_rows(saving, &view, dtype, write_data, writer, err);
    }
    // One column after another: of a matrix, [out, in]; of a vector, a piece of it.
    const int n = row->piece == PIECE_WHOLE ? view.cols : view.cols / MAX_PIECES;
    const int first = row->piece == PIECE_WHOLE ? 0 : n * ((int)row->piece - PIECE_QUERY);
    return saving_columns(saving, &view, first, n, dtype, write_data, writer, err);
}

// What the book's class cannot be told.
static bool check_book(const struct config *config, struct llm_error *err) {
    const char *what = NULL;
    if (config->activation != ACTIVATION_GELU_TANH) what = "an activation other than gelu_new";
    if (config->n_inner != 4 * config->n_embd) what = "a feed-forward that is not four times as wide as the model";
    if (config->layer_norm_epsilon != 1e-5F) what = "a layer_norm_epsilon other than 1e-05";
    if (!config->scale_attn_weights || config->scale_attn_by_layer) what = "another scale of attention's scores";
    return what == NULL || error_set(err, LLM_ERROR_UNSUPPORTED,
                                     "the model has %s, which the book's GPTModel has not, whose state dict a file of "
                                     "PyTorch's is written as",
                                     what);
}

bool save_torch(const struct llm_engine *engine, const char *path, const struct llm_convert_options *options,
                struct save_counts *counts, struct llm_error *err) {
    const struct config *config = &engine->config;
    if (!check_book(config, err)) return false;
    *counts = (struct save_counts){0};
    struct saving saving = {.engine = engine, .options = options, .counts = counts};
    struct torch_zip_writer *writer = torch_zip_writer_new(path, err);
    if (writer == NULL) return false;
    const bool ok = saving_alloc(&saving, err) && each_item(&saving, writer, declare_item, err) &&
                    each_item(&saving, writer, write_item, err);
    saving_release(&saving);
    if (!ok) {
        torch_zip_writer_free(writer);
        return false;
    }
    if (!torch_zip_writer_finish(writer, err)) return false;
    engine_notice(&options->callbacks,
                  "%s: for GPTModel({\"vocab_size\": %d, \"context_length\": %d, \"emb_dim\": %d, \"n_heads\": %d, "
                  "\"n_layers\": %d, \"drop_rate\": 0.0, \"qkv_bias\": %s})",
                  path, config->vocab_size, config->n_ctx, config->n_embd, config->n_head, config->n_layer,
                  config->qkv_bias ? "True" : "False");
    return true;
}
