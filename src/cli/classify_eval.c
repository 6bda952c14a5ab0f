// classify_eval.c: `my-llm classify eval`: how well a classifier does on texts whose labels are known.
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/progress.h"

struct eval_args {
    struct llm_classify_data data;
    bool json;
    int n_threads;
    int quantize, compute;
};

static const struct option options[] = {
    {"text-column", 0, OPTION_STRING, offsetof(struct eval_args, data.text_column), "COLUMN",
     "name, or number from 1; found when not given", 0, 0, NULL},
    {"label-column", 0, OPTION_STRING, offsetof(struct eval_args, data.label_column), "COLUMN", "likewise", 0, 0, NULL},
    {"json", 0, OPTION_FLAG, offsetof(struct eval_args, json), NULL, "print JSON", 0, 0, NULL},
    {"quantize", 0, OPTION_CHOICE, offsetof(struct eval_args, quantize), "BITS",
     "convert the weights first: q8 and q4 are 8 and 4 bits in blocks of 32, bf16 is half of F32", 0, 0,
     quantize_choices},
    {"compute", 0, OPTION_CHOICE, offsetof(struct eval_args, compute), "DTYPE",
     "what a prompt's products are computed in; bf16 is faster, and changes the last digits", 0, 0, compute_choices},
    {"threads", 't', OPTION_INT, offsetof(struct eval_args, n_threads), "N",
     "threads; as many as there are cores for this process", 1, 1024, NULL},
};

static void eval_init(void *memory) {
    struct eval_args *args = memory;
    *args = (struct eval_args){0};
}

static json_t *label_json(const struct llm_classify_measures *measures, int i) {
    const struct llm_label_measures *label = &measures->labels[i];
    json_t *row = measures->confusion == NULL ? json_null() : json_array();
    bool ok = row != NULL;
    for (int j = 0; ok && measures->confusion != NULL && j < measures->n_labels; j++) {
        ok = json_array_append_new(row, json_integer(measures->confusion[i * measures->n_labels + j])) == 0;
    }
    if (!ok) return NULL;
    return json_pack("{s:s, s:f, s:f, s:f, s:I, s:I, s:I, s:o}", "label", label->name, "precision", label->precision,
                     "recall", label->recall, "f1", label->f1, "n_true", (json_int_t)label->n_true, "n_predicted",
                     (json_int_t)label->n_predicted, "n_right", (json_int_t)label->n_right, "predicted_as", row);
}

static bool print_json(const struct llm_classify_measures *measures, struct llm_error *err) {
    json_t *labels = json_array();
    bool ok = labels != NULL;
    for (int i = 0; ok && i < measures->n_labels; i++) ok = json_array_append_new(labels, label_json(measures, i)) == 0;
    json_t *value = json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:o}", "n_texts", (json_int_t)measures->n_texts,
                              "n_right", (json_int_t)measures->n_right, "accuracy", measures->accuracy, "precision",
                              measures->precision, "recall", measures->recall, "f1", measures->f1, "labels", labels);
    char *text = ok && value != NULL ? json_dump(value, JSON_REAL_PRECISION(9)) : NULL;
    json_decref(value);
    if (text == NULL) return error_memory(err, "JSON");
    puts(text);
    free(text);
    return true;
}

static int eval_run(void *memory, int n_operands, char **operands) {
    (void)n_operands;
    struct eval_args *args = memory;
    struct llm_error err = {0};
    struct llm_engine_options opening;
    llm_engine_options_init(&opening);
    opening.n_threads = args->n_threads;
    opening.quantize = (enum llm_quantize)args->quantize;
    opening.compute = (enum llm_compute)args->compute;
    opening.callbacks = command_callbacks();
    args->data.path = operands[1];
    struct llm_engine *engine = llm_engine_open(operands[0], &opening, &err);
    struct llm_classify_measures measures = {0};
    bool ok = engine != NULL && llm_classify_evaluate(engine, &args->data, &measures, &err);
    progress_clear();
    if (ok && args->json) {
        ok = print_json(&measures, &err);
    } else if (ok) {
        fputs(measures.text, stdout);
    }
    llm_classify_measures_release(&measures);
    llm_engine_free(engine);
    return ok ? 0 : command_failed(&err);
}

const struct command command_classify_eval = {
    .name = "classify eval",
    .summary = "measure a classifier on labelled texts",
    .usage = "[options] DIR FILE",
    .description =
        "Classifies the texts of FILE (.csv, .tsv, .json, .jsonl) with the classifier in DIR, and prints "
        "accuracy, precision, recall and F1 of each label, which label was taken for which, and the worst "
        "mistakes, as Markdown or JSON. JSON's predicted_as of a label has how many of its texts were taken for "
        "each label, in their order; with more than 200 labels it is null.",
    .examples = "  $ my-llm classify eval classification classification/test.csv",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .args_size = sizeof(struct eval_args),
    .min_operands = 2,
    .max_operands = 2,
    .init = eval_init,
    .run = eval_run,
};
