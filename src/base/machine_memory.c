// machine_memory.c: see machine_memory.h.
#include "base/machine_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_PATH = 512
};

// MemAvailable of /proc/meminfo, or 0.
static int64_t machine_available(void) {
    FILE *file = fopen("/proc/meminfo", "re");
    if (file == NULL) return 0;
    char line[256];
    long long kib = 0;
    while (kib == 0 && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemAvailable: %lld kB", &kib) != 1) kib = 0;
    }
    fclose(file);
    return (int64_t)kib * 1024;
}

// The least memory.max of the process's cgroup and those above it; 0: no limit. As in threads.c: a container sees its
// own group at the root.
static int64_t cgroup_limit(void) {
    char group[MAX_PATH] = "";
    char line[MAX_PATH + 64];
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "0::", 3) != 0) continue;
        snprintf(group, sizeof group, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
    }
    if (file != NULL) fclose(file);
    long long least = 0;
    for (;;) {
        char path[MAX_PATH + 64];
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
        file = fopen(path, "re");
        long long limit = 0;
        if (file != NULL && fscanf(file, "%lld", &limit) == 1 && (least == 0 || limit < least)) least = limit;
        if (file != NULL) fclose(file);
        char *slash = strrchr(group, '/');
        if (slash == NULL) return (int64_t)least;
        *slash = '\0';
    }
}

int64_t memory_available(void) {
    const int64_t machine = machine_available();
    const int64_t group = cgroup_limit();
    return group > 0 && (machine == 0 || group < machine) ? group : machine;
}
