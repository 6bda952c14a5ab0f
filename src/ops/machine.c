// machine.c: what this machine can do: reading memory, multiplying matrices, multiplying and adding in registers.
//
// These are the limits that a model's speed is measured against: decoding reads every weight once for each token, so
// it cannot be faster than memory; a prompt is matrix products, which cannot be faster than the multiply-add units.
// A limit is what can be reached at best, so each rate is the best of its rounds, and where there are ways to do the
// same (how many streams to read, which of GPT-2's shapes to multiply), of these too.
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <time.h>

#include "base/team.h"
#include "base/threads.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/sgemm.h"

enum {
    ROWS = 1024, // of the matrix product: a full context
    MAX_FLOATS = 3072 * 768,
    ROUNDS = 1 << 20 // of multiply-adds: two milliseconds, beside which starting threads is nothing
};

static const double default_seconds = 0.3;
static const int64_t default_read_bytes = (int64_t)512 << 20;

// One measurement: what a round does, on how many threads.
struct work {
    team_work_fn *part; // of a round, for each thread; adds what it has done to `amount`
    struct team *team;
    bool alone; // on the calling thread
    _Atomic int64_t amount;
    const struct kernels *kernels;
    float *numbers; // to read [n_numbers]
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

static void run_round(struct work *work) {
    work->amount = 0;
    if (work->alone) {
        team_run_alone(work->part, work);
    } else {
        team_run(work->team, work->part, work);
    }
}

// Takes the best round into *rate. A first round warms up; at least one counts.
static void measure(struct work *work, double seconds, double *rate) {
    run_round(work);
    const double begin = seconds_now();
    double end = begin;
    do {
        const double start = end;
        run_round(work);
        end = seconds_now();
        const double amount = (double)work->amount;
        if (end > start && amount / (end - start) > *rate) *rate = amount / (end - start);
    } while (end - begin < seconds);
}

static void measure_both(struct work *work, int n_threads, double seconds, struct llm_machine_rate *rate) {
    work->alone = true;
    measure(work, seconds, &rate->one);
    if (n_threads == 1) {
        rate->all = rate->one;
        return;
    }
    work->alone = false;
    measure(work, seconds, &rate->all);
}

// ---- Reading --------------------------------------------------------------------------------

// Where the part of a thread begins, and the one before it ends.
static size_t part_start(const struct work *work, int thread, int n_threads) {
    return work->n_numbers / READ_FLOATS * (size_t)thread / (size_t)n_threads * READ_FLOATS;
}

static void read_part(void *job, int thread, int n_threads) {
    struct work *work = job;
    const size_t first = part_start(work, thread, n_threads);
    const size_t end = part_start(work, thread + 1, n_threads);
    volatile float kept = work->kernels->read(work->numbers + first, end - first, work->n_streams);
    (void)kept; // the compiler may not see that nobody looks at it
    work->amount += (int64_t)((end - first) * sizeof *work->numbers);
}

// Each thread writes first what it will read, which on a machine of several memories puts it near.
static void fill_part(void *job, int thread, int n_threads) {
    const struct work *work = job;
    float *numbers = work->numbers;
    const size_t end = part_start(work, thread + 1, n_threads);
    for (size_t i = part_start(work, thread, n_threads); i < end; i++) numbers[i] = (float)(i % 7);
}

static bool measure_read(struct work *work, const struct llm_machine_options *options, struct llm_machine *machine,
                         struct llm_error *err) {
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
    team_run(work->team, fill_part, work);
    work->part = read_part;
    for (int n_streams = 1; n_streams <= 8; n_streams *= 2) {
        work->n_streams = n_streams;
        measure_both(work, machine->n_threads, options->seconds / 4, &machine->read);
    }
    free(numbers);
    return true;
}

// ---- Matrix products ------------------------------------------------------------------------

// The rows are shared out; oneDNN is called on one thread, as linear.c does.
static void sgemm_part(void *job, int thread, int n_threads) {
    struct work *work = job;
    const int first = (int)((int64_t)ROWS * thread / n_threads);
    const int n = (int)((int64_t)ROWS * (thread + 1) / n_threads) - first;
    struct sgemm_scope scope;
    sgemm_begin(&scope);
    const dnnl_status_t status =
        dnnl_sgemm('N', 'N', n, work->n_out, work->n_in, 1, work->x + (size_t)first * (size_t)work->n_in, work->n_in,
                   work->weight, work->n_out, 0, work->out + (size_t)first * (size_t)work->n_out, work->n_out);
    sgemm_end(&scope);
    if (status == dnnl_success) work->amount += (int64_t)2 * n * work->n_in * work->n_out;
}

static bool measure_sgemm(struct work *work, const struct llm_machine_options *options, struct llm_machine *machine,
                          struct llm_error *err) {
    // 124M's: attention's queries, keys and values, and the feed-forward's second.
    static const int shapes[][2] = {{768, 2304}, {3072, 768}};
    const size_t n_x = (size_t)ROWS * 3072;
    float *block = aligned_alloc(64, (2 * n_x + MAX_FLOATS) * sizeof *block);
    if (block == NULL) return error_memory(err, "matrices to multiply");
    for (size_t i = 0; i < 2 * n_x + MAX_FLOATS; i++) block[i] = 0.01F * (float)(i % 101) - 0.5F;
    work->x = block;
    work->out = block + n_x;
    work->weight = block + 2 * n_x;
    work->part = sgemm_part;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        work->n_in = shapes[i][0];
        work->n_out = shapes[i][1];
        measure_both(work, machine->n_threads, options->seconds / 2, &machine->sgemm);
    }
    free(block);
    if (machine->sgemm.one > 0 && machine->sgemm.all > 0) return true;
    return error_set(err, LLM_ERROR_UNSUPPORTED, "oneDNN refused a matrix product");
}

// ---- Multiply-adds --------------------------------------------------------------------------

static void multiply_add_part(void *job, int thread, int n_threads) {
    (void)thread;
    (void)n_threads;
    struct work *work = job;
    float sum = 0;
    work->amount += 2 * work->kernels->multiply_add(work->n_rounds, 0.5F, &sum); // the numbers go towards 1
    volatile float kept = sum;
    (void)kept;
}

static void measure_levels(struct work *work, const struct llm_machine_options *options, struct llm_machine *machine) {
    work->part = multiply_add_part;
    work->n_rounds = ROUNDS;
    for (int level = OPS_BASELINE; level < OPS_LEVELS; level++) {
        if (!ops_level_available((enum ops_level)level)) continue;
        struct llm_machine_level *to = &machine->levels[machine->n_levels++];
        to->isa = ops_level_name((enum ops_level)level);
        work->kernels = cpu_kernels((enum ops_level)level);
        measure_both(work, machine->n_threads, options->seconds / 2, &to->multiply_add);
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
    *machine = (struct llm_machine){0};
    if (!threads_choose(options->n_threads, &machine->n_threads, err)) return false;
    enum ops_level level = OPS_LEVELS - 1;
    while (!ops_level_available(level)) level--;
    struct work work = {.kernels = cpu_kernels(level), .team = team_new(machine->n_threads, err)};
    if (work.team == NULL) return false;
    bool ok = measure_read(&work, options, machine, err);
    if (ok && !options->read_only) {
        ok = measure_sgemm(&work, options, machine, err);
        if (ok) measure_levels(&work, options, machine);
    }
    team_free(work.team);
    return ok;
}
