// lora.c: see lora.h. Only operations touch the numbers, but for those that are drawn or kept.
#include "model/lora.h"

#include <stdlib.h>
#include <string.h>

#include "model/block.h"

enum {
    ALIGNMENT = 16 // floats: each matrix begins on a 64-byte line
};

// In the order of the book's modules.
static const enum param layer_matrices[] = {PARAM_ATTN_QKV_WEIGHT, PARAM_ATTN_PROJ_WEIGHT, PARAM_MLP_FC_WEIGHT,
                                            PARAM_MLP_PROJ_WEIGHT};
enum {
    N_LAYER_MATRICES = sizeof layer_matrices / sizeof layer_matrices[0]
};

// ---- Memory ---------------------------------------------------------------------------------

static int64_t aligned(int64_t n) {
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int count_adapters(const struct config *config, const struct lora_options *options) {
    return (config->n_layer - options->first_layer) * N_LAYER_MATRICES + (options->head && config->n_labels > 0);
}

// Adapter `i`, its arrays not placed yet.
static struct adapter shape_of(const struct config *config, const struct lora_options *options, int i) {
    struct adapter adapter = {.layer = options->first_layer + i / N_LAYER_MATRICES,
                              .param = layer_matrices[i % N_LAYER_MATRICES]};
    int rows, cols;
    if (adapter.layer == config->n_layer) {
        adapter.layer = 0;
        adapter.param = PARAM_SCORE;
        adapter.transposed = true;
    }
    param_shape(config, adapter.param, &rows, &cols);
    adapter.n_in = adapter.transposed ? cols : rows;
    adapter.n_out = adapter.transposed ? rows : cols;
    return adapter;
}

// Floats of one part and of all W.
static void measure(const struct config *config, const struct lora_options *options, int64_t *size, int64_t *bases) {
    *size = *bases = 0;
    for (int i = 0; i < count_adapters(config, options); i++) {
        const struct adapter adapter = shape_of(config, options, i);
        *size += aligned((int64_t)adapter.n_in * options->rank) + aligned((int64_t)adapter.n_out * options->rank);
        *bases += aligned((int64_t)adapter.n_in * adapter.n_out);
    }
}

int64_t lora_bytes(const struct config *config, const struct lora_options *options, int64_t *n_params) {
    int64_t size, bases;
    measure(config, options, &size, &bases);
    *n_params = 0;
    for (int i = 0; i < count_adapters(config, options); i++) {
        const struct adapter adapter = shape_of(config, options, i);
        *n_params += ((int64_t)adapter.n_in + adapter.n_out) * options->rank;
    }
    const int64_t scratch = (int64_t)options->rank * options->rank + 2 * (int64_t)options->max_rows * options->rank;
    return (LORA_PARTS * size + bases + scratch) * (int64_t)sizeof(float);
}

static bool allocate(struct lora *lora, const struct config *config, const struct lora_options *options,
                     struct llm_error *err) {
    int64_t bases;
    struct ops *ops = lora->ops;
    const size_t rank = (size_t)options->rank, n_rows = (size_t)options->max_rows;
    measure(config, options, &lora->size, &bases);
    lora->adapters = calloc((size_t)lora->n_adapters + 1, sizeof *lora->adapters);
    lora->numbers = ops->alloc(ops, LORA_PARTS * (size_t)lora->size * sizeof *lora->numbers);
    lora->bases = ops->alloc(ops, (size_t)bases * sizeof *lora->bases);
    lora->diagonal = ops->alloc(ops, rank * rank * sizeof *lora->diagonal);
    lora->u = ops->alloc(ops, n_rows * rank * sizeof *lora->u);
    lora->v = ops->alloc(ops, n_rows * rank * sizeof *lora->v);
    return (lora->adapters != NULL && lora->numbers != NULL && lora->bases != NULL && lora->diagonal != NULL &&
            lora->u != NULL && lora->v != NULL) ||
           error_memory(err, "adapters");
}

void lora_release(struct lora *lora) {
    float *const arrays[] = {lora->numbers, lora->bases, lora->diagonal, lora->u, lora->v};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        if (arrays[i] != NULL) lora->ops->free(lora->ops, arrays[i]);
    }
    free(lora->adapters);
    *lora = (struct lora){0};
}

// ---- One adapter ----------------------------------------------------------------------------

int64_t lora_a_size(const struct lora *lora, const struct adapter *adapter) {
    return (int64_t)adapter->n_in * lora->rank;
}

int64_t lora_b_size(const struct lora *lora, const struct adapter *adapter) {
    return (int64_t)adapter->n_out * lora->rank;
}

float *lora_a(const struct lora *lora, const struct adapter *adapter, enum lora_part part) {
    return lora->numbers + part * lora->size + adapter->a;
}

float *lora_b(const struct lora *lora, const struct adapter *adapter, enum lora_part part) {
    return lora->numbers + part * lora->size + adapter->b;
}

const struct adapter *lora_find(const struct lora *lora, enum param param, int layer) {
    for (int i = 0; i < lora->n_adapters; i++) {
        if (lora->adapters[i].param == param && lora->adapters[i].layer == layer) return &lora->adapters[i];
    }
    return NULL;
}

static struct matrix matrix_of(const float *data, int rows, int cols) {
    return (struct matrix){.data = data, .dtype = DTYPE_F32, .rows = rows, .cols = cols};
}

// What x is multiplied by, to [n, rank].
static struct linear linear_a(const struct lora *lora, const struct adapter *adapter) {
    const float *a = lora_a(lora, adapter, LORA_SCALED);
    return (struct linear){
        .weight =
            adapter->transposed ? matrix_of(a, lora->rank, adapter->n_in) : matrix_of(a, adapter->n_in, lora->rank),
        .transposed = adapter->transposed,
    };
}

// Where in B the columns of the product from `first` on begin.
static int64_t b_offset(const struct lora *lora, const struct adapter *adapter, int first) {
    return adapter->transposed ? (int64_t)first * lora->rank : first;
}

// What that is multiplied by, to columns first .. first + n_columns - 1 of [n, n_out].
static struct linear linear_b(const struct lora *lora, const struct adapter *adapter, int first, int n_columns) {
    const float *b = lora_b(lora, adapter, LORA_SCALED) + b_offset(lora, adapter, first);
    if (adapter->transposed) {
        return (struct linear){.weight = matrix_of(b, n_columns, lora->rank), .transposed = true};
    }
    return (struct linear){.weight = matrix_of(b, lora->rank, n_columns), .stride = adapter->n_out};
}

// ---- Making ---------------------------------------------------------------------------------

// A of a Linear is drawn as [n_in, rank] like the others, and lies the other way round.
static bool draw(const struct lora *lora, const struct adapter *adapter, struct random *random, struct llm_error *err) {
    float *a = lora_a(lora, adapter, LORA_WEIGHT);
    const size_t n = (size_t)lora_a_size(lora, adapter), rank = (size_t)lora->rank;
    random_fill_linear_weight(random, a, n, rank);
    if (!adapter->transposed) return true;
    float *drawn = malloc(n * sizeof *drawn);
    if (drawn == NULL) return error_memory(err, "adapters");
    memcpy(drawn, a, n * sizeof *drawn);
    for (size_t i = 0; i < n; i++) a[i % rank * (size_t)adapter->n_in + i / rank] = drawn[i];
    free(drawn);
    return true;
}

static bool place(struct lora *lora, const struct param_block *weights, const struct config *config,
                  const struct lora_options *options, struct llm_error *err) {
    struct random random;
    random_init(&random, options->seed);
    int64_t at = 0;
    float *base = lora->bases;
    for (int i = 0; i < lora->n_adapters; i++) {
        struct adapter *adapter = &lora->adapters[i];
        *adapter = shape_of(config, options, i);
        adapter->a = at;
        adapter->b = at + aligned(lora_a_size(lora, adapter));
        at = adapter->b + aligned(lora_b_size(lora, adapter));
        adapter->merged = param_block_at(weights, adapter->param, adapter->layer);
        adapter->base = base;
        const int64_t n = (int64_t)adapter->n_in * adapter->n_out;
        memcpy(base, adapter->merged, (size_t)n * sizeof *base);
        base += aligned(n);
        if (!draw(lora, adapter, &random, err)) return false;
    }
    return true;
}

// Merging multiplies as many rows as the tallest matrix has.
static bool reserve(const struct llm_engine *engine, int max_rows, struct llm_error *err) {
    const struct config *config = &engine->config;
    int n_rows = config->n_inner > config->n_embd ? config->n_inner : config->n_embd;
    if (config->n_labels > n_rows) n_rows = config->n_labels;
    return reserve_rows(engine, max_rows > n_rows ? max_rows : n_rows, err);
}

bool lora_init(struct lora *lora, const struct llm_engine *engine, const struct param_block *weights,
               const struct lora_options *options, struct llm_error *err) {
    const struct config *config = &engine->config;
    *lora = (struct lora){.ops = engine->ops,
                          .rank = options->rank,
                          .alpha = options->alpha,
                          .n_adapters = count_adapters(config, options)};
    bool ok = allocate(lora, config, options, err) && place(lora, weights, config, options, err) &&
              reserve(engine, options->max_rows, err);
    for (int i = 0; ok && i < lora->rank; i++) lora->diagonal[i * lora->rank + i] = (float)(lora->alpha / lora->rank);
    if (ok && lora_merge(lora, err)) return true;
    lora_release(lora);
    return false;
}

// ---- Forward and backward -------------------------------------------------------------------

// Scaled copies of A and B, then W'. In BF16, where products round, these do not: W' is what is saved.
static bool merge_one(const struct lora *lora, const struct adapter *adapter, struct llm_error *err) {
    struct ops *ops = lora->ops;
    const int rank = lora->rank;
    // A and B in the order in which they make a matrix laid out as W: [n_rows, rank] times [rank, n_columns].
    float *const a = lora_a(lora, adapter, LORA_WEIGHT), *const b = lora_b(lora, adapter, LORA_WEIGHT);
    float *const left = adapter->transposed ? b : a, *const right = adapter->transposed ? a : b;
    const int64_t to_scaled = LORA_SCALED * lora->size;
    const int n_rows = adapter->transposed ? adapter->n_out : adapter->n_in;
    const int n_columns = adapter->transposed ? adapter->n_in : adapter->n_out;
    const struct linear scaling = {.weight = matrix_of(lora->diagonal, rank, rank)};
    const struct linear plain = {.weight = matrix_of(right, rank, n_columns)};
    return ops->linear(ops, left + to_scaled, left, &scaling, NULL, n_rows, err) &&
           ops->linear(ops, right + to_scaled, lora->diagonal, &plain, NULL, rank, err) &&
           ops->linear(ops, adapter->merged, left + to_scaled, &plain, adapter->base, n_rows, err);
}

bool lora_merge(const struct lora *lora, struct llm_error *err) {
    if (lora->n_adapters == 0) return true;
    const enum ops_compute compute = lora->ops->compute;
    lora->ops->compute = OPS_COMPUTE_F32;
    bool ok = true;
    for (int i = 0; ok && i < lora->n_adapters; i++) ok = merge_one(lora, &lora->adapters[i], err);
    lora->ops->compute = compute;
    return ok;
}

bool lora_backward(const struct lora *lora, enum param param, int layer, int first, int n_columns, const float *dout,
                   const float *x, int n, struct llm_error *err) {
    const struct adapter *adapter = lora_find(lora, param, layer);
    if (adapter == NULL) return true;
    struct ops *ops = lora->ops;
    const struct linear a = linear_a(lora, adapter);
    const struct linear b = linear_b(lora, adapter, first, n_columns);
    float *db = lora_b(lora, adapter, LORA_GRADIENT) + b_offset(lora, adapter, first);
    return ops->linear(ops, lora->u, x, &a, NULL, n, err) &&
           ops->linear_backward(ops, lora->v, db, NULL, dout, lora->u, &b, n, err) &&
           ops->linear_backward(ops, NULL, lora_a(lora, adapter, LORA_GRADIENT), NULL, lora->v, x, &a, n, err);
}
