// test_forward.c: the network against transformers, on a tiny model of every variant and at every level of
// operations this processor has: logits, and what the batch may look like (packed, cached, cut into pieces,
// with some rows wanted) without changing them.
#include "infer_fixture.h"
#include "model/forward.h"

static const char *const f32_models[] = {
    "prefix",     "plain", "shards",    "stored", "headonly",   "padded",    "openai",  "untied",
    "untiedflag", "inner", "relu",      "gelu",   "epsilon",    "noscale",   "bylayer", "head64",
    "distil",     "text",  "noqkvbias", "book",   "booknobias", "text.gguf",
};
enum {
    N_F32_MODELS = sizeof f32_models / sizeof f32_models[0]
};

// Rounding of sums only: 1e-4 of the largest logit is what issue and users are promised.
static const float tolerance = 1e-4f;
// With weights in blocks few rows are rounded to 16 bits as well: by up to 2^-16 of a block's largest number, some four
// times the others. Of these models 2^-12 of each weight, which is F16, moves logits by 4.3e-3 of the largest.
static const float blocks_tolerance = 4.3e-3f * 4 * 0x1p-16f / 0x1p-12f;

static void check_model_within(const char *name, const char *isa, float bound) {
    struct reference reference = reference_read(name);
    struct llm_engine *engine = fixture_engine(name, isa, 0);
    struct llm_session *session = fixture_session(engine, 1);
    struct llm_error err = {0};
    const size_t n = (size_t)N_REFERENCE * (size_t)reference.vocab_size;
    float *logits = malloc(n * sizeof *logits);
    check(llm_session_logits(session, reference.ids, N_REFERENCE, logits, &err), &err);
    const float difference = largest_difference(logits, reference.logits, n) / reference.max_abs;
    if (!(difference <= bound)) fail_msg("%s, %s: logits differ by %g of the largest", name, isa, (double)difference);

    const struct llm_generate_options options = greedy_options(N_GREEDY);
    struct llm_generation generation;
    check(llm_session_generate(session, reference.ids, N_PROMPT, &options, NULL, NULL, &generation, &err), &err);
    assert_int_equal(generation.samples[0].n_ids, N_GREEDY);
    if (memcmp(generation.samples[0].ids, reference.ids + N_PROMPT, N_GREEDY * sizeof(int32_t)) != 0) {
        fail_msg("%s, %s: other greedy ids", name, isa);
    }
    llm_generation_release(&generation);
    free(logits);
    llm_session_free(session);
    llm_engine_free(engine);
    free(reference.logits);
}

static void check_model(const char *name, const char *isa) {
    check_model_within(name, isa, tolerance);
}

static void f32_models_give_the_logits_and_greedy_ids_of_transformers(void **state) {
    (void)state;
    const char *levels[OPS_LEVELS];
    const int n_levels = available_levels(levels);
    for (int m = 0; m < N_F32_MODELS; m++) {
        for (int l = 0; l < n_levels; l++) check_model(f32_models[m], levels[l]);
    }
}

static void half_models_give_the_logits_of_their_rounded_weights(void **state) {
    (void)state;
    const char *levels[OPS_LEVELS];
    const int n_levels = available_levels(levels);
    for (int l = 0; l < n_levels; l++) {
        check_model("f16", levels[l]);
        check_model("bf16", levels[l]);
        check_model("f16.gguf", levels[l]);
        check_model("bf16.gguf", levels[l]);
    }
}

static void models_in_blocks_give_the_logits_of_their_rounded_weights(void **state) {
    (void)state;
    const char *levels[OPS_LEVELS];
    const int n_levels = available_levels(levels);
    for (int l = 0; l < n_levels; l++) {
        const float bound = strcmp(levels[l], "ref") == 0 ? tolerance : blocks_tolerance;
        check_model_within("q8_0.gguf", levels[l], bound);
        check_model_within("q4_0.gguf", levels[l], bound);
        check_model_within("q6_k.gguf", levels[l], bound);
    }
}

// What rounding the weights costs, against the weights before it, relative to the largest logit. Measured, as
// transformers has it too: F16 at most 4.3e-3, 4.9e-4 root mean square; BF16 2.3e-2 and 3.6e-3. (These tiny
// models have large weights; the unit roundoffs are 4.9e-4 and 3.9e-3.)
static void half_models_stay_within_their_rounding(void **state) {
    (void)state;
    static const struct {
        const char *name;
        float bound;
    } cases[] = {{"f16", 5e-3f}, {"bf16", 2.6e-2f}};
    for (int i = 0; i < 2; i++) {
        struct reference reference = reference_read(cases[i].name);
        const size_t n = (size_t)N_REFERENCE * (size_t)reference.vocab_size;
        float *original = read_logits(cases[i].name, ".original.bin", n);
        struct llm_engine *engine = fixture_engine(cases[i].name, NULL, 0);
        struct llm_session *session = fixture_session(engine, 1);
        struct llm_error err = {0};
        float *logits = malloc(n * sizeof *logits);
        check(llm_session_logits(session, reference.ids, N_REFERENCE, logits, &err), &err);
        const float difference = largest_difference(logits, original, n) / reference.max_abs;
        print_message("%s: %.2g of the largest logit from the unrounded weights\n", cases[i].name, (double)difference);
        assert_true(difference <= cases[i].bound);
        assert_true(difference > tolerance); // else this test would compare a model with itself
        free(logits);
        free(original);
        free(reference.logits);
        llm_session_free(session);
        llm_engine_free(engine);
    }
}

// ---- Batches --------------------------------------------------------------------------------

enum {
    MAX_TOKENS = 3 * N_REFERENCE,
    MAX_SEQUENCES = 4
};

// An engine with room for a forward pass, and a batch to fill.
struct bench {
    struct reference reference;
    struct llm_engine *engine;
    struct activations activations;
    struct kv_cache cache;
    struct batch batch;
    int32_t ids[MAX_TOKENS], positions[MAX_TOKENS], rows[MAX_TOKENS];
    int32_t starts[MAX_SEQUENCES + 1], slots[MAX_SEQUENCES];
};

static void bench_init(struct bench *bench, const char *name, const char *isa) {
    memset(bench, 0, sizeof *bench);
    struct llm_error err = {0};
    bench->reference = reference_read(name);
    bench->engine = fixture_engine(name, isa, 0);
    check(activations_init(&bench->activations, bench->engine, MAX_TOKENS, MAX_TOKENS, MAX_SEQUENCES, true, &err),
          &err);
    check(kv_cache_init(&bench->cache, bench->engine, MAX_SEQUENCES, &err), &err);
}

static void bench_release(struct bench *bench) {
    activations_release(&bench->activations, bench->engine);
    kv_cache_release(&bench->cache, bench->engine);
    llm_engine_free(bench->engine);
    free(bench->reference.logits);
}

static void begin(struct bench *bench) {
    bench->batch = (struct batch){.ids = bench->ids,
                                  .positions = bench->positions,
                                  .starts = bench->starts,
                                  .slots = bench->slots,
                                  .rows = bench->rows};
}

// Adds reference tokens first .. first + n - 1 as a sequence whose first token sits at `position`.
static void add(struct bench *bench, int slot, int first, int n, int position) {
    struct batch *batch = &bench->batch;
    for (int i = 0; i < n; i++) {
        bench->ids[batch->n_tokens + i] = bench->reference.ids[first + i];
        bench->positions[batch->n_tokens + i] = position + i;
        bench->rows[batch->n_rows++] = batch->n_tokens + i;
    }
    bench->slots[batch->n_sequences++] = slot;
    batch->n_tokens += n;
    bench->starts[batch->n_sequences] = batch->n_tokens;
}

static void run(struct bench *bench, bool cached) {
    struct llm_error err = {0};
    struct kv_cache *cache = cached ? &bench->cache : NULL;
    check(forward_logits(bench->engine, &bench->activations, &bench->batch, cache, &err), &err);
}

// Rows row .. row + n - 1 of the last run against the reference's rows expected .. expected + n - 1.
static void compare(const struct bench *bench, int row, int expected, int n, const char *what) {
    const size_t width = (size_t)bench->reference.vocab_size;
    const float difference = largest_difference(bench->activations.logits + (size_t)row * width,
                                                bench->reference.logits + (size_t)expected * width, (size_t)n * width);
    if (!(difference <= tolerance * bench->reference.max_abs)) {
        fail_msg("%s: logits differ by %g of the largest", what, (double)(difference / bench->reference.max_abs));
    }
}

static void on_all_levels(void (*test)(struct bench *bench)) {
    const char *levels[OPS_LEVELS];
    const int n_levels = available_levels(levels);
    for (int l = 0; l < n_levels; l++) {
        struct bench bench;
        bench_init(&bench, "bylayer", levels[l]);
        test(&bench);
        bench_release(&bench);
    }
}

static void token_by_token(struct bench *bench) {
    for (int t = 0; t < N_REFERENCE; t++) {
        begin(bench);
        add(bench, 2, t, 1, t);
        run(bench, true);
        compare(bench, 0, t, 1, "token by token");
    }
}

static void the_cache_gives_the_logits_of_recomputing_at_every_position(void **state) {
    (void)state;
    on_all_levels(token_by_token);
}

static void in_pieces(struct bench *bench) {
    static const int cuts[] = {0, 1, 3, 20, 21, 50, N_REFERENCE};
    for (int i = 0; i < 6; i++) {
        begin(bench);
        add(bench, 1, cuts[i], cuts[i + 1] - cuts[i], cuts[i]);
        run(bench, true);
        compare(bench, 0, cuts[i], cuts[i + 1] - cuts[i], "in pieces");
    }
}

static void a_prompt_may_be_cut_into_pieces_of_any_size(void **state) {
    (void)state;
    on_all_levels(in_pieces);
}

static void packed(struct bench *bench) {
    // Whole, a beginning, one token; positions are each sequence's own.
    begin(bench);
    add(bench, 0, 0, N_REFERENCE, 0);
    add(bench, 0, 0, 17, 0);
    add(bench, 0, 0, 1, 0);
    add(bench, 0, 0, 40, 0);
    run(bench, false);
    compare(bench, 0, 0, N_REFERENCE, "packed, first");
    compare(bench, N_REFERENCE, 0, 17, "packed, second");
    compare(bench, N_REFERENCE + 17, 0, 1, "packed, third");
    compare(bench, N_REFERENCE + 18, 0, 40, "packed, fourth");
    // The same with timelines of different lengths in the cache, one of them going on.
    begin(bench);
    add(bench, 3, 0, 30, 0);
    add(bench, 0, 0, 5, 0);
    run(bench, true);
    begin(bench);
    add(bench, 0, 5, 1, 5);
    add(bench, 3, 30, 4, 30);
    run(bench, true);
    compare(bench, 0, 5, 1, "packed with cache, first");
    compare(bench, 1, 30, 4, "packed with cache, second");
}

static void packed_sequences_do_not_see_each_other(void **state) {
    (void)state;
    on_all_levels(packed);
}

static void fanned_out(struct bench *bench) {
    begin(bench);
    add(bench, 0, 0, 33, 0);
    bench->batch.fan_out = MAX_SEQUENCES;
    run(bench, true);
    begin(bench);
    for (int s = MAX_SEQUENCES - 1; s >= 0; s--) add(bench, s, 33, 1, 33);
    run(bench, true);
    for (int s = 0; s < MAX_SEQUENCES; s++) compare(bench, s, 33, 1, "fanned out");
}

static void a_prompt_computed_once_is_in_every_slot(void **state) {
    (void)state;
    on_all_levels(fanned_out);
}

static void some_rows(struct bench *bench) {
    begin(bench);
    add(bench, 0, 0, N_REFERENCE, 0);
    add(bench, 1, 0, 20, 0);
    static const int32_t wanted[] = {3, 4, 5, 40, N_REFERENCE + 7};
    memcpy(bench->rows, wanted, sizeof wanted);
    bench->batch.n_rows = 5;
    run(bench, true);
    compare(bench, 0, 3, 3, "some rows");
    compare(bench, 3, 40, 1, "some rows");
    compare(bench, 4, 7, 1, "some rows");
    run(bench, false);
    compare(bench, 0, 3, 3, "some rows, without a cache");
    compare(bench, 3, 40, 1, "some rows, without a cache");
    compare(bench, 4, 7, 1, "some rows, without a cache");
    // One of each sequence, which are neighbours once; timelines that go on.
    begin(bench);
    add(bench, 0, N_REFERENCE - 10, 10, N_REFERENCE - 10);
    add(bench, 1, 20, 1, 20);
    add(bench, 2, 0, 25, 0);
    static const int32_t last[] = {9, 10, 35};
    memcpy(bench->rows, last, sizeof last);
    bench->batch.n_rows = 3;
    run(bench, true);
    compare(bench, 0, N_REFERENCE - 1, 1, "last rows");
    compare(bench, 1, 20, 1, "last rows");
    compare(bench, 2, 24, 1, "last rows");
    // No row wanted: the cache is filled all the same.
    begin(bench);
    add(bench, 2, 0, 30, 0);
    bench->batch.n_rows = 0;
    run(bench, true);
    begin(bench);
    add(bench, 2, 30, 1, 30);
    run(bench, true);
    compare(bench, 0, 30, 1, "after no rows");
}

static void only_wanted_rows_are_computed_and_they_are_the_same(void **state) {
    (void)state;
    on_all_levels(some_rows);
}

static void losses(struct bench *bench) {
    struct llm_error err = {0};
    begin(bench);
    add(bench, 0, 0, N_REFERENCE - 1, 0);
    float computed[N_REFERENCE];
    check(forward_losses(bench->engine, &bench->activations, &bench->batch, bench->reference.ids + 1, computed, &err),
          &err);
    for (int t = 0; t < N_REFERENCE - 1; t++) {
        const float *row = bench->reference.logits + (size_t)t * (size_t)bench->reference.vocab_size;
        double sum = 0;
        for (int v = 0; v < bench->reference.vocab_size; v++) sum += exp((double)row[v]);
        const double expected = log(sum) - (double)row[bench->reference.ids[t + 1]];
        assert_true(fabs((double)computed[t] - expected) <= (double)(tolerance * bench->reference.max_abs));
    }
}

static void losses_are_the_cross_entropy_of_the_logits(void **state) {
    (void)state;
    on_all_levels(losses);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_models_give_the_logits_and_greedy_ids_of_transformers),
        cmocka_unit_test(half_models_give_the_logits_of_their_rounded_weights),
        cmocka_unit_test(models_in_blocks_give_the_logits_of_their_rounded_weights),
        cmocka_unit_test(half_models_stay_within_their_rounding),
        cmocka_unit_test(the_cache_gives_the_logits_of_recomputing_at_every_position),
        cmocka_unit_test(a_prompt_may_be_cut_into_pieces_of_any_size),
        cmocka_unit_test(packed_sequences_do_not_see_each_other),
        cmocka_unit_test(a_prompt_computed_once_is_in_every_slot),
        cmocka_unit_test(only_wanted_rows_are_computed_and_they_are_the_same),
        cmocka_unit_test(losses_are_the_cross_entropy_of_the_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
