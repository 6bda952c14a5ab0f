// instruct_train.c: `llm_instruct_train`: from instructions to a model that follows them.
//
// All weights are trained. An example is the ids of prompt and answer with the next id of each as its target, or of
// the answer's alone; examples lie in a batch without padding, so that what the book pads costs nothing. Everything
// else is the trainer's (train/trainer.h), and the answers to the test part are respond_file.c's.
//
// Seeds as in the book's chapter 7: the generator begins anew for training, after the measures before it.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "plot/plot.h"
#include "tasks/book_file.h"
#include "tasks/instruct.h"
#include "tasks/respond.h"
#include "tasks/sample.h"

#define ANSWERS "instruction-data-with-response.json"

struct instruct_run {
    const struct llm_instruct_options *options;
    const char *out;
    char *book_name; // <model>-sft.pth
    struct llm_engine *engine;
    struct param_block weights;
    struct instruct_data data;
    json_t *identity, *details;
};

// ---- The model ------------------------------------------------------------------------------------

// The head that was asked for.
static bool set_head(struct instruct_run *run, const struct llm_engine_options *opening, struct llm_error *err) {
    const bool tied = run->engine->config.tied_head;
    if (run->options->head == LLM_HEAD_TIED && !tied) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "%s: has an output head of its own, which a tied one would throw away", run->engine->path);
    }
    if (run->options->head != LLM_HEAD_UNTIED || !tied) return true;
    struct llm_engine *untied = engine_untied(run->engine, opening, err);
    llm_engine_free(run->engine);
    run->engine = untied;
    return untied != NULL;
}

static bool open_model(struct instruct_run *run, struct llm_error *err) {
    const struct llm_instruct_options *options = run->options;
    const struct llm_engine_options opening = train_engine_options(&options->train);
    run->engine = llm_engine_open(options->model, &opening, err);
    if (run->engine == NULL || !engine_writes_text(run->engine, err)) return false;
    if (run->engine->tokenizer == NULL) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%s: has no vocabulary, which instructions need", run->engine->path);
    }
    run->book_name = instruct_book_name(options->model != NULL ? options->model : run->engine->path);
    if (run->book_name == NULL) return error_memory(err, "path");
    if (!instruct_data_encode(&run->data, run->engine, options, err) || !set_head(run, &opening, err)) return false;
    struct config *config = &run->engine->config;
    if (config->eos < 0) config->eos = run->data.examples.eot;
    return engine_own_weights(run->engine, &run->weights, err);
}

// ---- What the trainer asks ------------------------------------------------------------------------

static bool give_example(void *user, enum train_side side, int64_t number, struct train_example *example,
                         struct llm_error *err) {
    struct instruct_run *run = user;
    return instruct_data_example(&run->data, side, number, example, err);
}

static bool remove_old(const struct instruct_run *run, const char *name, struct llm_error *err) {
    char *path = path_join(run->out, name);
    if (path == NULL) return error_memory(err, "path");
    const bool gone = unlink(path) == 0 || !path_exists(path);
    if (!gone) error_set(err, LLM_ERROR_IO, "%s: cannot remove what an earlier run left", path);
    free(path);
    return gone;
}

// What an earlier run left that the trainer does not know of: the answers were another model's.
static bool begin(void *user, struct trainer *trainer, struct random *random, char **text, size_t *size,
                  struct llm_error *err) {
    const struct instruct_run *run = user;
    (void)trainer, (void)random, (void)text, (void)size;
    return remove_old(run, ANSWERS, err) && remove_old(run, ANSWERS ".part", err) &&
           remove_old(run, run->book_name, err);
}

// An answer to the first entry that is held back.
static bool sample(void *user, struct trainer *trainer, struct random *random, char **text, size_t *size,
                   struct llm_error *err) {
    const struct instruct_run *run = user;
    const struct instruct_data *data = &run->data;
    (void)trainer, (void)random;
    if (run->options->sample_tokens == 0) return true;
    const size_t n = data->instructions.n;
    const struct instruction *item = &data->instructions.items[data->split.validation < n ? data->split.validation : 0];
    struct strbuf prompt;
    strbuf_init(&prompt, (size_t)RECORDS_MAX_CELL * 4);
    template_put_prompt(&prompt, &data->template, item);
    template_put_header(&prompt, &data->template, item);
    const bool ok = strbuf_ok(&prompt) ? sample_text(run->engine, prompt.bytes, prompt.size,
                                                     run->options->sample_tokens, false, text, size, err)
                                       : error_memory(err, "sample");
    strbuf_release(&prompt);
    return ok;
}

static bool draw(const struct instruct_run *run, struct llm_error *err) {
    const struct llm_train_options *train = &run->options->train;
    const int64_t n = (int64_t)train->batch_size * train->grad_accum;
    const struct plot_log_axes axes = {.examples_per_epoch = (double)((int64_t)run->data.split.train / n * n)};
    char *log = path_join(run->out, "log.csv");
    char *folder = path_join(run->out, "plots");
    const struct plot_place place = {.folder = folder, .name = "loss_plot", .callbacks = train->callbacks};
    const bool ok = log != NULL && folder != NULL ? plot_losses(log, &axes, &place, err) : error_memory(err, "path");
    free(folder);
    free(log);
    return ok;
}

static bool finish(void *user, struct trainer *trainer, struct random *random, bool finished, const char *out,
                   struct llm_error *err) {
    const struct instruct_run *run = user;
    (void)trainer, (void)random;
    if (!draw(run, err)) return false;
    return !finished || !run->options->book_file ||
           book_file_save(run->engine, out, run->book_name, &run->options->train.callbacks, err);
}

// ---- For run.json and the checkpoint --------------------------------------------------------------

static bool describe(struct instruct_run *run, struct llm_error *err) {
    const struct llm_instruct_options *options = run->options;
    const struct instruct_data *data = &run->data;
    const struct config *config = &run->engine->config;
    const uint32_t crc = crc32c(0, run->weights.data, (size_t)run->weights.size * sizeof *run->weights.data);
    run->identity = json_pack("{s:{s:i, s:i, s:i, s:i, s:i, s:b, s:I}, s:I, s:s, s:i}", "model", "n_layer",
                              config->n_layer, "n_head", config->n_head, "n_embd", config->n_embd, "n_ctx",
                              config->n_ctx, "vocab_size", config->vocab_size, "tied_head", config->tied_head,
                              "initial_weights_crc32c", (json_int_t)crc, "data", (json_int_t)data->checksum, "loss",
                              data->response_only ? "response" : "all", "max_length", data->examples.max_length);
    run->details = json_pack(
        "{s:s, s:o, s:o, s:s#, s:I, s:I, s:I, s:I}", "task", "instruct", "file", json_name(options->data), "model",
        json_name(options->model), "template", data->template.text, (int)data->template.size, "train_entries",
        (json_int_t)data->split.train, "test_entries", (json_int_t)(data->split.validation - data->split.train),
        "validation_entries", (json_int_t)(data->split.n - data->split.validation), "entries_cut",
        (json_int_t)data->examples.n_cut);
    return (run->identity != NULL && run->details != NULL) || error_memory(err, "settings");
}

// ---- The answers ------------------------------------------------------------------------------------

static bool answer_with(struct instruct_run *run, struct llm_engine *engine, const char *path,
                        struct llm_respond_result *result, struct llm_error *err) {
    struct instruct_data *data = &run->data;
    struct llm_respond_options respond = run->options->answers;
    respond.callbacks = run->options->train.callbacks;
    struct respond_entries entries;
    size_t n;
    const size_t first = instruct_data_side(data, TRAIN_TEST, &n);
    const bool ok = respond_entries_read(&entries, data->path, &data->instructions, first, n, err) &&
                    respond_entries(engine, &data->template, &entries, path, &respond, result, err);
    json_decref(entries.list);
    return ok;
}

// The test entries, answered by the model that is in the directory; training has given its memory back.
static bool answer(struct instruct_run *run, struct llm_instruct_result *result, struct llm_error *err) {
    size_t n;
    instruct_data_side(&run->data, TRAIN_TEST, &n);
    char *path = path_join(run->out, ANSWERS);
    if (path == NULL) return error_memory(err, "path");
    bool ok = true;
    if (n > 0 && !path_exists(path)) {
        const struct llm_engine_options opening = train_engine_options(&run->options->train);
        struct llm_engine *engine = llm_engine_open(run->out, &opening, err);
        ok = engine != NULL && answer_with(run, engine, path, &result->answers, err);
        llm_engine_free(engine);
    }
    free(path);
    return ok;
}

// ---- The whole --------------------------------------------------------------------------------------

static void release_model(struct instruct_run *run) {
    if (run->engine != NULL) param_block_release(&run->weights, run->engine->ops);
    llm_engine_free(run->engine);
    run->engine = NULL;
}

static bool train(struct instruct_run *run, struct llm_instruct_result *result, struct llm_error *err) {
    const struct llm_instruct_options *options = run->options;
    size_t n_validation;
    instruct_data_side(&run->data, TRAIN_VALIDATE, &n_validation);
    struct train_task task = {
        .user = run,
        .n_examples = {(int64_t)run->data.split.train, (int64_t)n_validation},
        .max_tokens = run->data.max_tokens,
        .trainable = trainable_all(),
        .cache_memory = -1,
        .identity = run->identity,
        .details = run->details,
        .shares_beginning = true, // the template's
        .example = give_example,
        .begin = begin,
        .epoch = sample,
        .finish = finish,
    };
    random_init(&task.random, options->train.seed);
    return train_run(run->engine, &run->weights, &task, NULL, 0, run->out, &options->train, &result->train, err);
}

// A finished run of the same data and settings is there already.
static bool load(const struct instruct_run *run, struct llm_instruct_result *result, struct llm_error *err) {
    const struct llm_train_options *options = &run->options->train;
    if (options->overwrite) return true;
    if (!train_finished_same(run->out, options, run->identity, &result->loaded, NULL, err)) return false;
    if (!result->loaded) return true;
    train_finished(run->out, &result->train);
    engine_notice(&options->callbacks,
                  "%s: holds the finished model of this data and these settings; it is taken as it is", run->out);
    return true;
}

bool llm_instruct_train(const char *out, const struct llm_instruct_options *options, struct llm_instruct_result *result,
                        struct llm_error *err) {
    struct llm_instruct_options defaults;
    struct llm_instruct_result unwanted;
    llm_instruct_options_init(&defaults);
    if (options == NULL) options = &defaults;
    if (result == NULL) result = &unwanted;
    *result = (struct llm_instruct_result){0};
    struct instruct_run run = {.options = options, .out = out};
    bool ok = instruct_options_check(options, err) && instruct_data_read(&run.data, options, err) &&
              open_model(&run, err) && describe(&run, err) && load(&run, result, err);
    if (ok && !result->loaded) ok = train_begin(out, &options->train, err) && train(&run, result, err);
    release_model(&run);
    if (ok && options->respond && result->train.finished && !options->train.dry_run) ok = answer(&run, result, err);
    json_decref(run.identity);
    json_decref(run.details);
    instruct_data_release(&run.data);
    free(run.book_name);
    return ok;
}
