// cpu.h: the fast operations: drivers that cut an operation into parts for threads, kernels that compute a part.
//
// Each operation is one job of the team of threads (base/team.h). How it is cut depends on its shape only, never on the
// number of threads, and a part is computed by one thread: so results do not depend on that number either.
// For this reason oneDNN is called from inside the job, on one thread a call (told to use several, it
// cuts by their number, and its sums change with it).
//
// Scratch is shared by the sessions of an engine; whoever uses it holds host_state.lock.
#ifndef OPS_CPU_CPU_H
#define OPS_CPU_CPU_H

#include "ops/cpu/kernels.h"
#include "ops/host.h"

struct cpu {
    const struct kernels *kernels;
    const struct block_kernels *block_kernels; // the kernels' own, or those for VNNI
    int n_streams;                             // for kernels->product_part
    float *scratch;                            // [scratch_size], 64-byte aligned
    size_t scratch_size;
    void *packs; // each thread's, for products of our own (gemm.h); NULL below level avx512
};

// The kernels of a level (of "baseline" for levels that have none).
const struct kernels *cpu_kernels(enum ops_level level);

// Overrides what ref filled in. The table's level says which kernels.
bool cpu_init(struct ops *ops, struct llm_error *err);

void cpu_embed(struct ops *ops, float *out, const struct matrix *wte, const struct matrix *wpe, const int32_t *ids,
               const int32_t *positions, int n);
void cpu_layer_norm(struct ops *ops, float *out, const float *x, const float *weight, const float *bias, float epsilon,
                    int n, int n_embd);
bool cpu_linear(struct ops *ops, float *out, const float *x, const struct linear *linear, const float *residual, int n,
                struct llm_error *err);
void cpu_store_kv(struct ops *ops, float *key, float *value, const float *kv, int64_t row_stride, int n, int position,
                  int n_ctx, int n_head, int head_size);
void cpu_attention(struct ops *ops, const struct attention *attention, const struct attention_sequence *sequences,
                   int n_sequences);
void cpu_attention_backward(struct ops *ops, const struct attention *attention,
                            const struct attention_sequence *sequences, const struct attention_gradient *gradients,
                            int n_sequences);
bool cpu_head_loss(struct ops *ops, float *loss, const float *x, const struct matrix *weight, const int32_t *targets,
                   int n, struct llm_error *err);
bool cpu_linear_backward(struct ops *ops, float *dx, float *dweight, float *dbias, const float *dout, const float *x,
                         const struct linear *linear, int n, struct llm_error *err);
bool cpu_head_loss_backward(struct ops *ops, float *loss, float *dx, float *dweight, const float *x,
                            const struct matrix *weight, const int32_t *targets, const float *scales, int n,
                            struct llm_error *err);
void cpu_embed_backward(struct ops *ops, float *dwte, float *dwpe, const float *dout, const int32_t *ids,
                        const int32_t *positions, int n, int n_embd);
void cpu_layer_norm_backward(struct ops *ops, float *dx, float *dweight, float *dbias, const float *dout,
                             const float *x, const float *weight, float epsilon, int n, int n_embd);
void cpu_activate(struct ops *ops, float *out, const float *x, enum activation activation, int64_t n);
void cpu_activation_backward(struct ops *ops, float *dx, const float *dout, const float *x, enum activation activation,
                             int64_t n);
void cpu_dropout(struct ops *ops, float *out, const float *x, const uint8_t *keep, float scale, const float *residual,
                 int64_t n);
void cpu_adamw(struct ops *ops, float *weight, float *m, float *v, float *gradient, const struct adamw *settings,
               int64_t n);
double cpu_sum_of_squares(struct ops *ops, const float *x, int64_t n);
bool cpu_reserve(struct ops *ops, int n_rows, int n_wide, int64_t max_weight, struct llm_error *err);

// Makes the scratch at least `size` floats; what it held is lost. The lock is held.
bool cpu_scratch(struct cpu *cpu, size_t size, struct llm_error *err);

// Floats of scratch that cpu_product needs.
size_t cpu_product_scratch(const struct ops *ops, const struct product *product);
// Computes a product of any number of rows. `scratch` has the size above.
bool cpu_product(struct ops *ops, const struct product *product, float *scratch, struct llm_error *err);
// The same for few rows, and how it is done, linear_few.c.
size_t cpu_product_few_scratch(const struct product *product);
void cpu_product_few(struct ops *ops, const struct product *product, float *scratch);
// The same with weights in blocks, blocks.c.
size_t cpu_product_blocks_scratch(const struct product *product);
void cpu_product_blocks(struct ops *ops, const struct product *product, float *scratch);
// Rows `row` on of a product, at most `most` of them.
struct product cpu_product_rows(const struct product *product, int row, int most);
// Floats of scratch for the operations whose sizes ops->reserve was told.
size_t cpu_product_reserve(const struct ops *ops, int n_rows, int n_wide, int64_t max_weight);
size_t cpu_head_loss_reserve(int n_rows);
size_t cpu_layer_norm_reserve(int n_embd);

static inline struct cpu *cpu_of(struct ops *ops) {
    return host_state(ops)->cpu;
}

// Does a job on the team's threads, or, if it is not worth that, on this one.
static inline void cpu_run(struct ops *ops, bool parallel, team_work_fn *work, void *job) {
    if (parallel) {
        team_run(host_state(ops)->team, work, job);
    } else {
        team_run_alone(work, job);
    }
}

// Where thread `thread` of `n_threads` begins in n equal pieces of work; it ends where the next one begins.
static inline int64_t cpu_share(int64_t n, int thread, int n_threads) {
    return n * thread / n_threads;
}

// Where thread `part` of `n` begins when columns of an output are shared out in whole cache lines.
static inline int cpu_columns_begin(int n_out, int part, int n) {
    const int n_units = (n_out + PRODUCT_COLUMNS - 1) / PRODUCT_COLUMNS;
    const int begin = (int)cpu_share(n_units, part, n) * PRODUCT_COLUMNS;
    return begin < n_out ? begin : n_out;
}

// Jobs of fewer multiply-adds than this stay on one thread: below, waking the others costs more than they save.
enum {
    CPU_PARALLEL_WORK = 1 << 15
};

#endif
