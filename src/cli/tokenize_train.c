// tokenize_train.c: `my-llm tokenize --train`: texts to vocab.json, merges.txt and tokenizer.json.
#include "cli/tokenize_train.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/progress.h"

// Says so before the work, which may take minutes, not after it.
static bool check_out(const struct tokenize_train_args *args, struct llm_error *err) {
    if (!args->force && path_exists(args->out)) {
        return error_set(err, LLM_ERROR_EXISTS, "%s: is there already; --force replaces it", args->out);
    }
    return llm_tokenizer_save_check(args->out, args->force, err);
}

static void tell(const struct llm_callbacks *callbacks, const struct llm_tokenizer *tokenizer,
                 const struct tokenize_train_args *args) {
    const int n = llm_tokenizer_vocab_size(tokenizer);
    char sentence[256];
    if (n < args->vocab_size && args->min_frequency > 1) {
        snprintf(sentence, sizeof sentence,
                 "no pair of tokens that is left occurs %" PRId64
                 " times, as --min-frequency asks, after %d ids, fewer "
                 "than the %d asked for",
                 args->min_frequency, n, args->vocab_size);
        callbacks->notice(callbacks->user, sentence);
    } else if (n < args->vocab_size) {
        snprintf(sentence, sizeof sentence,
                 "no pair of tokens is left to join after %d ids, fewer than the %d asked for", n, args->vocab_size);
        callbacks->notice(callbacks->user, sentence);
    }
    snprintf(sentence, sizeof sentence, "%.200s: a vocabulary of %d ids", args->out, n);
    callbacks->notice(callbacks->user, sentence);
}

bool tokenize_train(const struct tokenize_train_args *args, int n_threads, char **files, int n_files,
                    struct llm_error *err) {
    if (!check_out(args, err)) return false;
    struct llm_tokenizer_train_options options;
    llm_tokenizer_train_options_init(&options);
    options.vocab_size = args->vocab_size;
    options.min_frequency = args->min_frequency;
    options.n_threads = n_threads;
    options.callbacks = command_callbacks();
    struct llm_tokenizer *tokenizer = llm_tokenizer_train((const char *const *)files, (size_t)n_files, &options, err);
    progress_clear();
    if (tokenizer == NULL) return false;
    const bool ok = llm_tokenizer_save(tokenizer, args->out, args->force, err);
    if (ok) tell(&options.callbacks, tokenizer, args);
    llm_tokenizer_free(tokenizer);
    return ok;
}
