// blocks_tmpl.c: products of a few rows with a transposed weight in blocks of 32 (dtype.h), for decoding.
//
// x is rounded to blocks of 16 bits, so that a block's part of a dot product is a sum of integers, which is exact,
// times two scales:
//
//     x . w = sum over blocks of x_scale * w_scale * (sum over i of x_q[i] * w_q[i])
//
// (With 8 bits vpdpbusd would multiply twice as many at once, but memory is what decoding waits for, and 16 bits are as
// good as F32 here.) Numbers of 4 bits are multiplied as stored, that is w_q + 8, and the sum starts at -8 times the
// block's sum of x_q (`offset`).
// Four rows of weights far apart are read side by side, as in product_tmpl.c, each weight once for INPUTS rows of x;
// lanes are added up at the end of a row only.
#include "ops/cpu/kernels.h"
#include "ops/cpu/vector.h"

enum {
    QUANTS = 32,    // numbers of a block
    Q8_BYTES = 34,  // scale and numbers
    Q4_BYTES = 18,  // two numbers a byte
    Q_STREAMS = 4,  // rows of weights that are read side by side
    Q_CHUNK = 8,    // blocks whose scales are prepared at once
    Q_BLOCK = 16,   // rows of each stream that stay in cache until all rows of x have met them
    Q_AHEAD = 1024, // bytes, of fetching
};

// What is not larger has no inverse.
static const float FLUSHED = 0x1p-100F;

// ---- Rounding x -----------------------------------------------------------------------------

// q = round(x / scale), scale = largest magnitude / 32767. A NaN or an infinity makes the scale NaN.
static void round_block(int16_t *q, float *scale, int32_t *offset, const float *x) {
    vf largest = vf_splat(0);
    vf unusual = vf_splat(0);
    for (int i = 0; i < QUANTS; i += LANES) {
        const vf v = vf_load(x + i);
        unusual += v * vf_splat(0);
        largest = vf_max(largest, vf_max(v, -v));
    }
    const float most = vf_largest(largest);
    const bool flushed = !(most > FLUSHED);
    *scale = (flushed ? 0 : most / 32767) + vf_sum(unusual);
    const vf inverse = vf_splat(flushed ? 0 : 32767 / most);
    const vf magic = vf_splat(0x1.8p23F); // adding it rounds to an integer, in the low bits
    vi sums = vi_splat(0);
    for (int i = 0; i < QUANTS; i += LANES) {
        const vi rounded = (vi)vf_multiply_add(vf_load(x + i), inverse, magic) - (vi)magic;
        const vs words = __builtin_convertvector(rounded, vs);
        memcpy(q + i, &words, sizeof words);
        sums += __builtin_convertvector(words, vi); // whatever a NaN was rounded to, 16 bits of it
    }
    int32_t sum = 0;
    for (int i = 0; i < LANES; i++) sum += sums[i];
    *offset = -8 * sum;
}

static void round_blocks(const struct block_rows *to, const float *x, int n, int n_in) {
    for (int64_t i = 0; i < (int64_t)n * n_in / QUANTS; i++) {
        round_block(to->q + i * QUANTS, &to->scale[i], &to->offset[i], x + i * QUANTS);
    }
}

// ---- One block ------------------------------------------------------------------------------

#if defined(__AVX2__)

typedef __m256 block_sum; // eight lanes of a row's sum
typedef struct {
    __m256i low, high; // 16 numbers each
} block_weights;

enum {
    INPUTS = LANES == 16 ? 4 : 2 // rows of x at once: their sums are what 32 or 16 registers hold
};

INLINE block_weights block_load(const uint8_t *block, enum dtype dtype) {
    const __m128i *bytes = (const __m128i *)(block + 2);
    if (dtype == DTYPE_Q8_0) {
        return (block_weights){_mm256_cvtepi8_epi16(_mm_loadu_si128(bytes)),
                               _mm256_cvtepi8_epi16(_mm_loadu_si128(bytes + 1))};
    }
    const __m256i words = _mm256_cvtepu8_epi16(_mm_loadu_si128(bytes));
    return (block_weights){_mm256_and_si256(words, _mm256_set1_epi16(15)), _mm256_srli_epi16(words, 4)};
}

// sum + products of neighbours, added in pairs
INLINE __m256i dot_words(__m256i sum, __m256i a, __m256i b) {
#if defined(__AVX512VNNI__)
    return _mm256_dpwssd_epi32(sum, a, b);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
#endif
}

INLINE block_sum block_add(block_sum sum, block_weights w, const int16_t *q, int32_t offset, float scale,
                           enum dtype dtype) {
    const __m256i *x = (const __m256i *)q;
    __m256i dot = dtype == DTYPE_Q8_0 ? _mm256_setzero_si256() : _mm256_castsi128_si256(_mm_cvtsi32_si128(offset));
    dot = dot_words(dot, w.low, _mm256_loadu_si256(x));
    dot = dot_words(dot, w.high, _mm256_loadu_si256(x + 1));
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_set1_ps(scale), sum);
}

INLINE block_sum block_zero(void) {
    return _mm256_setzero_ps();
}

INLINE float block_total(block_sum sum) {
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
}

#else

typedef float block_sum;
typedef const uint8_t *block_weights;

enum {
    INPUTS = 1
};

INLINE block_weights block_load(const uint8_t *block, enum dtype dtype) {
    (void)dtype;
    return block + 2;
}

INLINE block_sum block_add(block_sum sum, block_weights w, const int16_t *q, int32_t offset, float scale,
                           enum dtype dtype) {
    int32_t dot = 0;
    if (dtype == DTYPE_Q8_0) {
        for (int i = 0; i < QUANTS; i++) dot += (int8_t)w[i] * q[i];
        return sum + scale * (float)dot;
    }
    for (int i = 0; i < QUANTS / 2; i++) dot += (w[i] & 15) * q[i];
    for (int i = 0; i < QUANTS / 2; i++) dot += (w[i] >> 4) * q[i + QUANTS / 2];
    return sum + scale * (float)(dot + offset);
}

INLINE block_sum block_zero(void) {
    return 0;
}

INLINE float block_total(block_sum sum) {
    return sum;
}

#endif

// ---- Rows of weights ------------------------------------------------------------------------

// The scales of n <= Q_CHUNK blocks, times those of x.
INLINE void chunk_scales(float *to, const uint8_t *block, int bytes, int n, const float *x_scale) {
#if defined(__F16C__)
    if (n == Q_CHUNK) {
        uint16_t half[Q_CHUNK];
        for (int b = 0; b < Q_CHUNK; b++) memcpy(&half[b], block + b * bytes, 2);
        const __m128i halves = _mm_set_epi16((short)half[7], (short)half[6], (short)half[5], (short)half[4],
                                             (short)half[3], (short)half[2], (short)half[1], (short)half[0]);
        _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_cvtph_ps(halves), _mm256_loadu_ps(x_scale)));
        return;
    }
#endif
    for (int b = 0; b < n; b++) to[b] = f_from_f16(block + b * bytes) * x_scale[b];
}

// What is multiplied: a product's weights and rows of x from `row` on.
struct q_rows {
    const uint8_t *weight;
    int64_t weight_bytes; // of a row
    const int16_t *q;
    const float *scale;
    const int32_t *offset;
    int n_blocks;
    size_t ahead; // bytes, of fetching; 0: none
};

// n blocks from b on; n is Q_CHUNK, known when this is compiled, but for the last ones of a row.
INLINE void q_chunk(const struct q_rows *p, enum dtype dtype, int n_weights, int n_x, const uint8_t *const *w, int b,
                    int n, block_sum sum[INPUTS][Q_STREAMS]) {
    const int bytes = dtype == DTYPE_Q8_0 ? Q8_BYTES : Q4_BYTES;
    const int fetches = dtype == DTYPE_Q8_0 ? 2 : 4; // blocks to a line, about
    float scale[INPUTS][Q_STREAMS][Q_CHUNK];
    for (int r = 0; r < n_x; r++) {
        for (int i = 0; i < n_weights; i++) {
            chunk_scales(scale[r][i], w[i] + b * bytes, bytes, n, p->scale + r * p->n_blocks + b);
        }
    }
    const int16_t *q = p->q + (int64_t)b * QUANTS;
    const int32_t *offset = p->offset + b;
    for (int j = 0; j < n; j++) {
        if (p->ahead > 0 && j % fetches == 0) {
            for (int i = 0; i < n_weights; i++) fetch(w[i], (size_t)((b + j) * bytes) + p->ahead);
        }
        for (int i = 0; i < n_weights; i++) {
            const block_weights weights = block_load(w[i] + (b + j) * bytes, dtype);
            for (int r = 0; r < n_x; r++) {
                const int64_t at = (int64_t)r * p->n_blocks + j;
                sum[r][i] = block_add(sum[r][i], weights, q + at * QUANTS, offset[at], scale[r][i][j], dtype);
            }
        }
    }
}

// sums[r * stride + i * apart] = x[r] . W[i * apart] for n_weights rows of W and n_x rows of x.
INLINE void q_dots(const struct q_rows *p, enum dtype dtype, int n_weights, int n_x, int first, int64_t apart,
                   float *sums, int64_t stride) {
    const uint8_t *w[Q_STREAMS];
    for (int i = 0; i < n_weights; i++) w[i] = p->weight + (first + i * apart) * p->weight_bytes;
    block_sum sum[INPUTS][Q_STREAMS];
    for (int r = 0; r < n_x; r++) {
        for (int i = 0; i < n_weights; i++) sum[r][i] = block_zero();
    }
    int b = 0;
    for (; b + Q_CHUNK <= p->n_blocks; b += Q_CHUNK) q_chunk(p, dtype, n_weights, n_x, w, b, Q_CHUNK, sum);
    if (b < p->n_blocks) q_chunk(p, dtype, n_weights, n_x, w, b, p->n_blocks - b, sum);
    for (int r = 0; r < n_x; r++) {
        for (int i = 0; i < n_weights; i++) sums[r * stride + i * apart] = block_total(sum[r][i]);
    }
}

// n rows of weights from `first` on, and as many from each of first + apart, ..., for all rows of x. The first rows of
// x read the weights from memory, the others find them in cache.
INLINE void q_block(const struct product *p, const struct block_rows *x, enum dtype dtype, int n_weights, int first,
                    int n, int64_t apart, float *sums, int64_t stride) {
    const int n_blocks = p->n_in / QUANTS;
    for (int row = 0; row < p->n; row += INPUTS) {
        const int64_t at = (int64_t)row * n_blocks;
        const struct q_rows rows = {.weight = p->weight,
                                    .weight_bytes = (int64_t)n_blocks * (dtype == DTYPE_Q8_0 ? Q8_BYTES : Q4_BYTES),
                                    .q = x->q + at * QUANTS,
                                    .scale = x->scale + at,
                                    .offset = x->offset + at,
                                    .n_blocks = n_blocks,
                                    .ahead = row == 0 ? Q_AHEAD : 0};
        float *to = sums + row * stride;
        const int n_x = p->n - row;
        for (int i = 0; i < n; i++) {
            if (n_x >= INPUTS) {
                q_dots(&rows, dtype, n_weights, INPUTS, first + i, apart, to + i, stride);
            } else if (n_x == 3 && INPUTS > 3) {
                q_dots(&rows, dtype, n_weights, INPUTS > 3 ? 3 : 1, first + i, apart, to + i, stride);
            } else if (n_x == 2 && INPUTS > 2) {
                q_dots(&rows, dtype, n_weights, INPUTS > 2 ? 2 : 1, first + i, apart, to + i, stride);
            } else {
                q_dots(&rows, dtype, n_weights, 1, first + i, apart, to + i, stride);
            }
        }
    }
}

INLINE void product_blocks_as(const struct product *p, const struct block_rows *x, enum dtype dtype, float *sums,
                              int64_t stride, int first, int last) {
    const int apart = (last - first) / Q_STREAMS;
    for (int c = 0; c < apart; c += Q_BLOCK) {
        const int n = apart - c < Q_BLOCK ? apart - c : Q_BLOCK;
        q_block(p, x, dtype, Q_STREAMS, first + c, n, apart, sums + c, stride);
    }
    const int c = Q_STREAMS * apart;
    if (first + c < last) q_block(p, x, dtype, 1, first + c, last - first - c, 0, sums + c, stride);
}

static void product_blocks(const struct product *p, const struct block_rows *x, float *sums, int64_t stride, int first,
                           int last) {
    if (p->dtype == DTYPE_Q8_0) {
        product_blocks_as(p, x, DTYPE_Q8_0, sums, stride, first, last);
    } else {
        product_blocks_as(p, x, DTYPE_Q4_0, sums, stride, first, last);
    }
}
