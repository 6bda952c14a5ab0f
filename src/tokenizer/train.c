// train.c: see train.h. Counting is in train_count.c, merging in train_merge.c.
#include "tokenizer/train.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/core.h"
#include "tokenizer/train_count.h"
#include "tokenizer/train_merge.h"

struct bpe_trainer {
    int n_threads;
    struct piece_table tables[]; // [n_threads]
};

struct bpe_trainer *bpe_trainer_new(int n_threads, struct llm_error *err) {
    struct bpe_trainer *trainer = calloc(1, sizeof *trainer + (size_t)n_threads * sizeof trainer->tables[0]);
    if (trainer == NULL) {
        error_memory(err, "tokenizer trainer");
        return NULL;
    }
    trainer->n_threads = n_threads;
    return trainer;
}

void bpe_trainer_free(struct bpe_trainer *trainer) {
    if (trainer == NULL) return;
    for (int i = 0; i < trainer->n_threads; i++) piece_table_release(&trainer->tables[i]);
    free(trainer);
}

bool bpe_trainer_count(struct bpe_trainer *trainer, int thread, const char *text, size_t size, struct llm_error *err) {
    struct piece_table *table = &trainer->tables[thread];
    const char *end = text + size;
    while (text < end) {
        const char *mark = memmem(text, (size_t)(end - text), EOT_TEXT, strlen(EOT_TEXT));
        const char *document_end = mark == NULL ? end : mark;
        if (!piece_table_count(table, (const uint8_t *)text, (size_t)(document_end - text), err)) return false;
        text = mark == NULL ? end : mark + strlen(EOT_TEXT);
    }
    return true;
}

// Makes the tokenizer of what was learnt, with <|endoftext|> behind.
static struct llm_tokenizer *trained_tokenizer(struct learnt *learnt, struct llm_error *err) {
    strbuf_puts(&learnt->bytes, EOT_TEXT);
    if (!strbuf_ok(&learnt->bytes)) {
        error_memory(err, "tokens");
        return NULL;
    }
    learnt->starts[learnt->n_tokens + 1] = (uint32_t)learnt->bytes.size;
    const struct vocabulary vocabulary = {
        .n_tokens = learnt->n_tokens + 1,
        .bytes = learnt->bytes.bytes,
        .starts = learnt->starts,
        .n_merges = learnt->n_merges,
        .merges = (const int32_t(*)[3])learnt->merges,
        .eot = learnt->n_tokens,
    };
    return tokenizer_new(&vocabulary, err);
}

bool bpe_trainer_check(int vocab_size, int64_t min_frequency, struct llm_error *err) {
    const int smallest = 256 + 1;
    if (vocab_size < smallest || vocab_size > MAX_TOKENS) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "a vocabulary of %d ids: %d (the bytes and " EOT_TEXT ") to %d were expected", vocab_size,
                         smallest, MAX_TOKENS);
    }
    if (min_frequency >= 0) return true;
    return error_set(err, LLM_ERROR_ARGUMENT, "a least frequency of %lld: 0 or more was expected",
                     (long long)min_frequency);
}

struct llm_tokenizer *bpe_trainer_finish(struct bpe_trainer *trainer, int vocab_size, int64_t min_frequency,
                                         const struct llm_callbacks *callbacks, struct llm_error *err) {
    struct learnt learnt = {0};
    struct llm_tokenizer *tokenizer = NULL;
    bool ok = bpe_trainer_check(vocab_size, min_frequency, err);
    for (int i = 1; ok && i < trainer->n_threads; i++) {
        ok = piece_table_add(&trainer->tables[0], &trainer->tables[i], err);
        piece_table_release(&trainer->tables[i]);
    }
    if (ok && train_merge(&learnt, &trainer->tables[0], vocab_size - 1, min_frequency, callbacks, err)) {
        tokenizer = trained_tokenizer(&learnt, err);
    }
    learnt_release(&learnt);
    return tokenizer;
}
