// classify_seeds.h: `my-llm classify train --seeds N`: the same training from several seeds.
#ifndef CLI_CLASSIFY_SEEDS_H
#define CLI_CLASSIFY_SEEDS_H

#include "my_llm.h"

// Trains with n seeds, from options->train.seed on, each into its folder of `out`; what is finished there already is
// taken as it is. Prints mean and standard deviation of the accuracies, and writes them as seeds.json. Returns the
// command's exit code.
int classify_seeds(const char *out, const struct llm_classify_options *options, int n);

#endif
