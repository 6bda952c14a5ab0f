// cpu.c: see cpu.h.
#include "ops/cpu/gemm.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <stdlib.h>

const struct kernels *cpu_kernels(enum ops_level level) {
    switch (level) {
#if defined(__x86_64__)
    case OPS_AVX512:
        return &kernels_avx512;
    case OPS_AVX2:
        return &kernels_avx2;
#endif
    default:
        return &kernels_baseline;
    }
}

// AMD's processors from Zen 5 on (family 1Ah) read weights fastest as four streams, those before as eight
// (docs/performance.md).
static int best_streams(void) {
#if defined(__x86_64__)
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__builtin_cpu_is("amd") && __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0) {
        const unsigned family = (eax >> 8 & 0xf) + (eax >> 20 & 0xff);
        if (family >= 0x1a) return PRODUCT_STREAMS / 2;
    }
#endif
    return PRODUCT_STREAMS;
}

bool cpu_init(struct ops *ops, struct llm_error *err) {
    struct cpu *cpu = calloc(1, sizeof *cpu);
    if (cpu == NULL) return error_memory(err, "operations");
    cpu->kernels = cpu_kernels(ops->level);
    cpu->block_kernels = &cpu->kernels->blocks;
#if defined(__x86_64__)
    if (ops->level == OPS_AVX512 && __builtin_cpu_supports("avx512vnni")) cpu->block_kernels = &block_kernels_vnni;
#endif
    cpu->n_streams = best_streams();
    host_state(ops)->cpu = cpu;
    if (ops->level == OPS_AVX512) {
        cpu->packs = aligned_alloc(64, (size_t)ops->n_threads * GEMM_PACKS);
        if (cpu->packs == NULL) return error_memory(err, "operations");
    }
    ops->embed = cpu_embed;
    ops->layer_norm = cpu_layer_norm;
    ops->linear = cpu_linear;
    ops->store_kv = cpu_store_kv;
    ops->attention = cpu_attention;
    ops->attention_backward = cpu_attention_backward;
    ops->head_loss = cpu_head_loss;
    ops->linear_backward = cpu_linear_backward;
    ops->head_loss_backward = cpu_head_loss_backward;
    ops->embed_backward = cpu_embed_backward;
    ops->layer_norm_backward = cpu_layer_norm_backward;
    ops->activate = cpu_activate;
    ops->activation_backward = cpu_activation_backward;
    ops->dropout = cpu_dropout;
    ops->adamw = cpu_adamw;
    ops->sum_of_squares = cpu_sum_of_squares;
    ops->reserve = cpu_reserve;
    return true;
}

bool cpu_scratch(struct cpu *cpu, size_t size, struct llm_error *err) {
    if (size <= cpu->scratch_size) return true;
    if (size > (SIZE_MAX - 63) / sizeof *cpu->scratch) return error_memory(err, "scratch for matrix products");
    free(cpu->scratch);
    cpu->scratch_size = 0;
    cpu->scratch = aligned_alloc(64, (size * sizeof *cpu->scratch + 63) / 64 * 64);
    if (cpu->scratch == NULL) return error_memory(err, "scratch for matrix products");
    cpu->scratch_size = size;
    return true;
}

bool cpu_reserve(struct ops *ops, int n_rows, int n_wide, int64_t max_weight, struct llm_error *err) {
    size_t size = cpu_product_reserve(ops, n_rows, n_wide, max_weight) + cpu_head_loss_reserve(n_rows);
    if (size < cpu_layer_norm_reserve(n_wide)) size = cpu_layer_norm_reserve(n_wide);
    struct host_state *state = host_state(ops);
    pthread_mutex_lock(&state->lock);
    const bool ok = cpu_scratch(state->cpu, size, err);
    pthread_mutex_unlock(&state->lock);
    return ok;
}
