// synthetic.c: models of random numbers in memory, in the shapes of the four GPT-2s.
//
// How fast a model runs does not depend on what its weights say, so this is what `my-llm bench --synthetic` measures:
// anyone can, without a download. The weights become a container as if a reader had filled it, under the names
// that Hugging Face gives them; everything behind is the way of any other model.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/engine.h"
#include "model/weights.h"

// Radford et al. 2019, table 2, with the sizes as OpenAI corrected them.
static const struct {
    const char *name;
    int n_layer, n_head, n_embd;
} sizes[] = {{"124M", 12, 12, 768}, {"355M", 24, 16, 1024}, {"774M", 36, 20, 1280}, {"1558M", 48, 25, 1600}};

enum {
    N_CTX = 1024,
    VOCAB_SIZE = 50257,
    ALIGNMENT = 64, // a cache line, and the widest vector load
    MAX_NAME = 64
};

// ---- Numbers --------------------------------------------------------------------------------

// xorshift64* (Vigna 2016): speed counts here, the quality of the numbers does not, and Mersenne Twister with a normal
// distribution takes many seconds for 1558M.
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

// ---- The container --------------------------------------------------------------------------

static size_t padded_bytes(const struct config *config, enum param param) {
    const size_t bytes = (size_t)param_size(config, param) * sizeof(float);
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void release_numbers(void *impl) {
    free(impl);
}

static bool add_tensor(struct container *container, const struct config *config, enum param param, int layer,
                       const float *data) {
    char name[MAX_NAME];
    struct tensor_view *view = &container->tensors[container->n_tensors];
    if (!dialect_tensor_name(&dialect_hf, param, layer, name, sizeof name)) return false;
    view->name = strdup(name);
    if (view->name == NULL) return false;
    int rows, cols;
    param_shape(config, param, &rows, &cols);
    const bool is_matrix = params[param].is_matrix;
    view->dtype = DTYPE_F32;
    view->dtype_name = dtype_info(DTYPE_F32)->name;
    view->rank = is_matrix ? 2 : 1;
    view->shape[0] = is_matrix ? rows : cols;
    view->shape[1] = is_matrix ? cols : 0;
    view->n_elements = param_size(config, param);
    view->data = (const uint8_t *)data;
    view->size = (size_t)view->n_elements * sizeof *data;
    container->n_tensors++;
    return true;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const struct tensor_view *)a)->name, ((const struct tensor_view *)b)->name);
}

// All parameters in one block, which the container owns.
static struct container *make_container(const struct config *config, uint64_t seed, struct llm_error *err) {
    size_t n_tensors = 0, bytes = 0;
    for (int p = 0; p < PARAM_COUNT; p++) {
        const size_t count = (size_t)param_count(config, (enum param)p);
        n_tensors += count;
        bytes += count * padded_bytes(config, (enum param)p);
    }
    struct container *container = calloc(1, sizeof *container);
    char *block = aligned_alloc(ALIGNMENT, bytes);
    struct tensor_view *tensors = calloc(n_tensors, sizeof *tensors);
    if (container == NULL || block == NULL || tensors == NULL) {
        free(tensors);
        free(block);
        free(container);
        error_memory(err, "synthetic weights");
        return NULL;
    }
    *container =
        (struct container){.format = "synthetic", .tensors = tensors, .impl = block, .impl_free = release_numbers};
    uint64_t state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
    if (state == 0) state = 1; // of which xorshift makes nothing else
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            if (!add_tensor(container, config, (enum param)p, layer, (float *)(void *)block)) {
                container_free(container);
                error_memory(err, "synthetic weights");
                return NULL;
            }
            fill((float *)(void *)block, (size_t)param_size(config, (enum param)p), params[p].init, config->n_layer,
                 &state);
            block += padded_bytes(config, (enum param)p);
        }
    }
    qsort(tensors, n_tensors, sizeof *tensors, compare_names);
    return container;
}

// ---- The engine -----------------------------------------------------------------------------

struct llm_engine *engine_synthesize(const char *name, const struct config *config, uint64_t seed,
                                     const struct llm_engine_options *options, struct llm_error *err) {
    static const struct llm_engine_options default_options;
    if (options == NULL) options = &default_options;
    const int level = engine_level(options, err);
    if (level == ENGINE_NO_LEVEL || !config_check(config, err)) return NULL;
    struct llm_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        error_memory(err, "engine");
        return NULL;
    }
    engine->config = *config;
    engine->dtype = DTYPE_F32;
    engine->n_nonfinite = -1;
    engine->callbacks = options->callbacks;
    engine->path = strdup(name);
    engine->ops = ops_new(level, options->n_threads, err);
    if (engine->path == NULL) {
        error_memory(err, "engine");
    } else if (engine->ops != NULL && (engine->container = make_container(config, seed, err)) != NULL &&
               tensor_map_init(&engine->map, engine->container, &engine->config, name, err) &&
               weights_init(&engine->weights, &engine->map, &engine->config, engine->ops, err)) {
        return engine;
    }
    llm_engine_free(engine);
    return NULL;
}

struct llm_engine *llm_engine_synthetic(const char *size, uint64_t seed, const struct llm_engine_options *options,
                                        struct llm_error *err) {
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (strcmp(sizes[i].name, size) != 0) continue;
        const struct config config = {
            .n_layer = sizes[i].n_layer,
            .n_head = sizes[i].n_head,
            .n_embd = sizes[i].n_embd,
            .n_inner = 4 * sizes[i].n_embd,
            .n_ctx = N_CTX,
            .vocab_size = VOCAB_SIZE,
            .activation = ACTIVATION_GELU_TANH,
            .layer_norm_epsilon = 1e-5F,
            .scale_attn_weights = true,
            .tied_head = true,
            .eos = VOCAB_SIZE - 1,
        };
        char name[MAX_NAME] = "synthetic ";
        return engine_synthesize(strncat(name, sizes[i].name, sizeof name - strlen(name) - 1), &config, seed, options,
                                 err);
    }
    error_set(err, LLM_ERROR_ARGUMENT,
              "there is no synthetic model of size \"%.40s\"; 124M, 355M, 774M or 1558M was "
              "expected",
              size);
    return NULL;
}
