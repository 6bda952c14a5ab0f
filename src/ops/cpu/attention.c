// attention.c: shares attention out by sequence, head and block of queries; its gradient by keys and head.
//
// The parts are numbered through, heads of a sequence one after another, and the threads take the next
// number as they come free; later blocks of queries see more keys, so each head begins with its last.
#include "ops/cpu/attention_bf16.h"
#include "ops/cpu/cpu.h"

static int query_blocks(const struct attention_sequence *sequence) {
    return (sequence->n_query + ATTEND_QUERIES - 1) / ATTEND_QUERIES;
}

enum {
    BF16_QUERIES = 4 // fewer of them are dot products with keys that are read once, which rounding would only slow down
};

static bool rounds(const struct ops *ops, const struct attention *attention) {
    return ops->compute == OPS_COMPUTE_BF16 && attend_bf16_takes(attention);
}

struct attention_job {
    const struct kernels *kernels;
    bool bf16;
    const struct attention *attention;
    const struct attention_sequence *sequences;
    int64_t n_parts;
    struct team_counter counter;
};

static void attention_work(void *memory, int thread, int n_threads) {
    (void)thread;
    (void)n_threads;
    struct attention_job *job = memory;
    const int64_t n_head = job->attention->n_head;
    int s = 0;
    int64_t start = 0; // number of the first part of sequence s
    for (int64_t part = team_take(&job->counter); part < job->n_parts; part = team_take(&job->counter)) {
        int n_blocks = query_blocks(&job->sequences[s]);
        while (part >= start + n_head * n_blocks) {
            start += n_head * n_blocks;
            n_blocks = query_blocks(&job->sequences[++s]);
        }
        const int head = (int)((part - start) / n_blocks);
        const int block = n_blocks - 1 - (int)((part - start) % n_blocks);
        const int first = block * ATTEND_QUERIES;
        const int rest = job->sequences[s].n_query - first;
        const int n = rest < ATTEND_QUERIES ? rest : ATTEND_QUERIES;
#if defined(__x86_64__)
        if (job->bf16 && n >= BF16_QUERIES) {
            attend_bf16(job->attention, &job->sequences[s], head, first, n);
            continue;
        }
#endif
        job->kernels->attend(job->attention, &job->sequences[s], head, first, n);
    }
}

void cpu_attention(struct ops *ops, const struct attention *attention, const struct attention_sequence *sequences,
                   int n_sequences) {
    struct attention_job job = {cpu_of(ops)->kernels, rounds(ops, attention), attention, sequences, 0, {0}};
    int64_t work = 0;
    for (int s = 0; s < n_sequences; s++) {
        job.n_parts += (int64_t)attention->n_head * query_blocks(&sequences[s]);
        work += (int64_t)sequences[s].n_query * sequences[s].n_key * attention->n_head * attention->head_size;
    }
    cpu_run(ops, work >= CPU_PARALLEL_WORK, attention_work, &job);
}

struct backward_job {
    const struct kernels *kernels;
    bool bf16;
    const struct attention *attention;
    const struct attention_sequence *sequences;
    const struct attention_gradient *gradients;
    int n_sequences;
    int64_t n_parts;
    struct team_counter counter;
};

// How many entries from s on share their keys.
static int sharing(const struct backward_job *job, int s) {
    int n = 1;
    while (s + n < job->n_sequences && job->gradients[s + n].dkey == job->gradients[s].dkey) n++;
    return n;
}

static void backward_work(void *memory, int thread, int n_threads) {
    (void)thread;
    (void)n_threads;
    struct backward_job *job = memory;
    const int n_head = job->attention->n_head;
    int s = 0;
    int64_t start = 0; // number of the first part of entry s and those that share its keys
    for (int64_t part = team_take(&job->counter); part < job->n_parts; part = team_take(&job->counter)) {
        for (; part >= start + n_head; start += n_head) s += sharing(job, s);
        const int n = sharing(job, s), head = (int)(part - start);
#if defined(__x86_64__)
        if (job->bf16) {
            attend_backward_bf16(job->attention, &job->sequences[s], &job->gradients[s], n, head);
            continue;
        }
#endif
        job->kernels->attend_backward(job->attention, &job->sequences[s], &job->gradients[s], n, head);
    }
}

void cpu_attention_backward(struct ops *ops, const struct attention *attention,
                            const struct attention_sequence *sequences, const struct attention_gradient *gradients,
                            int n_sequences) {
    struct backward_job job = {
        cpu_of(ops)->kernels, rounds(ops, attention), attention, sequences, gradients, n_sequences, 0, {0}};
    for (int s = 0; s < n_sequences; s += sharing(&job, s)) job.n_parts += attention->n_head;
    int64_t work = 0;
    for (int s = 0; s < n_sequences; s++) {
        work += (int64_t)sequences[s].n_query * sequences[s].n_key * attention->n_head * attention->head_size;
    }
    cpu_run(ops, work >= CPU_PARALLEL_WORK, backward_work, &job);
}
