// instruct.c: teach a model a file of instructions, then have it answer one or many.
//
//     cc instruct.c $(pkg-config --cflags --libs my-llm) -o instruct
//     ./instruct instructions.json run "Name a colour." "What is the past tense of go?"
#include <my_llm.h>

#include <stdio.h>
#include <stdlib.h>

static bool train(const char *data, const char *out, struct llm_error *err) {
    struct llm_instruct_options options;
    llm_instruct_options_init(&options);
    options.data = data;
    options.model = "bundled";
    options.train.batch_size = 4;
    options.train.lr = 1e-3; // this is for a file of a few lines; leave it out for some hundreds
    options.answers.generate.max_tokens = 32;
    struct llm_instruct_result result;
    if (!llm_instruct_train(out, &options, &result, err)) return false;
    printf("%s after %lld steps, %lld of the entries answered\n", result.loaded ? "loaded" : "trained",
           (long long)result.train.steps, (long long)result.answers.n_entries);
    return true;
}

// Answers instructions [n] as one call, which has several in work at a time.
static bool answer(const char *model, char **texts, size_t n, struct llm_error *err) {
    struct llm_engine *engine = llm_engine_open(model, NULL, err);
    if (engine == NULL) return false;
    struct llm_respond_options options;
    llm_respond_options_init(&options);
    options.generate.max_tokens = 32;
    struct llm_instruction *instructions = calloc(n, sizeof *instructions);
    char **responses = calloc(n, sizeof *responses);
    bool ok = instructions != NULL && responses != NULL;
    if (!ok) snprintf(err->text, sizeof err->text, "out of memory");
    for (size_t i = 0; ok && i < n; i++) instructions[i].instruction = texts[i];
    ok = ok && llm_instruct_respond(engine, instructions, n, &options, responses, err);
    for (size_t i = 0; ok && i < n; i++) {
        printf("%s: %s\n", texts[i], responses[i] == NULL ? "(too long)" : responses[i]);
        llm_free(responses[i]);
    }
    free(responses);
    free(instructions);
    llm_engine_free(engine);
    return ok;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: instruct FILE DIR INSTRUCTION...\n");
        return 2;
    }
    struct llm_error err = {0};
    if (!train(argv[1], argv[2], &err) || !answer(argv[2], argv + 3, (size_t)argc - 3, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return 0;
}
