// bench.c: `my-llm bench`: how fast a model runs here, beside what the machine could do at most.
//
// What is read and computed is counted from the model's shape: weights in use once for a batch, keys and values of
// each sequence, two FLOPs a multiply-add of the products and of attention. Divided by the time it gives rates that
// the machine's own, measured first, are the limits of.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "cli/bench_output.h"
#include "cli/bench_tokenizer.h"
#include "cli/bench_train.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/train_options.h"

enum {
    MAX_RESULTS = 16,
    MAX_REPETITIONS = 1000,
    GENERATED = 128,
    DEEP = 900,
    BATCH = 8,
    QUICK_PROMPT = 16,
    QUICK_GENERATED = 8
};

// A model of fewer bytes a token may be read from the caches: what memory does between its repetitions tells nothing.
static const int64_t least_bytes_step = (int64_t)64 << 20;

enum synthetic {
    SYNTHETIC_NONE = -1
};

static const char *const synthetic_sizes[] = {"124M", "355M", "774M", "1558M", NULL};

struct bench_args {
    const char *model;
    int synthetic; // index into synthetic_sizes, or SYNTHETIC_NONE
    int repetitions;
    int threads;
    bool train;
    int compute;
    int quantize;
    int batch_size, tokens;             // of a step; 0: not given
    int prompt_tokens, generate_tokens; // the only tests; 0: not given
    const char *tokenizer;              // a text
    bool quick;
    bool csv;
    bool json;
};

#define FIELD(name) offsetof(struct bench_args, name)

static const struct option options[] = {
    {"model", 'm', OPTION_STRING, FIELD(model), "MODEL",
     "name, directory, .safetensors, .pth or .gguf file; the downloaded gpt2, else the bundled model", 0, 0, NULL},
    {"synthetic", 0, OPTION_CHOICE, FIELD(synthetic), "SIZE", "random weights in the shape of this GPT-2, no MODEL", 0,
     0, synthetic_sizes},
    {"repetitions", 'r', OPTION_INT, FIELD(repetitions), "N", "times that each test is measured, after a warm-up", 1,
     MAX_REPETITIONS, NULL},
    {"threads", 't', OPTION_INT, FIELD(threads), "N", "threads; as many as there are cores for this process", 1, 1024,
     NULL},
    {"train", 0, OPTION_FLAG, FIELD(train), NULL, "steps of training instead", 0, 0, NULL},
    {"compute", 0, OPTION_CHOICE, FIELD(compute), "DTYPE", "what large products are computed in", 0, 0,
     compute_choices},
    {"quantize", 0, OPTION_CHOICE, FIELD(quantize), "BITS",
     "convert the weights first: q8 and q4 are 8 and 4 bits in blocks of 32, bf16 is half of F32", 0, 0,
     quantize_choices},
    {"batch-size", 0, OPTION_INT, FIELD(batch_size), "N", "with --train: steps of so many examples only", 1, 4096,
     NULL},
    {"tokens", 0, OPTION_INT, FIELD(tokens), "N", "with --batch-size: tokens in each of them (default 64)", 1, 65536,
     NULL},
    {"prompt-tokens", 0, OPTION_INT, FIELD(prompt_tokens), "N", "measure a prompt of so many tokens, and no other", 1,
     65536, NULL},
    {"generate-tokens", 0, OPTION_INT, FIELD(generate_tokens), "N",
     "measure generation of so many tokens, one sequence in an empty context, and no other", 1, 65536, NULL},
    {"tokenizer", 0, OPTION_STRING, FIELD(tokenizer), "FILE",
     "turn this text into ids instead, with MODEL's vocabulary or GPT-2's", 0, 0, NULL},
    {"quick", 0, OPTION_FLAG, FIELD(quick), NULL, "a few tokens, once: to see that it runs, not to measure", 0, 0,
     NULL},
    {"csv", 0, OPTION_FLAG, FIELD(csv), NULL, "print CSV", 0, 0, NULL},
    {"json", 0, OPTION_FLAG, FIELD(json), NULL, "print JSON", 0, 0, NULL},
};

#undef FIELD

static void bench_init(void *memory) {
    *(struct bench_args *)memory = (struct bench_args){.synthetic = SYNTHETIC_NONE, .repetitions = 5};
}

// One run of the command.
struct bench {
    const struct bench_args *args;
    bool is_open; // the model is: from now on its progress is not shown, as drawing would be measured
    struct llm_engine *engine;
    struct llm_model_info model;
    struct llm_machine machine;
    int32_t *ids; // [n_ctx]
    struct bench_result results[MAX_RESULTS];
    int n_results;
};

static int min_int(int a, int b) {
    return a < b ? a : b;
}

// ---- Counting -------------------------------------------------------------------------------

// FLOPs of one layer's products for one token: those that make its keys and values, and those that follow.
static double flops_qkv(const struct llm_model_info *model) {
    return 6.0 * model->n_embd * model->n_embd;
}

static double flops_rest(const struct llm_model_info *model) {
    return 2.0 * model->n_embd * (model->n_embd + 2.0 * model->n_inner);
}

// Of one layer's attention with so many pairs of query and key: a product with the key, one with the value.
static double flops_pairs(const struct llm_model_info *model, double n_pairs) {
    return 4.0 * model->n_embd * n_pairs;
}

static double flops_head(const struct llm_model_info *model) {
    return 2.0 * model->n_embd * model->vocab_size;
}

// Keys and values of one position, all layers, written once and read by every later query.
static double bytes_position(const struct llm_model_info *model) {
    return (double)model->bytes_kv_cache / model->n_ctx;
}

// A prompt of n tokens, from which only the last one's logits are wanted: so in the last layer the others are a key and
// a value each, two thirds of flops_qkv, and nothing else. Reading the weights once is all that must be; what the
// caches make of the rest is not counted.
static void count_prompt(const struct llm_model_info *model, struct bench_result *result) {
    const double n = result->n_tokens;
    const double full = n * (flops_qkv(model) + flops_rest(model)) + flops_pairs(model, n * (n + 1) / 2);
    const double last = (2 * n + 1) / 3 * flops_qkv(model) + flops_rest(model) + flops_pairs(model, n);
    result->n_processed = n;
    result->flops = (model->n_layer - 1) * full + last + flops_head(model);
    result->bytes = (double)model->bytes_step + n * bytes_position(model);
}

// Steps that see depth + 1, depth + 2, ... positions; each reads the weights once for all sequences.
static void count_generate(const struct llm_model_info *model, struct bench_result *result) {
    const double n = result->n_tokens;
    const double positions = n * result->depth + n * (n + 1) / 2;
    const double products = n * (flops_qkv(model) + flops_rest(model));
    result->n_processed = n * result->batch;
    result->flops =
        result->batch * (model->n_layer * (products + flops_pairs(model, positions)) + n * flops_head(model));
    result->bytes = n * (double)model->bytes_step + result->batch * positions * bytes_position(model);
}

// ---- Measuring ------------------------------------------------------------------------------

static bool go_on(void *user, const struct llm_piece *piece) {
    (void)user;
    (void)piece;
    return !command_interrupted();
}

// One repetition; *seconds is what it took. A prompt that begins otherwise than the one before is computed anew;
// before generation it may come from the cache.
static bool repeat(struct bench *bench, struct llm_session *session, const struct bench_result *result, int repetition,
                   double *seconds, struct llm_error *err) {
    struct llm_generate_options generate;
    llm_generate_options_init(&generate);
    generate.temperature = 0;
    generate.ignore_eos = true;
    generate.shift = false;
    // The first new token comes from the prompt's logits: n steps make n + 1.
    generate.max_tokens = result->kind == BENCH_PROMPT ? 0 : result->n_tokens + 1;
    bench->ids[0] = result->kind == BENCH_PROMPT ? repetition % min_int(2, bench->model.vocab_size) : 0;
    const int n_prompt = result->kind == BENCH_PROMPT ? result->n_tokens : result->depth;
    struct llm_generation generation = {0};
    if (!llm_session_generate(session, bench->ids, (size_t)n_prompt, &generate, go_on, NULL, &generation, err)) {
        return false;
    }
    *seconds = result->kind == BENCH_PROMPT ? generation.prompt_seconds : generation.generate_seconds;
    llm_generation_release(&generation);
    return !command_interrupted() || error_set(err, LLM_ERROR_CANCELLED, "measuring was cancelled");
}

static struct llm_machine_options machine_options(const struct bench *bench) {
    struct llm_machine_options measuring;
    llm_machine_options_init(&measuring);
    measuring.n_threads = bench->model.n_threads;
    if (bench->args->quick) {
        measuring.seconds = 0.02;
        measuring.read_bytes = (int64_t)64 << 20;
    }
    return measuring;
}

// Adds the bandwidth of now to *sum. Machines that are shared change theirs from one second to the next (twofold was
// seen), so that what was measured at the beginning is no limit for what follows.
static bool read_now(const struct bench *bench, double *sum, struct llm_error *err) {
    struct llm_machine_options measuring = machine_options(bench);
    measuring.seconds /= 6;
    measuring.read_only = true;
    struct llm_machine machine;
    if (!llm_machine_measure(&measuring, &machine, err)) return false;
    *sum += machine.read.all;
    return true;
}

static bool measure(struct bench *bench, struct bench_result result, struct llm_error *err) {
    if (result.kind == BENCH_PROMPT) {
        count_prompt(&bench->model, &result);
    } else {
        count_generate(&bench->model, &result);
    }
    struct llm_session *session = llm_session_new(bench->engine, result.batch, err);
    if (session == NULL) return false;
    double seconds[MAX_REPETITIONS];
    double warm_up;
    const int n = bench->args->repetitions;
    const bool reads = result.kind == BENCH_GENERATE && bench->model.bytes_step >= least_bytes_step;
    double sum = 0; // of n + 1 bandwidths, before, between and after
    bool ok = repeat(bench, session, &result, 1, &warm_up, err) && (!reads || read_now(bench, &sum, err));
    for (int i = 0; ok && i < n; i++) {
        ok = repeat(bench, session, &result, i, &seconds[i], err) && (!reads || read_now(bench, &sum, err));
    }
    llm_session_free(session);
    if (!ok) return false;
    bench_summarize(&result, seconds, n);
    result.read = reads ? sum / (n + 1) : bench->machine.read.all;
    bench->results[bench->n_results++] = result;
    return true;
}

// Prompts as far as the context goes.
static bool measure_prompts(struct bench *bench, struct llm_error *err) {
    static const int lengths[] = {128, 512, 1024};
    const int n_ctx = bench->model.n_ctx;
    if (bench->args->quick) {
        return measure(
            bench, (struct bench_result){.kind = BENCH_PROMPT, .n_tokens = min_int(QUICK_PROMPT, n_ctx), .batch = 1},
            err);
    }
    int before = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0] && before < n_ctx; i++) {
        const int n = min_int(lengths[i], n_ctx);
        if (!measure(bench, (struct bench_result){.kind = BENCH_PROMPT, .n_tokens = n, .batch = 1}, err)) return false;
        before = lengths[i];
    }
    return true;
}

// Generation behind one token, and as deep as the context allows, for one sequence and several.
static bool measure_generation(struct bench *bench, struct llm_error *err) {
    const int n_ctx = bench->model.n_ctx;
    const int wanted = bench->args->quick ? QUICK_GENERATED : GENERATED;
    const int n = min_int(wanted, n_ctx / 2); // of a tiny context half is left for what comes before
    if (n == 0) return true;
    const int deep = min_int(bench->args->quick ? QUICK_PROMPT : DEEP, n_ctx - n);
    const int depths[] = {1, deep};
    for (size_t i = 0; i < 2; i++) {
        if (i > 0 && depths[i] == depths[0]) break;
        for (int batch = 1; batch <= BATCH; batch += BATCH - 1) {
            const struct bench_result test = {
                .kind = BENCH_GENERATE, .n_tokens = n, .depth = depths[i], .batch = batch};
            if (!measure(bench, test, err)) return false;
        }
    }
    return true;
}

// The tests that were asked for by their lengths.
static bool measure_asked(struct bench *bench, struct llm_error *err) {
    const int n_prompt = bench->args->prompt_tokens;
    const int n_generated = bench->args->generate_tokens;
    const int n_ctx = bench->model.n_ctx;
    if (n_prompt > n_ctx) {
        return error_set(err, LLM_ERROR_ARGUMENT, "--prompt-tokens is %d, and the model's context holds %d", n_prompt,
                         n_ctx);
    }
    if (n_generated >= n_ctx) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "--generate-tokens is %d, and the model's context holds %d, the token in front included",
                         n_generated, n_ctx);
    }
    const struct bench_result prompt = {.kind = BENCH_PROMPT, .n_tokens = n_prompt, .batch = 1};
    const struct bench_result generate = {.kind = BENCH_GENERATE, .n_tokens = n_generated, .depth = 1, .batch = 1};
    return (n_prompt == 0 || measure(bench, prompt, err)) && (n_generated == 0 || measure(bench, generate, err));
}

// ---- The command ----------------------------------------------------------------------------

static bool show_until_open(void *user, const struct llm_progress *progress) {
    const struct bench *bench = user;
    return bench->is_open ? !command_interrupted() : progress_show(NULL, progress);
}

static void show_notice(void *user, const char *sentence) {
    (void)user;
    progress_notice(NULL, sentence);
}

static bool bench_open(struct bench *bench, struct llm_error *err) {
    const struct bench_args *args = bench->args;
    struct llm_engine_options opening;
    llm_engine_options_init(&opening);
    opening.n_threads = args->threads;
    opening.quantize = (enum llm_quantize)args->quantize;
    opening.compute = (enum llm_compute)args->compute;
    command_catch_interrupt();
    opening.callbacks = (struct llm_callbacks){.progress = show_until_open, .notice = show_notice, .user = bench};
    bench->engine = args->synthetic == SYNTHETIC_NONE
                        ? llm_engine_open(args->model, &opening, err)
                        : llm_engine_synthetic(synthetic_sizes[args->synthetic], 1, &opening, err);
    if (bench->engine == NULL) return false;
    progress_clear();
    bench->is_open = true;
    llm_engine_info(bench->engine, &bench->model);
    bench->ids = calloc((size_t)bench->model.n_ctx, sizeof *bench->ids);
    if (bench->ids == NULL) return error_memory(err, "prompt");
    // Any ids will do; these are spread over the vocabulary.
    for (int i = 1; i < bench->model.n_ctx; i++) bench->ids[i] = (int32_t)((int64_t)i * 7919 % bench->model.vocab_size);
    return true;
}

static bool measure_machine(struct bench *bench, struct llm_error *err) {
    const struct llm_machine_options measuring = machine_options(bench);
    return llm_machine_measure(&measuring, &bench->machine, err);
}

static bool print_results(const struct bench *bench, struct llm_error *err) {
    const struct bench_report report = {&bench->model, &bench->machine, bench->results, bench->n_results,
                                        bench->args->repetitions};
    if (bench->args->json) return bench_print_json(&report) || error_memory(err, "JSON");
    if (bench->args->csv) {
        bench_print_csv(&report);
    } else {
        bench_print_markdown(&report);
    }
    return true;
}

static int run_tokenizer(const struct bench_args *args) {
    if (args->train || args->synthetic != SYNTHETIC_NONE) {
        return command_usage(&command_bench, "--tokenizer goes without --train and --synthetic");
    }
    if (args->quantize != LLM_QUANTIZE_NONE || args->compute != LLM_COMPUTE_F32) {
        return command_usage(&command_bench, "--tokenizer computes with no weights: it goes without --quantize and "
                                             "--compute");
    }
    const struct bench_tokenizer_args tokenizer = {
        .file = args->tokenizer,
        .model = args->model,
        .repetitions = args->repetitions,
        .n_threads = args->threads,
        .csv = args->csv,
        .json = args->json,
    };
    struct llm_error err = {0};
    return bench_tokenizer(&tokenizer, &err) ? 0 : command_failed(&err);
}

static int bench_run(void *memory, int n_operands, char **operands) {
    struct bench_args *args = memory;
    if ((n_operands > 0) + (args->model != NULL) + (args->synthetic != SYNTHETIC_NONE) > 1) {
        return command_usage(&command_bench, "MODEL, --model and --synthetic exclude each other");
    }
    if (args->quantize != LLM_QUANTIZE_NONE && args->train) {
        return command_usage(&command_bench, "--quantize and --train exclude each other: training needs F32");
    }
    if (args->batch_size > 0 && !args->train) return command_usage(&command_bench, "--batch-size is for --train");
    if (args->tokens > 0 && args->batch_size == 0) {
        return command_usage(&command_bench, "--tokens goes with --batch-size");
    }
    const bool asked = args->prompt_tokens > 0 || args->generate_tokens > 0;
    if (asked && (args->train || args->quick || args->tokenizer != NULL)) {
        return command_usage(&command_bench,
                             "--prompt-tokens and --generate-tokens go without --train, --tokenizer and --quick");
    }
    if (args->csv && args->json) return command_usage(&command_bench, "--csv and --json exclude each other");
    if (n_operands > 0) args->model = operands[0];
    if (args->quick) args->repetitions = 1;
    if (args->tokenizer != NULL) return run_tokenizer(args);
    struct llm_error err = {0};
    struct bench bench = {.args = args};
    bool ok = bench_open(&bench, &err) && measure_machine(&bench, &err);
    if (args->train) {
        const struct bench_training training = {
            .n_sequences = args->batch_size,
            .n_tokens = args->batch_size == 0 ? 0
                        : args->tokens > 0    ? args->tokens
                                              : 64,
            .compute = args->compute,
            .quick = args->quick,
            .repetitions = args->repetitions,
        };
        ok = ok && bench_train(bench.engine, &bench.model, &training, bench.results, &bench.n_results, &err);
    } else if (asked) {
        ok = ok && measure_asked(&bench, &err);
    } else {
        ok = ok && measure_prompts(&bench, &err) && measure_generation(&bench, &err);
    }
    ok = ok && print_results(&bench, &err);
    free(bench.ids);
    llm_engine_free(bench.engine);
    return ok ? 0 : command_failed(&err);
}

const struct command command_bench = {
    .name = "bench",
    .summary = "measure how fast a model runs, beside what the machine can do",
    .usage = "[options] [--train] [MODEL]\n"
             "[options] [--train] --synthetic SIZE\n"
             "[options] --tokenizer FILE [MODEL]",
    .description =
        "Measures the machine first: how fast it reads memory, multiplies matrices (oneDNN's sgemm in GPT-2's shapes) "
        "and multiplies and adds in registers, on one thread and on all. Then the model: processing a prompt of 128, "
        "512 and 1,024 tokens, as far as its context goes, and generating 128 tokens in an empty context and after "
        "900 tokens, or as deep as the context allows, for one sequence and for 8 at once.\n\n"
        "GB/s counts the weights in use, once a step, and the keys and values that attention reads; GFLOP/s the "
        "products and attention. Each is set beside the machine's own rate on as many threads: decoding is limited by "
        "reading, which is measured again between its repetitions, a prompt by sgemm. A model small enough for the "
        "processor's caches can read faster than memory. A "
        "prompt is computed once however many sequences continue it, so prompts have no batch of 8.\n\n"
        "--train measures optimizer steps, forward, backward and AdamW, on random tokens: 4 examples of 64 and of 256 "
        "tokens, and one of 1,024, as far as the context goes; or --batch-size examples of --tokens tokens. GFLOP/s "
        "then counts backward as twice forward.\n\n"
        "--tokenizer measures encoding, on one thread and on all: with a tokenizer that has seen nothing, and with one "
        "that has met the text's words before, as in a program that goes on running.\n\n"
        "--synthetic needs no download: its weights are random numbers, which take as long.",
    .examples = "  $ my-llm bench gpt2\n"
                "  $ my-llm bench --synthetic 124M --threads 1\n"
                "  $ my-llm bench --synthetic 124M --quantize q4\n"
                "  $ my-llm bench --synthetic 124M --generate-tokens 128\n"
                "  $ my-llm bench --train --synthetic 124M --compute bf16\n"
                "  $ my-llm bench --train --synthetic 355M --batch-size 8 --tokens 80\n"
                "  $ my-llm bench --tokenizer book.txt\n"
                "  $ my-llm bench --json bundled | jq '.results[].tokens_per_second'",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .args_size = sizeof(struct bench_args),
    .min_operands = 0,
    .max_operands = 1,
    .init = bench_init,
    .run = bench_run,
};
