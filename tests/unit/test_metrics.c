// test_metrics.c: measures against scikit-learn's, and the report's parts to the letter.
#include "data_support.h"

#include <math.h>

#include "tasks/metrics.h"
#include "tasks/report.h"

static void assert_near(double found, const json_t *expected) {
    assert_true(json_is_number(expected));
    if (fabs(found - json_number_value(expected)) > 1e-15)
        fail_msg("%.17g, %.17g expected", found, json_number_value(expected));
}

static void assert_rates(const struct metrics_rates *rates, const json_t *expected) {
    assert_near(rates->precision, json_array_get(expected, 0));
    assert_near(rates->recall, json_array_get(expected, 1));
    assert_near(rates->f1, json_array_get(expected, 2));
}

static void assert_case(const json_t *item) {
    struct prediction predictions[400];
    const json_t *true_labels = json_object_get(item, "true"), *predicted = json_object_get(item, "predicted");
    const size_t n = json_array_size(true_labels);
    assert_true(n > 0 && n <= 400 && json_array_size(predicted) == n);
    for (size_t i = 0; i < n; i++) {
        predictions[i] = (struct prediction){(int32_t)json_integer_value(json_array_get(true_labels, i)),
                                             (int32_t)json_integer_value(json_array_get(predicted, i)), 1, ""};
    }
    struct metrics metrics;
    const int k = (int)fixture_size(item, "n_labels");
    assert_true(metrics_measure(&metrics, predictions, n, k, NULL));
    assert_near(metrics.accuracy, json_object_get(item, "accuracy"));
    assert_rates(&metrics.macro, json_object_get(item, "macro"));
    assert_rates(&metrics.micro, json_object_get(item, "micro"));
    int64_t *counts = metrics_matrix(&metrics, NULL);
    assert_non_null(counts);
    for (int i = 0; i < k; i++) {
        const struct metrics_label *label = &metrics.labels[i];
        const size_t at = (size_t)i;
        assert_near(label->rates.precision, json_array_get(json_object_get(item, "precision"), at));
        assert_near(label->rates.recall, json_array_get(json_object_get(item, "recall"), at));
        assert_near(label->rates.f1, json_array_get(json_object_get(item, "f1"), at));
        assert_near((double)label->n_true, json_array_get(json_object_get(item, "support"), at));
        const json_t *row = json_array_get(json_object_get(item, "confusion"), at);
        for (int j = 0; j < k; j++) assert_near((double)counts[i * k + j], json_array_get(row, (size_t)j));
    }
    free(counts);
    metrics_release(&metrics);
}

static void measures_are_those_of_scikit_learn(void **state) {
    (void)state;
    json_t *cases = fixture_json("classify/metrics.json");
    assert_int_equal(json_array_size(cases), 5);
    for (size_t i = 0; i < json_array_size(cases); i++) assert_case(json_array_get(cases, i));
    json_decref(cases);
}

static void nothing_measured_is_nothing(void **state) {
    (void)state;
    struct metrics metrics;
    assert_true(metrics_measure(&metrics, NULL, 0, 2, NULL));
    assert_true(metrics.accuracy == 0 && metrics.macro.f1 == 0);
    metrics_release(&metrics);
    metrics_release(&metrics);
}

static const char *const names[] = {"ham", "sp|am"};
static const struct prediction predictions[] = {
    {0, 0, 0.9f, "fine"},     {0, 0, 0.8f, "fine"},  {0, 1, 0.75f, "one\ntwo | three <b> *x*"},
    {1, 1, 0.6f, "right"},    {1, 0, 0.99f, "sure"}, {0, 1, 0.5f, "last"},
    {1, 0, 0.99f, "as sure"},
};

static void a_report_is_a_table(void **state) {
    (void)state;
    struct metrics metrics;
    struct strbuf out;
    strbuf_init(&out, 1 << 20);
    assert_true(metrics_measure(&metrics, predictions, 7, 2, NULL));
    report_labels(&out, &metrics, names);
    assert_string_equal(out.bytes, "Accuracy 42.86 % (3 of 7).\n\n"
                                   "| label | precision | recall | F1 | texts |\n"
                                   "| --- | --: | --: | --: | --: |\n"
                                   "| ham | 0.5000 | 0.5000 | 0.5000 | 4 |\n"
                                   "| sp\\|am | 0.3333 | 0.3333 | 0.3333 | 3 |\n"
                                   "| *mean over labels* | 0.4167 | 0.4167 | 0.4167 | 7 |\n"
                                   "| *over all texts* | 0.4286 | 0.4286 | 0.4286 | 7 |\n");
    strbuf_clear(&out);
    report_confusion(&out, &metrics, names);
    assert_string_equal(out.bytes, "| true \\\\ predicted | ham | sp\\|am |\n| --- | --: | --: |\n"
                                   "| ham | **2** | 2 |\n| sp\\|am | 2 | **1** |\n");
    strbuf_clear(&out);
    assert_true(report_mistakes(&out, predictions, 7, names, 3, NULL));
    assert_string_equal(out.bytes, "| true | predicted | probability | text |\n| --- | --- | --: | --- |\n"
                                   "| sp\\|am | ham | 0.990 | sure |\n| sp\\|am | ham | 0.990 | as sure |\n"
                                   "| ham | sp\\|am | 0.750 | one two \\| three \\<b\\> \\*x\\* |\n");
    strbuf_clear(&out);
    assert_true(report_mistakes(&out, predictions, 2, names, 3, NULL));
    assert_string_equal(out.bytes, "None of the 2 texts was labelled wrongly.\n");
    strbuf_release(&out);
    metrics_release(&metrics);
}

static void long_texts_are_cut(void **state) {
    (void)state;
    struct strbuf out, text;
    strbuf_init(&out, 1 << 20);
    strbuf_init(&text, 1 << 20);
    for (int i = 0; i < 300; i++) strbuf_puts(&text, "é");
    const struct prediction one = {0, 1, 1, text.bytes};
    assert_true(report_mistakes(&out, &one, 1, names, 1, NULL));
    const char *begin = strstr(out.bytes, "é"), *end = strstr(out.bytes, "...");
    assert_non_null(begin);
    assert_non_null(end);
    assert_int_equal(end - begin, 2 * 200);
    strbuf_release(&out);
    strbuf_release(&text);
}

static void many_labels_are_listed_as_pairs(void **state) {
    (void)state;
    enum {
        K = 17
    };
    char text[K][8];
    const char *many[K];
    struct prediction wrong[9];
    for (int i = 0; i < K; i++) {
        snprintf(text[i], sizeof text[i], "l%d", i);
        many[i] = text[i];
    }
    for (int i = 0; i < 9; i++) wrong[i] = (struct prediction){i < 3 ? 1 : 2, i < 6 ? 0 : i == 6 ? 2 : 16, 1, ""};
    struct metrics metrics;
    struct strbuf out;
    strbuf_init(&out, 1 << 20);
    assert_true(metrics_measure(&metrics, wrong, 9, K, NULL));
    report_confusion(&out, &metrics, many);
    assert_string_equal(out.bytes, "| true | predicted | texts |\n| --- | --- | --: |\n"
                                   "| l1 | l0 | 3 |\n| l2 | l0 | 3 |\n| l2 | l16 | 2 |\n");
    strbuf_release(&out);
    metrics_release(&metrics);
}

// As an id that is taken for the label has: a matrix would have 1e10 cells.
static void a_hundred_thousand_labels_are_measured(void **state) {
    (void)state;
    enum {
        K = 100000
    };
    static struct prediction many[K];
    static const char *labels[K];
    for (int32_t i = 0; i < K; i++) {
        many[i] = (struct prediction){i, i % 2 == 0 ? i : 7, 1, ""};
        labels[i] = i == 9 ? "nine" : "l";
    }
    many[K - 1].label = 9;
    struct metrics metrics;
    struct strbuf out;
    strbuf_init(&out, 1 << 24);
    assert_true(metrics_measure(&metrics, many, K, K, NULL));
    assert_int_equal(metrics.n_right, K / 2 + 1);
    assert_true(metrics.micro.f1 == metrics.accuracy && metrics.labels[7].n_predicted == K / 2);
    // Even labels have 1, label 7 a recall of 1 and a precision of 1 in K / 2.
    assert_true(fabs(metrics.macro.recall - (K / 2 + 1.0) / K) < 1e-12);
    assert_true(fabs(metrics.macro.precision - (K / 2 + 2.0 / K) / K) < 1e-12);
    assert_int_equal(metrics.n_cells, K - 1);
    report_confusion(&out, &metrics, labels);
    assert_non_null(strstr(out.bytes, "| --: |\n| nine | l | 2 |\n| l | l | 1 |\n"));
    strbuf_clear(&out);
    report_labels(&out, &metrics, labels);
    assert_true(strbuf_ok(&out));
    strbuf_release(&out);
    metrics_release(&metrics);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measures_are_those_of_scikit_learn),
        cmocka_unit_test(nothing_measured_is_nothing),
        cmocka_unit_test(a_report_is_a_table),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(many_labels_are_listed_as_pairs),
        cmocka_unit_test(a_hundred_thousand_labels_are_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
