// host.h: the state behind a table whose device is the CPU, and its memory verbs.
//
// put() borrows: it returns the host pointer itself. free() therefore has to know its own: alloc()
// keeps a list, and a pointer that is not in it was borrowed and stays as it is.
#ifndef OPS_HOST_H
#define OPS_HOST_H

#include <pthread.h>

#include "base/team.h"
#include "ops/ops.h"

struct host_state {
    pthread_mutex_t lock;           // guards everything below
    struct host_block *allocations; // what alloc() handed out and free() has not taken back
    struct team *team;              // ops->n_threads of them; has a lock of its own
    struct cpu *cpu;                // scratch and oneDNN primitives of the fast kernels; NULL at level ref
};

// Fills in state, state_free and the verbs. ops->n_threads is set.
bool host_init(struct ops *ops, struct llm_error *err);

static inline struct host_state *host_state(struct ops *ops) {
    return ops->state;
}

#endif
