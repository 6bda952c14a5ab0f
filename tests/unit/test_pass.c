// test_pass.c: losses and gradients of the training pass against PyTorch's, and the ways of computing them that
// must not change them: recomputing, packing, accumulating, freezing, threads.
#include "pass_fixture.h"

static const struct variant {
    const char *name;
    enum activation activation;
    int n_layer, n_inner;
    bool is_untied, by_layer, no_scale;
} variants[] = {
    {"tied", ACTIVATION_GELU_TANH, 2, 72, false, false, false},
    {"untied", ACTIVATION_GELU_TANH, 2, 72, true, false, false},
    {"gelu", ACTIVATION_GELU_ERF, 2, 72, false, false, false},
    {"relu", ACTIVATION_RELU, 2, 72, false, false, false},
    {"bylayer", ACTIVATION_GELU_TANH, 3, 72, false, true, false},
    {"noscale", ACTIVATION_GELU_TANH, 2, 29, false, false, true},
};
enum {
    N_VARIANTS = sizeof variants / sizeof *variants
};

static struct config variant_config(const struct variant *variant) {
    struct config config = base_config();
    config.activation = variant->activation;
    config.n_layer = variant->n_layer;
    config.n_inner = variant->n_inner;
    config.tied_head = !variant->is_untied;
    config.scale_attn_by_layer = variant->by_layer;
    config.scale_attn_weights = !variant->no_scale;
    return config;
}

// What the issue promises: 1e-5 relative to the largest of a tensor's gradients.
static const float tolerance = 1e-5F;

static void compare_losses(const float *losses, int n, const struct container *expected, const char *what) {
    const struct tensor_view *view = container_find(expected, "losses");
    assert_non_null(view);
    assert_int_equal(view->n_elements, n);
    for (int i = 0; i < n; i++) {
        double loss;
        memcpy(&loss, view->data + (size_t)i * sizeof loss, sizeof loss);
        if (!(fabs((double)losses[i] - loss) <= 1e-5 * (1 + loss))) {
            fail_msg("%s: loss %d is %.9g, %.9g was expected", what, i, (double)losses[i], loss);
        }
    }
}

// One pass over `lesson`, with everything trained, against the fixture `name`.
static void compare_pass(struct student *student, const struct pass_options *options, const struct lesson *lesson,
                         struct random *random, const char *name) {
    struct container *expected = training_fixture(name);
    struct pass *pass = student_pass(student, options);
    char what[64];
    snprintf(what, sizeof what, "%s, %s%s", name, ops_level_name(student->engine->ops->level),
             options->recompute ? ", recomputed" : "");
    float losses[N_TOKENS];
    forget(student);
    study(student, pass, lesson, NULL, random, losses);
    compare_losses(losses, lesson->batch.n_rows, expected, what);
    compare_gradients(student, expected, tolerance, what);
    pass_free(pass);
    container_free(expected);
}

static void on_all_levels(void (*test)(const char *isa)) {
    const char *levels[OPS_LEVELS];
    const int n_levels = available_levels(levels);
    for (int l = 0; l < n_levels; l++) test(levels[l]);
}

// ---- PyTorch's numbers ----------------------------------------------------------------------

static void variants_at(const char *isa) {
    struct lesson lesson;
    lesson_packed(&lesson);
    for (int v = 0; v < N_VARIANTS; v++) {
        const struct config config = variant_config(&variants[v]);
        struct student student = student_new(&config, isa, 0);
        struct pass_options options = everything();
        student_fill(&student, (uint64_t)v + 1);
        compare_pass(&student, &options, &lesson, NULL, variants[v].name);
        options.recompute = true;
        compare_pass(&student, &options, &lesson, NULL, variants[v].name);
        student_free(&student);
    }
}

static void gradients_of_every_parameter_are_those_of_pytorch(void **state) {
    (void)state;
    on_all_levels(variants_at);
}

// Of the last layer little but keys and values is computed.
static void few_rows_at(const char *isa) {
    static const char *const names[] = {[WANTED_LAST] = "last", [WANTED_SCATTERED] = "scattered"};
    const struct config config = variant_config(&variants[1]);
    struct student student = student_new(&config, isa, 0);
    student_fill(&student, 2);
    for (enum wanted wanted = WANTED_LAST; wanted <= WANTED_SCATTERED; wanted++) {
        struct lesson lesson;
        lesson_of(&lesson, wanted);
        struct pass_options options = everything();
        compare_pass(&student, &options, &lesson, NULL, names[wanted]);
        options.recompute = true;
        compare_pass(&student, &options, &lesson, NULL, names[wanted]);
    }
    student_free(&student);
}

static void so_are_those_of_batches_with_few_wanted_rows(void **state) {
    (void)state;
    on_all_levels(few_rows_at);
}

static struct student book_student(const struct config *config, const char *isa) {
    struct student student = student_new(config, isa, 0);
    struct random random;
    struct llm_error err = {0};
    random_init(&random, 123);
    check(init_book(config, &student.weights, &random, &err), &err);
    return student;
}

static void book_at(const char *isa) {
    const struct config config = book_config();
    struct lesson lesson;
    lesson_packed(&lesson);
    struct student student = book_student(&config, isa);
    const struct pass_options options = everything();
    compare_pass(&student, &options, &lesson, NULL, "book");
    student_free(&student);
}

static void so_are_those_of_the_books_model(void **state) {
    (void)state;
    on_all_levels(book_at);
}

static struct pass_options dropping(void) {
    struct pass_options options = everything();
    options.dropout_embedding = options.dropout_attention = options.dropout_residual = 0.3;
    return options;
}

// Two sequences of the same length: as a tensor [2, 13] of PyTorch's.
static void lesson_equal(struct lesson *lesson) {
    *lesson = (struct lesson){0};
    for (int s = 0; s < 2; s++) lesson_add(lesson, s, 13, WANTED_EVERY, 1.0F / 26);
}

static void dropout_at(const char *isa) {
    struct config config = book_config();
    config.qkv_bias = true;
    struct lesson lesson;
    lesson_equal(&lesson);
    struct student student = book_student(&config, isa);
    struct pass_options options = dropping();
    for (int i = 0; i < 2; i++, options.recompute = true) {
        struct random random;
        random_init(&random, 7);
        compare_pass(&student, &options, &lesson, &random, "dropout");
        struct container *expected = training_fixture("dropout");
        const float *next = (const float *)(const void *)container_find(expected, "next")->data;
        for (int n = 0; n < 4; n++) assert_true(random_float(&random) == next[n]);
        container_free(expected);
    }
    student_free(&student);
}

static void dropout_drops_what_pytorch_drops(void **state) {
    (void)state;
    on_all_levels(dropout_at);
}

// ---- Ways to the same numbers ---------------------------------------------------------------

static struct student filled_student(const struct config *config, const char *isa, int n_threads) {
    struct student student = student_new(config, isa, n_threads);
    student_fill(&student, 1);
    return student;
}

// A copy of all gradients, to be freed.
static float *remember(const struct student *student) {
    const size_t bytes = (size_t)student->gradients.size * sizeof(float);
    float *copy = malloc(bytes);
    assert_non_null(copy);
    return memcpy(copy, student->gradients.data, bytes);
}

static void assert_same_bits(const struct student *student, const float *gradients) {
    assert_memory_equal(student->gradients.data, gradients, (size_t)student->gradients.size * sizeof *gradients);
}

// Up to rounding: other shapes of products sum in other orders.
static void assert_close(const struct student *student, const float *gradients) {
    const struct config *config = &student->engine->config;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            const float *found = param_block_at(&student->gradients, (enum param)p, layer);
            const float *expected = gradients + (found - student->gradients.data);
            const float difference = gradient_difference(found, expected, (size_t)param_size(config, (enum param)p));
            if (!(difference <= tolerance)) fail_msg("%s differs by %g", params[p].name, (double)difference);
        }
    }
}

static void recomputing_at(const char *isa) {
    const struct config config = variant_config(&variants[4]);
    struct student student = filled_student(&config, isa, 0);
    for (int i = 0; i < 6; i++) {
        const bool with_dropout = i % 2 == 1;
        struct lesson lesson;
        lesson_of(&lesson, WANTED_MOST + (enum wanted)(i / 2));
        struct pass_options options = with_dropout ? dropping() : everything();
        float *kept = NULL;
        for (int again = 0; again < 2; again++, options.recompute = true) {
            struct random random;
            random_init(&random, 5);
            struct pass *pass = student_pass(&student, &options);
            forget(&student);
            study(&student, pass, &lesson, NULL, with_dropout ? &random : NULL, NULL);
            if (again == 0) kept = remember(&student);
            assert_same_bits(&student, kept);
            pass_free(pass);
        }
        free(kept);
    }
    student_free(&student);
}

static void recomputing_gives_the_same_bits(void **state) {
    (void)state;
    on_all_levels(recomputing_at);
}

// Whatever was in the arrays from the batch before, longer and with dropout.
static void a_pass_is_like_a_fresh_one(void **state) {
    (void)state;
    const struct config config = book_config();
    struct student student = filled_student(&config, NULL, 0);
    struct lesson lesson, other;
    lesson_equal(&lesson);
    lesson_packed(&other);
    const struct pass_options options = dropping();
    struct pass *pass = student_pass(&student, &options);
    study(&student, pass, &lesson, NULL, NULL, NULL);
    forget(&student);
    study(&student, pass, &lesson, NULL, NULL, NULL);
    float *fresh = remember(&student);
    struct random random;
    random_init(&random, 5);
    study(&student, pass, &other, NULL, &random, NULL);
    forget(&student);
    study(&student, pass, &lesson, NULL, NULL, NULL);
    assert_same_bits(&student, fresh);
    free(fresh);
    pass_free(pass);
    student_free(&student);
}

static void packed_at(const char *isa) {
    const struct config config = base_config();
    struct student student = filled_student(&config, isa, 0);
    const struct pass_options options = everything();
    struct pass *pass = student_pass(&student, &options);
    for (enum wanted wanted = WANTED_MOST; wanted <= WANTED_SCATTERED; wanted++) {
        struct lesson lesson;
        forget(&student);
        for (int s = 0; s < N_SEQUENCES; s++) {
            lesson = (struct lesson){0};
            lesson_add(&lesson, s, lesson_lengths[s], wanted, 0);
            study(&student, pass, &lesson, NULL, NULL, NULL); // accumulates
        }
        float *apart = remember(&student);
        forget(&student);
        lesson_of(&lesson, wanted);
        study(&student, pass, &lesson, NULL, NULL, NULL);
        assert_close(&student, apart);
        free(apart);
    }
    pass_free(pass);
    student_free(&student);
}

// Accumulating batches of one is the same as one batch of all, and sequences of a batch do not see each other.
static void packed_is_the_same_as_one_after_another(void **state) {
    (void)state;
    on_all_levels(packed_at);
}

// Rows that nobody wants are the same as rows whose loss has no weight.
static void unwanted_rows_are_rows_without_weight(void **state) {
    (void)state;
    const struct config config = base_config();
    struct student student = filled_student(&config, NULL, 0);
    const struct pass_options options = everything();
    struct pass *pass = student_pass(&student, &options);
    struct lesson lesson = {0};
    for (int s = 0; s < 2; s++) lesson_add(&lesson, s, 13, WANTED_EVERY, 0);
    lesson.scales[4] = lesson.scales[17] = 0.5F;
    study(&student, pass, &lesson, NULL, NULL, NULL);
    float *weighed = remember(&student);
    forget(&student);
    lesson.rows[0] = 4;
    lesson.rows[1] = 17;
    lesson.targets[0] = lesson.targets[4];
    lesson.targets[1] = lesson.targets[17];
    lesson.scales[0] = lesson.scales[1] = 0.5F;
    lesson.batch.n_rows = 2;
    study(&student, pass, &lesson, NULL, NULL, NULL);
    assert_close(&student, weighed);
    forget(&student);
    memset(weighed, 0, (size_t)student.gradients.size * sizeof *weighed);
    lesson.batch.n_rows = 0;
    study(&student, pass, &lesson, NULL, NULL, NULL);
    assert_same_bits(&student, weighed);
    free(weighed);
    pass_free(pass);
    student_free(&student);
}

// Gradients of the trained parameters are those of training everything, in a block of their own, up to rounding: frozen
// layers fuse the activation, as running a model does.
static void compare_frozen(struct student *student, const struct lesson *lesson, const struct trainable *trainable,
                           bool with_entering, const float *all) {
    struct llm_error err = {0};
    const struct config *config = &student->engine->config;
    struct ops *ops = student->engine->ops;
    struct pass_options options = everything();
    options.trainable = *trainable;
    struct pass *pass = student_pass(student, &options);
    struct student part = {.engine = student->engine};
    check(param_block_init(&part.gradients, config, trainable, ops, &err), &err);
    assert_int_equal(part.gradients.size * (int64_t)sizeof(float), param_block_bytes(config, trainable));
    float *entering = ops->alloc(ops, (size_t)N_TOKENS * (size_t)config->n_embd * sizeof *entering);
    if (with_entering) check(pass_entering(pass, &lesson->batch, entering, &err), &err);
    study(&part, pass, lesson, with_entering ? entering : NULL, NULL, NULL);
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            const float *found = param_block_at(&part.gradients, (enum param)p, layer);
            assert_int_equal(found != NULL, param_trainable(trainable, config, (enum param)p, layer));
            if (found == NULL) continue;
            const float *expected =
                all + (param_block_at(&student->gradients, (enum param)p, layer) - student->gradients.data);
            const size_t n = (size_t)param_size(config, (enum param)p);
            const float difference = gradient_difference(found, expected, n);
            if (!(difference <= tolerance)) fail_msg("%s differs by %g", params[p].name, (double)difference);
        }
    }
    ops->free(ops, entering);
    param_block_release(&part.gradients, ops);
    pass_free(pass);
}

static void frozen_at(const char *isa) {
    struct config config = base_config();
    config.n_layer = 3;
    config.tied_head = false;
    struct student student = filled_student(&config, isa, 0);
    const struct pass_options options = everything();
    struct pass *pass = student_pass(&student, &options);
    for (enum wanted wanted = WANTED_MOST; wanted <= WANTED_SCATTERED; wanted++) {
        struct lesson lesson;
        lesson_of(&lesson, wanted);
        forget(&student);
        study(&student, pass, &lesson, NULL, NULL, NULL);
        float *all = remember(&student);
        for (int first = 0; first <= config.n_layer; first++) {
            for (int choice = 0; choice < 4; choice++) {
                const struct trainable trainable = {
                    .first_layer = first, .final_norm = (choice & 1) == 0, .head = (choice & 2) == 0};
                compare_frozen(&student, &lesson, &trainable, false, all);
                compare_frozen(&student, &lesson, &trainable, true, all);
            }
        }
        free(all);
    }
    pass_free(pass);
    student_free(&student);
}

static void frozen_layers_change_no_gradient(void **state) {
    (void)state;
    on_all_levels(frozen_at);
}

static void threads_with(const char *isa, enum wanted wanted) {
    const struct config config = base_config();
    struct lesson lesson;
    lesson_of(&lesson, wanted);
    float *one = NULL;
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        struct student student = filled_student(&config, isa, n_threads);
        const struct pass_options options = everything();
        struct pass *pass = student_pass(&student, &options);
        study(&student, pass, &lesson, NULL, NULL, NULL);
        if (n_threads == 1) one = remember(&student);
        assert_close(&student, one);
        float *first = remember(&student);
        forget(&student);
        study(&student, pass, &lesson, NULL, NULL, NULL);
        assert_same_bits(&student, first); // the same each time
        free(first);
        pass_free(pass);
        student_free(&student);
    }
    free(one);
}

static void threads_at(const char *isa) {
    threads_with(isa, WANTED_MOST);
    threads_with(isa, WANTED_SCATTERED);
}

static void thread_counts_agree(void **state) {
    (void)state;
    on_all_levels(threads_at);
}

// ---- The gradient is the slope --------------------------------------------------------------

static double total_loss(struct student *student, struct pass *pass, const struct lesson *lesson) {
    float losses[N_TOKENS];
    study(student, pass, lesson, NULL, NULL, losses);
    double total = 0;
    for (int i = 0; i < lesson->batch.n_rows; i++) total += (double)losses[i] * (double)lesson->scales[i];
    return total;
}

// Along the gradient of one parameter at a time, u = g / |g|: (L(w + h u) - L(w - h u)) / 2h = |g|. The rounding of the
// losses makes this uncertain by about 1e-7 / h, the third derivative by h^2 of it.
static void compare_slope(struct student *student, struct pass *pass, const struct lesson *lesson, enum param param,
                          int layer) {
    const size_t n = (size_t)param_size(&student->engine->config, param);
    float *weights = param_block_at(&student->weights, param, layer);
    const float *gradient = param_block_at(&student->gradients, param, layer);
    float *direction = malloc(n * sizeof *direction);
    float *before = malloc(n * sizeof *before);
    forget(student);
    total_loss(student, pass, lesson);
    double slope = 0;
    for (size_t i = 0; i < n; i++) slope += (double)gradient[i] * (double)gradient[i];
    slope = sqrt(slope);
    memcpy(direction, gradient, n * sizeof *direction);
    memcpy(before, weights, n * sizeof *before);
    const double h = 4e-3;
    double ends[2];
    for (int side = 0; side < 2; side++) {
        const double step = (side == 0 ? h : -h) / slope;
        for (size_t i = 0; i < n; i++) weights[i] = (float)((double)before[i] + step * (double)direction[i]);
        ends[side] = total_loss(student, pass, lesson);
    }
    memcpy(weights, before, n * sizeof *weights);
    const double found = (ends[0] - ends[1]) / (2 * h);
    if (!(fabs(found - slope) <= 1e-3 * slope + 1e-4)) {
        fail_msg("%s %d: the slope is %.6g, the gradient says %.6g", params[param].name, layer, found, slope);
    }
    assert_true(slope > 1e-2); // else this would compare noise
    free(before);
    free(direction);
}

static void finite_differences_agree(void **state) {
    (void)state;
    const struct config config = book_config();
    struct lesson lesson;
    lesson_packed(&lesson);
    struct student student = filled_student(&config, "ref", 1);
    const struct pass_options options = everything();
    struct pass *pass = student_pass(&student, &options);
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(&config, (enum param)p); layer++) {
            compare_slope(&student, pass, &lesson, (enum param)p, layer);
        }
    }
    pass_free(pass);
    student_free(&student);
}

// ---- The rest -------------------------------------------------------------------------------

// What evaluation computes of the same weights.
static void losses_are_those_of_evaluation(void **state) {
    (void)state;
    static const char *const names[] = {"prefix", "untied", "gelu", "relu", "bylayer", "openai", "f16", "bf16"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct llm_error err = {0};
        struct student student = {.engine = fixture_engine(names[i], NULL, 0)};
        struct llm_engine *engine = student.engine;
        struct lesson lesson;
        lesson_packed(&lesson);
        struct activations activations;
        check(activations_init(&activations, engine, N_TOKENS, N_TOKENS, N_SEQUENCES, false, &err), &err);
        float expected[N_TOKENS], losses[N_TOKENS];
        check(forward_losses(engine, &activations, &lesson.batch, lesson.targets, expected, &err), &err);
        check(engine_own_weights(engine, &student.weights, &err), &err);
        check(param_block_init(&student.gradients, &engine->config, NULL, engine->ops, &err), &err);
        const struct pass_options options = everything();
        struct pass *pass = student_pass(&student, &options);
        study(&student, pass, &lesson, NULL, NULL, losses);
        for (int r = 0; r < lesson.batch.n_rows; r++) {
            assert_true(fabsf(losses[r] - expected[r]) <= 2e-5F * (1 + expected[r]));
        }
        // The engine itself computes with what training has.
        check(forward_losses(engine, &activations, &lesson.batch, lesson.targets, losses, &err), &err);
        for (int r = 0; r < lesson.batch.n_rows; r++) {
            assert_true(fabsf(losses[r] - expected[r]) <= 2e-5F * (1 + expected[r]));
        }
        memset(param_block_at(&student.weights, PARAM_LN_F_WEIGHT, 0), 0, 24 * sizeof(float));
        memset(param_block_at(&student.weights, PARAM_LN_F_BIAS, 0), 0, 24 * sizeof(float));
        check(forward_losses(engine, &activations, &lesson.batch, lesson.targets, losses, &err), &err);
        for (int r = 0; r < lesson.batch.n_rows; r++) {
            assert_true(fabsf(losses[r] - logf((float)engine->config.vocab_size)) < 1e-5F);
        }
        pass_free(pass);
        activations_release(&activations, engine);
        student_free(&student);
    }
}

static void nonsense_is_refused(void **state) {
    (void)state;
    static const struct {
        struct pass_options options;
        const char *sentence;
    } cases[] = {
        {{.trainable = {.first_layer = 3}}, "the first trained layer is 3, 0 to 2 was expected"},
        {{.trainable = {.first_layer = -1}}, "the first trained layer is -1, 0 to 2 was expected"},
        {{.trainable = {.first_layer = 1, .embeddings = true}},
         "the embeddings cannot be trained while layers above them are frozen (the first trained one is 1)"},
        {{.dropout_embedding = 1}, "the dropout of embeddings is 1, a number from 0 to below 1 was expected"},
        {{.dropout_attention = -0.5}, "the dropout of attention is -0.5, a number from 0 to below 1 was expected"},
        {{.dropout_residual = NAN},
         "the dropout of the residual stream is nan, a number from 0 to below 1 was expected"},
    };
    const struct config config = base_config();
    struct student student = student_new(&config, "ref", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct llm_error err = {0};
        assert_null(pass_new(student.engine, &cases[i].options, &err));
        assert_string_equal(err.text, cases[i].sentence);
    }
    student_free(&student);
}

// The 124M GPT-2 with batch 4 of 256 tokens, the measure: about 0.4 GB beside weights, gradients and moments.
static void memory_is_what_was_promised(void **state) {
    (void)state;
    struct config config = base_config();
    config.n_layer = config.n_head = 12;
    config.n_embd = 768;
    config.n_inner = 3072;
    config.n_ctx = 1024;
    config.vocab_size = 50257;
    struct pass_options options = {
        .trainable = trainable_all(), .max_tokens = 1024, .max_rows = 1024, .max_sequences = 4, .max_length = 256};
    const int64_t kept = pass_bytes(&config, &options);
    assert_true(kept < 430000000);
    assert_true(kept > 377000000); // 10 n_embd floats a token and layer
    options.recompute = true;
    assert_true(pass_bytes(&config, &options) < 120000000);
    assert_int_equal(param_block_bytes(&config, NULL) / 4, 124439808);
    options.max_tokens = options.max_rows = INT32_MAX;
    options.dropout_attention = 0.1;
    config.n_ctx = options.max_length = 1 << 20;
    config.n_layer = config.n_head = 1 << 14;
    assert_int_equal(pass_bytes(&config, &options), INT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_every_parameter_are_those_of_pytorch),
        cmocka_unit_test(so_are_those_of_batches_with_few_wanted_rows),
        cmocka_unit_test(so_are_those_of_the_books_model),
        cmocka_unit_test(dropout_drops_what_pytorch_drops),
        cmocka_unit_test(recomputing_gives_the_same_bits),
        cmocka_unit_test(a_pass_is_like_a_fresh_one),
        cmocka_unit_test(packed_is_the_same_as_one_after_another),
        cmocka_unit_test(unwanted_rows_are_rows_without_weight),
        cmocka_unit_test(frozen_layers_change_no_gradient),
        cmocka_unit_test(thread_counts_agree),
        cmocka_unit_test(finite_differences_agree),
        cmocka_unit_test(losses_are_those_of_evaluation),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(memory_is_what_was_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
