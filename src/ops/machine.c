// machine.c: what this machine can do: reading memory, multiplying matrices, multiplying and adding in registers.
//
// These are the limits that a model's speed is measured against: decoding reads every weight once for each token, so
// it cannot be faster than memory; a prompt is matrix products, which cannot be faster than the multiply-add units.
// A limit is what can be reached at best, so each rate is the best of its rounds, and where there are ways to do the
// same (how many streams to read, which of GPT-2's shapes to multiply), of these too.
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <time.h>

#include "base/team.h"
#include "base/threads.h"
#include "ops/cpu/cpu.h"

enum {
    ROWS = 1024, // of the matrix product: a full context
    MAX_FLOATS = 3072 * 768,
    ROUNDS = 1 << 20 // of multiply-adds: two milliseconds, beside which starting threads is nothing
};

static const double default_seconds = 0.3;
static const int64_t default_read_bytes = (int64_t)512 << 20;

// One measurement: repeats `round`, which returns how much it has done, for the time given.
struct work {
    double (*round)(const struct work *work);
    int n_threads;
    struct team *team; // of as many threads; NULL for one
    const struct kernels *kernels;
    const float *numbers; // to read [n_numbers]
    size_t n_numbers;
    int n_streams;
    int n_in, n_out; // of the product
    const float *x, *weight;
    float *out;
    int64_t n_rounds; // of multiply-adds
};

static double seconds_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

// Takes the best round into *rate. A first round warms up; at least one counts.
static void measure(const struct work *work, double seconds, double *rate) {
    work->round(work);
    const double begin = seconds_now();
    double end = begin;
    do {
        const double start = end;
        const double amount = work->round(work);
        end = seconds_now();
        if (end > start && amount / (end - start) > *rate) *rate = amount / (end - start);
    } while (end - begin < seconds);
}

static void measure_both(struct work *work, const struct llm_machine *machine, struct team *team, double seconds,
                         struct llm_machine_rate *rate) {
    work->n_threads = 1;
    work->team = NULL;
    measure(work, seconds, &rate->one);
    if (machine->n_threads == 1) {
        rate->all = rate->one;
        return;
    }
    work->n_threads = machine->n_threads;
    work->team = team;
    measure(work, seconds, &rate->all);
}

// One thread's part of a round, and what the threads make together.
struct round {
    const struct work *work;
    float *fill; // to be written instead of read, or NULL
    _Atomic int64_t amount;
    volatile float kept; // a result, so that the compiler may not see that nobody looks at it
};

static void run_round(const struct work *work, team_work_fn *part, struct round *round) {
    round->work = work;
    if (work->team != NULL) {
        team_run(work->team, part, round);
    } else {
        team_run_alone(part, round);
    }
}

// ---- Reading --------------------------------------------------------------------------------

// Thread `thread`'s part of the numbers.
static size_t part_start(const struct work *work, int thread, int n_threads) {
    return work->n_numbers / READ_FLOATS * (size_t)thread / (size_t)n_threads * READ_FLOATS;
}

static void read_part(void *memory, int thread, int n_threads) {
    struct round *round = memory;
    const struct work *work = round->work;
    const size_t first = part_start(work, thread, n_threads);
    const size_t end = part_start(work, thread + 1, n_threads);
    const float sum = work->kernels->read(work->numbers + first, end - first, work->n_streams);
    if (thread == 0) round->kept = sum;
}

static double read_round(const struct work *work) {
    struct round round = {0};
    run_round(work, read_part, &round);
    return (double)work->n_numbers * sizeof *work->numbers;
}

// Each thread writes first what it will read, which on a machine of several memories puts it near.
static void fill_part(void *memory, int thread, int n_threads) {
    const struct round *round = memory;
    const size_t end = part_start(round->work, thread + 1, n_threads);
    for (size_t i = part_start(round->work, thread, n_threads); i < end; i++) round->fill[i] = (float)(i % 7);
}

static bool measure_read(struct work *work, const struct llm_machine_options *options, struct llm_machine *machine,
                         struct team *team, struct llm_error *err) {
    const size_t unit = READ_FLOATS * sizeof(float);
    if (options->read_bytes < (int64_t)unit * machine->n_threads) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%lld bytes are too few to measure reading them",
                         (long long)options->read_bytes);
    }
    const size_t n_units = (size_t)options->read_bytes / unit / (size_t)machine->n_threads * (size_t)machine->n_threads;
    float *numbers = aligned_alloc(64, n_units * unit);
    if (numbers == NULL) return error_memory(err, "memory to read");
    work->numbers = numbers;
    work->n_numbers = n_units * READ_FLOATS;
    work->round = read_round;
    struct round filling = {.fill = numbers};
    work->team = team;
    run_round(work, fill_part, &filling);
    for (int n_streams = 1; n_streams <= 8; n_streams *= 2) {
        work->n_streams = n_streams;
        measure_both(work, machine, team, options->seconds / 4, &machine->read);
    }
    free(numbers);
    return true;
}

// ---- Matrix products ------------------------------------------------------------------------

// With oneDNN's own sharing out, whose number of threads is OpenMP's of the calling thread.
static double sgemm_round(const struct work *work) {
    const int before = omp_get_max_threads();
    omp_set_num_threads(work->n_threads);
    const dnnl_status_t status = dnnl_sgemm('N', 'N', ROWS, work->n_out, work->n_in, 1, work->x, work->n_in,
                                            work->weight, work->n_out, 0, work->out, work->n_out);
    omp_set_num_threads(before);
    return status == dnnl_success ? 2.0 * ROWS * work->n_in * work->n_out : 0;
}

static bool measure_sgemm(struct work *work, const struct llm_machine_options *options, struct llm_machine *machine,
                          struct team *team, struct llm_error *err) {
    // 124M's: attention's queries, keys and values, and the feed-forward's second.
    static const int shapes[][2] = {{768, 2304}, {3072, 768}};
    const size_t n_x = (size_t)ROWS * 3072;
    float *block = aligned_alloc(64, (2 * n_x + MAX_FLOATS) * sizeof *block);
    if (block == NULL) return error_memory(err, "matrices to multiply");
    for (size_t i = 0; i < 2 * n_x + MAX_FLOATS; i++) block[i] = 0.01F * (float)(i % 101) - 0.5F;
    work->x = block;
    work->out = block + n_x;
    work->weight = block + 2 * n_x;
    work->round = sgemm_round;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        work->n_in = shapes[i][0];
        work->n_out = shapes[i][1];
        measure_both(work, machine, team, options->seconds / 2, &machine->sgemm);
    }
    free(block);
    if (machine->sgemm.one > 0 && machine->sgemm.all > 0) return true;
    return error_set(err, LLM_ERROR_UNSUPPORTED, "oneDNN refused a matrix product");
}

// ---- Multiply-adds --------------------------------------------------------------------------

static void multiply_add_part(void *memory, int thread, int n_threads) {
    (void)n_threads;
    struct round *round = memory;
    float sum = 0;
    round->amount += round->work->kernels->multiply_add(round->work->n_rounds, 0.5F, &sum); // the numbers go towards 1
    if (thread == 0) round->kept = sum;
}

static double multiply_add_round(const struct work *work) {
    struct round round = {0};
    run_round(work, multiply_add_part, &round);
    return 2.0 * (double)round.amount;
}

static void measure_levels(struct work *work, const struct llm_machine_options *options, struct llm_machine *machine,
                           struct team *team) {
    work->round = multiply_add_round;
    work->n_rounds = ROUNDS;
    for (int level = OPS_BASELINE; level < OPS_LEVELS; level++) {
        if (!ops_level_available((enum ops_level)level)) continue;
        struct llm_machine_level *to = &machine->levels[machine->n_levels++];
        to->isa = ops_level_name((enum ops_level)level);
        work->kernels = cpu_kernels((enum ops_level)level);
        measure_both(work, machine, team, options->seconds / 2, &to->multiply_add);
    }
}

// ---- The public functions -------------------------------------------------------------------

void llm_machine_options_init(struct llm_machine_options *options) {
    *options = (struct llm_machine_options){.seconds = default_seconds, .read_bytes = default_read_bytes};
}

bool llm_machine_measure(const struct llm_machine_options *options, struct llm_machine *machine,
                         struct llm_error *err) {
    struct llm_machine_options defaults;
    llm_machine_options_init(&defaults);
    if (options == NULL) options = &defaults;
    *machine = (struct llm_machine){.n_threads = options->n_threads > 0 ? options->n_threads : threads_available()};
    enum ops_level level = OPS_LEVELS - 1;
    while (!ops_level_available(level)) level--;
    struct work work = {.kernels = cpu_kernels(level)};
    struct team *team = team_new(machine->n_threads, err);
    if (team == NULL) return false;
    const bool ok =
        measure_read(&work, options, machine, team, err) && measure_sgemm(&work, options, machine, team, err);
    if (ok) measure_levels(&work, options, machine, team);
    team_free(team);
    return ok;
}
