// crc32c.c: see crc32c.h.
//
// All versions work on the inverted register that these checksums prescribe and invert at the end.
// Divisions: plain C; SSE4.2; the choice.
#include "base/crc32c.h"

#include <string.h>

// ---- Plain C --------------------------------------------------------------------------------

// The polynomials with their bits reversed, as the register holds x^0 in its highest bit.
static const uint32_t castagnoli = 0x82f63b78;
static const uint32_t ieee_802_3 = 0xedb88320;

static uint32_t step_bits(uint32_t polynomial, uint32_t crc) {
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ ((crc & 1) != 0 ? polynomial : 0);
    return crc;
}

// Slicing by 8 (Kounavis and Berry 2005): table[k][b] is the register after byte b and k zero bytes, so
// the effect of eight bytes is the sum of eight look-ups. The tables are made anew each call, in a few
// microseconds, which spares 8 KiB of constants nobody can read.
static uint32_t slice_by_8(uint32_t polynomial, uint32_t crc, const uint8_t *bytes, size_t n_words) {
    uint32_t table[8][256];
    for (uint32_t b = 0; b < 256; b++) table[0][b] = step_bits(polynomial, b);
    for (int k = 1; k < 8; k++) {
        for (int b = 0; b < 256; b++) table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
    }
    for (size_t i = 0; i < n_words; i++, bytes += 8) {
        const uint32_t low =
            crc ^ ((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24);
        crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^ table[4][low >> 24] ^
              table[3][bytes[4]] ^ table[2][bytes[5]] ^ table[1][bytes[6]] ^ table[0][bytes[7]];
    }
    return crc;
}

static uint32_t crc_portable(uint32_t polynomial, uint32_t crc, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    crc = ~crc;
    // Below this the tables cost more than they save.
    if (size >= 512) {
        crc = slice_by_8(polynomial, crc, at, size / 8);
        at += size / 8 * 8;
        size %= 8;
    }
    for (size_t i = 0; i < size; i++) crc = step_bits(polynomial, crc ^ at[i]);
    return ~crc;
}

uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t size) {
    return crc_portable(castagnoli, crc, bytes, size);
}

uint32_t crc32_zip(uint32_t crc, const void *bytes, size_t size) {
    return crc_portable(ieee_802_3, crc, bytes, size);
}

// ---- SSE4.2 ---------------------------------------------------------------------------------

#if defined(__x86_64__)
#include <immintrin.h>

enum {
    LANE = 8192 // bytes, a multiple of 8; long, as the prefetcher starts anew in every lane
};

__attribute__((target("sse4.2"))) static uint32_t step_word(uint32_t crc, const uint8_t *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return (uint32_t)_mm_crc32_u64(crc, word);
}

// The register after `n` more zero bytes, where factor = x^(8n - 33) mod P, bits reversed. The
// carry-less product of two reversed polynomials is that of the polynomials times x, reversed, and
// crc32 of a 64-bit word from 0 multiplies by x^32: together the missing 33.
__attribute__((target("sse4.2,pclmul"))) static uint32_t shift(uint32_t crc, uint32_t factor) {
    const __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128(crc), _mm_cvtsi64_si128(factor), 0);
    return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

// The instruction takes a word each cycle but needs three to finish, so three lanes run side by side
// and are joined: crc(ABC) = crc(A) shifted by two lanes + crc(B) shifted by one + crc(C) (Gopal et al.,
// "Fast CRC Computation for iSCSI Polynomial Using CRC32 Instruction", Intel 2011).
__attribute__((target("sse4.2,pclmul"))) static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *bytes, size_t size) {
    crc = ~crc;
    while (size >= (size_t)3 * LANE) {
        uint32_t second = 0;
        uint32_t third = 0;
        for (size_t i = 0; i < LANE; i += 8) {
            crc = step_word(crc, bytes + i);
            second = step_word(second, bytes + LANE + i);
            third = step_word(third, bytes + 2 * LANE + i);
        }
        crc = shift(crc, 0x1dc403cc) ^ shift(second, 0x54a86326) ^ third;
        bytes += (size_t)3 * LANE;
        size -= (size_t)3 * LANE;
    }
    for (; size >= 8; size -= 8, bytes += 8) crc = step_word(crc, bytes);
    for (; size > 0; size--, bytes++) crc = _mm_crc32_u8(crc, *bytes);
    return ~crc;
}
#endif

// ---- The choice -----------------------------------------------------------------------------

uint32_t crc32c(uint32_t crc, const void *bytes, size_t size) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) return crc32c_sse42(crc, bytes, size);
#endif
    return crc32c_portable(crc, bytes, size);
}
