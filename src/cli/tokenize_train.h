// tokenize_train.h: the half of `my-llm tokenize` that learns a vocabulary.
#ifndef CLI_TOKENIZE_TRAIN_H
#define CLI_TOKENIZE_TRAIN_H

#include "my_llm.h"

struct tokenize_train_args {
    int vocab_size;
    int64_t min_frequency;
    const char *out;
    bool force;
};

// Learns a vocabulary from the files and folders, on n_threads threads (0: all), and writes it to args->out; says on
// stderr what it is.
bool tokenize_train(const struct tokenize_train_args *args, int n_threads, char **files, int n_files,
                    struct llm_error *err);

#endif
