// linear_few.c: products of a few rows, which run at the speed of memory (product_tmpl.c).
//
// A transposed weight [n_out, n_in] is shared out by columns of the output. The others, [n_in, n_out], are cut along
// n_in into parts, so that each thread reads whole rows, and the parts' sums are added up as a binary tree:
// ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)). How many parts there are depends on the shape alone, so the sums are the
// same for any number of threads; a thread adds up what branches of the tree it has computed alone, while they are in
// its cache, and the rest is added afterwards. Where threads outnumber the parts, these are cut into columns as well.
#include "ops/cpu/cpu.h"

enum {
    PARTS = 8,
    PART_ROWS = 64,    // rows of a part at least: below, the streams are too short
    PAD = 16,          // floats between two rows of sums: rows 4 KB apart evict each other from the first-level cache
    FINISH_FEW = 16384 // outputs that one thread finishes sooner than it has called the others
};

static int n_parts(const struct product *p) {
    int n = PARTS;
    while (n > 1 && p->n_in < n * PART_ROWS) n /= 2;
    return n;
}

static int64_t sums_stride(const struct product *p) {
    return (int64_t)(p->n_out + PRODUCT_COLUMNS - 1) / PRODUCT_COLUMNS * PRODUCT_COLUMNS + PAD;
}

size_t cpu_product_few_scratch(const struct product *p) {
    if (p->transposed) return 0;
    const int n_rows = p->n < PRODUCT_ROWS ? p->n : PRODUCT_ROWS;
    return (size_t)PARTS * (size_t)n_rows * (size_t)sums_stride(p);
}

// Columns of the output are shared out among the threads in equal runs.
struct transposed_job {
    const struct kernels *kernels;
    const struct product *product;
};

static void transposed_work(void *memory, int thread, int n_threads) {
    const struct transposed_job *job = memory;
    const int n_out = job->product->n_out;
    const int first = cpu_columns_begin(n_out, thread, n_threads);
    const int last = cpu_columns_begin(n_out, thread + 1, n_threads);
    if (first < last) job->kernels->product_transposed(job->product, first, last);
}

// Units of work are the parts of the first run of columns, of the second, ...; threads take equal runs of them.
struct parts_job {
    const struct kernels *kernels;
    int n_streams;
    const struct product *product;
    float *sums; // [n_parts, n, stride]
    int64_t stride;
    int n_parts, n_runs;
    int n_threads; // that computed the parts
};

static float *sums_at(const struct parts_job *job, int part, int row) {
    return job->sums + ((int64_t)part * job->product->n + row) * job->stride;
}

// Adds the sums of parts middle .. to those of parts first ...
static void join(const struct parts_job *job, int first, int middle, int row, int begin, int end) {
    job->kernels->add_rows(sums_at(job, first, row) + begin, sums_at(job, middle, row) + begin, 0, 1, end - begin);
}

static void parts_work(void *memory, int thread, int n_threads) {
    struct parts_job *job = memory;
    const struct product *p = job->product;
    if (thread == 0) job->n_threads = n_threads;
    const int n_units = job->n_parts * job->n_runs;
    const int first = (int)cpu_share(n_units, thread, n_threads);
    const int last = (int)cpu_share(n_units, thread + 1, n_threads);
    for (int unit = first; unit < last; unit++) {
        const int part = unit % job->n_parts;
        const int begin = cpu_columns_begin(p->n_out, unit / job->n_parts, job->n_runs);
        const int end = cpu_columns_begin(p->n_out, unit / job->n_parts + 1, job->n_runs);
        if (begin == end) continue;
        job->kernels->product_part(p, job->n_streams, (int)cpu_share(p->n_in, part, job->n_parts),
                                   (int)cpu_share(p->n_in, part + 1, job->n_parts), sums_at(job, part, 0), job->stride,
                                   begin, end);
        for (int size = 2; (part + 1) % size == 0 && unit + 1 - size >= first; size *= 2) {
            for (int row = 0; row < p->n; row++) join(job, part + 1 - size, part + 1 - size / 2, row, begin, end);
        }
    }
}

// The thread whose share of n_units holds this one.
static int thread_of(const struct parts_job *job, int unit) {
    const int n_units = job->n_parts * job->n_runs;
    return (int)(((int64_t)(unit + 1) * job->n_threads - 1) / n_units);
}

// Adds up what no thread has, and makes outputs of the sums.
static void finish_work(void *memory, int thread, int n_threads) {
    const struct parts_job *job = memory;
    const struct product *p = job->product;
    const int last = (int)cpu_share(p->n, thread + 1, n_threads);
    for (int row = (int)cpu_share(p->n, thread, n_threads); row < last; row++) {
        for (int run = 0; run < job->n_runs; run++) {
            const int begin = cpu_columns_begin(p->n_out, run, job->n_runs);
            const int end = cpu_columns_begin(p->n_out, run + 1, job->n_runs);
            for (int size = 2; size <= job->n_parts; size *= 2) {
                for (int part = 0; part < job->n_parts; part += size) {
                    const int unit = run * job->n_parts + part;
                    if (thread_of(job, unit) != thread_of(job, unit + size - 1)) {
                        join(job, part, part + size / 2, row, begin, end);
                    }
                }
            }
            if (begin < end) job->kernels->finish(p, row, sums_at(job, 0, row) + begin, begin, end);
        }
    }
}

// At most PRODUCT_ROWS rows.
static void product_group(struct ops *ops, const struct product *p, float *scratch) {
    const struct cpu *cpu = cpu_of(ops);
    const bool parallel = (int64_t)p->n * p->n_in * p->n_out >= CPU_PARALLEL_WORK;
    if (p->transposed) {
        struct transposed_job job = {cpu->kernels, p};
        cpu_run(ops, parallel, transposed_work, &job);
        return;
    }
    struct parts_job job = {
        .kernels = cpu->kernels, .n_streams = cpu->n_streams, .product = p, .sums = scratch, .stride = sums_stride(p)};
    job.n_parts = n_parts(p);
    job.n_runs = (ops->n_threads + job.n_parts - 1) / job.n_parts;
    cpu_run(ops, parallel, parts_work, &job);
    cpu_run(ops, p->n > 1 && p->n * p->n_out >= FINISH_FEW, finish_work, &job);
}

struct product cpu_product_rows(const struct product *p, int row, int most) {
    struct product group = *p;
    group.n = p->n - row < most ? p->n - row : most;
    group.x = p->x + (int64_t)row * p->n_in;
    group.out = p->out + row * p->out_stride;
    group.residual = p->residual != NULL ? p->residual + row * p->out_stride : NULL;
    return group;
}

void cpu_product_few(struct ops *ops, const struct product *p, float *scratch) {
    for (int row = 0; row < p->n; row += PRODUCT_ROWS) {
        const struct product group = cpu_product_rows(p, row, PRODUCT_ROWS);
        product_group(ops, &group, scratch);
    }
}
