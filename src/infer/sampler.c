// sampler.c: see sampler.h.
//
// Cost: one pass over the vocabulary to find the largest logit, one more to collect the candidates. The
// k likeliest are kept in a bounded heap whose root is the worst of them: nearly every token fails one
// comparison with the root and is gone. Only what survives is sorted.
#include "infer/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool sampler_init(struct sampler *sampler, int vocab_size, struct llm_error *err) {
    sampler->vocab_size = vocab_size;
    sampler->scores = malloc((size_t)vocab_size * sizeof *sampler->scores);
    sampler->candidates = malloc((size_t)vocab_size * sizeof *sampler->candidates);
    if (sampler->scores == NULL || sampler->candidates == NULL) {
        sampler_release(sampler);
        return error_memory(err, "sampler");
    }
    return true;
}

void sampler_release(struct sampler *sampler) {
    free(sampler->scores);
    free(sampler->candidates);
    *sampler = (struct sampler){0};
}

bool sampler_check_options(const struct llm_generate_options *options, struct llm_error *err) {
    // Written so that NaN fails every test.
    if (!(options->temperature >= 0 && options->temperature < INFINITY)) {
        return error_set(err, LLM_ERROR_ARGUMENT, "temperature is %g, a number from 0 up was expected",
                         (double)options->temperature);
    }
    if (options->top_k < 0) {
        return error_set(err, LLM_ERROR_ARGUMENT, "top_k is %d, 0 (all) or a count was expected", options->top_k);
    }
    if (!(options->top_p >= 0 && options->top_p <= 1)) {
        return error_set(err, LLM_ERROR_ARGUMENT, "top_p is %g, a number from 0 to 1 was expected",
                         (double)options->top_p);
    }
    if (!(options->min_p >= 0 && options->min_p <= 1)) {
        return error_set(err, LLM_ERROR_ARGUMENT, "min_p is %g, a number from 0 to 1 was expected",
                         (double)options->min_p);
    }
    if (!(options->repetition_penalty > 0 && options->repetition_penalty < INFINITY)) {
        return error_set(err, LLM_ERROR_ARGUMENT, "repetition_penalty is %g, a number above 0 was expected",
                         (double)options->repetition_penalty);
    }
    if (options->n_logprobs < 0) {
        return error_set(err, LLM_ERROR_ARGUMENT, "n_logprobs is %d, 0 or a count was expected", options->n_logprobs);
    }
    return true;
}

void sampler_seed(struct random *random, uint64_t seed, int sample) {
    // The generator takes 32 bits: all 64 of the seed and the sample's number are mixed into them
    // (finaliser of SplitMix64, Steele et al. 2014).
    uint64_t x = seed + ((uint64_t)sample + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    random_init(random, x ^ (x >> 31));
}

// ---- The best of the vocabulary -------------------------------------------------------------

// The largest of x [n]; false when there is a NaN. Independent lanes let the compiler use vectors.
static bool find_max(const float *x, int n, float *max) {
    enum {
        LANES = 16
    };
    float best[LANES];
    int nan[LANES] = {0};
    for (int j = 0; j < LANES; j++) best[j] = -INFINITY;
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            const float value = x[i + j];
            best[j] = value > best[j] ? value : best[j];
            nan[j] |= value != value;
        }
    }
    for (; i < n; i++) {
        best[0] = x[i] > best[0] ? x[i] : best[0];
        nan[0] |= x[i] != x[i];
    }
    int any_nan = 0;
    *max = -INFINITY;
    for (int j = 0; j < LANES; j++) {
        any_nan |= nan[j];
        if (best[j] > *max) *max = best[j];
    }
    return any_nan == 0;
}

static bool is_better(struct candidate a, struct candidate b) {
    return a.score > b.score || (a.score == b.score && a.id < b.id);
}

// Moves candidate `at` down until no child is worse than it: the root of the heap [n] is the worst.
static void sift_down(struct candidate *heap, int n, int at) {
    const struct candidate moved = heap[at];
    for (;;) {
        int child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && is_better(heap[child], heap[child + 1])) child++;
        if (!is_better(moved, heap[child])) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void make_heap(struct candidate *heap, int n) {
    for (int at = n / 2 - 1; at >= 0; at--) sift_down(heap, n, at);
}

// Best first (heap sort).
static void sort_heap(struct candidate *heap, int n) {
    for (int left = n - 1; left > 0; left--) {
        const struct candidate worst = heap[0];
        heap[0] = heap[left];
        heap[left] = worst;
        sift_down(heap, left, 0);
    }
}

// The k best of scores [n], best first; k <= n.
static void select_top(struct candidate *top, int k, const float *scores, int n) {
    if (k == 0) return;
    for (int i = 0; i < k; i++) top[i] = (struct candidate){scores[i], i};
    make_heap(top, k);
    for (int i = k; i < n; i++) {
        if (scores[i] <= top[0].score) continue; // equal ones come later, so they are no better
        top[0] = (struct candidate){scores[i], i};
        sift_down(top, k, 0);
    }
    sort_heap(top, k);
}

// ---- Drawing --------------------------------------------------------------------------------

// exp((score - max) / temperature), 1 for the likeliest even when it is infinite.
static float weight_of(float score, float max, float temperature) {
    return score == max ? 1 : expf((score - max) / temperature);
}

// Cuts [n] candidates, best first, to those that top-p and min-p leave. Returns how many.
static int cut_tail(const struct candidate *sorted, int n, double total, float top_p, float min_p) {
    double before = 0; // weight of the better ones
    for (int i = 0; i < n; i++) {
        if (i > 0 && ((top_p < 1 && before >= (double)top_p * total) || sorted[i].score < min_p)) return i;
        before += (double)sorted[i].score;
    }
    return n;
}

// All of the vocabulary that top-p and min-p may leave, as weights in order of id; sorted and cut when
// top-p asks for it. Returns how many.
static int collect_all(struct candidate *all, const float *scores, int n, float max,
                       const struct llm_generate_options *options) {
    double total = 0;
    for (int i = 0; i < n; i++) {
        all[i] = (struct candidate){weight_of(scores[i], max, options->temperature), i};
        total += (double)all[i].score;
    }
    // Tokens below a share of (1 - top_p) / n weigh less than 1 - top_p together, so the better ones reach
    // top_p without them: what has to be sorted is a small part of a usual vocabulary.
    float least = options->min_p;
    const float share = (float)((1 - (double)options->top_p) * total / n);
    if (options->top_p < 1 && share > least) least = share;
    int kept = 0;
    for (int i = 0; i < n; i++) {
        if (all[i].score >= least) all[kept++] = all[i];
    }
    if (options->top_p < 1) {
        make_heap(all, kept);
        sort_heap(all, kept);
        kept = cut_tail(all, kept, total, options->top_p, options->min_p);
    }
    return kept;
}

// The k likeliest as weights, cut by top-p and min-p. Returns how many.
static int collect_top(struct candidate *top, const float *scores, int n, float max,
                       const struct llm_generate_options *options) {
    select_top(top, options->top_k, scores, n);
    double total = 0;
    for (int i = 0; i < options->top_k; i++) {
        top[i].score = weight_of(top[i].score, max, options->temperature);
        total += (double)top[i].score;
    }
    return cut_tail(top, options->top_k, total, options->top_p, options->min_p);
}

// One of the candidates [n], with a probability in proportion to its weight.
static int32_t draw(const struct candidate *candidates, int n, struct random *random) {
    double total = 0;
    for (int i = 0; i < n; i++) total += (double)candidates[i].score;
    const double target = random_double(random) * total;
    double sum = 0;
    int32_t id = candidates[0].id;
    for (int i = 0; i < n; i++) {
        if (candidates[i].score == 0) continue; // cannot be drawn, even where sums are rounded
        sum += (double)candidates[i].score;
        id = candidates[i].id;
        if (sum > target) break;
    }
    return id;
}

static int first_of(const float *x, int n, float value) {
    for (int i = 0; i < n; i++) {
        if (x[i] == value) return i;
    }
    return 0;
}

static int first_nan(const float *x, int n) {
    for (int i = 0; i < n; i++) {
        if (x[i] != x[i]) return i;
    }
    return 0;
}

bool sampler_pick(struct sampler *sampler, const float *logits, const struct llm_generate_options *options,
                  const bool *seen, struct random *random, int32_t *id, struct llm_error *err) {
    const int n = sampler->vocab_size;
    const float *scores = logits;
    const float penalty = options->repetition_penalty;
    if (penalty != 1) {
        for (int i = 0; i < n; i++) {
            const float penalised = logits[i] > 0 ? logits[i] / penalty : logits[i] * penalty;
            sampler->scores[i] = seen[i] ? penalised : logits[i];
        }
        scores = sampler->scores;
    }
    float max;
    if (!find_max(scores, n, &max)) {
        return error_set(err, LLM_ERROR_FORMAT,
                         "the model's logits are not numbers (NaN for token %d): its weights are damaged or overflow",
                         first_nan(scores, n));
    }
    if (options->temperature == 0) {
        *id = first_of(scores, n, max);
        return true;
    }
    const bool all = options->top_k == 0 || options->top_k >= n;
    const int kept = all ? collect_all(sampler->candidates, scores, n, max, options)
                         : collect_top(sampler->candidates, scores, n, max, options);
    *id = draw(sampler->candidates, kept, random);
    return true;
}

float sampler_logprobs(struct sampler *sampler, const float *logits, int32_t id, int n_top, struct llm_logprob *top) {
    const int n = sampler->vocab_size;
    float max;
    find_max(logits, n, &max);
    double total = (double)weight_of(logits[0], max, 1);
    for (int i = 1; i < n; i++) total += (double)weight_of(logits[i], max, 1);
    const double log_total = log(total);
    select_top(sampler->candidates, n_top, logits, n);
    for (int i = 0; i < n_top; i++) {
        const float logit = sampler->candidates[i].score;
        top[i].id = sampler->candidates[i].id;
        top[i].logprob = (float)((logit == max ? 0 : (double)logit - (double)max) - log_total);
    }
    return (float)((logits[id] == max ? 0 : (double)logits[id] - (double)max) - log_total);
}
