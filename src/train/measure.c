// measure.c: how long steps of training take here, for `my-llm bench --train`.
#include <stdlib.h>

#include "base/random.h"
#include "train/loop.h"
#include "train/settings.h"

struct measuring {
    struct llm_engine *engine;
    struct param_block weights;
    struct optimizer optimizer;
    struct pass *pass;
    struct packed packed;
    float *scales; // [n_tokens of all]
    float *losses; // operations' memory
};

static void shape_release(struct measuring *m) {
    pass_free(m->pass);
    packed_release(&m->packed);
    free(m->scales);
    if (m->losses != NULL) m->engine->ops->free(m->engine->ops, m->losses);
    m->pass = NULL;
    m->scales = m->losses = NULL;
}

static bool fill(struct measuring *m, int n_sequences, int n_tokens, struct llm_error *err) {
    struct random random;
    random_init(&random, 1);
    const uint32_t vocab_size = (uint32_t)m->engine->config.vocab_size;
    int32_t *ids = malloc(((size_t)n_tokens + 1) * sizeof *ids);
    if (ids == NULL) return error_memory(err, "tokens");
    for (int s = 0; s < n_sequences; s++) {
        for (int i = 0; i <= n_tokens; i++) ids[i] = (int32_t)(random_u32(&random) % vocab_size);
        packed_add(&m->packed, s, &(struct train_example){.ids = ids, .targets = ids + 1, .n = n_tokens}, 1);
    }
    free(ids);
    return true;
}

static bool shape_init(struct measuring *m, int n_sequences, int n_tokens, struct llm_error *err) {
    const int n = n_sequences * n_tokens;
    const struct pass_options options = {
        .trainable = trainable_all(),
        .max_tokens = n,
        .max_rows = n,
        .max_sequences = n_sequences,
        .max_length = n_tokens,
    };
    struct ops *ops = m->engine->ops;
    m->scales = malloc((size_t)n * sizeof *m->scales);
    m->losses = ops->alloc(ops, (size_t)n * sizeof *m->losses);
    if (m->scales == NULL || m->losses == NULL) return error_memory(err, "losses");
    for (int i = 0; i < n; i++) m->scales[i] = 1.0F / (float)n;
    m->pass = pass_new(m->engine, &options, err);
    return m->pass != NULL && packed_init(&m->packed, n, n_sequences, err) && fill(m, n_sequences, n_tokens, err);
}

static bool one_step(struct measuring *m, int64_t step, double *seconds, struct llm_error *err) {
    const double begun = train_clock();
    if (!pass_language(m->pass, &m->packed.batch, NULL, m->packed.targets, m->scales, m->losses,
                       &m->optimizer.gradients, NULL, err)) {
        return false;
    }
    const float coefficient = clip_coefficient(1, optimizer_norm(&m->optimizer));
    optimizer_step(&m->optimizer, step, 1e-4, coefficient);
    *seconds = train_clock() - begun;
    return true;
}

static bool measure_shape(struct measuring *m, const struct llm_train_measurement *shape, int repetitions,
                          const struct llm_callbacks *callbacks, struct llm_error *err) {
    const int n_ctx = m->engine->config.n_ctx;
    if (shape->n_sequences < 1 || shape->n_tokens < 1 || shape->n_tokens > n_ctx ||
        shape->n_sequences > INT32_MAX / 4 / shape->n_tokens) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "steps of %d sequences of %d tokens are not possible, the context is %d", shape->n_sequences,
                         shape->n_tokens, n_ctx);
    }
    double warm_up;
    bool ok = shape_init(m, shape->n_sequences, shape->n_tokens, err) && one_step(m, 1, &warm_up, err);
    for (int i = 0; i < repetitions && ok; i++) {
        const struct llm_progress progress = {"training", "steps", i, repetitions};
        if (callbacks != NULL && callbacks->progress != NULL && !callbacks->progress(callbacks->user, &progress)) {
            ok = error_set(err, LLM_ERROR_CANCELLED, "measuring was cancelled");
        }
        ok = ok && one_step(m, i + 2, &shape->seconds[i], err);
    }
    shape_release(m);
    return ok;
}

bool llm_train_measure(struct llm_engine *engine, const struct llm_train_measurement *measurements, int n_measurements,
                       int compute, int repetitions, const struct llm_callbacks *callbacks, struct llm_error *err) {
    if (compute == LLM_COMPUTE_BF16 && !ops_use_bf16(engine->ops, err)) return false;
    struct llm_train_options options;
    train_options_init(&options);
    const struct trainable all = trainable_all();
    struct measuring m = {.engine = engine};
    if (!engine_own_weights(engine, &m.weights, err)) return false;
    bool ok = optimizer_init(&m.optimizer, engine, &all, &m.weights, &options, err);
    for (int i = 0; i < n_measurements && ok; i++)
        ok = measure_shape(&m, &measurements[i], repetitions, callbacks, err);
    optimizer_release(&m.optimizer);
    param_block_release(&m.weights, engine->ops);
    return ok;
}
