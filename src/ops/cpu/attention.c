// attention.c: shares attention out by sequence, head and block of queries.
//
// The parts are numbered through, heads of a sequence one after another, and the threads take the next
// number as they come free; later blocks of queries see more keys, so each head begins with its last.
#include "ops/cpu/cpu.h"

#include <omp.h>

static int query_blocks(const struct attention_sequence *sequence) {
    return (sequence->n_query + ATTEND_QUERIES - 1) / ATTEND_QUERIES;
}

void cpu_attention(struct ops *ops, const struct attention *attention, const struct attention_sequence *sequences,
                   int n_sequences) {
    const struct kernels *kernels = cpu_of(ops)->kernels;
    int64_t n_parts = 0;
    int64_t work = 0;
    for (int s = 0; s < n_sequences; s++) {
        n_parts += (int64_t)attention->n_head * query_blocks(&sequences[s]);
        work += (int64_t)sequences[s].n_query * sequences[s].n_key * attention->n_head * attention->head_size;
    }
#pragma omp parallel num_threads(ops->n_threads) if (work >= CPU_PARALLEL_WORK)
    {
        int s = 0;
        int64_t start = 0; // number of the first part of sequence s
#pragma omp for schedule(monotonic : dynamic)
        for (int64_t part = 0; part < n_parts; part++) {
            int n_blocks = query_blocks(&sequences[s]);
            while (part >= start + (int64_t)attention->n_head * n_blocks) {
                start += (int64_t)attention->n_head * n_blocks;
                n_blocks = query_blocks(&sequences[++s]);
            }
            const int head = (int)((part - start) / n_blocks);
            const int block = n_blocks - 1 - (int)((part - start) % n_blocks);
            const int first = block * ATTEND_QUERIES;
            const int rest = sequences[s].n_query - first;
            kernels->attend(attention, &sequences[s], head, first, rest < ATTEND_QUERIES ? rest : ATTEND_QUERIES);
        }
    }
}
