// sampler.h: from logits to the next token.
//
// The steps and their order are those of transformers' generate(), so that the same settings mean the same:
//   1. repetition penalty (Keskar et al. 2019, CTRL): a seen token's positive logit is divided by it, a
//      negative one multiplied;
//   2. temperature: logits / temperature; 0 takes the likeliest token and ends here;
//   3. top-k (Fan et al. 2018): the k likeliest;
//   4. top-p (Holtzman et al. 2020): of these, the likeliest whose probabilities reach p together;
//   5. min-p (Nguyen et al. 2024): of these, those with at least min_p times the likeliest's probability.
// The token is then drawn from what is left, in proportion to its probability.
//
// Equal logits are ordered by id, lowest first. Infinite logits are what they say: +inf is certain, -inf
// impossible. NaN is an error. Nothing here allocates after sampler_init().
#ifndef INFER_SAMPLER_H
#define INFER_SAMPLER_H

#include "base/error.h"
#include "base/random.h"

struct candidate {
    float score; // a logit; after the cuts, its weight relative to the likeliest (1)
    int32_t id;
};

// Scratch for one vocabulary; any number of samples may take turns.
struct sampler {
    int vocab_size;
    float *scores;                // [vocab_size] logits after the repetition penalty
    struct candidate *candidates; // [vocab_size]
};

bool sampler_init(struct sampler *sampler, int vocab_size, struct llm_error *err);
void sampler_release(struct sampler *sampler);

// Every number of the options within what makes sense; the sentence names the first that is not.
bool sampler_check_options(const struct llm_generate_options *options, struct llm_error *err);

// The generator of sample `sample`: a stream of its own, whatever the number of samples.
void sampler_seed(struct random *random, uint64_t seed, int sample);

// Chooses the next token from `logits` [vocab_size]. `seen` [vocab_size] marks the tokens that the repetition
// penalty is for. Draws one number from `random`, none when greedy.
bool sampler_pick(struct sampler *sampler, const float *logits, const struct llm_generate_options *options,
                  const bool *seen, struct random *random, int32_t *id, struct llm_error *err);

// Natural logarithm of the probability that the unmodified logits give to `id`; top [n_top] receives the
// n_top <= vocab_size likeliest tokens, best first. The logits must be free of NaN, as sampler_pick checks.
float sampler_logprobs(struct sampler *sampler, const float *logits, int32_t id, int n_top, struct llm_logprob *top);

#endif
