// manual.c: the manual page my-llm(1), printed from the commands' tables in the macros of man(7).
#include <stdlib.h>
#include <string.h>

#include "cli/help.h"
#include "cli/options.h"

// Text as roff takes it literally: '\' and '-' spelled out (a bare '-' is a hyphen, which cannot be
// pasted back), and nothing at a line's beginning that would be a request.
static void print_text(FILE *file, const char *text, size_t size) {
    bool line_begins = true;
    for (size_t i = 0; i < size; i++) {
        const char c = text[i];
        if (line_begins && (c == '.' || c == '\'')) fputs("\\&", file);
        if (c == '\\') {
            fputs("\\e", file);
        } else if (c == '-') {
            fputs("\\-", file);
        } else {
            fputc(c, file);
        }
        line_begins = c == '\n';
    }
}

static void print_string(FILE *file, const char *text) {
    print_text(file, text, strlen(text));
}

// Paragraphs are separated by empty lines; a line that begins with a space is a line of its own.
static void print_paragraphs(FILE *file, const char *text) {
    fputs(".PP\n", file);
    for (bool own = false; *text != '\0';) {
        const size_t size = strcspn(text, "\n");
        if (size == 0) {
            fputs(".PP\n", file);
        } else {
            if (own && *text != ' ') fputs(".br\n", file); // troff itself breaks before a leading space
            print_text(file, text, size);
            fputc('\n', file);
        }
        own = *text == ' ';
        text += size + (text[size] == '\n');
    }
}

// Lines as they stand.
static void print_verbatim(FILE *file, const char *text) {
    fputs(".PP\n.nf\n", file);
    print_string(file, text);
    fputs("\n.fi\n", file);
}

static void print_usage(FILE *file, const struct command *command) {
    const char *usage = command->usage;
    for (bool first = true; first || *usage != '\0'; first = false) {
        const size_t length = strcspn(usage, "\n");
        fputs(first ? ".B my\\-llm " : ".br\n.B my\\-llm ", file);
        print_string(file, command->name);
        fputs("\n", file);
        print_text(file, usage, length);
        fputs("\n", file);
        usage += length + (usage[length] == '\n');
    }
}

static void print_option(FILE *file, const struct option *option, const void *args) {
    fputs(".TP\n", file);
    if (option->letter != 0) fprintf(file, "\\fB\\-%c\\fR, ", option->letter);
    fputs("\\fB\\-\\-", file);
    print_string(file, option->name);
    fputs("\\fR", file);
    if (option->placeholder != NULL) fprintf(file, " \\fI%s\\fR", option->placeholder);
    fputs("\n", file);
    char notes[512];
    option_notes(option, args, notes, sizeof notes);
    print_string(file, option->help);
    print_string(file, notes);
    fputs(".\n", file);
}

static void print_command(FILE *file, const struct command *command) {
    fputs(".SS ", file);
    print_string(file, command->name);
    fputs("\n", file);
    print_usage(file, command);
    print_paragraphs(file, command->description);
    void *args = command_defaults(command);
    for (int i = 0; args != NULL && i < command->n_options; i++) print_option(file, &command->options[i], args);
    free(args);
    if (command->examples != NULL) print_verbatim(file, command->examples);
}

void help_print_man(FILE *file) {
    fprintf(file, ".TH MY\\-LLM 1 \"\" \"my\\-llm %s\" \"User Commands\"\n", llm_version());
    fputs(".SH NAME\nmy\\-llm \\- run GPT\\-2 models on this computer's processor\n"
          ".SH SYNOPSIS\n.B my\\-llm\n.I COMMAND\n[options] [operands]\n.br\n"
          ".B my\\-llm help\n.RI [ COMMAND ]\n.br\n.B my\\-llm \\-\\-version\n"
          ".SH DESCRIPTION\n"
          "A value follows its option as the next word, after an equals sign (\\fB\\-\\-seed=7\\fR), or directly after "
          "a\n"
          "letter (\\fB\\-n5\\fR). Options and operands may come in any order; \\fB\\-\\-\\fR ends the options. Every\n"
          "command takes \\fB\\-\\-help\\fR.\n"
          ".PP\nStandard output is the answer; progress and notes go to standard error.\n"
          ".SH COMMANDS\n",
          file);
    for (int i = 0; i < n_commands; i++) print_command(file, commands[i]);
    fputs(".SH ENVIRONMENT\n"
          ".TP\n.B MY_LLM_HOME\nWhere downloaded models and data sets are\n"
          "(default: \\fI$XDG_DATA_HOME/my\\-llm\\fR, else \\fI~/.local/share/my\\-llm\\fR).\n"
          ".TP\n.B MY_LLM_MIRROR\nA URL (http, https, file) that is asked in place of the origin of downloads.\n"
          ".TP\n.B MY_LLM_BUNDLED\nThe directory of the model that is called bundled\n"
          "(default: where it was installed, else beside the build).\n"
          ".TP\n.B OPENAI_API_KEY\nThe key that \\fBinstruct score \\-\\-api openai\\fR sends.\n"
          ".TP\n.B MY_LLM_THREADS\nHow many threads to use, 1 to 1024 (default: the cores this process may use).\n"
          ".TP\n.B MY_LLM_ISA\nWhich kernels to use: ref, baseline, avx2 or avx512 (default: the best this processor "
          "has).\n"
          ".SH EXIT STATUS\n"
          "0 when all was done, 1 after a failure, 2 for wrong usage, 130 after Ctrl\\-C, 143 after SIGTERM.\n",
          file);
}
