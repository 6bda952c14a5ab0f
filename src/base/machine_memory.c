// machine_memory.c: see machine_memory.h.
#include "base/machine_memory.h"

#include <stdio.h>

#include "base/cgroup.h"

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

int64_t memory_available(void) {
    const int64_t machine = machine_available();
    const int64_t group = cgroup_memory("");
    if (group == INT64_MAX || (machine > 0 && machine < group)) return machine;
    return group > 0 ? group : 1; // 0 would say that it is not known
}
