// my_llm.h: run GPT-2 models from C.
//
// Two nouns carry everything. An *engine* is a loaded model: configuration, weights, tokenizer,
// kernels. A *session* is one timeline of tokens (or several side by side) with its KV cache.
//
//     struct llm_error err = {0};
//     struct llm_engine *engine = llm_engine_open("bundled", NULL, &err);
//     struct llm_session *session = llm_session_new(engine, 1, &err);
//     llm_session_generate(session, ids, n_ids, &options, on_piece, NULL, &result, &err);
//
// Conventions
// - A function that can fail returns false or NULL and says why in `err`, always the last argument.
//   `err` may be NULL. Start with a zeroed struct: the first error stays, later ones are ignored.
// - What a function hands out as `char **` or `int32_t **` is the caller's, freed with llm_free().
//   `const` pointers are borrowed and live as long as the object they came from.
// - Text is bytes with a length; UTF-8 is expected and anything else passes through unharmed.
// - The library never prints, never exits, never installs a signal handler. Progress and notices
//   go through callbacks.
// - An engine may be shared by threads; a session belongs to one thread at a time.
#ifndef MY_LLM_H
#define MY_LLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LLM_API __attribute__((visibility("default")))
#else
#define LLM_API
#endif

// "major.minor.patch" of the library that is linked.
LLM_API const char *llm_version(void);

// Frees memory that a function of this header handed out. NULL is allowed.
LLM_API void llm_free(void *memory);

// ---- Errors ---------------------------------------------------------------------------------

enum llm_error_code {
    LLM_OK = 0,
    LLM_ERROR_ARGUMENT,    // the caller asked for something that makes no sense
    LLM_ERROR_NOT_FOUND,   // no such file, model or name
    LLM_ERROR_IO,          // the operating system refused: permissions, disk full, ...
    LLM_ERROR_FORMAT,      // a file is damaged or is not what it claims to be
    LLM_ERROR_UNSUPPORTED, // a file is fine but asks for something this library does not do
    LLM_ERROR_MEMORY,      // out of memory
    LLM_ERROR_NETWORK,     // a download failed
    LLM_ERROR_CANCELLED,   // a callback asked to stop
    LLM_ERROR_EXISTS,      // something is there already that would be replaced, and nothing allows that
};

struct llm_error {
    enum llm_error_code code;
    char text[1024]; // one sentence fit to be shown: what happened, where, what was expected
};

// ---- Callbacks ------------------------------------------------------------------------------

// A long job's state: done of total units ("bytes", "tokens"); total is -1 when unknown.
struct llm_progress {
    const char *what; // e.g. "gpt2: model.ckpt.data-00000-of-00001"
    const char *unit; // "bytes", "tokens"
    int64_t done;
    int64_t total;
};

// Called now and then during long work. Return false to cancel.
typedef bool llm_progress_fn(void *user, const struct llm_progress *progress);

// Called with one sentence, without a newline, that a person may want to know:
// "no model named; using the bundled one".
typedef void llm_notice_fn(void *user, const char *sentence);

struct llm_callbacks {
    llm_progress_fn *progress; // may be NULL
    llm_notice_fn *notice;     // may be NULL
    void *user;
};

// ---- Engine: a loaded model -----------------------------------------------------------------

struct llm_engine;
struct llm_tokenizer;

// Fewer bits a weight: BF16, or blocks of 32 as GGUF has them, of 8 bits each (Q8_0) or 4 (Q4_0; token embedding and
// output head then have 8) and one scale. Decoding reads every weight for each token, so that fewer bytes are faster.
// What is stored in as few bits stays as it is, and so do positions, biases and norms.
enum llm_quantize {
    LLM_QUANTIZE_NONE,
    LLM_QUANTIZE_BF16,
    LLM_QUANTIZE_Q8,
    LLM_QUANTIZE_Q4
};

enum llm_compute {
    LLM_COMPUTE_F32,
    LLM_COMPUTE_BF16, // large products (a prompt's and its attention's, not a single token's) with operands rounded to
                      // BF16, sums and trained weights in F32; where the CPU has instructions for it
};

struct llm_engine_options {
    int n_threads;              // 0: MY_LLM_THREADS, else the cores that affinity and the cgroup quota give
    const char *isa;            // "ref", "baseline", "avx2", "avx512"; NULL: MY_LLM_ISA, else the best this CPU has
    bool offline;               // true: never download a known model that is not there
    enum llm_quantize quantize; // when opened; n_embd and n_inner must be multiples of 32 for Q8 and Q4
    enum llm_compute compute;   // what large products are computed in
    struct llm_callbacks callbacks;
};

LLM_API void llm_engine_options_init(struct llm_engine_options *options);

// Opens a model. `model` is
//   - a directory in Hugging Face layout, in OpenAI's layout, or a training run's own (its model/);
//   - a known name ("gpt2", "gpt2-medium", ...), unless a model directory is called so: downloaded first
//     if it is not there yet;
//   - "bundled": the small model that comes with my-llm;
//   - one .safetensors file, its config.json (and vocabulary) beside it;
//   - one .gguf file of llama.cpp's architecture gpt2;
//   - one .pth, .pt or .bin file as torch.save(model.state_dict()) writes it, with the names of Hugging Face or of the
//     book's GPTModel. Without a config.json beside it, sizes are read off the tensors, heads are taken to have 64
//     numbers each (the notice says so), and a vocabulary of 50,257 ids is GPT-2's;
//   - NULL: the downloaded gpt2 if there, else the bundled model; the notice says which.
// Weights stay in the mapped files. `options` may be NULL.
LLM_API struct llm_engine *llm_engine_open(const char *model, const struct llm_engine_options *options,
                                           struct llm_error *err);
LLM_API void llm_engine_free(struct llm_engine *engine);

// A model in the shape of a GPT-2 ("124M", "355M", "774M", "1558M") with random F32 weights in memory and no
// vocabulary, for measuring. The same seed makes the same weights. `options` may be NULL.
LLM_API struct llm_engine *llm_engine_synthetic(const char *size, uint64_t seed,
                                                const struct llm_engine_options *options, struct llm_error *err);

// The model's tokenizer, or NULL when its directory has no vocabulary. Lives as long as the engine.
LLM_API const struct llm_tokenizer *llm_engine_tokenizer(const struct llm_engine *engine);

// One part of a model in llm_model_info.
struct llm_model_part {
    const char *name; // "token embedding", "attention", ...
    int64_t n_params;
};

// One file of a model in llm_model_info.
struct llm_model_file {
    const char *path;
    int64_t size; // bytes
};

// What there is to know about a loaded model. All pointers are borrowed from the engine.
struct llm_model_info {
    const char *path;   // the directory or file it was read from
    const char *format; // "safetensors", "TensorFlow checkpoint", "PyTorch", "GGUF"; "memory": it came from no file
    const char *memory_dtype; // the dtype that most weights have in memory, where quantize may have put another one
    const char *dtype;        // the dtype that most weights are stored in: "F32", "F16", "BF16"
    int n_layer, n_head, n_embd, n_inner, n_ctx, vocab_size;
    const char *activation; // "gelu_new", "gelu", "relu"
    double layer_norm_epsilon;
    bool tied_head;            // the output head is the token embedding
    bool scale_attn_weights;   // divide scores by sqrt(head size)
    bool scale_attn_by_layer;  // and by the layer's number
    bool qkv_bias;             // query, key and value have a bias
    int n_labels;              // of a classifier; 0: the model writes text
    const char *const *labels; // [n_labels] their names; NULL: it names none
    int64_t n_params;          // a tied head counts once
    struct llm_model_part parts[8];
    int n_parts;
    const struct llm_model_file *files;
    int n_files;
    int64_t n_nonfinite;     // weights that are NaN or infinite; -1 until counted (llm_engine_check)
    int64_t bytes_weights;   // weights in memory: mapped or copied
    int64_t bytes_step;      // of these, what a step of decoding reads: all but the embeddings' other rows
    int64_t bytes_kv_cache;  // KV cache of one full context
    int64_t bytes_inference; // weights + KV cache of one full context + activations; not the program itself
    int64_t bytes_training;  // weights, gradients, AdamW moments and activations, batch 4 of a full context
    bool has_tokenizer;
    const char *isa;     // kernels in use
    const char *compute; // what large products are computed in: "F32", "BF16"
    int n_threads;
};

LLM_API void llm_engine_info(const struct llm_engine *engine, struct llm_model_info *info);

// Reads every weight once and counts NaN and infinite ones (-1 on cancellation).
LLM_API int64_t llm_engine_check(struct llm_engine *engine);

// ---- Tokenizer ------------------------------------------------------------------------------

// Opens only the tokenizer of a model (see llm_engine_open for what `model` may be), or of one tokenizer.json; weights
// are not touched. NULL gives GPT-2's own, which is built in and needs no file; so does the name of a known model that
// is not here, and nothing is downloaded.
LLM_API struct llm_tokenizer *llm_tokenizer_open(const char *model, const struct llm_engine_options *options,
                                                 struct llm_error *err);
LLM_API void llm_tokenizer_free(struct llm_tokenizer *tokenizer);

// Number of ids, <|endoftext|> included.
LLM_API int llm_tokenizer_vocab_size(const struct llm_tokenizer *tokenizer);

// Id of <|endoftext|>, or -1 if the vocabulary has none.
LLM_API int32_t llm_tokenizer_eot(const struct llm_tokenizer *tokenizer);

// Text to ids. With allow_special, "<|endoftext|>" in the text becomes its id; else it is plain text.
// *ids [*n_ids] is the caller's (llm_free); never NULL on success.
LLM_API bool llm_tokenizer_encode(const struct llm_tokenizer *tokenizer, const char *text, size_t size,
                                  bool allow_special, int32_t **ids, size_t *n_ids, struct llm_error *err);

// The same ids, found by n_threads threads (0: as many as there are cores for this process) where the text is long
// enough to be worth it.
LLM_API bool llm_tokenizer_encode_parallel(const struct llm_tokenizer *tokenizer, const char *text, size_t size,
                                           bool allow_special, int n_threads, int32_t **ids, size_t *n_ids,
                                           struct llm_error *err);

// Where a long text may be cut into parts that are encoded one after another: the ids of the first llm_tokenizer_cut()
// bytes followed by the ids of the rest (with whatever comes behind it) are the ids of the whole. It is the last place
// in text [size] where white space follows something else; 0 when there is none.
LLM_API size_t llm_tokenizer_cut(const char *text, size_t size);

// The bytes of one id, not NUL-terminated; *size receives their number. NULL when there is no such id.
LLM_API const char *llm_tokenizer_token(const struct llm_tokenizer *tokenizer, int32_t id, size_t *size);

// Ids to text. *text is NUL-terminated after *size bytes and the caller's (llm_free).
LLM_API bool llm_tokenizer_decode(const struct llm_tokenizer *tokenizer, const int32_t *ids, size_t n_ids, char **text,
                                  size_t *size, struct llm_error *err);

// ---- A vocabulary of one's own ---------------------------------------------------------------

struct llm_tokenizer_train_options {
    int vocab_size;        // ids, the 256 bytes and <|endoftext|> among them (8192)
    int64_t min_frequency; // learn no token from a pair that occurs less often (0)
    int n_threads;         // 0: MY_LLM_THREADS, else the cores that affinity and the cgroup quota give
    struct llm_callbacks callbacks;
};

LLM_API void llm_tokenizer_train_options_init(struct llm_tokenizer_train_options *options);

// Learns a vocabulary (byte-level BPE, GPT-2's pre-split) from texts: files, plain, .xz or .gz, or folders of
// *.txt, *.text and *.md. <|endoftext|> parts documents; it gets the last id. The merges are those that Hugging
// Face tokenizers learn from the same documents. When the text has too few different words, the vocabulary stays
// smaller than asked for. A text with more than 64 MiB on end in which no white space follows a word is refused.
// `options` may be NULL.
LLM_API struct llm_tokenizer *llm_tokenizer_train(const char *const *files, size_t n_files,
                                                  const struct llm_tokenizer_train_options *options,
                                                  struct llm_error *err);

// Writes vocab.json, merges.txt and tokenizer.json, as Hugging Face has them, as a new directory; all or nothing.
// With `overwrite`, an existing directory is replaced, if it holds nothing but these.
LLM_API bool llm_tokenizer_save(const struct llm_tokenizer *tokenizer, const char *directory, bool overwrite,
                                struct llm_error *err);
// Whether it could do so now: for before a vocabulary is learned, which may take minutes.
LLM_API bool llm_tokenizer_save_check(const char *directory, bool overwrite, struct llm_error *err);

// ---- Texts from files -----------------------------------------------------------------------

// A text as a stream. What is compressed, as .xz or .gz, is unpacked on the way.
struct llm_text;

// The text that an open descriptor gives: of a file, a pipe or a terminal. How it is compressed is told from its first
// bytes, with which no UTF-8 text can begin; but where `name` ends in .xz or .gz, it must be it. `name` begins the
// sentences about errors. n_threads: how many may unpack at once (0: MY_LLM_THREADS, else the cores that affinity and
// the cgroup quota give). When a signal interrupts a read, callbacks->progress is asked whether to go on; `callbacks`
// may be NULL. The descriptor stays the caller's and open.
LLM_API struct llm_text *llm_text_open(int fd, const char *name, int n_threads, const struct llm_callbacks *callbacks,
                                       struct llm_error *err);
LLM_API void llm_text_close(struct llm_text *text);

// Reads the next bytes [size]; *n gets how many there were, fewer than `size` only at the end of the text. Compressed
// data that is damaged, or cut in the middle, is an error.
LLM_API bool llm_text_read(struct llm_text *text, char *bytes, size_t size, size_t *n, struct llm_error *err);

// ---- Session: generation --------------------------------------------------------------------

struct llm_session;

struct llm_generate_options {
    int max_tokens;           // new tokens per sample at most (128)
    float temperature;        // 0: greedy (0.8)
    int top_k;                // keep the k likeliest; 0: all (40)
    float top_p;              // then the smallest set with this probability; 1: all (1)
    float min_p;              // and those at least this fraction of the likeliest; 0: all (0)
    float repetition_penalty; // divides positive and multiplies negative logits of tokens seen (1)
    uint64_t seed;            // same seed, same text (123)
    int n_logprobs;           // report this many likeliest tokens with each one chosen (0)
    bool ignore_eos;          // go on after <|endoftext|> (false)
    bool shift;               // context full: keep the newest half and go on; else stop (true)
    const char *const *stops; // [n_stops] end a sample before any of these texts (none)
    int n_stops;
};

LLM_API void llm_generate_options_init(struct llm_generate_options *options);

struct llm_logprob {
    int32_t id;
    float logprob; // natural logarithm of the model's probability, before temperature and cuts
};

// One new token of one sample, as it is made. Joined, the texts of a sample's pieces are the sample's text.
struct llm_piece {
    int sample;                    // 0 .. n_samples - 1
    int32_t id;                    // -1: no new token, only text held back until the model ended the text
    const char *text;              // whole UTF-8 characters that became certain with this token
    size_t size;                   // bytes in text; may be 0
    float logprob;                 // of this token; 0 unless options.n_logprobs > 0
    const struct llm_logprob *top; // [n_top] the likeliest, best first
    int n_top;
};

// Called for every token; return false to end the generation (it finishes as LLM_FINISH_CANCELLED).
typedef bool llm_piece_fn(void *user, const struct llm_piece *piece);

enum llm_finish {
    LLM_FINISH_LENGTH,    // max_tokens reached
    LLM_FINISH_EOS,       // the model ended the text
    LLM_FINISH_STOP,      // one of options.stops
    LLM_FINISH_CONTEXT,   // context full and options.shift is false
    LLM_FINISH_CANCELLED, // the callback returned false
};

// "length", "eos", "stop", "context", "cancelled".
LLM_API const char *llm_finish_name(enum llm_finish finish);

struct llm_sample {
    int32_t *ids; // [n_ids] new tokens, without the prompt, the end token, and what lies wholly in a stop text
    size_t n_ids;
    char *text; // their text up to a stop text (NUL-terminated), without an unfinished character at its end;
                // NULL when the model has no vocabulary
    size_t size;
    enum llm_finish finish;
};

struct llm_generation {
    struct llm_sample *samples; // [n_samples]
    int n_samples;
    size_t n_prompt;         // prompt tokens used
    size_t n_prompt_cached;  // of these, taken from the session's KV cache
    double prompt_seconds;   // processing the prompt
    double generate_seconds; // everything after it
    size_t n_generated;      // tokens over all samples
};

// Frees what the generation holds and zeroes it.
LLM_API void llm_generation_release(struct llm_generation *generation);

// A session of `n_sequences` timelines that advance as one batch. All memory it will ever need is
// taken here: generating allocates nothing per token.
LLM_API struct llm_session *llm_session_new(struct llm_engine *engine, int n_sequences, struct llm_error *err);
LLM_API void llm_session_free(struct llm_session *session);

// Continues `prompt` [n_prompt] in every timeline of the session (sample s draws from its own stream
// of random numbers, so sample 0 is the same whatever n_sequences is). What the prompt shares with
// the timeline's present tokens is not computed again. An empty prompt means <|endoftext|>.
// A prompt longer than the context keeps its newest part (with options.shift, and a notice) or is an error.
// A prompt long enough to wait for is reported to the engine's progress callback, which may cancel.
// `on_piece` may be NULL; `generation` may be NULL.
LLM_API bool llm_session_generate(struct llm_session *session, const int32_t *prompt, size_t n_prompt,
                                  const struct llm_generate_options *options, llm_piece_fn *on_piece, void *user,
                                  struct llm_generation *generation, struct llm_error *err);

// Logits after each of `ids` [n_ids], the timeline of sequence 0 starting anew.
// logits is [n_ids, vocab_size], the caller's memory. n_ids may not exceed the context.
LLM_API bool llm_session_logits(struct llm_session *session, const int32_t *ids, size_t n_ids, float *logits,
                                struct llm_error *err);

// ---- Evaluation -----------------------------------------------------------------------------

struct llm_evaluate_options {
    int window; // tokens seen at once; 0: the model's context
    int stride; // tokens the window moves; 0: the window. Only targets not yet scored are counted
    struct llm_callbacks callbacks;
};

LLM_API void llm_evaluate_options_init(struct llm_evaluate_options *options);

struct llm_evaluation {
    double loss;             // mean cross-entropy in nats per predicted token
    double loss_error;       // standard error of that mean
    double perplexity;       // exp(loss)
    double perplexity_error; // perplexity * loss_error
    int64_t n_tokens;        // predicted tokens
};

// Scores `n_sequences` sequences of ids that lie one after another in `ids`;
// sequence s is ids[starts[s]] .. ids[starts[s + 1] - 1], so starts has n_sequences + 1 entries.
LLM_API bool llm_evaluate(struct llm_engine *engine, const int32_t *ids, const size_t *starts, size_t n_sequences,
                          const struct llm_evaluate_options *options, struct llm_evaluation *evaluation,
                          struct llm_error *err);

// ---- Training -------------------------------------------------------------------------------

enum llm_schedule {
    LLM_SCHEDULE_CONSTANT, // the learning rate stays after warm-up
    LLM_SCHEDULE_COSINE,   // and falls along half a cosine to min_lr at the last step
};

enum llm_decay {
    LLM_DECAY_ALL,      // weight decay on every parameter
    LLM_DECAY_MATRICES, // on matrices only, not on biases and layer norms
};

// What a run will take, known before its first step.
struct llm_train_plan {
    int64_t n_examples;     // to learn from
    int64_t n_validation;   // held back
    int64_t n_steps;        // of the whole run
    int64_t steps_an_epoch; // optimizer steps in one pass over the examples
    int64_t warmup_steps, cooldown_steps;
    int64_t n_tokens;          // the whole run reads, the same ones once an epoch
    int64_t n_params;          // that are trained
    int64_t bytes_weights;     // all weights, F32
    int64_t bytes_gradients;   // of what is trained
    int64_t bytes_moments;     // AdamW's two
    int64_t bytes_activations; // kept from forward to backward, and scratch
    bool recompute;            // activations inside layers are computed again in backward
    double step_seconds;       // measured, or as the interrupted run had it
    double seconds;            // the whole run, or what is left of it
    int64_t first_step;        // 0, or where a resumed run goes on
};

enum llm_train_event_kind {
    LLM_TRAIN_PLAN,       // before the first step: `plan`
    LLM_TRAIN_STEP,       // a step is done
    LLM_TRAIN_EVALUATION, // train_loss and val_loss are new; step -1: before the first step
    LLM_TRAIN_BEGIN,      // before the first evaluation: `text` is what a task measured of the untrained model
    LLM_TRAIN_EPOCH,      // an epoch is done: `text` is a sample of what the model writes, or what a task measured
    LLM_TRAIN_CHECKPOINT, // one was written
};

struct llm_train_event {
    enum llm_train_event_kind kind;
    const struct llm_train_plan *plan;
    int64_t step;             // the step that was done, counted from 0
    int epoch;                // that it belongs to, counted from 1
    int64_t examples, tokens; // seen so far
    double loss;              // of the step's examples, before its update
    double learning_rate;     // of the step
    double gradient_norm;     // before clipping
    double train_loss;        // of the last evaluation; NaN before it
    double val_loss;          // likewise; NaN too when nothing is held back
    double tokens_per_second; // lately
    double seconds;           // spent so far, over all sittings
    double seconds_left;      // expected
    const char *text;         // [text_size] of LLM_TRAIN_BEGIN and LLM_TRAIN_EPOCH; NULL: nothing
    size_t text_size;
};

// Called for every event. Return false to stop: the run then writes a checkpoint and ends with LLM_ERROR_CANCELLED.
typedef bool llm_train_event_fn(void *user, const struct llm_train_event *event);

// What every kind of training shares.
struct llm_train_options {
    int epochs;             // passes over the examples (1)
    int64_t steps;          // end after so many optimizer steps instead; 0: epochs decide (0)
    double max_minutes;     // stop with a checkpoint after this time; 0: never (0)
    double lr;              // learning rate, at its highest (5e-4)
    int schedule;           // enum llm_schedule (cosine)
    double min_lr;          // where the cosine or the cooldown ends; negative: a tenth of lr (-1)
    double cooldown;        // steps at the end in which a constant rate falls linearly; below 1: a share of all (0)
    double warmup;          // steps of linear warm-up; below 1: this share of all steps (0.05)
    double initial_lr;      // at the first step of warm-up; negative: lr / steps of warm-up (-1)
    int batch_size;         // examples a batch (8)
    int grad_accum;         // batches a step (1)
    double weight_decay;    // AdamW's (0.1)
    int decay;              // enum llm_decay (all)
    double beta1, beta2;    // AdamW's (0.9, 0.999)
    double epsilon;         // AdamW's (1e-8)
    double clip;            // highest norm of all gradients together; 0: not clipped (1)
    bool clip_after_warmup; // clip from the end of warm-up on (false)
    bool torch_norm;        // that norm as PyTorch computes it on a CPU for the book's class, in F32 (false)
    double dropout;         // of attention, residuals and embedding (0)
    uint64_t seed;          // of weights, order and dropout (123)
    int64_t eval_freq;      // steps between evaluations; 0: only at the end (100)
    int eval_iter;          // batches an evaluation takes from each side; 0: all (5)
    int64_t patience;       // end when the validation loss was not better in so many evaluations; 0: never (0)
    int64_t save_every;     // steps between checkpoints; 0: none (1000)
    bool keep_best;         // keep the model with the best validation loss as DIR/best (false)
    int compute;            // enum llm_compute (F32)
    bool recompute;         // compute activations again in backward: less memory, more time (false: if memory is short)
    int lora_rank;          // train adapters of this rank (LoRA) beside the frozen matrices of the layers, and of a
                            // classifier's head; 0: train the parameters themselves (0)
    double lora_alpha;      // what adapters add counts lora_alpha / lora_rank times (16)
    bool adapter;           // write DIR/adapter, the adapters alone as PEFT reads them, beside the merged model (false)
    int64_t memory;         // bytes the run may take; 0: what the machine has available (0)
    int n_threads;          // 0: MY_LLM_THREADS, else the cores that affinity and the cgroup quota give
    const char *isa;        // as in llm_engine_options
    bool resume;            // go on from the run's checkpoint (false)
    bool overwrite;         // begin anew where a run is already (false)
    bool dry_run;           // end after the plan (false)
    llm_train_event_fn *event; // called with callbacks.user; may be NULL
    struct llm_callbacks callbacks;
};

enum llm_initialiser {
    LLM_INIT_GPT2, // normal, deviation 0.02, less for projections into the residual stream; biases 0
    LLM_INIT_BOOK, // PyTorch's defaults for nn.Embedding and nn.Linear, drawn in the order of the book's model
};

enum llm_split {
    LLM_SPLIT_DOCUMENTS,  // whole documents are held back, taken from everywhere; each is followed by <|endoftext|>
    LLM_SPLIT_CHARACTERS, // the last part of the text is held back, as in the book
};

struct llm_pretrain_options {
    struct llm_train_options train;
    const char *init;      // model to go on from, as in llm_engine_open; NULL: random weights (NULL)
    const char *tokenizer; // what llm_tokenizer_open takes; NULL: the one of `init`, else GPT-2's (NULL)
    int n_layer;           // shape of a model of random weights (12)
    int n_head;            // (12)
    int n_embd;            // (768)
    int context;           // tokens of an example; with random weights the model's context; 0: 256, or init's (0)
    int initialiser;       // enum llm_initialiser (GPT-2's)
    bool untied_head;      // random weights: an output head of its own (false)
    bool no_qkv_bias;      // the biases of query, key and value stay 0 (false)
    double val_split;      // share of the text that is held back for validation (0.1)
    int split;             // enum llm_split; too few documents are split by characters (documents)
    const char *cache;     // directory for the texts as ids, made when missing; NULL: DIR/tokens (NULL)
    const char *prompt;    // begins the sample of each epoch ("Every effort moves you")
    int sample_tokens;     // of the sample, greedy; 0: no sample (50)
};

LLM_API void llm_pretrain_options_init(struct llm_pretrain_options *options);

// Shape of the GPT-2 of this size ("124M", "355M", "774M", "1558M") into n_layer, n_head and n_embd.
LLM_API bool llm_pretrain_options_size(struct llm_pretrain_options *options, const char *size, struct llm_error *err);

// The settings of one of the book's runs ("book-ch5", "book-appendix-d") into the options.
LLM_API bool llm_pretrain_options_preset(struct llm_pretrain_options *options, const char *preset,
                                         struct llm_error *err);

// How a run ended.
struct llm_train_result {
    bool finished;               // all steps were done; else max_minutes were over, or it was only a plan
    int64_t steps;               // done
    int64_t tokens;              // seen
    double train_loss, val_loss; // of the last evaluation; NaN without one
    double best_val_loss;        // NaN without one
    int64_t best_step;           // that gave it; -1 without one
    double seconds;              // over all sittings
};

// Trains on texts (files, plain, .xz or .gz, or folders; <|endoftext|> parts documents) and writes directory `out`:
// model/ in Hugging Face layout, log.csv, run.json, loss plots, and while it lasts checkpoint. `options` (NULL: the
// defaults) count as given, so what is resumed needs the same ones; `result` may be NULL.
LLM_API bool llm_pretrain(const char *const *files, size_t n_files, const char *out,
                          const struct llm_pretrain_options *options, struct llm_train_result *result,
                          struct llm_error *err);

// Optimizer steps of one shape, on random tokens.
struct llm_train_measurement {
    int n_sequences, n_tokens; // sequences a step, tokens of each
    double *seconds;           // [repetitions] receives what each step took, the caller's memory
};

// Measures steps of training a language model, each shape after one step that warms up. Takes the memory that training
// takes. The engine may only be freed afterwards.
LLM_API bool llm_train_measure(struct llm_engine *engine, const struct llm_train_measurement *measurements,
                               int n_measurements, int compute, int repetitions, const struct llm_callbacks *callbacks,
                               struct llm_error *err);

// ---- Classification -------------------------------------------------------------------------

enum llm_pooling {
    LLM_POOL_LAST_TOKEN,    // a text is read at its own last token; nothing is padded
    LLM_POOL_LAST_POSITION, // texts are padded with <|endoftext|> to the longest one to learn from, and read there: the
                            // book
};

enum {
    LLM_LAYERS_ALL = -1, // everything is trained, the embeddings too
    LLM_LAYERS_HEAD = 0, // nothing but the new head
};

// Which file has which texts.
struct llm_classify_data {
    const char *path;         // .csv, .tsv, .json, .jsonl, or a data set that llm_download() knows ("sms-spam")
    const char *text_column;  // a name, or a number from 1; NULL: found (NULL)
    const char *label_column; // likewise (NULL)
};

struct llm_classify_options {
    struct llm_train_options train; // 5 epochs, lr 5e-5 constant, eval_freq 50, not clipped
    struct llm_classify_data data;  // ("sms-spam")
    const char *model;              // to begin with, as in llm_engine_open (NULL)
    int pooling;                    // enum llm_pooling (last token)
    int max_length;                 // tokens of a text at most, the rest is cut; 0: the model's context (0)
    bool balance;                   // take as many texts of each label as the rarest has (false)
    bool class_weights;             // weigh losses so that all labels count the same (false)
    bool split_by_label;            // each part gets its share of each label (true)
    double train_share;             // of the texts, to learn from (0.7)
    double validation_share;        // to validate; the rest is for the test (0.1)
    int train_layers;               // blocks trained, from the last one on, with the final norm and the head;
                                    // LLM_LAYERS_ALL, LLM_LAYERS_HEAD (1); with train.lora_rank, those that have
                                    // adapters, and the head has one
    int64_t cache_memory;           // bytes for what frozen layers give, computed once; negative: half of what is
                                    // free; 0: nothing is kept (-1)
};

LLM_API void llm_classify_options_init(struct llm_classify_options *options);

// The settings of "book" (chapter 6): padded, last position, balanced, split at random.
LLM_API bool llm_classify_options_preset(struct llm_classify_options *options, const char *preset,
                                         struct llm_error *err);

struct llm_classify_result {
    struct llm_train_result train;
    bool loaded; // DIR held the finished classifier of the same data and settings already
    // Fractions for train, validation, test; NaN where there are no texts, and when the run is not finished.
    double initial_accuracy[3]; // of the first 10 batches
    double final_accuracy[3];
};

// Trains a classifier on labelled texts and writes directory `out`: model/ in Hugging Face layout,
// review_classifier.pth, train.csv, validation.csv, test.csv, log.csv, run.json, report.md, plots/, and while it lasts
// checkpoint. A finished run of the same data and settings is not done again. `options` and `result` may be NULL.
LLM_API bool llm_classify_train(const char *out, const struct llm_classify_options *options,
                                struct llm_classify_result *result, struct llm_error *err);

// The likeliest label of each text: labels [n] gets its number; probabilities [n, n_labels], unless NULL, what the
// model gives each label. llm_engine_info() tells how many labels a classifier has, and their names.
LLM_API bool llm_classify(struct llm_engine *engine, const char *const *texts, const size_t *sizes, size_t n,
                          int32_t *labels, float *probabilities, struct llm_error *err);

struct llm_label_measures {
    const char *name;
    double precision, recall, f1;
    int64_t n_true, n_predicted, n_right; // texts
};

struct llm_classify_measures {
    int64_t n_texts, n_right;
    double accuracy;
    double precision, recall, f1; // means over the labels
    int n_labels;
    struct llm_label_measures *labels; // [n_labels]
    int64_t *confusion;                // [n_labels (true), n_labels (predicted)]; NULL: there are more than 200
    char *text;                        // all this and the worst mistakes, in Markdown
};

// Classifies the texts of a file whose labels are known. Names are the engine's. Release the measures afterwards.
LLM_API bool llm_classify_evaluate(struct llm_engine *engine, const struct llm_classify_data *data,
                                   struct llm_classify_measures *measures, struct llm_error *err);
LLM_API void llm_classify_measures_release(struct llm_classify_measures *measures);

// ---- Instructions ---------------------------------------------------------------------------

enum llm_instruct_loss {
    LLM_LOSS_RESPONSE, // on the answer's tokens and the end of text
    LLM_LOSS_ALL,      // on the prompt's tokens too
};

enum llm_head {
    LLM_HEAD_OWN,    // as the model has it
    LLM_HEAD_TIED,   // it must be the token embedding
    LLM_HEAD_UNTIED, // if it is the token embedding, a copy of it, which is trained by itself: the book
};

struct llm_respond_options {
    // max_tokens 256, temperature 0; an answer ends with the context, whatever `shift` is, and at the template's text
    // behind the answer, if it has one: `stops` do not count.
    struct llm_generate_options generate;
    const char *template_file; // how a prompt is made; NULL: as the model learned it, if it is a run's, else Alpaca's
                               // style (NULL)
    int parallel;              // answers at a time (8)
    bool overwrite;            // of llm_instruct_respond_file(): replace the file if it is there (false)
    llm_piece_fn *on_piece;    // sees tokens as they are made, called with callbacks.user; may be NULL
    struct llm_callbacks callbacks;
};

LLM_API void llm_respond_options_init(struct llm_respond_options *options);

struct llm_instruction {
    const char *instruction;
    const char *input; // what it is about; NULL or "": nothing
};

// Answers instructions [n], several at a time. responses [n] receives the answers without white space around them
// (llm_free each); NULL: the prompt is longer than the context. `options` may be NULL.
LLM_API bool llm_instruct_respond(struct llm_engine *engine, const struct llm_instruction *instructions, size_t n,
                                  const struct llm_respond_options *options, char **responses, struct llm_error *err);

struct llm_respond_result {
    int64_t n_entries;
    int64_t n_kept;     // of these, answered by an earlier call that was interrupted
    int64_t n_too_long; // prompts longer than the context: their answers are ""
};

// Answers the entries of `file` ({"instruction", "input", ...} in a JSON list or in lines of JSON) and writes them,
// each with "model_response", as a JSON list to `out`. That appears when all are answered; until then answers are kept
// in `out`.part, from where the same call goes on. `options` and `result` may be NULL.
LLM_API bool llm_instruct_respond_file(struct llm_engine *engine, const char *file, const char *out,
                                       const struct llm_respond_options *options, struct llm_respond_result *result,
                                       struct llm_error *err);

struct llm_instruct_options {
    struct llm_train_options train; // 2 epochs, lr 5e-5 constant, eval_freq 5, not clipped
    const char *data;               // .json or .jsonl, or a data set that llm_download() knows ("instructions")
    const char *model;              // to begin with, as in llm_engine_open (NULL)
    const char *template_file;      // how a prompt is made; NULL: Alpaca's style (NULL)
    int loss;                       // enum llm_instruct_loss (response)
    int head;                       // enum llm_head (own)
    int max_length;                 // tokens of an example at most, the rest is cut; 0: 1024, or the context if that is
                                    // less (0)
    double train_share;             // of the entries, the first ones, to learn from (0.85)
    double test_share;              // the next ones for the test; the rest is for validation (0.1)
    int sample_tokens;              // of the sample answer of each epoch, greedy; 0: no sample (50)
    bool book_file;                 // write <model>-sft.pth too, for the book's class (true)
    bool respond;                   // answer the test entries afterwards (true)
    struct llm_respond_options
        answers; // how; of its callbacks, template and overwrite, train's and this struct's count
};

LLM_API void llm_instruct_options_init(struct llm_instruct_options *options);

// The settings of "book" (chapter 7: loss on all tokens) or "epfl" (on the response), both with a head of its own.
LLM_API bool llm_instruct_options_preset(struct llm_instruct_options *options, const char *preset,
                                         struct llm_error *err);

struct llm_instruct_result {
    struct llm_train_result train;
    bool loaded;                       // DIR held the finished model of the same data and settings already
    struct llm_respond_result answers; // n_entries 0: none were asked for
};

// Trains all weights of a model on instructions and writes directory `out`: model/ in Hugging Face layout,
// <model>-sft.pth, log.csv, run.json, plots/, instruction-data-with-response.json, and while it lasts checkpoint. A
// finished run of the same data and settings is not done again; answers that it lacks are made. `options` and `result`
// may be NULL.
LLM_API bool llm_instruct_train(const char *out, const struct llm_instruct_options *options,
                                struct llm_instruct_result *result, struct llm_error *err);

// ---- Scoring answers ------------------------------------------------------------------------

enum llm_score_api {
    LLM_SCORE_OLLAMA, // POST <url>/api/chat
    LLM_SCORE_OPENAI, // POST <url>/v1/chat/completions
};

struct llm_score_options {
    const char *url;          // the judge's server ("http://localhost:11434")
    const char *judge;        // the model that judges ("llama3")
    int api;                  // enum llm_score_api (LLM_SCORE_OLLAMA)
    const char *api_key;      // sent as a bearer token; NULL: none (NULL)
    const char *response_key; // the key of an entry under which the answer is ("model_response")
    int parallel;             // requests at a time (1)
    bool stream;              // let the server send its answer piece by piece (true)
    bool again;               // score anew what this judge has scored before (false)
    int timeout;              // seconds that one answer may take (300)
    struct llm_callbacks callbacks;
};

LLM_API void llm_score_options_init(struct llm_score_options *options);

// One entry of the file and what became of it.
struct llm_score {
    const char *instruction, *response;
    int score;          // 0 .. 100, or -1: the judge gave no such number, though asked twice
    const char *answer; // what it said instead, or why there is nothing; NULL for a score
};

struct llm_scores {
    struct llm_score *entries; // [n_entries] in the order of the file
    int64_t n_entries;
    int64_t n_scored, n_failed;
    int64_t n_kept;   // of those scored: by an earlier run
    double average;   // of the scores; these four are 0 if there is none
    double deviation; // their standard deviation (of all, not of a sample)
    double median;
    int lowest, highest;
    void *owner; // what the texts belong to
};

// Has a second model score answers. `file` is a JSON list of {"instruction", "input", "output", "model_response"};
// the judge is asked the book's question about each, twice if it answers with anything but an integer from 0 to 100.
// Each entry gets "score" (null after a failure, with "score_answer") and "score_judge", written now and then and at
// the end, whatever ends it: so a later call goes on where this one stopped. A question that the server refuses (HTTP
// 400, 413 or 422), or takes and says nothing to, has failed; a server that says nothing to three in a row, cannot be
// reached or answers with something else than JSON ends the call.
// `options` may be NULL; release the scores afterwards.
LLM_API bool llm_score_answers(const char *file, const struct llm_score_options *options, struct llm_scores *scores,
                               struct llm_error *err);
LLM_API void llm_scores_release(struct llm_scores *scores);

// ---- The machine ----------------------------------------------------------------------------

struct llm_machine_options {
    int n_threads;      // 0: MY_LLM_THREADS, else the cores that affinity and the cgroup quota give
    double seconds;     // how long each rate is measured (0.3)
    int64_t read_bytes; // memory that is read; must be far more than the caches hold (512 MiB)
    bool read_only;     // measure nothing else
};

LLM_API void llm_machine_options_init(struct llm_machine_options *options);

// The best of several rounds, on one thread and on all.
struct llm_machine_rate {
    double one, all;
};

struct llm_machine_level {
    const char *isa;                      // "baseline", "avx2", "avx512": those that this processor has
    struct llm_machine_rate multiply_add; // FLOP/s, numbers staying in registers; a multiply-add counts two
};

// What a machine can do: the limits that a model's speed is measured against.
struct llm_machine {
    int n_threads;
    struct llm_machine_rate read;  // bytes/s, reading memory in sequence
    struct llm_machine_rate sgemm; // FLOP/s, oneDNN's F32 matrix product in GPT-2's shapes, 1,024 rows
    struct llm_machine_level levels[8];
    int n_levels;
};

// Measures it, which takes a few seconds and options->read_bytes of memory. `options` may be NULL.
LLM_API bool llm_machine_measure(const struct llm_machine_options *options, struct llm_machine *machine,
                                 struct llm_error *err);

// ---- Getting and converting models ----------------------------------------------------------

struct llm_download_item {
    const char *name;        // "gpt2"
    const char *description; // "GPT-2 124M, OpenAI's TensorFlow checkpoint"
    const char *licence;
    int64_t size;     // bytes in all
    bool approximate; // the size is an estimate
};

// Everything llm_download knows; *n_items entries, static.
LLM_API const struct llm_download_item *llm_download_items(int *n_items);

struct llm_download_options {
    const char *from; // replaces the origin: http://, https:// or file:// URL; NULL: MY_LLM_MIRROR, else the origin
    bool force;       // fetch again what is there
    int timeout;      // seconds without data after which a transfer is given up (60)
    struct llm_callbacks callbacks;
};

LLM_API void llm_download_options_init(struct llm_download_options *options);

// Fetches a named model or data set into $MY_LLM_HOME, resuming what was cut off, and checks sizes and
// SHA-256. *path (may be NULL) receives where it is (llm_free).
LLM_API bool llm_download(const char *name, const struct llm_download_options *options, char **path,
                          struct llm_error *err);

enum llm_dtype {
    LLM_F32,
    LLM_F16,
    LLM_BF16
};

struct llm_convert_options {
    int dtype;          // enum llm_dtype, or -1: as stored (-1)
    int64_t shard_size; // bytes a file at most, or one tensor that is larger; 0: one file (0)
    bool overwrite;     // replace DST if it is there and holds nothing but a model (false)
    int n_head;         // heads of a source without a config; 0: 64 numbers each, as GPT-2 has them (0)
    int quantize;       // enum llm_quantize, in place of dtype; blocks in GGUF files only (LLM_QUANTIZE_NONE)
    struct llm_callbacks callbacks;
};

LLM_API void llm_convert_options_init(struct llm_convert_options *options);

// Writes model `source` (as in llm_engine_open) as directory `destination` in Hugging Face layout:
// config.json, model.safetensors or shards, and the vocabulary. Where `destination` ends in .pth or .pt: as one file
// that torch.load() reads and the book's GPTModel takes as its state dict; it holds the weights alone. Where it ends in
// .gguf: as one file that llama.cpp reads, vocabulary included. All or nothing.
LLM_API bool llm_convert(const char *source, const char *destination, const struct llm_convert_options *options,
                         struct llm_error *err);

#ifdef __cplusplus
}
#endif

#endif
