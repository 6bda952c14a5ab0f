// machine_tmpl.c: what a core can do at most: read memory, multiply and add. For ops/machine.c, which tells of it.
#include "ops/cpu/kernels.h"
#include "ops/cpu/vector.h"

enum {
    CHAINS = 12,       // two units that take four or five cycles for each want ten; with 16 registers 12 fit
    READ_LINE = 16,    // floats in a cache line
    READ_AHEAD = 2048, // bytes: the hardware's own prefetching ends at each page
    LINE_VECTORS = READ_LINE / LANES
};

// The lines of n_streams sequential streams, in turn.
INLINE vi read_streams(const float *from, size_t n, int n_streams) {
    const size_t length = n / (size_t)n_streams;
    vi sums[8] = {{0}};
    for (size_t i = 0; i < length; i += READ_LINE) {
        for (int s = 0; s < n_streams; s++) {
            const float *line = from + (size_t)s * length + i;
            fetch(line, READ_AHEAD);
            for (int v = 0; v < LINE_VECTORS; v++) sums[s] ^= (vi)vf_load(line + v * LANES);
        }
    }
    for (int s = 1; s < n_streams; s++) sums[0] ^= sums[s];
    return sums[0];
}

static float machine_read(const float *from, size_t n, int n_streams) {
    vi sum;
    switch (n_streams) {
    case 8:
        sum = read_streams(from, n, 8);
        break;
    case 4:
        sum = read_streams(from, n, 4);
        break;
    case 2:
        sum = read_streams(from, n, 2);
        break;
    default:
        sum = read_streams(from, n, 1);
        break;
    }
    return vf_sum(__builtin_convertvector(sum, vf));
}

static int64_t machine_multiply_add(int64_t rounds, float factor, float *sum) {
    const vf x = vf_splat(factor);
    vf a[CHAINS];
    for (int i = 0; i < CHAINS; i++) a[i] = vf_splat((float)i);
    for (int64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < CHAINS; i++) a[i] = a[i] * x + x;
    }
    for (int i = 1; i < CHAINS; i++) a[0] += a[i];
    *sum = vf_sum(a[0]);
    return rounds * CHAINS * LANES;
}
