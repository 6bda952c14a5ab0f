// help.c: `my-llm help`: the commands, or one of them; and, for packagers, the man page and the shell
// completions. All of it is printed from the commands' tables, so that it cannot disagree with them.
#include "cli/help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"

// ---- The text of --help ---------------------------------------------------------------------

// "-n, --max-tokens N", "    --json".
static void flag_text(const struct option *option, char *text, size_t size) {
    char letter[8] = "    ";
    if (option->letter != 0) snprintf(letter, sizeof letter, "-%c, ", option->letter);
    const char *space = option->placeholder == NULL ? "" : " ";
    const char *placeholder = option->placeholder == NULL ? "" : option->placeholder;
    snprintf(text, size, "%s--%s%s%s", letter, option->name, space, placeholder);
}

void option_notes(const struct option *option, const void *args, char *text, size_t size) {
    char value[128];
    option_value_text(option, args, value, sizeof value);
    char list[256] = "";
    size_t used = 0;
    for (int i = 0; option->choices != NULL && option->choices[i] != NULL && used < sizeof list; i++) {
        const char *separator = i == 0 ? "" : option->choices[i + 1] == NULL ? " or " : ", ";
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", separator, option->choices[i]);
    }
    const bool both = list[0] != '\0' && value[0] != '\0';
    text[0] = '\0';
    if (list[0] == '\0' && value[0] == '\0') return;
    snprintf(text, size, " (%s%s%s%s)", list, both ? "; " : "", value[0] != '\0' ? "default " : "", value);
}

void *command_defaults(const struct command *command) {
    void *args = calloc(1, command->args_size + 1); // a command without arguments still gets a pointer
    if (args != NULL && command->init != NULL) command->init(args);
    return args;
}

enum {
    HELP_COLUMNS = 80,
    FLAG_COLUMNS = 26
};

// Prints the words of `text` [size] in lines of at most HELP_COLUMNS, continued at `indent`; the cursor
// stands at `column`. Ends the last line.
static void print_filled(FILE *file, const char *text, size_t size, int indent, int column) {
    bool begun = false;
    for (size_t at = 0; at < size;) {
        while (at < size && (text[at] == ' ' || text[at] == '\n')) at++;
        size_t end = at;
        while (end < size && text[end] != ' ' && text[end] != '\n') end++;
        const int length = (int)(end - at);
        if (length == 0) break;
        if (begun && column + 1 + length > HELP_COLUMNS) {
            fprintf(file, "\n%*s", indent, "");
            column = indent;
        } else if (begun) {
            fputc(' ', file);
            column++;
        }
        fprintf(file, "%.*s", length, text + at);
        column += length;
        begun = true;
        at = end;
    }
    fputc('\n', file);
}

// Paragraphs are filled; a line that begins with a space stays as it is.
static void print_description(FILE *file, const char *text) {
    while (*text != '\0') {
        size_t size = 0; // of the paragraph: up to an empty line, or a line that stays as it is
        if (*text == ' ' || *text == '\n') {
            size = strcspn(text, "\n");
            fprintf(file, "%.*s\n", (int)size, text);
        } else {
            while (text[size] != '\0' && !(text[size] == '\n' && strchr("\n ", text[size + 1]) != NULL)) size++;
            print_filled(file, text, size, 0, 0);
        }
        text += size;
        if (*text == '\n') text++;
    }
}

// One row: flags in the left column, help in the right one, on the next line when the left is too long.
static void print_row(FILE *file, const char *left, const char *help, const char *notes) {
    char text[1024];
    const int size = snprintf(text, sizeof text, "%s%s", help, notes);
    const int indent = FLAG_COLUMNS + 4;
    if ((int)strlen(left) > FLAG_COLUMNS) {
        fprintf(file, "  %s\n%*s", left, indent, "");
    } else {
        fprintf(file, "  %-*s  ", FLAG_COLUMNS, left);
    }
    print_filled(file, text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1, indent, indent);
}

void help_print_command(FILE *file, const struct command *command) {
    fputs("usage: ", file);
    const char *usage = command->usage;
    for (bool first = true; first || *usage != '\0'; first = false) {
        const int length = (int)strcspn(usage, "\n");
        fprintf(file, "%smy-llm %s %.*s\n", first ? "" : "       ", command->name, length, usage);
        usage += length + (usage[length] == '\n');
    }
    fputc('\n', file);
    print_description(file, command->description);

    fputs("\nOptions:\n", file);
    void *args = command_defaults(command);
    for (int i = 0; args != NULL && i < command->n_options; i++) {
        char left[128];
        char notes[512];
        flag_text(&command->options[i], left, sizeof left);
        option_notes(&command->options[i], args, notes, sizeof notes);
        print_row(file, left, command->options[i].help, notes);
    }
    free(args);
    print_row(file, "-h, --help", "show this help", "");
    if (command->examples != NULL) fprintf(file, "\nExamples:\n%s\n", command->examples);
}

static void print_summary(FILE *file, const char *name, const char *summary, int width) {
    fprintf(file, "  %-*s  %s\n", width, name, summary);
}

void help_print_program(FILE *file) {
    fputs("usage: my-llm COMMAND [options] [operands]\n\n"
          "Runs GPT-2 models on this computer's processor.\n\nCommands:\n",
          file);
    int width = 0;
    for (int i = 0; i < n_commands; i++) {
        const int length = (int)strlen(commands[i]->name);
        if (length > width) width = length;
    }
    for (int i = 0; i < n_commands; i++) print_summary(file, commands[i]->name, commands[i]->summary, width);
    fputs("\n'my-llm help COMMAND' tells about one of them; 'my-llm --version' which version this is.\n", file);
}

void help_print_group(FILE *file, const struct command_group *group) {
    fprintf(file, "usage: my-llm %s COMMAND [options] [operands]\n\n", group->name);
    fprintf(file, "Commands to %s:\n", group->summary);
    int width = 0;
    for (int i = 0; i < n_commands; i++) {
        const char *name = command_within(commands[i], group);
        if (name != NULL && (int)strlen(name) > width) width = (int)strlen(name);
    }
    for (int i = 0; i < n_commands; i++) {
        const char *name = command_within(commands[i], group);
        if (name != NULL) print_summary(file, name, commands[i]->summary, width);
    }
    fprintf(file, "\n'my-llm help %s COMMAND' tells about one of them.\n", group->name);
}

// ---- The command ----------------------------------------------------------------------------

struct help_args {
    bool man;
    int completion;
};

static const char *const shells[] = {"bash", "zsh", "fish", NULL};

static const struct option options[] = {
    {"man", 0, OPTION_FLAG, offsetof(struct help_args, man), NULL, "print the manual page instead (roff)", 0, 0, NULL},
    {"completion", 0, OPTION_CHOICE, offsetof(struct help_args, completion), "SHELL",
     "print the completions for a shell instead", 0, 0, shells},
};

static void help_init(void *memory) {
    *(struct help_args *)memory = (struct help_args){.completion = -1};
}

static int help_run(void *memory, int n_operands, char **operands) {
    const struct help_args *args = memory;
    if (args->man && args->completion >= 0) {
        return command_usage(&command_help, "--man and --completion exclude each other");
    }
    if (args->man || args->completion >= 0) {
        if (n_operands > 0) return command_usage(&command_help, "the manual page and completions are for all commands");
        if (args->man) {
            help_print_man(stdout);
        } else {
            help_print_completion(stdout, args->completion);
        }
    } else if (n_operands == 0) {
        help_print_program(stdout);
    } else if (n_operands == 1 && group_find(operands[0]) != NULL) {
        help_print_group(stdout, group_find(operands[0]));
    } else {
        int used = 0;
        const struct command *command = command_find(n_operands, operands, &used);
        if (command == NULL) return command_unknown(n_operands, operands);
        if (used < n_operands) return command_usage(&command_help, "\"%s\" is one too many", operands[used]);
        help_print_command(stdout, command);
    }
    return 0;
}

const struct command command_help = {
    .name = "help",
    .summary = "tell about the commands",
    .usage = "[COMMAND]\n[--man | --completion SHELL]",
    .description = "Lists the commands, or tells what one of them does and which options it has.",
    .examples = "  $ my-llm help generate\n"
                "  $ my-llm help --completion bash > ~/.local/share/bash-completion/completions/my-llm",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .args_size = sizeof(struct help_args),
    .min_operands = 0,
    .max_operands = 2,
    .init = help_init,
    .run = help_run,
};
