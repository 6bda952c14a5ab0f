// gemm_bf16.c: C = A B + beta C with A and B rounded to BF16, sums in F32, on vdpbf16ps (AVX512_BF16): per lane,
// sum += a[k] b[k] + a[k + 1] b[k + 1].
//
// Blocks of A and B are rounded and packed on their way into the cache (the blocking of Goto, van de Geijn 2008,
// "Anatomy of high-performance matrix multiplication"). Both are packed alike, in strips of 16 rows of A or columns of
// B: [strip][k / 2][16] pairs, element k below k + 1. Then a tile of MICRO_ROWS x (up to) 3 strips of C stays in
// registers while k runs: an instruction takes a strip of pairs of B and one pair of A for all lanes.
#include "ops/cpu/gemm.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "ops/cpu/vector.h"

enum {
    STRIP = 16,
    MICRO_ROWS = 8,
    MICRO_STRIPS = 3 // 8 * 3 sums, 3 of B, 1 of A: 28 of 32 registers
};
_Static_assert(GEMM_BF16_ROWS % STRIP == 0 && GEMM_BF16_COLUMNS % (MICRO_STRIPS * STRIP) == 0 &&
                   GEMM_BF16_DEPTH % 2 == 0,
               "blocks are whole strips");

// ---- Packing --------------------------------------------------------------------------------

// An operand as it lies in memory, a block of which is packed.
struct source {
    const char *data;
    enum dtype dtype;
    int64_t stride; // elements from one stored row to the next
    bool along;     // a stored row is one k, all of the strips; else it runs along k
};

INLINE const char *source_at(const struct source *s, enum dtype dtype, int64_t row, int64_t column) {
    return s->data + (row * s->stride + column) * (dtype == DTYPE_F32 ? 4 : 2);
}

// The first n numbers from `from` on, the rest 0; n may be more than 16 or less than 0.
INLINE __m512 load_part(const char *from, enum dtype dtype, int n) {
    if (n >= 16) return (__m512)vf_widen(from, dtype, 0);
    if (n <= 0) return _mm512_setzero_ps();
    const __mmask16 mask = (__mmask16)((1U << n) - 1);
    if (dtype == DTYPE_F32) return _mm512_maskz_loadu_ps(mask, from);
    const __m256i bits = _mm256_maskz_loadu_epi16(mask, from);
    return dtype == DTYPE_F16 ? _mm512_cvtph_ps(bits) : (__m512)vf_from_bf16((vh)bits);
}

// Low halves from `low`, high halves from `high`: [low 0 .. 15, high 0 .. 15] as BF16.
INLINE __m512i round_both(__m512 low, __m512 high) {
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// One strip of a source that lies along the strips: two rows become pairs by mixing them.
INLINE void pack_along(__m512i *to, const struct source *s, enum dtype dtype, int first, int width, int k, int depth) {
    const __m512i mixed = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    int i = 0;
    for (; i + 2 <= depth; i += 2) {
        const __m512 low = load_part(source_at(s, dtype, k + i, first), dtype, width);
        const __m512 high = load_part(source_at(s, dtype, k + i + 1, first), dtype, width);
        to[i / 2] = _mm512_permutexvar_epi16(mixed, round_both(low, high));
    }
    if (i < depth) {
        const __m512 low = load_part(source_at(s, dtype, k + i, first), dtype, width);
        to[i / 2] = _mm512_permutexvar_epi16(mixed, round_both(low, _mm512_setzero_ps()));
    }
}

// [16][16] numbers of 32 bits become their transpose.
INLINE void transpose(__m512i r[16]) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) { // r[i + c]: columns c, c + 4, c + 8, c + 12 of rows i .. i + 3
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int c = 0; c < 4; c++) {
        const __m512i even = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
        const __m512i even_below = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        const __m512i odd = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
        const __m512i odd_below = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
        t[c] = _mm512_shuffle_i32x4(even, even_below, 0x88);
        t[4 + c] = _mm512_shuffle_i32x4(odd, odd_below, 0x88);
        t[8 + c] = _mm512_shuffle_i32x4(even, even_below, 0xdd);
        t[12 + c] = _mm512_shuffle_i32x4(odd, odd_below, 0xdd);
    }
    for (int i = 0; i < 16; i++) r[i] = t[i];
}

// One strip of a source whose rows run along k: 16 rows of 16 pairs are transposed.
INLINE void pack_across(__m512i *to, const struct source *s, enum dtype dtype, int first, int width, int k, int depth) {
    for (int i = 0; i < depth; i += 32) {
        __m512i pairs[16];
        for (int row = 0; row < 16; row++) {
            pairs[row] = _mm512_setzero_si512();
            if (row >= width) continue;
            const char *from = source_at(s, dtype, first + row, k + i);
            const char *rest = source_at(s, dtype, first + row, k + i + 16);
            pairs[row] = round_both(load_part(from, dtype, depth - i), load_part(rest, dtype, depth - i - 16));
        }
        transpose(pairs);
        const int n_pairs = (depth - i + 1) / 2;
        for (int j = 0; j < 16 && j < n_pairs; j++) to[i / 2 + j] = pairs[j];
    }
}

INLINE void pack_as(__m512i *to, const struct source *s, enum dtype dtype, int first, int n, int k, int depth) {
    const int pairs = (depth + 1) / 2;
    for (int i = 0; i < n; i += STRIP, to += pairs) {
        if (s->along) {
            // The common case with a constant, so that its loads need no masks.
            if (n - i >= STRIP) {
                pack_along(to, s, dtype, first + i, STRIP, k, depth);
            } else {
                pack_along(to, s, dtype, first + i, n - i, k, depth);
            }
        } else {
            pack_across(to, s, dtype, first + i, n - i, k, depth);
        }
    }
}

// Elements k .. k + depth - 1 of rows (or columns) first .. first + n - 1.
static void pack(__m512i *to, const struct source *s, int first, int n, int k, int depth) {
    switch (s->dtype) {
    case DTYPE_F16:
        pack_as(to, s, DTYPE_F16, first, n, k, depth);
        break;
    case DTYPE_BF16:
        pack_as(to, s, DTYPE_BF16, first, n, k, depth);
        break;
    default:
        pack_as(to, s, DTYPE_F32, first, n, k, depth);
    }
}

// ---- Multiplying ----------------------------------------------------------------------------

// MICRO_ROWS rows, half a strip from `a` on, times n_strips strips of B; n_rows of them are C's.
INLINE void micro(float *c, int64_t stride, const uint32_t *a, const __m512i *b, int pairs, int n_strips, int n_rows,
                  int n_columns, bool add) {
    for (int r = 0; r < n_rows; r++) {
        for (int v = 0; v < n_strips; v++) __builtin_prefetch(c + r * stride + v * STRIP, 1);
    }
    __m512 sum[MICRO_ROWS][MICRO_STRIPS];
    for (int r = 0; r < MICRO_ROWS; r++) {
        for (int v = 0; v < n_strips; v++) sum[r][v] = _mm512_setzero_ps();
    }
    for (int k = 0; k < pairs; k++) {
        __m512bh columns[MICRO_STRIPS];
        for (int v = 0; v < n_strips; v++) columns[v] = (__m512bh)b[v * pairs + k];
        for (int r = 0; r < MICRO_ROWS; r++) {
            const __m512bh row = (__m512bh)_mm512_set1_epi32((int)a[k * STRIP + r]);
            for (int v = 0; v < n_strips; v++) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], row, columns[v]);
        }
    }
    for (int r = 0; r < MICRO_ROWS; r++) {
        if (r >= n_rows) break;
        for (int v = 0; v < n_strips; v++) {
            float *to = c + r * stride + v * STRIP;
            const int n = n_columns - v * STRIP;
            const __mmask16 mask = n >= STRIP ? 0xffff : (__mmask16)((1U << n) - 1);
            if (add) sum[r][v] += _mm512_maskz_loadu_ps(mask, to);
            _mm512_mask_storeu_ps(to, mask, sum[r][v]);
        }
    }
}

// A packed block of A times one of B.
static void multiply(float *c, int64_t stride, const __m512i *a, const __m512i *b, int m, int n, int pairs, bool add) {
    for (int i = 0; i < m; i += MICRO_ROWS) {
        const uint32_t *rows = (const uint32_t *)(a + i / STRIP * pairs) + i % STRIP;
        const int n_rows = m - i < MICRO_ROWS ? m - i : MICRO_ROWS;
        for (int j = 0; j < n; j += MICRO_STRIPS * STRIP) {
            const __m512i *columns = b + j / STRIP * pairs;
            float *to = c + i * stride + j;
            if (n - j > 2 * STRIP) {
                micro(to, stride, rows, columns, pairs, 3, n_rows, n - j, add);
            } else if (n - j > STRIP) {
                micro(to, stride, rows, columns, pairs, 2, n_rows, n - j, add);
            } else {
                micro(to, stride, rows, columns, pairs, 1, n_rows, n - j, add);
            }
        }
    }
}

static int least(int a, int b) {
    return a < b ? a : b;
}

// The size of nearly equal parts of n, none above `most`, in multiples of `unit`.
static int part_of(int n, int most, int unit) {
    const int parts = (n + most - 1) / most;
    return ((n + parts - 1) / parts + unit - 1) / unit * unit;
}

enum gemm_status gemm_bf16(const struct gemm *g, void *packs) {
    const struct source a = {(const char *)g->a, DTYPE_F32, g->a_stride, g->a_transposed};
    const struct source b = {g->b, g->b_dtype, g->b_stride, !g->b_transposed};
    __m512i *packed_a = packs;
    __m512i *packed_b = packed_a + GEMM_BF16_ROWS / STRIP * (GEMM_BF16_DEPTH / 2);
    const int rows = part_of(g->m, GEMM_BF16_ROWS, STRIP);
    const int columns = part_of(g->n, GEMM_BF16_COLUMNS, MICRO_STRIPS * STRIP);
    const int depth = part_of(g->k, GEMM_BF16_DEPTH, 2);
    for (int j = 0; j < g->n; j += columns) {
        const int n = least(columns, g->n - j);
        for (int k = 0; k < g->k; k += depth) {
            const int n_k = least(depth, g->k - k);
            pack(packed_b, &b, j, n, k, n_k);
            for (int i = 0; i < g->m; i += rows) {
                const int m = least(rows, g->m - i);
                pack(packed_a, &a, i, m, k, n_k);
                multiply(g->c + i * g->c_stride + j, g->c_stride, packed_a, packed_b, m, n, (n_k + 1) / 2,
                         g->add || k > 0);
            }
        }
    }
    return GEMM_OK;
}

#else

enum gemm_status gemm_bf16(const struct gemm *g, void *packs) {
    (void)g;
    (void)packs;
    return GEMM_REFUSED; // ops_use_bf16() lets nobody come here
}

#endif
