// instructions.h: examples of instructions and answers: {"instruction": ..., "input": ..., "output": ...}.
//
// From a JSON list or from lines of JSON, whatever the file is called. `instruction` must be there and not empty,
// `input` may be missing, null or empty, `output` is needed where it is learned or compared. Other keys are passed
// over.
#ifndef DATA_INSTRUCTIONS_H
#define DATA_INSTRUCTIONS_H

#include "data/records.h"

struct instruction {
    const char *instruction;
    const char *input;  // "" when there is none
    const char *output; // "" when there is none and none was needed
    int64_t number;     // the entry or the line, from 1
};

struct instructions {
    struct instruction *items; // [n] in file order
    size_t n;
    struct records records; // behind them; records.unit is "entry" or "line"
};

// `instructions` comes in any state and is released by the caller, after a failure too.
bool instructions_read(struct instructions *instructions, const char *path, bool need_output, struct llm_error *err);
bool instructions_parse(struct instructions *instructions, const char *bytes, size_t size, bool need_output,
                        struct llm_error *err);
void instructions_release(struct instructions *instructions);

#endif
