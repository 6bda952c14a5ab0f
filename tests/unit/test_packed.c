// test_packed.c: What all examples of a batch begin with is computed once, and changes no loss and no gradient.
#include "pass_fixture.h"
#include "train/packed.h"

enum {
    N_EXAMPLES = 4,
    MAX_LENGTH = 16,
    MAX_PACKED = N_EXAMPLES * MAX_LENGTH
};

static const int lengths[N_EXAMPLES] = {9, 16, 8, 12};

enum targets {
    EVERYWHERE,
    AT_THE_END, // few rows leave the last layer
    SCATTERED
};

static bool has_target(enum targets targets, int t, int length) {
    return targets == EVERYWHERE || (targets == AT_THE_END ? t == length - 1 : t % 6 == 2 || t % 6 == 3);
}

// Examples whose first n_common ids are the same; the last of them is followed by different ones.
static void pack(struct packed *packed, int n_common, enum targets targets) {
    packed_clear(packed);
    for (int s = 0; s < N_EXAMPLES; s++) {
        int32_t ids[MAX_LENGTH + 1], wanted[MAX_LENGTH];
        for (int t = 0; t <= MAX_LENGTH; t++)
            ids[t] = (lesson_id(t < n_common ? 0 : s, t) + (t >= n_common) * s) % VOCABULARY;
        for (int t = 0; t < MAX_LENGTH; t++) wanted[t] = has_target(targets, t, lengths[s]) ? ids[t + 1] : NO_TARGET;
        packed_add(packed, s, &(struct train_example){.ids = ids, .targets = wanted, .n = lengths[s]}, 1);
    }
}

struct bench {
    struct student student;
    struct pass *pass;
    struct packed packed;
};

static struct bench bench_new(const char *isa, bool recompute) {
    struct config config = base_config();
    struct llm_error err = {0};
    struct bench bench = {.student = student_new(&config, isa, 0)};
    student_fill(&bench.student, 11);
    const struct pass_options options = {.trainable = trainable_all(),
                                         .max_tokens = MAX_PACKED,
                                         .max_rows = MAX_PACKED,
                                         .max_sequences = N_EXAMPLES + 1,
                                         .max_unshared = MAX_PACKED + MAX_LENGTH,
                                         .recompute = recompute};
    bench.pass = student_pass(&bench.student, &options);
    check(packed_init(&bench.packed, MAX_PACKED, N_EXAMPLES, &err), &err);
    return bench;
}

static void bench_free(struct bench *bench) {
    packed_release(&bench->packed);
    pass_free(bench->pass);
    student_free(&bench->student);
}

// The mean loss of the batch as it is packed, and its gradients; the caller frees them.
static float *gradients(struct bench *bench, double *mean) {
    struct llm_error err = {0};
    struct ops *ops = bench->student.engine->ops;
    const struct packed *packed = &bench->packed;
    float scales[MAX_PACKED];
    float *losses = ops->alloc(ops, sizeof scales);
    for (int i = 0, sequence = 0; i < packed->batch.n_rows; i++) {
        scales[i] = (float)packed_weight(packed, i, &sequence) / (float)packed->n_targets;
    }
    forget(&bench->student);
    check(pass_language(bench->pass, &packed->batch, NULL, packed->targets, scales, losses, &bench->student.gradients,
                        NULL, &err),
          &err);
    *mean = 0;
    for (int i = 0; i < packed->batch.n_rows; i++) *mean += (double)scales[i] * (double)losses[i];
    ops->free(ops, losses);
    const size_t bytes = (size_t)bench->student.gradients.size * sizeof(float);
    float *copy = malloc(bytes);
    assert_non_null(copy);
    memcpy(copy, bench->student.gradients.data, bytes);
    return copy;
}

static void compare(struct bench *bench, int n_common, enum targets targets) {
    double apart, shared;
    pack(&bench->packed, n_common, targets);
    const int n_tokens = bench->packed.batch.n_tokens, n_targets = bench->packed.batch.n_rows;
    float *expected = gradients(bench, &apart);
    packed_share(&bench->packed);
    const int n_prefix = bench->packed.batch.n_prefix;
    // The last common token predicts different ones.
    assert_int_equal(n_prefix, has_target(targets, n_common - 1, MAX_LENGTH) ? n_common - 1 : n_common);
    assert_int_equal(bench->packed.batch.n_sequences, N_EXAMPLES + 1);
    assert_int_equal(bench->packed.batch.n_tokens, n_tokens - (N_EXAMPLES - 1) * n_prefix);
    assert_int_equal(bench->packed.n_tokens, n_tokens);
    assert_int_equal(bench->packed.n_targets, n_targets);
    float *found = gradients(bench, &shared);
    assert_true(fabs(apart - shared) < 1e-6 * apart);
    const struct config *config = &bench->student.engine->config;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            const int64_t at =
                param_block_at(&bench->student.gradients, (enum param)p, layer) - bench->student.gradients.data;
            const float difference =
                gradient_difference(found + at, expected + at, (size_t)param_size(config, (enum param)p));
            if (!(difference <= 1e-5F)) fail_msg("%s differs by %g", params[p].name, (double)difference);
        }
    }
    free(expected);
    free(found);
}

static void a_shared_beginning_changes_no_gradient(void **state) {
    (void)state;
    const char *levels[OPS_LEVELS];
    const int n_levels = available_levels(levels);
    for (int l = 0; l < n_levels; l++) {
        for (int recompute = 0; recompute < 2; recompute++) {
            struct bench bench = bench_new(levels[l], recompute == 1);
            for (enum targets targets = EVERYWHERE; targets <= SCATTERED; targets++) {
                for (int n_common = 5; n_common <= 7; n_common++) compare(&bench, n_common, targets);
            }
            bench_free(&bench);
        }
    }
}

static void add(struct packed *packed, const char *ids, const char *targets, double weight) {
    int32_t numbers[MAX_LENGTH], wanted[MAX_LENGTH];
    const int n = (int)strlen(ids);
    for (int t = 0; t < n; t++) {
        numbers[t] = (unsigned char)ids[t];
        wanted[t] = targets[t] == '-' ? NO_TARGET : (unsigned char)targets[t];
    }
    packed_add(packed, 0, &(struct train_example){.ids = numbers, .targets = wanted, .n = n}, weight);
}

static void expect_ids(const int32_t *found, const char *expected, int n) {
    assert_int_equal(n, strlen(expected));
    for (int i = 0; i < n; i++) assert_int_equal(found[i], expected[i]);
}

static void what_is_shared(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct packed packed;
    check(packed_init(&packed, MAX_PACKED, N_EXAMPLES, &err), &err);

    add(&packed, "abcdefg", "-c-e-gh", 1);
    add(&packed, "abcdex", "-c-e-y", 20);
    add(&packed, "abcdef", "-c-e--", 300);
    assert_int_equal(packed_shared_tokens(&packed), 9);
    assert_int_equal(packed_unshared_keys(&packed), 24);
    packed_share(&packed);
    const struct batch *batch = &packed.batch;
    assert_int_equal(batch->n_prefix, 5);
    expect_ids(batch->ids, "abcdefgxf", batch->n_tokens);
    expect_ids(packed.targets, "ceghy", batch->n_rows);
    static const int32_t rows[] = {1, 3, 5, 6, 7}, positions[] = {0, 1, 2, 3, 4, 5, 6, 5, 5},
                         starts[] = {0, 5, 7, 8, 9};
    static const double weights[] = {321, 321, 1, 1, 20};
    assert_memory_equal(batch->rows, rows, sizeof rows);
    assert_memory_equal(batch->positions, positions, sizeof positions);
    assert_memory_equal(batch->starts, starts, sizeof starts);
    for (int i = 0, sequence = 0; i < 5; i++) assert_true(packed_weight(&packed, i, &sequence) == weights[i]);
    assert_int_equal(packed.n_tokens, 19);
    assert_int_equal(packed.n_targets, 9);

    // Every example keeps a token of its own; targets count; three tokens are not worth it; one example shares nothing.
    static const struct {
        const char *ids[2], *targets[2];
        int n_prefix;
    } cases[] = {
        {{"abcdef", "abcdef"}, {"------", "------"}, 5}, {{"abcde", "abcdefgh"}, {"-----", "--------"}, 4},
        {{"abcdef", "abcdef"}, {"-----g", "----fg"}, 4}, {{"abcdef", "abcxef"}, {"------", "------"}, 0},
        {{"xbcdef", "abcdef"}, {"------", "------"}, 0}, {{"abcdef", "a"}, {"------", "-"}, 0},
        {{"abcdefgh", NULL}, {"--------", NULL}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        packed_clear(&packed);
        for (int s = 0; s < 2 && cases[i].ids[s] != NULL; s++) add(&packed, cases[i].ids[s], cases[i].targets[s], 1);
        const int n_tokens = packed_shared_tokens(&packed);
        packed_share(&packed);
        assert_int_equal(packed.batch.n_tokens, n_tokens);
        assert_int_equal(packed.batch.n_prefix, cases[i].n_prefix);
    }
    packed_release(&packed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_shared),
        cmocka_unit_test(a_shared_beginning_changes_no_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
