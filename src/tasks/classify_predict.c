// classify_predict.c: `llm_classify` and `llm_classify_evaluate`: what a classifier makes of texts.
//
// Texts are packed into batches, shortest first, so that no batch is as large as its longest text times their number.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "infer/session.h"
#include "tasks/classify.h"
#include "tasks/dataset.h"
#include "tasks/report.h"

enum {
    BATCH_TOKENS = 512, // at least one text; products run at their full rate from 256 tokens on
    MOST_MISTAKES = 20,
    MAX_TEXT = 1 << 30 // bytes of a report; each label has a line
};

// One text as ids.
struct encoded {
    int32_t *ids;  // the tokenizer's, freed with llm_free()
    size_t n_own;  // of them that are read
    size_t n;      // with padding
    size_t number; // of the text
};

struct classifying {
    struct llm_engine *engine;
    struct activations activations;
    struct classify_head head;
    struct packed packed;
    struct encoded *texts; // [n] shortest first
    size_t n;
    int max_tokens;
    int32_t *ids, *targets; // [max_tokens] of one text as the model reads it
};

static void release(struct classifying *work) {
    for (size_t i = 0; work->texts != NULL && i < work->n; i++) llm_free(work->texts[i].ids);
    free(work->texts);
    free(work->ids);
    free(work->targets);
    packed_release(&work->packed);
    classify_head_release(&work->head);
    activations_release(&work->activations, work->engine);
}

static int by_length(const void *a, const void *b) {
    const struct encoded *left = a, *right = b;
    if (left->n != right->n) return left->n < right->n ? -1 : 1;
    return left->number < right->number ? -1 : left->number > right->number;
}

static bool encode(struct classifying *work, const char *const *texts, const size_t *sizes, struct llm_error *err) {
    const struct config *config = &work->engine->config;
    for (size_t i = 0; i < work->n; i++) {
        struct encoded *text = &work->texts[i];
        text->number = i;
        if (!llm_tokenizer_encode(work->engine->tokenizer, texts[i], sizes[i], false, &text->ids, &text->n_own, err) ||
            !check_ids(config, text->ids, text->n_own, "a text", err)) {
            return false;
        }
        const size_t limit = (size_t)(config->n_padded > 0 ? config->n_padded : config->n_ctx);
        if (text->n_own > limit) text->n_own = limit;
        text->n = config->n_padded > 0 ? limit : text->n_own;
        if (text->n == 0) text->n = 1;
    }
    qsort(work->texts, work->n, sizeof *work->texts, by_length);
    return true;
}

static bool prepare(struct classifying *work, struct llm_error *err) {
    const size_t longest = work->n > 0 ? work->texts[work->n - 1].n : 0;
    work->max_tokens = longest > BATCH_TOKENS ? (int)longest : BATCH_TOKENS;
    const size_t n = (size_t)work->max_tokens;
    work->ids = malloc(n * sizeof *work->ids);
    work->targets = malloc(n * sizeof *work->targets);
    if (work->ids == NULL || work->targets == NULL) return error_memory(err, "ids of a text");
    return packed_init(&work->packed, work->max_tokens, work->max_tokens, err) &&
           classify_head_init(&work->head, work->engine, work->max_tokens, false, err) &&
           activations_init(&work->activations, work->engine, work->max_tokens, work->max_tokens, work->max_tokens,
                            false, err);
}

// Adds one text as the model reads it: padded, or as it is; one without an id is the end of a text.
static void add(struct classifying *work, size_t i) {
    const struct config *config = &work->engine->config;
    const struct encoded *text = &work->texts[i];
    const size_t n = text->n;
    const int32_t eos = config->eos < 0 ? 0 : config->eos;
    for (size_t t = 0; t < n; t++) {
        work->ids[t] = t < text->n_own ? text->ids[t] : eos;
        work->targets[t] = NO_TARGET;
    }
    work->targets[n - 1] = 0;
    const struct train_example example = {.ids = work->ids, .targets = work->targets, .n = (int)n};
    packed_add(&work->packed, (int64_t)text->number, &example, 1);
}

// Where the answers go.
struct answers {
    int32_t *labels;      // [n]
    float *likeliest;     // [n] of that label; NULL: not wanted
    float *probabilities; // [n, n_labels] likewise
};

static bool run_batch(struct classifying *work, const struct answers *answers, struct llm_error *err) {
    const struct batch *batch = &work->packed.batch;
    const float *logits;
    if (!forward_hidden(work->engine, &work->activations, batch, NULL, err) ||
        !classify_head_logits(&work->head, work->engine, work->activations.rows, batch->n_rows, &logits, err)) {
        return false;
    }
    const int n_labels = work->head.n_labels;
    for (int i = 0; i < batch->n_rows; i++) {
        const size_t number = (size_t)work->packed.examples[i];
        float *to = answers->probabilities != NULL ? answers->probabilities + number * (size_t)n_labels
                                                   : work->head.probabilities;
        const int32_t label = classify_softmax(logits + (size_t)i * (size_t)n_labels, n_labels, to);
        answers->labels[number] = label;
        if (answers->likeliest != NULL) answers->likeliest[number] = to[label];
        if (isfinite(to[label])) continue;
        return error_set(err, LLM_ERROR_FORMAT, "%s: gives a text a logit that is no number: its weights are damaged",
                         work->engine->path);
    }
    return true;
}

static bool check_classifier(const struct llm_engine *engine, struct llm_error *err) {
    if (engine->config.n_labels == 0) {
        return error_set(err, LLM_ERROR_UNSUPPORTED,
                         "%s: writes text; a classifier was expected, as training makes one", engine->path);
    }
    return engine->tokenizer != NULL ||
           error_set(err, LLM_ERROR_ARGUMENT, "%s: has no vocabulary, which texts need", engine->path);
}

static bool classify(struct llm_engine *engine, const char *const *texts, const size_t *sizes, size_t n,
                     const struct answers *answers, struct llm_error *err) {
    if (!check_classifier(engine, err)) return false;
    if (n == 0) return true;
    struct classifying work = {.engine = engine, .n = n, .texts = calloc(n, sizeof *work.texts)};
    if (work.texts == NULL) return error_memory(err, "texts");
    bool ok = encode(&work, texts, sizes, err) && prepare(&work, err);
    for (size_t i = 0; ok && i < n;) {
        packed_clear(&work.packed);
        while (i < n && work.packed.batch.n_tokens + (int)work.texts[i].n <= work.max_tokens) add(&work, i++);
        ok = run_batch(&work, answers, err);
    }
    release(&work);
    return ok;
}

bool llm_classify(struct llm_engine *engine, const char *const *texts, const size_t *sizes, size_t n, int32_t *labels,
                  float *probabilities, struct llm_error *err) {
    return classify(engine, texts, sizes, n, &(struct answers){.labels = labels, .probabilities = probabilities}, err);
}

// ---- A file of labelled texts ---------------------------------------------------------------

// The rows, labelled as the classifier has it. One of the SMS collection's may be asked about its own ham and spam, or
// 0 and 1.
static bool read_rows(struct rows *rows, const struct llm_engine *engine, const struct llm_classify_data *data,
                      struct llm_error *err) {
    struct config config = engine->config;
    if (config.labels == NULL) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%s: does not name its labels", engine->path);
    }
    struct rows_options options = {
        .text_column = data->text_column,
        .label_column = data->label_column,
        .labels = config.labels,
        .n_labels = config.n_labels,
    };
    struct llm_error reason = {0};
    if (dataset_rows(rows, data->path, &options, &engine->callbacks, &reason)) return true;
    const bool is_spam = config.n_labels == 2 && strcmp(config.labels[0], classify_spam_told[0]) == 0 &&
                         strcmp(config.labels[1], classify_spam_told[1]) == 0;
    if (is_spam) {
        rows_release(rows);
        options.labels = classify_spam_rows;
        if (dataset_rows(rows, data->path, &options, &engine->callbacks, NULL)) return true;
    }
    return error_set(err, reason.code, "%s", reason.text);
}

static bool predict_rows(struct llm_engine *engine, const struct rows *rows, struct prediction *predictions,
                         struct llm_error *err) {
    const size_t n = rows->n;
    const char **texts = calloc(n + 1, sizeof *texts); // NOLINT(bugprone-sizeof-expression): pointers
    size_t *sizes = calloc(n + 1, sizeof *sizes);
    int32_t *labels = calloc(n + 1, sizeof *labels);
    float *likeliest = calloc(n + 1, sizeof *likeliest);
    bool ok = texts != NULL && sizes != NULL && labels != NULL && likeliest != NULL;
    if (!ok) error_memory(err, "texts");
    for (size_t i = 0; ok && i < n; i++) {
        texts[i] = rows->items[i].text;
        sizes[i] = rows->items[i].size;
    }
    const struct answers answers = {.labels = labels, .likeliest = likeliest};
    ok = ok && classify(engine, texts, sizes, n, &answers, err);
    for (size_t i = 0; ok && i < n; i++) {
        predictions[i] = (struct prediction){
            .label = rows->items[i].label,
            .predicted = labels[i],
            .probability = likeliest[i],
            .text = texts[i],
        };
    }
    free(texts);
    free(sizes);
    free(labels);
    free(likeliest);
    return ok;
}

// The numbers of `metrics` as the caller gets them.
static bool hand_out(struct llm_classify_measures *measures, const struct metrics *metrics,
                     const struct llm_engine *engine, struct llm_error *err) {
    const size_t n_labels = (size_t)metrics->n_labels;
    measures->n_texts = (int64_t)metrics->n;
    measures->n_right = (int64_t)metrics->n_right;
    measures->accuracy = metrics->accuracy;
    measures->precision = metrics->macro.precision;
    measures->recall = metrics->macro.recall;
    measures->f1 = metrics->macro.f1;
    measures->n_labels = metrics->n_labels;
    measures->labels = calloc(n_labels, sizeof *measures->labels);
    if (measures->labels == NULL) return error_memory(err, "measures");
    if (metrics->n_labels <= METRICS_MOST_MATRIX) {
        measures->confusion = metrics_matrix(metrics, err);
        if (measures->confusion == NULL) return false;
    }
    for (size_t i = 0; i < n_labels; i++) {
        const struct metrics_label *label = &metrics->labels[i];
        measures->labels[i] = (struct llm_label_measures){
            .name = engine->config.labels[i],
            .precision = label->rates.precision,
            .recall = label->rates.recall,
            .f1 = label->rates.f1,
            .n_true = (int64_t)label->n_true,
            .n_predicted = (int64_t)label->n_predicted,
            .n_right = (int64_t)label->n_right,
        };
    }
    return true;
}

static bool describe(struct llm_classify_measures *measures, const struct metrics *metrics,
                     const struct prediction *predictions, const struct llm_engine *engine, struct llm_error *err) {
    struct strbuf out;
    strbuf_init(&out, MAX_TEXT);
    report_labels(&out, metrics, engine->config.labels);
    strbuf_puts(&out, "\n");
    report_confusion(&out, metrics, engine->config.labels);
    strbuf_puts(&out, "\n");
    const bool ok = report_mistakes(&out, predictions, metrics->n, engine->config.labels, MOST_MISTAKES, err);
    if (ok) measures->text = strbuf_take(&out);
    strbuf_release(&out);
    return ok && (measures->text != NULL || error_memory(err, "report"));
}

bool llm_classify_evaluate(struct llm_engine *engine, const struct llm_classify_data *data,
                           struct llm_classify_measures *measures, struct llm_error *err) {
    *measures = (struct llm_classify_measures){0};
    if (!check_classifier(engine, err)) return false;
    struct rows rows = {0};
    struct metrics metrics = {0};
    struct prediction *predictions = NULL;
    bool ok = read_rows(&rows, engine, data, err);
    if (ok) {
        predictions = calloc(rows.n + 1, sizeof *predictions);
        ok = predictions != NULL;
        if (!ok) error_memory(err, "predictions");
        ok = ok && predict_rows(engine, &rows, predictions, err) &&
             metrics_measure(&metrics, predictions, rows.n, engine->config.n_labels, err) &&
             hand_out(measures, &metrics, engine, err) && describe(measures, &metrics, predictions, engine, err);
    }
    metrics_release(&metrics);
    free(predictions);
    rows_release(&rows);
    if (!ok) llm_classify_measures_release(measures);
    return ok;
}

void llm_classify_measures_release(struct llm_classify_measures *measures) {
    free(measures->labels);
    free(measures->confusion);
    free(measures->text);
    *measures = (struct llm_classify_measures){0};
}
