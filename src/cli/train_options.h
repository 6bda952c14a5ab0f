// train_options.h: the option rows that every training command shares.
//
// A macro, since a row holds the offset of its field in the command's own argument struct, in which a
// struct llm_train_options lies somewhere.
#ifndef CLI_TRAIN_OPTIONS_H
#define CLI_TRAIN_OPTIONS_H

#include "cli/command.h"

extern const char *const train_schedules[];
extern const char *const train_decays[];

// F(field) gives the offset of a field of the struct llm_train_options.
// clang-format off
#define TRAIN_OPTIONS(F)                                                                                               \
    {"epochs", 0, OPTION_INT, F(epochs), "N", "passes over the examples", 1, 1e9, NULL},                               \
    {"steps", 0, OPTION_INT64, F(steps), "N", "end after this many optimizer steps, whatever --epochs says", 1, 1e15,  \
     NULL},                                                                                                            \
    {"max-minutes", 0, OPTION_DOUBLE, F(max_minutes), "MINUTES", "stop with a checkpoint after this time", 0.001, 1e9, \
     NULL},                                                                                                            \
    {"lr", 0, OPTION_DOUBLE, F(lr), "RATE", "learning rate, at its highest", 0, 100, NULL},                            \
    {"schedule", 0, OPTION_CHOICE, F(schedule), "HOW", "the learning rate after warm-up", 0, 0, train_schedules},      \
    {"min-lr", 0, OPTION_DOUBLE, F(min_lr), "RATE", "where cosine or cooldown end; a tenth of --lr when not given", 0, \
     100, NULL},                                                                                                             \
    {"warmup", 0, OPTION_DOUBLE, F(warmup), "N", "steps of linear warm-up; below 1: this share of all steps", 0, 1e12, \
     NULL},                                                                                                            \
    {"cooldown", 0, OPTION_DOUBLE, F(cooldown), "N",                                                                   \
     "steps at the end in which a constant rate falls linearly; below 1: this share of all steps", 0, 1e12, NULL},     \
    {"initial-lr", 0, OPTION_DOUBLE, F(initial_lr), "RATE",                                                            \
     "learning rate that warm-up begins with; --lr divided by its steps when not given", 0, 100, NULL},                \
    {"batch-size", 0, OPTION_INT, F(batch_size), "N", "examples a batch", 1, 65536, NULL},                             \
    {"grad-accum", 0, OPTION_INT, F(grad_accum), "N", "batches whose gradients make one step", 1, 65536, NULL},        \
    {"weight-decay", 0, OPTION_DOUBLE, F(weight_decay), "X", "weight decay of AdamW", 0, 100, NULL},                    \
    {"decay", 0, OPTION_CHOICE, F(decay), "WHAT", "parameters that decay", 0, 0, train_decays},                        \
    {"beta1", 0, OPTION_DOUBLE, F(beta1), "X", "decay of AdamW's mean gradient", 0, 0.999999, NULL},               \
    {"beta2", 0, OPTION_DOUBLE, F(beta2), "X", "decay of AdamW's mean square gradient", 0, 0.999999, NULL},        \
    {"epsilon", 0, OPTION_DOUBLE, F(epsilon), "X", "epsilon of AdamW", 1e-30, 1, NULL},                                 \
    {"clip", 0, OPTION_DOUBLE, F(clip), "NORM", "clip the gradients' norm to this; 0: do not", 0, 1e9, NULL},          \
    {"clip-after-warmup", 0, OPTION_FLAG, F(clip_after_warmup), NULL, "do not clip while the learning rate warms up",  \
     0, 0, NULL},                                                                                                      \
    {"torch-norm", 0, OPTION_FLAG, F(torch_norm), NULL,                                                                \
     "the norm to clip as PyTorch adds it up, in F32, which is less exact: to compare runs", 0, 0, NULL},              \
    {"dropout", 0, OPTION_DOUBLE, F(dropout), "P", "of attention, residuals and embedding", 0, 0.99, NULL},            \
    {"seed", 0, OPTION_UINT64, F(seed), "N", "of weights, order and dropout, as torch.manual_seed", 0, 0, NULL},       \
    {"eval-freq", 0, OPTION_INT64, F(eval_freq), "N", "steps between evaluations; 0: only at the end", 0, 1e15, NULL}, \
    {"eval-iter", 0, OPTION_INT, F(eval_iter), "N", "batches an evaluation takes of each side; 0: all", 0, 1e9, NULL}, \
    {"patience", 0, OPTION_INT64, F(patience), "N",                                                                    \
     "end when the validation loss was not better in so many evaluations; 0: go on", 0, 1e9, NULL},                    \
    {"save-every", 0, OPTION_INT64, F(save_every), "N", "steps between checkpoints; 0: only when stopped", 0, 1e15,    \
     NULL},                                                                                                            \
    {"keep-best", 0, OPTION_FLAG, F(keep_best), NULL, "keep the model of the best validation loss too, in DIR/best",   \
     0, 0, NULL},                                                                                                      \
    {"lora-rank", 0, OPTION_INT, F(lora_rank), "N",                                                                    \
     "train adapters of this rank (LoRA) beside the frozen matrices; merged into the model that is saved", 1, 4096,    \
     NULL},                                                                                                            \
    {"lora-alpha", 0, OPTION_DOUBLE, F(lora_alpha), "X", "what adapters add counts this divided by their rank",        \
     1e-6, 1e6, NULL},                                                                                                 \
    {"adapter", 0, OPTION_FLAG, F(adapter), NULL, "write the adapters alone, too, as PEFT reads them: DIR/adapter",    \
     0, 0, NULL},                                                                                                      \
    {"compute", 0, OPTION_CHOICE, F(compute), "DTYPE", "what large products are computed in", 0, 0, compute_choices},   \
    {"recompute", 0, OPTION_FLAG, F(recompute), NULL,                                                                  \
     "compute activations again in backward: less memory, more time; happens by itself when memory is short", 0, 0,    \
     NULL},                                                                                                            \
    {"memory", 0, OPTION_SIZE, F(memory), "SIZE", "memory the run may take; what the machine has when not given", 1,   \
     9e18, NULL},                                                                                                      \
    {"threads", 't', OPTION_INT, F(n_threads), "N", "threads; as many as there are cores for this process", 1, 1024,   \
     NULL},                                                                                                            \
    {"resume", 0, OPTION_FLAG, F(resume), NULL, "go on from the checkpoint in DIR, with the same settings", 0, 0,      \
     NULL},                                                                                                            \
    {"force", 0, OPTION_FLAG, F(overwrite), NULL, "begin anew where DIR holds a run already", 0, 0, NULL},             \
    {"dry-run", 0, OPTION_FLAG, F(dry_run), NULL, "show settings, memory and time, and stop", 0, 0, NULL}
// clang-format on

// What was given but would do nothing with the other settings, as a sentence; NULL: nothing. `args` is the command's,
// in which the options that were given are marked: a preset may well set what another option makes useless.
const char *train_contradiction(const struct command *command, const void *args, const struct llm_train_options *train);

// Prints what happens in a run: the plan, evaluations and samples on standard output, at a terminal a line of progress
// on standard error. A llm_train_event_fn.
bool train_show(void *user, const struct llm_train_event *event);

// After the run: what became of it, on standard error. Returns the exit code.
int train_ended(bool ok, const char *out, const struct llm_train_options *options,
                const struct llm_train_result *result, const struct llm_error *err);

#endif
