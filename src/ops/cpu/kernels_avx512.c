// kernels_avx512.c: the kernels, compiled for the level "avx512" (flags in CMakeLists.txt).
#include "ops/cpu/kernels.h"

#if defined(__x86_64__)

// NOLINTBEGIN(bugprone-suspicious-include): compiling the templates here is what this file is for
#include "ops/cpu/attention_backward_tmpl.c"
#include "ops/cpu/attention_tmpl.c"
#include "ops/cpu/blocks_tmpl.c"
#include "ops/cpu/elements_tmpl.c"
#include "ops/cpu/gradient_tmpl.c"
#include "ops/cpu/machine_tmpl.c"
#include "ops/cpu/product_tmpl.c"
#include "ops/cpu/rows_tmpl.c"
// NOLINTEND(bugprone-suspicious-include)

const struct kernels kernels_avx512 = KERNELS;

#endif
