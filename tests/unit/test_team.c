// test_team.c: a job's parts are each done once, whatever the team's size, and whoever else is at it.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/team.h"

enum {
    MAX_THREADS = 8,
    PARTS = 1000,
    ROUNDS = 3000
};

struct tally {
    atomic_int calls[MAX_THREADS]; // by number of thread
    atomic_int wrong;              // calls with numbers that cannot be
};

static void tally_work(void *memory, int thread, int n_threads) {
    struct tally *tally = memory;
    if (thread < 0 || thread >= n_threads || n_threads > MAX_THREADS) {
        atomic_fetch_add(&tally->wrong, 1);
        return;
    }
    atomic_fetch_add(&tally->calls[thread], 1);
}

static void each_thread_is_called_once_a_round(void **state) {
    (void)state;
    for (int n = 1; n <= 4; n++) {
        struct llm_error err = {0};
        struct team *team = team_new(n, &err);
        assert_non_null(team);
        struct tally tally = {0};
        for (int round = 0; round < ROUNDS; round++) team_run(team, tally_work, &tally);
        for (int t = 0; t < n; t++) assert_int_equal(tally.calls[t], ROUNDS);
        assert_int_equal(tally.wrong, 0);
        team_free(team);
    }
}

// Threads that have gone to sleep are woken.
static void a_pause_between_jobs_changes_nothing(void **state) {
    (void)state;
    struct team *team = team_new(3, NULL);
    assert_non_null(team);
    struct tally tally = {0};
    for (int round = 0; round < 20; round++) {
        team_run(team, tally_work, &tally);
        usleep(2000);
    }
    for (int t = 0; t < 3; t++) assert_int_equal(tally.calls[t], 20);
    team_free(team);
}

struct counted {
    struct team_counter counter;
    unsigned char done[PARTS]; // how often each part was taken
};

static void counted_work(void *memory, int thread, int n_threads) {
    (void)thread;
    (void)n_threads;
    struct counted *job = memory;
    for (int64_t i = team_take(&job->counter); i < PARTS; i = team_take(&job->counter)) job->done[i]++;
}

static void parts_are_taken_once(void **state) {
    (void)state;
    struct team *team = team_new(4, NULL);
    assert_non_null(team);
    for (int round = 0; round < 100; round++) {
        struct counted job = {0};
        team_run(team, counted_work, &job);
        for (int i = 0; i < PARTS; i++) assert_int_equal(job.done[i], 1);
    }
    team_free(team);
}

// A job may itself want the team, which is busy then: it is done on the spot, alone.
struct outer {
    struct team *team;
    struct tally inner;
};

static void outer_work(void *memory, int thread, int n_threads) {
    (void)thread;
    (void)n_threads;
    struct outer *job = memory;
    team_run(job->team, tally_work, &job->inner);
}

static void a_busy_team_leaves_the_job_to_the_caller(void **state) {
    (void)state;
    struct team *team = team_new(3, NULL);
    assert_non_null(team);
    struct outer job = {.team = team};
    team_run(team, outer_work, &job);
    assert_int_equal(job.inner.calls[0], 3);
    assert_int_equal(job.inner.calls[1], 0);
    assert_int_equal(job.inner.wrong, 0);
    team_free(team);
}

static void *rival_main(void *memory) {
    struct team *team = memory;
    for (int round = 0; round < ROUNDS; round++) {
        struct counted job = {0};
        team_run(team, counted_work, &job);
        for (int i = 0; i < PARTS; i++) {
            if (job.done[i] != 1) return memory;
        }
    }
    return NULL;
}

static void two_callers_share_a_team(void **state) {
    (void)state;
    struct team *team = team_new(3, NULL);
    assert_non_null(team);
    pthread_t rivals[2];
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&rivals[i], NULL, rival_main, team), 0);
    for (int i = 0; i < 2; i++) {
        void *failed = NULL;
        pthread_join(rivals[i], &failed);
        assert_null(failed);
    }
    team_free(team);
}

static void a_team_that_never_ran_can_be_freed(void **state) {
    (void)state;
    team_free(team_new(4, NULL));
    team_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_thread_is_called_once_a_round),
        cmocka_unit_test(a_pause_between_jobs_changes_nothing),
        cmocka_unit_test(parts_are_taken_once),
        cmocka_unit_test(a_busy_team_leaves_the_job_to_the_caller),
        cmocka_unit_test(two_callers_share_a_team),
        cmocka_unit_test(a_team_that_never_ran_can_be_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
