// gemm_tmpl.c: C = A B + beta C on AVX-512, sums in F32; compiled for operands in F32 (gemm_f32.c) and for operands
// rounded to BF16 (gemm_bf16.c, where GEMM_BF16 is defined), whose instruction is per lane
// sum += a[k] b[k] + a[k + 1] b[k + 1].
//
// A block of A is packed, and stays in the second-level cache; B then comes by in narrow strips, each packed when it is
// wanted, while the next one is being fetched (the blocking of Goto, van de Geijn 2008, "Anatomy of high-performance
// matrix multiplication"). Both are widened, rounded or transposed as they are packed, and packed alike, in strips of
// 16 rows of A or columns of B: [strip][step][16], where a step is one k, or with BF16 a pair of them, the lower below.
// Then MICRO_ROWS rows of A times a strip of B are summed up in registers while k runs: an instruction takes a vector
// of B and one number (pair) of A for all lanes.
#include <immintrin.h>

#include "ops/cpu/gemm.h"
#include "ops/cpu/transpose.h"
#include "ops/cpu/vector.h"

enum {
    STRIP = 16,
    MICRO_ROWS = 8,
    MICRO_STRIPS = 3, // 8 * 3 sums, 3 of B, 1 of A: 28 of 32 registers
#if defined(GEMM_BF16)
    STEP = 2, // of k
#else
    STEP = 1,
#endif
    SQUARE = STRIP * STEP, // numbers of a row that fill a vector when packed
    FETCH_STEPS = 8 / STEP // one line of the next strip so often: 256 rows of A are time enough for all of it
};
_Static_assert(MICRO_STRIPS *STRIP == GEMM_COLUMNS, "a strip of B");

// ---- Packing --------------------------------------------------------------------------------

// An operand as it lies in memory, a block of which is packed.
struct source {
    const char *data;
    enum dtype dtype;
    int64_t stride; // elements from one stored row to the next
    bool along;     // a stored row is one k, all of the strips; else, and always with blocks of 32, it runs along k
};

// Bytes of n elements; n is a multiple of 32 with blocks.
INLINE int64_t element_bytes(enum dtype dtype, int64_t n) {
    if (dtype == DTYPE_Q8_0) return n / 32 * 34;
    if (dtype == DTYPE_Q4_0) return n / 32 * 18;
    return n * (dtype == DTYPE_F32 ? 4 : 2);
}

INLINE const char *source_at(const struct source *s, enum dtype dtype, int64_t row, int64_t column) {
    return s->data + element_bytes(dtype, row * s->stride + column);
}

// Numbers in blocks of 32 (dtype.h). Rows are whole blocks, and so are depths: no vector of them is a part.
INLINE bool is_blocks(enum dtype dtype) {
    return dtype == DTYPE_Q8_0 || dtype == DTYPE_Q4_0;
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

#if defined(GEMM_BF16)

// [low 0 .. 15, high 0 .. 15] as BF16.
INLINE __m512i round_both(__m512 low, __m512 high) {
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// A step of a strip that lies along the rows of the source: two of them become pairs by mixing them.
INLINE __m512i pack_step(const struct source *s, enum dtype dtype, int first, int width, int k, int depth) {
    const __m512i mixed = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512 low = load_part(source_at(s, dtype, k, first), dtype, width);
    const __m512 high = load_part(source_at(s, dtype, k + 1, first), dtype, depth > 1 ? width : 0);
    return _mm512_permutexvar_epi16(mixed, round_both(low, high));
}

// As many numbers of a row, from k on, as fill a vector.
INLINE __m512i pack_row(const struct source *s, enum dtype dtype, int row, int k, int depth) {
    const char *from = source_at(s, dtype, row, k);
    if (is_blocks(dtype)) return round_both((__m512)vf_widen(from, dtype, 0), (__m512)vf_widen(from, dtype, 16));
    return round_both(load_part(from, dtype, depth),
                      load_part(from + (dtype == DTYPE_F32 ? 64 : 32), dtype, depth - 16));
}

INLINE __m512 multiply_add(__m512 sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

#else

INLINE __m512i pack_step(const struct source *s, enum dtype dtype, int first, int width, int k, int depth) {
    (void)depth;
    return (__m512i)load_part(source_at(s, dtype, k, first), dtype, width);
}

INLINE __m512i pack_row(const struct source *s, enum dtype dtype, int row, int k, int depth) {
    if (is_blocks(dtype)) return (__m512i)vf_widen(source_at(s, dtype, row, 0), dtype, (size_t)k);
    return (__m512i)load_part(source_at(s, dtype, row, k), dtype, depth);
}

INLINE __m512 multiply_add(__m512 sum, __m512i a, __m512i b) {
    return _mm512_fmadd_ps((__m512)a, (__m512)b, sum);
}

#endif

// One strip of a source whose rows lie along the strips.
INLINE void pack_along(__m512i *to, const struct source *s, enum dtype dtype, int first, int width, int k, int depth) {
    int i = 0;
    for (; i + STEP <= depth; i += STEP) to[i / STEP] = pack_step(s, dtype, first, width, k + i, STEP);
    if (i < depth) to[i / STEP] = pack_step(s, dtype, first, width, k + i, depth - i);
}

// 16 rows of `depth` <= SQUARE numbers, of which n_rows are there, as 16 steps.
INLINE void pack_square(__m512i *to, const struct source *s, enum dtype dtype, int row, int n_rows, int k, int depth) {
    __m512i rows[16];
    for (int i = 0; i < 16; i++) {
        rows[i] = i < n_rows ? pack_row(s, dtype, row + i, k, depth) : _mm512_setzero_si512();
    }
    transpose(rows);
    for (int i = 0; i < 16; i++) {
        if (STEP * i < depth) to[i] = rows[i];
    }
}

// One strip of a source whose rows run along k.
INLINE void pack_across(__m512i *to, const struct source *s, enum dtype dtype, int first, int width, int k, int depth) {
    int i = 0;
    for (; i + SQUARE <= depth && width >= STRIP; i += SQUARE) {
        pack_square(to + i / STEP, s, dtype, first, STRIP, k + i, SQUARE);
    }
    for (; i < depth; i += SQUARE) {
        pack_square(to + i / STEP, s, dtype, first, width, k + i, depth - i < SQUARE ? depth - i : SQUARE);
    }
}

INLINE void pack_as(__m512i *to, const struct source *s, enum dtype dtype, int first, int n, int k, int depth) {
    const int steps = (depth + STEP - 1) / STEP;
    for (int i = 0; i < n; i += STRIP, to += steps) {
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

INLINE void pack_blocks(__m512i *to, const struct source *s, enum dtype dtype, int first, int n, int k, int depth) {
    for (int i = 0; i < n; i += STRIP, to += depth / STEP) pack_across(to, s, dtype, first + i, n - i, k, depth);
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
    case DTYPE_Q8_0:
        pack_blocks(to, s, DTYPE_Q8_0, first, n, k, depth);
        break;
    case DTYPE_Q4_0:
        pack_blocks(to, s, DTYPE_Q4_0, first, n, k, depth);
        break;
    default:
        pack_as(to, s, DTYPE_F32, first, n, k, depth);
    }
}

// ---- Multiplying ----------------------------------------------------------------------------

// What will be packed next, to be fetched line by line: n_rows stored rows of n_lines cache lines.
struct fetch {
    const char *row;
    int64_t row_bytes;
    int line, n_lines;
    int n_rows;
};

static struct fetch fetch_make(const struct source *s, int first, int n, int k, int depth) {
    struct fetch fetch = {.row_bytes = element_bytes(s->dtype, s->stride)};
    fetch.row = s->along ? source_at(s, s->dtype, k, first) : source_at(s, s->dtype, first, k);
    fetch.n_rows = s->along ? depth : n;
    fetch.n_lines = (int)((element_bytes(s->dtype, s->along ? n : depth) + 63) / 64);
    return fetch;
}

INLINE void fetch_line(struct fetch *fetch) {
    if (fetch->n_rows == 0) return;
    __builtin_prefetch(fetch->row + (int64_t)fetch->line * 64, 0, 2);
    if (++fetch->line < fetch->n_lines) return;
    fetch->line = 0;
    fetch->row += fetch->row_bytes;
    fetch->n_rows--;
}

// n columns of B from `first` on, k .. k + depth - 1.
struct strip {
    const struct source *source;
    int first, n, k, depth;
    __m512i *packed;
};

static int steps_of(int depth) {
    return (depth + STEP - 1) / STEP;
}

// MICRO_ROWS rows, half a strip of A, times n_strips strips of B; n_rows of them are C's.
// fresh: B's are whole and F32, lie along the strips and are packed here, on the way.
INLINE void micro(float *c, int64_t stride, const uint32_t *a, const struct strip *b, int n_strips, bool fresh,
                  int n_rows, bool add, struct fetch *fetch) {
    const int steps = steps_of(b->depth);
    for (int r = 0; r < n_rows; r++) {
        for (int v = 0; v < n_strips; v++) __builtin_prefetch(c + r * stride + v * STRIP, 1);
    }
    __m512 sum[MICRO_ROWS][MICRO_STRIPS];
    for (int r = 0; r < MICRO_ROWS; r++) {
        for (int v = 0; v < n_strips; v++) sum[r][v] = _mm512_setzero_ps();
    }
    for (int first = 0; first < steps; first += FETCH_STEPS) {
        const int last = steps - first < FETCH_STEPS ? steps : first + FETCH_STEPS;
        for (int i = first; i < last; i++) {
            __m512i columns[MICRO_STRIPS];
            for (int v = 0; v < n_strips; v++) {
                __m512i *packed = b->packed + v * steps + i;
                if (fresh) {
                    *packed = pack_step(b->source, DTYPE_F32, b->first + v * STRIP, STRIP, b->k + i * STEP,
                                        b->depth - i * STEP);
                }
                columns[v] = *packed;
            }
            for (int r = 0; r < MICRO_ROWS; r++) {
                const __m512i row = _mm512_set1_epi32((int)a[i * STRIP + r]);
                for (int v = 0; v < n_strips; v++) sum[r][v] = multiply_add(sum[r][v], row, columns[v]);
            }
        }
        fetch_line(fetch);
    }
    for (int r = 0; r < MICRO_ROWS; r++) {
        if (r >= n_rows) break;
        for (int v = 0; v < n_strips; v++) {
            float *to = c + r * stride + v * STRIP;
            const int n = b->n - v * STRIP;
            const __mmask16 mask = n >= STRIP ? 0xffff : (__mmask16)((1U << n) - 1);
            if (add) sum[r][v] += _mm512_maskz_loadu_ps(mask, to);
            _mm512_mask_storeu_ps(to, mask, sum[r][v]);
        }
    }
}

// A packed block of A, m rows, times a strip of B, which is packed first or with the first rows.
static void multiply(float *c, int64_t stride, const __m512i *a, int m, const struct strip *b, bool add,
                     struct fetch *fetch) {
    const bool fresh = b->n == GEMM_COLUMNS && b->source->along && b->source->dtype == DTYPE_F32;
    if (!fresh) pack(b->packed, b->source, b->first, b->n, b->k, b->depth);
    const int steps = steps_of(b->depth);
    for (int i = 0; i < m; i += MICRO_ROWS) {
        const uint32_t *rows = (const uint32_t *)(a + i / STRIP * steps) + i % STRIP;
        const int n_rows = m - i < MICRO_ROWS ? m - i : MICRO_ROWS;
        float *to = c + i * stride;
        if (i == 0 && fresh) {
            micro(to, stride, rows, b, 3, true, n_rows, add, fetch);
        } else if (b->n > 2 * STRIP) {
            micro(to, stride, rows, b, 3, false, n_rows, add, fetch);
        } else if (b->n > STRIP) {
            micro(to, stride, rows, b, 2, false, n_rows, add, fetch);
        } else {
            micro(to, stride, rows, b, 1, false, n_rows, add, fetch);
        }
    }
}

static int least(int a, int b) {
    return a < b ? a : b;
}

// gemm_f32() or gemm_bf16()
static enum gemm_status gemm_blocks(const struct gemm *g, void *packs) {
    const struct source a = {(const char *)g->a, DTYPE_F32, g->a_stride, g->a_transposed};
    const struct source b = {g->b, g->b_dtype, g->b_stride, !g->b_transposed};
    const int depth = gemm_depth(g->k, STEP == 2);
    const int rows = gemm_rows(g->k, STEP == 2);
    __m512i *packed_a = packs;
    struct strip strip = {.source = &b, .packed = packed_a + GEMM_BLOCK / sizeof *packed_a};
    for (strip.k = 0; strip.k < g->k; strip.k += depth) {
        strip.depth = least(depth, g->k - strip.k);
        for (int i = 0; i < g->m; i += rows) {
            const int m = least(rows, g->m - i);
            pack(packed_a, &a, i, m, strip.k, strip.depth);
            for (int j = 0; j < g->n; j += GEMM_COLUMNS) {
                strip.first = j;
                strip.n = least(GEMM_COLUMNS, g->n - j);
                // Behind the last strip comes the first again, or that of the next k.
                const int next = j + strip.n < g->n ? j + strip.n : 0;
                const int next_k = next > 0 || i + m < g->m ? strip.k : strip.k + depth;
                struct fetch fetch = {0};
                if (next_k < g->k) {
                    fetch = fetch_make(&b, next, least(GEMM_COLUMNS, g->n - next), next_k, least(depth, g->k - next_k));
                }
                multiply(g->c + i * g->c_stride + j, g->c_stride, packed_a, m, &strip, g->add || strip.k > 0, &fetch);
            }
        }
    }
    return GEMM_OK;
}
