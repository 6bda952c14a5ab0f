// cgroup.c: see cgroup.h.
#include "base/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_PATH = 1024,
    MAX_TEXT = 8192 // of memory.stat, which has some 2000 bytes
};

struct group {
    char folder[MAX_PATH];
    size_t top; // bytes of it that lead to the top
};

// ---- Groups and their files -----------------------------------------------------------------

// Is `name` in a list of words with commas between? "" is in an empty list.
static bool list_has(const char *list, const char *name) {
    for (;;) {
        const size_t size = strcspn(list, ",");
        if (size == strlen(name) && memcmp(list, name, size) == 0) return true;
        if (list[size] == '\0') return false;
        list += size + 1;
    }
}

// The process's own group: of version 1's `controller`, or with "" of version 2. A line of the list is
// "<number>:<controllers>:<path>", for version 2 "0::<path>".
static void group_find(struct group *group, const char *root, const char *controller) {
    char path[MAX_PATH];
    snprintf(group->folder, sizeof group->folder, "%s/sys/fs/cgroup%s%s", root, *controller == '\0' ? "" : "/",
             controller);
    group->top = strlen(group->folder);
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    char line[MAX_PATH];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *controllers = strchr(line, ':');
        char *own = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (own == NULL) continue;
        *own++ = '\0';
        own[strcspn(own, "\n")] = '\0';
        if (!list_has(controllers + 1, controller)) continue;
        snprintf(group->folder + group->top, sizeof group->folder - group->top, "%s", own);
    }
    if (file != NULL) fclose(file);
}

// To the group above; false: this was the top.
static bool group_up(struct group *group) {
    char *slash = strrchr(group->folder + group->top, '/');
    if (slash != NULL) *slash = '\0';
    return slash != NULL;
}

// The text of a file in the group's folder; "" when it is not there.
static void group_read(const struct group *group, const char *name, char *text, size_t size) {
    char path[MAX_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", group->folder, name);
    FILE *file = fopen(path, "re");
    text[file == NULL ? 0 : fread(text, 1, size - 1, file)] = '\0';
    if (file != NULL) fclose(file);
}

// The number that such a file has; false when it is not there or has a word ("max").
static bool group_number(const struct group *group, const char *name, long long *number) {
    char text[64];
    group_read(group, name, text, sizeof text);
    return sscanf(text, "%lld", number) == 1;
}

// ---- Cores ----------------------------------------------------------------------------------

// Cores that quota microseconds of every period come to become the least, if they are fewer.
static void take_quota(int *least, long long quota, long long period) {
    if (quota <= 0 || period <= 0) return;
    const int cores = (int)((quota + period - 1) / period);
    if (*least == 0 || cores < *least) *least = cores;
}

int cgroup_cores(const char *root) {
    struct group group;
    int least = 0;
    long long quota, period;
    group_find(&group, root, "");
    do {
        char text[64];
        group_read(&group, "cpu.max", text, sizeof text);
        if (sscanf(text, "%lld %lld", &quota, &period) == 2) take_quota(&least, quota, period);
    } while (group_up(&group));
    group_find(&group, root, "cpu");
    do {
        if (group_number(&group, "cpu.cfs_quota_us", &quota) && group_number(&group, "cpu.cfs_period_us", &period)) {
            take_quota(&least, quota, period);
        }
    } while (group_up(&group));
    return least;
}

// ---- Memory ---------------------------------------------------------------------------------

// The same files under the names of each version.
struct memory_names {
    const char *controller, *limit, *usage;
    const char *cached[2]; // rows of memory.stat, none of them the first; those below the group are in them
};

static const struct memory_names memory_names[] = {
    {"", "memory.max", "memory.current", {"\nactive_file ", "\ninactive_file "}},
    {"memory", "memory.limit_in_bytes", "memory.usage_in_bytes", {"\ntotal_active_file ", "\ntotal_inactive_file "}},
};

static int64_t memory_left(const struct group *group, const struct memory_names *names) {
    long long limit, used, cached;
    if (!group_number(group, names->limit, &limit) || limit > INT64_MAX / 2) return INT64_MAX; // version 1's "max"
    if (!group_number(group, names->usage, &used)) used = 0;
    char text[MAX_TEXT];
    group_read(group, "memory.stat", text, sizeof text);
    for (int i = 0; i < 2; i++) {
        const char *row = strstr(text, names->cached[i]);
        if (row != NULL && sscanf(row + strlen(names->cached[i]), "%lld", &cached) == 1) used -= cached;
    }
    if (used < 0) used = 0; // the files are not read in the same moment
    return used < limit ? limit - used : 0;
}

int64_t cgroup_memory(const char *root) {
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < sizeof memory_names / sizeof *memory_names; i++) {
        struct group group;
        group_find(&group, root, memory_names[i].controller);
        do {
            const int64_t left = memory_left(&group, &memory_names[i]);
            if (left < least) least = left;
        } while (group_up(&group));
    }
    return least;
}
