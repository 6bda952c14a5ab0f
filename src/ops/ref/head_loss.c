// head_loss.c: cross-entropy of the language-model head without storing its logits.
//
//     loss = log sum_v exp(l_v) - l_target,    l_v = x . W_v
//
// The log-sum-exp runs along with the logits: whenever a larger one appears, the sum so far is scaled
// down to it (Milakov, Gimelshein 2018, "Online normalizer calculation for softmax").
//
// Backward of sum_i scale_i loss_i, for which the logits are computed once more:
//
//     dl_v = scale (exp(l_v - logsumexp) - [v = target])    dx = sum_v dl_v W_v    dW_v += sum over rows of dl_v x
#include <math.h>

#include "ops/ref/ref.h"

static double logit(const float *x, const struct matrix *weight, int v) {
    double sum = 0;
    for (int k = 0; k < weight->cols; k++) sum += (double)x[k] * matrix_at(weight, v, k);
    return sum;
}

static double log_sum_exp(const float *x, const struct matrix *weight) {
    double max = logit(x, weight, 0);
    double sum = 1;
    for (int v = 1; v < weight->rows; v++) {
        const double l = logit(x, weight, v);
        if (l > max) {
            sum = sum * exp(max - l) + 1;
            max = l;
        } else {
            sum += exp(l - max);
        }
    }
    return max + log(sum);
}

bool ref_head_loss(struct ops *ops, float *loss, const float *x, const struct matrix *weight, const int32_t *targets,
                   int n, struct llm_error *err) {
    (void)ops;
    (void)err;
    for (int i = 0; i < n; i++) {
        const float *row = x + (size_t)i * (size_t)weight->cols;
        loss[i] = (float)(log_sum_exp(row, weight) - logit(row, weight, targets[i]));
    }
    return true;
}

enum {
    ROWS = 64,  // whose log-sum-exp is held at once
    TILE = 1024 // columns of dx that one pass over the vocabulary sums up
};

// A row of x, and what its logits' gradients take.
struct row {
    const float *x;
    int32_t target;
    double scale;
    double lse;
};

static double logit_backward(const struct row *row, const struct matrix *weight, int v) {
    const double p = exp(logit(row->x, weight, v) - row->lse);
    return row->scale * (v == row->target ? p - 1 : p);
}

static void x_backward(float *dx, const struct row *row, const struct matrix *weight) {
    for (int first = 0; first < weight->cols; first += TILE) {
        const int width = weight->cols - first < TILE ? weight->cols - first : TILE;
        double sum[TILE] = {0};
        for (int v = 0; v < weight->rows; v++) {
            const double dlogit = logit_backward(row, weight, v);
            for (int k = 0; k < width; k++) sum[k] += dlogit * matrix_at(weight, v, first + k);
        }
        for (int k = 0; k < width; k++) dx[first + k] = (float)sum[k];
    }
}

// Row v of dW.
static void weight_backward(float *dweight, const struct row *rows, int n, const struct matrix *weight, int v) {
    double dlogits[ROWS];
    for (int i = 0; i < n; i++) dlogits[i] = logit_backward(&rows[i], weight, v);
    for (int k = 0; k < weight->cols; k++) {
        double sum = 0;
        for (int i = 0; i < n; i++) sum += dlogits[i] * rows[i].x[k];
        dweight[k] = (float)(dweight[k] + sum);
    }
}

bool ref_head_loss_backward(struct ops *ops, float *loss, float *dx, float *dweight, const float *x,
                            const struct matrix *weight, const int32_t *targets, const float *scales, int n,
                            struct llm_error *err) {
    (void)ops;
    (void)err;
    const size_t n_embd = (size_t)weight->cols;
    for (int first = 0; first < n; first += ROWS) {
        const int n_rows = n - first < ROWS ? n - first : ROWS;
        struct row rows[ROWS];
        for (int i = 0; i < n_rows; i++) {
            const size_t at = (size_t)(first + i);
            rows[i] = (struct row){x + at * n_embd, targets[at], scales[at], log_sum_exp(x + at * n_embd, weight)};
            loss[at] = (float)(rows[i].lse - logit(rows[i].x, weight, rows[i].target));
            if (dx != NULL) x_backward(dx + at * n_embd, &rows[i], weight);
        }
        for (int v = 0; v < weight->rows && dweight != NULL; v++) {
            weight_backward(dweight + (size_t)v * n_embd, rows, n_rows, weight, v);
        }
    }
    return true;
}
