// classify_train.c: `my-llm classify train`: a classifier from labelled texts.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/classify_seeds.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/train_options.h"

enum {
    MAX_OPTIONS = 64,
    NOT_GIVEN = -9
};

static const char *const presets[] = {"book", NULL};
static const char *const poolings[] = {"last-token", "last-position", NULL};

struct classify_args {
    struct llm_classify_options classify;
    const char *out, *layers, *data;
    int preset;
    int seeds;
    bool balance, no_balance, retrain;
    bool given[MAX_OPTIONS];
};

#define FIELD(name) offsetof(struct classify_args, name)
#define TRAIN_FIELD(name) offsetof(struct classify_args, classify.train.name)

static const struct option options[] = {
    {"data", 'd', OPTION_STRING, FIELD(data), "FILE",
     "labelled texts: .csv, .tsv, .json or .jsonl; sms-spam, which is fetched, when not given", 0, 0, NULL},
    {"model", 'm', OPTION_STRING, FIELD(classify.model), "MODEL",
     "the pretrained model; gpt2 for sms-spam, else what generate takes, when not given", 0, 0, NULL},
    {"out", 'o', OPTION_STRING, FIELD(out), "DIR", "the classifier's directory", 0, 0, NULL},
    {"text-column", 0, OPTION_STRING, FIELD(classify.data.text_column), "COLUMN",
     "name, or number from 1; found when not given", 0, 0, NULL},
    {"label-column", 0, OPTION_STRING, FIELD(classify.data.label_column), "COLUMN", "likewise", 0, 0, NULL},
    {"preset", 0, OPTION_CHOICE, FIELD(preset), "NAME",
     "the book's settings, which sms-spam has anyway; other options still count", 0, 0, presets},
    {"pooling", 0, OPTION_CHOICE, FIELD(classify.pooling), "HOW",
     "read each text at its own last token, or all padded to the longest one", 0, 0, poolings},
    {"max-length", 0, OPTION_INT, FIELD(classify.max_length), "N",
     "tokens of a text at most; the model's context when not given", 1, 1048576, NULL},
    {"balance", 0, OPTION_FLAG, FIELD(balance), NULL, "take as many texts of each label as the rarest has", 0, 0, NULL},
    {"no-balance", 0, OPTION_FLAG, FIELD(no_balance), NULL, "take all texts", 0, 0, NULL},
    {"class-weights", 0, OPTION_FLAG, FIELD(classify.class_weights), NULL,
     "weigh losses so that all labels count the same", 0, 0, NULL},
    {"train-share", 0, OPTION_DOUBLE, FIELD(classify.train_share), "SHARE", "of the texts, to learn from", 0.001, 1,
     NULL},
    {"val-share", 0, OPTION_DOUBLE, FIELD(classify.validation_share), "SHARE",
     "of the texts, to validate; the rest is for the test", 0, 0.999, NULL},
    {"train-layers", 0, OPTION_STRING, FIELD(layers), "N",
     "how many blocks are trained, from the last one on; or all, or head; 1 when not given, all with --lora-rank", 0, 0,
     NULL},
    {"cache-memory", 0, OPTION_SIZE, FIELD(classify.cache_memory), "SIZE",
     "memory for what frozen blocks give, which is computed once; half of what is free when not given", 0, 9e18, NULL},
    {"seeds", 0, OPTION_INT, FIELD(seeds), "N",
     "train so often, from --seed on, each into its folder of DIR; tells mean and spread", 2, 1000, NULL},
    {"retrain", 0, OPTION_FLAG, FIELD(retrain), NULL, "begin anew where DIR holds a classifier already", 0, 0, NULL},
    TRAIN_OPTIONS(TRAIN_FIELD),
};

#undef FIELD
#undef TRAIN_FIELD

_Static_assert(sizeof options / sizeof options[0] <= MAX_OPTIONS, "every option has its mark");

static void classify_init(void *memory) {
    struct classify_args *args = memory;
    *args = (struct classify_args){.preset = NOT_GIVEN, .out = "classification"};
    llm_classify_options_init(&args->classify);
}

// A number of blocks, "all" or "head"; false for anything else.
static bool parse_layers(const char *text, int *layers) {
    int end = 0;
    if (text == NULL) return true;
    if (strcmp(text, "all") == 0) {
        *layers = LLM_LAYERS_ALL;
    } else if (strcmp(text, "head") == 0) {
        *layers = LLM_LAYERS_HEAD;
    } else {
        return sscanf(text, "%5d%n", layers, &end) == 1 && text[end] == '\0' && *layers > 0;
    }
    return true;
}

static void show_accuracies(const struct llm_classify_result *result) {
    static const char *const names[] = {"Training", "Validation", "Test"};
    for (int i = 0; i < 3; i++) {
        if (!isnan(result->final_accuracy[i])) {
            printf("%s accuracy: %.2f%%\n", names[i], 100 * result->final_accuracy[i]);
        }
    }
}

static int classify_run(void *memory, int n_operands, char **operands) {
    (void)n_operands;
    (void)operands;
    struct classify_args *given = memory;
    struct llm_error err = {0};
    struct classify_args args;
    classify_init(&args);
    const bool is_sms = given->data == NULL || strcmp(given->data, "sms-spam") == 0;
    if ((is_sms || given->preset >= 0) && !llm_classify_options_preset(&args.classify, presets[0], &err)) {
        return command_failed(&err);
    }
    if (is_sms) args.classify.model = "gpt2";
    options_overlay(&command_classify_train, given, &args);
    if (args.data != NULL) args.classify.data.path = args.data;
    if (!parse_layers(args.layers, &args.classify.train_layers)) {
        return command_usage(&command_classify_train,
                             "--train-layers is \"%.40s\"; a number from 1, all or head was "
                             "expected",
                             args.layers);
    }
    if (args.layers == NULL && args.classify.train.lora_rank > 0) args.classify.train_layers = LLM_LAYERS_ALL;
    if (args.balance && args.no_balance) {
        return command_usage(&command_classify_train, "--balance and --no-balance exclude each other");
    }
    args.classify.balance = args.balance || (args.classify.balance && !args.no_balance);
    struct llm_train_options *train = &args.classify.train;
    train->overwrite = train->overwrite || args.retrain;
    if (train->resume && train->overwrite) {
        return command_usage(&command_classify_train, "--resume excludes --retrain and --force");
    }
    const char *wrong = train_contradiction(&command_classify_train, given, train);
    if (wrong != NULL) return command_usage(&command_classify_train, "%s", wrong);
    train->callbacks = command_callbacks();
    train->event = train_show;
    if (args.seeds > 0) return classify_seeds(args.out, &args.classify, args.seeds);
    struct llm_classify_result result;
    const bool ok = llm_classify_train(args.out, &args.classify, &result, &err);
    if (ok && result.train.finished) show_accuracies(&result);
    return train_ended(ok, args.out, train, &result.train, &err);
}

const struct command command_classify_train = {
    .name = "classify train",
    .summary = "train a classifier on labelled texts",
    .usage = "[options]\n"
             "[options] --data FILE --out DIR",
    .description =
        "Without options: the SMS Spam Collection as in chapter 6 of Raschka's \"Build a Large Language Model From "
        "Scratch\", with gpt2, into classification/. The same seeds give the numbers that PyTorch gives.\n\n"
        "With --data, the texts of a file of your own: a column of texts and one of labels, two or more, whatever "
        "their names. Columns and a head line are found. Texts then are read at their last token, all of them are "
        "used, and each part gets its share of each label; --preset book does as the book does.\n\n"
        "The output head of the pretrained model is replaced, and the last block, the final norm and the new head are "
        "trained; what lies below is computed once. DIR receives model/ in Hugging Face layout, "
        "review_classifier.pth, train.csv, validation.csv, test.csv, log.csv, run.json, report.md and plots/. A "
        "classifier of the same data and settings that is there already is not trained again. After Ctrl-C, SIGTERM, "
        "--max-minutes or a power cut, --resume goes on from the last checkpoint.\n\n"
        "One run says little when texts are few: --seeds 5 trains five times, into DIR/seed-123 and so on, and tells "
        "how much luck there is in it.",
    .examples = "  $ my-llm classify train\n"
                "  $ my-llm classify train --data reviews.csv --out reviews -m bundled\n"
                "  $ my-llm classify predict reviews \"It broke on the second day.\"",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .args_size = sizeof(struct classify_args),
    .min_operands = 0,
    .max_operands = 0,
    .init = classify_init,
    .given = offsetof(struct classify_args, given),
    .run = classify_run,
};
