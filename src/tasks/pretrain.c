// pretrain.c: `llm_pretrain`: from texts to a language model.
//
// Texts become ids once, in a cache that is checked by hash; examples are windows of ids with the next id of each as
// its target. Everything else is the trainer's (train/trainer.h).

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/str.h"
#include "data/tokens.h"
#include "infer/session.h"
#include "model/init.h"
#include "plot/plot.h"
#include "tasks/sample.h"
#include "tokenizer/tokenizer.h"
#include "train/trainer.h"

enum {
    DEFAULT_CONTEXT = 256,
    UNTRAINED_BATCHES = 20, // of the evaluation before the first step, at least: all there are in the book's runs
};

struct pretrain {
    const struct llm_pretrain_options *options;
    const char *out;
    struct llm_engine *engine;
    struct param_block weights;
    struct random random; // after the weights were drawn
    struct tokens tokens;
    struct token_windows windows[TRAIN_SIDES];
    int context;
    int32_t *window; // [context + 1]
    json_t *identity, *details;
};

// ---- The model ------------------------------------------------------------------------------

// A model of random weights, of the options' shape and the tokenizer's vocabulary.
static bool make_model(struct pretrain *run, struct llm_error *err) {
    const struct llm_pretrain_options *options = run->options;
    const struct llm_engine_options opening = train_engine_options(&options->train);
    struct llm_tokenizer *tokenizer = llm_tokenizer_open(options->tokenizer, &opening, err);
    if (tokenizer == NULL) return false;
    const struct config config = {
        .n_layer = options->n_layer,
        .n_head = options->n_head,
        .n_embd = options->n_embd,
        .n_inner = 4 * options->n_embd,
        .n_ctx = options->context > 0 ? options->context : DEFAULT_CONTEXT,
        .vocab_size = llm_tokenizer_vocab_size(tokenizer),
        .activation = ACTIVATION_GELU_TANH,
        .layer_norm_epsilon = 1e-5F,
        .scale_attn_weights = true,
        .tied_head = !options->untied_head,
        .qkv_bias = !options->no_qkv_bias,
        .eos = llm_tokenizer_eot(tokenizer),
    };
    run->engine = engine_new("new model", &config, tokenizer, &opening, err);
    if (run->engine == NULL || !engine_own_weights(run->engine, &run->weights, err)) return false;
    if (options->initialiser == LLM_INIT_BOOK) return init_book(&config, &run->weights, &run->random, err);
    init_gpt2(&config, &run->weights, &run->random);
    return true;
}

// The vocabulary that was asked for in place of the model's own.
static bool replace_tokenizer(struct pretrain *run, const struct llm_engine_options *opening, struct llm_error *err) {
    struct llm_tokenizer *tokenizer = llm_tokenizer_open(run->options->tokenizer, opening, err);
    if (tokenizer == NULL) return false;
    llm_tokenizer_free(run->engine->tokenizer);
    run->engine->tokenizer = tokenizer;
    run->engine->config.eos = llm_tokenizer_eot(tokenizer);
    return true;
}

static bool open_model(struct pretrain *run, struct llm_error *err) {
    const struct llm_pretrain_options *options = run->options;
    const struct llm_engine_options opening = train_engine_options(&options->train);
    run->engine = llm_engine_open(options->init, &opening, err);
    if (run->engine == NULL || !engine_writes_text(run->engine, err) ||
        (options->tokenizer != NULL && !replace_tokenizer(run, &opening, err))) {
        return false;
    }
    const struct config *config = &run->engine->config;
    if (run->engine->tokenizer == NULL) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%s: has no vocabulary; name a tokenizer", options->init);
    }
    const int n_ids = llm_tokenizer_vocab_size(run->engine->tokenizer);
    if (n_ids > config->vocab_size) {
        return error_set(err, LLM_ERROR_ARGUMENT, "the vocabulary has %d ids, and the model %s only %d", n_ids,
                         options->init, config->vocab_size);
    }
    if (options->context > config->n_ctx) {
        return error_set(err, LLM_ERROR_ARGUMENT, "context is %d, and the model %s has %d", options->context,
                         options->init, config->n_ctx);
    }
    return engine_own_weights(run->engine, &run->weights, err);
}

// ---- The texts ------------------------------------------------------------------------------

static bool open_tokens(struct pretrain *run, const char *const *files, size_t n_files, struct llm_error *err) {
    const struct llm_pretrain_options *options = run->options;
    char *folder = options->cache != NULL ? strdup(options->cache) : path_join(run->out, "tokens");
    if (folder == NULL) return error_memory(err, "path");
    const struct token_options opening = {
        .files = files,
        .n_files = n_files,
        .tokenizer = run->engine->tokenizer,
        .folder = folder,
        .split = options->split == LLM_SPLIT_CHARACTERS ? TOKENS_BY_CHARACTERS : TOKENS_BY_DOCUMENTS,
        .validation = options->val_split,
        .n_threads = options->train.n_threads,
        .callbacks = options->train.callbacks,
    };
    const bool ok = tokens_open(&run->tokens, &opening, err);
    free(folder);
    if (!ok) return false;
    run->context = options->context > 0 ? options->context : run->engine->config.n_ctx;
    run->windows[TRAIN_LEARN] = token_windows(&run->tokens.train, run->context, run->context);
    run->windows[TRAIN_VALIDATE] = token_windows(&run->tokens.validation, run->context, run->context);
    run->window = malloc(((size_t)run->context + 1) * sizeof *run->window);
    if (run->window == NULL) return error_memory(err, "window");
    if (run->windows[TRAIN_LEARN].n > 0) return true;
    return error_set(err, LLM_ERROR_ARGUMENT,
                     "the text has %" PRId64 " tokens to learn from, and one example takes %d: give it more text or a "
                     "shorter context",
                     run->tokens.train.n_tokens, run->context + 1);
}

// ---- What the trainer asks ------------------------------------------------------------------

static bool give_example(void *user, enum train_side side, int64_t number, struct train_example *example,
                         struct llm_error *err) {
    struct pretrain *run = user;
    if (!token_windows_read(&run->windows[side], number, run->window, err)) return false;
    *example = (struct train_example){.ids = run->window, .targets = run->window + 1, .n = run->context};
    return true;
}

static bool sample(void *user, struct trainer *trainer, struct random *random, char **text, size_t *size,
                   struct llm_error *err) {
    const struct pretrain *run = user;
    (void)trainer;
    (void)random;
    const char *prompt = run->options->prompt;
    if (run->options->sample_tokens == 0) return true;
    return sample_text(run->engine, prompt, strlen(prompt), run->options->sample_tokens, true, text, size, err);
}

// Pictures of the log: steps below, tokens above.
static bool draw(void *user, struct trainer *trainer, struct random *random, bool finished, const char *out,
                 struct llm_error *err) {
    const struct pretrain *run = user;
    (void)trainer;
    (void)random;
    (void)finished;
    const struct plot_log_axes axes = {.examples_per_epoch = 0};
    char *log = path_join(out, "log.csv");
    char *folder = path_join(out, "plots");
    struct plot_place place = {.folder = folder, .name = "loss", .callbacks = run->options->train.callbacks};
    bool ok = (log != NULL && folder != NULL) || error_memory(err, "path");
    ok = ok && plot_losses(log, &axes, &place, err);
    place.name = "learning-rate";
    place.is_another = true;
    ok = ok && plot_learning_rate(log, &axes, &place, err);
    free(folder);
    free(log);
    return ok;
}

// ---- For run.json and the checkpoint ---------------------------------------------------------

static json_t *model_json(const struct pretrain *run) {
    const struct config *config = &run->engine->config;
    const uint32_t crc = crc32c(0, run->weights.data, (size_t)run->weights.size * sizeof *run->weights.data);
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:b, s:b, s:I}", "n_layer", config->n_layer, "n_head", config->n_head,
                     "n_embd", config->n_embd, "n_ctx", config->n_ctx, "vocab_size", config->vocab_size, "tied_head",
                     config->tied_head, "qkv_bias", config->qkv_bias, "initial_weights_crc32c", (json_int_t)crc);
}

static const char *const scheme_names[] = {"gpt2", "book"};
static const char *const split_names[] = {"documents", "characters"};

static bool describe(struct pretrain *run, const char *const *files, size_t n_files, struct llm_error *err) {
    const struct llm_pretrain_options *options = run->options;
    // The parts are not compared but to say what it is in which the data differ.
    run->identity = json_pack("{s:o, s:i, s:s, s:{s:s, s:s, s:f}}", "model", model_json(run), "context", run->context,
                              "data", run->tokens.checksum, "data_parts", "vocabulary", run->tokens.vocabulary, "split",
                              split_names[options->split], "val_split", options->val_split);
    json_t *names = json_array();
    bool ok = run->identity != NULL && names != NULL;
    for (size_t i = 0; i < n_files && ok; i++) ok = json_array_append_new(names, json_name(files[i])) == 0;
    if (ok) {
        run->details = json_pack(
            "{s:s, s:O, s:o, s:o, s:s?, s:o, s:i, s:s, s:f, s:I, s:I, s:I, s:I}", "task", "pretrain", "files", names,
            "init", json_name(options->init), "tokenizer", json_name(options->tokenizer), "init_scheme",
            options->init == NULL ? scheme_names[options->initialiser] : NULL, "prompt", json_name(options->prompt),
            "sample_tokens", options->sample_tokens, "split",
            split_names[run->tokens.train.split_by_documents ? LLM_SPLIT_DOCUMENTS : LLM_SPLIT_CHARACTERS], "val_split",
            options->val_split, "train_tokens", (json_int_t)run->tokens.train.n_tokens, "validation_tokens",
            (json_int_t)run->tokens.validation.n_tokens, "train_bytes", (json_int_t)run->tokens.train.n_bytes,
            "validation_bytes", (json_int_t)run->tokens.validation.n_bytes);
    }
    json_decref(names);
    return (ok && run->details != NULL) || error_memory(err, "settings");
}

// ---- The whole ------------------------------------------------------------------------------

static bool check_options(const struct llm_pretrain_options *options, size_t n_files, struct llm_error *err) {
    const struct {
        const char *name;
        int value, min, max;
    } limits[] = {
        {"n-layer", options->n_layer, 1, 1 << 16},
        {"n-head", options->n_head, 1, 1 << 16},
        {"n-embd", options->n_embd, 1, 1 << 20},
        {"context", options->context, 0, 1 << 20},
        {"init-scheme", options->initialiser, 0, LLM_INIT_BOOK},
        {"split", options->split, 0, LLM_SPLIT_CHARACTERS},
        {"sample-tokens", options->sample_tokens, 0, 1 << 20},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (limits[i].value >= limits[i].min && limits[i].value <= limits[i].max) continue;
        return error_set(err, LLM_ERROR_ARGUMENT, "%s is %d, a whole number from %d to %d was expected", limits[i].name,
                         limits[i].value, limits[i].min, limits[i].max);
    }
    if (!(options->val_split >= 0 && options->val_split < 1)) {
        return error_set(err, LLM_ERROR_ARGUMENT, "val-split is %g, a share from 0 to below 1 was expected",
                         options->val_split);
    }
    return n_files > 0 || error_set(err, LLM_ERROR_ARGUMENT, "there is no text to learn from: name a file or folder");
}

static void release(struct pretrain *run) {
    json_decref(run->identity);
    json_decref(run->details);
    free(run->window);
    tokens_close(&run->tokens);
    if (run->engine != NULL) param_block_release(&run->weights, run->engine->ops);
    llm_engine_free(run->engine);
}

bool llm_pretrain(const char *const *files, size_t n_files, const char *out, const struct llm_pretrain_options *options,
                  struct llm_train_result *result, struct llm_error *err) {
    struct llm_pretrain_options defaults;
    llm_pretrain_options_init(&defaults);
    if (options == NULL) options = &defaults;
    struct pretrain run = {.options = options, .out = out};
    random_init(&run.random, options->train.seed);
    if (!check_options(options, n_files, err) || !train_begin(out, &options->train, err)) return false;
    bool ok = (options->init != NULL ? open_model : make_model)(&run, err) && open_tokens(&run, files, n_files, err) &&
              describe(&run, files, n_files, err);
    bool finished = false;
    if (ok && options->train.resume) {
        ok = train_finished_resumed(out, &options->train, run.identity, &finished, err);
    }
    if (ok && finished) {
        train_finished(out, result);
        engine_notice(&options->train.callbacks, "%s: this run is finished", out);
    } else if (ok) {
        const struct train_task task = {
            .user = &run,
            .n_examples = {run.windows[TRAIN_LEARN].n, run.windows[TRAIN_VALIDATE].n},
            .max_tokens = run.context,
            .trainable = trainable_all(),
            .untrained_batches = UNTRAINED_BATCHES,
            .cache_memory = -1,
            .random = run.random,
            .identity = run.identity,
            .details = run.details,
            .example = give_example,
            .epoch = sample,
            .finish = draw,
        };
        ok = train_run(run.engine, &run.weights, &task, NULL, 0, out, &options->train, result, err);
    }
    release(&run);
    return ok;
}
