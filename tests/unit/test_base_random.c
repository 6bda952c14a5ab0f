// test_base_random.c: MT19937 against NumPy and PyTorch; the numbers come from tools/make_base_facts.py.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"

// Places 0, 1, 623 and 624 (the first refill), 999 and 1999 of three streams a seed.
static const struct {
    uint64_t seed;
    uint32_t words[5]; // numpy.random.RandomState(seed).bytes(): 0, 1, 623, 624, 1999
    double doubles[3]; // .random_sample(): 0, 1, 999
    float floats[3];   // torch.manual_seed(seed); torch.rand(): 0, 1, 1999
} facts[] = {
    {0,
     {2357136044, 2546248239, 3791854820, 341544762, 3856691381},
     {0x1.18fe1565f12a8p-1, 0x1.6e2d4cf608733p-1, 0x1.5ab23e79781c2p-1},
     {0x1.fc2ab0p-2f, 0x1.89545ep-1f, 0x1.c0e16ap-1f}},
    {123,
     {2991312382, 3062119789, 1058258670, 1280954235, 3623448910},
     {0x1.64979beda10f5p-1, 0x1.2501b5b6d822ap-2, 0x1.2df8e0ebfcb8ap-2},
     {0x1.2f37f8p-2f, 0x1.087adap-1f, 0x1.f2e29cp-1f}},
    {5489,
     {3499211612, 581869302, 4020325887, 4178893912, 3949147603},
     {0x1.a1237688aba7bp-1, 0x1.cfc3f5f570c7dp-1, 0x1.bbc6a47ad8cd7p-1},
     {0x1.2376b8p-1f, 0x1.5d3decp-1f, 0x1.8cd74cp-2f}},
    {4294967295,
     {419326371, 479346978, 1027084080, 3860652269, 1762272365},
     {0x1.8fe69a3924820p-4, 0x1.d323d824032b1p-1, 0x1.1cfe321a42891p-1},
     {0x1.fcd346p-1f, 0x1.248244p-1f, 0x1.448da0p-5f}},
};

enum {
    N_FACTS = sizeof facts / sizeof *facts
};

static void gives_the_words_of_numpy(void **state) {
    (void)state;
    static const int places[5] = {0, 1, 623, 624, 1999};
    for (int i = 0; i < N_FACTS; i++) {
        struct random random;
        random_init(&random, facts[i].seed);
        int next = 0;
        for (int n = 0; n < 2000; n++) {
            const uint32_t word = random_u32(&random);
            if (n == places[next]) assert_int_equal(word, facts[i].words[next++]);
        }
        assert_int_equal(next, 5);
    }
}

static void gives_the_doubles_of_numpy(void **state) {
    (void)state;
    for (int i = 0; i < N_FACTS; i++) {
        struct random random;
        random_init(&random, facts[i].seed);
        for (int n = 0; n < 1000; n++) {
            const double value = random_double(&random);
            assert_true(value >= 0 && value < 1);
            if (n < 2) assert_true(value == facts[i].doubles[n]);
            if (n == 999) assert_true(value == facts[i].doubles[2]);
        }
    }
}

static void gives_the_floats_of_pytorch(void **state) {
    (void)state;
    for (int i = 0; i < N_FACTS; i++) {
        struct random random;
        random_init(&random, facts[i].seed);
        for (int n = 0; n < 2000; n++) {
            const float value = random_float(&random);
            assert_true(value >= 0 && value < 1);
            if (n < 2) assert_true(value == facts[i].floats[n]);
            if (n == 1999) assert_true(value == facts[i].floats[2]);
        }
    }
}

static void a_copy_goes_on_alike(void **state) {
    (void)state;
    struct random random;
    random_init(&random, 123);
    for (int n = 0; n < 700; n++) random_u32(&random);
    struct random copy = random;
    for (int n = 0; n < 1000; n++) assert_int_equal(random_u32(&random), random_u32(&copy));
}

static void seeds_with_the_low_32_bits(void **state) {
    (void)state;
    struct random a;
    struct random b;
    random_init(&a, 123);
    random_init(&b, (UINT64_C(5) << 32) | 123);
    assert_int_equal(random_u32(&a), random_u32(&b));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_words_of_numpy),    cmocka_unit_test(gives_the_doubles_of_numpy),
        cmocka_unit_test(gives_the_floats_of_pytorch), cmocka_unit_test(a_copy_goes_on_alike),
        cmocka_unit_test(seeds_with_the_low_32_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
