// calls.h: one call of an operation, made on every table and compared; and gradients by finite differences.
#ifndef TESTS_OPS_CALLS_H
#define TESTS_OPS_CALLS_H

#include "subjects.h"

enum {
    MOST_OUTPUTS = 16
};

// What a call writes.
struct output {
    size_t n;           // 0: NULL is passed
    const float *start; // [n] what is there before, for outputs that add; NULL: NaN
    double bound;       // how far from ref
};

// Calls the operation with memory for its outputs.
typedef void call_fn(struct ops *ops, const void *arguments, float *const *outputs);

static void outputs_make(float **made, const struct output *outputs, int n_outputs) {
    for (int i = 0; i < n_outputs; i++) {
        made[i] = outputs[i].n > 0 ? output_new(outputs[i].n) : NULL;
        if (outputs[i].start != NULL && made[i] != NULL) {
            memcpy(made[i], outputs[i].start, outputs[i].n * sizeof *made[i]);
        }
    }
}

static void outputs_free(float *const *made, int n_outputs) {
    for (int i = 0; i < n_outputs; i++) {
        if (made[i] != NULL) output_free(made[i]);
    }
}

// Every subject against ref, and every number of threads against one.
static void call_compare(struct subjects *s, const char *what, call_fn *call, const void *arguments,
                         const struct output *outputs, int n_outputs) {
    assert_true(n_outputs <= MOST_OUTPUTS);
    float *want[MOST_OUTPUTS];
    outputs_make(want, outputs, n_outputs);
    call(s->ref, arguments, want);
    for (int i = 0; i < s->n; i++) {
        float *first[MOST_OUTPUTS];
        float *other[MOST_OUTPUTS];
        for (int t = 0; t < THREADS; t++) {
            float **got = t == 0 ? first : other;
            outputs_make(got, outputs, n_outputs);
            call(s->list[i].ops[t], arguments, got);
            for (int o = 0; o < n_outputs; o++) {
                if (got[o] == NULL) continue;
                output_check(got[o], outputs[o].n);
                check_close(what, s->list[i].name, got[o], want[o], outputs[o].n, outputs[o].bound);
                check_same_bits(what, s->list[i].name, t + 1, got[o], first[o], outputs[o].n);
            }
            if (t > 0) outputs_free(other, n_outputs);
        }
        outputs_free(first, n_outputs);
    }
    outputs_free(want, n_outputs);
}

// Ref and every subject against numbers of PyTorch; outputs that add begin with `start`.
static void call_expect(struct subjects *s, const char *what, call_fn *call, const void *arguments,
                        const struct output *outputs, const float *const *want, int n_outputs) {
    for (int i = 0; i <= s->n; i++) {
        struct ops *ops = i < s->n ? s->list[i].ops[1] : s->ref;
        float *got[MOST_OUTPUTS];
        outputs_make(got, outputs, n_outputs);
        call(ops, arguments, got);
        for (int o = 0; o < n_outputs; o++) {
            if (got[o] != NULL) {
                check_close(what, i < s->n ? s->list[i].name : "ref", got[o], want[o], outputs[o].n, outputs[o].bound);
            }
        }
        outputs_free(got, n_outputs);
    }
}

// The loss whose gradient is meant, computed by forward operations of ref.
typedef double loss_fn(struct ops *ref, const void *arguments);

// gradient[i] of loss over x[i], i = 0, stride, ..., against (loss(x + step) - loss(x - step)) / (2 step).
static void check_differences(const char *what, struct ops *ref, loss_fn *loss, const void *arguments, float *x,
                              const float *gradient, size_t n, size_t stride, float step, double bound) {
    for (size_t i = 0; i < n; i += stride) {
        const float kept = x[i];
        const float above = kept + step;
        const float below = kept - step;
        x[i] = above;
        double difference = loss(ref, arguments);
        x[i] = below;
        difference -= loss(ref, arguments);
        x[i] = kept;
        difference /= (double)above - below;
        if (fabs(difference - gradient[i]) <= bound) continue;
        fail_msg("%s: gradient %zu is %.9g, by differences %.9g", what, i, (double)gradient[i], difference);
    }
}

// sum_i out[i] * dout[i]: the loss whose gradient dout is.
static double dot(const float *out, const float *dout, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)out[i] * dout[i];
    return sum;
}

#endif
