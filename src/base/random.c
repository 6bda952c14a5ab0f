// random.c: see random.h.
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
}

// Makes the next 624 words: x[k+n] = x[k+m] ^ (upper bit of x[k] | lower bits of x[k+1]) A.
static void random_refill(struct random *random) {
    uint32_t *x = random->state;
    for (int k = 0; k < RANDOM_N; k++) {
        const uint32_t y = (x[k] & 0x80000000u) | (x[(k + 1) % RANDOM_N] & 0x7fffffffu);
        x[k] = x[(k + RANDOM_M) % RANDOM_N] ^ (y >> 1) ^ ((y & 1) != 0 ? 0x9908b0dfu : 0);
    }
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

float random_float(struct random *random) {
    return (float)(random_u32(random) & 0xffffff) * 0x1p-24f;
}

double random_double(struct random *random) {
    const uint32_t a = random_u32(random) >> 5;
    const uint32_t b = random_u32(random) >> 6;
    return (a * 67108864.0 + b) / 9007199254740992.0;
}
