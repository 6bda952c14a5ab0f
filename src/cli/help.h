// help.h: everything that is printed from the commands' tables: help, man page, completions.
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <stdio.h>

#include "cli/command.h"

enum shell {
    SHELL_BASH,
    SHELL_ZSH,
    SHELL_FISH
};

// The list of commands, of all or of one group; one command's help.
void help_print_program(FILE *file);
void help_print_group(FILE *file, const struct command_group *group);
void help_print_command(FILE *file, const struct command *command);
// The manual page my-llm(1), in man(7) macros.
void help_print_man(FILE *file);
// Completions, to be sourced by the shell.
void help_print_completion(FILE *file, enum shell shell);

// The command that words [n > 0] begin with, one word or two; *used receives how many. NULL when there is none.
const struct command *command_find(int n, char *const *words, int *used);
// Says so on stderr, with the nearest name there is, and returns 2.
int command_unknown(int n, char *const *words);

// The group of this name, or NULL.
const struct command_group *group_find(const char *name);
// The second word of the command's name if it belongs to the group (NULL: if it belongs to any), else NULL.
const char *command_within(const struct command *command, const struct command_group *group);

// A command's argument struct with its defaults (free); NULL when out of memory.
void *command_defaults(const struct command *command);
// What follows an option's help: its choices and its default.
void option_notes(const struct option *option, const void *args, char *text, size_t size);

#endif
