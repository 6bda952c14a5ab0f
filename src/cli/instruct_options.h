// instruct_options.h: what the commands that answer instructions share: their options, and answers as they are made.
#ifndef CLI_INSTRUCT_OPTIONS_H
#define CLI_INSTRUCT_OPTIONS_H

#include "cli/command.h"

struct answer_args {
    struct llm_respond_options respond;
    int n_threads;
    int quantize; // enum llm_quantize
};

// F(field) gives the offset of a field of the struct answer_args.
// clang-format off
#define ANSWER_OPTIONS(F)                                                                                              \
    {"template", 0, OPTION_STRING, F(respond.template_file), "FILE",                                                   \
     "how a prompt is made; as the model learned it, else Alpaca's style, when not given", 0, 0, NULL},                \
    {"max-tokens", 'n', OPTION_INT, F(respond.generate.max_tokens), "N", "tokens of an answer at most", 1, 1e9, NULL}, \
    {"temperature", 0, OPTION_FLOAT, F(respond.generate.temperature), "T",                                             \
     "divides the logits; 0 takes the likeliest token each time", 0, 1000, NULL},                                      \
    {"top-k", 0, OPTION_INT, F(respond.generate.top_k), "K", "draw from the K likeliest tokens; 0: all", 0, 1e9, NULL},\
    {"top-p", 0, OPTION_FLOAT, F(respond.generate.top_p), "P", "of these, the likeliest that have probability P together",\
     0, 1, NULL},                                                                                                      \
    {"repetition-penalty", 0, OPTION_FLOAT, F(respond.generate.repetition_penalty), "R",                               \
     "above 1 makes tokens that have been used less likely", 0.01, 100, NULL},                                         \
    {"seed", 0, OPTION_UINT64, F(respond.generate.seed), "N", "same seed, same answers", 0, 0, NULL},                  \
    {"quantize", 0, OPTION_CHOICE, F(quantize), "BITS",                                                                \
     "convert the weights first: q8 and q4 are 8 and 4 bits in blocks of 32, bf16 is half of F32", 0, 0,               \
     quantize_choices},                                                                                                \
    {"threads", 't', OPTION_INT, F(n_threads), "N", "threads; as many as there are cores for this process", 1, 1024,   \
     NULL}
// clang-format on

void answer_args_init(struct answer_args *args);
// Opens the model as they say, and gives the command's callbacks to model and answers.
struct llm_engine *answer_open(struct answer_args *args, const char *model, struct llm_error *err);

// One instruction's answer on standard output as it is made, without the white space before it; a line ends it. False
// with an error, a cancelling Ctrl-C among them; *written false: standard output took no more.
bool answer_show(struct llm_engine *engine, const struct llm_instruction *instruction,
                 const struct llm_respond_options *options, bool *written, struct llm_error *err);

#endif
