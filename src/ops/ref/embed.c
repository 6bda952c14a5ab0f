// embed.c: token and position embedding. GPT-2's input is the sum of two learned rows (Radford et al.
// 2018, section 3.1: h_0 = U W_e + W_p), so each of the two receives the sum's gradient as it is.
#include "ops/ref/ref.h"

void ref_embed(struct ops *ops, float *out, const struct matrix *wte, const struct matrix *wpe, const int32_t *ids,
               const int32_t *positions, int n) {
    (void)ops;
    const int n_embd = wte->cols;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n_embd; j++) {
            const float token = matrix_at(wte, ids[i], j);
            out[(size_t)i * (size_t)n_embd + (size_t)j] = wpe != NULL ? token + matrix_at(wpe, positions[i], j) : token;
        }
    }
}

// Adds in the order of the tokens: a sum of a few rows in F32, as PyTorch's.
void ref_embed_backward(struct ops *ops, float *dwte, float *dwpe, const float *dout, const int32_t *ids,
                        const int32_t *positions, int n, int n_embd) {
    (void)ops;
    for (int i = 0; i < n; i++) {
        const float *row = dout + (size_t)i * (size_t)n_embd;
        for (int j = 0; j < n_embd; j++) {
            if (dwte != NULL) dwte[(size_t)ids[i] * (size_t)n_embd + (size_t)j] += row[j];
            if (dwpe != NULL) dwpe[(size_t)positions[i] * (size_t)n_embd + (size_t)j] += row[j];
        }
    }
}
