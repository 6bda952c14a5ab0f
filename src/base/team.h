// team.h: a team of threads for short jobs that follow one another closely.
//
// Decoding a token is some dozens of products of tens of microseconds each. So a thread that waits first
// spins, briefly, and then sleeps: on an idle machine the next job finds it awake, and on a busy one it does
// not hold the core that the thread it waits for needs. (OpenMP's threads spin for milliseconds; with
// another program on the same cores, two of them were 20 to 100 times slower than one.)
//
// Threads start with the first job that wants them, not before.
#ifndef BASE_TEAM_H
#define BASE_TEAM_H

#include "base/error.h"

struct team;

// Part `thread` of `n_threads` of a job. Every thread of the team calls it once, the caller as thread 0.
typedef void team_work_fn(void *job, int thread, int n_threads);

// A team of n_threads (at least 1), the caller's thread included. Free with team_free().
struct team *team_new(int n_threads, struct llm_error *err);
void team_free(struct team *team);

// Does the job and returns when all parts are done. When the team is busy with another thread's job, or
// its threads cannot be started, the caller does it all alone, with n_threads 1: so a job's result must not
// depend on n_threads.
void team_run(struct team *team, team_work_fn *work, void *job);

// As team_run() on the calling thread alone, for jobs too small to share.
void team_run_alone(team_work_fn *work, void *job);

// The next number of a job's parts that are taken one by one as threads come free: 0, 1, 2, ... Begin with 0.
struct team_counter {
    _Atomic int64_t next;
};
static inline int64_t team_take(struct team_counter *counter) {
    return counter->next++;
}

#endif
