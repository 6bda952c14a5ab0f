// init.c: see init.h.
#include "model/init.h"

#include <math.h>
#include <stdlib.h>

static void fill(float *to, int64_t n, float value) {
    for (int64_t i = 0; i < n; i++) to[i] = value;
}

void init_gpt2(const struct config *config, struct param_block *weights, struct random *random) {
    const double residual = 0.02 / sqrt(2.0 * config->n_layer);
    for (int p = 0; p < PARAM_COUNT; p++) {
        const enum param param = (enum param)p;
        const int64_t n = param_size(config, param);
        for (int layer = 0; layer < param_count(config, param); layer++) {
            float *to = param_block_at(weights, param, layer);
            switch (params[p].init) {
            case INIT_NORMAL:
                random_fill_normal(random, to, (size_t)n, 0, 0.02);
                break;
            case INIT_NORMAL_RESIDUAL:
                random_fill_normal(random, to, (size_t)n, 0, residual);
                break;
            case INIT_ONE:
                fill(to, n, 1);
                break;
            case INIT_ZERO:
                fill(to, n, 0);
                break;
            }
        }
    }
}

// ---- The book's -----------------------------------------------------------------------------

struct book {
    const struct config *config;
    struct param_block *weights;
    struct random *random;
    float *drawn; // room for the largest weight of an nn.Linear
};

// nn.Linear(n_in, n_out): its weight [n_out, n_in] goes to columns first .. first + n_out - 1 of `weight`, its bias
// [n_out] to the same of the bias behind it in the table; nothing is drawn for a bias that the model does not have.
static void draw_linear(const struct book *book, enum param weight, int layer, int first, int n_out) {
    int n_in, n_cols;
    param_shape(book->config, weight, &n_in, &n_cols);
    float *to = param_block_at(book->weights, weight, layer) + first;
    random_fill_linear_weight(book->random, book->drawn, (size_t)n_in * (size_t)n_out, (size_t)n_in);
    for (int i = 0; i < n_in; i++) {
        for (int o = 0; o < n_out; o++) {
            to[(size_t)i * (size_t)n_cols + (size_t)o] = book->drawn[(size_t)o * (size_t)n_in + (size_t)i];
        }
    }
    float *bias = param_block_at(book->weights, weight + 1, layer);
    if (bias != NULL) random_fill_linear_bias(book->random, bias + first, (size_t)n_out, (size_t)n_in);
}

static void draw_embedding(const struct book *book, enum param param) {
    random_fill_normal(book->random, param_block_at(book->weights, param, 0), (size_t)param_size(book->config, param),
                       0, 1);
}

static void draw_layer(const struct book *book, int layer) {
    const struct config *config = book->config;
    const int n_embd = config->n_embd;
    for (int part = 0; part < 3; part++) { // W_query, W_key, W_value
        draw_linear(book, PARAM_ATTN_QKV_WEIGHT, layer, part * n_embd, n_embd);
    }
    draw_linear(book, PARAM_ATTN_PROJ_WEIGHT, layer, 0, n_embd);
    draw_linear(book, PARAM_MLP_FC_WEIGHT, layer, 0, config->n_inner);
    draw_linear(book, PARAM_MLP_PROJ_WEIGHT, layer, 0, n_embd);
}

bool init_book(const struct config *config, struct param_block *weights, struct random *random, struct llm_error *err) {
    const int widest = config->n_inner > config->n_embd ? config->n_inner : config->n_embd;
    struct book book = {.config = config, .weights = weights, .random = random};
    book.drawn = malloc((size_t)widest * (size_t)config->n_embd * sizeof *book.drawn);
    if (book.drawn == NULL) return error_memory(err, "initial weights");
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            if (params[p].init != INIT_ONE) continue;
            fill(param_block_at(weights, (enum param)p, layer), param_size(config, (enum param)p), 1);
            fill(param_block_at(weights, (enum param)p + 1, layer), param_size(config, (enum param)p), 0);
        }
    }
    draw_embedding(&book, PARAM_WTE);
    draw_embedding(&book, PARAM_WPE);
    for (int layer = 0; layer < config->n_layer; layer++) draw_layer(&book, layer);
    if (!config->tied_head) { // nn.Linear(n_embd, vocab_size, bias=False), which lies as we have it
        random_fill_linear_weight(random, param_block_at(weights, PARAM_HEAD, 0),
                                  (size_t)param_size(config, PARAM_HEAD), (size_t)config->n_embd);
    }
    free(book.drawn);
    return true;
}
