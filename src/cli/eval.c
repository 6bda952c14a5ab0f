// eval.c: `my-llm eval`: how well a model predicts a text: cross-entropy and perplexity.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/ids.h"
#include "cli/progress.h"

struct eval_args {
    const char *model;
    struct llm_evaluate_options evaluate;
    int threads;
    int quantize, compute;
    bool ids;
    bool allow_special;
    bool json;
};

static const struct option eval_options[] = {
    {"model", 'm', OPTION_STRING, offsetof(struct eval_args, model), "MODEL",
     "the model, when it is not the first operand", 0, 0, NULL},
    {"window", 0, OPTION_INT, offsetof(struct eval_args, evaluate.window), "N",
     "tokens the model sees at once; its whole context when not given", 1, 1e9, NULL},
    {"stride", 0, OPTION_INT, offsetof(struct eval_args, evaluate.stride), "N",
     "tokens the window moves by; the whole window when not given", 1, 1e9, NULL},
    {"ids", 0, OPTION_FLAG, offsetof(struct eval_args, ids), NULL, "FILE holds token ids, one sequence a line", 0, 0,
     NULL},
    {"allow-special", 0, OPTION_FLAG, offsetof(struct eval_args, allow_special), NULL,
     "take <|endoftext|> in the text for the end-of-text id", 0, 0, NULL},
    {"threads", 't', OPTION_INT, offsetof(struct eval_args, threads), "N",
     "threads; as many as there are cores for this process", 1, 1024, NULL},
    {"quantize", 0, OPTION_CHOICE, offsetof(struct eval_args, quantize), "BITS",
     "convert the weights first: q8 and q4 are 8 and 4 bits in blocks of 32, bf16 is half of F32", 0, 0,
     quantize_choices},
    {"compute", 0, OPTION_CHOICE, offsetof(struct eval_args, compute), "DTYPE",
     "what a prompt's products are computed in; bf16 is faster, and changes the last digits", 0, 0, compute_choices},
    {"json", 0, OPTION_FLAG, offsetof(struct eval_args, json), NULL, "print JSON: loss, perplexity, tokens", 0, 0,
     NULL},
};

static void eval_init(void *memory) {
    struct eval_args *args = memory;
    *args = (struct eval_args){0};
    llm_evaluate_options_init(&args->evaluate);
}

// ---- The sequences --------------------------------------------------------------------------

// Sequences of ids one after another; s is ids[starts[s]] .. ids[starts[s + 1] - 1].
struct sequences {
    struct id_list list;
    size_t *starts; // [n + 1]
    size_t n;
};

static void sequences_release(struct sequences *sequences) {
    id_list_release(&sequences->list);
    free(sequences->starts);
}

static size_t count_lines(const char *text, size_t size) {
    size_t n = 1;
    for (size_t i = 0; i < size; i++) n += text[i] == '\n';
    return n;
}

// One sequence a line; a line without ids is none.
static bool parse_sequences(struct sequences *sequences, const char *text, size_t size, struct llm_error *err) {
    sequences->starts = calloc(count_lines(text, size) + 1, sizeof *sequences->starts);
    if (sequences->starts == NULL) return error_memory(err, "sequences");
    size_t line = 1;
    for (size_t at = 0; at < size; line++) {
        const char *end = memchr(text + at, '\n', size - at);
        const size_t length = end == NULL ? size - at : (size_t)(end - text) - at;
        if (!id_list_parse(&sequences->list, text + at, length, err)) {
            error_prefix(err, "line %zu", line);
            return false;
        }
        if (sequences->list.n > sequences->starts[sequences->n]) sequences->starts[++sequences->n] = sequences->list.n;
        at += length + 1;
    }
    return true;
}

// The whole text as one sequence.
static bool encode_text(struct sequences *sequences, const struct llm_tokenizer *tokenizer, const char *text,
                        size_t size, bool allow_special, struct llm_error *err) {
    if (tokenizer == NULL) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "the model has no vocabulary, so it cannot read text; give its ids with --ids");
    }
    sequences->starts = calloc(2, sizeof *sequences->starts);
    if (sequences->starts == NULL) return error_memory(err, "sequences");
    if (!llm_tokenizer_encode(tokenizer, text, size, allow_special, &sequences->list.ids, &sequences->list.n, err)) {
        return false;
    }
    sequences->starts[1] = sequences->list.n;
    sequences->n = 1;
    return true;
}

// ---- The answer -----------------------------------------------------------------------------

static bool print_json(const struct llm_evaluation *evaluation, const char *model) {
    // exp() of a large loss is infinite, which JSON cannot say.
    json_t *perplexity = isfinite(evaluation->perplexity) ? json_real(evaluation->perplexity) : json_null();
    json_t *error = isfinite(evaluation->perplexity_error) ? json_real(evaluation->perplexity_error) : json_null();
    json_t *object = json_pack("{s:o, s:f, s:f, s:o, s:o, s:I}", "model", json_name(model), "loss", evaluation->loss,
                               "loss_error", evaluation->loss_error, "perplexity", perplexity, "perplexity_error",
                               error, "tokens", (json_int_t)evaluation->n_tokens);
    char *text = object == NULL ? NULL : json_dump(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (text != NULL) puts(text);
    free(text);
    json_decref(object);
    return text != NULL;
}

static void print_text(const struct llm_evaluation *evaluation) {
    printf("cross-entropy  %.5f ± %.5f nats a token\n", evaluation->loss, evaluation->loss_error);
    printf("perplexity     %.4f ± %.4f\n", evaluation->perplexity, evaluation->perplexity_error);
    printf("tokens         %" PRId64 "\n", evaluation->n_tokens);
}

// ---- The command ----------------------------------------------------------------------------

static bool evaluate(const struct eval_args *args, struct llm_engine *engine, const char *path,
                     struct llm_evaluation *evaluation, struct llm_error *err) {
    char *text = NULL;
    size_t size = 0;
    if (!command_read_input(path, &text, &size, err)) return false;
    struct sequences sequences = {0};
    bool ok = args->ids ? parse_sequences(&sequences, text, size, err)
                        : encode_text(&sequences, llm_engine_tokenizer(engine), text, size, args->allow_special, err);
    free(text);
    struct llm_evaluate_options options = args->evaluate;
    options.callbacks = command_callbacks();
    ok = ok && llm_evaluate(engine, sequences.list.ids, sequences.starts, sequences.n, &options, evaluation, err);
    sequences_release(&sequences);
    if (!ok) error_prefix(err, "%s", strcmp(path, "-") == 0 ? "standard input" : path);
    return ok;
}

static int eval_run(void *memory, int n_operands, char **operands) {
    const struct eval_args *args = memory;
    if (args->model != NULL && n_operands > 1) {
        return command_usage(&command_eval, "the model is given twice: --model %s and %s", args->model, operands[0]);
    }
    if (args->ids && args->allow_special) {
        return command_usage(&command_eval, "--allow-special is about text; it does not go with --ids");
    }
    const char *model = n_operands > 1 ? operands[0] : args->model;
    struct llm_error err = {0};
    struct llm_engine_options opening;
    llm_engine_options_init(&opening);
    opening.n_threads = args->threads;
    opening.quantize = (enum llm_quantize)args->quantize;
    opening.compute = (enum llm_compute)args->compute;
    opening.callbacks = command_callbacks();
    struct llm_engine *engine = llm_engine_open(model, &opening, &err);
    if (engine == NULL) return command_failed(&err);
    struct llm_evaluation evaluation;
    struct llm_model_info info;
    llm_engine_info(engine, &info);
    bool ok = info.n_labels == 0 || error_set(&err, LLM_ERROR_UNSUPPORTED,
                                              "%s: is a classifier, which writes no text to be scored", info.path);
    ok = ok && evaluate(args, engine, operands[n_operands - 1], &evaluation, &err);
    llm_engine_free(engine);
    if (!ok) return command_failed(&err);
    progress_clear();
    if (!args->json) {
        print_text(&evaluation);
    } else if (!print_json(&evaluation, model)) {
        error_memory(&err, "JSON");
        return command_failed(&err);
    }
    return 0;
}

const struct command command_eval = {
    .name = "eval",
    .summary = "measure how well a model predicts a text: perplexity",
    .usage = "[-m MODEL] FILE\n"
             "MODEL FILE",
    .description =
        "Reads FILE, a text, plain, .xz or .gz, or - for standard input, and tells the mean cross-entropy of its "
        "tokens, in nats, and the\n"
        "perplexity, which is e to that power, each with its standard error. With --ids, FILE holds token ids, one\n"
        "sequence a line.\n"
        "\n"
        "<|endoftext|> in the text, with which texts to train on part documents, is scored as text like any other\n"
        "unless --allow-special is given.\n"
        "\n"
        "The model sees a window of tokens at a time and predicts the successor of each; every token but a\n"
        "sequence's first is scored once. A stride smaller than the window gives each token at least window - stride\n"
        "tokens of context, at the price of computing more.",
    .examples = "  $ my-llm eval bundled book.txt\n"
                "  $ my-llm eval gpt2 --stride 512 --json book.txt | jq .perplexity\n"
                "  $ my-llm tokenize -m gpt2 book.txt | my-llm eval gpt2 --ids -",
    .options = eval_options,
    .n_options = sizeof eval_options / sizeof eval_options[0],
    .args_size = sizeof(struct eval_args),
    .min_operands = 1,
    .max_operands = 2,
    .init = eval_init,
    .run = eval_run,
};
