// options.h: from the words of a command line to the fields of a command's argument struct.
//
// Words as GNU programs take them: --name VALUE, --name=VALUE, -n VALUE, -nVALUE; options and operands
// in any order; "--" ends the options; "-" alone is an operand. The word after an option that takes a
// value is its value, whatever it looks like, so negative numbers need no care. A name must be spelled
// out: an abbreviation that works today would break when an option is added. Given twice, the last
// wins (OPTION_STRINGS collects).
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "cli/command.h"

enum options_outcome {
    OPTIONS_OK,
    OPTIONS_HELP,   // --help or -h was given; nothing after it was looked at
    OPTIONS_WRONG,  // wrong usage; err has the sentence
    OPTIONS_FAILED, // out of memory
};

// Parses argv [argc], the words after the command's name, into `args`, where the command's init() has
// put the defaults. Operands are moved to the front of argv; *n_operands receives their number.
// options_release() afterwards, whatever the outcome.
enum options_outcome options_parse(const struct command *command, int argc, char **argv, void *args, int *n_operands,
                                   struct llm_error *err);
// Copies the fields of the options that were given in `from` (see command.given) to another argument struct, which
// holds other defaults: a preset's.
void options_overlay(const struct command *command, const void *from, void *to);

// Whether this option was given; only of a command that marks them.
bool option_given(const struct command *command, const void *args, const char *name);

// Frees the lists of OPTION_STRINGS.
void options_release(const struct command *command, void *args);

// Is the command's table sound? Names and letters unique and well formed, fields inside the struct and
// not shared, limits in order, help lines in the house style. For the tests.
bool options_check(const struct command *command, struct llm_error *err);

// true when the option takes a value.
bool option_takes_value(const struct option *option);

// The current value of a field as a person would type it. "" for flags, for lists, and for what stands
// for "not given": NULL, a negative choice, a number outside the row's limits.
void option_value_text(const struct option *option, const void *args, char *text, size_t size);

// The name nearest to `word` among names [n], or NULL when none is near: at most a third of its
// letters wrong, or `word` is how it begins.
const char *nearest_name(const char *word, const char *const *names, int n);

#endif
