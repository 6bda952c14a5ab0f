// random.c: the generator itself; see random.h. What PyTorch and NumPy make of its words is in
// random_torch.c and random_numpy.c.
#include "base/random.h"

enum {
    RANDOM_M = 397
};

void random_init(struct random *random, uint64_t seed) {
    random->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < RANDOM_N; i++) {
        const uint32_t last = random->state[i - 1];
        random->state[i] = 1812433253u * (last ^ (last >> 30)) + i;
    }
    random->used = RANDOM_N;
    random->has_normal = false;
    random->normal = 0;
}

// (upper bit of u | lower bits of v) A
static inline uint32_t random_twist(uint32_t u, uint32_t v) {
    const uint32_t y = (u & 0x80000000u) | (v & 0x7fffffffu);
    return (y >> 1) ^ (-(v & 1) & 0x9908b0dfu);
}

// Makes the next 624 words: x[k+n] = x[k+m] ^ (upper bit of x[k] | lower bits of x[k+1]) A, indices modulo
// n; in three runs without a modulo, so that the compiler can use vectors.
static void random_refill(struct random *random) {
    uint32_t *x = random->state;
    for (int k = 0; k < RANDOM_N - RANDOM_M; k++) x[k] = x[k + RANDOM_M] ^ random_twist(x[k], x[k + 1]);
    for (int k = RANDOM_N - RANDOM_M; k < RANDOM_N - 1; k++)
        x[k] = x[k + RANDOM_M - RANDOM_N] ^ random_twist(x[k], x[k + 1]);
    x[RANDOM_N - 1] = x[RANDOM_M - 1] ^ random_twist(x[RANDOM_N - 1], x[0]);
    random->used = 0;
}

uint32_t random_u32(struct random *random) {
    if (random->used >= RANDOM_N) random_refill(random);
    uint32_t y = random->state[random->used++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

uint64_t random_u64(struct random *random) {
    const uint64_t high = random_u32(random);
    return high << 32 | random_u32(random);
}

float random_float(struct random *random) {
    return (float)(random_u32(random) & 0xffffff) * 0x1p-24f;
}

double random_double(struct random *random) {
    const uint32_t a = random_u32(random) >> 5;
    const uint32_t b = random_u32(random) >> 6;
    return (a * 67108864.0 + b) / 9007199254740992.0;
}
