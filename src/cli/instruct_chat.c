// instruct_chat.c: `my-llm instruct chat`: one instruction after another at a terminal.
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/converse.h"
#include "cli/instruct_options.h"

#define FIELD(name) offsetof(struct answer_args, name)

static const struct option options[] = {
    ANSWER_OPTIONS(FIELD),
};

#undef FIELD

static void chat_init(void *memory) {
    answer_args_init(memory);
}

struct chat {
    const struct answer_args *args;
    struct llm_engine *engine;
    bool unwritten;
};

static bool on_line(void *user, const char *line, struct llm_error *err) {
    struct chat *chat = user;
    const struct llm_instruction instruction = {line, NULL};
    bool written = true;
    const bool ok = answer_show(chat->engine, &instruction, &chat->args->respond, &written, err);
    chat->unwritten = !written;
    return ok;
}

static int chat_run(void *memory, int n_operands, char **operands) {
    struct answer_args *args = memory;
    struct llm_error err = {0};
    (void)n_operands;
    if (!isatty(STDIN_FILENO)) {
        return command_usage(&command_instruct_chat,
                             "standard input is not a terminal; `instruct respond` takes an instruction from there");
    }
    struct chat chat = {.args = args, .engine = answer_open(args, operands[0], &err)};
    if (chat.engine == NULL) return command_failed(&err);
    const int code = converse("Instruction (type 'quit' to exit): ", on_line, &chat, &chat.unwritten);
    llm_engine_free(chat.engine);
    return code;
}

const struct command command_instruct_chat = {
    .name = "instruct chat",
    .summary = "answer one instruction after another at a terminal",
    .usage = "[options] DIR",
    .description =
        "DIR is what instruct train has written, or any model. Each line is an instruction of its own: what was said "
        "before is forgotten, as the model has learned single instructions only. 'quit' or Ctrl-D ends; Ctrl-C ends "
        "the answer that is being written, a second one the program.",
    .examples = "  $ my-llm instruct chat instruction\n"
                "  $ my-llm instruct chat --temperature 0.7 --top-k 40 instruction",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .args_size = sizeof(struct answer_args),
    .min_operands = 1,
    .max_operands = 1,
    .init = chat_init,
    .run = chat_run,
};
