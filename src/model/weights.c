// weights.c: see weights.h.
#include "model/weights.h"

#include <stdlib.h>
#include <string.h>

enum {
    ALIGNMENT = 64 // of what we copy: a cache line, and the widest vector load
};

// GGUF has all its linear layers as [out, in], and so they stay. (The book's, whose query, key and value must be put
// together anyway, become [in, out].)
static bool stays_transposed(const struct tensor_map *map, const struct config *config, enum param param) {
    if (map->dialect != &dialect_gguf || !params[param].is_matrix) return false;
    for (int layer = 0; layer < param_count(config, param); layer++) {
        if (!map->views[param][layer].transposed[0]) return false;
    }
    return true;
}

// Where the numbers lie in one piece and in the order that memory is to have; NULL: nowhere.
static const uint8_t *in_order(const struct param_view *view, bool transposed) {
    return transposed ? view->parts[0]->data : view->data;
}

// The dtype a parameter has in memory. What comes in blocks is computed with where these run along the rows that memory
// is to have, and else is widened to F32. So is Q6_K, for which there are no kernels.
static enum dtype memory_dtype(enum param param, const struct param_view *view, bool transposed) {
    if (!params[param].is_matrix) return DTYPE_F32;
    const bool whole = dtype_info(view->dtype)->block == 1 || in_order(view, transposed) != NULL;
    return whole && view->dtype != DTYPE_Q6_K ? view->dtype : DTYPE_F32;
}

// Whether the numbers can be used where they lie.
static bool usable_in_place(enum param param, const struct param_view *view, bool transposed) {
    const struct dtype_info *info = dtype_info(view->dtype);
    const size_t alignment = info->block == 1 ? info->block_bytes : sizeof(uint16_t); // of blocks: their scale's
    const uint8_t *numbers = in_order(view, transposed);
    return numbers != NULL && view->dtype == memory_dtype(param, view, transposed) &&
           (uintptr_t)numbers % alignment == 0;
}

// Bytes in the owned block, rounded up so that the next tensor is aligned.
static size_t owned_bytes(enum param param, const struct param_view *view, bool transposed) {
    if (usable_in_place(param, view, transposed)) return 0;
    const size_t bytes = dtype_bytes(memory_dtype(param, view, transposed), (size_t)view->n_elements);
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

bool weights_shape(struct weights *weights, const struct config *config, struct llm_error *err) {
    size_t n_matrices = 0;
    for (int p = 0; p < PARAM_COUNT; p++) n_matrices += (size_t)param_count(config, (enum param)p);
    struct matrix *matrices = calloc(n_matrices, sizeof *matrices);
    if (matrices == NULL) return error_memory(err, "weights");
    for (int p = 0; p < PARAM_COUNT; p++) {
        const int count = param_count(config, (enum param)p);
        weights->tensors[p] = count > 0 ? matrices : NULL;
        for (int layer = 0; layer < count; layer++, matrices++) {
            param_shape(config, (enum param)p, &matrices->rows, &matrices->cols);
            if (!weights->transposed[p]) continue;
            const int rows = matrices->rows;
            matrices->rows = matrices->cols;
            matrices->cols = rows;
        }
    }
    return true;
}

static bool weights_alloc(struct weights *weights, const struct tensor_map *map, const struct config *config,
                          struct llm_error *err) {
    for (int p = 0; p < PARAM_COUNT; p++) weights->transposed[p] = stays_transposed(map, config, (enum param)p);
    if (!weights_shape(weights, config, err)) return false;
    size_t bytes = 0;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            bytes += owned_bytes((enum param)p, &map->views[p][layer], weights->transposed[p]);
        }
    }
    if (bytes == 0) return true;
    weights->owned = aligned_alloc(ALIGNMENT, bytes);
    weights->bytes_owned = (int64_t)bytes;
    return weights->owned != NULL || error_memory(err, "weights that cannot be used where they lie in the file");
}

// Copies, puts together or converts into the owned block.
static bool weight_copy(enum param param, const struct param_view *view, bool transposed, void *to,
                        struct llm_error *err) {
    const size_t n = (size_t)view->n_elements;
    const enum dtype dtype = memory_dtype(param, view, transposed);
    if (dtype == view->dtype) {
        const void *numbers = transposed ? in_order(view, true) : param_view_rows(view, 0, view->rows, to);
        if (numbers != to) memcpy(to, numbers, dtype_bytes(dtype, n));
        return true;
    }
    if (in_order(view, transposed) != NULL) {
        dtype_to_f32(to, in_order(view, transposed), view->dtype, n);
        return true;
    }
    if (dtype == param_view_dtype(view)) {
        param_view_rows(view, 0, view->rows, to);
        return true;
    }
    void *narrow = malloc(view->size); // a vector in pieces
    if (narrow == NULL) return error_memory(err, "weights");
    dtype_to_f32(to, param_view_rows(view, 0, view->rows, narrow), view->dtype, n);
    free(narrow);
    return true;
}

bool weights_init(struct weights *weights, const struct tensor_map *map, const struct config *config, struct ops *ops,
                  struct llm_error *err) {
    *weights = (struct weights){0};
    bool ok = weights_alloc(weights, map, config, err);
    char *owned = weights->owned;
    for (int p = 0; ok && p < PARAM_COUNT; p++) {
        const enum param param = (enum param)p;
        for (int layer = 0; ok && layer < param_count(config, param); layer++) {
            const struct param_view *view = &map->views[p][layer];
            const bool transposed = weights->transposed[p];
            const void *host = in_order(view, transposed);
            if (!usable_in_place(param, view, transposed)) {
                ok = weight_copy(param, view, transposed, owned, err);
                host = owned;
                owned += owned_bytes(param, view, transposed);
            }
            struct matrix *matrix = &weights->tensors[p][layer];
            matrix->dtype = memory_dtype(param, view, transposed);
            matrix->data = ok ? ops->put(ops, host, dtype_bytes(matrix->dtype, (size_t)view->n_elements)) : NULL;
            if (matrix->data == NULL) ok = error_memory(err, "weights");
        }
    }
    if (!ok) weights_release(weights, config, ops);
    return ok;
}

bool weights_from_block(struct weights *weights, const struct param_block *block, const struct config *config,
                        struct llm_error *err) {
    *weights = (struct weights){.in_block = true};
    if (!weights_shape(weights, config, err)) return false;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            weights->tensors[p][layer].dtype = DTYPE_F32;
            weights->tensors[p][layer].data = param_block_at(block, (enum param)p, layer);
        }
    }
    return true;
}

void weights_release(struct weights *weights, const struct config *config, struct ops *ops) {
    for (int p = 0; p < PARAM_COUNT && weights->tensors[PARAM_WTE] != NULL && !weights->in_block; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            ops->free(ops, (void *)weights->tensors[p][layer].data);
        }
    }
    free(weights->tensors[PARAM_WTE]); // the first of one block
    free(weights->owned);
    *weights = (struct weights){0};
}
