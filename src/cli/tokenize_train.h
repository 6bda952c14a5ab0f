// tokenize_train.h: the half of `my-llm tokenize` that learns a vocabulary.
#ifndef CLI_TOKENIZE_TRAIN_H
#define CLI_TOKENIZE_TRAIN_H

#include "my_llm.h"

struct tokenize_train_args {
    int vocab_size;
    int64_t min_frequency;
    int n_threads;
    const char *out;
    bool force;
};

// Learns a vocabulary from the files and folders and writes it to args->out; says on stderr what it is.
bool tokenize_train(const struct tokenize_train_args *args, char **files, int n_files, struct llm_error *err);

#endif
