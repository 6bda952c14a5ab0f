// bench_tokenizer.h: `my-llm bench --tokenizer FILE`: how fast a text becomes ids here.
#ifndef CLI_BENCH_TOKENIZER_H
#define CLI_BENCH_TOKENIZER_H

#include "my_llm.h"

struct bench_tokenizer_args {
    const char *file;  // the text; of a long one, what fits into memory comfortably
    const char *model; // whose vocabulary; NULL: GPT-2's
    int repetitions, n_threads;
    bool csv, json;
};

// Measures and prints.
bool bench_tokenizer(const struct bench_tokenizer_args *args, struct llm_error *err);

#endif
