// threads.h: how many cores this process may really use.
#ifndef BASE_THREADS_H
#define BASE_THREADS_H

#include "base/error.h"

// How many threads to use: `wanted`, if it is above 0, else MY_LLM_THREADS, if that is set, else the smaller of the CPU
// affinity mask and the cgroup CPU quota (v2 cpu.max, v1 cfs_quota_us; rounded up), at least 1. That MY_LLM_THREADS is
// no number from 1 to 1024 is an error, as a wrong MY_LLM_ISA is: nobody sets it to have it ignored.
bool threads_choose(int wanted, int *n_threads, struct llm_error *err);

#endif
