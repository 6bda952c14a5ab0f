// damage.c: see damage.h.
#include "formats/damage.h"

#include <stdatomic.h>

#include "base/team.h"
#include "base/threads.h"

enum {
    PARALLEL_BYTES = 32 << 20, // from here on checksums are worth starting threads for
};

struct damage_job {
    damage_check *check;
    const void *user;
    int n;
    struct team_counter counter;
    atomic_int bad; // the lowest number of a damaged piece so far, or n
};

static void damage_work(void *memory, int thread, int n_threads) {
    (void)thread;
    (void)n_threads;
    struct damage_job *job = memory;
    for (int64_t i = team_take(&job->counter); i < job->n; i = team_take(&job->counter)) {
        if (job->check(job->user, (int)i)) continue;
        int lowest = atomic_load(&job->bad);
        while (i < lowest && !atomic_compare_exchange_weak(&job->bad, &lowest, (int)i)) continue;
    }
}

bool damage_find(int n, uint64_t n_bytes, damage_check *check, const void *user, int *bad, struct llm_error *err) {
    struct damage_job job = {.check = check, .user = user, .n = n, .bad = n};
    int n_threads = 0;
    if (!threads_choose(n_bytes < PARALLEL_BYTES ? 1 : 0, &n_threads, err)) return false;
    struct team *team = team_new(n_threads, err);
    if (team == NULL) return false;
    team_run(team, damage_work, &job);
    team_free(team);
    *bad = atomic_load(&job.bad);
    return true;
}
