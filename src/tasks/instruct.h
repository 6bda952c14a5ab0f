// instruct.h: the parts of llm_instruct_train().
#ifndef TASKS_INSTRUCT_H
#define TASKS_INSTRUCT_H

#include "data/examples.h"
#include "data/split.h"
#include "model/engine.h"
#include "train/trainer.h"

// ---- instruct_options.c ---------------------------------------------------------------------------

// Settings that make sense?
bool instruct_options_check(const struct llm_instruct_options *options, struct llm_error *err);
// "<model>-sft.pth": the name of a model as people and the book call it; allocated, NULL when out of memory.
char *instruct_book_name(const char *model);

// ---- instruct_data.c: instructions, split in file order, as ids -------------------------------------

struct instruct_data {
    char *path; // of the file
    struct instructions instructions;
    struct template template;
    struct examples examples;
    struct split split;          // train, then test up to split.validation, then validation
    struct examples_batch batch; // one example
    bool response_only;
    int max_tokens;    // of one example
    uint32_t checksum; // of ids, targets and split
};

// Reads the data and the template, and splits. `data` zeroed; instruct_data_release() whatever is returned.
bool instruct_data_read(struct instruct_data *data, const struct llm_instruct_options *options, struct llm_error *err);
// To ids of the engine's vocabulary, cut as asked.
bool instruct_data_encode(struct instruct_data *data, const struct llm_engine *engine,
                          const struct llm_instruct_options *options, struct llm_error *err);
void instruct_data_release(struct instruct_data *data);

// Entries of a side: the first, and how many.
size_t instruct_data_side(const struct instruct_data *data, enum train_side side, size_t *n);
// An example of a side, valid until the next call.
bool instruct_data_example(struct instruct_data *data, enum train_side side, int64_t number,
                           struct train_example *example, struct llm_error *err);

#endif
