// saving.c: see saving.h.
#include "model/saving.h"

#include <stdlib.h>

enum {
    BLOCK = 1 << 18 // elements written at a time, or one row where that is more
};

enum dtype saving_dtype(const struct saving *saving, const struct param_view *view) {
    switch (saving->options->dtype) {
    case LLM_F32:
        return DTYPE_F32;
    case LLM_F16:
        return DTYPE_F16;
    case LLM_BF16:
        return DTYPE_BF16;
    default:
        return param_view_dtype(view);
    }
}

bool saving_alloc(struct saving *saving, struct llm_error *err) {
    size_t n = BLOCK;
    for (int p = 0; p < PARAM_COUNT; p++) {
        int rows, cols;
        param_shape(&saving->engine->config, (enum param)p, &rows, &cols);
        if ((size_t)cols > n) n = (size_t)cols;
        if (p != PARAM_WTE && p != PARAM_HEAD && (size_t)rows > n) n = (size_t)rows; // written by columns, perhaps
    }
    saving->numbers = malloc(n * sizeof(float));
    saving->wide = malloc(n * sizeof(float));
    saving->narrow = malloc(n * sizeof(float));
    if (saving->numbers != NULL && saving->wide != NULL && saving->narrow != NULL) return true;
    saving_release(saving);
    return error_memory(err, "numbers to write");
}

void saving_release(struct saving *saving) {
    free(saving->numbers);
    free(saving->wide);
    free(saving->narrow);
    saving->numbers = saving->wide = saving->narrow = NULL;
}

static bool report(struct saving *saving, size_t bytes, struct llm_error *err) {
    const struct llm_callbacks *callbacks = &saving->options->callbacks;
    saving->done += (int64_t)bytes;
    const struct llm_progress progress = {"converting", "bytes", saving->done, saving->total};
    if (callbacks->progress == NULL || callbacks->progress(callbacks->user, &progress)) return true;
    return error_set(err, LLM_ERROR_CANCELLED, "converting was cancelled");
}

// One block of n numbers, as the view gives them.
static bool write_block(struct saving *saving, const struct param_view *view, const void *numbers, size_t n,
                        enum dtype dtype, saving_write_fn *write, void *writer, struct llm_error *err) {
    const enum dtype given = param_view_dtype(view);
    const int64_t nonfinite = count_nonfinite(numbers, given, n);
    saving->counts->nonfinite += nonfinite;
    if (dtype != given) {
        dtype_to_f32(saving->wide, numbers, given, n);
        dtype_from_f32(saving->narrow, dtype, saving->wide, n);
        const int64_t grown = count_nonfinite(saving->narrow, dtype, n) - nonfinite;
        if (grown > 0) saving->counts->overflowed += grown; // of blocks, some of the numbers may have been so before
        numbers = saving->narrow;
    }
    const size_t size = dtype_bytes(dtype, n);
    return write(writer, numbers, size, err) && report(saving, size, err);
}

// How many of `left` lines of `length` numbers make a block.
static int lines_of_block(int left, int length) {
    const int n = length < BLOCK ? BLOCK / length : 1;
    return n < left ? n : left;
}

bool saving_rows(struct saving *saving, const struct param_view *view, enum dtype dtype, saving_write_fn *write,
                 void *writer, struct llm_error *err) {
    for (int row = 0; row < view->rows;) {
        const int n = lines_of_block(view->rows - row, view->cols);
        const void *numbers = param_view_rows(view, row, n, saving->numbers);
        if (!write_block(saving, view, numbers, (size_t)n * (size_t)view->cols, dtype, write, writer, err)) {
            return false;
        }
        row += n;
    }
    return true;
}

bool saving_columns(struct saving *saving, const struct param_view *view, int first, int n_columns, enum dtype dtype,
                    saving_write_fn *write, void *writer, struct llm_error *err) {
    for (int column = 0; column < n_columns;) {
        const int n = lines_of_block(n_columns - column, view->rows);
        param_view_columns(view, first + column, n, saving->numbers);
        if (!write_block(saving, view, saving->numbers, (size_t)n * (size_t)view->rows, dtype, write, writer, err)) {
            return false;
        }
        column += n;
    }
    return true;
}

bool saving_as_stored(struct saving *saving, const struct param_view *view, saving_write_fn *write, void *writer,
                      struct llm_error *err) {
    const uint8_t *const data = view->parts[0]->data;
    const size_t n = (size_t)view->n_elements;
    for (size_t first = 0; first < n; first += BLOCK) {
        const size_t length = n - first < BLOCK ? n - first : BLOCK;
        const uint8_t *numbers = data + dtype_bytes(view->dtype, first);
        const size_t size = dtype_bytes(view->dtype, length);
        saving->counts->nonfinite += count_nonfinite(numbers, view->dtype, length);
        if (!write(writer, numbers, size, err) || !report(saving, size, err)) return false;
    }
    return true;
}
