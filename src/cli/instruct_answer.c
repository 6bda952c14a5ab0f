// instruct_answer.c: the model that answers, and one answer as it is made; see instruct_options.h.
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/instruct_options.h"

void answer_args_init(struct answer_args *args) {
    *args = (struct answer_args){0};
    llm_respond_options_init(&args->respond);
}

struct llm_engine *answer_open(struct answer_args *args, const char *model, struct llm_error *err) {
    struct llm_engine_options opening;
    llm_engine_options_init(&opening);
    opening.n_threads = args->n_threads;
    opening.quantize = (enum llm_quantize)args->quantize;
    opening.callbacks = command_callbacks();
    args->respond.callbacks = opening.callbacks;
    return llm_engine_open(model, &opening, err);
}

struct shown {
    bool begun, failed;
    char held[64]; // [n_held] white space that may be the answer's end
    size_t n_held;
};

static bool is_white(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void show(struct shown *shown, const char *text, size_t size) {
    if (fwrite(text, 1, size, stdout) != size) shown->failed = true;
}

// All but white space at the beginning and, as far as that is known, at the end.
static bool show_piece(void *user, const struct llm_piece *piece) {
    struct shown *shown = user;
    for (size_t i = 0; i < piece->size; i++) {
        const char c = piece->text[i];
        if (is_white(c) && shown->begun && shown->n_held < sizeof shown->held) shown->held[shown->n_held++] = c;
        if (is_white(c)) continue;
        show(shown, shown->held, shown->n_held);
        show(shown, &c, 1);
        shown->n_held = 0;
        shown->begun = true;
    }
    if (!command_flush()) shown->failed = true;
    return !shown->failed && !command_interrupted();
}

bool answer_show(struct llm_engine *engine, const struct llm_instruction *instruction,
                 const struct llm_respond_options *options, bool *written, struct llm_error *err) {
    struct shown shown = {0};
    struct llm_respond_options showing = *options;
    char *response = NULL;
    showing.on_piece = show_piece;
    showing.callbacks.user = &shown; // of one answer nothing else is called with it but notices, which do not look
    if (instruction->instruction[strspn(instruction->instruction, " \t\r\n")] == '\0') {
        return error_set(err, LLM_ERROR_ARGUMENT, "the instruction is empty");
    }
    bool ok = llm_instruct_respond(engine, instruction, 1, &showing, &response, err);
    if (shown.begun || ok) putchar('\n');
    *written = !shown.failed && command_flush();
    if (ok && response == NULL) {
        ok = error_set(err, LLM_ERROR_ARGUMENT, "the instruction is longer than the model's context");
    }
    llm_free(response);
    return ok;
}
