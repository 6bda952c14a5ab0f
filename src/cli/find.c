// find.c: the command that a person's words name: one word, or a group and a word.
#include <stdio.h>
#include <string.h>

#include "cli/help.h"
#include "cli/options.h"

const struct command_group *group_find(const char *name) {
    for (int i = 0; i < n_command_groups; i++) {
        if (strcmp(command_groups[i].name, name) == 0) return &command_groups[i];
    }
    return NULL;
}

const char *command_within(const struct command *command, const struct command_group *group) {
    const char *space = strchr(command->name, ' ');
    if (space == NULL) return NULL;
    const size_t size = (size_t)(space - command->name);
    const bool belongs = group == NULL || (strncmp(command->name, group->name, size) == 0 && group->name[size] == '\0');
    return belongs ? space + 1 : NULL;
}

const struct command *command_find(int n, char *const *words, int *used) {
    const struct command_group *group = group_find(words[0]);
    *used = group == NULL ? 1 : 2;
    for (int i = 0; i < n_commands && n >= *used; i++) {
        const char *name = group == NULL ? commands[i]->name : command_within(commands[i], group);
        if (name != NULL && strcmp(name, words[*used - 1]) == 0) return commands[i];
    }
    return NULL;
}

int command_unknown(int n, char *const *words) {
    const struct command_group *group = n < 2 ? NULL : group_find(words[0]);
    const char *word = group == NULL ? words[0] : words[1];
    const char *names[64];
    int n_names = 0;
    for (int i = 0; i < n_commands && n_names < 64; i++) {
        const char *name = commands[i]->name;
        if (group != NULL) name = command_within(commands[i], group);
        if (name != NULL && strchr(name, ' ') == NULL) names[n_names++] = name;
    }
    for (int i = 0; group == NULL && i < n_command_groups && n_names < 64; i++)
        names[n_names++] = command_groups[i].name;
    const char *nearest = nearest_name(word, names, n_names);
    const char *space = group == NULL ? "" : " ", *of = group == NULL ? "" : group->name;
    fprintf(stderr, "my-llm%s%s: there is no command \"%s\"", space, of, word);
    if (nearest != NULL) fprintf(stderr, "; did you mean \"%s\"?", nearest);
    fprintf(stderr, "\n'my-llm help%s%s' lists the commands.\n", space, of);
    return 2;
}
