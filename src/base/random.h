// random.h: MT19937 (Matsumoto and Nishimura 1998), the generator of NumPy's RandomState and of
// PyTorch's CPU generator, and what the two make of its words, bit for bit.
//
//     torch.manual_seed(123); torch.rand(1)            random_init(&r, 123); random_float(&r)
//     numpy.random.RandomState(123).random_sample()    random_init(&r, 123); random_double(&r)
//
// The struct is plain data: copy it to draw the same numbers again, write it to a checkpoint to go on.
// Equal to PyTorch 2.15 on x86-64 with AVX2. PyTorch on other machines takes logarithms and sines from
// elsewhere, so that its normal numbers may differ in their last digits from these, which are the same
// everywhere; and older versions drew dropout masks from MKL's generator where the CPU was Intel's.
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RANDOM_N = 624
};

struct random {
    uint32_t state[RANDOM_N];
    int used;        // words of state already handed out
    bool has_normal; // PyTorch makes scalar normal numbers in pairs and keeps the second one
    double normal;   // that one
};

// ---- The generator --------------------------------------------------------------------------

// Seeds with the low 32 bits, as numpy.random.RandomState(seed) and torch.manual_seed(seed) do.
void random_init(struct random *random, uint64_t seed);
// 32 uniform bits.
uint32_t random_u32(struct random *random);
// 64 uniform bits: two words, the first one is the high half (PyTorch's order).
uint64_t random_u64(struct random *random);
// Uniform in [0, 1): 24 bits of one word, as torch.rand in float32.
float random_float(struct random *random);
// Uniform in [0, 1): 53 bits of two words, as RandomState.random_sample.
double random_double(struct random *random);

// ---- As PyTorch draws -----------------------------------------------------------------------

// Uniform in [0, 1): 53 bits of two words, as torch.rand in float64.
double random_torch_double(struct random *random);

// tensor.uniform_(low, high) on a float32 tensor of n elements.
void random_fill_uniform(struct random *random, float *to, size_t n, double low, double high);
// tensor.normal_(mean, std) on a contiguous float32 tensor: torch.randn, nn.Embedding's weight (0, 1),
// GPT-2's initialisation (0, 0.02). The numbers depend on n, so fill a tensor in one call.
void random_fill_normal(struct random *random, float *to, size_t n, double mean, double std);

// What nn.Linear(fan_in, fan_out) does: the weight first, fan_out * fan_in elements (Kaiming-uniform with
// a = sqrt(5)), then the bias, fan_out elements. Both are uniform within 1 / sqrt(fan_in), but PyTorch
// computes the two bounds in different ways, and so do these.
void random_fill_linear_weight(struct random *random, float *weight, size_t n, size_t fan_in);
void random_fill_linear_bias(struct random *random, float *bias, size_t n, size_t fan_in);

// tensor.bernoulli_(probability): 1 with that probability, else 0. Two words an element, in order, so a
// long mask may be drawn piece by piece. dropout(x, p) is x * mask / (1 - p) with probability 1 - p.
void random_fill_bernoulli(struct random *random, uint8_t *to, size_t n, double probability);

// torch.randperm(n).
void random_torch_permutation(struct random *random, int64_t *to, size_t n);

// What `iter(DataLoader(...))` and the first batch draw from the default generator: the workers' seed
// (drawn even without workers), and, if shuffled, the seed of a generator of its own for randperm.
// order[n] receives the examples' indices, in file order if not shuffled.
void random_loader_order(struct random *random, int64_t *order, size_t n, bool shuffle);

// ---- As NumPy's RandomState draws -----------------------------------------------------------

// Uniform in 0 .. max (inclusive), as RandomState's shuffle draws.
uint64_t random_numpy_interval(struct random *random, uint64_t max);

// RandomState.permutation(n). With a fresh random_init(&r, seed) its first k entries are the rows of
// RandomState(seed).choice(n, k, replace=False), and so of pandas' frame.sample(n=k, random_state=seed);
// all of them those of frame.sample(frac=1, random_state=seed) and sklearn.utils.shuffle.
void random_numpy_permutation(struct random *random, int64_t *to, size_t n);

#endif
