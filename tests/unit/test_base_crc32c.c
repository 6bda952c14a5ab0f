// test_base_crc32c.c: the vectors of RFC 3720 appendix B.4, and the two versions against each other at
// every size that takes another way through them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/crc32c.h"
#include "base/random.h"

typedef uint32_t crc_fn(uint32_t crc, const void *bytes, size_t size);

static crc_fn *const versions[] = {crc32c, crc32c_portable};

static void gives_the_vectors_of_rfc_3720(void **state) {
    (void)state;
    uint8_t zeros[32];
    uint8_t ones[32];
    uint8_t rising[32];
    uint8_t falling[32];
    for (int i = 0; i < 32; i++) {
        zeros[i] = 0;
        ones[i] = 0xff;
        rising[i] = (uint8_t)i;
        falling[i] = (uint8_t)(31 - i);
    }
    // An iSCSI SCSI Read (10) command PDU.
    static const uint8_t command[48] = {0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                        0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
                                        0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
                                        0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
    for (int v = 0; v < 2; v++) {
        assert_int_equal(versions[v](0, zeros, 32), 0x8a9136aa);
        assert_int_equal(versions[v](0, ones, 32), 0x62a8ab43);
        assert_int_equal(versions[v](0, rising, 32), 0x46dd794e);
        assert_int_equal(versions[v](0, falling, 32), 0x113fdb5c);
        assert_int_equal(versions[v](0, command, 48), 0xd9963a56);
        assert_int_equal(versions[v](0, "123456789", 9), 0xe3069283);
        assert_int_equal(versions[v](0, NULL, 0), 0);
        assert_int_equal(versions[v](0x12345678, NULL, 0), 0x12345678);
    }
}

// As Python's zlib.crc32() gives them.
static void gives_the_values_of_zip(void **state) {
    (void)state;
    assert_int_equal(crc32_zip(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(crc32_zip(0, NULL, 0), 0);
    uint8_t bytes[1000];
    for (int i = 0; i < 1000; i++) bytes[i] = (uint8_t)(i * 7);
    assert_int_equal(crc32_zip(0, bytes, 1000), 0x114ad5ff);
    assert_int_equal(crc32_zip(crc32_zip(0, bytes, 333), bytes + 333, 667), 0x114ad5ff);
}

// One bit at a time, as the definition has it.
static uint32_t crc_by_definition(const uint8_t *bytes, size_t size) {
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1) * 0x82f63b78u;
    }
    return ~crc;
}

enum {
    SIZE = 3 * 3 * 8192 + 100 // more than three rounds of the three lanes
};

static uint8_t *random_bytes(void) {
    uint8_t *bytes = malloc(SIZE);
    struct random random;
    random_init(&random, 1);
    for (size_t i = 0; i < SIZE; i++) bytes[i] = (uint8_t)random_u32(&random);
    return bytes;
}

static void agrees_with_the_definition(void **state) {
    (void)state;
    uint8_t *bytes = random_bytes();
    static const size_t around[] = {0, 8, 512, 8192, 2 * 8192, 3 * 8192, 6 * 8192, 9 * 8192};
    for (size_t i = 0; i < sizeof around / sizeof *around; i++) {
        for (size_t size = around[i] < 20 ? 0 : around[i] - 20; size < around[i] + 20; size++) {
            const size_t offset = size % 8; // unaligned, too
            const uint32_t expected = crc_by_definition(bytes + offset, size);
            assert_int_equal(crc32c(0, bytes + offset, size), expected);
            assert_int_equal(crc32c_portable(0, bytes + offset, size), expected);
        }
    }
    free(bytes);
}

static void takes_data_in_pieces(void **state) {
    (void)state;
    uint8_t *bytes = random_bytes();
    for (int v = 0; v < 2; v++) {
        const uint32_t whole = versions[v](0, bytes, SIZE);
        for (size_t piece = 1; piece < SIZE; piece = piece * 3 + 1) {
            uint32_t crc = 0;
            for (size_t at = 0; at < SIZE; at += piece) {
                crc = versions[v](crc, bytes + at, piece < SIZE - at ? piece : SIZE - at);
            }
            assert_int_equal(crc, whole);
        }
    }
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_vectors_of_rfc_3720),
        cmocka_unit_test(gives_the_values_of_zip),
        cmocka_unit_test(agrees_with_the_definition),
        cmocka_unit_test(takes_data_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
