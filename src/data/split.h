// split.h: which rows are used, in which order, and for what: the draws of the book's chapter 6.
//
// The random draws are pandas' with random_state=seed, so that the same seed gives the same rows in the same order.
// An order is a list of row numbers; the rows themselves stay where they are.
#ifndef DATA_SPLIT_H
#define DATA_SPLIT_H

#include "base/error.h"

// As many rows of each label as the rarest has, label after label: of a label that has more, pandas'
// sample(n, random_state=seed) of its rows; of one that has not, all in file order. With two labels of which 0 has
// more rows this is the book's create_balanced_dataset(). labels [n]; order has room for n; *n_order gets how many it
// is.
bool split_balance(const int32_t *labels, size_t n, int n_labels, uint64_t seed, int64_t *order, size_t *n_order,
                   struct llm_error *err);

// Where a shuffled order is cut: [0, train) is for training, [train, validation) for validation, the rest for the test.
struct split {
    size_t train, validation, n;
};

// Shuffles order [n] as pandas' sample(frac=1, random_state=seed) does and cuts it at int(n * train) and
// int(n * validation) more: the book's random_split(). With `labels` (by row number; NULL: without), the cuts are made
// for each label by itself, so that each part has its share of each.
bool split_random(int64_t *order, size_t n, double train, double validation, const int32_t *labels, int n_labels,
                  uint64_t seed, struct split *split, struct llm_error *err);

// The same cuts without a shuffle: chapter 7's, in file order. There the test part lies between the two others.
struct split split_in_order(size_t n, double first, double second);

#endif
