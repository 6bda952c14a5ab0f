// ops.h: the seam between the model and the machine.
//
// A table of coarse operations, filled for a given level: ref (plain loops, the reader's text and every
// kernel's oracle), then baseline, AVX2, AVX-512 kernels and oneDNN for large products. The table
// carries its own state (threads, primitive cache, scratch), so there are no globals and any level can
// be forced. A GPU is another filling of the table.
//
// Memory goes through five verbs: alloc, free, put, get, zero. Between put and get only operations touch the
// numbers; sampler, initialiser and checkpoint work on what get returned.
//
// Contract
// - Arrays are row-major; shapes are in brackets. Activations and sums are F32; weights come in the
//   dtype they are stored in, at any alignment that suits their dtype.
// - "rows" are the tokens of a packed batch. Outputs overwrite, unless the comment says "adds".
//   In backward, gradients of parameters add, gradients of activations overwrite.
// - Inputs and outputs do not overlap, except where "in place" is said.
// - Results do not depend on the number of threads, and a row's result does not depend on which other
//   rows are in the call, up to rounding; for a given shape and level they are the same bits each time.
// - An operation allocates nothing after ops_reserve() was told the largest number of rows.
#ifndef OPS_OPS_H
#define OPS_OPS_H

#include "base/dtype.h"
#include "base/error.h"

enum ops_level {
    OPS_REF,      // plain C loops, one source for every machine
    OPS_BASELINE, // the fast kernels compiled for the build's own baseline (SSE2 on x86-64), with oneDNN
    OPS_AVX2,     // AVX2 + FMA + F16C
    OPS_AVX512,   // AVX-512 F, BW, DQ, VL
    OPS_LEVELS
};

// A weight matrix as it lies in memory. In blocks (Q8_0, Q4_0) cols is a multiple of 32, and a linear's weight is
// transposed and without a stride. Products of few rows with such a weight, which is decoding, may round x to blocks of
// 32 numbers of 16 bits: an error of up to 1/65534 of a block's largest number.
struct matrix {
    const void *data; // [rows, cols]
    enum dtype dtype;
    int rows, cols;
};

enum activation {
    ACTIVATION_NONE,
    ACTIVATION_GELU_TANH,
    ACTIVATION_GELU_ERF,
    ACTIVATION_RELU
};

// y = activation(x W + bias) + residual
struct linear {
    struct matrix weight;
    bool transposed;   // false: weight is [n_in, n_out] (Conv1D, as GPT-2 stores it); true: [n_out, n_in]
    const float *bias; // [n_out] or NULL
    enum activation activation;
    int64_t stride; // from one row of the weight to the next, where its columns are a range of a wider matrix's;
                    // 0: weight.cols
};

static inline int64_t linear_stride(const struct linear *linear) {
    return linear->stride != 0 ? linear->stride : linear->weight.cols;
}

// Attention over several sequences. It is causal, unless `struct attention` says otherwise: query row i of a sequence
// with n_query queries and n_key keys sits at position n_key - n_query + i and sees the keys at positions up to its
// own.
struct attention_sequence {
    const float *query; // [n_query] rows, query_stride apart; head h begins at h * head_size
    const float *key;   // element (head h, position t, d): key[h * head_stride + t * row_stride + d]
    const float *value; // likewise
    float *out;         // [n_query] rows, out_stride apart
    int n_query, n_key;
    float *lse;          // [n_head, n_query] receives the log-sum-exp of each row of scaled scores; NULL: not wanted
    const uint8_t *keep; // [n_head, n_query, n_key] dropout: weights after the softmax that are 0 here become 0, the
                         // others grow by attention.keep_scale; NULL: no dropout
};

// Where the backward pass of one attention_sequence reads and writes. Strides as in `struct attention`. Queries of one
// sequence that are not neighbours are entries that follow one another with the same dkey: keys, and dvalue, are the
// same for them then, and dkey and dvalue, up to the largest n_key, receive the sum over them. Where a key is its own
// value, dvalue may be dkey, which receives the sum of both.
struct attention_gradient {
    const float *dout; // as sequence->out
    float *dquery;     // as sequence->query
    float *dkey;       // as sequence->key
    float *dvalue;     // as sequence->value
};

struct attention {
    int n_head, head_size;
    float scale; // applied to the scores
    int64_t query_stride, out_stride;
    int64_t head_stride, row_stride; // of key and value: a KV cache [n_head, n_ctx, head_size], or fused qkv rows
    float keep_scale;                // 1 / (1 - dropout); read only where a sequence has `keep`
    bool unmasked;                   // all queries of a sequence see all its keys
};

// How many keys query row i sees: the first ones.
static inline int attention_seen(const struct attention *attention, const struct attention_sequence *sequence, int i) {
    return attention->unmasked ? sequence->n_key : sequence->n_key - sequence->n_query + i + 1;
}

// One step of AdamW (Loshchilov and Hutter 2019), in the order of PyTorch's torch.optim.AdamW:
//     w -= lr * weight_decay * w;  m += (g - m) * (1 - beta1);  v = beta2 * v + (1 - beta2) * g * g
//     w -= lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon)
struct adamw {
    double lr, beta1, beta2, epsilon, weight_decay;
    int64_t step;     // 1 for the first
    float grad_scale; // the gradient is multiplied by this first: clipping
};

// What products are computed with.
enum ops_compute {
    OPS_COMPUTE_F32,
    OPS_COMPUTE_BF16 // operands of large products, and attention's, rounded to BF16, sums in F32
};

struct ops {
    enum ops_level level;
    enum ops_compute compute; // F32 unless ops_use_bf16() was called
    int n_threads;

    // Memory of the device. put() makes host bytes available to operations and may borrow them when
    // they are read-only and outlive the table; what it returns is freed with free() (which knows).
    void *(*alloc)(struct ops *ops, size_t bytes); // 64-byte aligned, zeroed; NULL: out of memory
    void (*free)(struct ops *ops, void *memory);
    const void *(*put)(struct ops *ops, const void *host, size_t bytes);
    const float *(*get)(struct ops *ops, const float *memory, size_t n);
    void (*zero)(struct ops *ops, float *memory, int64_t n); // memory[i] = 0

    // out[i] = wte[ids[i]] + wpe[positions[i]]            out [n, n_embd]
    // wpe NULL: out[i] = wte[ids[i]], which gathers the rows of any matrix.
    void (*embed)(struct ops *ops, float *out, const struct matrix *wte, const struct matrix *wpe, const int32_t *ids,
                  const int32_t *positions, int n);

    // out[i] = (x[i] - mean) / sqrt(variance + epsilon) * weight + bias, biased variance (Ba et al. 2016)
    // x, out [n, n_embd]; in place allowed
    void (*layer_norm)(struct ops *ops, float *out, const float *x, const float *weight, const float *bias,
                       float epsilon, int n, int n_embd);

    // out = activation(x W + bias) + residual            x [n, n_in], out [n, n_out], residual [n, n_out] or NULL
    // residual may be out itself.
    bool (*linear)(struct ops *ops, float *out, const float *x, const struct linear *linear, const float *residual,
                   int n, struct llm_error *err);

    // Copies keys and values into KV caches laid out [n_head, n_ctx, head_size]: row i of kv, which begins with
    // [key, value], n_embd wide each, and ends where the next one begins, row_stride on, goes to position
    // `position + i`.
    void (*store_kv)(struct ops *ops, float *key, float *value, const float *kv, int64_t row_stride, int n,
                     int position, int n_ctx, int n_head, int head_size);

    // out[t] = softmax(scale * q[t] K^T + mask) V, per head and sequence; no [T, T] array.
    void (*attention)(struct ops *ops, const struct attention *attention, const struct attention_sequence *sequences,
                      int n_sequences);

    // Cross-entropy of rows against targets, in nats: loss[i] = logsumexp(x[i] W^T) - (x[i] W^T)[target[i]].
    // The head `weight` is [vocab_size, n_embd]; the [n, vocab_size] logits never exist as a whole.
    bool (*head_loss)(struct ops *ops, float *loss, const float *x, const struct matrix *weight, const int32_t *targets,
                      int n, struct llm_error *err);

    // ---- Training ----

    // dwte[ids[i]] += dout[i], dwpe[positions[i]] += dout[i]; either may be NULL     dout [n, n_embd]
    void (*embed_backward)(struct ops *ops, float *dwte, float *dwpe, const float *dout, const int32_t *ids,
                           const int32_t *positions, int n, int n_embd);

    // dx adds: x is the residual stream, whose gradient is already there. dx, dweight and dbias may be NULL.
    // Mean and deviation are computed again from x.    dx, dout, x [n, n_embd]
    void (*layer_norm_backward)(struct ops *ops, float *dx, float *dweight, float *dbias, const float *dout,
                                const float *x, const float *weight, float epsilon, int n, int n_embd);

    // out = activation(x), where the value before it is kept.    x, out [n]; in place allowed
    void (*activate)(struct ops *ops, float *out, const float *x, enum activation activation, int64_t n);
    // dx = dout * activation'(x)    dx, dout, x [n]; dx may be dout
    void (*activation_backward)(struct ops *ops, float *dx, const float *dout, const float *x,
                                enum activation activation, int64_t n);

    // out = residual + (keep ? x * scale : 0)    x, out, keep [n], residual [n] or NULL; out may be x or residual
    // Its own backward: dx = keep ? dout * scale : 0.
    void (*dropout)(struct ops *ops, float *out, const float *x, const uint8_t *keep, float scale,
                    const float *residual, int64_t n);

    // dx = dout W^T, dweight += x^T dout in the weight's layout (its stride too), dbias += sum of dout's rows; each
    // may be NULL.
    // linear->activation is not looked at: dout is the gradient before it.    dx, x [n, n_in], dout [n, n_out]
    bool (*linear_backward)(struct ops *ops, float *dx, float *dweight, float *dbias, const float *dout, const float *x,
                            const struct linear *linear, int n, struct llm_error *err);

    // After attention() with lse: reads query, key, value, out, lse and keep of each sequence. No [T, T] array.
    void (*attention_backward)(struct ops *ops, const struct attention *attention,
                               const struct attention_sequence *sequences, const struct attention_gradient *gradients,
                               int n_sequences);

    // head_loss() and its gradient at once: with L = sum of scales[i] * loss[i],
    // dx = dL/dx (overwrites), dweight += dL/dW; either may be NULL.    dx, x [n, n_embd], scales [n]
    bool (*head_loss_backward)(struct ops *ops, float *loss, float *dx, float *dweight, const float *x,
                               const struct matrix *weight, const int32_t *targets, const float *scales, int n,
                               struct llm_error *err);

    // One step on one tensor; the gradient is zeroed in the same pass.    weight, m, v, gradient [n]
    void (*adamw)(struct ops *ops, float *weight, float *m, float *v, float *gradient, const struct adamw *settings,
                  int64_t n);
    // Sum of x[i]^2, in double. NaN or infinite if any x[i] is.
    double (*sum_of_squares)(struct ops *ops, const float *x, int64_t n);

    // Makes room for calls with up to n_rows rows, n_wide columns (the widest of n_inner, 3 n_embd) and
    // weights of up to max_weight elements, so that later calls allocate nothing. (head_loss_backward's room, a chunk
    // of logits, would be wasted on those who do not train: its first call makes it.)
    bool (*reserve)(struct ops *ops, int n_rows, int n_wide, int64_t max_weight, struct llm_error *err);

    void *state;
    void (*state_free)(struct ops *ops);
};

// Fills a table. level -1: MY_LLM_ISA ("ref", "baseline", "avx2", "avx512"; "auto"), else the best this
// CPU and operating system have. n_threads 0: threads_choose(). Asking for a level that the CPU lacks is an error.
struct ops *ops_new(int level, int n_threads, struct llm_error *err);
void ops_free(struct ops *ops);

// Large products, and attention of several queries, round their operands to BF16 from now on. An error where the CPU
// has no instructions for it: there it would only be slower.
bool ops_use_bf16(struct ops *ops, struct llm_error *err);

const char *ops_level_name(enum ops_level level);
// -1 for an unknown name.
int ops_level_from_name(const char *name);
bool ops_level_available(enum ops_level level);

#endif
