// ops.c: choosing a level and filling the table for it: ref first, then the faster kernels over it.
#include "ops/ops.h"

#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "ops/cpu/cpu.h"
#include "ops/host.h"
#include "ops/ref/ref.h"

static const char *const level_names[OPS_LEVELS] = {
    [OPS_REF] = "ref",
    [OPS_BASELINE] = "baseline",
    [OPS_AVX2] = "avx2",
    [OPS_AVX512] = "avx512",
};

const char *ops_level_name(enum ops_level level) {
    return level_names[level];
}

int ops_level_from_name(const char *name) {
    for (int i = 0; i < OPS_LEVELS; i++) {
        if (strcmp(level_names[i], name) == 0) return i;
    }
    return -1;
}

bool ops_level_available(enum ops_level level) {
    switch (level) {
    case OPS_REF:
    case OPS_BASELINE:
        return true;
#if defined(__x86_64__)
    // __builtin_cpu_supports also asks whether the operating system saves the registers.
    case OPS_AVX2:
        // F16C has no name in clang 14; it is older than AVX2 and every processor with AVX2 has it.
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case OPS_AVX512:
        return ops_level_available(OPS_AVX2) && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
#endif
    default:
        return false;
    }
}

// The level asked for by argument, else by MY_LLM_ISA, else the best one; -1 with a sentence.
static int level_choose(int level, struct llm_error *err) {
    const char *source = "level";
    if (level < 0) {
        const char *name = getenv("MY_LLM_ISA");
        if (name == NULL || *name == '\0' || strcmp(name, "auto") == 0) {
            level = OPS_LEVELS - 1;
            while (!ops_level_available((enum ops_level)level)) level--;
            return level;
        }
        level = ops_level_from_name(name);
        if (level < 0) {
            error_set(err, LLM_ERROR_ARGUMENT, "MY_LLM_ISA is '%s'; expected auto, ref, baseline, avx2 or avx512",
                      name);
            return -1;
        }
        source = "MY_LLM_ISA";
    }
    if (level >= OPS_LEVELS) {
        error_set(err, LLM_ERROR_ARGUMENT, "there is no level %d of operations; the highest is %d", level,
                  OPS_LEVELS - 1);
        return -1;
    }
    if (!ops_level_available((enum ops_level)level)) {
        error_set(err, LLM_ERROR_UNSUPPORTED, "%s asks for %s, which this processor does not have", source,
                  level_names[level]);
        return -1;
    }
    return level;
}

static void fill_ref(struct ops *ops) {
    ops->embed = ref_embed;
    ops->layer_norm = ref_layer_norm;
    ops->linear = ref_linear;
    ops->store_kv = ref_store_kv;
    ops->attention = ref_attention;
    ops->head_loss = ref_head_loss;
    ops->embed_backward = ref_embed_backward;
    ops->layer_norm_backward = ref_layer_norm_backward;
    ops->activate = ref_activate;
    ops->activation_backward = ref_activation_backward;
    ops->dropout = ref_dropout;
    ops->linear_backward = ref_linear_backward;
    ops->attention_backward = ref_attention_backward;
    ops->head_loss_backward = ref_head_loss_backward;
    ops->adamw = ref_adamw;
    ops->sum_of_squares = ref_sum_of_squares;
    ops->reserve = ref_reserve;
}

bool ref_reserve(struct ops *ops, int n_rows, int n_wide, int64_t max_weight, struct llm_error *err) {
    (void)ops;
    (void)n_rows;
    (void)n_wide;
    (void)max_weight;
    (void)err;
    return true; // plain loops need no room
}

struct ops *ops_new(int level, int n_threads, struct llm_error *err) {
    level = level_choose(level, err);
    if (level < 0) return NULL;
    struct ops *ops = calloc(1, sizeof *ops);
    if (ops == NULL) {
        error_memory(err, "operations");
        return NULL;
    }
    ops->level = (enum ops_level)level;
    if (!threads_choose(n_threads, &ops->n_threads, err) || !host_init(ops, err)) {
        free(ops);
        return NULL;
    }
    fill_ref(ops);
    if (ops->level != OPS_REF && !cpu_init(ops, err)) {
        ops_free(ops);
        return NULL;
    }
    return ops;
}

void ops_free(struct ops *ops) {
    if (ops == NULL) return;
    ops->state_free(ops);
    free(ops);
}

bool ops_use_bf16(struct ops *ops, struct llm_error *err) {
#if defined(__x86_64__)
    const bool available = __builtin_cpu_supports("avx512bf16");
#else
    const bool available = false;
#endif
    if (!available) {
        return error_set(err, LLM_ERROR_UNSUPPORTED,
                         "this processor has no instructions for BF16 products (AVX512_BF16): compute with f32");
    }
    if (ops->level != OPS_AVX512) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "BF16 products need level avx512; this is level %s",
                         level_names[ops->level]);
    }
    ops->compute = OPS_COMPUTE_BF16;
    return true;
}
