// command.h: what a command of the program is: one `struct command`, in a file of its own, and one row in commands.c.
//
// A command's options are rows of a table: flag, type, where the value goes, limits, help. Parsing,
// --help, the man page and the shell completions are all made from these rows; the default shown is
// the value that init() put there, so it is written once. main.c parses and then calls run().
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stddef.h>

#include "my_llm.h"

enum option_type {
    OPTION_FLAG,    // bool; takes no value and sets true
    OPTION_NO_FLAG, // bool; takes no value and sets false: --no-echo
    OPTION_INT,     // int
    OPTION_INT64,   // int64_t
    OPTION_UINT64,  // uint64_t
    OPTION_FLOAT,   // float
    OPTION_DOUBLE,  // double
    OPTION_SIZE,    // int64_t; "500MB", "2GB", "4096" (powers of 1000; KiB, MiB, GiB: of 1024)
    OPTION_STRING,  // const char *, borrowed from argv; NULL when not given
    OPTION_STRINGS, // struct strings; may be given several times
    OPTION_CHOICE,  // int, index into `choices`
};

// The values of an option that may be given several times.
struct strings {
    const char **items; // [n] borrowed from argv
    int n;
};

struct option {
    const char *name; // "max-tokens", given as --max-tokens N or --max-tokens=N
    char letter;      // 'n' for -n N; 0 for none
    enum option_type type;
    size_t offset;              // of the field in the command's argument struct
    const char *placeholder;    // "N"; FILE, DIR and MODEL complete to such; NULL for flags
    const char *help;           // one line; lower case, no full stop
    double min, max;            // numbers outside are wrong usage; both 0: no limits. A default outside
                                // stands for "not given" and is not shown
    const char *const *choices; // NULL-terminated, for OPTION_CHOICE
};

struct command {
    const char *name;        // "generate", or "instruct score": a command of the group "instruct"
    const char *summary;     // one line for `my-llm help`
    const char *usage;       // after "my-llm generate ": "[-m MODEL] [PROMPT | -]"; several lines allowed
    const char *description; // paragraphs for --help and the man page, which fill them; lines that
                             // begin with a space stay as they are
    const char *examples;    // lines "$ my-llm ..." with explanations
    const struct option *options;
    int n_options;
    size_t args_size;
    int min_operands, max_operands; // max -1: any number
    void (*init)(void *args);       // fills in the defaults
    size_t given;                   // of a bool [n_options] in the argument struct, where the options that were given
                                    // are marked; 0: nobody asks
    // Does the work. Returns the exit code: 0 done, 1 failed (after a sentence on stderr), 2 wrong usage.
    int (*run)(void *args, int n_operands, char **operands);
};

// Commands that belong together: each has two words for its name, of which the first is the group's.
struct command_group {
    const char *name;    // "instruct"
    const char *summary; // one line for `my-llm help instruct`
};

// Prints "my-llm: <sentence>" on stderr and returns 1 (130 or 143, as shells do, after a cancelling Ctrl-C or SIGTERM).
int command_failed(const struct llm_error *err);
// Prints "my-llm <command>: <formatted>", and where to find help, on stderr and returns 2.
int command_usage(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Progress and notices on stderr, for the library's callbacks: at a terminal a bar with rate and time
// left, elsewhere a plain line a thing. Calls command_catch_interrupt(); a first Ctrl-C, or SIGTERM, makes the
// progress callback cancel.
struct llm_callbacks command_callbacks(void);

// Ctrl-C and SIGTERM: after command_catch_interrupt(), the first one only makes command_interrupted() true, a Ctrl-C
// after it ends the program with exit code 130. command_clear_interrupt() forgets a first Ctrl-C, and no SIGTERM.
void command_catch_interrupt(void);
bool command_interrupted(void);
bool command_terminated(void); // by SIGTERM
// The exit code of a program that ends for it: 130 or 143; 0: nothing came.
int command_interrupt_code(void);
void command_clear_interrupt(void);

// Sends what was printed on its way. false: standard output has failed, now or before; main() says so.
bool command_flush(void);
// To be called at once when standard output has failed: keeps errno, unless an earlier reason is kept already.
void command_output_failed(void);
// The errno of the first failure; 0: it is not known.
int command_output_error(void);

// A text from a descriptor, unpacked if it is compressed (llm_text_open()); Ctrl-C, once caught, ends a read that
// waits.
struct llm_text *command_open_text(int fd, const char *name, int n_threads, struct llm_error *err);

// Reads all of a text file, or of standard input for "-", in that way; NUL-terminated, freed with free().
bool command_read_input(const char *path, char **bytes, size_t *size, struct llm_error *err);

extern const struct command command_generate;
extern const struct command command_eval;
extern const struct command command_pretrain;
extern const struct command command_classify_train;
extern const struct command command_classify_eval;
extern const struct command command_classify_predict;
extern const struct command command_instruct_train;
extern const struct command command_instruct_respond;
extern const struct command command_instruct_chat;
extern const struct command command_instruct_score;
extern const struct command command_tokenize;
extern const struct command command_info;
extern const struct command command_bench;
extern const struct command command_convert;
extern const struct command command_download;
extern const struct command command_help;

// Every command, in the order that help shows; [n_commands], in commands.c. Those of a group stand together.
extern const struct command *const commands[];
extern const int n_commands;
extern const struct command_group command_groups[]; // [n_command_groups]
extern const int n_command_groups;

// Choices of --quantize, in the order of enum llm_quantize; "none" is what it is when not given.
extern const char *const quantize_choices[];
// Choices of --compute, in the order of enum llm_compute.
extern const char *const compute_choices[];

#endif
