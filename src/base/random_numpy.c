// random_numpy.c: draws as NumPy's RandomState makes them, a generator frozen since NumPy 1.17 so that
// old seeds keep their meaning; pandas and the book's data splits stand on it. See random.h.
#include "base/random.h"

uint64_t random_numpy_interval(struct random *random, uint64_t max) {
    uint64_t mask = max; // the smallest 2^k - 1 that is not below max
    for (int shift = 1; shift < 64; shift *= 2) mask |= mask >> shift;
    uint64_t value;
    if (max == 0) return 0; // no word is drawn
    do {
        value = mask <= UINT32_MAX ? random_u32(random) & mask : random_u64(random) & mask;
    } while (value > max);
    return value;
}

void random_numpy_permutation(struct random *random, int64_t *to, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = (int64_t)i;
    for (size_t i = n; i-- > 1;) {
        const size_t j = random_numpy_interval(random, i);
        const int64_t swapped = to[i];
        to[i] = to[j];
        to[j] = swapped;
    }
}
