// embed.c: token and position embedding. GPT-2's input is the sum of two learned rows (Radford et al.
// 2018, section 3.1: h_0 = U W_e + W_p).
#include "ops/ref/ref.h"

void ref_embed(struct ops *ops, float *out, const struct matrix *wte, const struct matrix *wpe, const int32_t *ids,
               const int32_t *positions, int n) {
    (void)ops;
    const int n_embd = wte->cols;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n_embd; j++) {
            out[(size_t)i * (size_t)n_embd + (size_t)j] = matrix_at(wte, ids[i], j) + matrix_at(wpe, positions[i], j);
        }
    }
}
