// open.c: the vocabulary of a model directory, in whichever of the three layouts it has.
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "tokenizer/draft.h"
#include "tokenizer/read.h"

struct llm_tokenizer *tokenizer_open_file(const char *path, struct llm_error *err) {
    char *bytes = NULL;
    size_t size = 0;
    if (!file_read(path, VOCABULARY_FILE_MAX, &bytes, &size, err)) return NULL;
    struct llm_tokenizer *tokenizer = known_gpt2_json(&(struct read_file){path, bytes, size})
                                          ? tokenizer_new_gpt2(err)
                                          : tokenizer_parse_json(bytes, size, err);
    if (tokenizer == NULL) error_prefix(err, "%s", path);
    free(bytes);
    return tokenizer;
}

static struct llm_tokenizer *open_pair(const char *vocab_path, const char *merges_path, struct llm_error *err) {
    char *vocab = NULL;
    char *merges = NULL;
    size_t vocab_size = 0;
    size_t merges_size = 0;
    struct llm_tokenizer *tokenizer = NULL;
    if (file_read(vocab_path, VOCABULARY_FILE_MAX, &vocab, &vocab_size, err) &&
        file_read(merges_path, VOCABULARY_FILE_MAX, &merges, &merges_size, err)) {
        const struct read_file vocab_file = {vocab_path, vocab, vocab_size};
        const struct read_file merges_file = {merges_path, merges, merges_size};
        tokenizer = known_gpt2_pair(&vocab_file, &merges_file) ? tokenizer_new_gpt2(err)
                                                               : read_pair(&vocab_file, &merges_file, err);
    }
    free(vocab);
    free(merges);
    return tokenizer;
}

// Opens a layout if any of its files is there; *found tells. `second` is NULL for a layout of one file.
static struct llm_tokenizer *open_layout(const char *directory, const char *first, const char *second, bool *found,
                                         struct llm_error *err) {
    struct llm_tokenizer *tokenizer = NULL;
    char *first_path = path_join(directory, first);
    char *second_path = path_join(directory, second != NULL ? second : first);
    if (first_path == NULL || second_path == NULL) {
        *found = true;
        error_memory(err, "path");
    } else {
        // Whatever is there, even a directory of this name, is what the model means us to read.
        const bool has_first = access(first_path, F_OK) == 0;
        const bool has_second = access(second_path, F_OK) == 0;
        *found = has_first || has_second;
        if (has_first != has_second) {
            error_set(err, LLM_ERROR_FORMAT, "%s: is there without %s, which belongs with it",
                      has_first ? first_path : second_path, has_first ? second : first);
        } else if (*found) {
            tokenizer = second != NULL ? open_pair(first_path, second_path, err) : tokenizer_open_file(first_path, err);
        }
    }
    free(first_path);
    free(second_path);
    return tokenizer;
}

struct llm_tokenizer *tokenizer_open_directory(const char *directory, struct llm_error *err) {
    static const char *const layouts[][2] = {
        {"tokenizer.json", NULL},
        {"vocab.json", "merges.txt"},
        {"encoder.json", "vocab.bpe"},
    };
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        bool found = false;
        struct llm_tokenizer *tokenizer = open_layout(directory, layouts[i][0], layouts[i][1], &found, err);
        if (found) return tokenizer;
    }
    error_set(
        err, LLM_ERROR_NOT_FOUND,
        "%s: no vocabulary: tokenizer.json, vocab.json with merges.txt or encoder.json with vocab.bpe was expected",
        directory);
    return NULL;
}
