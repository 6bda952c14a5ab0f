// classify_data.c: labelled texts, drawn and cut as asked, as ids; see classify.h.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "infer/session.h"
#include "tasks/classify.h"
#include "tasks/dataset.h"

const char *const classify_spam_rows[2] = {"ham", "spam"};
const char *const classify_spam_told[2] = {"Not Spam", "Spam"};

bool classify_is_spam(const char *const *labels, int n_labels) {
    return n_labels == 2 && strcmp(labels[0], classify_spam_rows[0]) == 0 &&
           strcmp(labels[1], classify_spam_rows[1]) == 0;
}

void classify_data_release(struct classify_data *data) {
    rows_release(&data->rows);
    free(data->labels);
    free(data->order);
    free(data->n_label);
    free(data->ids);
    free(data->starts);
    free(data->padded);
    free(data->targets);
    *data = (struct classify_data){0};
}

// ---- Rows -----------------------------------------------------------------------------------

static void tell_rows(const struct classify_data *data, const struct llm_classify_options *options) {
    const struct rows *rows = &data->rows;
    engine_notice(&options->train.callbacks,
                  "%s: %zu rows, text in column %s, label in column %s, %d labels; left out: %zu without text, %zu "
                  "without label",
                  options->data.path, rows->n_read, rows->text_column, rows->label_column, rows->n_labels,
                  rows->n_empty, rows->n_unlabelled);
    if (rows->n_labels <= METRICS_MOST_MATRIX) return;
    engine_notice(&options->train.callbacks,
                  "%s: column %s has %d different labels, which is a lot; is another one the label (--label-column)?",
                  options->data.path, rows->label_column, rows->n_labels);
}

static bool draw(struct classify_data *data, const struct llm_classify_options *options, struct llm_error *err) {
    const struct rows *rows = &data->rows;
    const uint64_t seed = options->train.seed;
    int32_t *labels = malloc((rows->n > 0 ? rows->n : 1) * sizeof *labels);
    data->order = calloc(rows->n + 1, sizeof *data->order);
    if (labels == NULL || data->order == NULL) {
        free(labels);
        return error_memory(err, "rows");
    }
    for (size_t i = 0; i < rows->n; i++) {
        labels[i] = rows->items[i].label;
        data->order[i] = (int64_t)i;
    }
    size_t n = rows->n;
    bool ok = !options->balance || split_balance(labels, rows->n, rows->n_labels, seed, data->order, &n, err);
    ok = ok && split_random(data->order, n, options->train_share, options->validation_share,
                            options->split_by_label ? labels : NULL, rows->n_labels, seed, &data->split, err);
    for (size_t i = 0; ok && i < data->split.train; i++) data->n_label[labels[data->order[i]]]++;
    free(labels);
    return ok;
}

// Every label must be there to be learnt.
static bool check_labels(const struct classify_data *data, const char *path, struct llm_error *err) {
    for (int i = 0; i < data->rows.n_labels; i++) {
        char quoted[STR_QUOTE_SIZE];
        if (data->n_label[i] > 0) continue;
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "%s: of label %s there is no text in the training part: it has too few rows", path,
                         str_quote(data->labels[i], quoted));
    }
    return true;
}

static uint32_t checksum(const struct classify_data *data) {
    uint32_t crc = crc32c(0, data->order, data->split.n * sizeof *data->order);
    for (size_t i = 0; i < data->split.n; i++) {
        const struct row *row = &data->rows.items[data->order[i]];
        crc = crc32c(crc, &row->label, sizeof row->label);
        crc = crc32c(crc, row->text, row->size + 1);
    }
    return crc;
}

bool classify_data_read(struct classify_data *data, const struct llm_classify_options *options, struct llm_error *err) {
    const struct rows_options opening = {
        .text_column = options->data.text_column,
        .label_column = options->data.label_column,
    };
    struct rows *rows = &data->rows;
    if (!dataset_rows(rows, options->data.path, &opening, &options->train.callbacks, err)) return false;
    data->is_spam = classify_is_spam(rows->labels, rows->n_labels);
    data->labels = calloc((size_t)rows->n_labels, sizeof *data->labels); // NOLINT(bugprone-sizeof-expression): pointers
    data->n_label = calloc((size_t)rows->n_labels, sizeof *data->n_label);
    if (data->labels == NULL || data->n_label == NULL) return error_memory(err, "labels");
    for (int i = 0; i < rows->n_labels; i++) {
        data->labels[i] = data->is_spam ? classify_spam_told[i] : rows->labels[i];
    }
    tell_rows(data, options);
    if (!draw(data, options, err) || !check_labels(data, options->data.path, err)) return false;
    data->checksum = checksum(data);
    return true;
}

bool classify_data_write(const struct classify_data *data, const char *out, struct llm_error *err) {
    static const char *const names[TRAIN_SIDES] = {"train.csv", "validation.csv", "test.csv"};
    for (int side = 0; side < TRAIN_SIDES; side++) {
        size_t n;
        const size_t first = classify_data_side(data, (enum train_side)side, &n);
        char *path = path_join(out, names[side]);
        const bool ok = path != NULL ? rows_write_csv(&data->rows, data->order + first, n, !data->is_spam, path, err)
                                     : error_memory(err, "path");
        free(path);
        if (!ok) return false;
    }
    return true;
}

size_t classify_data_side(const struct classify_data *data, enum train_side side, size_t *n) {
    const size_t starts[TRAIN_SIDES + 1] = {0, data->split.train, data->split.validation, data->split.n};
    *n = starts[side + 1] - starts[side];
    return starts[side];
}

// ---- Ids ------------------------------------------------------------------------------------

// Appends the ids of one text, at most `limit` of them.
static bool encode_row(struct classify_data *data, size_t i, const struct llm_engine *engine, int limit,
                       size_t *capacity, struct llm_error *err) {
    const struct row *row = &data->rows.items[data->order[i]];
    int32_t *ids = NULL;
    size_t n = 0;
    if (!llm_tokenizer_encode(engine->tokenizer, row->text, row->size, false, &ids, &n, err)) return false;
    bool ok = check_ids(&engine->config, ids, n, "a text", err);
    if (n > (size_t)limit) {
        n = (size_t)limit;
        data->n_cut++;
    }
    const size_t end = data->starts[i] + n;
    if (ok && end > *capacity) {
        const size_t larger = 2 * end + 1024;
        int32_t *grown = realloc(data->ids, larger * sizeof *grown);
        ok = grown != NULL || error_memory(err, "ids of the texts");
        if (grown != NULL) {
            data->ids = grown;
            *capacity = larger;
        }
    }
    if (ok && n > 0) memcpy(data->ids + data->starts[i], ids, n * sizeof *ids);
    data->starts[i + 1] = end;
    llm_free(ids);
    return ok;
}

bool classify_data_encode(struct classify_data *data, const struct llm_engine *engine,
                          const struct llm_classify_options *options, struct llm_error *err) {
    const size_t n = data->split.n;
    const int n_ctx = engine->config.n_ctx;
    const int limit = options->max_length > 0 ? options->max_length : n_ctx;
    if (limit > n_ctx) {
        return error_set(err, LLM_ERROR_ARGUMENT, "max-length is %d, and the model has a context of %d", limit, n_ctx);
    }
    data->starts = calloc(n + 1, sizeof *data->starts);
    if (data->starts == NULL) return error_memory(err, "ids of the texts");
    size_t capacity = 0, longest = 1, longest_train = 1;
    for (size_t i = 0; i < n; i++) {
        if (!encode_row(data, i, engine, limit, &capacity, err)) return false;
        const size_t length = data->starts[i + 1] - data->starts[i];
        if (length > longest) longest = length;
        if (length > longest_train && i < data->split.train) longest_train = length;
    }
    data->eos = engine->config.eos;
    const bool padded = options->pooling == LLM_POOL_LAST_POSITION;
    if (padded) data->n_padded = (int)longest_train;
    data->max_tokens = padded ? data->n_padded : (int)longest;
    data->padded = malloc((size_t)data->max_tokens * sizeof *data->padded);
    data->targets = malloc((size_t)data->max_tokens * sizeof *data->targets);
    if (data->padded == NULL || data->targets == NULL) return error_memory(err, "ids of a text");
    if (data->n_cut > 0) {
        engine_notice(&options->train.callbacks, "%zu texts are longer than %d tokens; what follows is left out",
                      data->n_cut, limit);
    }
    return !padded || data->eos >= 0 ||
           error_set(err, LLM_ERROR_ARGUMENT, "the model has no end-of-text id to pad with; take pooling last-token");
}

void classify_data_example(struct classify_data *data, enum train_side side, int64_t number,
                           struct train_example *example) {
    size_t n_side;
    const size_t i = classify_data_side(data, side, &n_side) + (size_t)number;
    const size_t length = data->starts[i + 1] - data->starts[i];
    int n = data->n_padded > 0 ? data->n_padded : (int)length;
    if (n == 0) { // not a single id: as a text of nothing but its end
        data->padded[0] = data->eos < 0 ? 0 : data->eos;
        n = 1;
    }
    for (int t = 0; t < n; t++) {
        if ((size_t)t < length) data->padded[t] = data->ids[data->starts[i] + (size_t)t];
        if ((size_t)t >= length && data->n_padded > 0) data->padded[t] = data->eos;
        data->targets[t] = NO_TARGET;
    }
    data->targets[n - 1] = data->rows.items[data->order[i]].label;
    *example = (struct train_example){.ids = data->padded, .targets = data->targets, .n = n};
}
