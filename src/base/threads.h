// threads.h: how many cores this process may really use.
#ifndef BASE_THREADS_H
#define BASE_THREADS_H

// The smaller of the CPU affinity mask and the cgroup CPU quota (v2 cpu.max, v1 cfs_quota_us; rounded
// up), at least 1. MY_LLM_THREADS, when set to a number from 1 to 1024, wins.
int threads_available(void);

#endif
