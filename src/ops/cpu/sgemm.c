// sgemm.c: see sgemm.h.
#include "ops/cpu/sgemm.h"

#include <omp.h>

#include "base/signals.h"

void sgemm_begin(struct sgemm_scope *scope) {
    scope->omp_threads = omp_get_max_threads();
    omp_set_num_threads(1);
    signals_hold(&scope->signals);
}

void sgemm_end(const struct sgemm_scope *scope) {
    signals_release(&scope->signals);
    omp_set_num_threads(scope->omp_threads);
}
