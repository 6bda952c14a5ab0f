// train_merge.h: from counted pieces to merges, the sequential half of training.
#ifndef TOKENIZER_TRAIN_MERGE_H
#define TOKENIZER_TRAIN_MERGE_H

#include "base/str.h"
#include "tokenizer/train_count.h"

// What has been learnt; grows by one merge at a time.
struct learnt {
    struct strbuf bytes; // the tokens' bytes, one after another
    uint32_t *starts;    // [max_tokens + 2] where each begins; one entry behind the last
    int n_tokens;
    int32_t (*merges)[3]; // [n_merges] left id, right id, joined id
    int n_merges;
    size_t capacity; // of merges
};

void learnt_release(struct learnt *learnt);

// Learns from the pieces until there are max_tokens tokens (the 256 bytes among them) or no pair occurs
// min_frequency times. `learnt` comes zeroed; on failure, too, it is to be released.
bool train_merge(struct learnt *learnt, const struct piece_table *pieces, int max_tokens, int64_t min_frequency,
                 const struct llm_callbacks *callbacks, struct llm_error *err);

#endif
