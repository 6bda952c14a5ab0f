// team.c: see team.h.
//
// `round` counts the jobs. A worker waits for it to change, does its part, and takes itself off
// `n_working`; the caller waits for that to reach 0. Both waits spin SPINS times and then sleep in a futex
// on the number itself; who changes a number wakes its sleepers if there are any.
#include "base/team.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/signals.h"

enum {
    // Turns of about 40 ns before a thread sleeps: longer than the pause between two products of one token,
    // far shorter than the time slice of a scheduler.
    SPINS = 2000
};

// A number that threads wait for, on a cache line of its own.
struct flag {
    _Alignas(64) atomic_uint value;
    atomic_int n_sleeping;
};

struct team {
    struct flag round;
    struct flag n_working; // workers that have not finished this round
    pthread_mutex_t busy;  // held by the thread whose job it is
    pthread_t *workers;    // [n_threads - 1]
    struct worker *places; // [n_threads - 1]
    int n_threads;         // wanted, the caller included
    int n_started;         // workers that run
    bool started;          // the first job has started what could be started
    bool ended;
    team_work_fn *work;
    void *job;
};

struct worker {
    struct team *team;
    int thread;
    unsigned first_round; // the last round before it was started
};

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// Waits until the flag's value is no longer `old`, and returns it.
static unsigned flag_wait(struct flag *flag, unsigned old) {
    for (int i = 0; i < SPINS; i++) {
        const unsigned value = atomic_load_explicit(&flag->value, memory_order_acquire);
        if (value != old) return value;
        relax();
    }
    atomic_fetch_add(&flag->n_sleeping, 1);
    unsigned value = atomic_load(&flag->value);
    while (value == old) {
        // Returns at once when the value has changed meanwhile.
        syscall(SYS_futex, &flag->value, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
        value = atomic_load(&flag->value);
    }
    atomic_fetch_sub(&flag->n_sleeping, 1);
    return value;
}

// To be called after the value was changed.
static void flag_wake(struct flag *flag) {
    if (atomic_load(&flag->n_sleeping) > 0) {
        syscall(SYS_futex, &flag->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    }
}

static void *worker_main(void *memory) {
    const struct worker *worker = memory;
    struct team *team = worker->team;
    for (unsigned round = worker->first_round;;) {
        round = flag_wait(&team->round, round);
        if (team->ended) return NULL;
        team->work(team->job, worker->thread, team->n_started + 1);
        if (atomic_fetch_sub(&team->n_working.value, 1) == 1) flag_wake(&team->n_working);
    }
}

struct team *team_new(int n_threads, struct llm_error *err) {
    struct team *team = aligned_alloc(_Alignof(struct team), sizeof *team);
    if (team != NULL) *team = (struct team){.n_threads = n_threads > 1 ? n_threads : 1};
    const size_t n_workers = n_threads > 1 ? (size_t)n_threads - 1 : 1;
    if (team != NULL) {
        team->workers = calloc(n_workers, sizeof *team->workers);
        team->places = calloc(n_workers, sizeof *team->places);
    }
    if (team == NULL || team->workers == NULL || team->places == NULL) {
        if (team != NULL) {
            free(team->workers);
            free(team->places);
        }
        free(team);
        error_memory(err, "threads");
        return NULL;
    }
    pthread_mutex_init(&team->busy, NULL);
    return team;
}

// Starts the workers. Fewer than wanted is no error: the job is then shared among fewer. Signals are the
// host's, so the workers leave them to its threads, but for those of a thread's own making (a fault in a mapping).
static void team_start(struct team *team) {
    sigset_t before;
    signals_hold(&before);
    team->started = true;
    while (team->n_started < team->n_threads - 1) {
        struct worker *place = &team->places[team->n_started];
        *place = (struct worker){team, team->n_started + 1, atomic_load(&team->round.value)};
        if (pthread_create(&team->workers[team->n_started], NULL, worker_main, place) != 0) break;
        team->n_started++;
    }
    signals_release(&before);
}

static void team_begin_round(struct team *team) {
    atomic_fetch_add(&team->round.value, 1);
    flag_wake(&team->round);
}

void team_run_alone(team_work_fn *work, void *job) {
    work(job, 0, 1);
}

void team_run(struct team *team, team_work_fn *work, void *job) {
    if (team->n_threads == 1 || pthread_mutex_trylock(&team->busy) != 0) {
        team_run_alone(work, job);
        return;
    }
    if (!team->started) team_start(team);
    team->work = work;
    team->job = job;
    atomic_store(&team->n_working.value, (unsigned)team->n_started);
    team_begin_round(team);
    work(job, 0, team->n_started + 1);
    for (unsigned left = atomic_load_explicit(&team->n_working.value, memory_order_acquire); left > 0;) {
        left = flag_wait(&team->n_working, left);
    }
    pthread_mutex_unlock(&team->busy);
}

void team_free(struct team *team) {
    if (team == NULL) return;
    team->ended = true;
    team_begin_round(team);
    for (int i = 0; i < team->n_started; i++) pthread_join(team->workers[i], NULL);
    pthread_mutex_destroy(&team->busy);
    free(team->workers);
    free(team->places);
    free(team);
}
