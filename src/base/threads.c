// threads.c: see threads.h.
#include "base/threads.h"

#include <sched.h>
#include <stdlib.h>

#include "base/cgroup.h"

static int cores_available(void) {
    cpu_set_t set;
    int cores = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
    const int quota = cgroup_cores("");
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
