// completion.c: completions for bash, zsh and fish, printed from the commands' tables.
//
// What a value completes to follows from its placeholder: FILE and MODEL files (a model is a directory
// or a file; for MODEL also the names that download knows), DIR directories, choices their words,
// anything else nothing. Operands complete to files, to commands after `help`, and to what can be
// downloaded after `download`. Of a command of two words the second is completed as the first one is; in the shells'
// tables its name is "instruct-score".
#include <string.h>

#include "cli/help.h"
#include "cli/options.h"

enum value_kind {
    VALUE_FREE,
    VALUE_CHOICE,
    VALUE_FILE,
    VALUE_DIRECTORY,
    VALUE_MODEL
};

static enum value_kind value_kind(const struct option *option) {
    if (option->type == OPTION_CHOICE) return VALUE_CHOICE;
    if (strcmp(option->placeholder, "MODEL") == 0) return VALUE_MODEL;
    if (strcmp(option->placeholder, "FILE") == 0) return VALUE_FILE;
    if (strcmp(option->placeholder, "DIR") == 0) return VALUE_DIRECTORY;
    return VALUE_FREE;
}

// What a command's operands complete to.
enum operands_kind {
    OPERANDS_FILES,
    OPERANDS_COMMANDS,
    OPERANDS_DOWNLOADS
};

static enum operands_kind operands_kind(const struct command *command) {
    if (command == &command_help) return OPERANDS_COMMANDS;
    return strcmp(command->name, "download") == 0 ? OPERANDS_DOWNLOADS : OPERANDS_FILES;
}

static void print_choices(FILE *file, const struct option *option) {
    for (int i = 0; option->choices[i] != NULL; i++) fprintf(file, "%s%s", i == 0 ? "" : " ", option->choices[i]);
}

// The first words of the commands, a group's once; or the second words of a group's.
static void print_command_names(FILE *file, const struct command_group *group) {
    const char *separator = "";
    for (int i = 0; i < n_commands; i++) {
        const char *name = group == NULL ? commands[i]->name : command_within(commands[i], group);
        if (group != NULL && name == NULL) continue;
        const size_t size = strcspn(name, " ");
        if (i > 0 && group == NULL && strncmp(commands[i - 1]->name, name, size + 1) == 0) continue;
        fprintf(file, "%s%.*s", separator, (int)size, name);
        separator = " ";
    }
}

// A command's name as one word.
static void print_key(FILE *file, const struct command *command) {
    for (const char *c = command->name; *c != '\0'; c++) fputc(*c == ' ' ? '-' : *c, file);
}

static void print_download_names(FILE *file) {
    int n = 0;
    const struct llm_download_item *items = llm_download_items(&n);
    for (int i = 0; i < n; i++) fprintf(file, "%s%s", i == 0 ? "" : " ", items[i].name);
}

// The names that -m takes besides a path: all of a download's that are models.
static void print_model_names(FILE *file) {
    fputs("bundled", file);
    int n = 0;
    const struct llm_download_item *items = llm_download_items(&n);
    for (int i = 0; i < n; i++) {
        if (strncmp(items[i].name, "gpt2", 4) == 0) fprintf(file, " %s", items[i].name);
    }
}

// `text` between single quotes; a quote in it becomes `quote`, and each of `special` gets a backslash.
static void print_quoted(FILE *file, const char *text, const char *quote, const char *special) {
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputs(quote, file);
        } else {
            if (strchr(special, *text) != NULL) fputc('\\', file);
            fputc(*text, file);
        }
    }
}

// ---- bash -----------------------------------------------------------------------------------

// One case arm for the word after an option: "generate:-m|generate:--model) ... ;;".
static void bash_value(FILE *file, const struct command *command, const struct option *option) {
    fputs("    ", file);
    print_key(file, command);
    fprintf(file, ":--%s", option->name);
    if (option->letter != 0) {
        fputs("|", file);
        print_key(file, command);
        fprintf(file, ":-%c", option->letter);
    }
    fputs(")", file);
    switch (value_kind(option)) {
    case VALUE_CHOICE:
        fputs(" COMPREPLY=($(compgen -W '", file);
        print_choices(file, option);
        fputs("' -- \"$cur\"));", file);
        break;
    case VALUE_MODEL:
        fputs(" compopt -o filenames; COMPREPLY=($(compgen -f -W '", file);
        print_model_names(file);
        fputs("' -- \"$cur\"));", file);
        break;
    case VALUE_FILE:
        fputs(" compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\"));", file);
        break;
    case VALUE_DIRECTORY:
        fputs(" compopt -o filenames; COMPREPLY=($(compgen -d -- \"$cur\"));", file);
        break;
    case VALUE_FREE:
        break;
    }
    fputs(" return ;;\n", file);
}

static void bash_words(FILE *file, const struct command *command) {
    fputs("    ", file);
    print_key(file, command);
    fputs(":-*) words='", file);
    for (int i = 0; i < command->n_options; i++) fprintf(file, "--%s ", command->options[i].name);
    fputs("--help' ;;\n", file);
    if (operands_kind(command) == OPERANDS_FILES) return;
    fprintf(file, "    %s:*) words='", command->name);
    if (operands_kind(command) == OPERANDS_COMMANDS) {
        print_command_names(file, NULL);
    } else {
        print_download_names(file);
    }
    fputs("' ;;\n", file);
}

// After a group's name comes the second word; from then on the two are one.
static void bash_group(FILE *file, const struct command_group *group) {
    fprintf(file, "    %s)\n        if [ \"$COMP_CWORD\" -eq 2 ]; then\n            COMPREPLY=($(compgen -W '",
            group->name);
    print_command_names(file, group);
    fputs(" --help' -- \"$cur\"))\n"
          "            return\n"
          "        fi\n"
          "        command=$command-${COMP_WORDS[2]} ;;\n",
          file);
}

static void print_bash(FILE *file) {
    fputs("# bash completion for my-llm, printed by `my-llm help --completion bash`\n"
          "_my_llm() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} words=\n"
          "    # bash splits --name=value into three words\n"
          "    if [ \"$cur\" = = ]; then cur=; elif [ \"$prev\" = = ]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        COMPREPLY=($(compgen -W '",
          file);
    print_command_names(file, NULL);
    fputs(" --help --version' -- \"$cur\"))\n"
          "        return\n"
          "    fi\n"
          "    case $command in\n",
          file);
    for (int i = 0; i < n_command_groups; i++) bash_group(file, &command_groups[i]);
    fputs("    esac\n"
          "    case $command:$prev in\n",
          file);
    for (int i = 0; i < n_commands; i++) {
        for (int j = 0; j < commands[i]->n_options; j++) {
            const struct option *option = &commands[i]->options[j];
            if (option_takes_value(option)) bash_value(file, commands[i], option);
        }
    }
    fputs("    esac\n"
          "    case $command:$cur in\n",
          file);
    for (int i = 0; i < n_commands; i++) bash_words(file, commands[i]);
    fputs("    *) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
          "    esac\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "}\n"
          "complete -F _my_llm my-llm\n",
          file);
}

// ---- zsh ------------------------------------------------------------------------------------

// One specification of _arguments: '(-n --max-tokens)'{-n+,--max-tokens=}'[new tokens]:N: '
static void zsh_option(FILE *file, const struct option *option) {
    const bool valued = option_takes_value(option);
    const char *repeat = option->type == OPTION_STRINGS ? "*" : "";
    fputs(" \\\n            ", file);
    if (option->letter != 0 && *repeat == '\0') fprintf(file, "'(-%c --%s)'", option->letter, option->name);
    if (*repeat != '\0') fputs("'*'", file);
    if (option->letter != 0) {
        fprintf(file, "{-%c%s,--%s%s}'[", option->letter, valued ? "+" : "", option->name, valued ? "=" : "");
    } else {
        fprintf(file, "'--%s%s[", option->name, valued ? "=" : "");
    }
    print_quoted(file, option->help, "'\\''", "[]:\\");
    fputs("]", file);
    if (valued) {
        fprintf(file, ":%s:", option->placeholder);
        switch (value_kind(option)) {
        case VALUE_CHOICE:
            fputs("(", file);
            print_choices(file, option);
            fputs(")", file);
            break;
        case VALUE_MODEL:
            fputs("_my_llm_model", file);
            break;
        case VALUE_FILE:
            fputs("_files", file);
            break;
        case VALUE_DIRECTORY:
            fputs("_files -/", file);
            break;
        case VALUE_FREE:
            fputs(" ", file);
            break;
        }
    }
    fputs("'", file);
}

static void zsh_command(FILE *file, const struct command *command) {
    fputs("    ", file);
    print_key(file, command);
    fputs(")\n        _arguments -S", file);
    for (int i = 0; i < command->n_options; i++) zsh_option(file, &command->options[i]);
    fputs(" \\\n            '(-h --help)'{-h,--help}'[show help]' \\\n            '*:operand:", file);
    switch (operands_kind(command)) {
    case OPERANDS_FILES:
        fputs("_files", file);
        break;
    case OPERANDS_COMMANDS:
        fputs("(", file);
        print_command_names(file, NULL);
        fputs(")", file);
        break;
    case OPERANDS_DOWNLOADS:
        fputs("(", file);
        print_download_names(file);
        fputs(")", file);
        break;
    }
    fputs("' ;;\n", file);
}

// What _describe takes: a name with its summary a line.
static void zsh_names(FILE *file, const struct command_group *group) {
    for (int i = 0; i < n_commands; i++) {
        const char *name = command_within(commands[i], group);
        if (name == NULL && group == NULL) name = commands[i]->name;
        if (name == NULL || (group == NULL && name != commands[i]->name)) continue;
        fprintf(file, "\n            '%s:", name);
        print_quoted(file, commands[i]->summary, "'\\''", "");
        fputs("'", file);
    }
    for (int i = 0; group == NULL && i < n_command_groups; i++) {
        fprintf(file, "\n            '%s:", command_groups[i].name);
        print_quoted(file, command_groups[i].summary, "'\\''", "");
        fputs("'", file);
    }
}

// After a group's name comes the second word; from then on the two are one.
static void zsh_group(FILE *file, const struct command_group *group) {
    fprintf(file, "    %s)\n        if (( CURRENT == 2 )); then\n            local -a some=(", group->name);
    zsh_names(file, group);
    fputs(")\n"
          "            _describe -t commands command some\n"
          "            return\n"
          "        fi\n"
          "        command=$command-$words[2]\n"
          "        shift words\n"
          "        (( CURRENT-- )) ;;\n",
          file);
}

static void print_zsh(FILE *file) {
    fputs("#compdef my-llm\n"
          "# zsh completion for my-llm, printed by `my-llm help --completion zsh`\n"
          "_my_llm_model() {\n"
          "    _alternative 'names:name:(",
          file);
    print_model_names(file);
    fputs(")' 'files:file:_files'\n"
          "}\n"
          "_my_llm() {\n"
          "    if (( CURRENT == 2 )); then\n"
          "        local -a all=(",
          file);
    zsh_names(file, NULL);
    fputs(")\n"
          "        _describe -t commands command all\n"
          "        return\n"
          "    fi\n"
          "    local command=$words[2]\n"
          "    shift words\n"
          "    (( CURRENT-- ))\n"
          "    case $command in\n",
          file);
    for (int i = 0; i < n_command_groups; i++) zsh_group(file, &command_groups[i]);
    fputs("    esac\n"
          "    case $command in\n",
          file);
    for (int i = 0; i < n_commands; i++) zsh_command(file, commands[i]);
    fputs("    esac\n"
          "}\n"
          "if [ \"$funcstack[1]\" = _my-llm ]; then _my_llm \"$@\"; else compdef _my_llm my-llm; fi\n",
          file);
}

// ---- fish -----------------------------------------------------------------------------------

// When the words so far name the command.
static void fish_condition(FILE *file, const struct command *command) {
    const char *within = command_within(command, NULL);
    const int size = (int)strcspn(command->name, " ");
    fprintf(file, "complete -c my-llm -n '__fish_seen_subcommand_from %.*s", size, command->name);
    if (within != NULL) fprintf(file, "; and __fish_seen_subcommand_from %s", within);
    fputs("'", file);
}

// The command's name, or, of a command of two words, the second one after the first.
static void fish_name(FILE *file, const struct command *command) {
    const char *within = command_within(command, NULL);
    if (within == NULL) {
        fprintf(file, "complete -c my-llm -n __fish_use_subcommand -f -a %s -d '", command->name);
    } else {
        const int size = (int)(within - command->name - 1);
        fprintf(file, "complete -c my-llm -n '__fish_seen_subcommand_from %.*s' -f -a %s -d '", size, command->name,
                within);
    }
    print_quoted(file, command->summary, "\\'", "\\");
    fputs("'\n", file);
}

static void fish_option(FILE *file, const struct command *command, const struct option *option) {
    fish_condition(file, command);
    fprintf(file, " -l %s", option->name);
    if (option->letter != 0) fprintf(file, " -s %c", option->letter);
    if (option_takes_value(option)) {
        switch (value_kind(option)) {
        case VALUE_CHOICE:
            fputs(" -x -a '", file);
            print_choices(file, option);
            fputs("'", file);
            break;
        case VALUE_MODEL:
            fputs(" -r -a '", file);
            print_model_names(file);
            fputs("'", file);
            break;
        case VALUE_FILE:
            fputs(" -r -F", file);
            break;
        case VALUE_DIRECTORY:
            fputs(" -x -a '(__fish_complete_directories)'", file);
            break;
        case VALUE_FREE:
            fputs(" -x", file);
            break;
        }
    }
    fputs(" -d '", file);
    print_quoted(file, option->help, "\\'", "\\");
    fputs("'\n", file);
}

static void print_fish(FILE *file) {
    fputs("# fish completion for my-llm, printed by `my-llm help --completion fish`\n"
          "complete -c my-llm -n __fish_use_subcommand -f -l version -s V -d 'print the version'\n"
          "complete -c my-llm -l help -s h -d 'show help'\n",
          file);
    for (int i = 0; i < n_command_groups; i++) {
        fprintf(file, "complete -c my-llm -n __fish_use_subcommand -f -a %s -d '", command_groups[i].name);
        print_quoted(file, command_groups[i].summary, "\\'", "\\");
        fputs("'\n", file);
    }
    for (int i = 0; i < n_commands; i++) {
        const struct command *command = commands[i];
        fish_name(file, command);
        if (operands_kind(command) != OPERANDS_FILES) {
            fprintf(file, "complete -c my-llm -n '__fish_seen_subcommand_from %s' -f -a '", command->name);
            if (operands_kind(command) == OPERANDS_COMMANDS) {
                print_command_names(file, NULL);
            } else {
                print_download_names(file);
            }
            fputs("'\n", file);
        }
        for (int j = 0; j < command->n_options; j++) fish_option(file, command, &command->options[j]);
    }
}

void help_print_completion(FILE *file, enum shell shell) {
    switch (shell) {
    case SHELL_BASH:
        print_bash(file);
        break;
    case SHELL_ZSH:
        print_zsh(file);
        break;
    case SHELL_FISH:
        print_fish(file);
        break;
    }
}
