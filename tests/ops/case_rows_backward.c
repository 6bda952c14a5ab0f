// case_rows_backward.c: ops->embed_backward, layer_norm_backward, activate, activation_backward and dropout.
// Included by test_ops.c.
#include "calls.h"

// ---- embed_backward -------------------------------------------------------------------------

struct embed_backward {
    const float *dout;
    const int32_t *ids, *positions;
    int n, n_embd;
};

static void embed_backward_call(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct embed_backward *a = arguments;
    ops->embed_backward(ops, outputs[0], outputs[1], a->dout, a->ids, a->positions, a->n, a->n_embd);
}

static void embed_backward_fixture(struct subjects *s) {
    enum {
        N = 8,
        VOCABULARY = 7,
        N_CTX = 6,
        N_EMBD = 5
    };
    float *data = fixture_read("embed_backward", 2 * N + (N + VOCABULARY + N_CTX) * N_EMBD);
    int32_t ids[2 * N];
    for (int i = 0; i < 2 * N; i++) ids[i] = (int32_t)data[i];
    const struct embed_backward arguments = {data + 2 * N, ids, ids + N, N, N_EMBD};
    const float zeros[VOCABULARY * N_EMBD] = {0};
    const float *dwte = data + 2 * N + N * N_EMBD;
    const struct output outputs[] = {{VOCABULARY * N_EMBD, zeros, 1e-6}, {N_CTX * N_EMBD, zeros, 1e-6}};
    const float *const want[] = {dwte, dwte + VOCABULARY * N_EMBD};
    call_expect(s, "embed_backward against PyTorch", embed_backward_call, &arguments, outputs, want, 2);
    free(data);
}

// Few ids: most tokens add to a row that another adds to as well.
static void embed_backward_shape(struct subjects *s, int n, int n_embd, int vocab_size) {
    const int n_ctx = 64;
    int32_t *ids = input_bytes(s, (size_t)n * sizeof *ids, sizeof *ids);
    int32_t *positions = input_bytes(s, (size_t)n * sizeof *positions, sizeof *positions);
    for (int i = 0; i < n; i++) {
        ids[i] = (int32_t)(random_u32(&s->random) % (uint32_t)vocab_size);
        positions[i] = i % n_ctx;
    }
    const struct embed_backward arguments = {input_f32(s, (size_t)n * (size_t)n_embd, 1), ids, positions, n, n_embd};
    // The same order as the plain loop, so the same bits.
    struct output outputs[] = {{(size_t)vocab_size * (size_t)n_embd, NULL, 0},
                               {(size_t)n_ctx * (size_t)n_embd, NULL, 0}};
    for (int i = 0; i < 2; i++) outputs[i].start = input_f32(s, outputs[i].n, 1);
    char what[80];
    snprintf(what, sizeof what, "embed_backward [%d, %d] of %d ids", n, n_embd, vocab_size);
    call_compare(s, what, embed_backward_call, &arguments, outputs, 2);
    const struct output only_wte[] = {outputs[0], {0}};
    call_compare(s, what, embed_backward_call, &arguments, only_wte, 2);
    const struct output only_wpe[] = {{0}, outputs[1]};
    call_compare(s, what, embed_backward_call, &arguments, only_wpe, 2);
    subjects_clear(s);
}

static void case_embed_backward(struct subjects *s) {
    static const int widths[] = {768, 48, 33, 1, 1600};
    embed_backward_fixture(s);
    for (int i = 0; i < 5; i++) {
        embed_backward_shape(s, 200, widths[i], 5);
        embed_backward_shape(s, 1, widths[i], 1);
        embed_backward_shape(s, 64, widths[i], 1);
    }
}

// ---- layer_norm_backward --------------------------------------------------------------------

struct norm_backward {
    const float *dout, *x, *weight, *bias;
    float epsilon;
    int n, n_embd;
};

static void norm_backward_call(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct norm_backward *a = arguments;
    ops->layer_norm_backward(ops, outputs[0], outputs[1], outputs[2], a->dout, a->x, a->weight, a->epsilon, a->n,
                             a->n_embd);
}

static void norm_backward_fixture(struct subjects *s) {
    enum {
        N = 5,
        WIDTH = 48
    };
    float *data = fixture_read("layer_norm_backward", 3 * N * WIDTH + 3 * WIDTH);
    const float *weight = data + N * WIDTH;
    const float *dout = weight + WIDTH;
    const struct norm_backward arguments = {dout, data, weight, NULL, 1e-5F, N, WIDTH};
    const float *dx = dout + N * WIDTH;
    const float *const want[] = {dx, dx + N * WIDTH, dx + N * WIDTH + WIDTH};
    const float zeros[N * WIDTH] = {0};
    const struct output outputs[] = {{N * WIDTH, zeros, 2e-6}, {WIDTH, zeros, 4e-6}, {WIDTH, zeros, 2e-6}};
    call_expect(s, "layer_norm_backward against PyTorch", norm_backward_call, &arguments, outputs, want, 3);
    free(data);
}

static double norm_loss(struct ops *ref, const void *arguments) {
    const struct norm_backward *a = arguments;
    float out[256];
    const size_t size = (size_t)a->n * (size_t)a->n_embd;
    assert_true(size <= 256);
    ref->layer_norm(ref, out, a->x, a->weight, a->bias, a->epsilon, a->n, a->n_embd);
    return dot(out, a->dout, size);
}

static void norm_backward_differences(struct subjects *s) {
    enum {
        N = 3,
        WIDTH = 37
    };
    float *x = input_f32(s, N * WIDTH, 2);
    float *weight = input_f32(s, WIDTH, 2);
    float *bias = input_f32(s, WIDTH, 2);
    const struct norm_backward a = {input_f32(s, N * WIDTH, 1), x, weight, bias, 1e-5F, N, WIDTH};
    float dx[N * WIDTH] = {0};
    float dweight[WIDTH] = {0};
    float dbias[WIDTH] = {0};
    norm_backward_call(s->ref, &a, (float *const[]){dx, dweight, dbias});
    check_differences("layer_norm dx", s->ref, norm_loss, &a, x, dx, N * WIDTH, 1, 1e-2F, 1e-3);
    check_differences("layer_norm dweight", s->ref, norm_loss, &a, weight, dweight, WIDTH, 1, 1e-2F, 1e-4);
    check_differences("layer_norm dbias", s->ref, norm_loss, &a, bias, dbias, WIDTH, 1, 1e-2F, 1e-4);
    subjects_clear(s);
}

// x is center + spread * uniform(-1, 1).
static void norm_backward_shape(struct subjects *s, int n, int width, float center, float spread) {
    const size_t size = (size_t)n * (size_t)width;
    float *x = input_f32(s, size, spread);
    for (size_t i = 0; i < size; i++) x[i] += center;
    const struct norm_backward arguments = {
        input_f32(s, size, 1), x, input_f32(s, (size_t)width, 2), NULL, 1e-5F, n, width};
    // x normalised is as far off as in layer_norm; dx grows by `scale`, dweight and dbias by the number of rows. One
    // column has no variance, and is its mean exactly.
    const double scale = 1 / sqrt((width == 1 ? 0 : (double)spread * spread / 3) + 1e-5);
    const double normal = 2e-6 + (width == 1 ? 0 : 4e-7) * (fabs((double)center) + (double)spread) * scale;
    const double rows = 1e-6 + normal * n;
    const struct output outputs[] = {{size, input_f32(s, size, 1), 2e-6 + 4 * normal * scale},
                                     {(size_t)width, input_f32(s, (size_t)width, 1), rows},
                                     {(size_t)width, input_f32(s, (size_t)width, 1), 1e-6 + 1e-7 * n}};
    char what[80];
    snprintf(what, sizeof what, "layer_norm_backward [%d, %d] about %g +- %g", n, width, (double)center,
             (double)spread);
    call_compare(s, what, norm_backward_call, &arguments, outputs, 3);
    for (int only = 0; only < 3; only++) {
        struct output one[3] = {{0}};
        one[only] = outputs[only];
        call_compare(s, what, norm_backward_call, &arguments, one, 3);
    }
    subjects_clear(s);
}

static void case_layer_norm_backward(struct subjects *s) {
    static const int widths[] = {768, 1024, 1600, 48, 33, 7, 1};
    norm_backward_fixture(s);
    norm_backward_differences(s);
    for (int i = 0; i < 7; i++) {
        for (int n = 1; n <= 300; n = n < 5 ? n + 1 : n * 2) norm_backward_shape(s, n, widths[i], 0, 1);
        norm_backward_shape(s, 3, widths[i], 1000, 1);
        norm_backward_shape(s, 3, widths[i], 0, 1e4F);
        norm_backward_shape(s, 3, widths[i], 0, 1e-4F);
        norm_backward_shape(s, 3, widths[i], 5, 0);
    }
}

// ---- activate, activation_backward ----------------------------------------------------------

struct activation_call {
    const float *dout, *x;
    enum activation activation;
    int64_t n;
};

static void activate_call(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct activation_call *a = arguments;
    ops->activate(ops, outputs[0], a->x, a->activation, a->n);
}

static void activation_backward_call(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct activation_call *a = arguments;
    ops->activation_backward(ops, outputs[0], a->dout, a->x, a->activation, a->n);
}

// In place: dx begins as dout.
static void activation_backward_place(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct activation_call *a = arguments;
    ops->activation_backward(ops, outputs[0], outputs[0], a->x, a->activation, a->n);
}

static void activate_place(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct activation_call *a = arguments;
    ops->activate(ops, outputs[0], outputs[0], a->activation, a->n);
}

static const enum activation activations[] = {ACTIVATION_GELU_TANH, ACTIVATION_GELU_ERF, ACTIVATION_RELU,
                                              ACTIVATION_NONE};

// x from -14 to 14 against PyTorch: three activations, their values or (first = 3) derivatives.
static void activation_fixture(struct subjects *s, call_fn *call, int first, double bound) {
    enum {
        N = 1025
    };
    float *data = fixture_read("activation_backward", 7 * N);
    float ones[N];
    for (int i = 0; i < N; i++) ones[i] = 1;
    for (int i = 0; i < 3; i++) {
        const struct activation_call arguments = {ones, data, activations[i], N};
        const struct output output = {N, NULL, bound};
        const float *want = data + (first + i + 1) * N;
        call_expect(s, "activation against PyTorch", call, &arguments, &output, &want, 1);
    }
    free(data);
}

// Lengths about the width of a vector and the share of a thread; large, tiny and not a number among the inputs.
static void activation_shapes(struct subjects *s, call_fn *call, call_fn *place, bool backward) {
    static const int64_t lengths[] = {1, 3, 15, 16, 17, 33, 100, 70001};
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 8; j++) {
            const size_t n = (size_t)lengths[j];
            float *x = input_f32(s, n, 8);
            x[0] = n == 3 ? 1e30F : n == 15 ? -1e30F : n == 16 ? NAN : n == 17 ? -0.0F : n == 33 ? 1e-42F : x[0];
            const float *dout = input_f32(s, n, 1);
            const struct activation_call arguments = {dout, x, activations[i], lengths[j]};
            struct output output = {n, NULL, 2e-6};
            char what[80];
            snprintf(what, sizeof what, "activation %d%s of %zu", (int)activations[i], backward ? " backward" : "", n);
            call_compare(s, what, call, &arguments, &output, 1);
            output.start = backward ? dout : x;
            call_compare(s, what, place, &arguments, &output, 1);
            subjects_clear(s);
        }
    }
}

static void case_activate(struct subjects *s) {
    activation_fixture(s, activate_call, 0, 1e-6);
    activation_shapes(s, activate_call, activate_place, false);
}

static void case_activation_backward(struct subjects *s) {
    activation_fixture(s, activation_backward_call, 3, 1e-6);
    activation_shapes(s, activation_backward_call, activation_backward_place, true);
}

// ---- dropout --------------------------------------------------------------------------------

struct dropout_call {
    const float *x, *residual;
    const uint8_t *keep;
    int64_t n;
};

static void dropout_call(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct dropout_call *a = arguments;
    ops->dropout(ops, outputs[0], a->x, a->keep, 1.25F, a->residual, a->n);
}

static void dropout_over_x(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct dropout_call *a = arguments;
    ops->dropout(ops, outputs[0], outputs[0], a->keep, 1.25F, a->residual, a->n);
}

static void dropout_over_residual(struct ops *ops, const void *arguments, float *const *outputs) {
    const struct dropout_call *a = arguments;
    ops->dropout(ops, outputs[0], a->x, a->keep, 1.25F, outputs[0], a->n);
}

static void case_dropout(struct subjects *s) {
    static const int64_t lengths[] = {1, 15, 16, 33, 1000, 70001};
    for (int i = 0; i < 6; i++) {
        const size_t n = (size_t)lengths[i];
        float *x = input_f32(s, n, 1);
        const float *residual = input_f32(s, n, 1);
        uint8_t *keep = input_bytes(s, n, 1);
        for (size_t j = 0; j < n; j++) keep[j] = random_u32(&s->random) % 5 > 0 ? (uint8_t)(1 + j % 255) : 0;
        keep[0] = 0;
        x[0] = NAN; // dropped all the same
        struct dropout_call arguments = {x, residual, keep, lengths[i]};
        struct output output = {n, NULL, 0x1p-22}; // a rounding more or less, of sums up to 2.25
        call_compare(s, "dropout with a residual", dropout_call, &arguments, &output, 1);
        output.start = residual;
        call_compare(s, "dropout over its residual", dropout_over_residual, &arguments, &output, 1);
        arguments.residual = NULL;
        output.start = x;
        call_compare(s, "dropout in place", dropout_over_x, &arguments, &output, 1);

        float *out = output_new(n);
        dropout_call(s->ref, &arguments, &out);
        for (size_t j = 0; j < n; j++) assert_true(out[j] == (keep[j] != 0 ? x[j] * 1.25F : 0));
        output_free(out);
        subjects_clear(s);
    }
}
