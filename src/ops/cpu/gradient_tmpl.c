// gradient_tmpl.c: kernels of the backward pass beside its products: sums over rows, and the softmax of the head.
#include <math.h>

#include "ops/cpu/kernels.h"
#include "ops/cpu/vector.h"

enum {
    SUM_VECTORS = 4, // columns that run down the rows together: their sums wait for each other less
    SUM_ROWS = 32    // rows summed up before they join the total, which so rounds less often
};

// sums[v] += rows 0 .. n - 1 of n_vectors vectors of columns from x on.
INLINE void add_columns(float *sums, const float *x, int64_t stride, int n, int n_vectors) {
    vf total[SUM_VECTORS] = {{0}};
    for (int first = 0; first < n; first += SUM_ROWS) {
        const int last = first + SUM_ROWS < n ? first + SUM_ROWS : n;
        vf group[SUM_VECTORS] = {{0}};
        for (int i = first; i < last; i++) {
            for (int v = 0; v < n_vectors; v++) group[v] += vf_load(x + i * stride + (int64_t)v * LANES);
        }
        for (int v = 0; v < n_vectors; v++) total[v] += group[v];
    }
    for (int v = 0; v < n_vectors; v++) {
        float *sum = sums + (int64_t)v * LANES;
        vf_store(sum, vf_load(sum) + total[v]);
    }
}

static void add_rows(float *sums, const float *x, int64_t stride, int n, int width) {
    int c = 0;
    for (; c + SUM_VECTORS * LANES <= width; c += SUM_VECTORS * LANES) {
        add_columns(sums + c, x + c, stride, n, SUM_VECTORS);
    }
    for (; c + LANES <= width; c += LANES) add_columns(sums + c, x + c, stride, n, 1);
    for (; c < width; c++) {
        float total = 0;
        for (int first = 0; first < n; first += SUM_ROWS) {
            const int last = first + SUM_ROWS < n ? first + SUM_ROWS : n;
            float group = 0;
            for (int i = first; i < last; i++) group += x[i * stride + c];
            total += group;
        }
        sums[c] += total;
    }
}

// A NaN may be passed over by the maximum, but never by the sum.
static float exponentials(float *row, int n, float *sum) {
    float largest = row[0];
    int i = 0;
    if (n >= LANES) {
        vf greatest = vf_load(row);
        for (i = LANES; i + LANES <= n; i += LANES) greatest = vf_max(vf_load(row + i), greatest);
        largest = vf_largest(greatest);
    }
    for (; i < n; i++) largest = row[i] > largest ? row[i] : largest;

    vf sums = {0};
    for (i = 0; i + LANES <= n; i += LANES) {
        const vf e = vf_exp(vf_load(row + i) - vf_splat(largest));
        vf_store(row + i, e);
        sums += e;
    }
    float rest = 0;
    if (i < n) {
        const vf e = vf_exp(vf_load_part(row + i, n - i) - vf_splat(largest));
        vf_store_part(row + i, e, n - i);
        for (int j = 0; j < n - i; j++) rest += row[i + j];
    }
    *sum = vf_sum(sums) + rest;
    return largest;
}

static void scale(float *to, const float *from, float factor, int n) {
    int i = 0;
    for (; i + LANES <= n; i += LANES) vf_store(to + i, vf_load(from + i) * vf_splat(factor));
    for (; i < n; i++) to[i] = from[i] * factor;
}
