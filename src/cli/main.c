// main.c: the way in. Finds the command among commands[], parses its options and runs it.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage. stdout is the answer, stderr the conversation; an answer
// that could not be written in full is a failure.
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/help.h"
#include "cli/options.h"
#include "cli/sigbus.h"

// Runs one command on the words after its name.
static int command_run(const struct command *command, int argc, char **argv) {
    struct llm_error err = {0};
    void *args = command_defaults(command);
    if (args == NULL) {
        fputs("my-llm: out of memory\n", stderr);
        return 1;
    }
    int n_operands = 0;
    int code = 1;
    switch (options_parse(command, argc, argv, args, &n_operands, &err)) {
    case OPTIONS_OK:
        code = command->run(args, n_operands, argv);
        break;
    case OPTIONS_HELP:
        help_print_command(stdout, command);
        code = 0;
        break;
    case OPTIONS_WRONG:
        code = command_usage(command, "%s", err.text);
        break;
    case OPTIONS_FAILED:
        code = command_failed(&err);
        break;
    }
    options_release(command, args);
    free(args);
    return code;
}

static int dispatch(int argc, char **argv) {
    if (argc < 2) {
        help_print_program(stderr);
        return 2;
    }
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        printf("my-llm %s\n", llm_version());
        return 0;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        help_print_program(stdout);
        return 0;
    }
    const struct command_group *group = group_find(word);
    const bool asked = argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0);
    if (group != NULL && (argc == 2 || asked)) {
        help_print_group(asked ? stdout : stderr, group);
        return asked ? 0 : 2;
    }
    int used = 0;
    const struct command *command = command_find(argc - 1, argv + 1, &used);
    if (command == NULL) return command_unknown(argc - 1, argv + 1);
    return command_run(command, argc - 1 - used, argv + 1 + used);
}

int main(int argc, char **argv) {
    setlocale(LC_CTYPE, ""); // line editing counts characters; numbers stay as in C
    sigbus_catch();
    signal(SIGXFSZ, SIG_IGN); // beyond `ulimit -f` writing fails then, and a sentence says so
    const int code = dispatch(argc, argv);
    if (command_flush()) return code;
    const int reason = command_output_error();
    fprintf(stderr, "my-llm: cannot write standard output%s%s\n", reason != 0 ? ": " : "",
            reason != 0 ? strerror(reason) : "");
    return code == 0 ? 1 : code;
}
