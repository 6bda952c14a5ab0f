// synthetic.c: models of random numbers in memory, in the shapes of the four GPT-2s.
//
// How fast a model runs does not depend on what its weights say, so this is what `my-llm bench --synthetic` measures:
// anyone can, without a download.
#include <math.h>
#include <string.h>

#include "model/quantize.h"

enum {
    MAX_NAME = 64
};

// ---- Numbers --------------------------------------------------------------------------------

// xorshift64* (Vigna 2016): speed counts here, the quality of the numbers does not, and Mersenne Twister with a normal
// distribution (init.h) takes many seconds for 1558M.
static uint64_t next_u64(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

// 24 bits, as a number within +- range.
static float within(uint32_t bits, float range) {
    return ((float)(int32_t)(bits >> 8) * 0x1p-23F - 1.0F) * range;
}

// As GPT-2 begins its training, with a uniform distribution of the same variance in place of the normal one.
static void fill(float *to, size_t n, enum param_init init, int n_layer, uint64_t *state) {
    if (init == INIT_ONE || init == INIT_ZERO) {
        for (size_t i = 0; i < n; i++) to[i] = init == INIT_ONE ? 1.0F : 0.0F;
        return;
    }
    const float deviation = init == INIT_NORMAL ? 0.02F : 0.02F / sqrtf(2.0F * (float)n_layer);
    const float range = deviation * sqrtf(3.0F);
    for (size_t i = 0; i < n; i += 2) {
        const uint64_t bits = next_u64(state);
        to[i] = within((uint32_t)(bits >> 32), range);
        if (i + 1 < n) to[i + 1] = within((uint32_t)bits, range);
    }
}

// ---- The engine -----------------------------------------------------------------------------

struct llm_engine *engine_synthesize(const char *name, const struct config *config, uint64_t seed,
                                     const struct llm_engine_options *options, struct llm_error *err) {
    struct llm_engine *engine = engine_new(name, config, NULL, options, err);
    if (engine == NULL) return NULL;
    uint64_t state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
    if (state == 0) state = 1; // of which xorshift makes nothing else
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            fill(param_block_at(&engine->own, (enum param)p, layer), (size_t)param_size(config, (enum param)p),
                 params[p].init, config->n_layer, &state);
        }
    }
    return engine;
}

struct llm_engine *llm_engine_synthetic(const char *size, uint64_t seed, const struct llm_engine_options *options,
                                        struct llm_error *err) {
    struct config config;
    if (!config_gpt2(&config, size, err)) return NULL;
    char name[MAX_NAME] = "synthetic ";
    strncat(name, size, sizeof name - strlen(name) - 1);
    struct llm_engine *engine = engine_synthesize(name, &config, seed, options, err);
    if (engine == NULL || options == NULL || engine_quantize(engine, options->quantize, err)) return engine;
    llm_engine_free(engine);
    return NULL;
}
