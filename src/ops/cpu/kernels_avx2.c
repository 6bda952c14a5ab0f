// kernels_avx2.c: the kernels, compiled for the level "avx2" (flags in CMakeLists.txt).
#if defined(__x86_64__)

#include "ops/cpu/attention_tmpl.c"
#include "ops/cpu/machine_tmpl.c"
#include "ops/cpu/product_tmpl.c"
#include "ops/cpu/rows_tmpl.c"

const struct kernels kernels_avx2 = KERNELS;

#endif
