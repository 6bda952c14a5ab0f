// tokenizer.c: building a tokenizer from arrays, and the questions that need no encoding: see tokenizer.h.
#include "tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/pages.h"
#include "tokenizer/core.h"

struct llm_tokenizer *tokenizer_alloc(int n_tokens, size_t n_bytes, int n_merges, struct llm_error *err) {
    struct llm_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer == NULL) {
        error_memory(err, "tokenizer");
        return NULL;
    }
    // At most half full, so that look-ups of pairs that do not merge, the usual answer, end soon.
    tokenizer->pair_shift = 64 - 4;
    while (UINT64_MAX >> tokenizer->pair_shift < 2 * (uint64_t)n_merges) tokenizer->pair_shift--;
    const size_t n_slots = (size_t)1 << (64 - tokenizer->pair_shift);

    const size_t size = n_slots * sizeof *tokenizer->pairs + ((size_t)n_tokens + 1) * sizeof *tokenizer->starts +
                        (size_t)n_merges * sizeof *tokenizer->joined + n_bytes + TOKEN_SLACK;
    tokenizer->pairs = pages_alloc(size);
    tokenizer->shelf = encode_shelf_new();
    if (tokenizer->pairs == NULL || tokenizer->shelf == NULL) {
        llm_tokenizer_free(tokenizer);
        error_memory(err, "tokenizer");
        return NULL;
    }
    tokenizer->starts = (uint32_t *)(tokenizer->pairs + n_slots);
    tokenizer->joined = (int32_t *)(tokenizer->starts + n_tokens + 1);
    tokenizer->bytes = (char *)(tokenizer->joined + n_merges);
    tokenizer->n_tokens = n_tokens;
    tokenizer->n_merges = n_merges;
    tokenizer->eot = -1;
    return tokenizer;
}

bool tokenizer_add_merge(struct llm_tokenizer *tokenizer, int rank, int32_t left, int32_t right, int32_t joined,
                         struct llm_error *err) {
    const uint64_t key = pair_key(left, right);
    const uint64_t mask = UINT64_MAX >> tokenizer->pair_shift;
    uint64_t at = pair_home(tokenizer, key);
    for (int probes = 0; tokenizer->pairs[at] != 0; probes++) {
        const uint64_t slot = tokenizer->pairs[at];
        if (slot >> RANK_BITS == key) {
            return error_set(err, LLM_ERROR_FORMAT, "merges %d and %d join the same pair, tokens %d and %d",
                             (int)(slot & MAX_MERGES), rank + 1, left, right);
        }
        if (probes == MAX_PROBES) {
            return error_set(err, LLM_ERROR_FORMAT,
                             "the first %d merges collide in a way that only a made-up list does", rank + 1);
        }
        at = (at + 1) & mask;
    }
    tokenizer->pairs[at] = key << RANK_BITS | (uint64_t)(rank + 1);
    tokenizer->joined[rank] = joined;
    return true;
}

int32_t (*tokenizer_list_merges(const struct llm_tokenizer *tokenizer, struct llm_error *err))[2] {
    int32_t(*merges)[2] = calloc((size_t)tokenizer->n_merges + 1, sizeof *merges);
    if (merges == NULL) {
        error_memory(err, "merges");
        return NULL;
    }
    const uint64_t mask = UINT64_MAX >> tokenizer->pair_shift;
    for (uint64_t at = 0; at <= mask; at++) {
        const uint64_t slot = tokenizer->pairs[at];
        if (slot == 0) continue;
        int32_t *merge = merges[(slot & MAX_MERGES) - 1];
        merge[0] = (int32_t)(slot >> (RANK_BITS + ID_BITS));
        merge[1] = (int32_t)(slot >> RANK_BITS & MAX_TOKENS);
    }
    return merges;
}

bool tokenizer_index_bytes(struct llm_tokenizer *tokenizer, struct llm_error *err) {
    for (int byte = 0; byte < 256; byte++) tokenizer->byte_ids[byte] = -1;
    for (int id = 0; id < tokenizer->n_tokens; id++) {
        const uint32_t start = tokenizer->starts[id];
        if (tokenizer->starts[id + 1] - start != 1) continue;
        int32_t *byte_id = &tokenizer->byte_ids[(uint8_t)tokenizer->bytes[start]];
        if (*byte_id < 0) *byte_id = id;
    }
    for (int byte = 0; byte < 256; byte++) {
        if (tokenizer->byte_ids[byte] < 0) {
            return error_set(err, LLM_ERROR_FORMAT, "no token for byte 0x%02x: byte-level BPE needs all 256", byte);
        }
    }
    return true;
}

static bool check_tokens(const struct vocabulary *vocabulary, struct llm_error *err) {
    if (vocabulary->n_tokens < 1 || vocabulary->n_tokens > MAX_TOKENS) {
        return error_set(err, LLM_ERROR_FORMAT, "%d tokens, 1 to %d were expected", vocabulary->n_tokens, MAX_TOKENS);
    }
    if (vocabulary->n_merges < 0 || vocabulary->n_merges > MAX_MERGES) {
        return error_set(err, LLM_ERROR_FORMAT, "%d merges, 0 to %d were expected", vocabulary->n_merges, MAX_MERGES);
    }
    if (vocabulary->eot < -1 || vocabulary->eot >= vocabulary->n_tokens) {
        return error_set(err, LLM_ERROR_FORMAT, "<|endoftext|> has id %d, but there are %d tokens", vocabulary->eot,
                         vocabulary->n_tokens);
    }
    for (int id = 0; id < vocabulary->n_tokens; id++) {
        if (vocabulary->starts[id] > vocabulary->starts[id + 1]) {
            return error_set(err, LLM_ERROR_FORMAT, "token %d ends before it begins", id);
        }
    }
    return true;
}

// Every merge must name tokens that are there, and join their bytes to the token it names.
static bool check_merges(const struct vocabulary *vocabulary, struct llm_error *err) {
    const uint32_t *starts = vocabulary->starts;
    for (int rank = 0; rank < vocabulary->n_merges; rank++) {
        const int32_t *merge = vocabulary->merges[rank];
        for (int i = 0; i < 3; i++) {
            if (merge[i] < 0 || merge[i] >= vocabulary->n_tokens) {
                return error_set(err, LLM_ERROR_FORMAT, "merge %d names token %d, but there are %d tokens", rank + 1,
                                 merge[i], vocabulary->n_tokens);
            }
        }
        const char *left = vocabulary->bytes + starts[merge[0]];
        const char *right = vocabulary->bytes + starts[merge[1]];
        const char *joined = vocabulary->bytes + starts[merge[2]];
        const size_t n_left = starts[merge[0] + 1] - starts[merge[0]];
        const size_t n_right = starts[merge[1] + 1] - starts[merge[1]];
        if (starts[merge[2] + 1] - starts[merge[2]] != n_left + n_right || memcmp(joined, left, n_left) != 0 ||
            memcmp(joined + n_left, right, n_right) != 0) {
            return error_set(err, LLM_ERROR_FORMAT, "merge %d joins tokens %d and %d, which does not give token %d",
                             rank + 1, merge[0], merge[1], merge[2]);
        }
    }
    return true;
}

struct llm_tokenizer *tokenizer_new(const struct vocabulary *vocabulary, struct llm_error *err) {
    if (!check_tokens(vocabulary, err) || !check_merges(vocabulary, err)) return NULL;
    const uint32_t first = vocabulary->starts[0];
    const size_t n_bytes = vocabulary->starts[vocabulary->n_tokens] - first;
    struct llm_tokenizer *tokenizer = tokenizer_alloc(vocabulary->n_tokens, n_bytes, vocabulary->n_merges, err);
    if (tokenizer == NULL) return NULL;
    if (n_bytes > 0) memcpy(tokenizer->bytes, vocabulary->bytes + first, n_bytes);
    for (int id = 0; id <= vocabulary->n_tokens; id++) tokenizer->starts[id] = vocabulary->starts[id] - first;
    tokenizer->eot = vocabulary->eot;
    bool ok = tokenizer_index_bytes(tokenizer, err);
    for (int rank = 0; ok && rank < vocabulary->n_merges; rank++) {
        const int32_t *merge = vocabulary->merges[rank];
        ok = tokenizer_add_merge(tokenizer, rank, merge[0], merge[1], merge[2], err);
    }
    if (!ok) {
        llm_tokenizer_free(tokenizer);
        return NULL;
    }
    return tokenizer;
}

void llm_tokenizer_free(struct llm_tokenizer *tokenizer) {
    if (tokenizer == NULL) return;
    free(tokenizer->pairs); // the block that holds all arrays
    encode_shelf_free(tokenizer->shelf);
    free(tokenizer);
}

int llm_tokenizer_vocab_size(const struct llm_tokenizer *tokenizer) {
    return tokenizer->n_tokens;
}

int32_t llm_tokenizer_eot(const struct llm_tokenizer *tokenizer) {
    return tokenizer->eot;
}

const char *llm_tokenizer_token(const struct llm_tokenizer *tokenizer, int32_t id, size_t *size) {
    if (id < 0 || id >= tokenizer->n_tokens) return NULL;
    *size = tokenizer->starts[id + 1] - tokenizer->starts[id];
    return tokenizer->bytes + tokenizer->starts[id];
}

bool llm_tokenizer_decode(const struct llm_tokenizer *tokenizer, const int32_t *ids, size_t n_ids, char **text,
                          size_t *size, struct llm_error *err) {
    const uint32_t *starts = tokenizer->starts;
    size_t total = 0;
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || ids[i] >= tokenizer->n_tokens) {
            return error_set(err, LLM_ERROR_ARGUMENT, "there is no token %d: ids run from 0 to %d", ids[i],
                             tokenizer->n_tokens - 1);
        }
        total += starts[ids[i] + 1] - starts[ids[i]];
    }
    char *out = malloc(total + 1);
    if (out == NULL) return error_memory(err, "decoded text");
    size_t at = 0;
    for (size_t i = 0; i < n_ids; i++) {
        const size_t n = starts[ids[i] + 1] - starts[ids[i]];
        memcpy(out + at, tokenizer->bytes + starts[ids[i]], n);
        at += n;
    }
    out[total] = '\0';
    *text = out;
    *size = total;
    return true;
}
