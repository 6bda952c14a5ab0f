// random.h: MT19937 (Matsumoto and Nishimura 1998), the generator of NumPy's RandomState and of
// PyTorch's CPU generator, bit for bit.
//
//     torch.manual_seed(123); torch.rand(1)            random_init(&r, 123); random_float(&r)
//     numpy.random.RandomState(123).random_sample()    random_init(&r, 123); random_double(&r)
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

enum {
    RANDOM_N = 624
};

struct random {
    uint32_t state[RANDOM_N];
    int used; // words of state already handed out
};

// Seeds with the low 32 bits, as numpy.random.RandomState(seed) and torch.manual_seed(seed) do.
void random_init(struct random *random, uint64_t seed);
// 32 uniform bits.
uint32_t random_u32(struct random *random);
// Uniform in [0, 1): 24 bits of one word, as torch.rand in float32.
float random_float(struct random *random);
// Uniform in [0, 1): 53 bits of two words, as RandomState.random_sample.
double random_double(struct random *random);

#endif
