// options.c: see options.h. The words of values are in option_value.c; here are flags, operands, the
// nearest name for a misspelt one, and the check of the tables themselves.
#include "cli/options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/option_value.h"

bool option_takes_value(const struct option *option) {
    return option->type != OPTION_FLAG && option->type != OPTION_NO_FLAG;
}

// ---- The nearest name -----------------------------------------------------------------------

enum {
    NAME_MAX_LENGTH = 40 // no option or command has a longer one (options_check)
};

// Edit distance where a swap of neighbours counts once (optimal string alignment).
static int edit_distance(const char *a, const char *b) {
    const int n = (int)strlen(a);
    const int m = (int)strlen(b);
    if (n > NAME_MAX_LENGTH || m > NAME_MAX_LENGTH) return n > m ? n : m;
    int d[NAME_MAX_LENGTH + 1][NAME_MAX_LENGTH + 1]; // d[i][j]: first i letters of a, first j of b
    for (int i = 0; i <= n; i++) d[i][0] = i;
    for (int j = 0; j <= m; j++) d[0][j] = j;
    for (int i = 1; i <= n; i++) {
        for (int j = 1; j <= m; j++) {
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && d[i - 2][j - 2] + 1 < best) best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[n][m];
}

const char *nearest_name(const char *word, const char *const *names, int n) {
    const char *nearest = NULL;
    int best = -1;
    const size_t length = strlen(word);
    for (int i = 0; i < n; i++) {
        const bool begins = length >= 2 && strncmp(names[i], word, length) == 0;
        const int distance = begins ? 0 : edit_distance(word, names[i]);
        const int longest = (int)(length > strlen(names[i]) ? length : strlen(names[i]));
        if (distance * 3 > longest) continue;
        if (best < 0 || distance < best) {
            best = distance;
            nearest = names[i];
        }
    }
    return nearest;
}

// ---- Parsing --------------------------------------------------------------------------------

static const struct option *find_name(const struct command *command, const char *name, size_t length) {
    for (int i = 0; i < command->n_options; i++) {
        const struct option *option = &command->options[i];
        if (strncmp(option->name, name, length) == 0 && option->name[length] == '\0') return option;
    }
    return NULL;
}

static const struct option *find_letter(const struct command *command, char letter) {
    for (int i = 0; i < command->n_options; i++) {
        if (command->options[i].letter == letter) return &command->options[i];
    }
    return NULL;
}

// "there is no option --tempreature; did you mean --temperature?". Always returns OPTIONS_WRONG.
static enum options_outcome unknown_option(const struct command *command, const char *word, struct llm_error *err) {
    const int shown = (int)strcspn(word, "=");
    if (strncmp(word, "--", 2) == 0) {
        char name[NAME_MAX_LENGTH + 2];
        snprintf(name, sizeof name, "%.*s", shown - 2, word + 2);
        const char *names[256];
        int n = 0;
        for (; n < command->n_options && n < 256; n++) names[n] = command->options[n].name;
        const char *nearest = nearest_name(name, names, n);
        if (nearest != NULL) {
            error_set(err, LLM_ERROR_ARGUMENT, "there is no option %.*s; did you mean --%s?", shown, word, nearest);
            return OPTIONS_WRONG;
        }
    } else if (find_name(command, word + 1, (size_t)shown - 1) != NULL) {
        error_set(err, LLM_ERROR_ARGUMENT, "there is no option %.*s; did you mean -%.*s?", shown, word, shown, word);
        return OPTIONS_WRONG;
    }
    error_set(err, LLM_ERROR_ARGUMENT, "there is no option %.*s", shown, word);
    return OPTIONS_WRONG;
}

// One option that begins at argv[*at]; *at ends on its last word.
static enum options_outcome parse_option(const struct command *command, int argc, char **argv, int *at, void *args,
                                         struct llm_error *err) {
    const char *word = argv[*at];
    const bool is_long = word[1] == '-';
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return OPTIONS_HELP;
    const size_t name_length = is_long ? strcspn(word + 2, "=") : 1;
    const struct option *option = is_long ? find_name(command, word + 2, name_length) : find_letter(command, word[1]);
    if (option == NULL) return unknown_option(command, word, err);

    // The flag as given, for sentences: "--max-tokens" or "-n".
    char flag[NAME_MAX_LENGTH + 3];
    snprintf(flag, sizeof flag, "%.*s", (int)name_length + (is_long ? 2 : 1), word);
    const char *rest = word + name_length + (is_long ? 2 : 1);
    const char *value = NULL;
    if (*rest != '\0') value = is_long ? rest + 1 : rest;
    if (!option_takes_value(option)) {
        // "-model" for "--model" is likelier than "-m odel" for a flag that takes nothing.
        if (value != NULL && !is_long) return unknown_option(command, word, err);
        if (value != NULL) {
            error_set(err, LLM_ERROR_ARGUMENT, "%s takes no value, but \"%s\" was given", flag, value);
            return OPTIONS_WRONG;
        }
    } else if (value == NULL) {
        if (*at + 1 >= argc) {
            error_set(err, LLM_ERROR_ARGUMENT, "%s needs a value: %s %s", flag, flag, option->placeholder);
            return OPTIONS_WRONG;
        }
        value = argv[++*at];
    }
    struct llm_error refused = {0};
    if (option_value_store(option, flag, value, args, &refused)) {
        if (command->given != 0) ((bool *)((char *)args + command->given))[option - command->options] = true;
        return OPTIONS_OK;
    }
    error_set(err, refused.code, "%s", refused.text);
    return refused.code == LLM_ERROR_MEMORY ? OPTIONS_FAILED : OPTIONS_WRONG;
}

enum options_outcome options_parse(const struct command *command, int argc, char **argv, void *args, int *n_operands,
                                   struct llm_error *err) {
    int kept = 0; // operands so far, at the front of argv; kept <= i, so no word is lost
    bool ended = false;
    *n_operands = 0;
    for (int i = 0; i < argc; i++) {
        if (ended || argv[i][0] != '-' || argv[i][1] == '\0') {
            argv[kept++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            ended = true;
        } else {
            const enum options_outcome outcome = parse_option(command, argc, argv, &i, args, err);
            if (outcome != OPTIONS_OK) return outcome;
        }
    }
    *n_operands = kept;
    const int usage_line = (int)strcspn(command->usage, "\n");
    if (kept < command->min_operands) {
        error_set(err, LLM_ERROR_ARGUMENT, "something is missing; the usage is: my-llm %s %.*s", command->name,
                  usage_line, command->usage);
        return OPTIONS_WRONG;
    }
    if (command->max_operands >= 0 && kept > command->max_operands) {
        error_set(err, LLM_ERROR_ARGUMENT, "\"%s\" is one too many; the usage is: my-llm %s %.*s",
                  argv[command->max_operands], command->name, usage_line, command->usage);
        return OPTIONS_WRONG;
    }
    return OPTIONS_OK;
}

void options_overlay(const struct command *command, const void *from, void *to) {
    const bool *given = (const bool *)((const char *)from + command->given);
    for (int i = 0; i < command->n_options; i++) {
        const struct option *option = &command->options[i];
        if (!given[i]) continue;
        memcpy((char *)to + option->offset, (const char *)from + option->offset, option_type_size(option->type));
    }
}

bool option_given(const struct command *command, const void *args, const char *name) {
    const bool *given = (const bool *)((const char *)args + command->given);
    for (int i = 0; i < command->n_options; i++) {
        if (strcmp(command->options[i].name, name) == 0) return given[i];
    }
    return false;
}

void options_release(const struct command *command, void *args) {
    for (int i = 0; i < command->n_options; i++) {
        if (command->options[i].type != OPTION_STRINGS) continue;
        struct strings *strings = (struct strings *)(void *)((char *)args + command->options[i].offset);
        free(strings->items);
        *strings = (struct strings){0};
    }
}

// ---- The tables themselves ------------------------------------------------------------------

static bool name_sound(const char *name) {
    if (name == NULL || !islower((unsigned char)name[0]) || strlen(name) < 2 || strlen(name) > NAME_MAX_LENGTH) {
        return false;
    }
    for (const char *c = name; *c != '\0'; c++) {
        if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '-') return false;
    }
    return true;
}

// A command's name is a word, or a group's word and one more.
static bool command_name_sound(const char *name) {
    char group[NAME_MAX_LENGTH + 2];
    const char *space = name == NULL ? NULL : strchr(name, ' ');
    if (space == NULL) return name_sound(name);
    snprintf(group, sizeof group, "%.*s", (int)(space - name), name);
    return name_sound(group) && name_sound(space + 1);
}

// What makes one row wrong by itself, or NULL.
static const char *row_fault(const struct command *command, const struct option *option) {
    const size_t size = option_type_size(option->type);
    const bool numeric = option->type >= OPTION_INT && option->type <= OPTION_SIZE;
    if (!name_sound(option->name)) return "its name is not 2 to 40 of a-z, 0-9 and -";
    if (strcmp(option->name, "help") == 0 || option->letter == 'h') return "--help and -h are every command's own";
    if (option->letter != 0 && !isalpha((unsigned char)option->letter)) return "its letter is not a letter";
    if (option->offset > command->args_size || size > command->args_size - option->offset) {
        return "its field lies outside the argument struct";
    }
    if (option->offset % option_type_alignment(option->type) != 0) return "its field is not aligned";
    if (option_takes_value(option) != (option->placeholder != NULL)) return "placeholder and type do not agree";
    if ((option->type == OPTION_CHOICE) != (option->choices != NULL)) return "choices and type do not agree";
    if (option->min > option->max) return "its limits are not in order";
    if (!numeric && (option->min != 0 || option->max != 0)) return "limits are for numbers";
    if (option->help == NULL || option->help[0] == '\0') return "it has no help";
    if (strchr(option->help, '\n') != NULL) return "its help is not one line";
    if (option->help[strlen(option->help) - 1] == '.') return "its help ends in a full stop";
    if (isupper((unsigned char)option->help[0]) && islower((unsigned char)option->help[1])) {
        return "its help begins with a capital";
    }
    return NULL;
}

// What makes two rows wrong together, or NULL. Two flags may set one field (--echo, --no-echo).
static const char *pair_fault(const struct option *a, const struct option *b) {
    if (strcmp(a->name, b->name) == 0) return "its name is there twice";
    if (a->letter != 0 && a->letter == b->letter) return "its letter is there twice";
    if (!option_takes_value(a) && !option_takes_value(b)) return NULL;
    const bool apart =
        a->offset + option_type_size(a->type) <= b->offset || b->offset + option_type_size(b->type) <= a->offset;
    return apart ? NULL : "its field is another option's too";
}

bool options_check(const struct command *command, struct llm_error *err) {
    if (!command_name_sound(command->name)) return error_set(err, LLM_ERROR_ARGUMENT, "a command has no sound name");
    const char *fault = NULL;
    if (command->summary == NULL || command->usage == NULL || command->description == NULL || command->run == NULL) {
        fault = "summary, usage, description or run is missing";
    } else if (command->args_size > 0 && command->init == NULL) {
        fault = "it has arguments but no init";
    } else if (command->max_operands >= 0 && command->max_operands < command->min_operands) {
        fault = "its numbers of operands are not in order";
    }
    if (fault != NULL) return error_set(err, LLM_ERROR_ARGUMENT, "%s: %s", command->name, fault);
    const struct option *at = command->options;
    for (int i = 0; i < command->n_options && fault == NULL; i++) {
        at = &command->options[i];
        fault = row_fault(command, at);
        for (int j = 0; j < i && fault == NULL; j++) fault = pair_fault(at, &command->options[j]);
    }
    if (fault != NULL) {
        error_set(err, LLM_ERROR_ARGUMENT, "%s --%s: %s", command->name, at->name == NULL ? "" : at->name, fault);
    }
    return fault == NULL;
}
