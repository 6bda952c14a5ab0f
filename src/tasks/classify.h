// classify.h: the parts of llm_classify_train(): texts as ids, the head and its loss, what a run leaves to be read.
#ifndef TASKS_CLASSIFY_H
#define TASKS_CLASSIFY_H

#include "base/json.h"
#include "data/rows.h"
#include "data/split.h"
#include "model/engine.h"
#include "tasks/metrics.h"
#include "train/trainer.h"

// Settings that make sense?
bool classify_options_check(const struct llm_classify_options *options, struct llm_error *err);

// ---- classify_data.c: labelled texts, drawn and cut as asked, as ids ------------------------------

struct classify_data {
    struct rows rows;
    bool is_spam;        // the labels are ham and spam: told as "Not Spam" and "Spam", and written as 0 and 1
    const char **labels; // [rows.n_labels] as they are told
    int64_t *order;      // [n] rows in use: training, validation, test
    struct split split;  // where the parts end
    size_t *n_label;     // [n_labels] of the training part
    int32_t *ids;        // of all rows in use, one after another
    size_t *starts;      // [n + 1]
    int n_padded;        // 0: not padded
    int max_tokens;      // of one example, padded
    size_t n_cut;        // texts that were longer than allowed
    uint32_t checksum;   // of texts, labels and order
    int32_t *padded;     // [max_tokens] of one example
    int32_t *targets;    // [max_tokens] likewise
    int32_t eos;
};

// The labels as people are told them: of the SMS collection's ham and spam the book's words.
bool classify_is_spam(const char *const *labels, int n_labels);
extern const char *const classify_spam_rows[2]; // "ham", "spam"
extern const char *const classify_spam_told[2]; // "Not Spam", "Spam"

// Reads, balances, splits. `data` zeroed; classify_data_release() whatever is returned.
bool classify_data_read(struct classify_data *data, const struct llm_classify_options *options, struct llm_error *err);
// Texts to ids of the engine's vocabulary, cut and padded.
bool classify_data_encode(struct classify_data *data, const struct llm_engine *engine,
                          const struct llm_classify_options *options, struct llm_error *err);
// train.csv, validation.csv, test.csv
bool classify_data_write(const struct classify_data *data, const char *out, struct llm_error *err);
void classify_data_release(struct classify_data *data);

// Rows of a side: the first, and how many.
size_t classify_data_side(const struct classify_data *data, enum train_side side, size_t *n);
// An example of a side, valid until the next call.
void classify_data_example(struct classify_data *data, enum train_side side, int64_t number,
                           struct train_example *example);

// ---- classify_head.c: from the hidden state that is read to a label --------------------------------

struct classify_head {
    struct ops *ops;
    int n_labels, max_rows;
    float *logits;        // [max_rows, n_labels] operations' memory; becomes their gradient
    float *dhidden;       // [max_rows, n_embd] likewise; NULL: made for reading only
    float *probabilities; // [n_labels]
};

bool classify_head_init(struct classify_head *head, const struct llm_engine *engine, int max_rows, bool trains,
                        struct llm_error *err);
void classify_head_release(struct classify_head *head);
// Draws the new head as torch.manual_seed(seed); nn.Linear(n_embd, n_labels) does.
void classify_head_draw(const struct config *config, const struct param_block *weights, uint64_t seed);
// logits = hidden W^T + bias, as the operations want it.
struct linear classify_linear(const struct llm_engine *engine);
// head->logits of hidden [n, n_embd]; *logits is where they can be read.
bool classify_head_logits(struct classify_head *head, const struct llm_engine *engine, const float *hidden, int n,
                          const float **logits, struct llm_error *err);
// Softmax of logits [n_labels] in place of `probabilities`; returns the likeliest label, the first of equals.
int32_t classify_softmax(const float *logits, int n_labels, float *probabilities);
// As scikit-learn's "balanced" does it: texts / (labels * texts of the label), n_label [n_labels] texts of each.
void classify_balanced_weights(const size_t *n_label, int n_labels, float *class_weights);
// The cross-entropy of each row of logits [n_rows, n_labels], and in place of the logits the gradient of the sum of
// scales[i] * losses[i]. With class_weights [n_labels] other than 1, losses and gradients are those of PyTorch's mean:
// weighted, over the sum of the rows' weights (and times n_rows, which the scales divide by).
void classify_cross_entropy(float *logits, const int32_t *labels, int n_rows, int n_labels, const float *class_weights,
                            const float *scales, float *losses);
// Moves the head's bias into that of the final norm: with score W [n_labels, n_embd] and bias c, the shortest d with
// W d = c is added there. *folded false: there is no such d (more labels than n_embd, say), and nothing was done.
bool classify_fold_bias(const struct config *config, const float *score, const float *bias, float *norm_bias,
                        bool *folded, struct llm_error *err);

// ---- classify_report.c -----------------------------------------------------------------------------

struct classify_report {
    const struct classify_data *data;
    const struct llm_classify_options *options;
    const char *out;
    const json_t *measures;
    const struct prediction *predictions; // [n] of the test part, or of the validation part where that is empty
    size_t n;
    const char *part; // which it is
    int64_t steps_an_epoch;
};

// The accuracies' picture. Without a finished epoch nothing.
bool classify_plot_accuracy(const struct classify_report *report, struct llm_error *err);
bool classify_plot_losses(const struct classify_report *report, struct llm_error *err);
// report.md and the confusion matrix's picture.
bool classify_report_write(const struct classify_report *report, struct llm_error *err);

#endif
