// case_linear.c: ops->linear and ops->reserve. Included by test_ops.c.
#include <pthread.h>

#include "subjects.h"

static int linear_n_out(const struct linear *linear) {
    return linear->transposed ? linear->weight.rows : linear->weight.cols;
}

// Every subject against ref, and every number of threads against one.
static void linear_compare(struct subjects *s, const char *what, const struct linear *linear, const float *x,
                           const float *residual, int n, double bound) {
    const size_t size = (size_t)n * (size_t)linear_n_out(linear);
    struct llm_error err = {0};
    float *want = output_new(size);
    assert_true(s->ref->linear(s->ref, want, x, linear, residual, n, &err));
    float *first = output_new(size);
    float *other = output_new(size);
    for (int i = 0; i < s->n; i++) {
        for (int t = 0; t < THREADS; t++) {
            struct ops *ops = s->list[i].ops[t];
            float *out = t == 0 ? first : other;
            assert_true(ops->linear(ops, out, x, linear, residual, n, &err));
            output_check(out, size);
            if (t > 0) check_same_bits(what, s->list[i].name, t + 1, out, first, size);
        }
        check_close(what, s->list[i].name, first, want, size, bound);
        // In place over the residual.
        if (residual == NULL) continue;
        memcpy(other, residual, size * sizeof *other);
        struct ops *ops = s->list[i].ops[1];
        assert_true(ops->linear(ops, other, x, linear, other, n, &err));
        output_check(other, size);
        check_close(what, s->list[i].name, other, want, size, bound);
    }
    output_free(want);
    output_free(first);
    output_free(other);
}

// Eight roundings of the sum of magnitudes: n_in products of numbers up to 1, whose mean magnitude is 1/4, a bias and
// a residual.
static double linear_bound(int n_in) {
    return 8 * 0x1p-24 * (0.25 * n_in + 4);
}

static void linear_shape(struct subjects *s, enum dtype dtype, bool transposed, int n_in, int n_out, int n) {
    const struct linear linear = {
        .weight = transposed ? input_matrix(s, dtype, n_out, n_in, 1) : input_matrix(s, dtype, n_in, n_out, 1),
        .transposed = transposed,
        .bias = n % 2 == 0 ? NULL : input_f32(s, (size_t)n_out, 1),
        .activation = (enum activation)(n % 4),
    };
    const float *x = input_f32(s, (size_t)n * (size_t)n_in, 1);
    const float *residual = n % 3 == 0 ? NULL : input_f32(s, (size_t)n * (size_t)n_out, 1);
    char what[100];
    snprintf(what, sizeof what, "linear %s%s [%d, %d] x [%d]", dtype_info(dtype)->name, transposed ? " transposed" : "",
             n, n_in, n_out);
    linear_compare(s, what, &linear, x, residual, n, linear_bound(n_in));
    subjects_clear(s);
}

// Plain loops against PyTorch in double precision, all activations; the others then follow ref.
static void linear_fixture(struct subjects *s) {
    enum {
        N = 5,
        N_IN = 24,
        N_OUT = 20,
        OUT = N * N_OUT
    };
    float *data = fixture_read("linear", N * N_IN + N_IN * N_OUT + N_OUT + OUT + 4 * OUT);
    const float *weight = data + N * N_IN;
    const float *bias = weight + N_IN * N_OUT;
    const float *residual = bias + N_OUT;
    const float *want = residual + OUT;
    for (int i = 0; i < 4; i++) {
        const enum activation order[] = {ACTIVATION_NONE, ACTIVATION_GELU_TANH, ACTIVATION_GELU_ERF, ACTIVATION_RELU};
        const struct linear linear = {{weight, DTYPE_F32, N_IN, N_OUT}, false, bias, order[i], 0};
        float out[OUT];
        assert_true(s->ref->linear(s->ref, out, data, &linear, residual, N, NULL));
        check_close("linear against PyTorch", "ref", out, want + (size_t)i * OUT, OUT, 1e-6);
        linear_compare(s, "linear fixture", &linear, data, residual, N, 1e-5);
    }
    free(data);
}

// activation(x * 1 + 0) over a range of x, against PyTorch: errors relative to |x|, which GELU's result approaches.
static void linear_activation(struct subjects *s) {
    enum {
        N = 2049
    };
    float *data = fixture_read("activation", 3 * N);
    const float one = 1;
    for (int i = 0; i < 2; i++) {
        const struct linear linear = {
            {&one, DTYPE_F32, 1, 1}, false, NULL, i == 0 ? ACTIVATION_GELU_TANH : ACTIVATION_GELU_ERF, 0};
        for (int j = 0; j <= s->n; j++) {
            struct ops *ops = j < s->n ? s->list[j].ops[0] : s->ref;
            float out[N];
            assert_true(ops->linear(ops, out, data, &linear, NULL, N, NULL));
            for (int k = 0; k < N; k++) {
                const double want = data[(i + 1) * N + k];
                const double error = fabs(out[k] - want) / (fabs((double)data[k]) + 1e-30);
                if (error > 3e-7)
                    fail_msg("%s: gelu %d of %.9g off by %.3g", ops_level_name(ops->level), i, (double)data[k], error);
            }
        }
    }
    free(data);
}

// One NaN makes its row NaN, and only that; large and tiny numbers come through.
static void linear_hostile(struct subjects *s, int n) {
    enum {
        N_IN = 40,
        N_OUT = 50
    };
    struct linear linear = {input_matrix(s, DTYPE_F32, N_IN, N_OUT, 1), false, NULL, ACTIVATION_NONE, 0};
    float *x = input_f32(s, (size_t)n * N_IN, 1);
    x[3] = NAN;
    for (int a = 0; a < 4; a++) {
        linear.activation = (enum activation)a;
        linear_compare(s, "linear with a NaN", &linear, x, NULL, n, linear_bound(N_IN));
        float *out = output_new((size_t)n * N_OUT);
        struct ops *ops = s->list[0].ops[1];
        assert_true(ops->linear(ops, out, x, &linear, NULL, n, NULL));
        for (int i = 0; i < n * N_OUT; i++) assert_int_equal(isnan(out[i]) != 0, i < N_OUT);
        output_free(out);
    }
    linear.activation = ACTIVATION_GELU_TANH;
    const float scales[] = {1e30F, 1e18F, 1e-30F, 1e-42F};
    for (int i = 0; i < 4; i++) {
        float *hostile = input_f32(s, (size_t)n * N_IN, scales[i]);
        linear_compare(s, "linear with large or tiny numbers", &linear, hostile, NULL, n,
                       (double)scales[i] * linear_bound(N_IN) + 1e-44);
    }
    subjects_clear(s);
}

// Columns `first` to `first + cols - 1` of a matrix of `width` columns, all others NaN.
static struct matrix linear_range(struct subjects *s, enum dtype dtype, int rows, int width, int first, int cols) {
    struct matrix range = input_matrix(s, dtype, rows, width, 1);
    const size_t element = dtype_bytes(dtype, 1);
    char *data = (char *)(uintptr_t)range.data;
    for (int i = 0; i < rows * width; i++) {
        const int column = i % width;
        if (column < first || column >= first + cols) memset(data + (size_t)i * element, 0xff, element);
    }
    range.data = data + (size_t)first * element;
    range.cols = cols;
    return range;
}

// The same numbers one row behind the other.
static struct matrix linear_dense(struct subjects *s, const struct linear *linear) {
    struct matrix dense = linear->weight;
    const size_t bytes = dtype_bytes(dense.dtype, (size_t)dense.cols);
    char *data = input_bytes(s, (size_t)dense.rows * bytes, bytes / (size_t)dense.cols);
    for (int i = 0; i < dense.rows; i++) {
        const size_t from = dtype_bytes(dense.dtype, (size_t)i * (size_t)linear->stride);
        memcpy(data + (size_t)i * bytes, (const char *)dense.data + from, bytes);
    }
    dense.data = data;
    return dense;
}

// A range of a matrix's columns: as a matrix of its own to ref, and to everyone as to ref; what lies around it is not
// read, or NaN would come out.
static void linear_columns(struct subjects *s, enum dtype dtype, bool transposed, const int *range, int n) {
    const int n_other = 200;
    const struct linear linear = {
        .weight = linear_range(s, dtype, n_other, range[0], range[1], range[2]),
        .transposed = transposed,
        .bias = input_f32(s, (size_t)(transposed ? n_other : range[2]), 1),
        .stride = range[0],
    };
    struct linear dense = linear;
    dense.weight = linear_dense(s, &linear);
    dense.stride = 0;
    const int n_in = transposed ? range[2] : n_other;
    const size_t size = (size_t)n * (size_t)linear_n_out(&linear);
    const float *x = input_f32(s, (size_t)n * (size_t)n_in, 1);
    float *want = output_new(size);
    float *got = output_new(size);
    assert_true(s->ref->linear(s->ref, want, x, &dense, NULL, n, NULL));
    assert_true(s->ref->linear(s->ref, got, x, &linear, NULL, n, NULL));
    check_same_bits("linear, columns of a matrix", "ref", 1, got, want, size);
    linear_compare(s, "linear, columns of a matrix", &linear, x, NULL, n, linear_bound(n_in));
    output_free(want);
    output_free(got);
    subjects_clear(s);
}

// [width, first, columns]: the first, some in the middle, the last.
static const int linear_ranges[][3] = {{192, 0, 64}, {1024, 512, 96}, {450, 33, 35}, {600, 200, 400}};

struct job {
    struct ops *ops;
    const struct linear *linear;
    const float *x;
    float *out;
    int n;
};

static void *job_run(void *data) {
    struct job *job = data;
    for (int i = 0; i < 20; i++) {
        if (!job->ops->linear(job->ops, job->out, job->x, job->linear, NULL, job->n, NULL)) return NULL;
    }
    return job;
}

// Two sessions of an engine share its table, and so its scratch.
static void linear_shared(struct subjects *s) {
    enum {
        N = 40,
        N_IN = 64,
        N_OUT = 400
    };
    const struct linear linear = {input_matrix(s, DTYPE_F16, N_IN, N_OUT, 1), false, NULL, ACTIVATION_NONE, 0};
    const struct linear other = {input_matrix(s, DTYPE_BF16, N_IN, N_OUT, 1), false, NULL, ACTIVATION_NONE, 0};
    const float *x = input_f32(s, N * N_IN, 1);
    for (int i = 0; i < s->n; i++) {
        struct ops *ops = s->list[i].ops[1];
        float *want = output_new(N * N_OUT);
        struct job jobs[2] = {{ops, &linear, x, output_new(N * N_OUT), N}, {ops, &other, x, output_new(N * N_OUT), N}};
        pthread_t threads[2];
        for (int t = 0; t < 2; t++) assert_int_equal(pthread_create(&threads[t], NULL, job_run, &jobs[t]), 0);
        for (int t = 0; t < 2; t++) {
            void *done = NULL;
            assert_int_equal(pthread_join(threads[t], &done), 0);
            assert_non_null(done);
        }
        for (int t = 0; t < 2; t++) {
            assert_true(ops->linear(ops, want, x, jobs[t].linear, NULL, N, NULL));
            check_same_bits("linear from two sessions", s->list[i].name, 2, jobs[t].out, want, N * N_OUT);
            output_free(jobs[t].out);
        }
        output_free(want);
    }
    subjects_clear(s);
}

static void case_linear(struct subjects *s) {
    static const int wide[][2] = {{768, 2304}, {1024, 1024}, {1280, 80}, {1600, 64}, {3072, 96}};
    static const int narrow[][2] = {{48, 192}, {33, 35}, {1, 1}, {7, 450}};
    linear_fixture(s);
    linear_activation(s);
    for (int dtype = 0; dtype <= DTYPE_BF16; dtype++) {
        for (int transposed = 0; transposed < 2; transposed++) {
            for (int i = 0; i < 5; i++) {
                linear_shape(s, (enum dtype)dtype, transposed, wide[i][0], wide[i][1], 1);
                linear_shape(s, (enum dtype)dtype, transposed, wide[i][0], wide[i][1], i < 2 ? 17 : 7);
            }
            for (int i = 0; i < 4; i++) {
                for (int n = 1; n <= 17; n++) {
                    linear_shape(s, (enum dtype)dtype, transposed, narrow[i][0], narrow[i][1], n);
                }
                linear_shape(s, (enum dtype)dtype, transposed, narrow[i][0], narrow[i][1], 64);
                linear_shape(s, (enum dtype)dtype, transposed, narrow[i][0], narrow[i][1], 300);
            }
        }
    }
    for (int i = 0; i < 24; i++) {
        static const int rows[] = {1, 7, 40, 200};
        for (int j = 0; j < 4; j++)
            linear_columns(s, (enum dtype)(i % 3), i / 3 % 2 == 1, linear_ranges[i / 6], rows[j]);
    }
    linear_hostile(s, 3);
    linear_hostile(s, 20);
    linear_shared(s);
}

// After reserve() the scratch stays what it is.
static void case_reserve(struct subjects *s) {
    enum {
        N = 70,
        N_IN = 256,
        N_OUT = 768,
        VOCABULARY = 3000
    };
    const struct linear linear = {input_matrix(s, DTYPE_F16, N_IN, N_OUT, 1), false, NULL, ACTIVATION_NONE, 0};
    const struct matrix head = input_matrix(s, DTYPE_BF16, VOCABULARY, N_IN, 1);
    const float *x = input_f32(s, N * N_IN, 1);
    int32_t targets[N] = {0};
    float loss[N];
    float norm[2 * N_OUT] = {0};
    float *out = output_new(N * N_OUT);
    assert_true(s->ref->reserve(s->ref, N, N_OUT, N_IN * N_OUT, NULL));
    for (int i = 0; i < s->n; i++) {
        struct ops *ops = ops_new((int)s->list[i].ops[0]->level, 2, NULL);
        assert_non_null(ops);
        cpu_of(ops)->kernels = cpu_of(s->list[i].ops[0])->kernels;
        assert_true(ops->reserve(ops, N, N_OUT, VOCABULARY * N_IN, NULL));
        const float *scratch = cpu_of(ops)->scratch;
        const size_t size = cpu_of(ops)->scratch_size;
        assert_true(ops->linear(ops, out, x, &linear, NULL, N, NULL));
        assert_true(ops->head_loss(ops, loss, x, &head, targets, N, NULL));
        ops->layer_norm_backward(ops, NULL, norm, norm + N_OUT, out, out, x, 1e-5F, N, N_OUT);
        assert_ptr_equal(cpu_of(ops)->scratch, scratch);
        assert_int_equal(cpu_of(ops)->scratch_size, size);
        ops_free(ops);
    }
    output_free(out);
    subjects_clear(s);
}
