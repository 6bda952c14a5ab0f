// tensor_map.c: which tensors are which parameter, and their numbers as [rows, cols]; see dialect.h.
//
// Divisions: reading numbers; checking one tensor; mapping a container.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/dialect.h"

// ---- Reading numbers ------------------------------------------------------------------------

// A rectangle of numbers on its way: where two neighbours lie, in elements.
struct steps {
    size_t row, col;
};

// Tile by tile, so that what is fetched with a cache line is used before it is gone. `width` is a constant of the
// caller's.
static inline __attribute__((always_inline)) void copy_tiles(uint8_t *to, struct steps out, const uint8_t *from,
                                                             struct steps in, size_t n_rows, size_t n_cols,
                                                             size_t width) {
    enum {
        TILE = 16
    };
    for (size_t r0 = 0; r0 < n_rows; r0 += TILE) {
        const size_t r1 = r0 + TILE < n_rows ? r0 + TILE : n_rows;
        for (size_t c0 = 0; c0 < n_cols; c0 += TILE) {
            const size_t c1 = c0 + TILE < n_cols ? c0 + TILE : n_cols;
            for (size_t r = r0; r < r1; r++) {
                for (size_t c = c0; c < c1; c++) {
                    memcpy(to + width * (r * out.row + c * out.col), from + width * (r * in.row + c * in.col), width);
                }
            }
        }
    }
}

static void copy_numbers(enum dtype dtype, uint8_t *to, struct steps out, const uint8_t *from, struct steps in,
                         size_t n_rows, size_t n_cols) {
    const size_t width = dtype_info(dtype)->block_bytes;
    if (in.col == 1 && out.col == 1) {
        for (size_t r = 0; r < n_rows; r++) memcpy(to + width * r * out.row, from + width * r * in.row, width * n_cols);
    } else if (width == 4) {
        copy_tiles(to, out, from, in, n_rows, n_cols, 4);
    } else {
        copy_tiles(to, out, from, in, n_rows, n_cols, 2);
    }
}

// A rectangle of what was given out, in the parameter's rows and columns.
struct window {
    size_t row, n_rows, col, n_cols;
};

// The part's share of the window, which is stored in blocks: the part's `lines` (its columns when it is transposed,
// else its rows), each of `length` numbers. Blocks at the ends may be needed in part.
static void gather_blocks(enum dtype dtype, bool transposed, const uint8_t *from, size_t length, struct window window,
                          float *to, struct steps out) {
    const size_t block = dtype_info(dtype)->block;
    const size_t first_line = transposed ? window.col : window.row,
                 n_lines = transposed ? window.n_cols : window.n_rows;
    const size_t first = transposed ? window.row : window.col, n = transposed ? window.n_rows : window.n_cols;
    const size_t line_step = transposed ? out.col : out.row, step = transposed ? out.row : out.col;
    for (size_t line = 0; line < n_lines; line++) {
        const uint8_t *const blocks = from + dtype_bytes(dtype, (first_line + line) * length);
        for (size_t at = first; at < first + n;) {
            float numbers[DTYPE_MAX_BLOCK];
            const size_t begin = at / block * block, end = begin + block < first + n ? begin + block : first + n;
            dtype_to_f32(numbers, blocks + dtype_bytes(dtype, begin), dtype, block);
            for (; at < end; at++) to[line * line_step + (at - first) * step] = numbers[at - begin];
        }
    }
}

// Rows [row, row + n_rows) and columns [col, col + n_cols), to where `out` says.
static void gather(const struct param_view *view, size_t row, size_t n_rows, size_t col, size_t n_cols, uint8_t *to,
                   struct steps out) {
    const bool in_blocks = dtype_info(view->dtype)->block > 1;
    const size_t width = dtype_info(param_view_dtype(view))->block_bytes;
    if (view->n_parts == 0 && view->data != NULL) { // a model in memory, which has no blocks
        const struct steps in = {.row = (size_t)view->cols, .col = 1};
        copy_numbers(view->dtype, to, out, view->data + width * (row * in.row + col), in, n_rows, n_cols);
        return;
    }
    if (view->n_parts == 0) {
        memset(to, 0, width * n_rows * n_cols);
        return;
    }
    const size_t rows = (size_t)view->rows, part_cols = (size_t)(view->cols / view->n_parts);
    for (size_t part = 0; part < (size_t)view->n_parts; part++) {
        const size_t begin = part * part_cols > col ? part * part_cols : col;
        const size_t end = (part + 1) * part_cols < col + n_cols ? (part + 1) * part_cols : col + n_cols;
        if (begin >= end) continue;
        uint8_t *const part_to = to + width * (begin - col) * out.col;
        if (in_blocks) {
            const struct window window = {row, n_rows, begin - part * part_cols, end - begin};
            gather_blocks(view->dtype, view->transposed[part], view->parts[part]->data,
                          view->transposed[part] ? rows : part_cols, window, (float *)(void *)part_to, out);
            continue;
        }
        const struct steps in =
            view->transposed[part] ? (struct steps){.row = 1, .col = rows} : (struct steps){.row = part_cols, .col = 1};
        const uint8_t *from = view->parts[part]->data + width * (row * in.row + (begin - part * part_cols) * in.col);
        copy_numbers(view->dtype, part_to, out, from, in, n_rows, end - begin);
    }
}

const void *param_view_rows(const struct param_view *view, int first, int n, void *memory) {
    const size_t cols = (size_t)view->cols;
    if (view->data != NULL && param_view_dtype(view) == view->dtype) {
        return view->data + dtype_bytes(view->dtype, (size_t)first * cols);
    }
    gather(view, (size_t)first, (size_t)n, 0, cols, memory, (struct steps){.row = cols, .col = 1});
    return memory;
}

void param_view_columns(const struct param_view *view, int first, int n, void *memory) {
    const size_t rows = (size_t)view->rows;
    gather(view, 0, rows, (size_t)first, (size_t)n, memory, (struct steps){.row = 1, .col = rows});
}

// ---- Checking one tensor --------------------------------------------------------------------

// The shape a file must give a parameter, or a piece of it; returns the rank.
static int expected_shape(const struct config *config, const struct dialect_row *row, int64_t shape[3]) {
    int rows, cols;
    param_shape(config, row->param, &rows, &cols);
    if (row->piece != PIECE_WHOLE) cols /= MAX_PIECES;
    int rank = 0;
    if (row->layout == LAYOUT_CONV_1D) shape[rank++] = 1;
    if (row->layout == LAYOUT_TRANSPOSED) {
        shape[rank++] = cols;
        shape[rank++] = rows;
        return rank;
    }
    if (params[row->param].is_matrix) shape[rank++] = rows;
    shape[rank++] = cols;
    return rank;
}

// What in the config a wrong shape contradicts, for the sentence.
static void shape_reason(const struct config *config, const struct tensor_view *tensor, const int64_t *expected,
                         int expected_rank, enum param param, char *text, size_t size) {
    const int64_t *shape = tensor->shape + (tensor->rank > 2 ? tensor->rank - 2 : 0);
    const int64_t *wanted = expected + (expected_rank > 2 ? expected_rank - 2 : 0);
    if (tensor->rank >= 2 && expected_rank >= 2 && wanted[0] != wanted[1] && shape[0] == wanted[1] &&
        shape[1] == wanted[0]) {
        snprintf(text, size, "it is transposed");
    } else if (param == PARAM_SCORE || param == PARAM_SCORE_BIAS) {
        snprintf(text, size, "%d labels, n_embd %d", config->n_labels, config->n_embd);
    } else if (param == PARAM_WTE || param == PARAM_HEAD) {
        snprintf(text, size, "vocab_size %d, n_embd %d", config->vocab_size, config->n_embd);
    } else if (param == PARAM_WPE) {
        snprintf(text, size, "n_positions %d, n_embd %d", config->n_ctx, config->n_embd);
    } else if (params[param].part == PART_MLP) {
        snprintf(text, size, "n_embd %d, n_inner %d", config->n_embd, config->n_inner);
    } else {
        snprintf(text, size, "n_embd %d", config->n_embd);
    }
}

static bool check_tensor(const struct config *config, const struct dialect_row *row, const struct tensor_view *tensor,
                         struct llm_error *err) {
    if (tensor->dtype == DTYPE_OTHER) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "tensor %.200s is %.20s; F32, F16 and BF16 are supported",
                         tensor->name, tensor->dtype_name);
    }
    struct tensor_view expected = {0};
    expected.rank = expected_shape(config, row, expected.shape);
    if (tensor->rank == expected.rank &&
        memcmp(tensor->shape, expected.shape, (size_t)expected.rank * sizeof expected.shape[0]) == 0) {
        return true;
    }
    char found_text[160], expected_text[160], reason[80];
    shape_reason(config, tensor, expected.shape, expected.rank, row->param, reason, sizeof reason);
    return error_set(err, LLM_ERROR_FORMAT, "tensor %.200s has shape %s, %s was expected (%s)", tensor->name,
                     tensor_shape_text(tensor, found_text), tensor_shape_text(&expected, expected_text), reason);
}

// ---- Mapping a container --------------------------------------------------------------------

// Room for every parameter, those included that a model of this config need not have (that is settled later).
static bool map_alloc(struct tensor_map *map, const struct config *config, struct llm_error *err) {
    size_t total = 0;
    for (int p = 0; p < PARAM_COUNT; p++) total += params[p].per_layer ? (size_t)config->n_layer : 1;
    struct param_view *views = calloc(total, sizeof *views);
    if (views == NULL) return error_memory(err, "tensor map");
    map->block = views;
    for (int p = 0; p < PARAM_COUNT; p++) {
        map->views[p] = views;
        const int count = params[p].per_layer ? config->n_layer : 1;
        for (int layer = 0; layer < count; layer++, views++) {
            param_shape(config, (enum param)p, &views->rows, &views->cols);
            views->n_elements = param_size(config, (enum param)p);
        }
    }
    return true;
}

static bool map_tensor(struct tensor_map *map, const struct config *config, const struct tensor_view *tensor,
                       struct llm_error *err) {
    int layer;
    const struct dialect_row *row = dialect_match(map->dialect, config, tensor->name, &layer);
    if (row == NULL) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "tensor %.200s is not a part of GPT-2 (names as %s has them)",
                         tensor->name, map->dialect->name);
    }
    if (row->param == PARAM_COUNT) return true;
    if (params[row->param].per_layer && layer >= config->n_layer) {
        return error_set(err, LLM_ERROR_FORMAT, "tensor %.200s belongs to layer %d, but the config has n_layer %d",
                         tensor->name, layer, config->n_layer);
    }
    struct param_view *view = &map->views[row->param][layer];
    const int part = row->piece == PIECE_WHOLE ? 0 : (int)row->piece - PIECE_QUERY;
    if (view->parts[part] != NULL) {
        return error_set(err, LLM_ERROR_FORMAT, "tensors %.200s and %.200s are the same parameter",
                         view->parts[part]->name, tensor->name);
    }
    view->parts[part] = tensor;
    view->transposed[part] = tensor->transposed != (row->layout == LAYOUT_TRANSPOSED);
    view->n_parts++;
    return check_tensor(config, row, tensor, err);
}

// The rule of transformers' tie_weights() (5.x): a tied head may be stored (if equal it stays tied, else the
// stored one counts) or stand in for a missing wte. An untied head must be stored.
static void settle_head(struct tensor_map *map, struct config *config) {
    struct param_view *wte = &map->views[PARAM_WTE][0], *head = &map->views[PARAM_HEAD][0];
    if (!config->tied_head || head->n_parts == 0) return;
    if (wte->n_parts == 0) *wte = *head;
    const struct tensor_view *a = wte->parts[0], *b = head->parts[0];
    config->tied_head = a->data == b->data || (a->dtype == b->dtype && a->transposed == b->transposed &&
                                               memcmp(a->data, b->data, a->size) == 0);
}

static bool is_zero(const struct tensor_view *view) {
    for (size_t i = 0; i < view->size; i++) {
        if (view->data[i] != 0) return false;
    }
    return true;
}

// A bias that the config says is not there may be stored as zeros, which is how we write it for transformers. The
// book's files say by what they hold whether there is one.
static bool settle_qkv_bias(const struct tensor_map *map, struct config *config, struct llm_error *err) {
    int n_parts = 0;
    for (int layer = 0; layer < config->n_layer; layer++) {
        const struct param_view *bias = &map->views[PARAM_ATTN_QKV_BIAS][layer];
        n_parts += bias->n_parts;
        for (int part = 0; part < MAX_PIECES && !config->qkv_bias; part++) {
            if (bias->parts[part] == NULL || is_zero(bias->parts[part])) continue;
            return error_set(err, LLM_ERROR_FORMAT, "tensor %.200s is not zero, but the config has qkv_bias false",
                             bias->parts[part]->name);
        }
    }
    if (map->dialect == &dialect_book && n_parts == 0) config->qkv_bias = false;
    return true;
}

// How many tensors of a dialect make the parameter.
static int pieces_of(const struct dialect *dialect, enum param param) {
    int n = 0;
    for (int i = 0; i < dialect->n_rows; i++) n += dialect->rows[i].param == param;
    return n > 0 ? n : 1;
}

// The name of a tensor that is not there, for the sentence.
static void missing_name(const struct tensor_map *map, enum param param, int layer, char *name, size_t size) {
    snprintf(name, size, "%s", params[param].name);
    for (int i = 0; i < map->dialect->n_rows; i++) {
        const struct dialect_row *row = &map->dialect->rows[i];
        const int part = row->piece == PIECE_WHOLE ? 0 : (int)row->piece - PIECE_QUERY;
        if (row->param != param || map->views[param][layer].parts[part] != NULL) continue;
        dialect_row_name(row, layer, name, size);
        return;
    }
}

static bool check_missing(const struct tensor_map *map, const struct config *config, struct llm_error *err) {
    char first[256] = "";
    int64_t missing = 0;
    for (int p = 0; p < PARAM_COUNT; p++) {
        const int wanted = pieces_of(map->dialect, (enum param)p);
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            const int n = wanted - map->views[p][layer].n_parts;
            if (n > 0 && missing == 0) missing_name(map, (enum param)p, layer, first, sizeof first);
            missing += n;
        }
    }
    if (missing == 0) return true;
    if (missing == 1) return error_set(err, LLM_ERROR_FORMAT, "tensor %s is missing", first);
    return error_set(err, LLM_ERROR_FORMAT, "tensor %s is missing, and %" PRId64 " more", first, missing - 1);
}

// All parts are there and have their shapes: what they are together.
static bool join_parts(struct param_view *view, struct llm_error *err) {
    const struct tensor_view *first = view->parts[0];
    view->dtype = first->dtype;
    view->size = dtype_bytes(view->dtype, (size_t)view->n_elements);
    const bool plain = view->n_parts == 1 && (!view->transposed[0] || view->rows == 1 || view->cols == 1);
    view->data = plain ? first->data : NULL;
    for (int part = 1; part < view->n_parts; part++) {
        if (view->parts[part]->dtype == view->dtype) continue;
        return error_set(err, LLM_ERROR_UNSUPPORTED, "tensors %.200s and %.200s differ in dtype", first->name,
                         view->parts[part]->name);
    }
    return true;
}

static bool map_container(struct tensor_map *map, const struct container *container, struct config *config,
                          const char *path, struct llm_error *err) {
    if (!map_alloc(map, config, err)) return false;
    for (int t = 0; t < container->n_tensors; t++) {
        const struct tensor_view *tensor = &container->tensors[t];
        if (map_tensor(map, config, tensor, err)) continue;
        const char *file = container->files[tensor->file].path; // NULL when the container came from memory
        error_prefix(err, "%s", file != NULL ? file : path);
        return false;
    }
    settle_head(map, config);
    config->score_bias = map->views[PARAM_SCORE_BIAS][0].n_parts > 0;
    bool ok = settle_qkv_bias(map, config, err) && check_missing(map, config, err);
    for (int p = 0; ok && p < PARAM_COUNT; p++) {
        for (int layer = 0; ok && layer < param_count(config, (enum param)p); layer++) {
            ok = join_parts(&map->views[p][layer], err);
        }
    }
    if (!ok) error_prefix(err, "%s", path);
    return ok;
}

bool tensor_map_init(struct tensor_map *map, const struct container *container, struct config *config, const char *path,
                     struct llm_error *err) {
    *map = (struct tensor_map){.dialect = dialect_detect(container, path, err)};
    if (map->dialect == NULL) return false;
    if (map_container(map, container, config, path, err)) return true;
    tensor_map_release(map);
    return false;
}

void tensor_map_release(struct tensor_map *map) {
    free(map->block);
    *map = (struct tensor_map){0};
}
