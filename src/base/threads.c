// threads.c: see threads.h.
#include "base/threads.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Reads two numbers from a one-line file; "max" reads as -1. false when the file is not there.
static bool read_pair(const char *path, long long *first, long long *second) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    char word[32] = "";
    const int n = fscanf(file, "%31s %lld", word, second);
    fclose(file);
    if (n < 1) return false;
    *first = strcmp(word, "max") == 0 ? -1 : strtoll(word, NULL, 10);
    return true;
}

// Cores that quota microseconds of every period come to, rounded up; 0 for no limit.
static int quota_cores(long long quota, long long period) {
    if (quota <= 0 || period <= 0) return 0;
    return (int)((quota + period - 1) / period);
}

// The cgroup's CPU quota in cores, or 0. Inside a container the process's own group is mounted at the root;
// outside, the path from /proc/self/cgroup is walked up, as any level may carry the limit.
static int cgroup_cores(void) {
    char group[512] = "";
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file != NULL) {
        char line[600];
        while (fgets(line, sizeof line, file) != NULL) {
            if (strncmp(line, "0::", 3) == 0)
                snprintf(group, sizeof group, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
        }
        fclose(file);
    }
    int least = 0;
    for (;;) {
        char path[600];
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
        long long quota = 0;
        long long period = 0;
        const int cores = read_pair(path, &quota, &period) ? quota_cores(quota, period) : 0;
        if (cores > 0 && (least == 0 || cores < least)) least = cores;
        char *slash = strrchr(group, '/');
        if (slash == NULL) break;
        *slash = '\0';
    }
    if (least > 0) return least;

    long long quota = 0;
    long long period = 0;
    long long unused = 0;
    if (!read_pair("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", &quota, &unused)) return 0;
    if (!read_pair("/sys/fs/cgroup/cpu/cpu.cfs_period_us", &period, &unused)) return 0;
    return quota_cores(quota, period);
}

static int cores_available(void) {
    cpu_set_t set;
    int cores = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
    const int quota = cgroup_cores();
    if (quota > 0 && quota < cores) cores = quota;
    return cores > 0 ? cores : 1;
}

bool threads_choose(int wanted, int *n_threads, struct llm_error *err) {
    *n_threads = wanted;
    if (wanted > 0) return true;
    const char *text = getenv("MY_LLM_THREADS");
    if (text == NULL || *text == '\0') {
        *n_threads = cores_available();
        return true;
    }
    char *end = NULL;
    const long n = strtol(text, &end, 10);
    if (end == text || *end != '\0' || n < 1 || n > 1024) {
        return error_set(err, LLM_ERROR_ARGUMENT, "MY_LLM_THREADS is '%.100s'; a number from 1 to 1024 was expected",
                         text);
    }
    *n_threads = (int)n;
    return true;
}
