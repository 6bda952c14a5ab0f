// classify_predict.c: `my-llm classify predict`: labels for one text, or for a stream of lines.
//
// A stream is read in portions of bounded size, each classified as one call, which sorts by length; so memory stays
// the same however long the stream is. What a line has beyond MAX_LINE is skipped: no model reads that far.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/command.h"
#include "cli/progress.h"

enum {
    MAX_LINE = 1 << 18,    // bytes of a line that are read
    MAX_PORTION = 1 << 20, // bytes of a portion, after which it is classified
    MAX_LINES = 256        // lines of a portion
};

struct predict_args {
    bool json, csv;
    int n_threads;
    int quantize, compute;
};

static const struct option options[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct predict_args, json), NULL,
     "a line of JSON each: label and all probabilities", 0, 0, NULL},
    {"csv", 0, OPTION_FLAG, offsetof(struct predict_args, csv), NULL, "CSV: label, and the probability of each label",
     0, 0, NULL},
    {"quantize", 0, OPTION_CHOICE, offsetof(struct predict_args, quantize), "BITS",
     "convert the weights first: q8 and q4 are 8 and 4 bits in blocks of 32, bf16 is half of F32", 0, 0,
     quantize_choices},
    {"compute", 0, OPTION_CHOICE, offsetof(struct predict_args, compute), "DTYPE",
     "what a prompt's products are computed in; bf16 is faster, and changes the last digits", 0, 0, compute_choices},
    {"threads", 't', OPTION_INT, offsetof(struct predict_args, n_threads), "N",
     "threads; as many as there are cores for this process", 1, 1024, NULL},
};

static void predict_init(void *memory) {
    struct predict_args *args = memory;
    *args = (struct predict_args){0};
}

struct portion {
    const struct predict_args *args;
    struct llm_engine *engine;
    struct llm_model_info info;
    struct strbuf bytes; // all lines, one after another
    size_t starts[MAX_LINES + 1];
    size_t n;
    int32_t labels[MAX_LINES];
    float *probabilities; // [MAX_LINES, n_labels]
};

// ---- Printing -------------------------------------------------------------------------------

static const char *label_name(const struct portion *portion, int label, char text[32]) {
    if (portion->info.labels != NULL) return portion->info.labels[label];
    snprintf(text, 32, "LABEL_%d", label);
    return text;
}

static void print_csv_field(const char *text) {
    const bool quotes = strpbrk(text, ",\"\r\n") != NULL;
    if (quotes) putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"') putchar('"');
        putchar(*text);
    }
    if (quotes) putchar('"');
}

static void print_csv_head(const struct portion *portion) {
    char text[32];
    fputs("label", stdout);
    for (int i = 0; i < portion->info.n_labels; i++) {
        putchar(',');
        print_csv_field(label_name(portion, i, text));
    }
    putchar('\n');
}

static bool print_json(const struct portion *portion, int32_t label, const float *probabilities,
                       struct llm_error *err) {
    char text[32];
    json_t *all = json_object();
    bool ok = all != NULL;
    for (int i = 0; ok && i < portion->info.n_labels; i++) {
        ok = json_object_set_new(all, label_name(portion, i, text), json_real((double)probabilities[i])) == 0;
    }
    json_t *value = json_pack("{s:s, s:f, s:o}", "label", label_name(portion, label, text), "probability",
                              (double)probabilities[label], "probabilities", all);
    char *line = ok && value != NULL ? json_dump(value, JSON_REAL_PRECISION(6)) : NULL;
    json_decref(value);
    if (line == NULL) return error_memory(err, "JSON");
    puts(line);
    free(line);
    return true;
}

static bool print_one(const struct portion *portion, size_t i, struct llm_error *err) {
    char text[32];
    const int n_labels = portion->info.n_labels;
    const int32_t label = portion->labels[i];
    const float *probabilities = portion->probabilities + i * (size_t)n_labels;
    if (portion->args->json) return print_json(portion, label, probabilities, err);
    if (portion->args->csv) {
        print_csv_field(label_name(portion, label, text));
        for (int l = 0; l < n_labels; l++) printf(",%.6f", (double)probabilities[l]);
        putchar('\n');
        return true;
    }
    printf("%s\t%.4f\n", label_name(portion, label, text), (double)probabilities[label]);
    return true;
}

// ---- Texts ----------------------------------------------------------------------------------

static bool classify(struct portion *portion, struct llm_error *err) {
    const char *texts[MAX_LINES];
    size_t sizes[MAX_LINES];
    if (!strbuf_ok(&portion->bytes)) return error_memory(err, "lines");
    for (size_t i = 0; i < portion->n; i++) {
        texts[i] = portion->bytes.bytes + portion->starts[i];
        sizes[i] = portion->starts[i + 1] - portion->starts[i];
    }
    if (!llm_classify(portion->engine, texts, sizes, portion->n, portion->labels, portion->probabilities, err)) {
        return false;
    }
    for (size_t i = 0; i < portion->n; i++) {
        if (!print_one(portion, i, err)) return false;
    }
    command_flush(); // main() sees it when this could not be written
    portion->n = 0;
    strbuf_clear(&portion->bytes);
    return true;
}

static void end_line(struct portion *portion) {
    struct strbuf *bytes = &portion->bytes;
    const size_t start = portion->starts[portion->n];
    if (bytes->size > start && bytes->bytes[bytes->size - 1] == '\r') bytes->size--;
    portion->starts[++portion->n] = bytes->size;
}

// Every line of standard input; a last one without a line end counts.
static bool classify_stream(struct portion *portion, struct llm_error *err) {
    size_t length = 0; // of the present line, what is skipped too
    bool open = false; // a line has begun
    for (int c = getchar_unlocked(); c != EOF; c = getchar_unlocked()) {
        if (c != '\n') {
            const char byte = (char)c;
            if (length++ < MAX_LINE) strbuf_append(&portion->bytes, &byte, 1);
            open = true;
            continue;
        }
        end_line(portion);
        length = 0;
        open = false;
        if (portion->n < MAX_LINES && portion->bytes.size < MAX_PORTION) continue;
        if (!classify(portion, err)) return false;
        if (command_interrupted()) return error_set(err, LLM_ERROR_CANCELLED, "stopped");
    }
    if (ferror(stdin)) return error_errno(err, "standard input: cannot read");
    if (open) end_line(portion);
    return portion->n == 0 || classify(portion, err);
}

static bool classify_text(struct portion *portion, const char *text, struct llm_error *err) {
    strbuf_append(&portion->bytes, text, strnlen(text, MAX_LINE));
    portion->starts[1] = portion->bytes.size;
    portion->n = 1;
    return classify(portion, err);
}

static int predict_run(void *memory, int n_operands, char **operands) {
    const struct predict_args *args = memory;
    struct llm_error err = {0};
    if (args->json && args->csv) return command_usage(&command_classify_predict, "--json and --csv exclude each other");
    struct llm_engine_options opening;
    llm_engine_options_init(&opening);
    opening.n_threads = args->n_threads;
    opening.quantize = (enum llm_quantize)args->quantize;
    opening.compute = (enum llm_compute)args->compute;
    opening.callbacks = command_callbacks();
    struct portion *portion = calloc(1, sizeof *portion);
    bool ok = portion != NULL;
    if (portion == NULL) {
        error_memory(&err, "lines");
    } else {
        portion->args = args;
        strbuf_init(&portion->bytes, MAX_PORTION + MAX_LINE + 1);
        portion->engine = llm_engine_open(operands[0], &opening, &err);
        ok = portion->engine != NULL;
    }
    if (ok) {
        llm_engine_info(portion->engine, &portion->info);
        const size_t n_labels = portion->info.n_labels > 0 ? (size_t)portion->info.n_labels : 1;
        portion->probabilities = calloc(MAX_LINES * n_labels, sizeof *portion->probabilities);
        ok = portion->probabilities != NULL || error_memory(&err, "probabilities");
    }
    if (ok) {
        if (args->csv) print_csv_head(portion);
        const bool is_stream = n_operands < 2 || strcmp(operands[1], "-") == 0;
        ok = is_stream ? classify_stream(portion, &err) : classify_text(portion, operands[1], &err);
    }
    if (portion != NULL) {
        strbuf_release(&portion->bytes);
        llm_engine_free(portion->engine);
        free(portion->probabilities);
    }
    free(portion);
    progress_clear();
    return ok ? 0 : command_failed(&err);
}

const struct command command_classify_predict = {
    .name = "classify predict",
    .summary = "label one text, or every line of standard input",
    .usage = "[options] DIR TEXT\n"
             "[options] DIR [-]",
    .description =
        "DIR is what classify train has written, or any GPT2ForSequenceClassification in Hugging Face layout. For "
        "each text a line is printed: the likeliest label and its probability.\n\n"
        "Without TEXT, or with -, every line of standard input is a text; lines are answered in their order, some "
        "hundreds at a time.",
    .examples = "  $ my-llm classify predict classification \"You won a free prize! Call now.\"\n"
                "  $ my-llm classify predict --csv classification < messages.txt > labels.csv",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .args_size = sizeof(struct predict_args),
    .min_operands = 1,
    .max_operands = 2,
    .init = predict_init,
    .run = predict_run,
};
