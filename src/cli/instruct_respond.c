// instruct_respond.c: `my-llm instruct respond`: answers to one instruction, or to a file of them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/instruct_options.h"
#include "cli/progress.h"

struct respond_args {
    struct answer_args answer;
    const char *out, *input;
};

#define FIELD(name) offsetof(struct respond_args, name)
#define ANSWER_FIELD(name) offsetof(struct respond_args, answer.name)

static const struct option options[] = {
    {"out", 'o', OPTION_STRING, FIELD(out), "FILE",
     "where the answered entries go; FILE-with-response.json in this directory when not given", 0, 0, NULL},
    {"input", 0, OPTION_STRING, FIELD(input), "TEXT", "what the one instruction is about", 0, 0, NULL},
    {"parallel", 'j', OPTION_INT, ANSWER_FIELD(respond.parallel), "N", "answers at a time", 1, 1024, NULL},
    {"force", 0, OPTION_FLAG, ANSWER_FIELD(respond.overwrite), NULL, "overwrite answers that are there", 0, 0, NULL},
    ANSWER_OPTIONS(ANSWER_FIELD),
};

#undef FIELD
#undef ANSWER_FIELD

static void respond_init(void *memory) {
    struct respond_args *args = memory;
    *args = (struct respond_args){0};
    answer_args_init(&args->answer);
}

// ---- A file ---------------------------------------------------------------------------------------

// The length of `name` without the endings of a file of JSON; 0: it has none.
static size_t stem(const char *name) {
    static const char *const packed[] = {"", ".gz", ".xz"};
    static const char *const kinds[] = {".json", ".jsonl"};
    const size_t size = strlen(name);
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < 2; k++) {
            char ending[16];
            const int n = snprintf(ending, sizeof ending, "%s%s", kinds[k], packed[i]);
            if (size > (size_t)n && strcmp(name + size - (size_t)n, ending) == 0) return size - (size_t)n;
        }
    }
    return 0;
}

static int respond_file(struct llm_engine *engine, const struct respond_args *args, const char *file) {
    struct llm_error err = {0};
    struct llm_respond_result result;
    const char *name = path_base(file);
    const size_t size = stem(name) > 0 ? stem(name) : strlen(name);
    char made[512], sentence[640];
    const char *out = args->out;
    if (out == NULL) {
        snprintf(made, sizeof made, "%.*s-with-response.json", (int)(size < 400 ? size : 400), name);
        out = made;
    }
    const bool ok = llm_instruct_respond_file(engine, file, out, &args->answer.respond, &result, &err);
    progress_clear();
    if (!ok) {
        snprintf(sentence, sizeof sentence, "%.400s.part", out);
        if (file_exists(sentence)) {
            snprintf(sentence, sizeof sentence,
                     "%.400s.part keeps the answers that are made; the same command goes on from there", out);
            progress_notice(NULL, sentence);
        }
        return command_failed(&err);
    }
    snprintf(sentence, sizeof sentence, "%.400s: %lld entries with their answers", out, (long long)result.n_entries);
    progress_notice(NULL, sentence);
    return 0;
}

// ---- One instruction ------------------------------------------------------------------------------

static int respond_text(struct llm_engine *engine, const struct respond_args *args, const char *text) {
    struct llm_error err = {0};
    const struct llm_instruction instruction = {text, args->input};
    bool written = true;
    const bool ok = answer_show(engine, &instruction, &args->answer.respond, &written, &err);
    if (!written) return 1; // main() says why
    return ok ? 0 : command_failed(&err);
}

static int respond_run(void *memory, int n_operands, char **operands) {
    struct respond_args *args = memory;
    struct llm_error err = {0};
    const char *word = n_operands > 1 ? operands[1] : "-";
    const bool is_file = strcmp(word, "-") != 0 && (stem(path_base(word)) > 0 || file_exists(word));
    if (is_file && args->input != NULL) {
        return command_usage(&command_instruct_respond, "--input goes with one instruction, not with a file");
    }
    if (!is_file && args->out != NULL) {
        return command_usage(&command_instruct_respond, "--out goes with a file, not with one instruction");
    }
    char *read = NULL;
    size_t size = 0;
    if (strcmp(word, "-") == 0 && !command_read_input("-", &read, &size, &err)) return command_failed(&err);
    if (size > 0 && read[size - 1] == '\n') read[size - 1] = '\0';
    struct llm_engine *engine = answer_open(&args->answer, operands[0], &err);
    int code;
    if (engine == NULL) {
        code = command_failed(&err);
    } else {
        code = is_file ? respond_file(engine, args, word) : respond_text(engine, args, read != NULL ? read : word);
    }
    llm_engine_free(engine);
    free(read);
    return code;
}

const struct command command_instruct_respond = {
    .name = "instruct respond",
    .summary = "answer one instruction, or a file of them",
    .usage = "[options] DIR TEXT\n"
             "[options] DIR [-]\n"
             "[options] DIR FILE [-o OUT]",
    .description =
        "DIR is what instruct train has written, or any model. TEXT, or standard input, is an instruction; its answer "
        "is printed as it is made.\n\n"
        "FILE is a JSON list or lines of JSON, named .json or .jsonl (also .gz, .xz), or any file that is there. Its "
        "entries have instruction and perhaps input; they are answered several at a time and written to OUT, each with "
        "all it has and model_response. What is answered is kept in OUT.part until all are: when something ends the "
        "run, the same command goes on from there.\n\n"
        "The prompt is the one that the model learned; for other models it is Alpaca's. Answers are greedy unless "
        "--temperature says otherwise.",
    .examples = "  $ my-llm instruct respond instruction \"What is the capital of France?\"\n"
                "  $ my-llm instruct respond instruction --input \"The car is fast.\" \"Rewrite it with a simile.\"\n"
                "  $ my-llm instruct respond instruction questions.json -o answers.json",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .args_size = sizeof(struct respond_args),
    .min_operands = 1,
    .max_operands = 2,
    .init = respond_init,
    .run = respond_run,
};
