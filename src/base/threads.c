// threads.c: see threads.h.
#include "base/threads.h"

#include <sched.h>
#include <stdlib.h>

#include "base/cgroup.h"

int threads_available(void) {
    const char *wanted = getenv("MY_LLM_THREADS");
    if (wanted != NULL) {
        char *end = NULL;
        const long n = strtol(wanted, &end, 10);
        if (end != wanted && *end == '\0' && n >= 1 && n <= 1024) return (int)n;
    }
    cpu_set_t set;
    int cores = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
    const int quota = cgroup_cores("");
    if (quota > 0 && quota < cores) cores = quota;
    return cores > 0 ? cores : 1;
}
