// test_lora.c: adapters against PEFT's gradients and the book's draws, by finite differences, and the ways of computing
// them that must not change them.
#include "pass_fixture.h"

static const enum param matrices[] = {PARAM_ATTN_QKV_WEIGHT, PARAM_ATTN_PROJ_WEIGHT, PARAM_MLP_FC_WEIGHT,
                                      PARAM_MLP_PROJ_WEIGHT};
enum {
    N_MATRICES = 4,
    RANK = 3
};

// The tool's model "untied" with its adapters.
struct pupil {
    struct student student;
    struct lora lora;
};

static struct lora_options lora_options(int first_layer) {
    return (struct lora_options){
        .rank = RANK, .alpha = 5, .first_layer = first_layer, .head = true, .max_rows = N_TOKENS, .seed = 7};
}

static void pupil_init(struct pupil *pupil, const char *isa, int n_threads, int first_layer) {
    struct config config = base_config();
    config.tied_head = false;
    *pupil = (struct pupil){.student = student_new(&config, isa, n_threads)};
    student_fill(&pupil->student, 2);
    struct llm_error err = {0};
    const struct lora_options options = lora_options(first_layer);
    check(lora_init(&pupil->lora, pupil->student.engine, &pupil->student.weights, &options, &err), &err);
    int64_t n_params;
    assert_true(lora_bytes(&config, &options, &n_params) > 0);
    assert_int_equal(n_params, (config.n_layer - first_layer) * RANK * (18 + 54 + 18 + 18 + 18 + 72 + 72 + 18));
}

static void pupil_release(struct pupil *pupil) {
    lora_release(&pupil->lora);
    student_free(&pupil->student);
}

// The tool's B.
static void fill_b(struct pupil *pupil) {
    struct random random;
    struct llm_error err = {0};
    random_init(&random, 8);
    for (int i = 0; i < pupil->lora.n_adapters; i++) {
        const struct adapter *adapter = &pupil->lora.adapters[i];
        random_fill_normal(&random, lora_b(&pupil->lora, adapter, LORA_WEIGHT),
                           (size_t)lora_b_size(&pupil->lora, adapter), 0, 0.3);
    }
    check(lora_merge(&pupil->lora, &err), &err);
}

static struct pass_options adapters_of(const struct pupil *pupil, int first_layer) {
    struct pass_options options = everything();
    options.trainable = (struct trainable){.first_layer = first_layer, .adapters = true};
    options.lora = &pupil->lora;
    return options;
}

// Gradients of A and B anew, in the adapters.
static void study_adapters(struct pupil *pupil, const struct pass_options *options, const struct lesson *lesson,
                           struct random *random, float *losses) {
    struct llm_error err = {0};
    struct ops *ops = pupil->student.engine->ops;
    struct student part = {.engine = pupil->student.engine};
    check(param_block_init(&part.gradients, &part.engine->config, &options->trainable, ops, &err), &err);
    assert_int_equal(part.gradients.size, 0);
    struct pass *pass = student_pass(&pupil->student, options);
    memset(pupil->lora.numbers + LORA_GRADIENT * pupil->lora.size, 0, (size_t)pupil->lora.size * sizeof(float));
    study(&part, pass, lesson, NULL, random, losses);
    pass_free(pass);
    param_block_release(&part.gradients, ops);
}

static void compare(const char *what, const struct container *expected, const char *name, const float *found, size_t n,
                    float tolerance) {
    const struct tensor_view *view = container_find(expected, name);
    if (view == NULL) fail_msg("there is no %s", name);
    assert_int_equal(view->n_elements, n);
    const float difference = gradient_difference(found, (const float *)(const void *)view->data, n);
    if (!(difference <= tolerance)) fail_msg("%s: %s differs by %g", what, name, (double)difference);
}

static void compare_adapters(const struct pupil *pupil, const struct container *expected, const char *prefix,
                             const char *what) {
    for (int i = 0; i < pupil->lora.n_adapters; i++) {
        const struct adapter *adapter = &pupil->lora.adapters[i];
        char matrix[64], name[96];
        assert_true(dialect_tensor_name(&dialect_hf, adapter->param, adapter->layer, matrix, sizeof matrix));
        *strrchr(matrix, '.') = '\0';
        snprintf(name, sizeof name, "%s%s.A", prefix, matrix);
        compare(what, expected, name, lora_a(&pupil->lora, adapter, LORA_GRADIENT),
                (size_t)lora_a_size(&pupil->lora, adapter), 1e-5F);
        snprintf(name, sizeof name, "%s%s.B", prefix, matrix);
        compare(what, expected, name, lora_b(&pupil->lora, adapter, LORA_GRADIENT),
                (size_t)lora_b_size(&pupil->lora, adapter), 1e-5F);
    }
}

// ---- PEFT's numbers -------------------------------------------------------------------------

static void gradients_at(const char *isa, int n_threads) {
    struct container *expected = training_fixture("lora");
    struct pupil pupil;
    pupil_init(&pupil, isa, n_threads, 0);
    fill_b(&pupil);
    assert_int_equal(pupil.lora.n_adapters, 2 * N_MATRICES);
    struct lesson lesson;
    struct pass_options options = adapters_of(&pupil, 0);
    for (int i = 0; i < 2; i++, options.recompute = true) {
        float losses[N_TOKENS];
        lesson_of(&lesson, WANTED_MOST);
        study_adapters(&pupil, &options, &lesson, NULL, losses);
        compare_adapters(&pupil, expected, "", isa);
        const struct tensor_view *view = container_find(expected, "losses");
        assert_int_equal(view->n_elements, lesson.batch.n_rows);
        for (int row = 0; row < lesson.batch.n_rows; row++) {
            double loss;
            memcpy(&loss, view->data + (size_t)row * sizeof loss, sizeof loss);
            if (!(fabs((double)losses[row] - loss) <= 1e-5 * (1 + loss))) fail_msg("loss %d is %g", row, loss);
        }
        lesson_of(&lesson, WANTED_LAST);
        study_adapters(&pupil, &options, &lesson, NULL, NULL);
        compare_adapters(&pupil, expected, "last.", isa);
    }
    pupil_release(&pupil);
    container_free(expected);
}

static void gradients_are_those_of_peft(void **state) {
    (void)state;
    const char *levels[OPS_LEVELS];
    const int n_levels = available_levels(levels);
    for (int l = 0; l < n_levels; l++) gradients_at(levels[l], 1 + l % 3);
}

static void a_is_drawn_as_in_the_book_and_b_is_zero(void **state) {
    (void)state;
    struct container *expected = training_fixture("lora");
    struct pupil pupil;
    pupil_init(&pupil, "ref", 1, 0);
    for (int i = 0; i < pupil.lora.n_adapters; i++) {
        const struct adapter *adapter = &pupil.lora.adapters[i];
        assert_int_equal(adapter->param, matrices[i % N_MATRICES]);
        char name[64];
        assert_true(dialect_tensor_name(&dialect_hf, adapter->param, adapter->layer, name, sizeof name));
        strcpy(strrchr(name, '.'), ".initial");
        const size_t n = (size_t)lora_a_size(&pupil.lora, adapter);
        const struct tensor_view *view = container_find(expected, name);
        assert_non_null(view);
        assert_int_equal(view->n_elements, n);
        assert_memory_equal(view->data, lora_a(&pupil.lora, adapter, LORA_WEIGHT), n * sizeof(float));
        const float *b = lora_b(&pupil.lora, adapter, LORA_WEIGHT);
        for (int64_t k = 0; k < lora_b_size(&pupil.lora, adapter); k++) assert_true(b[k] == 0);
        assert_memory_equal(adapter->merged, adapter->base, (size_t)(adapter->n_in * adapter->n_out) * sizeof(float));
    }
    pupil_release(&pupil);
    container_free(expected);
}

// ---- By finite differences ------------------------------------------------------------------

static double total_loss(struct pupil *pupil, const struct pass_options *options, const struct lesson *lesson) {
    float losses[N_TOKENS];
    struct llm_error err = {0};
    check(lora_merge(&pupil->lora, &err), &err);
    study_adapters(pupil, options, lesson, NULL, losses);
    double sum = 0;
    for (int i = 0; i < lesson->batch.n_rows; i++) sum += (double)lesson->scales[i] * (double)losses[i];
    return sum;
}

static void gradients_are_slopes(void **state) {
    (void)state;
    struct pupil pupil;
    pupil_init(&pupil, NULL, 1, 1); // the last layer alone
    fill_b(&pupil);
    assert_int_equal(pupil.lora.n_adapters, N_MATRICES);
    struct lesson lesson;
    lesson_of(&lesson, WANTED_SCATTERED);
    const struct pass_options options = adapters_of(&pupil, 1);
    total_loss(&pupil, &options, &lesson);
    const float step = 1e-2F;
    for (int i = 0; i < 2 * pupil.lora.n_adapters; i++) {
        const struct adapter *adapter = &pupil.lora.adapters[i / 2];
        float *const weight = (i % 2 == 0 ? lora_a : lora_b)(&pupil.lora, adapter, LORA_WEIGHT) + 4;
        const float *const gradient = (i % 2 == 0 ? lora_a : lora_b)(&pupil.lora, adapter, LORA_GRADIENT) + 4;
        const float before = *weight, expected = *gradient;
        *weight = before + step;
        const double above = total_loss(&pupil, &options, &lesson);
        *weight = before - step;
        const double below = total_loss(&pupil, &options, &lesson);
        *weight = before;
        const double slope = (above - below) / (2 * (double)step);
        if (!(fabs(slope - (double)expected) <= 2e-3 * (1 + fabs(slope)))) {
            fail_msg("adapter %d: slope %g, gradient %g", i, slope, (double)expected);
        }
        total_loss(&pupil, &options, &lesson);
    }
    pupil_release(&pupil);
}

// ---- A classifier's head --------------------------------------------------------------------

enum {
    N_LABELS = 5,
    N_ROWS = 4
};

// Its matrix lies the other way round. dW = dout^T x, and by the chain rule through W' = W + scale (A B)^T.
static void the_heads_adapter_is_a_linears(void **state) {
    (void)state;
    struct config config = base_config();
    config.n_labels = N_LABELS;
    struct pupil pupil = {.student = student_new(&config, NULL, 1)};
    student_fill(&pupil.student, 3);
    struct llm_error err = {0};
    const struct lora_options options = lora_options(config.n_layer);
    check(lora_init(&pupil.lora, pupil.student.engine, &pupil.student.weights, &options, &err), &err);
    assert_int_equal(pupil.lora.n_adapters, 1);
    assert_null(lora_find(&pupil.lora, PARAM_MLP_FC_WEIGHT, 0));
    fill_b(&pupil);
    const struct adapter *head = lora_find(&pupil.lora, PARAM_SCORE, 0);
    assert_non_null(head);
    const int n_embd = config.n_embd;
    const float *a = lora_a(&pupil.lora, head, LORA_WEIGHT), *b = lora_b(&pupil.lora, head, LORA_WEIGHT);
    struct random random;
    random_init(&random, 9);
    float x[N_ROWS * 18], dout[N_ROWS * N_LABELS];
    random_fill_normal(&random, x, sizeof x / sizeof *x, 0, 1);
    random_fill_normal(&random, dout, sizeof dout / sizeof *dout, 0, 1);
    check(lora_backward(&pupil.lora, PARAM_SCORE, 0, 0, N_LABELS, dout, x, N_ROWS, &err), &err);
    float da[RANK * 18] = {0}, db[N_LABELS * RANK] = {0};
    for (int l = 0; l < N_LABELS; l++) {
        for (int d = 0; d < n_embd; d++) {
            float product = 0, dw = 0;
            for (int r = 0; r < RANK; r++) product += b[l * RANK + r] * a[r * n_embd + d];
            const float merged = head->base[l * n_embd + d] + 5.0F / RANK * product;
            assert_float_equal(head->merged[l * n_embd + d], merged, 1e-5);
            for (int n = 0; n < N_ROWS; n++) dw += dout[n * N_LABELS + l] * x[n * n_embd + d];
            for (int r = 0; r < RANK; r++) {
                da[r * n_embd + d] += 5.0F / RANK * b[l * RANK + r] * dw;
                db[l * RANK + r] += 5.0F / RANK * a[r * n_embd + d] * dw;
            }
        }
    }
    assert_true(gradient_difference(lora_a(&pupil.lora, head, LORA_GRADIENT), da, sizeof da / sizeof *da) < 1e-5F);
    assert_true(gradient_difference(lora_b(&pupil.lora, head, LORA_GRADIENT), db, sizeof db / sizeof *db) < 1e-5F);
    pupil_release(&pupil);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_peft),
        cmocka_unit_test(a_is_drawn_as_in_the_book_and_b_is_zero),
        cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(the_heads_adapter_is_a_linears),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
