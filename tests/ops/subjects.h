// subjects.h: what an operation's test case works with: tables of every level and thread count, arrays
// with hard edges, random numbers, comparison.
//
// Inputs end where their allocation ends, at the alignment of one element and no more, so that ASan sees
// a read past them; outputs lie between guard bytes, which code made at run time (oneDNN) cannot hide from.
#ifndef TESTS_OPS_SUBJECTS_H
#define TESTS_OPS_SUBJECTS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/random.h"
#include "ops/cpu/cpu.h"
#include "ops/ops.h"
#include "ops/ref/ref.h"

// One way of computing: a level, the best one reading as many streams as it does not on this machine, or the 16-lane
// kernels compiled for this machine.
struct subject {
    const char *name;
    struct ops *ops[3]; // with 1, 2 and 3 threads
};

enum {
    THREADS = 3,
    MOST_SUBJECTS = OPS_LEVELS + 2
};

struct subjects {
    struct ops *ref;
    struct subject list[MOST_SUBJECTS]; // every level but ref
    int n;
    struct random random;
    void *inputs[64]; // allocations behind the inputs, freed by subjects_clear
    int n_inputs;
};

static void *input_bytes(struct subjects *s, size_t size, size_t element) {
    // One element of slack in front makes the alignment the smallest that suits the element.
    char *block = malloc(size + element);
    assert_non_null(block);
    assert_true(s->n_inputs < 64);
    s->inputs[s->n_inputs++] = block;
    return block + element;
}

// n numbers in [-scale, scale).
static float *input_f32(struct subjects *s, size_t n, float scale) {
    float *data = input_bytes(s, n * sizeof *data, sizeof *data);
    for (size_t i = 0; i < n; i++) data[i] = (2 * random_float(&s->random) - 1) * scale;
    return data;
}

static struct matrix input_matrix(struct subjects *s, enum dtype dtype, int rows, int cols, float scale) {
    const size_t n = (size_t)rows * (size_t)cols;
    const size_t element = dtype == DTYPE_F32 ? 4 : 2;
    void *data = input_bytes(s, n * element, element);
    float *wide = malloc(n * sizeof *wide);
    assert_non_null(wide);
    for (size_t i = 0; i < n; i++) wide[i] = (2 * random_float(&s->random) - 1) * scale;
    dtype_from_f32(data, dtype, wide, n);
    free(wide);
    return (struct matrix){data, dtype, rows, cols};
}

// Frees the inputs made so far.
static void subjects_clear(struct subjects *s) {
    for (int i = 0; i < s->n_inputs; i++) free(s->inputs[i]);
    s->n_inputs = 0;
}

enum {
    GUARD = 64
};

// n floats between guards, filled with a pattern that is NaN as a float.
static float *output_new(size_t n) {
    unsigned char *block = malloc(n * sizeof(float) + 2 * GUARD);
    assert_non_null(block);
    memset(block, 0xff, n * sizeof(float) + 2 * GUARD);
    return (float *)(void *)(block + GUARD);
}

// Fails when something was written around the n floats.
static void output_check(const float *out, size_t n) {
    const unsigned char *block = (const unsigned char *)out;
    for (int i = 0; i < GUARD; i++) {
        assert_int_equal(block[i - GUARD], 0xff);
        assert_int_equal(block[n * sizeof(float) + (size_t)i], 0xff);
    }
}

static void output_free(float *out) {
    free((unsigned char *)out - GUARD);
}

// |got - want| <= bound everywhere; NaN and infinities must agree.
static void check_close(const char *what, const char *subject, const float *got, const float *want, size_t n,
                        double bound) {
    for (size_t i = 0; i < n; i++) {
        if (isnan(want[i]) ? isnan(got[i]) : fabs((double)got[i] - want[i]) <= bound || got[i] == want[i]) continue;
        fail_msg("%s, %s: element %zu is %.9g, expected %.9g within %.3g", what, subject, i, (double)got[i],
                 (double)want[i], bound);
    }
}

static void check_same_bits(const char *what, const char *subject, int threads, const float *got, const float *want,
                            size_t n) {
    if (memcmp(got, want, n * sizeof *got) == 0) return;
    fail_msg("%s, %s: %d threads give other bits than one", what, subject, threads);
}

// The raw little-endian floats that tools/make_ops_fixtures.py wrote.
static float *fixture_read(const char *name, size_t n) {
    char path[512];
    snprintf(path, sizeof path, "%s/tests/fixtures/ops/%s.bin", MY_LLM_SOURCE_DIR, name);
    char *bytes = NULL;
    size_t size = 0;
    struct llm_error err = {0};
    if (!file_read(path, 1 << 20, &bytes, &size, &err)) fail_msg("%s", err.text);
    assert_int_equal(size, n * sizeof(float));
    return (float *)(void *)bytes;
}

#endif
