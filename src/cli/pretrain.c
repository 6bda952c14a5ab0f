// pretrain.c: `my-llm pretrain`: train a language model on texts.
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/train_options.h"

enum {
    MAX_OPTIONS = 64,
    NOT_GIVEN = -1
};

static const char *const sizes[] = {"124M", "355M", "774M", "1558M", NULL};
static const char *const presets[] = {"book-ch5", "book-appendix-d", NULL};
static const char *const initialisers[] = {"gpt2", "book", NULL};
static const char *const splits[] = {"documents", "characters", NULL};

struct pretrain_args {
    struct llm_pretrain_options pretrain;
    const char *out;
    int size;   // index into sizes, or NOT_GIVEN
    int preset; // index into presets, or NOT_GIVEN
    bool given[MAX_OPTIONS];
};

#define FIELD(name) offsetof(struct pretrain_args, name)
#define TRAIN_FIELD(name) offsetof(struct pretrain_args, pretrain.train.name)

static const struct option options[] = {
    {"out", 'o', OPTION_STRING, FIELD(out), "DIR", "the run's directory: model, log, checkpoint, plots", 0, 0, NULL},
    {"preset", 0, OPTION_CHOICE, FIELD(preset), "NAME", "settings of the book's runs; other options still count", 0, 0,
     presets},
    {"init", 0, OPTION_STRING, FIELD(pretrain.init), "MODEL", "go on from this model instead of random weights", 0, 0,
     NULL},
    {"size", 0, OPTION_CHOICE, FIELD(size), "SIZE", "layers, heads and width of this GPT-2", 0, 0, sizes},
    {"n-layer", 0, OPTION_INT, FIELD(pretrain.n_layer), "N", "layers of a new model", 1, 16384, NULL},
    {"n-head", 0, OPTION_INT, FIELD(pretrain.n_head), "N", "attention heads of a new model", 1, 16384, NULL},
    {"n-embd", 0, OPTION_INT, FIELD(pretrain.n_embd), "N", "width of a new model", 1, 262144, NULL},
    {"context", 0, OPTION_INT, FIELD(pretrain.context), "N",
     "tokens an example; a new model's context; 256, or that of --init, when not given", 1, 1048576, NULL},
    {"tokenizer", 0, OPTION_STRING, FIELD(pretrain.tokenizer), "MODEL",
     "vocabulary: a directory, a tokenizer.json or a model's name; that of --init, else GPT-2's, when not given", 0, 0,
     NULL},
    {"init-scheme", 0, OPTION_CHOICE, FIELD(pretrain.initialiser), "HOW", "how random weights are drawn", 0, 0,
     initialisers},
    {"untied", 0, OPTION_FLAG, FIELD(pretrain.untied_head), NULL, "an output head of its own for a new model", 0, 0,
     NULL},
    {"no-qkv-bias", 0, OPTION_FLAG, FIELD(pretrain.no_qkv_bias), NULL, "no bias of query, key and value in a new model",
     0, 0, NULL},
    {"val-split", 0, OPTION_DOUBLE, FIELD(pretrain.val_split), "SHARE", "share of the text held back to validate", 0,
     0.99, NULL},
    {"split", 0, OPTION_CHOICE, FIELD(pretrain.split), "HOW", "what is held back: whole documents, or the text's end",
     0, 0, splits},
    {"cache", 0, OPTION_STRING, FIELD(pretrain.cache), "DIR",
     "where the texts are kept as ids; in the run's directory when not given", 0, 0, NULL},
    {"prompt", 0, OPTION_STRING, FIELD(pretrain.prompt), "TEXT", "begins the sample text of each epoch", 0, 0, NULL},
    {"sample-tokens", 0, OPTION_INT, FIELD(pretrain.sample_tokens), "N", "length of that sample; 0: none", 0, 1048576,
     NULL},
    TRAIN_OPTIONS(TRAIN_FIELD),
};

#undef FIELD
#undef TRAIN_FIELD

_Static_assert(sizeof options / sizeof options[0] <= MAX_OPTIONS, "every option has its mark");

static void pretrain_init(void *memory) {
    struct pretrain_args *args = memory;
    *args = (struct pretrain_args){.size = NOT_GIVEN, .preset = NOT_GIVEN};
    llm_pretrain_options_init(&args->pretrain);
}

// What is given together but makes no sense together; NULL: nothing.
static const char *contradiction(const struct pretrain_args *args) {
    static const char *const of_new[] = {"preset", "size",   "n-layer",     "n-head",
                                         "n-embd", "untied", "no-qkv-bias", "init-scheme"};
    for (size_t i = 0; args->pretrain.init != NULL && i < sizeof of_new / sizeof of_new[0]; i++) {
        if (option_given(&command_pretrain, args, of_new[i]))
            return "--init has a shape already: --preset, --size, --n-layer, --n-head, "
                   "--n-embd, --untied, --no-qkv-bias and --init-scheme are for new models";
    }
    const struct llm_train_options *train = &args->pretrain.train;
    if (train->resume && train->overwrite) return "--resume and --force exclude each other";
    if (args->pretrain.n_embd % args->pretrain.n_head != 0) return "--n-head does not divide --n-embd";
    if (args->pretrain.val_split == 0 && (train->keep_best || train->patience > 0)) {
        return "--keep-best and --patience go by the validation loss, and --val-split 0 holds nothing back";
    }
    return train_contradiction(&command_pretrain, args, train);
}

static int pretrain_run(void *memory, int n_operands, char **operands) {
    struct pretrain_args *given = memory;
    if (given->out == NULL) return command_usage(&command_pretrain, "--out DIR says where the run's files go");
    struct llm_error err = {0};
    struct pretrain_args args;
    pretrain_init(&args);
    if (given->preset >= 0 && !llm_pretrain_options_preset(&args.pretrain, presets[given->preset], &err)) {
        return command_failed(&err);
    }
    if (given->size >= 0 && !llm_pretrain_options_size(&args.pretrain, sizes[given->size], &err)) {
        return command_failed(&err);
    }
    options_overlay(&command_pretrain, given, &args);
    memcpy(args.given, given->given, sizeof args.given);
    const char *wrong = contradiction(&args);
    if (wrong != NULL) return command_usage(&command_pretrain, "%s", wrong);
    struct llm_train_options *train = &args.pretrain.train;
    train->callbacks = command_callbacks();
    train->event = train_show;
    struct llm_train_result result;
    const bool ok =
        llm_pretrain((const char *const *)operands, (size_t)n_operands, args.out, &args.pretrain, &result, &err);
    return train_ended(ok, args.out, train, &result, &err);
}

const struct command command_pretrain = {
    .name = "pretrain",
    .summary = "train a language model on texts",
    .usage = "[options] --out DIR FILE...\n"
             "[options] --out DIR --init MODEL FILE...",
    .description =
        "Trains a GPT-2 to predict the next token of texts: files, plain, .xz or .gz, or folders of *.txt, *.text and "
        "*.md (links to folders are not followed). <|endoftext|> parts documents. A part is held back, and the loss on "
        "both parts is shown as training goes on, with a sample of what the model writes after each epoch.\n\n"
        "DIR receives model/ in Hugging Face layout, log.csv, run.json with all settings and results, and the loss "
        "plot as PDF, SVG and PNG. Until the end it holds a checkpoint: after Ctrl-C, SIGTERM, --max-minutes or a "
        "power cut, the same command with --resume goes on from it, and ends with the same model to the bit. --resume "
        "with other texts, model or settings is refused; threads, --save-every, --max-minutes and --recompute may "
        "differ, and at a constant learning rate --steps and --cooldown, too.\n\n"
        "Random numbers are PyTorch's: --preset book-ch5 is the run of chapter 5 of Raschka's \"Build a Large Language "
        "Model From Scratch\", --preset book-appendix-d that of its appendix D, from the same seed.",
    .examples = "  $ my-llm pretrain the-verdict.txt --out run --preset book-ch5\n"
                "  $ my-llm pretrain books.txt.xz --out run --n-layer 6 --n-head 8 --n-embd 320 --dry-run\n"
                "  $ my-llm pretrain letters/ --out run --init gpt2 --lr 5e-5 --epochs 3",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .args_size = sizeof(struct pretrain_args),
    .min_operands = 1,
    .max_operands = -1,
    .init = pretrain_init,
    .given = offsetof(struct pretrain_args, given),
    .run = pretrain_run,
};
