// sgemm.h: around calls of oneDNN's sgemm.
#ifndef OPS_CPU_SGEMM_H
#define OPS_CPU_SGEMM_H

#include <signal.h>

struct sgemm_scope {
    int omp_threads;
    sigset_t signals;
};

// Between these two, oneDNN computes on the calling thread alone, and no signal arrives there: its machine code uses
// the stack pointer as one more register, so that a handler's frame would be written into the matrices, and beyond
// (oneDNN 2.6, AVX-512; found as a corrupted heap after Ctrl-C).
void sgemm_begin(struct sgemm_scope *scope);
void sgemm_end(const struct sgemm_scope *scope);

#endif
