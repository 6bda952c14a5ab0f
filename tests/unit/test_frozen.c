// test_frozen.c: What frozen layers give is computed once for each text, wherever it occurs, and is the same bits as
// without keeping.
#include "pass_fixture.h"
#include "train/frozen.h"

enum {
    LENGTH = 40, // two of them take the way of many rows
    SHORT = 5,
    MAX_TEXTS = 4
};

struct bench {
    struct student student;
    struct pass *pass;
    struct packed packed;
    struct frozen frozen;
    float *expected; // [MAX_TEXTS * LENGTH, n_embd]
    int64_t room;    // what it had at first
};

static struct bench bench_new(int64_t room) {
    struct config config = base_config();
    config.n_ctx = LENGTH;
    struct llm_error err = {0};
    struct bench bench = {.student = student_new(&config, NULL, 1), .room = room};
    student_fill(&bench.student, 7);
    const int max_tokens = MAX_TEXTS * LENGTH;
    const struct pass_options options = {
        .trainable = {.first_layer = 1}, .max_tokens = max_tokens, .max_rows = max_tokens, .max_sequences = MAX_TEXTS};
    bench.pass = pass_new(bench.student.engine, &options, &err);
    assert_non_null(bench.pass);
    check(packed_init(&bench.packed, max_tokens, MAX_TEXTS, &err), &err);
    check(frozen_init(&bench.frozen, 3, max_tokens, MAX_TEXTS, config.n_embd, room, &err), &err);
    bench.expected = malloc((size_t)max_tokens * (size_t)config.n_embd * sizeof *bench.expected);
    assert_non_null(bench.expected);
    return bench;
}

static void bench_free(struct bench *bench) {
    free(bench->expected);
    frozen_release(&bench->frozen);
    packed_release(&bench->packed);
    pass_free(bench->pass);
    student_free(&bench->student);
}

// Packs one text a letter, those of a letter being equal and those of capitals short, and compares what
// frozen_entering() gives.
static void expect_same(struct bench *bench, const char *texts) {
    struct llm_error err = {0};
    packed_clear(&bench->packed);
    for (const char *text = texts; *text != '\0'; text++) {
        int32_t ids[LENGTH], targets[LENGTH];
        const int n = *text < 'a' ? SHORT : LENGTH;
        for (int t = 0; t < n; t++) {
            ids[t] = lesson_id(*text, t);
            targets[t] = NO_TARGET;
        }
        packed_add(&bench->packed, 0, &(struct train_example){.ids = ids, .targets = targets, .n = n}, 1);
    }
    const struct batch *batch = &bench->packed.batch;
    check(pass_entering(bench->pass, batch, bench->expected, &err), &err);
    const float *found = frozen_entering(&bench->frozen, bench->pass, &bench->packed, &err);
    check(found != NULL, &err);
    const size_t n = (size_t)batch->n_tokens * (size_t)bench->student.engine->config.n_embd;
    assert_memory_equal(found, bench->expected, n * sizeof *found);
}

static int64_t taken(const struct bench *bench) {
    return bench->room - bench->frozen.room;
}

static void a_text_is_kept_once(void **state) {
    (void)state;
    struct bench bench = bench_new(INT64_MAX);
    expect_same(&bench, "ab");
    const int64_t two = taken(&bench);
    assert_true(two >= 2 * (int64_t)sizeof(float) * LENGTH * bench.student.engine->config.n_embd);
    expect_same(&bench, "ba");
    assert_int_equal(taken(&bench), two);
    expect_same(&bench, "bcac");
    assert_int_equal(2 * taken(&bench), 3 * two);
    expect_same(&bench, "dcef"); // more than there are said to be
    assert_int_equal(2 * taken(&bench), 6 * two);
    bench_free(&bench);
}

// Few tokens take other ways through the products than many, and have other last bits.
static void short_texts_have_the_bits_of_their_batch(void **state) {
    (void)state;
    struct bench bench = bench_new(INT64_MAX);
    const char *batches[] = {"A", "AB", "BAC", "abA", "A", "Aab", "BA", "B", "abcA", "CB"};
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) expect_same(&bench, batches[i]);
    const int64_t before = taken(&bench);
    expect_same(&bench, "A");
    expect_same(&bench, "BA");
    assert_int_equal(taken(&bench), before);
    bench_free(&bench);
}

static void without_room_nothing_is_kept(void **state) {
    (void)state;
    struct bench bench = bench_new(LENGTH);
    expect_same(&bench, "aab");
    expect_same(&bench, "bab");
    assert_int_equal(taken(&bench), 0);
    bench_free(&bench);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_kept_once),
        cmocka_unit_test(short_texts_have_the_bits_of_their_batch),
        cmocka_unit_test(without_room_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
