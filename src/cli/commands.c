// commands.c: the table of all commands, one row each. main.c dispatches over it; help, man page and
// completions are printed from it. (Apart from main.c so that tests can link it.)
#include "cli/command.h"

// clang-format off
const struct command *const commands[] = {
    &command_generate,
    &command_eval,
    &command_pretrain,
    &command_classify_train,
    &command_classify_eval,
    &command_classify_predict,
    &command_instruct_train,
    &command_instruct_respond,
    &command_instruct_chat,
    &command_instruct_score,
    &command_tokenize,
    &command_info,
    &command_bench,
    &command_convert,
    &command_download,
    &command_help,
};
// clang-format on

const int n_commands = sizeof commands / sizeof commands[0];

const struct command_group command_groups[] = {
    {"classify", "train a classifier on labelled texts, and use it"},
    {"instruct", "a model that follows instructions: train it, ask it, have it scored"},
};

const int n_command_groups = sizeof command_groups / sizeof command_groups[0];
