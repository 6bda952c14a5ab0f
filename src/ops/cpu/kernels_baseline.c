// kernels_baseline.c: the kernels, compiled for the level "baseline" (flags in CMakeLists.txt).
#include "ops/cpu/attention_tmpl.c"
#include "ops/cpu/machine_tmpl.c"
#include "ops/cpu/product_tmpl.c"
#include "ops/cpu/rows_tmpl.c"

const struct kernels kernels_baseline = KERNELS;
