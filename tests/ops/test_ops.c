// test_ops.c: every operation, at every level this machine has, against its plain-loop twin; the twin against PyTorch.
//
// One case an operation. The 16-lane kernels are compiled here a second time, for whatever this machine
// is: the source of AVX-512 is tested where there is none.
#include "subjects.h"

#include "case_attention.c"
#include "case_attention_backward.c"
#include "case_head_loss_backward.c"
#include "case_linear.c"
#include "case_linear_backward.c"
#include "case_optimizer.c"
#include "case_rows.c"
#include "case_rows_backward.c"

#include "case_bf16.c"
#include "case_blocks.c"

#define LANES 16
#include "ops/cpu/attention_backward_tmpl.c"
#include "ops/cpu/attention_tmpl.c"
#include "ops/cpu/blocks_tmpl.c"
#include "ops/cpu/elements_tmpl.c"
#include "ops/cpu/gradient_tmpl.c"
#include "ops/cpu/machine_tmpl.c"
#include "ops/cpu/product_tmpl.c"
#include "ops/cpu/rows_tmpl.c"

static const struct kernels kernels_wide = KERNELS;

static void case_alloc(struct subjects *s) {
    for (int i = 0; i <= s->n; i++) {
        struct ops *ops = i < s->n ? s->list[i].ops[0] : s->ref;
        for (size_t size = 0; size < 200; size += 67) {
            unsigned char *memory = ops->alloc(ops, size);
            assert_non_null(memory);
            assert_int_equal((uintptr_t)memory % 64, 0);
            for (size_t j = 0; j < size; j++) assert_int_equal(memory[j], 0);
        }
        assert_null(ops->alloc(ops, SIZE_MAX));
        assert_null(ops->alloc(ops, SIZE_MAX - 100));
    } // ops_free() takes back what is left
}

// free() takes back its own, in any order, and leaves alone what put() borrowed.
static void case_free(struct subjects *s) {
    struct ops *ops = s->ref;
    float host[4] = {1, 2, 3, 4};
    void *memory[3];
    for (int i = 0; i < 3; i++) memory[i] = ops->alloc(ops, 100);
    ops->free(ops, memory[1]);
    ops->free(ops, (void *)(uintptr_t)ops->put(ops, host, sizeof host));
    ops->free(ops, memory[2]);
    ops->free(ops, memory[0]);
    ops->free(ops, NULL);
    assert_true(host[3] == 4);
}

static void case_put(struct subjects *s) {
    const float host[2] = {1, 2};
    const float *there = s->ref->put(s->ref, host, sizeof host);
    assert_memory_equal(s->ref->get(s->ref, there, 2), host, sizeof host);
}

static void case_get(struct subjects *s) {
    float *memory = s->ref->alloc(s->ref, 8);
    assert_true(s->ref->get(s->ref, memory, 2)[1] == 0);
    s->ref->free(s->ref, memory);
}

static void case_zero(struct subjects *s) {
    float *memory = s->ref->alloc(s->ref, 4 * sizeof *memory);
    for (int i = 0; i < 4; i++) memory[i] = NAN;
    s->ref->zero(s->ref, memory + 1, 2);
    const float *numbers = s->ref->get(s->ref, memory, 4);
    assert_true(isnan(numbers[0]) && numbers[1] == 0 && numbers[2] == 0 && isnan(numbers[3]));
    s->ref->free(s->ref, memory);
}

static const struct {
    const char *name;
    void (*run)(struct subjects *subjects);
} cases[] = {
    {"alloc", case_alloc},
    {"free", case_free},
    {"put", case_put},
    {"get", case_get},
    {"zero", case_zero},
    {"embed", case_embed},
    {"layer_norm", case_layer_norm},
    {"linear", case_linear},
    {"store_kv", case_store_kv},
    {"attention", case_attention},
    {"head_loss", case_head_loss},
    {"embed_backward", case_embed_backward},
    {"layer_norm_backward", case_layer_norm_backward},
    {"activate", case_activate},
    {"activation_backward", case_activation_backward},
    {"dropout", case_dropout},
    {"linear_backward", case_linear_backward},
    {"attention_backward", case_attention_backward},
    {"head_loss_backward", case_head_loss_backward},
    {"adamw", case_adamw},
    {"sum_of_squares", case_sum_of_squares},
    {"reserve", case_reserve},
};
enum {
    N_CASES = sizeof cases / sizeof *cases
};

// The pointers from alloc to reserve: an operation without a case does not compile.
_Static_assert(offsetof(struct ops, state) - offsetof(struct ops, alloc) == N_CASES * sizeof(void *),
               "every operation of struct ops has a test case");

static void subject_add(struct subjects *s, const char *name, int level, const struct kernels *kernels) {
    struct subject *subject = &s->list[s->n++];
    subject->name = name;
    for (int t = 0; t < THREADS; t++) {
        struct llm_error err = {0};
        subject->ops[t] = ops_new(level, t + 1, &err);
        if (subject->ops[t] == NULL) fail_msg("%s", err.text);
        if (kernels == NULL) continue;
        cpu_of(subject->ops[t])->kernels = kernels;
        cpu_of(subject->ops[t])->block_kernels = &kernels->blocks;
    }
}

static int setup(void **state) {
    struct subjects *s = calloc(1, sizeof *s);
    if (s == NULL) return -1;
    random_init(&s->random, 1);
    s->ref = ops_new(OPS_REF, 0, NULL);
    for (int level = OPS_BASELINE; level < OPS_LEVELS; level++) {
        if (!ops_level_available((enum ops_level)level)) continue;
        subject_add(s, ops_level_name((enum ops_level)level), level, NULL);
    }
    subject_add(s, "other streams", -1, NULL);
    for (int t = 0; t < THREADS; t++) {
        struct cpu *cpu = cpu_of(s->list[s->n - 1].ops[t]);
        cpu->n_streams = cpu->n_streams == PRODUCT_STREAMS ? PRODUCT_STREAMS / 2 : PRODUCT_STREAMS;
    }
    subject_add(s, "16 lanes", OPS_BASELINE, &kernels_wide);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    struct subjects *s = *state;
    for (int i = 0; i < s->n; i++) {
        for (int t = 0; t < THREADS; t++) ops_free(s->list[i].ops[t]);
    }
    ops_free(s->ref);
    free(s);
    return 0;
}

// Weights in blocks, which an operation's own case has not (their widths are multiples of 32).
static void test_blocks(void **state) {
    (void)state;
    void *memory = NULL;
    assert_int_equal(setup(&memory), 0);
    case_blocks(memory);
    teardown(&memory);
}

static void test_case(void **state) {
    const int *index = *state;
    void *subjects = NULL;
    assert_int_equal(setup(&subjects), 0);
    cases[*index].run(subjects);
    teardown(&subjects);
}

// A level that this machine lacks is not compared with anything above: say so by name.
static void test_level(void **state) {
    const enum ops_level level = *(const enum ops_level *)*state;
    struct llm_error err = {0};
    struct ops *ops = ops_new((int)level, 1, &err);
    if (!ops_level_available(level)) {
        assert_null(ops);
        assert_int_equal(err.code, LLM_ERROR_UNSUPPORTED);
        print_message("skipped: this machine has no %s\n", ops_level_name(level));
        skip();
    }
    assert_non_null(ops);
    assert_int_equal(ops->level, level);
    ops_free(ops);
}

static void test_choice(void **state) {
    (void)state;
    struct llm_error err = {0};
    assert_int_equal(ops_level_from_name("avx2"), OPS_AVX2);
    assert_int_equal(ops_level_from_name("mmx"), -1);
    assert_null(ops_new(OPS_LEVELS, 1, &err));
    assert_string_equal(err.text, "there is no level 4 of operations; the highest is 3");

    setenv("MY_LLM_ISA", "ref", 1);
    struct ops *ops = ops_new(-1, 0, NULL);
    assert_non_null(ops);
    assert_int_equal(ops->level, OPS_REF);
    assert_true(ops->n_threads >= 1);
    ops_free(ops);

    memset(&err, 0, sizeof err);
    setenv("MY_LLM_ISA", "sse9", 1);
    assert_null(ops_new(-1, 0, &err));
    assert_int_equal(err.code, LLM_ERROR_ARGUMENT);
    assert_string_equal(err.text, "MY_LLM_ISA is 'sse9'; expected auto, ref, baseline, avx2 or avx512");

    setenv("MY_LLM_ISA", "auto", 1);
    ops = ops_new(-1, 2, NULL);
    assert_non_null(ops);
    assert_true(ops->level >= OPS_BASELINE);
    assert_int_equal(ops->n_threads, 2);
    ops_free(ops);
    unsetenv("MY_LLM_ISA");
    ops_free(NULL);
}

int main(void) {
    static int indices[N_CASES];
    static enum ops_level levels[OPS_LEVELS];
    struct CMUnitTest tests[N_CASES + OPS_LEVELS + 4];
    memset(tests, 0, sizeof tests);
    size_t n = 0;
    for (int i = 0; i < N_CASES; i++) {
        indices[i] = i;
        tests[n++] = (struct CMUnitTest){cases[i].name, test_case, NULL, NULL, &indices[i]};
    }
    for (int i = 0; i < OPS_LEVELS; i++) {
        levels[i] = (enum ops_level)i;
        tests[n++] = (struct CMUnitTest){ops_level_name(levels[i]), test_level, NULL, NULL, &levels[i]};
    }
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_choice);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_bf16);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_bf16_products);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_blocks);
    return _cmocka_run_group_tests("ops", tests, n, NULL, NULL);
}
