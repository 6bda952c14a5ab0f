// gemm_f32.c: products with operands in F32, compiled for AVX-512 (flags in CMakeLists.txt).
#include "ops/cpu/gemm.h"

#if defined(__x86_64__)

// NOLINTBEGIN(bugprone-suspicious-include): compiling the template here is what this file is for
#include "ops/cpu/gemm_tmpl.c"
// NOLINTEND(bugprone-suspicious-include)

enum gemm_status gemm_f32(const struct gemm *gemm, void *packs) {
    return gemm_blocks(gemm, packs);
}

#endif
