// pass_fixture.h: the small models of tests/fixtures/training and PyTorch's gradients of them, for the tests of the
// training pass. What the files hold, and how models and batch are made, is said in tools/make_training_fixtures.py.
#ifndef PASS_FIXTURE_H
#define PASS_FIXTURE_H

#include "formats/container.h"
#include "infer_fixture.h"
#include "model/block.h"
#include "model/forward.h"
#include "model/init.h"
#include "model/pass.h"

enum {
    VOCABULARY = 37,
    N_SEQUENCES = 4,
    N_TOKENS = 7 + 1 + 12 + 16
};

// The tool's BASE.
static inline struct config base_config(void) {
    return (struct config){
        .n_layer = 2,
        .n_head = 3,
        .n_embd = 18,
        .n_inner = 72,
        .n_ctx = 16,
        .vocab_size = VOCABULARY,
        .activation = ACTIVATION_GELU_TANH,
        .layer_norm_epsilon = 1e-5F,
        .scale_attn_weights = true,
        .qkv_bias = true,
        .tied_head = true,
        .eos = -1,
    };
}

// The tool's BOOK.
static inline struct config book_config(void) {
    struct config config = base_config();
    config.qkv_bias = false;
    config.tied_head = false;
    return config;
}

// A new model that a test trains: engine, its weights, room for all gradients.
struct student {
    struct llm_engine *engine;
    struct param_block weights, gradients;
};

static inline struct student student_new(const struct config *config, const char *isa, int n_threads) {
    struct student student = {0};
    struct llm_error err = {0};
    const struct llm_engine_options options = {.isa = isa, .n_threads = n_threads};
    student.engine = engine_new("student", config, NULL, &options, &err);
    if (student.engine == NULL) fail_msg("%s", err.text);
    check(engine_own_weights(student.engine, &student.weights, &err), &err);
    check(param_block_init(&student.gradients, config, NULL, student.engine->ops, &err), &err);
    return student;
}

static inline void student_free(struct student *student) {
    param_block_release(&student->gradients, student->engine->ops);
    param_block_release(&student->weights, student->engine->ops);
    llm_engine_free(student->engine);
}

// The tool's fill().
static inline void student_fill(struct student *student, uint64_t seed) {
    const struct config *config = &student->engine->config;
    struct random random;
    random_init(&random, seed);
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            random_fill_normal(&random, param_block_at(&student->weights, (enum param)p, layer),
                               (size_t)param_size(config, (enum param)p), params[p].init == INIT_ONE ? 1 : 0, 0.3);
        }
    }
}

// Which rows of a sequence are wanted: the tool's, of sequences() and of WANTED.
enum wanted {
    WANTED_EVERY,
    WANTED_MOST,
    WANTED_LAST,
    WANTED_SCATTERED
};

static inline bool is_wanted(enum wanted wanted, int number, int t, int length) {
    switch (wanted) {
    case WANTED_MOST:
        return (t + number) % 4 != 0;
    case WANTED_LAST:
        return t == length - 1;
    case WANTED_SCATTERED:
        return t % 6 == 2 || t % 6 == 3;
    default:
        return true;
    }
}

// A batch with its targets and the weight of each loss.
struct lesson {
    struct batch batch;
    int32_t ids[N_TOKENS], positions[N_TOKENS], starts[N_SEQUENCES + 1], rows[N_TOKENS], targets[N_TOKENS];
    float scales[N_TOKENS];
};

static inline int32_t lesson_id(int sequence, int t) {
    return (sequence * 31 + t * t * 7 + t * 3 + 5) % VOCABULARY;
}

// Adds sequence `number` of the tool's, `length` tokens of it. WANTED_EVERY: with scale `scale`.
static inline void lesson_add(struct lesson *lesson, int number, int length, enum wanted wanted, float scale) {
    struct batch *batch = &lesson->batch;
    for (int t = 0; t < length; t++) {
        const int at = batch->n_tokens + t;
        lesson->ids[at] = lesson_id(number, t);
        lesson->positions[at] = t;
        if (!is_wanted(wanted, number, t, length)) continue;
        lesson->rows[batch->n_rows] = at;
        lesson->targets[batch->n_rows] = lesson_id(number, t + 1);
        lesson->scales[batch->n_rows++] =
            wanted == WANTED_EVERY ? scale : 0.05F + 0.01F * (float)((t + 2 * number) % 5);
    }
    batch->n_tokens += length;
    lesson->starts[++batch->n_sequences] = batch->n_tokens;
    batch->ids = lesson->ids;
    batch->positions = lesson->positions;
    batch->starts = lesson->starts;
    batch->rows = lesson->rows;
}

static const int lesson_lengths[N_SEQUENCES] = {7, 1, 12, 16};

// The tool's sequences(), packed.
static inline void lesson_of(struct lesson *lesson, enum wanted wanted) {
    *lesson = (struct lesson){0};
    for (int s = 0; s < N_SEQUENCES; s++) lesson_add(lesson, s, lesson_lengths[s], wanted, 0);
    // Few rows take the way of few rows.
    assert_int_equal(batch_leaving(&lesson->batch), wanted == WANTED_MOST ? LEAVING_ALL : LEAVING_ROWS);
}

static inline void lesson_packed(struct lesson *lesson) {
    lesson_of(lesson, WANTED_MOST);
}

static inline struct pass_options everything(void) {
    return (struct pass_options){
        .trainable = trainable_all(), .max_tokens = N_TOKENS, .max_rows = N_TOKENS, .max_sequences = N_SEQUENCES};
}

static inline struct pass *student_pass(struct student *student, const struct pass_options *options) {
    struct llm_error err = {0};
    struct pass *pass = pass_new(student->engine, options, &err);
    if (pass == NULL) fail_msg("%s", err.text);
    return pass;
}

// Adds the gradients of a lesson to student->gradients; losses [n_rows] or NULL.
static inline void study(struct student *student, struct pass *pass, const struct lesson *lesson, const float *entering,
                         struct random *random, float *losses) {
    struct llm_error err = {0};
    struct ops *ops = student->engine->ops;
    float *memory = ops->alloc(ops, sizeof(float[N_TOKENS]));
    check(pass_language(pass, &lesson->batch, entering, lesson->targets, lesson->scales, memory, &student->gradients,
                        random, &err),
          &err);
    if (losses != NULL) memcpy(losses, ops->get(ops, memory, N_TOKENS), (size_t)lesson->batch.n_rows * sizeof *losses);
    ops->free(ops, memory);
}

static inline void forget(struct student *student) {
    memset(student->gradients.data, 0, (size_t)student->gradients.size * sizeof(float));
}

static inline struct container *training_fixture(const char *name) {
    char path[512];
    struct llm_error err = {0};
    snprintf(path, sizeof path, "%s/tests/fixtures/training/%s.safetensors", MY_LLM_SOURCE_DIR, name);
    struct container *container = container_open(path, &err);
    if (container == NULL) fail_msg("%s", err.text);
    return container;
}

// Gradients `a` against `b` [n]: the largest difference relative to the largest of b.
static inline float gradient_difference(const float *a, const float *b, size_t n) {
    float largest = 0;
    for (size_t i = 0; i < n; i++) largest = fmaxf(largest, fabsf(b[i]));
    return largest_difference(a, b, n) / largest;
}

// Every gradient against the fixture's.
static inline void compare_gradients(const struct student *student, const struct container *expected, float tolerance,
                                     const char *what) {
    const struct config *config = &student->engine->config;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            char name[64];
            assert_true(dialect_tensor_name(&dialect_hf, (enum param)p, layer, name, sizeof name));
            const struct tensor_view *view = container_find(expected, name);
            if (view == NULL) fail_msg("%s: no gradient of %s", what, name);
            const size_t n = (size_t)param_size(config, (enum param)p);
            assert_int_equal(view->n_elements, n);
            const float difference = gradient_difference(param_block_at(&student->gradients, (enum param)p, layer),
                                                         (const float *)(const void *)view->data, n);
            if (!(difference <= tolerance)) fail_msg("%s: %s differs by %g", what, name, (double)difference);
        }
    }
}

#endif
