// blocks_vnni.c: products with weights in blocks, compiled for AVX-512 with VNNI (flags in CMakeLists.txt), whose
// vpdpwssd multiplies and adds up two pairs of numbers of 16 bits a lane.
#include "ops/cpu/cpu.h"

#if defined(__x86_64__)

// NOLINTBEGIN(bugprone-suspicious-include): compiling the template here is what this file is for
#include "ops/cpu/blocks_tmpl.c"
// NOLINTEND(bugprone-suspicious-include)

const struct block_kernels block_kernels_vnni = {round_blocks, product_blocks};

#endif
