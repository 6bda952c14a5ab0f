// infer_fixture.h: the tiny models of tests/fixtures/models and transformers' answers about them, for the
// tests of forward pass, sessions and evaluation. Layout of the files: tools/make_model_fixtures.py.
#ifndef INFER_FIXTURE_H
#define INFER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "my_llm.h"
#include "ops/ops.h"

enum {
    N_PROMPT = 24,
    N_GREEDY = 40,
    N_REFERENCE = N_PROMPT + N_GREEDY
};

// transformers' answers for one model.
struct reference {
    int32_t ids[N_REFERENCE]; // prompt, then the greedy continuation
    int vocab_size;
    float *logits; // [N_REFERENCE, vocab_size]
    float max_abs;
};

static inline FILE *fixture_open(const char *folder, const char *name, const char *suffix) {
    char path[512];
    snprintf(path, sizeof path, "%s/tests/fixtures/%s/%s%s", MY_LLM_SOURCE_DIR, folder, name, suffix);
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("%s is missing", path);
    return file;
}

static inline void read_ids(FILE *file, int32_t *ids, int n) {
    for (int i = 0; i < n; i++) assert_int_equal(fscanf(file, "%d", &ids[i]), 1);
}

static inline float *read_logits(const char *name, const char *suffix, size_t n) {
    float *logits = malloc(n * sizeof *logits);
    FILE *file = fixture_open("models/reference", name, suffix);
    assert_int_equal(fread(logits, sizeof *logits, n, file), n);
    fclose(file);
    return logits;
}

// Freed with free(reference.logits). "f16.gguf" holds what "f16" does, so its answers are the same.
static inline struct reference reference_read(const char *model) {
    struct reference reference;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(model, "."), model);
    int n_prompt, n_greedy, n_rows;
    FILE *file = fixture_open("models/reference", name, ".txt");
    assert_int_equal(fscanf(file, " prompt %d", &n_prompt), 1);
    assert_int_equal(n_prompt, N_PROMPT);
    read_ids(file, reference.ids, N_PROMPT);
    assert_int_equal(fscanf(file, " greedy %d", &n_greedy), 1);
    assert_int_equal(n_greedy, N_GREEDY);
    read_ids(file, reference.ids + N_PROMPT, N_GREEDY);
    assert_int_equal(fscanf(file, " logits %d %d", &n_rows, &reference.vocab_size), 2);
    assert_int_equal(n_rows, N_REFERENCE);
    assert_int_equal(fscanf(file, " max_abs %f", &reference.max_abs), 1);
    fclose(file);
    reference.logits = read_logits(name, ".bin", (size_t)n_rows * (size_t)reference.vocab_size);
    return reference;
}

// Opens a fixture model at a level ("ref", ...; NULL: the best).
static inline struct llm_engine *fixture_engine(const char *name, const char *isa, int n_threads) {
    char path[512];
    snprintf(path, sizeof path, "%s/tests/fixtures/models/%s", MY_LLM_SOURCE_DIR, name);
    struct llm_error err = {0};
    struct llm_engine_options options;
    llm_engine_options_init(&options);
    options.isa = isa;
    options.n_threads = n_threads;
    struct llm_engine *engine = llm_engine_open(path, &options, &err);
    if (engine == NULL) fail_msg("%s: %s", name, err.text);
    return engine;
}

static inline struct llm_session *fixture_session(struct llm_engine *engine, int n_sequences) {
    struct llm_error err = {0};
    struct llm_session *session = llm_session_new(engine, n_sequences, &err);
    if (session == NULL) fail_msg("%s", err.text);
    return session;
}

// Greedy, going on whatever comes.
static inline struct llm_generate_options greedy_options(int max_tokens) {
    struct llm_generate_options options;
    llm_generate_options_init(&options);
    options.temperature = 0;
    options.max_tokens = max_tokens;
    options.ignore_eos = true;
    return options;
}

static inline void check(bool ok, const struct llm_error *err) {
    if (!ok) fail_msg("%s", err->text);
}

// One generation without a callback; released by the caller.
static inline struct llm_generation generate(struct llm_session *session, const int32_t *prompt, size_t n_prompt,
                                             const struct llm_generate_options *options) {
    struct llm_generation generation;
    struct llm_error err = {0};
    check(llm_session_generate(session, prompt, n_prompt, options, NULL, NULL, &generation, &err), &err);
    return generation;
}

static inline void assert_ids(const struct llm_sample *sample, const int32_t *ids, size_t n) {
    assert_int_equal(sample->n_ids, n);
    assert_memory_equal(sample->ids, ids, n * sizeof *ids);
}

// Sampling with much variety, so that a wrong draw shows.
static inline struct llm_generate_options wild_options(int max_tokens) {
    struct llm_generate_options options = greedy_options(max_tokens);
    options.temperature = 5;
    options.top_k = 0;
    return options;
}

// Largest difference of a [n] and b [n].
static inline float largest_difference(const float *a, const float *b, size_t n) {
    float largest = 0;
    for (size_t i = 0; i < n; i++) {
        const float difference = fabsf(a[i] - b[i]);
        if (!(difference <= largest)) largest = difference; // NaN stays
    }
    return largest;
}

// The levels this processor has, as names.
static inline int available_levels(const char *names[OPS_LEVELS]) {
    int n = 0;
    for (int level = 0; level < OPS_LEVELS; level++) {
        if (ops_level_available((enum ops_level)level)) names[n++] = ops_level_name((enum ops_level)level);
    }
    return n;
}

#endif
