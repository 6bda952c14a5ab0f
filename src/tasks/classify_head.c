// classify_head.c: from the hidden state that is read to a label; see classify.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "tasks/classify.h"

bool classify_head_init(struct classify_head *head, const struct llm_engine *engine, int max_rows, bool trains,
                        struct llm_error *err) {
    struct ops *ops = engine->ops;
    const size_t n = (size_t)max_rows, n_labels = (size_t)engine->config.n_labels;
    *head = (struct classify_head){.ops = ops, .n_labels = engine->config.n_labels, .max_rows = max_rows};
    head->logits = ops->alloc(ops, n * n_labels * sizeof *head->logits);
    head->probabilities = malloc(n_labels * sizeof *head->probabilities);
    if (trains) head->dhidden = ops->alloc(ops, n * (size_t)engine->config.n_embd * sizeof *head->dhidden);
    if (head->logits != NULL && head->probabilities != NULL && (!trains || head->dhidden != NULL)) return true;
    classify_head_release(head);
    return error_memory(err, "a classifier's head");
}

void classify_head_release(struct classify_head *head) {
    if (head->logits != NULL) head->ops->free(head->ops, head->logits);
    if (head->dhidden != NULL) head->ops->free(head->ops, head->dhidden);
    free(head->probabilities);
    *head = (struct classify_head){0};
}

void classify_head_draw(const struct config *config, const struct param_block *weights, uint64_t seed) {
    struct random random;
    random_init(&random, seed);
    const size_t n_embd = (size_t)config->n_embd, n_labels = (size_t)config->n_labels;
    random_fill_linear_weight(&random, param_block_at(weights, PARAM_SCORE, 0), n_labels * n_embd, n_embd);
    random_fill_linear_bias(&random, param_block_at(weights, PARAM_SCORE_BIAS, 0), n_labels, n_embd);
}

bool classify_head_logits(struct classify_head *head, const struct llm_engine *engine, const float *hidden, int n,
                          const float **logits, struct llm_error *err) {
    const struct linear linear = classify_linear(engine);
    if (!head->ops->linear(head->ops, head->logits, hidden, &linear, NULL, n, err)) return false;
    *logits = head->ops->get(head->ops, head->logits, (size_t)n * (size_t)head->n_labels);
    return true;
}

struct linear classify_linear(const struct llm_engine *engine) {
    struct linear linear = {.weight = *weights_get(&engine->weights, PARAM_SCORE, 0), .transposed = true};
    if (engine->config.score_bias) linear.bias = weights_get(&engine->weights, PARAM_SCORE_BIAS, 0)->data;
    return linear;
}

int32_t classify_softmax(const float *logits, int n_labels, float *probabilities) {
    int32_t best = 0;
    for (int i = 1; i < n_labels; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    double sum = 0;
    for (int i = 0; i < n_labels; i++) sum += exp((double)logits[i] - (double)logits[best]);
    for (int i = 0; i < n_labels; i++) {
        probabilities[i] = (float)(exp((double)logits[i] - (double)logits[best]) / sum);
    }
    return best;
}

// ---- The loss -------------------------------------------------------------------------------

void classify_balanced_weights(const size_t *n_label, int n_labels, float *class_weights) {
    double n = 0;
    for (int i = 0; i < n_labels; i++) n += (double)n_label[i];
    for (int i = 0; i < n_labels; i++) class_weights[i] = (float)(n / ((double)n_labels * (double)n_label[i]));
}

void classify_cross_entropy(float *logits, const int32_t *labels, int n_rows, int n_labels, const float *class_weights,
                            const float *scales, float *losses) {
    double sum = 0;
    for (int i = 0; i < n_rows; i++) sum += (double)class_weights[labels[i]];
    for (int i = 0; i < n_rows; i++, logits += n_labels) {
        const int32_t label = labels[i];
        const double weight = (double)class_weights[label] * n_rows / sum;
        double most = (double)logits[0];
        for (int l = 1; l < n_labels; l++) most = fmax(most, (double)logits[l]);
        double total = exp((double)logits[0] - most);
        for (int l = 1; l < n_labels; l++) total += exp((double)logits[l] - most);
        losses[i] = (float)(weight * (most + log(total) - (double)logits[label]));
        const double scale = weight * (double)scales[i];
        for (int l = 0; l < n_labels; l++) {
            const double probability = exp((double)logits[l] - most) / total;
            logits[l] = (float)(scale * (probability - (l == label)));
        }
    }
}

// ---- Without a bias -------------------------------------------------------------------------

// Solves A x = b, A [n, n] symmetric and positive, by Cholesky's method, in place; x replaces b. False: A is singular
// as far as can be told.
static bool solve(double *a, double *b, size_t n) {
    for (size_t j = 0; j < n; j++) {
        const double before = a[j * n + j];
        for (size_t k = 0; k < j; k++) a[j * n + j] -= a[j * n + k] * a[j * n + k];
        if (!(a[j * n + j] > 1e-9 * before)) return false;
        a[j * n + j] = sqrt(a[j * n + j]);
        for (size_t i = j + 1; i < n; i++) {
            for (size_t k = 0; k < j; k++) a[i * n + j] -= a[i * n + k] * a[j * n + k];
            a[i * n + j] /= a[j * n + j];
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++) b[i] -= a[i * n + k] * b[k];
        b[i] /= a[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t k = i + 1; k < n; k++) b[i] -= a[k * n + i] * b[k];
        b[i] /= a[i * n + i];
    }
    return true;
}

// d = W^T x with (W W^T) x = c.
bool classify_fold_bias(const struct config *config, const float *score, const float *bias, float *norm_bias,
                        bool *folded, struct llm_error *err) {
    *folded = false;
    const size_t n = (size_t)config->n_labels, n_embd = (size_t)config->n_embd;
    if (n > n_embd) return true;
    double *a = malloc(n * n * sizeof *a), *x = malloc(n * sizeof *x);
    const bool ok = a != NULL && x != NULL;
    if (!ok) error_memory(err, "a head without bias");
    for (size_t i = 0; ok && i < n; i++) {
        x[i] = (double)bias[i];
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t d = 0; d < n_embd; d++) sum += (double)score[i * n_embd + d] * (double)score[j * n_embd + d];
            a[i * n + j] = sum;
        }
    }
    *folded = ok && solve(a, x, n);
    for (size_t d = 0; *folded && d < n_embd; d++) {
        double sum = (double)norm_bias[d];
        for (size_t i = 0; i < n; i++) sum += x[i] * (double)score[i * n_embd + d];
        norm_bias[d] = (float)sum;
    }
    free(a);
    free(x);
    return ok;
}
