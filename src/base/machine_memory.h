// machine_memory.h: how much memory a process may still take here.
#ifndef BASE_MACHINE_MEMORY_H
#define BASE_MACHINE_MEMORY_H

#include <stdint.h>

// Bytes that the machine could give without swapping, and no more than the process's cgroups leave it (base/cgroup.h);
// 0 when that cannot be found out.
int64_t memory_available(void);

#endif
