// split.c: see split.h.
#include "data/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

// The rows with this label, in file order. Returns how many.
static size_t rows_of(const int32_t *labels, size_t n, int32_t label, int64_t *rows) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        if (labels[i] == label) rows[found++] = (int64_t)i;
    }
    return found;
}

// The rows of the rarest label that occurs at all.
static size_t rarest(const int32_t *labels, size_t n, int n_labels, int64_t *scratch) {
    size_t least = n;
    for (int label = 0; label < n_labels; label++) {
        const size_t found = rows_of(labels, n, label, scratch);
        if (found > 0 && found < least) least = found;
    }
    return least;
}

bool split_balance(const int32_t *labels, size_t n, int n_labels, uint64_t seed, int64_t *order, size_t *n_order,
                   struct llm_error *err) {
    int64_t *rows = calloc(n + 1, sizeof *rows), *drawn = calloc(n + 1, sizeof *drawn);
    const bool ok = rows != NULL && drawn != NULL;
    const size_t least = ok ? rarest(labels, n, n_labels, rows) : 0;
    *n_order = 0;
    for (int label = 0; ok && label < n_labels; label++) {
        const size_t found = rows_of(labels, n, label, rows);
        const size_t used = found < least ? found : least;
        struct random random;
        random_init(&random, seed); // each sample() begins anew
        if (found > least) random_numpy_permutation(&random, drawn, found);
        for (size_t i = 0; i < used; i++) order[(*n_order)++] = rows[found > least ? (size_t)drawn[i] : i];
    }
    free(rows);
    free(drawn);
    return ok || error_memory(err, "balance");
}

struct split split_in_order(size_t n, double first, double second) {
    struct split split = {.n = n};
    split.train = (size_t)((double)n * first);
    split.validation = split.train + (size_t)((double)n * second);
    if (split.train > n) split.train = n;
    if (split.validation > n) split.validation = n;
    return split;
}

// Parts a shuffled order label by label: the first rows of each label, as they come, are for training, and so on,
// rounded to the nearest number. Within a part they stay in the shuffled order.
static bool stratify(int64_t *order, size_t n, const double fractions[2], const int32_t *labels, int n_labels,
                     struct split *split, struct llm_error *err) {
    size_t *total = calloc((size_t)n_labels * 2, sizeof *total); // rows of each label, then those seen so far
    int64_t *parts[3] = {calloc(n + 1, sizeof *order), calloc(n + 1, sizeof *order), calloc(n + 1, sizeof *order)};
    size_t sizes[3] = {0, 0, 0};
    const bool ok = total != NULL && parts[0] != NULL && parts[1] != NULL && parts[2] != NULL;
    if (!ok) error_memory(err, "split");
    for (size_t i = 0; ok && i < n; i++) total[labels[order[i]]]++;
    for (size_t i = 0; ok && i < n; i++) {
        const int32_t label = labels[order[i]];
        const double rows = (double)total[label], seen = (double)total[n_labels + label]++;
        const double end = round(rows * fractions[0]);
        const int part = seen < end ? 0 : seen < end + round(rows * fractions[1]) ? 1 : 2;
        parts[part][sizes[part]++] = order[i];
    }
    size_t at = 0;
    for (int part = 0; ok && part < 3; part++) {
        memcpy(order + at, parts[part], sizes[part] * sizeof *order);
        at += sizes[part];
    }
    *split = (struct split){sizes[0], sizes[0] + sizes[1], n};
    for (int part = 0; part < 3; part++) free(parts[part]);
    free(total);
    return ok;
}

bool split_random(int64_t *order, size_t n, double train, double validation, const int32_t *labels, int n_labels,
                  uint64_t seed, struct split *split, struct llm_error *err) {
    int64_t *drawn = calloc(n + 1, sizeof *drawn), *before = calloc(n + 1, sizeof *before);
    const bool ok = drawn != NULL && before != NULL;
    if (!ok) error_memory(err, "split");
    if (ok && n > 0) {
        struct random random;
        random_init(&random, seed);
        random_numpy_permutation(&random, drawn, n);
        memcpy(before, order, n * sizeof *order);
        for (size_t i = 0; i < n; i++) order[i] = before[drawn[i]];
    }
    free(drawn);
    free(before);
    if (!ok) return false;
    const double fractions[2] = {train, validation};
    if (labels != NULL) return stratify(order, n, fractions, labels, n_labels, split, err);
    *split = split_in_order(n, train, validation);
    return true;
}
