// info.c: `my-llm info`: what a model is, what it is made of, and what it takes to run and train it.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/command.h"
#include "cli/progress.h"

struct info_args {
    int quantize;
    bool json;
    bool check;
};

static const struct option options[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct info_args, json), NULL, "print JSON", 0, 0, NULL},
    {"quantize", 0, OPTION_CHOICE, offsetof(struct info_args, quantize), "BITS",
     "convert the weights first: q8 and q4 are 8 and 4 bits in blocks of 32, bf16 is half of F32", 0, 0,
     quantize_choices},
    {"no-check", 0, OPTION_NO_FLAG, offsetof(struct info_args, check), NULL,
     "do not read the weights to look for NaN and infinity", 0, 0, NULL},
};

static void info_init(void *memory) {
    *(struct info_args *)memory = (struct info_args){.check = true};
}

// ---- As text --------------------------------------------------------------------------------

// "124,439,808"
static const char *grouped(int64_t number, char out[32]) {
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%" PRId64, number);
    char *at = out;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) *at++ = ',';
        *at++ = digits[i];
    }
    *at = '\0';
    return out;
}

static void print_bytes(const char *name, int64_t bytes, const char *remark) {
    char amount[32];
    amount_text(amount, sizeof amount, bytes, "bytes");
    printf("  %-20s %12s%s%s\n", name, amount, *remark == '\0' ? "" : "  ", remark);
}

// "classifier    2 labels: 'ham', 'spam'", of many the first ones.
static void print_labels(const struct llm_model_info *info) {
    enum {
        SHOWN = 8
    };
    printf("classifier    %d label%s", info->n_labels, info->n_labels == 1 ? "" : "s");
    for (int i = 0; info->labels != NULL && i < info->n_labels && i < SHOWN; i++) {
        char name[STR_QUOTE_SIZE];
        printf("%s %s", i == 0 ? ":" : ",", str_quote(info->labels[i], name));
    }
    puts(info->labels != NULL && info->n_labels > SHOWN ? ", ..." : "");
}

static void print_architecture(const struct llm_model_info *info) {
    printf("model         %s\n", info->path);
    printf("format        %s, %s\n", info->format, info->dtype);
    printf("architecture  GPT-2: %d layers, %d heads, width %d, feed-forward %d\n", info->n_layer, info->n_head,
           info->n_embd, info->n_inner);
    printf("context       %d tokens\n", info->n_ctx);
    printf("vocabulary    %d ids%s\n", info->vocab_size,
           info->has_tokenizer ? "" : " (no vocabulary beside the model)");
    printf("activation    %s\n", info->activation);
    printf("layer norm    epsilon %g\n", info->layer_norm_epsilon);
    printf("attention     scores %s%s%s\n", info->scale_attn_weights ? "divided by sqrt(head size)" : "not scaled",
           info->scale_attn_by_layer ? " and divided by the layer's number" : "",
           info->qkv_bias ? "" : "; no bias on query, key and value");
    if (info->n_labels == 0) printf("output head   %s\n", info->tied_head ? "the token embedding" : "its own");
    if (info->n_labels > 0) print_labels(info);
}

static void print_parts(const struct llm_model_info *info) {
    char number[32];
    printf("\nparameters\n");
    for (int i = 0; i < info->n_parts; i++) {
        printf("  %-20s %16s  %5.1f %%\n", info->parts[i].name, grouped(info->parts[i].n_params, number),
               100.0 * (double)info->parts[i].n_params / (double)info->n_params);
    }
    printf("  %-20s %16s\n", "total", grouped(info->n_params, number));
    if (info->n_nonfinite > 0) printf("  %-20s %16s\n", "NaN or infinite", grouped(info->n_nonfinite, number));
}

static void print_text(const struct llm_model_info *info) {
    print_architecture(info);
    print_parts(info);
    printf("\nfiles\n");
    for (int i = 0; i < info->n_files; i++) {
        char amount[32];
        amount_text(amount, sizeof amount, info->files[i].size, "bytes");
        printf("  %12s  %s\n", amount, info->files[i].path);
    }
    printf("\nmemory\n");
    print_bytes("weights", info->bytes_weights, info->memory_dtype);
    print_bytes("a token reads", info->bytes_step, "of these, whatever the number of texts side by side");
    print_bytes("KV cache", info->bytes_kv_cache, "one full context");
    print_bytes("to run", info->bytes_inference,
                "weights, one full context and its activations; the program comes on top");
    print_bytes("to train", info->bytes_training, "with AdamW, batch 4 of a full context (estimate)");
    printf("\nkernels       %s, %d thread%s\n", info->isa, info->n_threads, info->n_threads == 1 ? "" : "s");
}

// ---- As JSON --------------------------------------------------------------------------------

static json_t *parts_json(const struct llm_model_info *info) {
    json_t *parts = json_array();
    for (int i = 0; i < info->n_parts; i++) {
        json_array_append_new(parts, json_pack("{s:s, s:I}", "name", info->parts[i].name, "n_params",
                                               (json_int_t)info->parts[i].n_params));
    }
    return parts;
}

// null: it names none
static json_t *labels_json(const struct llm_model_info *info) {
    json_t *labels = info->labels == NULL ? json_null() : json_array();
    for (int i = 0; info->labels != NULL && i < info->n_labels; i++) {
        json_array_append_new(labels, json_string(info->labels[i]));
    }
    return labels;
}

static json_t *files_json(const struct llm_model_info *info) {
    json_t *files = json_array();
    for (int i = 0; i < info->n_files; i++) {
        json_array_append_new(files, json_pack("{s:o, s:I}", "path", json_name(info->files[i].path), "size",
                                               (json_int_t)info->files[i].size));
    }
    return files;
}

static bool print_json(const struct llm_model_info *info) {
    // Not counted (--no-check): null.
    json_t *nonfinite = info->n_nonfinite < 0 ? json_null() : json_integer((json_int_t)info->n_nonfinite);
    json_t *object = json_pack(
        "{s:o, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:f, s:b, s:b, s:b, s:b, s:b, s:i, s:o, s:I, s:o, s:o, "
        "s:o, "
        "s:{s:I, s:I, s:I, s:I, s:I}, s:s, s:s, s:i}",
        "path", json_name(info->path), "format", info->format, "dtype", info->dtype, "n_layer", info->n_layer, "n_head",
        info->n_head, "n_embd", info->n_embd, "n_inner", info->n_inner, "n_ctx", info->n_ctx, "vocab_size",
        info->vocab_size, "activation", info->activation, "layer_norm_epsilon", info->layer_norm_epsilon, "tied_head",
        info->tied_head, "scale_attn_weights", info->scale_attn_weights, "scale_attn_by_layer",
        info->scale_attn_by_layer, "qkv_bias", info->qkv_bias, "has_tokenizer", info->has_tokenizer, "n_labels",
        info->n_labels, "labels", labels_json(info), "n_params", (json_int_t)info->n_params, "parts", parts_json(info),
        "files", files_json(info), "n_nonfinite", nonfinite, "bytes", "weights", (json_int_t)info->bytes_weights,
        "step", (json_int_t)info->bytes_step, "kv_cache", (json_int_t)info->bytes_kv_cache, "inference",
        (json_int_t)info->bytes_inference, "training", (json_int_t)info->bytes_training, "memory_dtype",
        info->memory_dtype, "isa", info->isa, "n_threads", info->n_threads);
    char *text = object == NULL ? NULL : json_dump(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (text != NULL) puts(text);
    free(text);
    json_decref(object);
    return text != NULL;
}

// ---- The command ----------------------------------------------------------------------------

static int info_run(void *memory, int n_operands, char **operands) {
    const struct info_args *args = memory;
    struct llm_error err = {0};
    struct llm_engine_options opening;
    llm_engine_options_init(&opening);
    opening.quantize = (enum llm_quantize)args->quantize;
    opening.callbacks = command_callbacks();
    struct llm_engine *engine = llm_engine_open(n_operands > 0 ? operands[0] : NULL, &opening, &err);
    if (engine == NULL) return command_failed(&err);
    bool ok = true;
    if (args->check && llm_engine_check(engine) < 0) {
        ok = error_set(&err, LLM_ERROR_CANCELLED, "checking the weights was cancelled");
    }
    if (ok) {
        progress_clear();
        struct llm_model_info info;
        llm_engine_info(engine, &info);
        if (!args->json) {
            print_text(&info);
        } else if (!print_json(&info)) {
            ok = error_memory(&err, "JSON");
        }
    }
    llm_engine_free(engine);
    return ok ? 0 : command_failed(&err);
}

const struct command command_info = {
    .name = "info",
    .summary = "show a model's architecture, parameters, files and memory",
    .usage = "[MODEL]",
    .description =
        "Opens MODEL (a name, a directory, or one .safetensors, .pth or .gguf file; without it the downloaded gpt2, "
        "else the "
        "bundled "
        "model) and tells what it is: architecture, parameters by part, files, the memory it takes to run and to "
        "train, and the kernels that this processor would use.\n\n"
        "The weights are read once to count those that are NaN or infinite; such a model is damaged: its text makes no "
        "sense, and generate ends with an error where what it computes is not a number. --no-check leaves the reading "
        "out.\n\n"
        "The memory to run is what the model takes: weights, keys and values of one full context and its activations. "
        "The program itself, with its libraries, comes on top, some 15 to 20 MB.",
    .examples = "  $ my-llm info gpt2\n"
                "  $ my-llm info --json ./my-model | jq .n_params",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .args_size = sizeof(struct info_args),
    .min_operands = 0,
    .max_operands = 1,
    .init = info_init,
    .run = info_run,
};
