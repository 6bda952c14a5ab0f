// train.h: a vocabulary of one's own: byte-level BPE learnt from text (Gage 1994, Sennrich et al. 2016).
//
//     text ── pieces (split.h) ── how often each occurs ── merges ── tokenizer
//
// The merges are those of Hugging Face tokenizers' BpeTrainer (ByteLevel alphabet, no prefix space) on the
// same documents, ties included. Ids: the 256 bytes in the order of the characters that spell them
// (bytelevel.h), then one id per merge, <|endoftext|> last. Counting may run on several threads; merging,
// where each step needs the one before, runs on one.
#ifndef TOKENIZER_TRAIN_H
#define TOKENIZER_TRAIN_H

#include "tokenizer/tokenizer.h"

struct bpe_trainer;

// A trainer for up to n_threads counting threads. Free with bpe_trainer_free().
struct bpe_trainer *bpe_trainer_new(int n_threads, struct llm_error *err);
void bpe_trainer_free(struct bpe_trainer *trainer);

// Counts the pieces of `text` [size]: documents parted by <|endoftext|>, which is itself not text, or parts of
// one cut by llm_tokenizer_cut() (a mark is never cut, as it holds no white space). Threads
// 0 .. n_threads - 1 may call this at once, each with its own number.
bool bpe_trainer_count(struct bpe_trainer *trainer, int thread, const char *text, size_t size, struct llm_error *err);

// Whether these can be had; says why not. Ask before counting, which may take long.
bool bpe_trainer_check(int vocab_size, int64_t min_frequency, struct llm_error *err);

// Learns merges until there are vocab_size ids or no pair occurs min_frequency (and at least one) times,
// so a small text gives a smaller vocabulary. Afterwards the trainer can only be freed.
struct llm_tokenizer *bpe_trainer_finish(struct bpe_trainer *trainer, int vocab_size, int64_t min_frequency,
                                         const struct llm_callbacks *callbacks, struct llm_error *err);

#endif
