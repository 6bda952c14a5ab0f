// tokens.c: tokens_open(): the files of ids that are there when they are the right ones, else new ones. See tokens.h.
#include "data/tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/text.h"
#include "data/tokens_build.h"
#include "tokenizer/tokenizer.h"

// ---- What the files are made from -----------------------------------------------------------

// Mixes in a file's size and bytes, as they lie on the disk. *done are the bytes of all files so far.
static bool checksum_file(struct checksum *sum, const char *path, const struct token_options *options, int64_t *done,
                          int64_t total, struct llm_error *err) {
    size_t size = 0;
    const int fd = file_open_regular(path, &size, err);
    if (fd < 0) return false;
    const uint64_t written_size = size;
    checksum_update(sum, &written_size, sizeof written_size);
    const size_t chunk = (size_t)1 << 20;
    uint8_t *bytes = malloc(chunk);
    bool ok = bytes != NULL || error_memory(err, path);
    for (ssize_t n = 1; ok && n > 0;) {
        n = read(fd, bytes, chunk);
        if (n < 0) ok = error_errno(err, "%s: cannot read", path);
        if (n > 0) checksum_update(sum, bytes, (size_t)n);
        *done += n > 0 ? n : 0;
        ok = ok && tokens_report(options, path, *done, total, err);
    }
    free(bytes);
    close(fd);
    return ok;
}

// The checksum of all that decides what the files hold, and that of the vocabulary.
static bool make_key(const struct text_paths *paths, const struct token_options *options, char key[CHECKSUM_TEXT],
                     char vocabulary[CHECKSUM_TEXT], struct llm_error *err) {
    static const char *const splits[] = {"characters", "documents"};
    struct checksum sum;
    if (!tokenizer_checksum(options->tokenizer, vocabulary, err)) return false;
    checksum_init(&sum);
    checksum_update(&sum, vocabulary, CHECKSUM_TEXT);
    checksum_update(&sum, splits[options->split], strlen(splits[options->split]));
    checksum_update(&sum, &options->validation, sizeof options->validation);
    int64_t done = 0;
    for (size_t i = 0; i < paths->n; i++) {
        if (!checksum_file(&sum, paths->items[i], options, &done, paths->size, err)) return false;
    }
    checksum_text(&sum, key);
    return true;
}

// The key of the second file, so that neither passes for the other.
static void make_validation_key(const char *key, char validation_key[CHECKSUM_TEXT]) {
    struct checksum sum;
    checksum_init(&sum);
    checksum_update(&sum, "validation", strlen("validation"));
    checksum_update(&sum, key, CHECKSUM_TEXT - 1);
    checksum_text(&sum, validation_key);
}

// ---- The files ------------------------------------------------------------------------------

static void notice(const struct token_options *options, const char *sentence) {
    if (options->callbacks.notice != NULL) options->callbacks.notice(options->callbacks.user, sentence);
}

// Opens one file when it is there, whole, and was made from the same; else false, and a notice says why unless it is
// just not there.
static bool open_made(struct token_file *file, const char *path, const char *key, const struct token_options *options) {
    struct llm_error error = {0};
    if (!token_file_open(file, path, &error)) {
        if (error.code == LLM_ERROR_NOT_FOUND) return false;
    } else if (strcmp(file->key, key) == 0) {
        return true;
    } else {
        token_file_close(file);
        error_set(&error, LLM_ERROR_FORMAT, "%s: was made from other texts, another vocabulary or another split", path);
    }
    const size_t size = strlen(error.text);
    snprintf(error.text + size, sizeof error.text - size, "; it is made anew");
    notice(options, error.text);
    return false;
}

// Opens one that was made just now.
static bool open_new(struct token_file *file, const char *path, const char *key, struct llm_error *err) {
    if (!token_file_open(file, path, err)) return false;
    if (strcmp(file->key, key) == 0) return true;
    return error_set(err, LLM_ERROR_IO, "%s: another program writes this file, too", path);
}

static bool open_or_build(struct tokens *tokens, const struct text_paths *paths, const char *train,
                          const char *validation, const struct token_options *options, struct llm_error *err) {
    const char *key = tokens->checksum;
    char validation_key[CHECKSUM_TEXT];
    make_validation_key(key, validation_key);
    if (open_made(&tokens->train, train, key, options)) {
        if (open_made(&tokens->validation, validation, validation_key, options)) {
            if (options->split == TOKENS_BY_DOCUMENTS && !tokens->train.split_by_documents) {
                tokens_tell_of_characters(options, 0);
            }
            return true;
        }
        token_file_close(&tokens->train);
    }
    tokens->built = true;
    const struct token_target targets[2] = {{train, key}, {validation, validation_key}};
    return directory_create(options->folder, err) && tokens_build(paths, options, targets, err) &&
           open_new(&tokens->train, train, key, err) && open_new(&tokens->validation, validation, validation_key, err);
}

static bool check_options(const struct token_options *options, struct llm_error *err) {
    if (options->n_files == 0) return error_set(err, LLM_ERROR_ARGUMENT, "no text was named");
    if (options->validation >= 0 && options->validation < 1) return true;
    return error_set(err, LLM_ERROR_ARGUMENT, "%g of the text for validation: 0 to below 1 was expected",
                     options->validation);
}

bool tokens_open(struct tokens *tokens, const struct token_options *options, struct llm_error *err) {
    *tokens = (struct tokens){0};
    if (!check_options(options, err)) return false;
    struct text_paths paths = {0};
    char *train = path_join(options->folder, "train.tokens");
    char *validation = path_join(options->folder, "validation.tokens");
    bool ok = (train != NULL && validation != NULL) || error_memory(err, options->folder);
    ok = ok && text_paths_list(&paths, options->files, options->n_files, err) &&
         make_key(&paths, options, tokens->checksum, tokens->vocabulary, err) &&
         open_or_build(tokens, &paths, train, validation, options, err);
    if (!ok) tokens_close(tokens);
    text_paths_release(&paths);
    free(train);
    free(validation);
    return ok;
}

void tokens_close(struct tokens *tokens) {
    token_file_close(&tokens->train);
    token_file_close(&tokens->validation);
    *tokens = (struct tokens){0};
}
