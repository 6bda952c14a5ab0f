// classify_train.c: `llm_classify_train`: from labelled texts to a classifier.
//
// The model is the pretrained one with a new head: a Linear from the hidden state of the token that is read to the
// labels. An example is a text's ids with its label as the target of its last one. Everything else is the trainer's
// (train/trainer.h), which computes what lies below the first trained block once for each text.
//
// Seeds as in the book's chapter 6: the generator begins anew for the head, for the measures before training, and for
// training, so that the numbers of each do not depend on what was drawn before.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/str.h"
#include "model/save.h"
#include "tasks/book_file.h"
#include "tasks/classify.h"

enum {
    INITIAL_BATCHES = 10, // of the accuracies before training
    MAX_TEXT = 1 << 16
};

static const char *const sides[TRAIN_SIDES] = {"train", "validation", "test"};

struct classify_run {
    const struct llm_classify_options *options;
    const char *out;
    struct llm_engine *engine;
    struct param_block weights;
    struct classify_data data;
    struct classify_head head;
    float *class_weights; // [n_labels]
    json_t *identity, *details, *measures;
    // What the loss counts on its way.
    int64_t n_seen, n_right;
    enum train_side side;
    struct prediction *predictions; // [n of the side] NULL: not recorded
};

// ---- The model ------------------------------------------------------------------------------

static bool open_model(struct classify_run *run, struct llm_error *err) {
    const struct llm_classify_options *options = run->options;
    const struct llm_engine_options opening = train_engine_options(&options->train);
    struct llm_engine *base = llm_engine_open(options->model, &opening, err);
    if (base == NULL) return false;
    bool ok = base->tokenizer != NULL ||
              error_set(err, LLM_ERROR_ARGUMENT, "%s: has no vocabulary, which texts need", base->path);
    if (ok && base->config.eos < 0) {
        const int32_t eot = llm_tokenizer_eot(base->tokenizer);
        if (eot < base->config.vocab_size) base->config.eos = eot;
    }
    ok = ok && classify_data_encode(&run->data, base, options, err);
    if (ok && options->train_layers > base->config.n_layer) {
        ok = error_set(err, LLM_ERROR_ARGUMENT, "train-layers is %d, and the model has %d blocks",
                       options->train_layers, base->config.n_layer);
    }
    if (ok) {
        const struct classify_data *data = &run->data;
        run->engine = engine_classifier(base, data->labels, data->rows.n_labels, data->n_padded, &opening, err);
        ok = run->engine != NULL;
    }
    llm_engine_free(base);
    if (!ok || !engine_own_weights(run->engine, &run->weights, err)) return false;
    classify_head_draw(&run->engine->config, &run->weights, options->train.seed);
    return classify_head_init(&run->head, run->engine, options->train.batch_size, true, err);
}

static struct trainable trained(const struct classify_run *run) {
    const int n = run->options->train_layers;
    if (n == LLM_LAYERS_ALL) return trainable_all();
    return (struct trainable){
        .first_layer = run->engine->config.n_layer - n, .final_norm = n != LLM_LAYERS_HEAD, .head = true};
}

static bool weigh_classes(struct classify_run *run, struct llm_error *err) {
    const struct classify_data *data = &run->data;
    const int n_labels = data->rows.n_labels;
    run->class_weights = malloc((size_t)n_labels * sizeof *run->class_weights);
    if (run->class_weights == NULL) return error_memory(err, "weights of the labels");
    for (int i = 0; i < n_labels; i++) run->class_weights[i] = 1;
    if (run->options->class_weights) classify_balanced_weights(data->n_label, n_labels, run->class_weights);
    return true;
}

// ---- The loss -------------------------------------------------------------------------------

// Counts one text, and records it where that is asked for.
static void count(struct classify_run *run, const float *logits, int32_t label, int64_t number) {
    const int32_t predicted = classify_softmax(logits, run->head.n_labels, run->head.probabilities);
    run->n_seen++;
    run->n_right += predicted == label;
    if (run->predictions == NULL) return;
    size_t n;
    const size_t i = classify_data_side(&run->data, run->side, &n) + (size_t)number;
    run->predictions[number] = (struct prediction){
        .label = label,
        .predicted = predicted,
        .probability = run->head.probabilities[predicted],
        .text = run->data.rows.items[run->data.order[i]].text,
    };
}

static bool compute_loss(void *user, const struct train_call *call, struct llm_error *err) {
    struct classify_run *run = user;
    const struct batch *batch = &call->packed->batch;
    struct ops *ops = call->engine->ops;
    const float *hidden, *logits;
    const bool keep = call->gradients != NULL;
    if (!pass_forward(call->pass, batch, call->entering, call->random, keep, &hidden, err) ||
        !classify_head_logits(&run->head, call->engine, hidden, batch->n_rows, &logits, err)) {
        return false;
    }
    const int32_t *labels = call->packed->targets;
    const int n_labels = run->head.n_labels;
    for (int i = 0; i < batch->n_rows; i++) {
        count(run, run->head.logits + (ptrdiff_t)i * n_labels, labels[i], call->packed->examples[i]);
    }
    classify_cross_entropy(run->head.logits, labels, batch->n_rows, n_labels, run->class_weights, call->scales,
                           call->losses);
    if (call->gradients == NULL) return true;
    const struct linear linear = classify_linear(call->engine);
    const bool is_head_alone = run->options->train_layers == LLM_LAYERS_HEAD;
    return ops->linear_backward(ops, is_head_alone ? NULL : run->head.dhidden,
                                param_block_at(call->gradients, PARAM_SCORE, 0),
                                param_block_at(call->gradients, PARAM_SCORE_BIAS, 0), run->head.logits, hidden, &linear,
                                batch->n_rows, err) &&
           (call->lora == NULL || lora_backward(call->lora, PARAM_SCORE, 0, 0, run->head.n_labels, run->head.logits,
                                                hidden, batch->n_rows, err)) &&
           (is_head_alone || pass_backward(call->pass, run->head.dhidden, call->gradients, err));
}

static bool give_example(void *user, enum train_side side, int64_t number, struct train_example *example,
                         struct llm_error *err) {
    struct classify_run *run = user;
    (void)err;
    classify_data_example(&run->data, side, number, example);
    return true;
}

// ---- Measures -------------------------------------------------------------------------------

// Accuracies of the first `most` batches (0: all) of the first n_sides sides: an object for run.json.
static json_t *measure(struct classify_run *run, struct trainer *trainer, struct random *random, int n_sides, int most,
                       struct llm_error *err) {
    json_t *object = json_object();
    bool ok = object != NULL || error_memory(err, "accuracies");
    for (int side = 0; ok && side < n_sides; side++) {
        double mean;
        run->side = (enum train_side)side;
        run->n_seen = run->n_right = 0;
        ok = train_pass_over(trainer, run->side, most, random, &mean, err);
        if (!ok) break;
        json_t *value = run->n_seen > 0 ? json_real((double)run->n_right / (double)run->n_seen) : json_null();
        ok = json_object_set_new(object, sides[side], value) == 0 || error_memory(err, "accuracies");
    }
    if (ok) return object;
    json_decref(object);
    return NULL;
}

// "Training accuracy: 90.00% | Validation accuracy: 87.50%", as the book prints it.
static bool tell(const json_t *accuracies, char **text, size_t *size, struct llm_error *err) {
    static const char *const names[TRAIN_SIDES] = {"Training", "Validation", "Test"};
    struct strbuf line;
    strbuf_init(&line, MAX_TEXT);
    for (int side = 0; side < TRAIN_SIDES; side++) {
        const json_t *value = json_object_get(accuracies, sides[side]);
        if (!json_is_real(value)) continue;
        strbuf_printf(&line, "%s%s accuracy: %.2f%%", line.size > 0 ? " | " : "", names[side],
                      100 * json_real_value(value));
    }
    *size = line.size;
    *text = strbuf_take(&line);
    strbuf_release(&line);
    return *text != NULL || error_memory(err, "accuracies");
}

static bool begin(void *user, struct trainer *trainer, struct random *random, char **text, size_t *size,
                  struct llm_error *err) {
    struct classify_run *run = user;
    if (!classify_data_write(&run->data, run->out, err)) return false; // not before: an earlier run's may lie there
    json_t *accuracies = measure(run, trainer, random, TRAIN_SIDES, INITIAL_BATCHES, err);
    if (accuracies == NULL) return false;
    if (json_object_set_new(run->measures, "initial_accuracy", accuracies) != 0) {
        return error_memory(err, "accuracies");
    }
    return tell(accuracies, text, size, err);
}

static bool end_epoch(void *user, struct trainer *trainer, struct random *random, char **text, size_t *size,
                      struct llm_error *err) {
    struct classify_run *run = user;
    json_t *list = json_object_get(run->measures, "epoch_accuracy");
    json_t *accuracies = measure(run, trainer, random, TRAIN_TEST, run->options->train.eval_iter, err);
    if (accuracies == NULL) return false;
    if (json_array_append_new(list, accuracies) != 0) return error_memory(err, "accuracies");
    return tell(accuracies, text, size, err);
}

// ---- What is left ---------------------------------------------------------------------------

// GPT2ForSequenceClassification's head has no bias, so it is moved into the final norm's for as long as this takes.
static bool save(void *user, const struct lora *lora, const char *path, struct llm_error *err) {
    struct classify_run *run = user;
    struct config *config = &run->engine->config;
    float *norm = param_block_at(&run->weights, PARAM_LN_F_BIAS, 0);
    const size_t bytes = (size_t)config->n_embd * sizeof *norm;
    float *before = malloc(bytes);
    if (before == NULL) return error_memory(err, "a head without bias");
    memcpy(before, norm, bytes);
    bool folded = false;
    bool ok = classify_fold_bias(config, param_block_at(&run->weights, PARAM_SCORE, 0),
                                 param_block_at(&run->weights, PARAM_SCORE_BIAS, 0), norm, &folded, err);
    config->score_bias = !folded;
    ok = ok &&
         (lora != NULL ? lora_save(lora, run->engine, path, err) : model_save(run->engine, path, DTYPE_F32, true, err));
    config->score_bias = true;
    memcpy(norm, before, bytes);
    free(before);
    return ok;
}

// The accuracies of everything, the predictions of the test part kept for the report.
static bool measure_final(struct classify_run *run, struct trainer *trainer, struct random *random,
                          struct classify_report *report, struct llm_error *err) {
    size_t n_test, n_validation;
    classify_data_side(&run->data, TRAIN_TEST, &n_test);
    classify_data_side(&run->data, TRAIN_VALIDATE, &n_validation);
    const enum train_side side = n_test > 0 ? TRAIN_TEST : TRAIN_VALIDATE;
    report->n = n_test > 0 ? n_test : n_validation;
    report->part = sides[side];
    json_t *accuracies = measure(run, trainer, random, TRAIN_SIDES, 0, err);
    if (accuracies == NULL) return false;
    if (json_object_set_new(run->measures, "final_accuracy", accuracies) != 0) return error_memory(err, "accuracies");
    run->predictions = calloc(report->n + 1, sizeof *run->predictions);
    if (run->predictions == NULL) return error_memory(err, "predictions");
    report->predictions = run->predictions;
    double mean;
    struct random copy = *random;
    run->side = side;
    return train_pass_over(trainer, side, 0, &copy, &mean, err);
}

static bool finish(void *user, struct trainer *trainer, struct random *random, bool finished, const char *out,
                   struct llm_error *err) {
    struct classify_run *run = user;
    const struct llm_train_options *train = &run->options->train;
    struct classify_report report = {
        .data = &run->data,
        .options = run->options,
        .out = out,
        .measures = run->measures,
        .steps_an_epoch = (int64_t)run->data.split.train / ((int64_t)train->batch_size * train->grad_accum),
    };
    const bool drawn = classify_plot_losses(&report, err) && classify_plot_accuracy(&report, err);
    if (!drawn || !finished) return drawn;
    return measure_final(run, trainer, random, &report, err) && classify_report_write(&report, err) &&
           book_file_save(run->engine, out, "review_classifier.pth", &train->callbacks, err);
}

// ---- For run.json and the checkpoint ---------------------------------------------------------

static bool describe(struct classify_run *run, struct llm_error *err) {
    const struct llm_classify_options *options = run->options;
    const struct classify_data *data = &run->data;
    const struct config *config = &run->engine->config;
    const uint32_t crc = crc32c(0, run->weights.data, (size_t)run->weights.size * sizeof *run->weights.data);
    json_t *labels = json_array();
    bool ok = labels != NULL;
    for (int i = 0; i < config->n_labels && ok; i++) {
        ok = json_array_append_new(labels, json_string(data->labels[i])) == 0;
    }
    run->identity = json_pack("{s:{s:i, s:i, s:i, s:i, s:i, s:I}, s:I, s:O?, s:s, s:i, s:b, s:i}", "model", "n_layer",
                              config->n_layer, "n_head", config->n_head, "n_embd", config->n_embd, "n_ctx",
                              config->n_ctx, "vocab_size", config->vocab_size, "initial_weights_crc32c",
                              (json_int_t)crc, "data", (json_int_t)data->checksum, "labels", labels, "pooling",
                              data->n_padded > 0 ? "last-position" : "last-token", "max_tokens", data->max_tokens,
                              "class_weights", options->class_weights, "train_layers", options->train_layers);
    run->details = json_pack(
        "{s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:b}", "task", "classify", "file", json_name(options->data.path),
        "model", json_name(options->model), "train_texts", (json_int_t)data->split.train, "validation_texts",
        (json_int_t)(data->split.validation - data->split.train), "test_texts",
        (json_int_t)(data->split.n - data->split.validation), "texts_cut", (json_int_t)data->n_cut, "rows_left_out",
        (json_int_t)(data->rows.n_empty + data->rows.n_unlabelled), "balanced", options->balance);
    run->measures = json_pack("{s:[]}", "epoch_accuracy");
    json_decref(labels);
    return (ok && run->identity != NULL && run->details != NULL && run->measures != NULL) ||
           error_memory(err, "settings");
}

static void read_accuracies(const json_t *object, double accuracies[3]) {
    for (int side = 0; side < TRAIN_SIDES; side++) {
        const json_t *value = json_object_get(object, sides[side]);
        accuracies[side] = json_is_number(value) ? json_number_value(value) : (double)NAN;
    }
}

static void fill_result(const json_t *measures, struct llm_classify_result *result) {
    read_accuracies(json_object_get(measures, "initial_accuracy"), result->initial_accuracy);
    read_accuracies(json_object_get(measures, "final_accuracy"), result->final_accuracy);
}

// ---- The whole ------------------------------------------------------------------------------

static void release(struct classify_run *run) {
    json_decref(run->identity);
    json_decref(run->details);
    json_decref(run->measures);
    free(run->class_weights);
    free(run->predictions);
    classify_head_release(&run->head);
    classify_data_release(&run->data);
    if (run->engine != NULL) param_block_release(&run->weights, run->engine->ops);
    llm_engine_free(run->engine);
}

static bool train(struct classify_run *run, struct llm_classify_result *result, struct llm_error *err) {
    const struct llm_classify_options *options = run->options;
    size_t n_validation, n_test;
    classify_data_side(&run->data, TRAIN_VALIDATE, &n_validation);
    classify_data_side(&run->data, TRAIN_TEST, &n_test);
    struct train_task task = {
        .user = run,
        .n_examples = {(int64_t)run->data.split.train, (int64_t)n_validation, (int64_t)n_test},
        .max_tokens = run->data.max_tokens,
        .trainable = trained(run),
        .cache_memory = options->cache_memory,
        .identity = run->identity,
        .details = run->details,
        .measures = run->measures,
        .example = give_example,
        .loss = compute_loss,
        .begin = begin,
        .epoch = end_epoch,
        .save = save,
        .finish = finish,
    };
    random_init(&task.random, options->train.seed);
    const bool ok =
        train_run(run->engine, &run->weights, &task, NULL, 0, run->out, &options->train, &result->train, err);
    fill_result(run->measures, result);
    return ok;
}

// A finished run of the same data and settings is there already.
static bool load(const struct classify_run *run, struct llm_classify_result *result, struct llm_error *err) {
    json_t *report = NULL;
    const struct llm_train_options *options = &run->options->train;
    if (options->overwrite) return true;
    if (!train_finished_same(run->out, options, run->identity, &result->loaded, &report, err)) return false;
    if (!result->loaded) return true;
    train_finished(run->out, &result->train);
    fill_result(report, result);
    json_decref(report);
    engine_notice(&options->callbacks,
                  "%s: holds the finished classifier of this data and these settings; it is taken as it is", run->out);
    return true;
}

bool llm_classify_train(const char *out, const struct llm_classify_options *options, struct llm_classify_result *result,
                        struct llm_error *err) {
    struct llm_classify_options defaults;
    struct llm_classify_result unwanted;
    llm_classify_options_init(&defaults);
    if (options == NULL) options = &defaults;
    if (result == NULL) result = &unwanted;
    *result = (struct llm_classify_result){0};
    struct classify_run run = {.options = options, .out = out};
    bool ok = classify_options_check(options, err) && classify_data_read(&run.data, options, err) &&
              open_model(&run, err) && weigh_classes(&run, err) && describe(&run, err) && load(&run, result, err);
    if (ok && !result->loaded) {
        ok = train_begin(out, &options->train, err) && train(&run, result, err);
    }
    release(&run);
    return ok;
}
