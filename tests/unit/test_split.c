// test_split.c: the balanced set and the split as pandas draws them; the three files byte for byte.
#include "data_support.h"

#include "data/rows.h"
#include "data/split.h"

static int32_t *labels_of(const json_t *list) {
    int32_t *labels = calloc(json_array_size(list) + 1, sizeof *labels);
    assert_non_null(labels);
    for (size_t i = 0; i < json_array_size(list); i++) {
        labels[i] = (int32_t)json_integer_value(json_array_get(list, i));
    }
    return labels;
}

static void assert_order(const int64_t *order, size_t n, const json_t *expected) {
    assert_int_equal(n, json_array_size(expected));
    for (size_t i = 0; i < n; i++) assert_int_equal(order[i], json_integer_value(json_array_get(expected, i)));
}

static void orders_are_those_of_pandas(void **state) {
    (void)state;
    json_t *sms = fixture_json("classify/sms.json");
    const json_t *orders = json_object_get(sms, "orders");
    assert_true(json_array_size(orders) >= 4);
    for (size_t i = 0; i < json_array_size(orders); i++) {
        const json_t *item = json_array_get(orders, i);
        const json_t *list = json_object_get(item, "labels");
        const size_t n = json_array_size(list);
        const int n_labels = (int)fixture_size(item, "n_labels");
        const uint64_t seed = fixture_size(item, "seed");
        int32_t *labels = labels_of(list);
        int64_t *order = calloc(n + 1, sizeof *order);
        assert_non_null(order);
        size_t n_order = 0;
        struct split split;
        struct llm_error err = {0};
        assert_true(split_balance(labels, n, n_labels, seed, order, &n_order, &err));
        assert_order(order, n_order, json_object_get(item, "balanced"));
        assert_true(split_random(order, n_order, 0.7, 0.1, NULL, 0, seed, &split, &err));
        assert_order(order, n_order, json_object_get(item, "shuffled"));
        free(order);
        free(labels);
    }
    json_decref(sms);
}

static int32_t *labels_of_rows(const struct rows *rows) {
    int32_t *labels = calloc(rows->n, sizeof *labels);
    assert_non_null(labels);
    for (size_t i = 0; i < rows->n; i++) labels[i] = rows->items[i].label;
    return labels;
}

static void assert_file(const struct rows *rows, const int64_t *order, size_t n, const char *folder,
                        const json_t *expected) {
    struct llm_error err = {0};
    char *path = path_join(folder, "part.csv"), *bytes = NULL;
    size_t size = 0;
    assert_int_equal(n, fixture_size(expected, "n"));
    if (!rows_write_csv(rows, order, n, false, path, &err)) fail_msg("%s", err.text);
    assert_true(file_read(path, 1 << 20, &bytes, &size, &err));
    assert_int_equal(size, fixture_size(expected, "size"));
    assert_hash(fnv(FNV_BEGIN, bytes, size), json_object_get(expected, "hash"));
    free(bytes);
    free(path);
}

static void the_book_s_spam_split_is_the_same(void **state) {
    need_shared(SHARED_DATA "sms/SMSSpamCollection");
    json_t *sms = fixture_json("classify/sms.json");
    const json_t *balanced = json_object_get(sms, "balanced"), *files = json_object_get(sms, "files");
    struct rows rows = {0};
    struct llm_error err = {0};
    if (!rows_read(&rows, SHARED_DATA "sms/SMSSpamCollection", NULL, &err)) fail_msg("%s", err.text);
    int32_t *labels = labels_of_rows(&rows);
    int64_t *order = calloc(rows.n, sizeof *order);
    size_t n = 0;
    assert_non_null(order);
    assert_true(split_balance(labels, rows.n, rows.n_labels, 123, order, &n, &err));
    assert_int_equal(n, fixture_size(balanced, "n"));
    assert_hash(fnv(FNV_BEGIN, order, n * sizeof *order), json_object_get(balanced, "index"));
    struct split split;
    assert_true(split_random(order, n, 0.7, 0.1, NULL, 0, 123, &split, &err));
    assert_int_equal(split.n, 1494);
    assert_file(&rows, order, split.train, *state, json_object_get(files, "train"));
    assert_file(&rows, order + split.train, split.validation - split.train, *state,
                json_object_get(files, "validation"));
    assert_file(&rows, order + split.validation, split.n - split.validation, *state, json_object_get(files, "test"));
    free(order);
    free(labels);
    rows_release(&rows);
    json_decref(sms);
}

static void stratified_parts_have_their_share_of_each_label(void **state) {
    (void)state;
    enum {
        N = 100
    };
    int32_t labels[N];
    int64_t order[N], plain[N];
    struct split split, other;
    for (int i = 0; i < N; i++) labels[i] = i % 10 == 0;
    for (int i = 0; i < N; i++) order[i] = plain[i] = i;
    assert_true(split_random(order, N, 0.7, 0.1, labels, 2, 123, &split, NULL));
    assert_int_equal(split.train, 70);
    assert_int_equal(split.validation, 80);
    const size_t ends[] = {0, split.train, split.validation, N}, expected[] = {7, 1, 2};
    for (int part = 0; part < 3; part++) {
        size_t rare = 0;
        for (size_t i = ends[part]; i < ends[part + 1]; i++) rare += labels[order[i]] == 1;
        assert_int_equal(rare, expected[part]);
    }
    // Every row once, and the rows of a label in the order in which the plain shuffle has them.
    assert_true(split_random(plain, N, 0.7, 0.1, NULL, 0, 123, &other, NULL));
    size_t at = 0;
    for (int i = 0; i < N; i++) {
        if (labels[order[i]] == 0) continue;
        while (labels[plain[at]] == 0) at++;
        assert_int_equal(order[i], plain[at++]);
    }
    bool seen[N] = {false};
    for (int i = 0; i < N; i++) seen[order[i]] = true;
    for (int i = 0; i < N; i++) assert_true(seen[i]);
}

static void cuts_are_made_as_python_makes_them(void **state) {
    (void)state;
    // int(1100 * 0.85), int(1100 * 0.1): 935 and 110; and products that floating point makes smaller than they look.
    struct split split = split_in_order(1100, 0.85, 0.1);
    assert_int_equal(split.train, 935);
    assert_int_equal(split.validation, 1045);
    split = split_in_order(10, 0.7, 0.1);
    assert_int_equal(split.train, 7);
    split = split_in_order(90, 0.7, 0.7); // 62.99999999999999
    assert_int_equal(split.train, 62);
    assert_int_equal(split.validation, 90);
    split = split_in_order(0, 0.7, 0.1);
    assert_int_equal(split.validation, 0);
    split = split_in_order(3, 1.0, 0.1);
    assert_int_equal(split.validation, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_are_those_of_pandas),
        cmocka_unit_test_setup_teardown(the_book_s_spam_split_is_the_same, folder_setup, folder_teardown),
        cmocka_unit_test(stratified_parts_have_their_share_of_each_label),
        cmocka_unit_test(cuts_are_made_as_python_makes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
