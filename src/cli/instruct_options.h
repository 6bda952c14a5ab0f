// instruct_options.h: what the commands that answer instructions share: option rows, and answers as they are made.
#ifndef CLI_INSTRUCT_OPTIONS_H
#define CLI_INSTRUCT_OPTIONS_H

#include "cli/command.h"

// F(field) gives the offset of a field of the struct llm_respond_options.
// clang-format off
#define RESPOND_OPTIONS(F)                                                                                             \
    {"template", 0, OPTION_STRING, F(template_file), "FILE",                                                           \
     "how a prompt is made; as the model learned it, else Alpaca's style, when not given", 0, 0, NULL},                \
    {"max-tokens", 'n', OPTION_INT, F(generate.max_tokens), "N", "tokens of an answer at most", 1, 1e9, NULL},         \
    {"temperature", 0, OPTION_FLOAT, F(generate.temperature), "T",                                                     \
     "divides the logits; 0 takes the likeliest token each time", 0, 1000, NULL},                                      \
    {"top-k", 0, OPTION_INT, F(generate.top_k), "K", "draw from the K likeliest tokens; 0: all", 0, 1e9, NULL},        \
    {"top-p", 0, OPTION_FLOAT, F(generate.top_p), "P", "of these, the likeliest that have probability P together",     \
     0, 1, NULL},                                                                                                      \
    {"repetition-penalty", 0, OPTION_FLOAT, F(generate.repetition_penalty), "R",                                       \
     "above 1 makes tokens that have been used less likely", 0.01, 100, NULL},                                         \
    {"seed", 0, OPTION_UINT64, F(generate.seed), "N", "same seed, same answers", 0, 0, NULL}
// clang-format on

// One instruction's answer on standard output as it is made, without the white space before it; a line ends it. False
// with an error, a cancelling Ctrl-C among them; *written false: standard output took no more.
bool answer_show(struct llm_engine *engine, const struct llm_instruction *instruction,
                 const struct llm_respond_options *options, bool *written, struct llm_error *err);

#endif
