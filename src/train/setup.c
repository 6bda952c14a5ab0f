// setup.c: what a run needs before its first step: a place to write to, memory, the optimizer; see loop.h.
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/machine_memory.h"
#include "train/loop.h"
#include "train/settings.h"

struct llm_engine_options train_engine_options(const struct llm_train_options *options) {
    struct llm_engine_options opening;
    llm_engine_options_init(&opening);
    opening.n_threads = options->n_threads;
    opening.isa = options->isa;
    opening.callbacks = options->callbacks;
    return opening;
}

// ---- The place ------------------------------------------------------------------------------

// What a run leaves in its directory, in the order in which it goes when the run begins anew: at no moment does what is
// left pass for a finished run, and as long as there is a checkpoint, it and the log belong together.
static const char *const run_files[] = {"run.json", "checkpoint", "model", "adapter", "best", "plots", "log.csv"};

// A run that has begun has a log to its end. A folder with a model/ and without any of these is somebody else's.
static bool holds_run(const char *out) {
    return directory_holds(out, "log.csv") || directory_holds(out, "run.json") || directory_holds(out, "checkpoint");
}

// What is of no run that is there, and would be removed with it.
static const char *foreign(const char *out) {
    for (size_t i = 0; i < sizeof run_files / sizeof run_files[0]; i++) {
        if (directory_holds(out, run_files[i])) return run_files[i];
    }
    return NULL;
}

bool train_clear(const char *out, struct llm_error *err) {
    for (size_t i = 0; i + 1 < sizeof run_files / sizeof run_files[0]; i++) { // the log is open, and emptied
        char *path = path_join(out, run_files[i]);
        if (path == NULL) return error_memory(err, "path");
        if (unlink(path) != 0) directory_remove(path); // a link goes, what it leads to stays
        const bool gone = !path_exists(path);
        if (!gone) error_set(err, LLM_ERROR_IO, "%s: cannot remove what an earlier run left", path);
        free(path);
        if (!gone) return false;
    }
    return true;
}

// Is it ".<file of a run>.XXXXXX", the name that a file has until it is whole (base/file.c)?
static bool is_unfinished(const char *name) {
    for (size_t i = 0; i < sizeof run_files / sizeof run_files[0] && name[0] == '.'; i++) {
        const size_t size = strlen(run_files[i]);
        if (strncmp(name + 1, run_files[i], size) == 0 && name[size + 1] == '.' && strlen(name + size + 2) == 6) {
            return true;
        }
    }
    return false;
}

void train_sweep(const char *out) {
    DIR *directory = opendir(out);
    if (directory == NULL) return;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        char *path = is_unfinished(entry->d_name) ? path_join(out, entry->d_name) : NULL;
        if (path != NULL && unlink(path) != 0) directory_remove(path);
        free(path);
    }
    closedir(directory);
}

bool train_begin(const char *out, const struct llm_train_options *options, struct llm_error *err) {
    if (!train_options_check(options, err)) return false;
    if (options->resume && options->overwrite) {
        return error_set(err, LLM_ERROR_ARGUMENT, "a run is resumed or begun anew, not both");
    }
    const bool run = holds_run(out);
    if (options->resume) {
        return run || error_set(err, LLM_ERROR_NOT_FOUND, "%s: there is no run to resume here", out);
    }
    if (run && !options->overwrite) {
        return error_set(err, LLM_ERROR_EXISTS,
                         "%s: holds a run already; resume it, name another place, or allow it to "
                         "be overwritten",
                         out);
    }
    const char *name = run ? NULL : foreign(out);
    if (name != NULL) {
        return error_set(err, LLM_ERROR_IO, "%s: holds %s, but no run that it could be of; name another place", out,
                         name);
    }
    if (options->dry_run) return true;
    return directory_create(out, err);
}

// ---- Memory ---------------------------------------------------------------------------------

void train_teardown(struct trainer *trainer) {
    const struct llm_train_options *options = trainer->options;
    for (int i = 0; trainer->batches != NULL && i < options->grad_accum; i++) packed_release(&trainer->batches[i]);
    free(trainer->batches);
    free(trainer->scales);
    free(trainer->order);
    free(trainer->eval_order);
    if (trainer->losses != NULL) trainer->engine->ops->free(trainer->engine->ops, trainer->losses);
    frozen_release(&trainer->frozen);
    optimizer_release(&trainer->optimizer);
    lora_release(&trainer->lora);
    pass_free(trainer->pass);
    train_log_close(&trainer->log);
    json_decref(trainer->run);
}

static bool allocate_arrays(struct trainer *trainer, struct llm_error *err) {
    const struct llm_train_options *options = trainer->options;
    const int64_t *n_examples = trainer->task->n_examples;
    const size_t n_learn = (size_t)n_examples[TRAIN_LEARN];
    size_t most = n_learn;
    for (int side = 0; side < TRAIN_SIDES; side++) {
        if ((size_t)n_examples[side] > most) most = (size_t)n_examples[side];
    }
    const size_t max_tokens = (size_t)trainer->pass_options.max_tokens;
    struct ops *ops = trainer->engine->ops;
    trainer->batches = calloc((size_t)options->grad_accum, sizeof *trainer->batches);
    trainer->scales = malloc(max_tokens * sizeof *trainer->scales);
    trainer->losses = ops->alloc(ops, max_tokens * sizeof *trainer->losses);
    trainer->order = malloc(n_learn * sizeof *trainer->order);
    trainer->eval_order = malloc(most * sizeof *trainer->eval_order);
    if (trainer->batches == NULL || trainer->scales == NULL || trainer->losses == NULL || trainer->order == NULL ||
        trainer->eval_order == NULL) {
        return error_memory(err, "training");
    }
    // An evaluation packs more at once than a step, where it computes what they have in common once.
    const struct pass_options *pass = &trainer->pass_options;
    for (int i = 0; i < options->grad_accum; i++) {
        const bool more = i == 0 && pass->max_unshared > 0;
        if (!packed_init(&trainer->batches[i], more ? pass->max_unshared : pass->max_tokens,
                         more ? pass->max_sequences - 1 : options->batch_size, err)) {
            return false;
        }
    }
    return true;
}

struct lora_options train_lora_options(const struct trainer *trainer) {
    const struct llm_train_options *options = trainer->options;
    const struct trainable *trainable = &trainer->task->trainable;
    return (struct lora_options){
        .rank = options->lora_rank,
        .alpha = options->lora_alpha,
        .first_layer = trainable->first_layer,
        .head = trainable->head,
        .max_rows = trainer->pass_options.max_tokens,
        .seed = options->seed,
    };
}

static bool add_adapters(struct trainer *trainer, struct llm_error *err) {
    struct lora *lora = &trainer->lora;
    const struct lora_options options = train_lora_options(trainer);
    if (options.rank == 0) return true;
    if (!lora_init(lora, trainer->engine, trainer->weights, &options, err)) return false;
    trainer->pass_options.lora = lora;
    for (int i = 0; i < lora->n_adapters; i++) {
        const struct adapter *adapter = &lora->adapters[i];
        const struct train_tensor a = {lora_a(lora, adapter, LORA_WEIGHT), lora_a(lora, adapter, LORA_GRADIENT),
                                       lora_a(lora, adapter, LORA_M),      lora_a(lora, adapter, LORA_V),
                                       lora_a_size(lora, adapter),         true};
        const struct train_tensor b = {lora_b(lora, adapter, LORA_WEIGHT), lora_b(lora, adapter, LORA_GRADIENT),
                                       lora_b(lora, adapter, LORA_M),      lora_b(lora, adapter, LORA_V),
                                       lora_b_size(lora, adapter),         true};
        if (!optimizer_add(&trainer->optimizer, &a, err) || !optimizer_add(&trainer->optimizer, &b, err)) return false;
    }
    return true;
}

// Activations below the lowest trained layer are kept where nothing in them changes.
static bool init_frozen(struct trainer *trainer, struct llm_error *err) {
    const struct pass_options *pass = &trainer->pass_options;
    if (pass->trainable.first_layer == 0 || trainer->options->dropout > 0) return true;
    const struct llm_train_plan *plan = &trainer->plan;
    const int64_t taken = plan->bytes_gradients + plan->bytes_moments + plan->bytes_activations;
    int64_t limit =
        trainer->options->memory > 0 ? trainer->options->memory - plan->bytes_weights - taken : memory_available() / 2;
    const int64_t asked = trainer->task->cache_memory;
    if (asked >= 0 && asked < limit) limit = asked;
    int64_t n_examples = 0;
    for (int side = 0; side < TRAIN_SIDES; side++) n_examples += trainer->task->n_examples[side];
    return frozen_init(&trainer->frozen, n_examples, pass->max_tokens, trainer->options->batch_size,
                       trainer->engine->config.n_embd, limit, err);
}

bool train_setup(struct trainer *trainer, const struct train_tensor *extra, int n_extra, struct llm_error *err) {
    const struct llm_train_options *options = trainer->options;
    struct ops *ops = trainer->engine->ops;
    trainer->state.random = trainer->task->random;
    if (options->compute == LLM_COMPUTE_BF16 && !ops_use_bf16(ops, err)) return false;
    if (!train_plan(trainer, err) || !allocate_arrays(trainer, err) ||
        !optimizer_init(&trainer->optimizer, trainer->engine, &trainer->pass_options.trainable, trainer->weights,
                        options, err) ||
        !add_adapters(trainer, err)) {
        return false;
    }
    for (int i = 0; i < n_extra; i++) {
        if (!optimizer_add(&trainer->optimizer, &extra[i], err)) return false;
    }
    trainer->pass = pass_new(trainer->engine, &trainer->pass_options, err);
    trainer->run = train_run_identity(trainer);
    if (trainer->pass != NULL && trainer->run == NULL) error_memory(err, "settings");
    return trainer->pass != NULL && trainer->run != NULL && init_frozen(trainer, err);
}
