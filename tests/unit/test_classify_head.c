// test_classify_head.c: a head without bias gives the logits of the one with, the likeliest label is found, and
// weighted losses are PyTorch's.
#include "data_support.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "tasks/classify.h"

enum {
    N_EMBD = 7,
    MOST_LABELS = 9
};

struct small_head {
    struct config config;
    float score[MOST_LABELS * N_EMBD], bias[MOST_LABELS], norm[N_EMBD], before[N_EMBD];
};

static void small_head_init(struct small_head *head, int n_labels) {
    struct random random;
    random_init(&random, (uint64_t)n_labels);
    *head = (struct small_head){.config = {.n_embd = N_EMBD, .n_labels = n_labels}};
    random_fill_normal(&random, head->score, (size_t)n_labels * N_EMBD, 0, 1);
    random_fill_normal(&random, head->bias, (size_t)n_labels, 0, 1);
    random_fill_normal(&random, head->norm, N_EMBD, 0, 1);
    memcpy(head->before, head->norm, sizeof head->norm);
}

static bool fold(struct small_head *head) {
    struct llm_error err = {0};
    bool folded = false;
    assert_true(classify_fold_bias(&head->config, head->score, head->bias, head->norm, &folded, &err));
    return folded;
}

// W d = c, and d the shortest such vector: a sum of W's rows, so at a right angle to what W maps to nothing.
static void a_folded_bias_gives_the_same_logits(void **state) {
    (void)state;
    for (int n_labels = 2; n_labels <= N_EMBD; n_labels++) {
        struct small_head head;
        small_head_init(&head, n_labels);
        assert_true(fold(&head));
        double length = 0, others = 0;
        for (int d = 0; d < N_EMBD; d++) {
            const double moved = (double)head.norm[d] - (double)head.before[d];
            length += moved * moved;
        }
        for (int l = 0; l < n_labels; l++) {
            double logit = 0;
            for (int d = 0; d < N_EMBD; d++) {
                logit += (double)head.score[l * N_EMBD + d] * ((double)head.norm[d] - (double)head.before[d]);
            }
            assert_true(fabs(logit - (double)head.bias[l]) < 1e-4);
            others += fabs((double)head.bias[l]);
        }
        assert_true(others > 0.1 && length > 1e-3);
    }
    // Of one direction alone, the shortest d is along it.
    struct small_head head;
    small_head_init(&head, 2);
    memset(head.score, 0, sizeof head.score);
    head.score[0] = 2;
    head.score[N_EMBD + 3] = 4;
    assert_true(fold(&head));
    for (int d = 0; d < N_EMBD; d++) {
        const float expected = d == 0 ? head.bias[0] / 2 : d == 3 ? head.bias[1] / 4 : 0;
        assert_float_equal(head.norm[d] - head.before[d], expected, 1e-5);
    }
}

static void a_bias_that_cannot_be_folded_stays(void **state) {
    (void)state;
    struct small_head head;
    small_head_init(&head, N_EMBD + 1); // more labels than the model is wide
    assert_false(fold(&head));
    assert_memory_equal(head.norm, head.before, sizeof head.norm);
    small_head_init(&head, 3);
    memcpy(head.score + 2 * N_EMBD, head.score, N_EMBD * sizeof *head.score); // two equal rows, two biases
    assert_false(fold(&head));
    assert_memory_equal(head.norm, head.before, sizeof head.norm);
}

// torch.softmax(torch.tensor([...]), 0) of each.
static void probabilities_are_those_of_pytorch(void **state) {
    (void)state;
    float probabilities[3];
    const float plain[] = {1, 2, 0.5F};
    assert_int_equal(classify_softmax(plain, 3, probabilities), 1);
    assert_float_equal(probabilities[0], 0.2312239, 1e-6);
    assert_float_equal(probabilities[1], 0.6285317, 1e-6);
    assert_float_equal(probabilities[2], 0.1402444, 1e-6);
    const float large[] = {1000, 1000, -1000};
    assert_int_equal(classify_softmax(large, 3, probabilities), 0); // the first of equals
    assert_float_equal(probabilities[0], 0.5, 1e-6);
    assert_float_equal(probabilities[2], 0, 0);
}

enum {
    MOST_ROWS = 8,
    MOST_LOGITS = 3
};

// The numbers of a list, or of a list of lists; returns how many.
static size_t numbers(const json_t *list, float *out) {
    if (json_is_number(list)) {
        *out = (float)json_number_value(list);
        return 1;
    }
    assert_true(json_is_array(list));
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) n += numbers(json_array_get(list, i), out + n);
    return n;
}

static void assert_losses(const json_t *item) {
    size_t n_label[MOST_LOGITS];
    int32_t labels[MOST_ROWS];
    float weights[MOST_LOGITS], found_weights[MOST_LOGITS], scales[MOST_ROWS], losses[MOST_ROWS];
    float logits[MOST_ROWS * MOST_LOGITS], gradient[MOST_ROWS * MOST_LOGITS];
    const json_t *counts = json_object_get(item, "n_label"), *rows = json_object_get(item, "labels");
    const size_t n_labels = json_array_size(counts), n_rows = json_array_size(rows);
    assert_true(n_labels <= MOST_LOGITS && n_rows > 0 && n_rows <= MOST_ROWS);
    for (size_t i = 0; i < n_labels; i++) n_label[i] = (size_t)json_integer_value(json_array_get(counts, i));
    for (size_t i = 0; i < n_rows; i++) {
        labels[i] = (int32_t)json_integer_value(json_array_get(rows, i));
        scales[i] = 1.0F / (float)n_rows;
    }
    assert_int_equal(numbers(json_object_get(item, "class_weights"), weights), n_labels);
    assert_int_equal(numbers(json_object_get(item, "logits"), logits), n_rows * n_labels);
    assert_int_equal(numbers(json_object_get(item, "gradient"), gradient), n_rows * n_labels);

    classify_balanced_weights(n_label, (int)n_labels, found_weights);
    for (size_t i = 0; i < n_labels; i++) assert_float_equal(found_weights[i], weights[i], 1e-6 * (double)weights[i]);
    classify_cross_entropy(logits, labels, (int)n_rows, (int)n_labels, found_weights, scales, losses);
    const double expected = json_number_value(json_object_get(item, "loss"));
    double loss = 0;
    for (size_t i = 0; i < n_rows; i++) loss += (double)scales[i] * (double)losses[i];
    if (fabs(loss - expected) > 1e-6 * expected) fail_msg("loss %.9g, %.9g expected", loss, expected);
    for (size_t i = 0; i < n_rows * n_labels; i++) assert_float_equal(logits[i], gradient[i], 2e-7);
}

static void weighted_losses_are_those_of_pytorch(void **state) {
    (void)state;
    json_t *cases = fixture_json("classify/losses.json");
    assert_int_equal(json_array_size(cases), 6);
    for (size_t i = 0; i < json_array_size(cases); i++) assert_losses(json_array_get(cases, i));
    json_decref(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folded_bias_gives_the_same_logits),
        cmocka_unit_test(a_bias_that_cannot_be_folded_stays),
        cmocka_unit_test(probabilities_are_those_of_pytorch),
        cmocka_unit_test(weighted_losses_are_those_of_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
