// cgroup.h: what the control groups of this process leave it, which is how a container has less than its machine.
//
// Groups lie in one another and each may have a limit: the process's own (from /proc/self/cgroup) and all above it are
// asked. In a container its own group is often mounted at the top, and the path leads nowhere; then the top answers.
// Version 2 is asked and version 1, as both may be there.
#ifndef BASE_CGROUP_H
#define BASE_CGROUP_H

#include <stdint.h>

// `root` is what stands before /proc and /sys: "", but for tests.

// Cores that the least CPU quota comes to (cpu.max, cpu.cfs_quota_us), rounded up; 0: no quota.
int cgroup_cores(const char *root);

// Bytes that may still be taken: the least of limit less use, where files that are only cached do not count as used, as
// they do not in MemAvailable. At least 0; INT64_MAX: no limit.
int64_t cgroup_memory(const char *root);

#endif
