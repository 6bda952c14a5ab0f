// generate.c: `my-llm generate`: continues a prompt, or one prompt after another at a terminal.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/converse.h"
#include "cli/generate_output.h"
#include "cli/ids.h"

struct generate_args {
    const char *model;
    const char *file;
    const char *prompt_ids;
    struct llm_generate_options generate;
    struct strings stops;
    int samples;
    int threads;
    int quantize, compute;
    bool echo;
    bool print_ids;
    bool json;
    bool interactive;
};

#define FIELD(name) offsetof(struct generate_args, name)

static const struct option generate_options[] = {
    {"model", 'm', OPTION_STRING, FIELD(model), "MODEL",
     "name, directory, .safetensors, .pth or .gguf file; the downloaded gpt2, else the bundled model", 0, 0, NULL},
    {"file", 'f', OPTION_STRING, FIELD(file), "FILE", "read the prompt from a file; - is standard input", 0, 0, NULL},
    {"prompt-ids", 0, OPTION_STRING, FIELD(prompt_ids), "IDS", "token ids as the prompt: \"1 2 3\"", 0, 0, NULL},
    {"print-ids", 0, OPTION_FLAG, FIELD(print_ids), NULL, "print token ids in place of text", 0, 0, NULL},
    {"no-echo", 0, OPTION_NO_FLAG, FIELD(echo), NULL, "print only what is new, not the prompt", 0, 0, NULL},
    {"max-tokens", 'n', OPTION_INT, FIELD(generate.max_tokens), "N", "new tokens at most", 0, 1e9, NULL},
    {"temperature", 0, OPTION_FLOAT, FIELD(generate.temperature), "T",
     "divides the logits; 0 takes the likeliest token each time", 0, 1000, NULL},
    {"top-k", 0, OPTION_INT, FIELD(generate.top_k), "K", "draw from the K likeliest tokens; 0: all", 0, 1e9, NULL},
    {"top-p", 0, OPTION_FLOAT, FIELD(generate.top_p), "P", "of these, the likeliest that have probability P together",
     0, 1, NULL},
    {"min-p", 0, OPTION_FLOAT, FIELD(generate.min_p), "P", "of these, those at least P times as likely as the first", 0,
     1, NULL},
    {"repetition-penalty", 0, OPTION_FLOAT, FIELD(generate.repetition_penalty), "R",
     "above 1 makes tokens that have been used less likely", 0.01, 100, NULL},
    {"seed", 0, OPTION_UINT64, FIELD(generate.seed), "N", "same seed, same text", 0, 0, NULL},
    {"stop", 0, OPTION_STRINGS, FIELD(stops), "TEXT", "end before this text; may be given several times", 0, 0, NULL},
    {"ignore-eos", 0, OPTION_FLAG, FIELD(generate.ignore_eos), NULL, "go on after the end-of-text token", 0, 0, NULL},
    {"no-shift", 0, OPTION_NO_FLAG, FIELD(generate.shift), NULL,
     "end when the context is full, do not go on with its newest half", 0, 0, NULL},
    {"samples", 0, OPTION_INT, FIELD(samples), "N", "texts to generate, all at once", 1, 4096, NULL},
    {"logprobs", 0, OPTION_INT, FIELD(generate.n_logprobs), "N", "show log probabilities, with the N likeliest tokens",
     0, 1000, NULL},
    {"interactive", 'i', OPTION_FLAG, FIELD(interactive), NULL, "after PROMPT, ask for more, if at a terminal", 0, 0,
     NULL},
    {"threads", 't', OPTION_INT, FIELD(threads), "N", "threads; as many as there are cores for this process", 1, 1024,
     NULL},
    {"quantize", 0, OPTION_CHOICE, FIELD(quantize), "BITS",
     "convert the weights first: q8 and q4 are 8 and 4 bits in blocks of 32, bf16 is half of F32", 0, 0,
     quantize_choices},
    {"compute", 0, OPTION_CHOICE, FIELD(compute), "DTYPE",
     "what a prompt's products are computed in; bf16 is faster, and changes the last digits", 0, 0, compute_choices},
    {"json", 0, OPTION_FLAG, FIELD(json), NULL, "print JSON: text, ids, finish reason, timings", 0, 0, NULL},
};

#undef FIELD

static void generate_init(void *memory) {
    struct generate_args *args = memory;
    *args = (struct generate_args){.samples = 1, .echo = true};
    llm_generate_options_init(&args->generate);
}

// One run of the command.
struct app {
    const struct generate_args *args;
    struct llm_engine *engine;
    struct llm_session *session;
    const struct llm_tokenizer *tokenizer; // NULL: the model has no vocabulary
    uint64_t n_texts;                      // generated so far
    bool unwritten;                        // standard output took no more
};

// ---- One text -------------------------------------------------------------------------------

// Generates from ids and prints; `text` [size] is the prompt as text, NULL if there is none.
static bool continue_ids(struct app *app, const int32_t *ids, size_t n_ids, const char *text, size_t size,
                         bool *written, struct llm_error *err) {
    const struct generate_args *args = app->args;
    struct llm_generate_options options = args->generate;
    options.stops = args->stops.items;
    options.n_stops = args->stops.n;
    options.seed += app->n_texts++; // the same prompt, entered again, goes on differently
    struct output output = {
        .model = args->model,
        .tokenizer = app->tokenizer,
        .json = args->json,
        .print_ids = args->print_ids,
        .echo = args->echo,
        .n_samples = args->samples,
        .n_logprobs = options.n_logprobs,
        .prompt = text,
        .prompt_size = size,
        .prompt_ids = ids,
        .n_prompt_ids = n_ids,
    };
    struct llm_generation generation = {0};
    const bool ok = output_init(&output, err) &&
                    llm_session_generate(app->session, ids, n_ids, &options, output_piece, &output, &generation, err);
    if (!ok) output_abort(&output);
    const bool printed = ok && output_end(&output, &generation, err);
    *written = !output.failed;
    llm_generation_release(&generation);
    output_release(&output);
    return ok && printed;
}

static bool continue_text(struct app *app, const char *text, size_t size, bool *written, struct llm_error *err) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    *written = true;
    if (!llm_tokenizer_encode(app->tokenizer, text, size, false, &ids, &n_ids, err)) return false;
    const bool ok = continue_ids(app, ids, n_ids, text, size, written, err);
    llm_free(ids);
    return ok;
}

static bool continue_prompt_ids(struct app *app, bool *written, struct llm_error *err) {
    struct id_list list = {0};
    char *text = NULL;
    size_t size = 0;
    *written = true;
    bool ok = id_list_parse(&list, app->args->prompt_ids, strlen(app->args->prompt_ids), err);
    if (!ok) error_prefix(err, "--prompt-ids");
    if (ok && app->tokenizer != NULL) {
        ok = llm_tokenizer_decode(app->tokenizer, list.ids, list.n, &text, &size, err);
    }
    ok = ok && continue_ids(app, list.ids, list.n, text, size, written, err);
    llm_free(text);
    id_list_release(&list);
    return ok;
}

// A prompt entered at the terminal.
static bool on_line(void *user, const char *line, struct llm_error *err) {
    struct app *app = user;
    bool written = true;
    const bool ok = continue_text(app, line, strlen(line), &written, err);
    app->unwritten = !written;
    return ok;
}

// Prompt after prompt.
static int ask(struct app *app) {
    return converse("Enter a prompt (type 'quit' to exit): ", on_line, app, &app->unwritten);
}

// ---- The command ----------------------------------------------------------------------------

// Where the prompt comes from.
enum source {
    SOURCE_WORD,
    SOURCE_FILE,
    SOURCE_IDS,
    SOURCE_TERMINAL
};

// Reads the prompt from a file or standard input. One newline at the end is the file's, not the prompt's.
static bool read_prompt(const char *path, char **text, size_t *size, struct llm_error *err) {
    if (!command_read_input(path, text, size, err)) return false;
    if (*size > 0 && (*text)[*size - 1] == '\n') (*text)[--*size] = '\0';
    return true;
}

static bool app_open(struct app *app, struct llm_error *err) {
    const struct generate_args *args = app->args;
    struct llm_engine_options options;
    llm_engine_options_init(&options);
    options.n_threads = args->threads;
    options.quantize = (enum llm_quantize)args->quantize;
    options.compute = (enum llm_compute)args->compute;
    options.callbacks = command_callbacks();
    app->engine = llm_engine_open(args->model, &options, err);
    if (app->engine == NULL) return false;
    app->tokenizer = llm_engine_tokenizer(app->engine);
    app->session = llm_session_new(app->engine, args->samples, err);
    if (app->session == NULL) return false;
    const bool needs_text = args->prompt_ids == NULL || (!args->print_ids && !args->json);
    if (app->tokenizer == NULL && needs_text) {
        struct llm_model_info info;
        llm_engine_info(app->engine, &info);
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "%s: the model has no vocabulary, so it has no text; give --prompt-ids and --print-ids",
                         info.path);
    }
    return true;
}

static int generate_with(struct app *app, enum source source, const char *text, size_t size) {
    struct llm_error err = {0};
    bool written = true;
    if (!app_open(app, &err)) return command_failed(&err);
    if (source == SOURCE_TERMINAL) return ask(app);
    const bool ok = source == SOURCE_IDS ? continue_prompt_ids(app, &written, &err)
                                         : continue_text(app, text, size, &written, &err);
    if (!ok) return command_failed(&err);
    if (!written) return 1; // main() says why
    if (app->args->interactive && app->tokenizer != NULL && isatty(STDIN_FILENO)) return ask(app);
    return command_interrupt_code();
}

static int generate_run(void *memory, int n_operands, char **operands) {
    const struct generate_args *args = memory;
    const char *word = n_operands > 0 ? operands[0] : NULL;
    if ((word != NULL) + (args->file != NULL) + (args->prompt_ids != NULL) > 1) {
        return command_usage(&command_generate, "PROMPT, --file and --prompt-ids exclude each other");
    }
    enum source source = SOURCE_WORD;
    const char *path = args->file;
    if (word != NULL && strcmp(word, "-") == 0) path = word;
    if (args->prompt_ids != NULL) {
        source = SOURCE_IDS;
    } else if (path == NULL && word == NULL && isatty(STDIN_FILENO)) {
        source = SOURCE_TERMINAL;
    } else if (path != NULL || word == NULL) {
        source = SOURCE_FILE;
    }
    struct llm_error err = {0};
    char *read = NULL;
    size_t size = word != NULL ? strlen(word) : 0;
    if (source == SOURCE_FILE && !read_prompt(path != NULL ? path : "-", &read, &size, &err)) {
        return command_failed(&err);
    }
    struct app app = {.args = args};
    const int code = generate_with(&app, source, read != NULL ? read : word, size);
    llm_session_free(app.session);
    llm_engine_free(app.engine);
    free(read);
    return code;
}

const struct command command_generate = {
    .name = "generate",
    .summary = "continue a text",
    .usage = "[-m MODEL] [options] [PROMPT | -]\n"
             "[-m MODEL] [options] -f FILE\n"
             "[-m MODEL] [options] --prompt-ids IDS --print-ids",
    .description =
        "Writes PROMPT and what the model makes of it, as it is made. Without a prompt: at a terminal, asks for one\n"
        "and for another after each text, until 'quit' or Ctrl-D; elsewhere, reads it from standard input, as\n"
        "PROMPT - does. A newline at the end of a file or of standard input is not part of the prompt. An empty\n"
        "prompt begins a text with the model's end-of-text token.\n"
        "\n"
        "Each token is drawn from the model's probabilities after, in this order, --repetition-penalty,\n"
        "--temperature, --top-k, --top-p and --min-p. Equal logits go by the lower id. The first of --samples is\n"
        "the same whatever their number; at the prompt, each text adds one to the seed.\n"
        "\n"
        "A text ends at --max-tokens, at the model's end-of-text token, or before one of the --stop texts. When the\n"
        "context is full, its newest half is kept and the text goes on. A prompt longer than the context keeps its\n"
        "newest part. Ctrl-C ends the text; a second one ends the program.\n"
        "\n"
        "The text goes to standard output; its speed, notices and questions to standard error.",
    .examples = "  $ my-llm generate \"Every effort moves you\"\n"
                "  $ my-llm generate -m gpt2 --temperature 0 -n 40 \"Every effort moves you\"\n"
                "  $ my-llm generate -m bundled --interactive \"Once upon a time\"\n"
                "  $ echo 'Dear diary,' | my-llm generate --json --samples 3 | jq -r '.samples[].text'\n"
                "  $ my-llm generate -m ./model-without-vocabulary --prompt-ids \"15496 11\" --print-ids",
    .options = generate_options,
    .n_options = sizeof generate_options / sizeof generate_options[0],
    .args_size = sizeof(struct generate_args),
    .min_operands = 0,
    .max_operands = 1,
    .init = generate_init,
    .run = generate_run,
};
