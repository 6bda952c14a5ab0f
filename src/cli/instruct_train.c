// instruct_train.c: `my-llm instruct train`: a model that follows instructions.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/instruct_score.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/train_options.h"

enum {
    MAX_OPTIONS = 64,
    NOT_GIVEN = -9
};

static const char *const presets[] = {"book", "epfl", NULL};
static const char *const losses[] = {"response", "all", NULL};
static const char *const heads[] = {"own", "tied", "untied", NULL};

struct instruct_args {
    struct llm_instruct_options instruct;
    struct llm_score_options score;
    const char *out, *data;
    int preset;
    bool retrain, scores;
    bool given[MAX_OPTIONS];
};

#define FIELD(name) offsetof(struct instruct_args, name)
#define TRAIN_FIELD(name) offsetof(struct instruct_args, instruct.train.name)

static const struct option options[] = {
    {"data", 'd', OPTION_STRING, FIELD(data), "FILE",
     "instructions: .json or .jsonl; the book's, which are fetched, when not given", 0, 0, NULL},
    {"model", 'm', OPTION_STRING, FIELD(instruct.model), "MODEL",
     "the pretrained model; gpt2-medium for the book's instructions, else what generate takes, when not given", 0, 0,
     NULL},
    {"out", 'o', OPTION_STRING, FIELD(out), "DIR", "the directory of all that is made", 0, 0, NULL},
    {"preset", 0, OPTION_CHOICE, FIELD(preset), "NAME",
     "the book's settings or the EPFL project's; other options still count", 0, 0, presets},
    {"loss", 0, OPTION_CHOICE, FIELD(instruct.loss), "WHERE", "learn the response only, or all of each entry", 0, 0,
     losses},
    {"template", 0, OPTION_STRING, FIELD(instruct.template_file), "FILE",
     "how a prompt is made, with {instruction}, {input} and {output}; Alpaca's style when not given", 0, 0, NULL},
    {"head", 0, OPTION_CHOICE, FIELD(instruct.head), "KIND",
     "output head: as the model has it, the token embedding, or a copy trained by itself", 0, 0, heads},
    {"max-length", 0, OPTION_INT, FIELD(instruct.max_length), "N",
     "tokens of an entry at most; 1024, or the model's context, when not given", 1, 1048576, NULL},
    {"train-share", 0, OPTION_DOUBLE, FIELD(instruct.train_share), "SHARE", "of the entries, the first, to learn from",
     0.001, 1, NULL},
    {"test-share", 0, OPTION_DOUBLE, FIELD(instruct.test_share), "SHARE",
     "of the entries, the next, to answer; the rest is to validate", 0, 0.999, NULL},
    {"sample-tokens", 0, OPTION_INT, FIELD(instruct.sample_tokens), "N",
     "tokens of the sample answer of each epoch; 0: none", 0, 1048576, NULL},
    {"no-pth", 0, OPTION_NO_FLAG, FIELD(instruct.book_file), NULL, "leave out the file for the book's class", 0, 0,
     NULL},
    {"no-respond", 0, OPTION_NO_FLAG, FIELD(instruct.respond), NULL, "do not answer the test entries", 0, 0, NULL},
    {"parallel", 'j', OPTION_INT, FIELD(instruct.answers.parallel), "N", "answers at a time", 1, 1024, NULL},
    {"max-tokens", 'n', OPTION_INT, FIELD(instruct.answers.generate.max_tokens), "N", "tokens of an answer at most", 1,
     1e9, NULL},
    {"score", 0, OPTION_FLAG, FIELD(scores), NULL, "have the answers scored, as instruct score does", 0, 0, NULL},
    {"url", 0, OPTION_STRING, FIELD(score.url), "URL", "the judge's Ollama server, for --score", 0, 0, NULL},
    {"judge", 0, OPTION_STRING, FIELD(score.judge), "NAME", "the model that judges, for --score", 0, 0, NULL},
    {"retrain", 0, OPTION_FLAG, FIELD(retrain), NULL, "begin anew where DIR holds a model already", 0, 0, NULL},
    TRAIN_OPTIONS(TRAIN_FIELD),
};

#undef FIELD
#undef TRAIN_FIELD

_Static_assert(sizeof options / sizeof options[0] <= MAX_OPTIONS, "every option has its mark");

static void instruct_init(void *memory) {
    struct instruct_args *args = memory;
    *args = (struct instruct_args){.preset = NOT_GIVEN, .out = "instruction"};
    llm_instruct_options_init(&args->instruct);
    llm_score_options_init(&args->score);
}

// The file of answers, which the library writes into DIR; allocated.
static char *answers_path(const char *out) {
    return path_join(out, "instruction-data-with-response.json");
}

static void tell_answers(const struct instruct_args *args) {
    char sentence[512];
    char *path = answers_path(args->out);
    if (path != NULL && file_exists(path)) {
        snprintf(sentence, sizeof sentence, "%.400s: the test entries and the model's answers", path);
        progress_notice(NULL, sentence);
    }
    free(path);
}

static int score(const struct instruct_args *args) {
    struct llm_error err = {0};
    char *path = answers_path(args->out);
    if (path == NULL) {
        error_memory(&err, "path");
        return command_failed(&err);
    }
    struct llm_score_options scoring = args->score;
    scoring.callbacks = command_callbacks();
    const int code = score_and_show(path, &scoring, false);
    free(path);
    return code;
}

static int instruct_run(void *memory, int n_operands, char **operands) {
    (void)n_operands;
    (void)operands;
    struct instruct_args *given = memory;
    struct llm_error err = {0};
    struct instruct_args args;
    instruct_init(&args);
    if (given->preset >= 0 && !llm_instruct_options_preset(&args.instruct, presets[given->preset], &err)) {
        return command_failed(&err);
    }
    if (given->data == NULL || strcmp(given->data, "instructions") == 0) args.instruct.model = "gpt2-medium";
    options_overlay(&command_instruct_train, given, &args);
    if (args.data != NULL) args.instruct.data = args.data;
    struct llm_train_options *train = &args.instruct.train;
    train->overwrite = train->overwrite || args.retrain;
    if (train->resume && train->overwrite) {
        return command_usage(&command_instruct_train, "--resume excludes --retrain and --force");
    }
    if (args.scores && !args.instruct.respond) {
        return command_usage(&command_instruct_train, "--score excludes --no-respond");
    }
    const char *wrong = train_contradiction(&command_instruct_train, given, train);
    if (wrong != NULL) return command_usage(&command_instruct_train, "%s", wrong);
    train->callbacks = command_callbacks();
    train->event = train_show;
    struct llm_instruct_result result;
    const bool ok = llm_instruct_train(args.out, &args.instruct, &result, &err);
    const int code = train_ended(ok, args.out, train, &result.train, &err);
    if (code != 0 || !result.train.finished || !args.instruct.respond) return code;
    tell_answers(&args);
    return args.scores ? score(&args) : 0;
}

const struct command command_instruct_train = {
    .name = "instruct train",
    .summary = "teach a model to follow instructions",
    .usage = "[options]\n"
             "[options] --data FILE --out DIR",
    .description =
        "Without options: the 1,100 instructions of chapter 7 of Raschka's \"Build a Large Language Model From "
        "Scratch\", with gpt2-medium, into instruction/, with the loss on the responses only. --preset book and "
        "--preset epfl give the losses that PyTorch gives.\n\n"
        "FILE is a JSON list, or lines of JSON, of entries with instruction, input (may be missing) and output. In "
        "the file's order the first 85 per cent are to learn from, the next 10 for the test, the rest to validate. All "
        "weights are trained.\n\n"
        "DIR receives model/ in Hugging Face layout, a .pth file for the book's class, log.csv, run.json, plots/ and "
        "instruction-data-with-response.json: the test entries, each with the model's answer. A model of the same data "
        "and settings that is there already is not trained again. After Ctrl-C, SIGTERM, --max-minutes or a power cut, "
        "--resume goes on from the last checkpoint; answers go on by themselves.",
    .examples = "  $ my-llm instruct train\n"
                "  $ my-llm instruct train --data mine.json --out mine -m bundled\n"
                "  $ my-llm instruct respond mine \"Rewrite the sentence in the past tense: She walks home.\"",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .args_size = sizeof(struct instruct_args),
    .min_operands = 0,
    .max_operands = 0,
    .init = instruct_init,
    .given = offsetof(struct instruct_args, given),
    .run = instruct_run,
};
