// test_base_dtype.c: every f16 and bf16 there is, and millions of f32, against NumPy and PyTorch; every
// rounding boundary of f16 and bf16. The checksums come from tools/make_base_facts.py.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/dtype.h"
#include "base/file.h"
#include "base/random.h"

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t widen_all(enum dtype dtype) {
    static uint16_t from[65536];
    static float to[65536];
    for (size_t i = 0; i < 65536; i++) from[i] = (uint16_t)i;
    dtype_to_f32(to, from, dtype, 65536);
    for (size_t i = 0; i < 65536; i++) {
        if (isnan(to[i])) to[i] = float_of(0x7fc00000);
    }
    return crc32c(0, to, sizeof to);
}

static void widens_as_numpy_and_pytorch_do(void **state) {
    (void)state;
    assert_int_equal(widen_all(DTYPE_F16), 0x04a132e4);
    assert_int_equal(widen_all(DTYPE_BF16), 0xa40a1e12);
}

static void narrowing_undoes_widening(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        const float half = f16_to_f32((uint16_t)i);
        const float brain = bf16_to_f32((uint16_t)i);
        if (isnan(half)) {
            assert_true(isnan(f16_to_f32(f32_to_f16(half))));
        } else {
            assert_int_equal(f32_to_f16(half), i);
        }
        if (isnan(brain)) {
            assert_true(isnan(bf16_to_f32(f32_to_bf16(brain))));
        } else {
            assert_int_equal(f32_to_bf16(brain), i);
        }
    }
}

// Narrows 2^21 bit patterns of NumPy's RandomState(7), as they are or moved to the range of f16.
static uint32_t narrow_random(enum dtype dtype, bool near_one) {
    enum {
        N = 1 << 21
    };
    const uint16_t quiet_nan = dtype == DTYPE_F16 ? 0x7e00 : 0x7fc0;
    float *from = malloc(N * sizeof *from);
    uint16_t *to = malloc(N * sizeof *to);
    struct random random;
    random_init(&random, 7);
    for (size_t i = 0; i < N; i++) {
        const uint32_t bits = random_u32(&random);
        from[i] = float_of(near_one ? (bits & 0x807fffff) | (100 + (bits >> 23 & 255) % 46) << 23 : bits);
    }
    dtype_from_f32(to, dtype, from, N);
    for (size_t i = 0; i < N; i++) {
        if (isnan(from[i])) to[i] = quiet_nan;
    }
    const uint32_t crc = crc32c(0, to, N * sizeof *to);
    free(from);
    free(to);
    return crc;
}

static void narrows_as_numpy_and_pytorch_do(void **state) {
    (void)state;
    assert_int_equal(narrow_random(DTYPE_F16, false), 0xaef20fdd);
    assert_int_equal(narrow_random(DTYPE_BF16, false), 0x80c3c7af);
    assert_int_equal(narrow_random(DTYPE_F16, true), 0x310744a9);
    assert_int_equal(narrow_random(DTYPE_BF16, true), 0x6dcfadf0);
}

// Between each two neighbours (and the largest one and infinity) lies a middle: it goes to the even one,
// what is next to it on either side to the nearer one.
static void rounds_to_nearest_ties_to_even(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 0x7c00; i++) {
        const float below = f16_to_f32((uint16_t)i);
        // What follows the largest one, were there no limit, is 2^16.
        const float above = i + 1 == 0x7c00 ? 0x1p16f : f16_to_f32((uint16_t)(i + 1));
        const float middle = (below + above) / 2; // exact: one bit more than f16 has
        assert_int_equal(f32_to_f16(middle), i + (i & 1));
        assert_int_equal(f32_to_f16(nextafterf(middle, 0)), i);
        assert_int_equal(f32_to_f16(nextafterf(middle, INFINITY)), i + 1);
        assert_int_equal(f32_to_f16(-middle), 0x8000 | (i + (i & 1)));
    }
    for (uint32_t i = 0; i < 0x7f80; i++) {
        const float middle = float_of(i << 16 | 0x8000);
        assert_int_equal(f32_to_bf16(middle), i + (i & 1));
        assert_int_equal(f32_to_bf16(float_of(bits_of(middle) - 1)), i);
        assert_int_equal(f32_to_bf16(float_of(bits_of(middle) + 1)), i + 1);
        assert_int_equal(f32_to_bf16(-middle), 0x8000 | (i + (i & 1)));
    }
}

// ---- Blocks ---------------------------------------------------------------------------------

static char *read_blocks(const char *name, size_t *size) {
    char path[256], *bytes;
    struct llm_error err = {0};
    snprintf(path, sizeof path, MY_LLM_SOURCE_DIR "/tests/fixtures/formats/gguf/%s", name);
    if (!file_read(path, 1 << 20, &bytes, size, &err)) fail_msg("%s", err.text);
    return bytes;
}

// tools/make_gguf_fixtures.py has what gguf.quants makes of the same numbers.
static void blocks_are_those_of_ggml(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum dtype dtype;
        float worst; // of a block's largest magnitude
    } cases[] = {{"q8_0.bin", DTYPE_Q8_0, 0.5F / 127}, {"q4_0.bin", DTYPE_Q4_0, 1.0F / 8}};
    size_t bytes, size;
    float *numbers = (float *)(void *)read_blocks("numbers.bin", &bytes);
    const size_t n = bytes / sizeof *numbers;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char *expected = read_blocks(cases[c].name, &size);
        assert_int_equal(size, dtype_bytes(cases[c].dtype, n));
        uint8_t *blocks = malloc(size);
        float *back = malloc(bytes);
        dtype_from_f32(blocks, cases[c].dtype, numbers, n);
        assert_memory_equal(blocks, expected, size);
        dtype_to_f32(back, blocks, cases[c].dtype, n);
        for (size_t i = 0; i < n; i++) {
            float largest = 0;
            for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; j++) largest = fmaxf(largest, fabsf(numbers[j]));
            // F16 keeps 11 bits of the scale, fewer where it is below the smallest normal one.
            const float slack = largest / 1000 + 127 * 0x1p-25F;
            assert_true(fabsf(back[i] - numbers[i]) <= cases[c].worst * largest + slack);
        }
        free(back);
        free(blocks);
        free(expected);
    }
    free(numbers);
}

// Random bytes are blocks, too: all bits count.
static void six_bits_are_read_as_ggml_does(void **state) {
    (void)state;
    size_t size, expected_size;
    char *blocks = read_blocks("q6_k.bin", &size), *expected = read_blocks("q6_k.f32", &expected_size);
    const size_t n = expected_size / sizeof(float);
    assert_int_equal(size, dtype_bytes(DTYPE_Q6_K, n));
    float *numbers = malloc(expected_size);
    char *unaligned = malloc(size + 1);
    memcpy(unaligned + 1, blocks, size);
    dtype_to_f32(numbers, unaligned + 1, DTYPE_Q6_K, n);
    free(unaligned);
    assert_memory_equal(numbers, expected, expected_size);
    free(numbers);
    free(expected);
    free(blocks);
}

// What is no number gives some block, and nothing undefined on the way.
static void blocks_of_what_is_no_number(void **state) {
    (void)state;
    float numbers[32] = {INFINITY, -INFINITY, NAN, 1, 3e38F, -3e38F, 1e-45F};
    uint8_t block[34];
    for (int turn = 0; turn < 7; turn++) {
        dtype_from_f32(block, DTYPE_Q8_0, numbers, 32);
        dtype_from_f32(block, DTYPE_Q4_0, numbers, 32);
        numbers[turn] = 0;
    }
    // The last one was 1e-45 alone, whose scale is below what F16 has.
    assert_int_equal(block[0] | (block[1] & 0x7f), 0);
}

static void keeps_infinities_and_nans(void **state) {
    (void)state;
    assert_int_equal(f32_to_f16(INFINITY), 0x7c00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(f32_to_f16(3.4e38f), 0x7c00);
    assert_int_equal(f32_to_bf16(INFINITY), 0x7f80);
    assert_int_equal(f32_to_bf16(-3.4028235e38f), 0xff80);
    // A NaN whose payload lies only in the bits that are dropped must not become infinity.
    assert_true(isnan(bf16_to_f32(f32_to_bf16(float_of(0x7f800001)))));
    assert_true(isnan(f16_to_f32(f32_to_f16(float_of(0xff800001)))));
}

static void knows_names_and_sizes(void **state) {
    (void)state;
    static const struct {
        enum dtype dtype;
        const char *name;
        size_t bytes;
    } cases[] = {{DTYPE_F32, "F32", 4}, {DTYPE_F16, "F16", 2}, {DTYPE_BF16, "BF16", 2}};
    for (size_t i = 0; i < 3; i++) {
        enum dtype dtype = DTYPE_OTHER;
        assert_true(dtype_from_name(cases[i].name, &dtype));
        assert_int_equal(dtype, cases[i].dtype);
        assert_string_equal(dtype_info(dtype)->name, cases[i].name);
        assert_int_equal(dtype_bytes(dtype, 7), 7 * cases[i].bytes);
    }
    enum dtype dtype = DTYPE_BF16;
    assert_false(dtype_from_name("other", &dtype));
    assert_false(dtype_from_name("f32", &dtype));
    assert_false(dtype_from_name("", &dtype));
    assert_int_equal(dtype, DTYPE_BF16);
}

static void needs_no_alignment(void **state) {
    (void)state;
    const float values[3] = {1.5f, -2, 0x1p-20f};
    float block[32] = {-127}, wide[32]; // the largest of a block comes back as it was
    for (int dtype = 0; dtype < DTYPE_OTHER; dtype++) {
        uint8_t bytes[1 + sizeof block];
        if (dtype == DTYPE_Q6_K) continue; // read only: six_bits_are_read_as_ggml_does()
        if (dtype_info((enum dtype)dtype)->block > 1) {
            dtype_from_f32(bytes + 1, (enum dtype)dtype, block, 32);
            dtype_to_f32(wide, bytes + 1, (enum dtype)dtype, 32);
            assert_memory_equal(wide, block, sizeof block);
            continue;
        }
        float back[3];
        dtype_from_f32(bytes + 1, (enum dtype)dtype, values, 3);
        dtype_to_f32(back, bytes + 1, (enum dtype)dtype, 3);
        assert_memory_equal(back, values, sizeof values);
        dtype_from_f32(NULL, (enum dtype)dtype, NULL, 0);
        dtype_to_f32(NULL, NULL, (enum dtype)dtype, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widens_as_numpy_and_pytorch_do),  cmocka_unit_test(narrowing_undoes_widening),
        cmocka_unit_test(narrows_as_numpy_and_pytorch_do), cmocka_unit_test(rounds_to_nearest_ties_to_even),
        cmocka_unit_test(blocks_are_those_of_ggml),        cmocka_unit_test(six_bits_are_read_as_ggml_does),
        cmocka_unit_test(blocks_of_what_is_no_number),     cmocka_unit_test(keeps_infinities_and_nans),
        cmocka_unit_test(knows_names_and_sizes),           cmocka_unit_test(needs_no_alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
